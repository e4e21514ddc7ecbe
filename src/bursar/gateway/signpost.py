"""Point the way on for a request that came to a route there is none of."""

from typing import Final

_WITHOUT_VERSION: Final = ("/chat/completions", "/responses", "/messages", "/models")
_KEPT_AT_PROVIDER: Final = "/v1/responses"


def way_on(path: str) -> str:
    """Say what a request to a path that is not served may have meant, and what it can do."""
    if path.startswith(_WITHOUT_VERSION):
        return f"add /v1 to the client's base address, so that it asks for /v1{path}"
    if path.startswith(_KEPT_AT_PROVIDER):
        return (
            "answers are stored nowhere here, so that of responses there is only POST /v1/responses; go on from an"
            " earlier one with `previous_response_id`, or send its items again"
        )
    return "see GET /api/openapi.json and docs/reference/http.md"
