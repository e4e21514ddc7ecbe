"""Change keys and budgets as the commands do, in the name of an admin key."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException, ServiceUnavailableException
from litestar.params import Parameter

from bursar.api.admission import origin_of
from bursar.api.answers import ConflictException, UnsupportedMediaException, answering, now_us, unreadable
from bursar.api.views import KeyView, key_view
from bursar.budgets.budget import Terms, limit_text
from bursar.budgets.terms import read_terms
from bursar.budgets.tree import Exhausted, Holder, Holds
from bursar.core.errors import OperatorError
from bursar.core.words import TAGS_MAX, WORD_CHARS_MAX, is_word
from bursar.store.audit_log import ENTRIES_MAX, act_as, audit_entries, entry_view
from bursar.store.database import Connection, Pool, borrow
from bursar.store.holders import TENANT, Place, Policies, create_holder, set_budgets, set_frozen
from bursar.store.keys import Scope, create_key, revoke_key, rotate_key
from bursar.store.scopes import read_addresses, read_expiry, read_models, read_overlap
from bursar.wires.protocols import ROUTES
from bursar.wires.wire import OUTPUT_CAP_MAX

_TEXT: Final = r"^[^\0]*$"
_LIMITS_MAX: Final = 20
_NUMBER_MAX: Final = 1_000_000
_UNLIMITED: Final = ("unlimited",)

Kind = Literal["organisation", "team", "person", "agent", "run", "feature", "model", "other"]
Text = Annotated[str, msgspec.Meta(max_length=256, pattern=_TEXT)]
Limits = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=_LIMITS_MAX)]
Names = Annotated[list[Text], msgspec.Meta(max_length=100)]


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describe a key to be made. Fields are those of `bursar keys create`; limits as in `5.00/day`."""

    name: Text
    limits: Limits | None = None
    parent: Text | None = None
    zone: Text = "UTC"
    models: Names = []
    routes: Names = []
    addresses: Names = []
    tags: dict[Text, Text] = {}
    output_cap: Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_CAP_MAX)] | None = None
    expires: Text | None = None


class RotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how long the present secret stays good, such as `24h` or `0`."""

    overlap: Text = "24h"


class LimitsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name all limits of a key or budget, in place of those it has."""

    limits: Limits
    zone: Text = "UTC"
    soft: bool = False
    grace: Text | None = None
    overdraft: Text | None = None


class BudgetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describe a budget to be made. Fields are those of `bursar budget create`."""

    name: Text
    limits: Limits | None = None
    kind: Kind = "team"
    parent: Text | None = None
    match: dict[Text, Text] = {}
    each: Text = ""
    zone: Text = "UTC"
    soft: bool = False
    grace: Text | None = None
    overdraft: Text | None = None
    when_exhausted: Exhausted | None = None
    holds: Holds | None = None
    depth: Annotated[int, msgspec.Meta(ge=1, le=_NUMBER_MAX)] | None = None
    repeats: Annotated[int, msgspec.Meta(ge=2, le=_NUMBER_MAX)] | None = None
    alerts: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=1_000)]], msgspec.Meta(max_length=20)] | None = None


class MadeKeyView(msgspec.Struct, frozen=True):
    """Hold a key and its secret, which is shown this once."""

    secret: str
    key: KeyView


class RevokedView(msgspec.Struct, frozen=True):
    """Say which key is revoked."""

    id: str
    revoked: bool


class HolderView(msgspec.Struct, frozen=True):
    """Describe whose budgets these are, and their limits."""

    id: str
    name: str
    kind: str
    frozen: bool
    limits: list[str]


class AuditView(msgspec.Struct, frozen=True):
    """Be a line of the audit log."""

    id: int
    at: str
    actor: str
    origin: str
    action: str
    subject: str
    details: dict[str, Any]


def _change(path: str, summary: str, status: int = 201) -> Callable[[Any], Any]:
    """Return a decorator for what changes something in the name of an admin key."""
    return post(
        path,
        summary=summary,
        status_code=status,
        security=[{"admin": []}],
        exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
        raises=[
            NotAuthorizedException,
            NotFoundException,
            ConflictException,
            UnsupportedMediaException,
            ServiceUnavailableException,
        ],
    )


Name = Annotated[str, Parameter(description="A name or id.", pattern=_TEXT, max_length=256)]
AnyRequest = Request[Any, Any, Any]


@asynccontextmanager
async def _changing(pool: Pool, request: AnyRequest, fields: Sequence[str] = ()) -> AsyncIterator[Connection]:
    """Borrow a connection that acts in the name of who asks, and answer what goes wrong."""
    async with answering(tuple(fields), "the change"), borrow(pool) as connection:
        await act_as(connection, *origin_of(request))
        yield connection


@_change("/api/keys", "Create a key; its secret is in this answer alone")
async def create(pool: Pool, request: AnyRequest, data: KeyRequest) -> MadeKeyView:
    """Create a key."""
    async with _changing(pool, request, KeyRequest.__struct_fields__) as connection:
        now = now_us()
        terms = read_terms(data.limits or _UNLIMITED, data.zone, mark="")
        expires_us = read_expiry(data.expires, now, "expires")
        bounds = (data.output_cap, expires_us, read_addresses(data.addresses, "addresses"))
        scope = Scope(read_models(data.models, "models"), _routes(data.routes), _tags(data.tags, "tags"), *bounds)
        key, secret = await create_key(connection, data.name, terms, scope, now, data.parent)
        return MadeKeyView(secret, key_view(key))


@_change("/api/keys/{name:str}/rotate", "Give a key a new secret; the present one stays good for a while")
async def rotate(pool: Pool, request: AnyRequest, name: Name, data: RotateRequest) -> MadeKeyView:
    """Rotate a key."""
    async with _changing(pool, request, RotateRequest.__struct_fields__) as connection:
        overlap_us = read_overlap(data.overlap, "overlap")
        key, secret = await rotate_key(connection, name, overlap_us, now_us())
        return MadeKeyView(secret, key_view(key))


@_change("/api/keys/{name:str}/revoke", "Revoke a key; again changes nothing", 200)
async def revoke(pool: Pool, request: AnyRequest, name: Name) -> RevokedView:
    """Revoke a key."""
    async with _changing(pool, request) as connection:
        return RevokedView(await revoke_key(connection, name, now_us()), revoked=True)


@_change("/api/budgets", "Create a budget")
async def create_budget(pool: Pool, request: AnyRequest, data: BudgetRequest) -> HolderView:
    """Create a budget."""
    async with _changing(pool, request, BudgetRequest.__struct_fields__) as connection, connection.transaction():
        alerts = None if data.alerts is None else sorted(set(data.alerts))
        policies = Policies(data.when_exhausted, data.holds, data.depth, data.repeats, alerts)
        place = Place(data.kind, data.parent, _tags(data.match, "match"), data.each, policies)
        terms = _terms(data, data.limits or _UNLIMITED)
        return _holder_view(await create_holder(connection, data.name, place, terms, now_us()))


@_change("/api/budgets/{name:str}/limits", "Set all limits of a key or budget; again changes nothing", 200)
async def set_limits(pool: Pool, request: AnyRequest, name: Name, data: LimitsRequest) -> HolderView:
    """Set limits."""
    async with _changing(pool, request, LimitsRequest.__struct_fields__) as connection:
        terms = _terms(data, data.limits)
        return _holder_view(await set_budgets(connection, name, terms, now_us()))


@_change("/api/budgets/{name:str}/freeze", "Refuse all calls of a key or budget and of all below it", 200)
async def freeze(pool: Pool, request: AnyRequest, name: Name) -> HolderView:
    """Freeze a budget."""
    async with _changing(pool, request) as connection:
        return _holder_view(await set_frozen(connection, name, now_us(), frozen=True))


@_change("/api/budgets/{name:str}/thaw", "Let calls of a frozen key or budget be made again", 200)
async def thaw(pool: Pool, request: AnyRequest, name: Name) -> HolderView:
    """Thaw a budget."""
    async with _changing(pool, request) as connection:
        return _holder_view(await set_frozen(connection, name, now_us(), frozen=False))


@get("/api/audit", summary="Who changed what, newest first")
async def audit(
    pool: Pool,
    before: Annotated[int | None, Parameter(ge=1, le=2**62, description="Only lines before this one, by id.")] = None,
    subject: Annotated[str | None, Parameter(description="Only changes of this name.", pattern=_TEXT)] = None,
    action: Annotated[str | None, Parameter(description="Such as key.create, or key.", pattern=_TEXT)] = None,
    limit: Annotated[int, Parameter(ge=1, le=ENTRIES_MAX)] = 50,
) -> list[AuditView]:
    """List the audit log."""
    async with borrow(pool) as connection:
        found = await audit_entries(connection, TENANT, before=before, subject=subject, action=action, limit=limit)
    return [AuditView(**entry_view(entry)) for entry in found]


def _terms(data: LimitsRequest | BudgetRequest, limits: Sequence[str]) -> list[Terms]:
    return read_terms(limits, data.zone, soft=data.soft, grace=data.grace, overdraft=data.overdraft, mark="")


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


def _holder_view(holder: Holder) -> HolderView:
    limits = [limit_text(budget.terms) for budget in holder.budgets]
    return HolderView(holder.holder_id, holder.name, holder.kind, holder.frozen, limits)


CHANGES: Final = [create, rotate, revoke, create_budget, set_limits, freeze, thaw, audit]
