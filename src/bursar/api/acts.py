"""Do what an admin key asks for, for the API and for the pages alike, on a connection that acts in its name."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from litestar import Request

from bursar.api.admission import origin_of
from bursar.api.answers import answering, now_us
from bursar.api.shapes.holders import BudgetRequest, KeyRequest, LimitsRequest, MoveRequest, PolicyRequest, ScopeRequest
from bursar.budgets.budget import Terms, zone_exists
from bursar.budgets.terms import read_terms, read_usd
from bursar.budgets.tree import Holder
from bursar.core.errors import OperatorError
from bursar.core.money import Money
from bursar.core.words import TAGS_MAX, WORD_CHARS_MAX, is_word
from bursar.store.audit_log import act_as
from bursar.store.database import Connection, Pool, borrow
from bursar.store.holders import (
    TENANT,
    Place,
    Policies,
    check_name,
    create_holder,
    move_money,
    set_budgets,
    set_policies,
)
from bursar.store.keys import Key, Scope, create_key, set_scope
from bursar.store.leases import id_of
from bursar.store.scopes import read_addresses, read_expiry, read_models
from bursar.wires.protocols import ROUTES

_NAMED: Final = ("grace", "overdraft", "soft")  # what a message about terms may begin with; else it is of a limit


@asynccontextmanager
async def changing(
    pool: Pool, request: Request[Any, Any, Any], fields: Sequence[str] = ()
) -> AsyncIterator[Connection]:
    """Borrow a connection that acts in the name of who asks, and answer what goes wrong."""
    async with answering(tuple(fields), "the change"), borrow(pool) as connection:
        await act_as(connection, *origin_of(request))
        yield connection


async def make_key(connection: Connection, data: KeyRequest) -> tuple[Key, str]:
    """Create a key, and return it with its secret. Raises `OperatorError` naming the field that cannot be."""
    now = now_us()
    _check_name(data.name)
    terms = _terms(data.limits, data.zone)
    expires_us = read_expiry(data.expires, now, "expires")
    bounds = (data.output_cap, expires_us, read_addresses(data.addresses, "addresses"))
    scope = Scope(read_models(data.models, "models"), _routes(data.routes), _tags(data.tags, "tags"), *bounds)
    return await create_key(connection, data.name, terms, scope, now, data.parent)


async def make_budget(connection: Connection, data: BudgetRequest) -> Holder:
    """Create a budget. Raises `OperatorError` naming the field that cannot be."""
    _check_name(data.name)
    alerts = None if data.alerts is None else sorted(set(data.alerts))
    policies = Policies(data.when_exhausted, data.holds, data.depth, data.repeats, alerts)
    place = Place(data.kind, data.parent, _tags(data.match, "match"), data.each, policies)
    terms = _terms(data.limits, data.zone, soft=data.soft, grace=data.grace, overdraft=data.overdraft)
    async with connection.transaction():
        return await create_holder(connection, data.name, place, terms, now_us())


async def put_scope(connection: Connection, name: str, data: ScopeRequest) -> Key:
    """Limit a key to other models, routes or addresses, or give it other bounds; what is not named stays.

    Raises `OperatorError` naming the field that cannot be, before anything is written.
    """
    return await set_scope(connection, name, scope_changes(data))


def scope_changes(data: ScopeRequest) -> dict[str, Any]:
    """Read what is to change of a key's scope, by the names of `Scope`. Raises `OperatorError` naming the field."""
    given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    read: dict[str, Callable[[Any], Any]] = {
        "models": lambda models: read_models(models, "models"),
        "routes": _routes,
        "addresses": lambda addresses: read_addresses(addresses, "addresses"),
        "tags": lambda tags: _tags(tags, "tags"),
        "expires": lambda text: read_expiry(text, now_us(), "expires"),
    }
    changes = {name: read[name](value) if name in read else value for name, value in given.items()}
    if "expires" in changes:
        changes["expires_us"] = changes.pop("expires")
    return changes


async def move(connection: Connection, source: str, data: MoveRequest) -> bool:
    """Move money to another budget; False where the id has done so before. Raises `OperatorError` naming the field."""
    amount_nano = read_amount(data.amount_usd)
    return await move_money(connection, (source, data.to), amount_nano, id_of("move", TENANT, data.id), now_us())


def read_amount(text: str) -> Money:
    """Read how much is to be moved. Raises `OperatorError`."""
    amount_nano = read_usd(text, "amount_usd")
    if amount_nano == 0:
        raise OperatorError("amount_usd: expected more than nothing")
    return amount_nano


async def put_limits(connection: Connection, name: str, data: LimitsRequest) -> Holder:
    """Set all limits of a key or budget. Raises `OperatorError` naming the field that cannot be."""
    return await set_budgets(connection, name, limits_of(data), now_us())


def limits_of(data: LimitsRequest) -> list[Terms]:
    """Read limits. Raises `OperatorError` naming the field that cannot be."""
    return _terms(data.limits, data.zone, soft=data.soft, grace=data.grace, overdraft=data.overdraft)


async def put_policy(connection: Connection, name: str, data: PolicyRequest) -> Holder:
    """Say how calls of a key or budget are treated; what is not named stays. Raises `OperatorError`."""
    alerts = None if data.alerts is None else sorted(set(data.alerts))
    return await set_policies(
        connection, name, Policies(data.when_exhausted, data.holds, data.depth, data.repeats, alerts)
    )


def _check_name(name: str) -> None:
    try:
        check_name(name)
    except OperatorError as error:
        raise OperatorError(f"name: {error}") from None


def _terms(limits: Sequence[str] | None, zone: str, **more: Any) -> list[Terms]:
    if not zone_exists(zone):
        raise OperatorError(f"zone: no time zone {zone!r}: expected a name such as Europe/Berlin")
    try:
        return read_terms(limits or ("unlimited",), zone, **more, mark="")
    except OperatorError as error:
        if str(error).startswith(_NAMED):
            raise
        raise OperatorError(f"limits: {error}") from None


def _routes(routes: Sequence[str]) -> tuple[str, ...]:
    for route in routes:
        if route not in ROUTES:
            raise OperatorError(f"routes: expected {' or '.join(ROUTES)}, got {route!r}")
    return tuple(routes)


def _tags(tags: dict[str, str], where: str) -> dict[str, str]:
    if len(tags) > TAGS_MAX or not all(is_word(text) for pair in tags.items() for text in pair):
        raise OperatorError(
            f"{where}: expected at most {TAGS_MAX} names and values of up to {WORD_CHARS_MAX} letters, digits, _.:/@+-"
        )
    return tags
