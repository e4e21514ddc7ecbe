"""Change keys and budgets as the commands do, in the name of an admin key."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException, ServiceUnavailableException
from litestar.params import Parameter

from bursar.api.admission import origin_of
from bursar.api.answers import ConflictException, UnsupportedMediaException, answering, now_us, unreadable
from bursar.api.shapes.holders import (
    TEXT,
    AuditView,
    BudgetRequest,
    HolderView,
    KeyRequest,
    LimitsRequest,
    MadeKeyView,
    RevokedView,
    RotateRequest,
)
from bursar.api.views import key_view
from bursar.budgets.budget import Terms, limit_text
from bursar.budgets.terms import read_terms
from bursar.budgets.tree import Holder
from bursar.core.errors import OperatorError
from bursar.core.words import TAGS_MAX, WORD_CHARS_MAX, is_word
from bursar.store.audit_log import ENTRIES_MAX, act_as, audit_entries, entry_view
from bursar.store.database import Connection, Pool, borrow
from bursar.store.holders import TENANT, Place, Policies, create_holder, set_budgets, set_frozen
from bursar.store.keys import Scope, create_key, revoke_key, rotate_key
from bursar.store.scopes import read_addresses, read_expiry, read_models, read_overlap
from bursar.wires.protocols import ROUTES

_UNLIMITED: Final = ("unlimited",)


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


Name = Annotated[str, Parameter(description="A name or id.", pattern=TEXT, max_length=256)]
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
    subject: Annotated[str | None, Parameter(description="Only changes of this name.", pattern=TEXT)] = None,
    action: Annotated[str | None, Parameter(description="Such as key.create, or key.", pattern=TEXT)] = None,
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
