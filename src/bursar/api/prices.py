"""Answer what models cost, how that came to be, and what work would cost on several of them."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote

from litestar import Request, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException, PermissionDeniedException
from litestar.params import Parameter

from bursar.api.admission import ASKS
from bursar.api.answers import now_us, refuse, unreadable
from bursar.api.plan import Planner
from bursar.api.price_views import Found, compared_view, one_price_view, prices_view
from bursar.api.shapes.holders import TEXT
from bursar.api.shapes.prices import ComparedView, OnePriceView, PricesView
from bursar.core.errors import BadRequest, NotFound, UnknownModel, UnpricedUsage
from bursar.prices.listing import Order
from bursar.prices.task import Task, check_task

PRICES_MAX: Final = 200
WORDS_MAX: Final = 200
OFFSET_MAX: Final = 100_000

AnyRequest = Request[Any, Any, Any]
Words = Annotated[
    str, Parameter(description="Words of provider/model, all of them.", pattern=TEXT, max_length=WORDS_MAX)
]
Offset = Annotated[int, Parameter(ge=0, le=OFFSET_MAX, description="Leave out so many of the first.")]


@get("/api/prices", summary="The prices this gateway charges by, searched and ordered")
async def list_prices(
    request: AnyRequest,
    search: Words = "",
    order: Order = Order.model,
    served: Annotated[bool, Parameter(description="Only those of models that clients may ask for here.")] = False,
    offset: Offset = 0,
    limit: Annotated[int, Parameter(ge=1, le=PRICES_MAX)] = 50,
) -> PricesView:
    """List prices."""
    planner: Planner = request.app.state.planner
    prices = await planner.prices()
    return await asyncio.to_thread(prices_view, prices, Found(search, order, offset, limit, served), now_us())


@get("/api/prices/{name:path}", summary="One price: history, conditions, spread", raises=[NotFoundException])
async def show_price(
    request: AnyRequest,
    name: Annotated[Path, Parameter(description="As provider/model.", schema_extra={"format": None})],  # noqa: ARG001
) -> OnePriceView:
    """Show a price."""
    asked = name_in_path(request, "/api/prices/")
    return await read_one(request.app.state.planner, asked)


async def read_one(planner: Planner, name: str) -> OnePriceView:
    """Read one price. Raises the answer that there is none."""
    prices = await planner.prices()
    try:
        return await asyncio.to_thread(one_price_view, prices, name, now_us())
    except UnknownModel as error:
        refuse(NotFound(str(error), param="name"))


def name_in_path(request: AnyRequest, before: str) -> str:
    """Return what stands behind a path's beginning as it was sent: a Path would lose its //."""
    return unquote(request.scope["raw_path"].decode("latin-1")).removeprefix(before)


@post(
    "/api/compare",
    status_code=200,
    summary="Price the same work on several models, each with its own tokens, cache and tier; nothing is kept",
    opt={ASKS: True},
    exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
    response_description="The costs, the cheapest first",
    raises=[NotAuthorizedException, PermissionDeniedException],
)
async def compare(request: AnyRequest, data: Task) -> ComparedView:
    """Price work."""
    try:
        check_task(data)
    except ValueError as error:
        refuse(BadRequest(str(error), param=str(error).partition(":")[0].partition(".")[0]))
    return await read_compared(request.app.state.planner, data)


async def read_compared(planner: Planner, task: Task) -> ComparedView:
    """Price a checked task. Raises the answer that says which model cannot be priced, and why."""
    book = (await planner.prices()).book()
    try:
        return await asyncio.to_thread(compared_view, task, book, now_us())
    except (UnknownModel, UnpricedUsage) as error:
        refuse(BadRequest(f"models: {error}", param="models"))
    except ValueError as error:
        refuse(BadRequest(str(error), param="models"))


PRICES: Final = [list_prices, show_price, compare]
