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
from bursar.api.views import read_overview
from bursar.core.records import CallStatus
from bursar.store.database import Pool, borrow, open_pool
from bursar.web.format import breakable, count, milliseconds, share, usd
from bursar.web.pages import Pages

_HERE: Final = Path(__file__).parent
_CONNECTIONS_MAX: Final = 4
_BEARER: Final = SecurityScheme(type="http", scheme="bearer")
_SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def control_plane(database_url: str) -> Litestar:
    """Return the control plane's application."""
    pages = Pages(
        _HERE / "templates", {"usd": usd, "count": count, "share": share, "ms": milliseconds, "breakable": breakable}
    )

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool = await open_pool(database_url, _CONNECTIONS_MAX)
        app.state.pool = pool
        app.state.admission = Admission()
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
        name = "overview.html" if request.headers.get("x-fragment") else "page.html"
        text = pages.render(name, overview=overview, version=bursar.__version__, ok=CallStatus.ok.name)
        return Response(text, media_type=MediaType.HTML, headers=_SECURITY_HEADERS)

    return Litestar(
        route_handlers=[
            *HANDLERS,
            front_page,
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
