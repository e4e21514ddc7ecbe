"""Answer the API's requests for what there is, and charge what a key asks for."""

from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote

from litestar import Request, get, post
from litestar.di import Provide
from litestar.exceptions import (
    ClientException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
    ServiceUnavailableException,
    TooManyRequestsException,
)
from litestar.params import Parameter

from bursar.api.admission import FROM, OWN_KEY
from bursar.api.alerts import alerts
from bursar.api.answers import ConflictException, now_us, refuse, unreadable
from bursar.api.changes import CHANGES
from bursar.api.count import count
from bursar.api.doctor.doctor import doctor
from bursar.api.outcomes import tell_outcome
from bursar.api.own import OWN
from bursar.api.own_key import bearer, key_of
from bursar.api.prices import PRICES
from bursar.api.routes import routes
from bursar.api.savings import savings_view
from bursar.api.series import SERIES
from bursar.api.shapes.holders import KeyView
from bursar.api.shapes.saving import SavingsView
from bursar.api.shapes.spending import BranchView, BudgetView, Overview, StatementView
from bursar.api.shapes.work import ChargeRequest, ChargeView
from bursar.api.sought import read_call, read_calls, read_sought
from bursar.api.views import read_branches, read_budgets, read_keys, read_overview, read_statement
from bursar.core.addresses import read_address
from bursar.core.errors import BooksError, Refusal, Unavailable
from bursar.core.kinds import By
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.times import DAY_US, day_start_us, moment_from_text, to_datetime
from bursar.core.words import is_word
from bursar.gateway.identify import check_address
from bursar.store.charges import NewCharge, charge
from bursar.store.database import AWAY, Pool, borrow
from bursar.store.reports import Sought
from bursar.store.runs import one_run, recent_runs
from bursar.store.savings import savings as read_savings

CALLS_MAX: Final = 1_000


@get("/api/overview", summary="Today and this month, by model, key and hour, with the latest calls")
async def overview(pool: Pool) -> Overview:
    """Read what the front page shows."""
    async with borrow(pool) as connection:
        return await read_overview(connection, now_us())


@get(
    "/api/calls",
    summary="The latest calls, newest first",
    dependencies={"sought": Provide(read_sought, sync_to_thread=False)},
)
async def calls(
    pool: Pool, sought: Sought, limit: Annotated[int, Parameter(ge=1, le=CALLS_MAX)] = 50
) -> list[dict[str, Any]]:
    """List calls."""
    return await read_calls(pool, sought, limit)


@get("/api/calls/{call_id:str}", summary="One call: usage, attempts, priced lines", raises=[NotFoundException])
async def call(pool: Pool, call_id: str) -> dict[str, Any]:
    """Show one call in full."""
    return await read_call(pool, call_id)


@get("/api/statement", summary="What was spent between two moments, grouped")
async def statement(
    pool: Pool,
    by: By = By.model,
    since: Annotated[str | None, Parameter(description="A date or moment; the first of this month without.")] = None,
    until: Annotated[str | None, Parameter(description="A date (included) or moment; now without.")] = None,
) -> StatementView:
    """Read a statement."""
    now = now_us()
    try:
        from_us = moment_from_text(since) if since else day_start_us(to_datetime(now).date().replace(day=1))
        until_us = moment_from_text(until) + (DAY_US if len(until) == 10 else 0) if until else now
    except ValueError as error:
        raise ClientException(str(error)) from None
    if until_us <= from_us:
        raise ClientException("since: expected a moment before until")
    async with borrow(pool) as connection:
        return await read_statement(connection, by, from_us, until_us)


@get("/api/savings", summary="What each lever has saved, by treatment and hold-out")
async def savings(
    pool: Pool,
    days: Annotated[int, Parameter(ge=1, le=3_660, description="Of so many days.")] = 30,
    confidence: Annotated[float, Parameter(gt=0, lt=1, description="With which the intervals are to hold.")] = 0.95,
) -> list[SavingsView]:
    """Compare the arms of each lever."""
    now = now_us()
    async with borrow(pool) as connection:
        return [savings_view(each) for each in await read_savings(connection, now - days * DAY_US, now, confidence)]


@get("/api/budgets", summary="What each key's budget has spent, held and left")
async def budgets(pool: Pool) -> list[BudgetView]:
    """List budgets."""
    async with borrow(pool) as connection:
        return await read_budgets(connection, now_us())


@get("/api/budgets/tree", summary="Budgets and keys as a tree, each after what it is a part of, with terms and limits")
async def budget_tree(pool: Pool) -> list[BranchView]:
    """List the budget tree."""
    async with borrow(pool) as connection:
        return await read_branches(connection, now_us())


@get("/api/keys", summary="Keys, without their secrets")
async def keys(pool: Pool) -> list[KeyView]:
    """List keys."""
    async with borrow(pool) as connection:
        return await read_keys(connection, now_us())


@get("/api/runs", summary="The latest agent runs and what they cost")
async def runs(
    pool: Pool,
    days: Annotated[int, Parameter(ge=1, le=3_660, description="Only runs of so many days.")] = 7,
    limit: Annotated[int, Parameter(ge=1, le=CALLS_MAX)] = 50,
) -> list[dict[str, Any]]:
    """List runs."""
    async with borrow(pool) as connection:
        return await recent_runs(connection, now_us() - days * DAY_US, limit)


@get("/api/runs/{run:path}", summary="One run: its calls as a tree, charges, budgets", raises=[NotFoundException])
async def run(
    pool: Pool,
    request: Request[Any, Any, Any],
    run: Annotated[Path, Parameter(description="As in the x-bursar-run header.", schema_extra={"format": None})],  # noqa: ARG001
) -> dict[str, Any]:
    """Show a run."""
    name = unquote(request.scope["raw_path"].decode("latin-1")).removeprefix("/api/runs/")  # a Path loses its //
    found = None
    if is_word(name):
        async with borrow(pool) as connection:
            found = await one_run(connection, name, now_us())
    if found is None:
        raise NotFoundException(f"no run {name} in the books; a call shows here a moment after it has ended")
    return found


@post(
    "/api/charges",
    summary="Charge work that is no model call to the key that is given as bearer",
    security=[{"key": []}],
    opt={OWN_KEY: True},
    exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
    response_description="What was charged",
    raises=[
        NotAuthorizedException,
        PermissionDeniedException,
        NotFoundException,
        ConflictException,
        TooManyRequestsException,
        ServiceUnavailableException,
    ],
)
async def charge_work(pool: Pool, request: Request[Any, Any, Any], data: ChargeRequest) -> ChargeView:
    """Book a charge."""
    secret = bearer(request.headers.get("authorization", ""))
    try:
        cost_nano = usd_to_nano(data.amount_usd)
    except ValueError as error:
        raise ClientException(f"amount_usd: {error}", extra={"param": "amount_usd"}) from None
    texts = (data.run, data.call, data.supplier, data.description, data.quantity)
    new = NewCharge(data.id, data.kind, cost_nano, *texts, data.tags)
    try:
        async with borrow(pool) as connection:
            key = await key_of(connection, secret, request.app.state.admission)
            check_address(key, read_address(request.headers.get(FROM, "")))
            charged = await charge(connection, key, new, now_us())
    except Refusal as refusal:
        refuse(refusal)
    except (BooksError, *AWAY) as error:
        refuse(Unavailable(f"the charge cannot be booked now: {error}", retry_after_s=1))
    cost, overage = nano_to_usd(charged.cost_nano), nano_to_usd(charged.overage_nano)
    return ChargeView(charged.charge_id, cost, overage, list(charged.budgets), charged.again)


HANDLERS: Final = [
    overview,
    calls,
    call,
    statement,
    savings,
    routes,
    budgets,
    budget_tree,
    alerts,
    doctor,
    keys,
    runs,
    run,
    charge_work,
    tell_outcome,
    count,
    *PRICES,
    *SERIES,
    *OWN,
    *CHANGES,
]
