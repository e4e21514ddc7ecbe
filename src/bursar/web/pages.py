"""Render templates, and answer with what they make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response

import bursar

LIVE_MS: Final = 2_000
SLOW_MS: Final = 30_000  # what is read of many days

NAVIGATION: Final = (
    ("/", "Overview"),
    ("/spend", "Spend"),
    ("/calls", "Calls"),
    ("/savings", "Savings"),
    ("/count", "Tokens"),
    ("/prices", "Prices"),
    ("/compare", "Compare"),
    ("/keys", "Keys"),
    ("/budgets", "Budgets"),
    ("/doctor", "Doctor"),
)
"""The pages every page links to, a line each, in the order they are shown."""

SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",  # with none, a browser would send forms with the Origin "null"
    "x-content-type-options": "nosniff",
}


class Page(NamedTuple):
    """Describe a page: its changing part and title; the same as JSON, and how often it is brought up to date, if so."""

    content: str
    title: str
    json: str = ""
    every_ms: int = 0
    script: str = "bursar"


class Pages:
    """Hold the templates of a folder; a name they do not know is an error, not an empty text."""

    def __init__(self, folder: Path, filters: dict[str, Callable[..., Any]]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(filters)

    def render(self, name: str, **values: Any) -> str:
        """Render one template."""
        return self._environment.get_template(name).render(**values)


def respond(
    pages: Pages, request: Request[Any, Any, Any], page: Page, status_code: int = 200, **values: Any
) -> Response[str]:
    """Render a page; only its changing part when the script asks for it."""
    name = page.content if request.headers.get("x-fragment") else "page.html"
    shown = {"path": request.url.path, "version": bursar.__version__, "navigation": NAVIGATION, **page._asdict()}
    text = pages.render(name, **shown, **values)
    return Response(text, media_type=MediaType.HTML, headers=SECURITY_HEADERS, status_code=status_code)
