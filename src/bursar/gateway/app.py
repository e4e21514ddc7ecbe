"""Be the ASGI application of a worker: the data plane, health, metrics, and the way to the control plane."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from bursar.core.errors import NotFound, Refusal
from bursar.gateway.asgi import JSON, ClientGone, Receive, Scope, Send, send_whole
from bursar.gateway.batches.desk import Desk
from bursar.gateway.calls import Calls
from bursar.gateway.counting import MESSAGES_PATH, METHOD, Counting
from bursar.gateway.listing import PATHS, Listing
from bursar.gateway.metrics import Collector
from bursar.gateway.proxy import Proxy
from bursar.gateway.refusals import send_refusal
from bursar.gateway.signpost import way_on
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.gemini import GEMINI
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.protocols import BODY_WIRES, PATH_WIRES
from bursar.wires.wire import Wire

_GEMINI_PATHS: Final = ("/v1beta/models/", "/v1/models/")
GEMINI_CALLS: Final = tuple(f":{method}" for method in PATH_WIRES)
_CONTROL_PLANE: Final = ("/api/", "/static/", "/calls/", "/prices/", "/keys/", "/budgets/")
_GOOGLES: Final = ("/v1beta/", "/v1alpha/", "/upload/v1beta/", "/ws/google.")
_LOOKS: Final = ("GET", "HEAD")
_WORK: Final = "/operations/"  # below a model of Gemini's: what it was asked to make
_PAGES: Final = frozenset(
    (
        "/",
        "/spend",
        "/calls",
        "/savings",
        "/count",
        "/prices",
        "/compare",
        "/keys",
        "/budgets",
        "/sign-in",
        "/sign-out",
        "/doctor",
    )
)
_MESSAGES: Final = "/v1/messages/"
_NO_CALL: Final = bytes(16)
READY: Final = "ready"


class App:
    """Dispatch requests by their path."""

    def __init__(
        self,
        calls: Calls,
        counting: Counting,
        listing: Listing,
        desk: Desk,
        proxy: Proxy,
        readiness: Callable[[], dict[str, Any]],
    ) -> None:
        self._calls = calls
        self._desk = desk
        self._counting = counting
        self._listing = listing
        self._proxy = proxy
        self._readiness = readiness
        self._registry = CollectorRegistry(auto_describe=False)
        collector: Any = Collector(calls.stats)  # it has what a collector needs
        self._registry.register(collector)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None] | None:
        """Serve one request; None where it is answered without a task."""
        path = scope["path"]
        wire = BODY_WIRES.get(path)
        if wire is not None and scope["method"] == "POST":
            return self._calls.begin(wire, scope, receive, send)
        if path.endswith(GEMINI_CALLS) and scope["method"] == "POST" and (target := _target(path)):
            return self._calls.serve(PATH_WIRES[target.rpartition(":")[2]], scope, receive, send, target)
        return self._rest(scope, receive, send)

    async def _rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is no call."""
        try:
            await self._other(scope["path"], scope, receive, send)
        except Refusal as refusal:  # its headers may be what was refused: they are not read again
            await send_refusal(_wire_of(scope), refusal, _NO_CALL, send)
        except ClientGone:
            return

    async def _other(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if path == "/healthz":
            await _send_json(send, 200, {"status": "ok"})
        elif path == "/readyz":
            readiness = self._readiness()
            await _send_json(send, 200 if readiness["status"] == READY else 503, readiness)
        elif path == "/metrics":
            self._calls.check_reader(scope)
            text = generate_latest(self._registry)
            await send_whole(send, 200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], text)
        elif method in _LOOKS and path.startswith(PATHS) and path.split("/")[2] == "models" and _WORK not in path:
            await self._listing.serve(scope, send)
        elif method == "POST" and path == MESSAGES_PATH:
            await self._counting.serve(scope, receive, send)
        elif method == "POST" and path.endswith(METHOD) and (target := _target(path)):
            await self._counting.serve(scope, receive, send, target)
        elif self._desk.takes(path):
            await self._desk.serve(scope, receive, send)
        elif path in _PAGES or path.startswith(_CONTROL_PLANE):
            await self._proxy(scope, receive, send)
        elif (route := self._desk.unmetered.find(scope)) is not None:
            await self._desk.unmetered.serve(route, scope, receive, send)
        elif method in _LOOKS and self._proxy.is_browser_here(scope):
            await self._proxy(scope, receive, send)  # which answers with a page that there is none
        else:
            raise NotFound(f"no route {method} {path}: {way_on(path)}", code="no_route")


def _target(path: str) -> str:
    """Return the model and method that a path of Gemini's names; empty for any other path."""
    root = next((each for each in _GEMINI_PATHS if path.startswith(each)), None)
    return path[len(root) :] if root is not None else ""


def _wire_of(scope: Scope) -> Wire:
    """Tell by its path and headers what speaks whoever asked for something that is no call."""
    path, names = scope["path"], {name for name, _ in scope["headers"]}
    if path.startswith(_GOOGLES) or path.endswith(METHOD) or b"x-goog-api-key" in names:
        return GEMINI
    return ANTHROPIC_MESSAGES if b"anthropic-version" in names or path.startswith(_MESSAGES) else OPENAI_CHAT


async def _send_json(send: Send, status: int, value: Any) -> None:
    await send_whole(send, status, [JSON], msgspec.json.encode(value))
