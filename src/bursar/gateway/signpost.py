"""Point the way on for a request that came to a route there is none of.

What the providers' own clients can ask and is not served here is refused by what it is about, with the reason and a way
out: docs/reference/routes.md lists them all.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from bursar.gateway.unmetered_routes import can_be_listed

WITHOUT_VERSION: Final = ("/chat/completions", "/responses", "/messages", "/models")
ELSEWHERE: Final = "see GET /api/openapi.json and docs/reference/http.md"
_ROOTS: Final = ("upload", "v1", "v1beta", "v1alpha")


class Sign(NamedTuple):
    """Say why routes are not served, and what to do."""

    reason: str
    way: str


_OPERATOR: Final = "ask the provider with the operator's own key"
_CONSOLE: Final = Sign("the provider's account is the operator's, and no key's", _OPERATOR)
_KEPT: Final = Sign(
    "what it makes is kept at the provider, where no key owns it",
    f"send what a call needs with the call, or {_OPERATOR}",
)
_HOSTED: Final = Sign(
    "it has the provider run work whose tokens are not told call by call", f"run it here, or {_OPERATOR}"
)
_SECONDS: Final = Sign("it is billed by what is not metered here", _OPERATOR)
_SOCKET: Final = Sign(
    "what passes on an open line is not metered here", "use POST /v1/audio/* or POST /v1/chat/completions"
)
_RESPONSES: Final = Sign(
    "answers are stored nowhere here, so that of responses there is only POST /v1/responses",
    "go on from an earlier one with `previous_response_id`, or send its items again",
)
_CHATS: Final = Sign("answers are stored nowhere here", "keep the answer of POST /v1/chat/completions")
_LIVE: Final = Sign(_SOCKET.reason, "use POST /v1beta/models/{model}:generateContent")
_MODELS: Final = Sign(_KEPT.reason, "see GET /v1/models for what may be asked")
_TUNED: Final = Sign(
    "training is billed by what is not metered here", f"{_OPERATOR}, and list the model in bursar.toml"
)
_FILES: Final = Sign(_KEPT.reason, "send what a call needs as inline data")
_VIDEOS: Final = Sign("videos are billed by the second, which is not metered here", _OPERATOR)

_BY_RESOURCE: Final[Mapping[str, Sign]] = {
    **dict.fromkeys(
        (
            "content_provenance_checks",
            "decisions",
            "organization",
            "organizations",
            "projects",
            "safety",
            "tunnels",
            "webhook_endpoints",
            "webhook_event_types",
            "webhooks",
        ),
        _CONSOLE,
    ),
    **dict.fromkeys(
        (
            "cachedContents",
            "containers",
            "conversations",
            "credentials",
            "fileSearchStores",
            "memory_stores",
            "skills",
            "uploads",
            "user_profiles",
            "vaults",
            "vector_stores",
            "voices",
        ),
        _KEPT,
    ),
    **dict.fromkeys(
        (
            "agents",
            "assistants",
            "chatkit",
            "deployment_runs",
            "deployments",
            "dreams",
            "environments",
            "evals",
            "interactions",
            "sessions",
            "threads",
            "triggers",
        ),
        _HOSTED,
    ),
    "audio": _KEPT,
    "auth_tokens": _LIVE,
    "batches": _HOSTED,
    "chat": _CHATS,
    "files": _FILES,
    "fine_tuning": _TUNED,
    "live": _SOCKET,
    "messages": _HOSTED,
    "models": _MODELS,
    "realtime": _SOCKET,
    "responses": _RESPONSES,
    "tunedModels": _TUNED,
    "videos": _VIDEOS,
    "ws": _LIVE,
}
"""By the first word of a path after its version."""

_BY_METHOD: Final[Mapping[str, Sign]] = {
    "predict": _SECONDS,
    "predictLongRunning": _VIDEOS,
}
"""By the method that a path of Gemini's ends with."""


def sign_at(path: str) -> Sign | None:
    """Return what is known of a path that is not served; None for one that no client asks."""
    words = [word for word in path.split("/") if word]
    while words and words[0] in _ROOTS:
        words.pop(0)
    if not words or path.startswith(WITHOUT_VERSION):
        return None
    return _BY_METHOD.get(path.rpartition(":")[2]) or _BY_RESOURCE.get(words[0].partition(":")[0])


def way_on(path: str) -> str:
    """Say what a request to a path that is not served may have meant, and what it can do."""
    if path.startswith(WITHOUT_VERSION):
        return f"add /v1 to the client's base address, so that it asks for /v1{path}"
    sign = sign_at(path)
    if sign is None:
        return ELSEWHERE
    listed = ", or have the operator list it in gateway.unmetered_routes" if can_be_listed(path) else ""
    return f"{sign.reason}; {sign.way}{listed}"
