"""`bursar sandbox`: run the simulated provider alone."""

import asyncio
from typing import Annotated

import uvicorn
from cyclopts import Parameter

from bursar.cli.common import IS_PORT
from bursar.cli.supervisor import listen
from bursar.sandbox.app import Sandbox


def sandbox(
    *,
    port: Annotated[int, Parameter(validator=IS_PORT, help="Port to serve on, at 127.0.0.1.")] = 4100,
    ttft_ms: Annotated[float, Parameter(help="Time to the first token.")] = 0.0,
    tpot_ms: Annotated[float, Parameter(help="Time for each token.")] = 0.0,
) -> None:
    """Run a simulated provider that speaks OpenAI chat, Anthropic messages and Gemini, deterministically."""
    app = Sandbox(ttft_ms=ttft_ms, tpot_ms=tpot_ms)
    listener = listen("127.0.0.1", port)
    # A planned cut is an exception to uvicorn, and no news to who asked for it.
    settings = {"log_level": "critical", "ws": "none", "timeout_graceful_shutdown": 1}
    config = uvicorn.Config(app, **settings)  # pyright: ignore[reportArgumentType]
    print(f"the sandbox serves on http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
