"""Show what levers save and what routes choose."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get

from bursar.api.answers import now_us
from bursar.api.routes import read_routes
from bursar.api.savings import savings_view
from bursar.core.times import DAY_US
from bursar.store.database import Pool, borrow
from bursar.store.savings import savings as read_savings
from bursar.web.pages import SLOW_MS, Page, Pages, respond

DAYS: Final = 30
_PAGE: Final = Page("savings.html", "Savings · Bursar", "/api/savings", SLOW_MS)


@get("/savings", include_in_schema=False, media_type=MediaType.HTML)
async def savings_page(request: Request[Any, Any, Any], pool: Pool, pages: Pages) -> Response[str]:
    """Show what the last days saved."""
    now = now_us()
    from_us = now - DAYS * DAY_US
    async with borrow(pool) as connection:
        found = [savings_view(report) for report in await read_savings(connection, from_us, now)]
        routing = await read_routes(connection, from_us, now)
    return respond(pages, request, _PAGE, savings=found, routing=routing, days=DAYS)
