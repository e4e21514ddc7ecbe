"""Be the ASGI application of a worker: the data plane, health, metrics, and the way to the control plane."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from bursar.core.errors import NotFound, Refusal
from bursar.gateway.asgi import JSON, ClientGone, Receive, Scope, Send, send_whole
from bursar.gateway.calls import Calls, send_refusal
from bursar.gateway.headers import read_headers
from bursar.gateway.identify import check_valid
from bursar.gateway.metrics import Collector
from bursar.gateway.proxy import Proxy
from bursar.gateway.routes import Routes
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.openai_chat import OPENAI_CHAT

_WIRES: Final = {"/v1/chat/completions": OPENAI_CHAT, "/v1/messages": ANTHROPIC_MESSAGES}
_CONTROL_PLANE: Final = ("/api/", "/static/")
_MODELS_SINCE: Final = 1_700_000_000
_NO_CALL: Final = bytes(16)


class App:
    """Dispatch requests by their path."""

    def __init__(self, calls: Calls, routes: Routes, proxy: Proxy, not_ready: Callable[[], str | None]) -> None:
        self._calls = calls
        self._routes = routes
        self._proxy = proxy
        self._not_ready = not_ready
        self._registry = CollectorRegistry(auto_describe=False)
        collector: Any = Collector(calls.stats)  # it has what a collector needs
        self._registry.register(collector)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Serve one request."""
        wire = _WIRES.get(scope["path"])
        if wire is not None and scope["method"] == "POST":
            return self._calls.serve(wire, scope, receive, send)
        return self._rest(scope, receive, send)

    async def _rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is no call."""
        try:
            await self._other(scope["path"], scope, receive, send)
        except Refusal as refusal:  # its headers may be what was refused: they are not read again
            anthropic = any(name == b"anthropic-version" for name, _ in scope["headers"])
            await send_refusal(ANTHROPIC_MESSAGES if anthropic else OPENAI_CHAT, refusal, _NO_CALL, send)
        except ClientGone:
            return

    async def _other(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if path == "/healthz":
            await _send_json(send, 200, {"status": "ok"})
        elif path == "/readyz":
            reason = self._not_ready()
            await _send_json(send, 503 if reason else 200, {"status": reason or "ready"})
        elif path == "/metrics":
            text = generate_latest(self._registry)
            await send_whole(send, 200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], text)
        elif path == "/v1/models" or path.startswith("/v1/models/"):
            await self._models(path.removeprefix("/v1/models").strip("/"), scope, send)
        elif path == "/" or path.startswith(_CONTROL_PLANE):
            await self._proxy(scope, receive, send)
        else:
            raise NotFound(
                f"no route {method} {path}: see GET /api/openapi.json and docs/reference/http.md", code="no_route"
            )

    async def _models(self, name: str, scope: Scope, send: Send) -> None:
        """List the models a key may use, in the protocol of who asks."""
        headers = read_headers(scope["headers"])
        key = await self._calls.key(headers)
        check_valid(key, self._calls.clock_us())
        self._calls.check_address(key, scope)
        models = [(model, owner) for model, owner in self._routes.names() if key.may_use(model)]
        shape = _anthropic_model if headers.anthropic else _openai_model
        if name:
            found = next((each for each in models if each[0] == name), None)
            if found is None:
                raise NotFound(f"no model {name!r} here: see GET /v1/models", code="model_not_found", param="model")
            await _send_json(send, 200, shape(*found))
            return
        data = [shape(*each) for each in models]
        if headers.anthropic:
            ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
            await _send_json(send, 200, {"data": data, "has_more": False, **ends})
        else:
            await _send_json(send, 200, {"object": "list", "data": data})


def _openai_model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MODELS_SINCE, "owned_by": owner}


def _anthropic_model(name: str, _owner: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2023-11-14T22:13:20Z"}


async def _send_json(send: Send, status: int, value: Any) -> None:
    await send_whole(send, status, [JSON], msgspec.json.encode(value))
