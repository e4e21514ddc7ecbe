"""List the models a key may use, in the protocol of who asks."""

from typing import Any, Final

import msgspec

from bursar.core.errors import NotFound
from bursar.gateway.asgi import JSON, Scope, Send, send_whole
from bursar.gateway.calls import Calls
from bursar.gateway.headers import read_headers, read_query
from bursar.gateway.identify import check_valid
from bursar.gateway.routes import Routes

PATHS: Final = ("/v1/models", "/v1beta/models")

_MODELS_SINCE: Final = 1_700_000_000
_METHODS: Final = ("generateContent", "streamGenerateContent", "countTokens")


class Listing:
    """Answer `GET /v1/models` in OpenAI's shape or Anthropic's, `GET /v1beta/models` in Google's."""

    def __init__(self, calls: Calls, routes: Routes) -> None:
        self._calls = calls
        self._routes = routes

    async def serve(self, scope: Scope, send: Send) -> None:
        """List all models, or show the one the path names."""
        headers = read_headers(scope["headers"])
        gemini = scope["path"].startswith(PATHS[1])
        if gemini:
            read_query(headers, scope["query_string"])
        key = await self._calls.key(headers)
        check_valid(key, self._calls.clock_us())
        self._calls.check_address(key, scope)
        models = [(model, owner) for model, owner in self._routes.names() if key.may_use(model)]
        shape = _gemini_model if gemini else _anthropic_model if headers.anthropic else _openai_model
        path = PATHS[gemini]
        name = scope["path"].removeprefix(path).strip("/")
        if name:
            found = next((each for each in models if each[0] == name), None)
            if found is None:
                raise NotFound(f"no model {name!r} here: see GET {path}", code="model_not_found", param="model")
            await _send_json(send, shape(*found))
            return
        data = [shape(*each) for each in models]
        if gemini:
            await _send_json(send, {"models": data})
        elif headers.anthropic:
            ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
            await _send_json(send, {"data": data, "has_more": False, **ends})
        else:
            await _send_json(send, {"object": "list", "data": data})


def _openai_model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MODELS_SINCE, "owned_by": owner}


def _anthropic_model(name: str, _owner: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2023-11-14T22:13:20Z"}


def _gemini_model(name: str, _owner: str) -> dict[str, Any]:
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": _METHODS}


async def _send_json(send: Send, value: Any) -> None:
    await send_whole(send, 200, [JSON], msgspec.json.encode(value))
