"""Show the front page: what is spent now, by whom, and the last calls."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get

from bursar.api.answers import now_us
from bursar.api.views import read_overview
from bursar.core.records import CallStatus
from bursar.store.database import Pool, borrow
from bursar.web.pages import LIVE_MS, Page, Pages, respond

_PAGE: Final = Page("overview.html", "Bursar", "/api/overview", LIVE_MS)


@get("/", include_in_schema=False, media_type=MediaType.HTML)
async def overview_page(request: Request[Any, Any, Any], pool: Pool, pages: Pages) -> Response[str]:
    """Show the front page."""
    async with borrow(pool) as connection:
        overview = await read_overview(connection, now_us())
    return respond(pages, request, _PAGE, overview=overview, ok=CallStatus.ok.name)
