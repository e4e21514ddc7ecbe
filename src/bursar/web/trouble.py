"""Answer people with a page where something cannot be shown, and programs with JSON: the same status and words."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.exceptions.responses import create_exception_response

from bursar.api.shapes.holders import TEXT
from bursar.gateway.signpost import way_on
from bursar.store.database import AWAY
from bursar.web.pages import NAVIGATION, Page, Pages, respond

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]

_API: Final = "/api"
_AWAY: Final = "the database does not answer: `bursar doctor` tells why, and this page may be loaded again"
_WORDS: Final = {f"Expected `str` matching regex {TEXT!r}": "expected a text without a NUL character"}
_FAULT: Final = "this is a fault of Bursar's, not of what was asked"


class Way(NamedTuple):
    """Say where to go on, and by which words."""

    href: str
    text: str


def trouble(pages: Pages) -> Callable[[AnyRequest, Exception], Response[Any]]:
    """Return what answers to whatever a handler, a guard or the framework raises."""

    def answer(request: AnyRequest, error: Exception) -> Response[Any]:
        if isinstance(error, AWAY):
            error = HTTPException(_AWAY, status_code=503, headers={"retry-after": "1"})
        known = isinstance(error, HTTPException)
        if not known or error.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request.failed", error=type(error).__name__, exc_info=error)
        if not _shows_page(request):
            return create_exception_response(request, error)
        status = error.status_code if known else 500
        told = _told(request, error) if known else [_FAULT]
        title = HTTPStatus(status).phrase
        page = Page("trouble.html", f"{title} · Bursar", script="")
        response = respond(pages, request, page, status, what=title, told=told, ways=_ways(request.url.path))
        response.headers.update((known and error.headers) or {})
        return response

    return answer


def _shows_page(request: AnyRequest) -> bool:
    """Tell whether a request is one of people's: of a page, or of an address there is none of, by a browser."""
    path = request.url.path
    if path == _API or path.startswith(f"{_API}/"):
        return False
    handler = request.scope.get("route_handler")
    is_page = getattr(handler, "media_type", None) == MediaType.HTML
    return is_page or "text/html" in request.headers.get("accept", "")


def _told(request: AnyRequest, error: HTTPException) -> list[str]:
    """Return what is wrong, a text for each thing."""
    extra: Any = error.extra
    if isinstance(error, ValidationException) and isinstance(extra, list):
        return [f"{each.get('key', 'query')}: {_WORDS.get(each['message'], each['message'])}" for each in extra]
    if type(error) is NotFoundException and error.detail == HTTPStatus.NOT_FOUND.phrase:
        return [f"nothing is at {request.url.path}: {way_on(request.url.path)}"]
    if isinstance(error, MethodNotAllowedException):
        return [f"{request.url.path} takes what a page sends: open the page"]
    return [error.detail]


def _ways(path: str) -> list[Way]:
    """Return where to go on: the page an address begins like, as it is when nothing is asked of it, and the first."""
    root = "/" + path.split("/")[1]
    return [Way(href, name) for href, name in NAVIGATION if href in (root, "/")]
