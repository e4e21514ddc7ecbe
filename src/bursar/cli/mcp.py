"""`bursar mcp`: give an agent tools to see what it may spend, what a plan would cost, and what its run has cost."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from bursar import __version__
from bursar.client.client import Client
from bursar.core.errors import BursarError, OperatorError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

KEY: Final = "BURSAR_API_KEY"
URL: Final = "BURSAR_URL"
_USUAL_URL: Final = "http://127.0.0.1:4000"
_ABOUT: Final = (
    "Bursar prices and pays for the model calls of this agent. Money is in USD, as decimal strings. Ask my_budget"
    " before work that may be dear, price_plan to choose a model for it, my_run for what it has cost so far."
)


def mcp(
    *,
    url: Annotated[str | None, Parameter(help=f"Where Bursar answers (BURSAR_URL, or {_USUAL_URL}).")] = None,
) -> None:
    """Serve an agent's budget, prices and runs as tools of the Model Context Protocol, over standard input and output.

    The agent's own key is read from BURSAR_API_KEY: no tool tells of anything that is another's, or changes anything.
    """
    if sys.stdin.isatty():
        raise OperatorError("an agent's program starts this and speaks to it; by hand there is nothing to do here")
    key = os.environ.get(KEY, "")
    if not key:
        raise OperatorError(f"{KEY} is not set: give it the agent's key, see `bursar keys create`")
    _server(Client(url or os.environ.get(URL) or _USUAL_URL, key=key)).run("stdio")


def _server(client: Client) -> "MCPServer[Any]":
    """Return the server with its tools. Raises `OperatorError` where the extra is not installed."""
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError:
        raise OperatorError("the MCP server needs the extra `mcp`: install bursar[mcp]") from None
    server = MCPServer("bursar", instructions=_ABOUT, version=__version__, log_level="WARNING")
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @server.tool(title="What I may spend yet", annotations=reads)
    def my_budget(run: str = "", model: str = "") -> dict[str, Any]:
        """Say what may be spent yet, by each limit above my calls: limit, spent, held, left, when it begins anew.

        left_usd is the least that any of them leaves. Name the run (x-bursar-run) for the limits of that run as well.
        """
        with _told(ToolError):
            return msgspec.to_builtins(client.own_budget(run=run, model=model))

    @server.tool(title="What work would cost", annotations=reads)
    def price_plan(
        output_tokens: int,
        input_tokens: int | None = None,
        text: str | None = None,
        shared_tokens: int = 0,
        calls: int = 1,
        models: list[str] | None = None,
    ) -> dict[str, Any]:
        """Price calls before they are made, on some models or on all I may use, the cheapest first.

        Give the prompt as input_tokens or as text, and the tokens of one answer. shared_tokens are the first tokens
        that are the same in every call: cached_usd is the price where the provider keeps them, cost_usd where not.
        """
        with _told(ToolError):
            plan = client.price_plan(
                input_tokens=input_tokens,
                text=text,
                output_tokens=output_tokens,
                shared_tokens=shared_tokens,
                calls=calls,
                models=models or (),
            )
            return msgspec.to_builtins(plan)

    @server.tool(title="What my run has cost", annotations=reads)
    def my_run(run: str) -> dict[str, Any]:
        """Show what my calls in a run (x-bursar-run) have cost: their tree, with depth, tokens and USD of each."""
        with _told(ToolError):
            return client.own_run(run)

    return server


@contextmanager
def _told(kind: type[Exception]) -> Iterator[None]:
    """Tell the agent what goes wrong in Bursar's words: of anything else it hears no more than that it went wrong."""
    try:
        yield
    except BursarError as error:
        raise kind(str(error)) from None
