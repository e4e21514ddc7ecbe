"""Show what models cost, how one price came to be, and what the same work costs on several models.

A task is numbers and names of models, nothing that a model is asked: so it may stand in an address, which can be shared
and works without a script. What is too long for one is for `POST /api/compare`.
"""

import asyncio
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from litestar import MediaType, Request, Response, get
from litestar.exceptions import HTTPException
from litestar.params import Parameter

from bursar.api.answers import now_us
from bursar.api.plan import Planner
from bursar.api.price_views import Found, prices_view, served_names
from bursar.api.prices import OFFSET_MAX, Words, name_in_path, read_compared, read_one
from bursar.api.shapes.prices import ComparedView
from bursar.prices.listing import Order
from bursar.prices.task import read_task
from bursar.web.pages import Page, Pages, respond
from bursar.web.steps import price_steps

ROWS: Final = 50
TASK_MAX: Final = 3_000
"""Characters of a task in an address, of which each may take three bytes there."""

MODELS_MAX: Final = 64
_COMMON: Final = ("input", "cache_read", "cache_write", "output")
_EXAMPLE: Final = """\
calls = 12             # to answer one ticket
input_tokens = 3_000   # of each call
cached_percent = 80    # of them, the same in each
output_tokens = 350
"""

AnyRequest = Request[Any, Any, Any]
_Texts = Annotated[list[str] | None, Parameter(max_items=MODELS_MAX)]


@get("/prices", include_in_schema=False, media_type=MediaType.HTML)
async def prices_page(
    request: AnyRequest,
    pages: Pages,
    search: Words = "",
    order: Order = Order.model,
    served: bool = False,
    offset: Annotated[int, Parameter(ge=0, le=OFFSET_MAX)] = 0,
) -> Response[str]:
    """Show a stretch of the prices that hold every word."""
    planner: Planner = request.app.state.planner
    wanted = Found(search, order, offset, ROWS, served)
    found = await asyncio.to_thread(prices_view, await planner.prices(), wanted, now_us())

    def address(at: int, by: str = order.value) -> str:
        return "?" + urlencode({"search": search, "order": by, "offset": at} | ({"served": "true"} if served else {}))

    page = Page("prices.html", "Prices · Bursar", f"/api/prices{address(offset)}", script="")
    values: dict[str, Any] = {"found": found, "wanted": wanted, "orders": list(Order), "rows": ROWS, "common": _COMMON}
    return respond(pages, request, page, address=address, **values)


@get("/prices/{name:path}", include_in_schema=False, media_type=MediaType.HTML)
async def price_page(request: AnyRequest, pages: Pages) -> Response[str]:
    """Show all about one price."""
    name = name_in_path(request, "/prices/")
    one = await read_one(request.app.state.planner, name)
    page = Page("price.html", f"{name} · Bursar", f"/api/prices/{quote(name)}", script="")
    return respond(pages, request, page, one=one, drawn=price_steps(one.history, now_us()))


@get("/compare", include_in_schema=False, media_type=MediaType.HTML)
async def compare_page(
    request: AnyRequest, pages: Pages, task: str = "", model: _Texts = None, more: str = ""
) -> Response[str]:
    """Show what the work that stands in the address costs, or where to write it."""
    planner: Planner = request.app.state.planner
    served = await asyncio.to_thread(served_names, await planner.prices(), now_us())
    chosen = [name for name in (*(model or ()), *more.replace(",", " ").split()) if name]
    compared: ComparedView | None = None
    why = ""
    if task:
        try:
            compared = await _compare(planner, task, chosen)
        except HTTPException as refused:
            why = refused.detail
        except ValueError as error:
            why = str(error)
    page = Page("compare.html", "Compare · Bursar", script="compare")
    asked = {"task": task or _EXAMPLE, "chosen": set(model or ()), "more": more, "task_max": TASK_MAX}
    return respond(pages, request, page, 400 if why else 200, served=served, compared=compared, why=why, **asked)


async def _compare(planner: Planner, task: str, models: list[str]) -> ComparedView:
    if len(task) > TASK_MAX:
        raise ValueError(f"task: expected at most {TASK_MAX:,} characters; POST /api/compare takes more")
    return await read_compared(planner, read_task(task, models))
