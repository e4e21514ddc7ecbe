"""Answer the API's requests. Everything here reads; what changes money goes through the command line for now."""

import time
from typing import Annotated, Any, Final

from litestar import get
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import Parameter

from bursar.api.views import (
    BudgetView,
    KeyView,
    Overview,
    StatementView,
    key_view,
    read_budgets,
    read_overview,
    read_statement,
)
from bursar.core.times import DAY_US, day_start_us, moment_from_text, to_datetime
from bursar.store.database import Pool, borrow
from bursar.store.keys import all_keys
from bursar.store.reports import By, one_call, recent_calls

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


HANDLERS: Final = [overview, calls, call, statement, budgets, keys]
