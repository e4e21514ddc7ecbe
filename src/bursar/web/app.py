"""Assemble the control plane: API, front page, static files, OpenAPI description."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from litestar import Litestar, MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router

import bursar
from bursar.api.admission import Admission, admit
from bursar.api.answers import now_us
from bursar.api.handlers import HANDLERS
from bursar.api.plan import Planner
from bursar.api.routes import read_routes
from bursar.api.savings import savings_view
from bursar.api.views import read_overview
from bursar.core.records import CallStatus
from bursar.core.times import DAY_US
from bursar.savings.proof import percent_text
from bursar.store.database import Pool, borrow, open_pool
from bursar.store.savings import savings as read_savings
from bursar.web.format import breakable, count, each, milliseconds, place, share, usd
from bursar.web.pages import Page, Pages, respond

_HERE: Final = Path(__file__).parent
_CONNECTIONS_MAX: Final = 4
_BEARER: Final = SecurityScheme(type="http", scheme="bearer")

SAVINGS_DAYS: Final = 30
_LIVE_MS: Final = 2_000
_SLOW_MS: Final = 30_000  # what is read of many days
_FILTERS: Final = {
    "usd": usd,
    "count": count,
    "share": share,
    "ms": milliseconds,
    "breakable": breakable,
    "each": each,
    "place": place,
    "percent": percent_text,
}


def control_plane(database_url: str, planner: Planner) -> Litestar:
    """Return the control plane's application."""
    pages = Pages(_HERE / "templates", _FILTERS)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool = await open_pool(database_url, _CONNECTIONS_MAX)
        app.state.pool = pool
        app.state.admission = Admission()
        app.state.planner = planner
        try:
            yield
        finally:
            pool.terminate()

    def the_pool(state: State) -> Any:
        return state.pool

    @get("/", include_in_schema=False, media_type=MediaType.HTML)
    async def front_page(request: Request[Any, Any, Any], pool: Pool) -> Response[str]:
        """Show the front page; only its changing part when the script asks for it."""
        async with borrow(pool) as connection:
            overview = await read_overview(connection, now_us())
        page = Page("overview.html", "Bursar", "/api/overview", _LIVE_MS)
        return respond(pages, request, page, overview=overview, ok=CallStatus.ok.name)

    @get("/savings", include_in_schema=False, media_type=MediaType.HTML)
    async def savings_page(request: Request[Any, Any, Any], pool: Pool) -> Response[str]:
        """Show what levers save and what routes choose; only the changing part when the script asks for it."""
        now = now_us()
        from_us = now - SAVINGS_DAYS * DAY_US
        async with borrow(pool) as connection:
            found = [savings_view(report) for report in await read_savings(connection, from_us, now)]
            routing = await read_routes(connection, from_us, now)
        page = Page("savings.html", "Savings · Bursar", "/api/savings", _SLOW_MS)
        return respond(pages, request, page, savings=found, routing=routing, days=SAVINGS_DAYS)

    @get("/count", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
    def count_page(request: Request[Any, Any, Any]) -> Response[str]:
        """Show where to paste a text or drop an image; what is pasted is counted by `POST /api/count` and not kept."""
        return respond(pages, request, Page("count.html", "Tokens · Bursar", script="count"))

    return Litestar(
        route_handlers=[
            *HANDLERS,
            front_page,
            savings_page,
            count_page,
            create_static_files_router("/static", [_HERE / "static"], include_in_schema=False),
        ],
        dependencies={"pool": Provide(the_pool, sync_to_thread=False)},
        lifespan=[lifespan],
        guards=[admit],
        openapi_config=OpenAPIConfig(
            title="Bursar control plane",
            version=bursar.__version__,
            path="/api",
            components=Components(security_schemes=dict.fromkeys(("key", "admin"), _BEARER)),
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        signature_types=[Pool],
        logging_config=None,
    )
