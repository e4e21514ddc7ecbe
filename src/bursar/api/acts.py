"""Do what an admin key asks for, for the API and for the pages alike, on a connection that acts in its name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from litestar import Request

from bursar.api.admission import origin_of
from bursar.api.answers import answering, now_us
from bursar.api.shapes.holders import BudgetRequest, KeyRequest, LimitsRequest, PolicyRequest
from bursar.budgets.budget import Terms, zone_exists
from bursar.budgets.terms import read_terms
from bursar.budgets.tree import Holder
from bursar.core.errors import OperatorError
from bursar.core.words import TAGS_MAX, WORD_CHARS_MAX, is_word
from bursar.store.audit_log import act_as
from bursar.store.database import Connection, Pool, borrow
from bursar.store.holders import Place, Policies, check_name, create_holder, set_budgets, set_policies
from bursar.store.keys import Key, Scope, create_key
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


async def put_limits(connection: Connection, name: str, data: LimitsRequest) -> Holder:
    """Set all limits of a key or budget. Raises `OperatorError` naming the field that cannot be."""
    terms = _terms(data.limits, data.zone, soft=data.soft, grace=data.grace, overdraft=data.overdraft)
    return await set_budgets(connection, name, terms, now_us())


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
