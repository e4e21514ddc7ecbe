"""Answer the API's requests. What is changed here needs a key; budgets and keys change by the command line for now."""

import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import unquote

from litestar import Request, Response, get, post
from litestar.exceptions import (
    ClientException,
    HTTPException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
    ServiceUnavailableException,
)
from litestar.params import Parameter

from bursar.api.alerts import alerts
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
from bursar.core.errors import BooksError, Refusal, Unavailable
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.times import DAY_US, day_start_us, moment_from_text, to_datetime
from bursar.core.words import is_word
from bursar.store.charges import NewCharge, charge
from bursar.store.database import AWAY, Connection, Pool, borrow
from bursar.store.keys import KEY_PREFIX, Key, all_keys, is_key, key_by_digest, secret_digest
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


class ConflictException(HTTPException):
    """Answer that an id was used before, for something else."""

    status_code = 409


def _unreadable(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer to a body the framework's decoder cannot take, which it takes for a mistake of its own."""
    detail = f"the body cannot be read as JSON: {type(error).__name__}"
    return Response({"status_code": 400, "detail": detail}, status_code=400)


@post(
    "/api/charges",
    summary="Charge work that is no model call to the key that is given as bearer",
    security=[{"key": []}],
    exception_handlers={UnicodeDecodeError: _unreadable, RecursionError: _unreadable},
    response_description="What was charged",
    raises=[
        NotAuthorizedException,
        PermissionDeniedException,
        NotFoundException,
        ConflictException,
        ServiceUnavailableException,
    ],
)
async def charge_work(pool: Pool, request: Request[Any, Any, Any], data: ChargeRequest) -> ChargeView:
    """Book a charge."""
    secret = _bearer(request.headers.get("authorization", ""))
    try:
        cost_nano = usd_to_nano(data.amount_usd)
    except ValueError as error:
        raise ClientException(f"amount_usd: {error}", extra={"param": "amount_usd"}) from None
    texts = (data.run, data.call, data.supplier, data.description, data.quantity)
    new = NewCharge(data.id, data.kind, cost_nano, *texts, data.tags)
    try:
        async with borrow(pool) as connection:
            charged = await charge(connection, await _key_of(connection, secret), new, now_us())
    except Refusal as refusal:
        _refuse(refusal)
    except (BooksError, *AWAY) as error:
        _refuse(Unavailable(f"the charge cannot be booked now: {error}", retry_after_s=1))
    cost, overage = nano_to_usd(charged.cost_nano), nano_to_usd(charged.overage_nano)
    return ChargeView(charged.charge_id, cost, overage, list(charged.budgets), charged.again)


def _bearer(header: str) -> str:
    """Return the secret a request brings. Raises `NotAuthorizedException` for what cannot be one."""
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret.startswith(KEY_PREFIX):
        raise NotAuthorizedException("send a key: `Authorization: Bearer bk_...`", extra={"code": "missing_api_key"})
    return secret


async def _key_of(connection: Connection, secret: str) -> Key:
    """Find the key of a secret. Raises `NotAuthorizedException`."""
    digest, code = secret_digest(secret), "invalid_api_key"
    key = await key_by_digest(connection, digest) if await is_key(connection, digest) else None
    if key is not None:
        status = key.status_at(now_us())
        if status == "active":
            return key
        code = f"key_{status}"
    what = "this key is not known" if key is None else f"this key is {code.removeprefix('key_')}"
    raise NotAuthorizedException(f"{what}: see `bursar keys create`", extra={"code": code})


def _refuse(refusal: Refusal) -> NoReturn:
    """Answer with a refusal as the API words one."""
    extra = {"code": refusal.code} | ({"param": refusal.param} if refusal.param else {})
    headers = {"retry-after": str(refusal.retry_after_s)} if refusal.retry_after_s is not None else None
    raise HTTPException(refusal.message, status_code=refusal.status, extra=extra, headers=headers) from None


HANDLERS: Final = [overview, calls, call, statement, budgets, alerts, keys, runs, run, charge_work]
