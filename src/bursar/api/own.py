"""Answer a key what belongs to it: what it may spend yet, what a plan would cost, its own calls of a run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final
from urllib.parse import unquote

from litestar import Request, get, post
from litestar.exceptions import (
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
    ServiceUnavailableException,
    TooManyRequestsException,
)
from litestar.params import Parameter

from bursar.api.admission import FROM, OWN_KEY
from bursar.api.answers import answering, now_us, unreadable
from bursar.api.own_key import bearer, key_of
from bursar.api.plan import Planner
from bursar.api.shapes.holders import TEXT
from bursar.api.shapes.own import OwnBudgetView, OwnLimitView, PlanRequest, PlanView
from bursar.budgets.budget import UNIT_WORDS, amount_text, limit_text
from bursar.core.addresses import read_address
from bursar.core.errors import BadRequest, NotFound
from bursar.core.money import nano_to_usd
from bursar.core.times import FOREVER_US, to_datetime
from bursar.core.words import is_word
from bursar.gateway.identify import check_address
from bursar.ledger.chart import Unit
from bursar.store.database import Connection, Pool, borrow
from bursar.store.holders import BudgetState, budget_states
from bursar.store.keys import Key
from bursar.store.runs import one_run

_RUNS: Final = "/api/own/runs/"

AnyRequest = Request[Any, Any, Any]


def _own(path: str, summary: str, **more: Any) -> Any:
    """Return a decorator for what a key asks about itself."""
    usual = NotAuthorizedException, PermissionDeniedException, TooManyRequestsException, ServiceUnavailableException
    raises = [*usual, *more.pop("raises", ())]
    decorator = more.pop("by", get)
    return decorator(path, summary=summary, security=[{"key": []}], opt={OWN_KEY: True}, raises=raises, **more)


@asynccontextmanager
async def _asking(pool: Pool, request: AnyRequest) -> AsyncIterator[tuple[Connection, Key]]:
    """Borrow a connection for the key that asks, and answer what goes wrong."""
    secret = bearer(request.headers.get("authorization", ""))
    async with answering((), "reading the books"), borrow(pool) as connection:
        key = await key_of(connection, secret, request.app.state.admission)
        check_address(key, read_address(request.headers.get(FROM, "")))
        yield connection, key


@_own("/api/own/budget", "What the key that is given as bearer may spend yet, by each limit above its calls")
async def own_budget(
    pool: Pool,
    request: AnyRequest,
    run: Annotated[str, Parameter(description="Of calls of this agent run.", pattern=TEXT, max_length=256)] = "",
    model: Annotated[str, Parameter(description="Of calls of this model.", pattern=TEXT, max_length=256)] = "",
) -> OwnBudgetView:
    """Show what a key may spend yet."""
    now = now_us()
    async with _asking(pool, request) as (connection, key):
        if run and not is_word(run):
            raise BadRequest("run: expected a run's name, as in the x-bursar-run header", param="run")
        claim = key.path.find(run, model, key.tags)
        states = await budget_states(connection, list(claim.budgets), now)
    left = [each.left_nano for each in states if each.budget.terms.unit is Unit.usd and each.left_nano is not None]
    least = nano_to_usd(min(left)) if left else None
    return OwnBudgetView(key.name, claim.frozen or None, least, [_limit_view(each) for each in states])


@_own(
    "/api/own/runs/{run:path}",
    "One run as far as it is the key's: its own calls as a tree, its charges",
    raises=[NotFoundException],
)
async def own_run(
    pool: Pool,
    request: AnyRequest,
    run: Annotated[Any, Parameter(description="As in the x-bursar-run header.", schema_extra={"format": None})],  # noqa: ARG001
) -> dict[str, Any]:
    """Show a key's part of a run."""
    name = unquote(request.scope["raw_path"].decode("latin-1")).removeprefix(_RUNS)  # a Path loses its //
    async with _asking(pool, request) as (connection, key):
        found = await one_run(connection, name, now_us(), key.key_id) if is_word(name) else None
        if found is None:
            raise NotFound(f"no call of run {name} in the books that key {key.name!r} has made", param="run")
    return found


@_own(
    "/api/own/plan",
    "What work that is not done yet would cost, on each model the key may use",
    by=post,
    status_code=200,
    exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
    response_description="The prices, the cheapest first",
)
async def price_plan(pool: Pool, request: AnyRequest, data: PlanRequest) -> PlanView:
    """Price a plan."""
    async with _asking(pool, request) as (_, key):
        pass
    planner: Planner = request.app.state.planner
    async with answering((), "pricing the plan"):
        return await planner.price(pool, key, data, now_us())


def _limit_view(state: BudgetState) -> OwnLimitView:
    terms = state.budget.terms
    left = state.left_nano
    ends = None if terms.rolling or state.end_us >= FOREVER_US else to_datetime(state.end_us).isoformat()
    return OwnLimitView(
        state.budget.holder,
        UNIT_WORDS[terms.unit],
        terms.window.value,
        limit_text(terms),
        amount_text(state.spent_nano, terms.unit),
        amount_text(state.held_nano, terms.unit),
        None if left is None else amount_text(left, terms.unit),
        ends,
    )


OWN: Final = [own_budget, own_run, price_plan]
