"""Assemble the control plane: API, pages, static files, OpenAPI description."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router

import bursar
from bursar.api.admission import Admission, admit
from bursar.api.doctor.doctor import Doctor
from bursar.api.handlers import HANDLERS
from bursar.api.plan import Planner
from bursar.savings.proof import percent_text
from bursar.store.database import Pool, open_pool
from bursar.web.budgets import BUDGETS
from bursar.web.calls import call_page, calls_page
from bursar.web.charts import Charts
from bursar.web.count import count_page
from bursar.web.doctor import doctor_page
from bursar.web.format import breakable, count, each, milliseconds, place, share, usd
from bursar.web.keys import KEYS
from bursar.web.overview import overview_page
from bursar.web.pages import Pages
from bursar.web.prices import compare_page, price_page, prices_page
from bursar.web.savings import savings_page
from bursar.web.sign_in import SESSIONS
from bursar.web.spend import group_name, kind_colour, kind_name, spend_page
from bursar.web.trouble import trouble

_HERE: Final = Path(__file__).parent
_CONNECTIONS_MAX: Final = 4
_BEARER: Final = SecurityScheme(type="http", scheme="bearer")
_FILTERS: Final = {
    "usd": usd,
    "count": count,
    "share": share,
    "ms": milliseconds,
    "breakable": breakable,
    "each": each,
    "place": place,
    "percent": percent_text,
    "group_name": group_name,
    "kind_name": kind_name,
    "kind_colour": kind_colour,
}
PAGES: Final = (
    overview_page,
    spend_page,
    calls_page,
    call_page,
    savings_page,
    count_page,
    prices_page,
    price_page,
    compare_page,
    *KEYS,
    *BUDGETS,
    *SESSIONS,
    doctor_page,
)


def control_plane(database_url: str, planner: Planner, doctor: Doctor) -> Litestar:
    """Return the control plane's application."""
    pages = Pages(_HERE / "templates", _FILTERS)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool = await open_pool(database_url, _CONNECTIONS_MAX)
        app.state.pool = pool
        app.state.admission = Admission()
        app.state.planner = planner
        app.state.doctor = doctor
        app.state.charts = Charts()
        try:
            yield
        finally:
            pool.terminate()

    def the_pool(state: State) -> Any:
        return state.pool

    def the_pages() -> Pages:
        return pages

    return Litestar(
        route_handlers=[
            *HANDLERS,
            *PAGES,
            create_static_files_router("/static", [_HERE / "static"], include_in_schema=False),
        ],
        dependencies={
            "pool": Provide(the_pool, sync_to_thread=False),
            "pages": Provide(the_pages, sync_to_thread=False),
        },
        lifespan=[lifespan],
        guards=[admit],
        exception_handlers={Exception: trouble(pages)},
        openapi_config=OpenAPIConfig(
            title="Bursar control plane",
            version=bursar.__version__,
            path="/api",
            components=Components(security_schemes=dict.fromkeys(("key", "admin"), _BEARER)),
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        signature_types=[Pool, Pages],
        logging_config=None,
    )
