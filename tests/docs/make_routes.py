"""Write docs/reference/routes.md: ask a running gateway every route that the official SDKs' clients can ask.

python -m tests.docs.make_routes
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from bench.harness import bursar
from bursar.gateway.signpost import Sign, sign_at
from tests.docs.sdk_routes import Route, sdk_routes

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "routes.md"
NO_ROUTE: Final = "no_route"
WORKS: Final = "Works"
_INTRODUCTION: Final = """# Routes of the official clients

What the official Python clients of OpenAI, Anthropic and Google can ask, route by route, read from the clients' own
modules: each works, or is refused with 404 `no_route`, in the provider's own error shape, so that the client raises its
own `NotFoundError` (Google's: `ClientError`) with the reason and the way out. Nothing is passed on and nothing charged,
but where the operator lists a route in [`gateway.unmetered_routes`](config.md#routes-without-a-price).

<!-- Made by `python -m tests.docs.make_routes`; each line is a test in tests/gateway/test_sdk_routes.py. -->
"""


def headers_of(sdk: str, key: str) -> dict[str, str]:
    """Return what an SDK says of itself with each request, as far as it decides the answer's shape."""
    if sdk == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"x-goog-api-key": key} if sdk == "google-genai" else {"authorization": f"Bearer {key}"}


def ask(client: httpx.Client, route: Route, key: str) -> httpx.Response:
    """Ask a route with nothing to say."""
    return client.request(route.method, route.example, headers=headers_of(route.sdk, key), json={})


def code_in(sdk: str, body: Any) -> str:
    """Return the code of a refusal, by where its SDK's provider puts it; empty where that is not its shape."""
    match sdk, body:
        case "openai", {"error": {"message": str(), "type": str(), "code": str(code)}}:
            return code
        case "anthropic", {"type": "error", "error": {"type": str(), "message": str(), "code": str(code)}}:
            return code
        case "google-genai", {"error": {"code": int(), "status": str(), "details": [{"reason": str(code)}, *_]}}:
            return code
    return ""


def lines_of(text: str) -> Iterator[tuple[Route, str]]:
    """Read the page again: each route with what it says of it."""
    sdk = answer = ""
    for line in text.splitlines():
        if line.startswith("## "):
            sdk = line[3:]
        elif line.startswith("### "):
            answer = line[4:]
        elif found := re.fullmatch(r"\| `(\w+) (/\S+)` \|", line):
            yield Route(sdk, found[2], found[1]), answer


def page(answers: dict[Route, str]) -> str:
    """Return the page's text, given what each route answered: a code, or nothing."""
    return "\n".join([_INTRODUCTION, *_sections(answers)])


def _sections(answers: dict[Route, str]) -> Iterator[str]:
    for sdk in dict.fromkeys(route.sdk for route in answers):
        own = [route for route in answers if route.sdk == sdk]
        working = [route for route in own if answers[route] != NO_ROUTE]
        refused: dict[Sign, list[Route]] = defaultdict(list)
        for route in own:
            if answers[route] == NO_ROUTE:
                sign = sign_at(route.path)
                assert sign is not None, f"{route}: say in bursar.gateway.signpost why it is refused"
                refused[sign].append(route)
        yield f"## {sdk}\n\n{len(own)} routes, of which {len(working)} work.\n"
        yield _table(WORKS, working)
        for sign, routes in sorted(refused.items()):
            yield _table(f"Refused: {sign.reason}", routes, f"Instead: {sign.way}.\n\n")


def _table(heading: str, routes: list[Route], said: str = "") -> str:
    rows = "\n".join(f"| `{route.method} {route.path}` |" for route in routes)
    return f"### {heading}\n\n{said}| route |\n|---|\n{rows}\n"


def _ask_all() -> dict[Route, str]:
    with bursar() as local, httpx.Client(base_url=local.url) as client:
        key = local.create_key("routes")
        return {route: _code(route, ask(client, route, key)) for route in sdk_routes()}


def _code(route: Route, response: httpx.Response) -> str:
    return code_in(route.sdk, response.json()) if response.status_code >= 400 else ""


if __name__ == "__main__":
    PAGE.write_text(page(_ask_all()))
