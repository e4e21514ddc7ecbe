"""Answer the API's requests. What is changed here needs a key; budgets and keys change by the command line for now."""

import time
from typing import Annotated, Any, Final

from litestar import get, post
from litestar.exceptions import (
    ClientException,
    HTTPException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.params import Parameter

from bursar.api.views import (
    BudgetView,
    ChargeRequest,
    ChargeView,
    KeyView,
    Overview,
    StatementView,
    key_view,
    read_budgets,
    read_overview,
    read_statement,
)
from bursar.core.errors import Refusal
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.times import DAY_US, day_start_us, moment_from_text, to_datetime
from bursar.store.charges import NewCharge, charge
from bursar.store.database import Connection, Pool, borrow
from bursar.store.keys import Key, all_keys, key_by_digest, secret_digest
from bursar.store.reports import By, one_call, recent_calls
from bursar.store.runs import one_run, recent_runs

CALLS_MAX: Final = 1_000
_TEXT: Final = r"^[^\0]*$"  # what the database can compare with


def now_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


@get("/api/overview", summary="Today and this month, by model, key and hour, with the latest calls")
async def overview(pool: Pool) -> Overview:
    """Read what the front page shows."""
    async with borrow(pool) as connection:
        return await read_overview(connection, now_us())


@get("/api/calls", summary="The latest calls, newest first")
async def calls(
    pool: Pool,
    after: Annotated[str | None, Parameter(description="Only calls after this one, by its id.")] = None,
    key: Annotated[str | None, Parameter(description="Only calls of this key, by name or id.", pattern=_TEXT)] = None,
    run: Annotated[str | None, Parameter(description="Only calls of this agent run.", pattern=_TEXT)] = None,
    limit: Annotated[int, Parameter(ge=1, le=CALLS_MAX)] = 50,
) -> list[dict[str, Any]]:
    """List calls."""
    async with borrow(pool) as connection:
        try:
            return await recent_calls(connection, after=after, key=key, run=run, limit=limit)
        except ValueError as error:
            raise ClientException(f"after: {error}") from None


@get("/api/calls/{call_id:str}", summary="One call: usage, attempts, priced lines", raises=[NotFoundException])
async def call(pool: Pool, call_id: str) -> dict[str, Any]:
    """Show one call in full."""
    async with borrow(pool) as connection:
        try:
            found = await one_call(connection, call_id)
        except ValueError as error:
            raise ClientException(str(error)) from None
    if found is None:
        raise NotFoundException(f"no call {call_id} in the books; a call shows here a moment after it has ended")
    return found


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


@get("/api/budgets", summary="What each key's budget has spent, held and left")
async def budgets(pool: Pool) -> list[BudgetView]:
    """List budgets."""
    async with borrow(pool) as connection:
        return await read_budgets(connection, now_us())


@get("/api/keys", summary="Keys, without their secrets")
async def keys(pool: Pool) -> list[KeyView]:
    """List keys."""
    async with borrow(pool) as connection:
        return [key_view(key) for key in await all_keys(connection)]


@get("/api/runs", summary="The latest agent runs and what they cost")
async def runs(
    pool: Pool,
    days: Annotated[int, Parameter(ge=1, le=3_660, description="Only runs of so many days.")] = 7,
    limit: Annotated[int, Parameter(ge=1, le=CALLS_MAX)] = 50,
) -> list[dict[str, Any]]:
    """List runs."""
    async with borrow(pool) as connection:
        return await recent_runs(connection, now_us() - days * DAY_US, limit)


@get(
    "/api/runs/{run:str}", summary="One run: its calls as a tree, charges, budgets", raises=[NotFoundException]
)
async def run(pool: Pool, run: Annotated[str, Parameter(pattern=_TEXT)]) -> dict[str, Any]:
    """Show a run."""
    async with borrow(pool) as connection:
        found = await one_run(connection, run, now_us())
    if found is None:
        raise NotFoundException(f"no run {run} in the books; a call shows here a moment after it has ended")
    return found


@post(
    "/api/charges",
    summary="Charge work that is no model call to the key that is given as bearer",
    raises=[ClientException, NotAuthorizedException, PermissionDeniedException, NotFoundException],
)
async def charge_work(
    pool: Pool,
    data: ChargeRequest,
    authorization: Annotated[str | None, Parameter(header="authorization")] = None,
) -> ChargeView:
    """Book a charge."""
    try:
        cost_nano = usd_to_nano(data.amount_usd)
    except ValueError as error:
        raise ClientException(f"amount_usd: {error}") from None
    if cost_nano < 0:
        raise ClientException("amount_usd: expected an amount that is not negative")
    new = NewCharge(
        data.id,
        data.kind,
        cost_nano,
        data.run,
        data.call,
        data.supplier,
        data.description,
        data.quantity,
        data.tags,
    )
    async with borrow(pool) as connection:
        key = await _key_of(connection, authorization)
        try:
            charged = await charge(connection, key, new, now_us())
        except Refusal as refusal:
            raise HTTPException(refusal.message, status_code=refusal.status, extra={"code": refusal.code}) from None
    cost, overage = nano_to_usd(charged.cost_nano), nano_to_usd(charged.overage_nano)
    return ChargeView(charged.charge_id, cost, overage, list(charged.budgets), charged.again)


async def _key_of(connection: Connection, authorization: str | None) -> Key:
    """Find the key of a bearer. Raises `NotAuthorizedException`."""
    scheme, _, secret = (authorization or "").partition(" ")
    key = await key_by_digest(connection, secret_digest(secret.strip())) if scheme.lower() == "bearer" else None
    if key is None or key.revoked_us is not None or (key.expires_us is not None and key.expires_us <= now_us()):
        raise NotAuthorizedException("send a valid key: `Authorization: Bearer bk_...`")
    return key


HANDLERS: Final = [overview, calls, call, statement, budgets, keys, runs, run, charge_work]
