"""Show where to paste a text or drop an image or a recording; `POST /api/count` counts it and keeps nothing."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get

from bursar.web.pages import Page, Pages, respond

_PAGE: Final = Page("count.html", "Tokens · Bursar", script="count")


@get("/count", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def count_page(request: Request[Any, Any, Any], pages: Pages) -> Response[str]:
    """Show the page; its script asks for the counts."""
    return respond(pages, request, _PAGE)
