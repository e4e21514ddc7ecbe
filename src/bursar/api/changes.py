"""Change keys and budgets as the commands do, in the name of an admin key."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from litestar import Request, get, patch, post
from litestar.exceptions import NotAuthorizedException, NotFoundException, ServiceUnavailableException
from litestar.params import Parameter

from bursar.api.acts import changing, make_budget, make_key, move, put_limits, put_policy, put_scope, read_amount
from bursar.api.answers import ConflictException, UnsupportedMediaException, now_us, unreadable
from bursar.api.shapes.holders import (
    TEXT,
    AuditView,
    BudgetRequest,
    HolderView,
    KeyRequest,
    KeyView,
    LimitsRequest,
    MadeKeyView,
    MovedView,
    MoveRequest,
    PolicyRequest,
    RevokedView,
    RotateRequest,
    ScopeRequest,
)
from bursar.api.views import key_view
from bursar.budgets.budget import limit_text
from bursar.budgets.tree import Holder
from bursar.core.money import nano_to_usd
from bursar.store.audit_log import ENTRIES_MAX, audit_entries, entry_view
from bursar.store.database import Pool, borrow
from bursar.store.holders import TENANT, set_frozen
from bursar.store.keys import revoke_key, rotate_key
from bursar.store.scopes import read_overlap


def _change(path: str, summary: str, status: int = 201, method: Callable[..., Any] = post) -> Callable[[Any], Any]:
    """Return a decorator for what changes something in the name of an admin key."""
    return method(
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


@_change("/api/keys", "Create a key; its secret is in this answer alone")
async def create(pool: Pool, request: AnyRequest, data: KeyRequest) -> MadeKeyView:
    """Create a key."""
    async with changing(pool, request, KeyRequest.__struct_fields__) as connection:
        key, secret = await make_key(connection, data)
        return MadeKeyView(secret, key_view(key, now_us()))


@_change("/api/keys/{name:str}/rotate", "Give a key a new secret; the present one stays good for a while")
async def rotate(pool: Pool, request: AnyRequest, name: Name, data: RotateRequest) -> MadeKeyView:
    """Rotate a key."""
    async with changing(pool, request, RotateRequest.__struct_fields__) as connection:
        overlap_us = read_overlap(data.overlap, "overlap")
        key, secret = await rotate_key(connection, name, overlap_us, now_us())
        return MadeKeyView(secret, key_view(key, now_us()))


@_change("/api/keys/{name:str}/revoke", "Revoke a key; again changes nothing", 200)
async def revoke(pool: Pool, request: AnyRequest, name: Name) -> RevokedView:
    """Revoke a key."""
    async with changing(pool, request) as connection:
        return RevokedView(await revoke_key(connection, name, now_us()), revoked=True)


@_change("/api/keys/{name:str}", "Limit a key otherwise; what is not named stays", 200, patch)
async def limit_key(pool: Pool, request: AnyRequest, name: Name, data: ScopeRequest) -> KeyView:
    """Change a key's scope."""
    async with changing(pool, request, ScopeRequest.__struct_fields__) as connection:
        return key_view(await put_scope(connection, name, data), now_us())


@_change("/api/budgets", "Create a budget")
async def create_budget(pool: Pool, request: AnyRequest, data: BudgetRequest) -> HolderView:
    """Create a budget."""
    async with changing(pool, request, BudgetRequest.__struct_fields__) as connection:
        return _holder_view(await make_budget(connection, data))


@_change("/api/budgets/{name:str}/limits", "Set all limits of a key or budget; again changes nothing", 200)
async def set_limits(pool: Pool, request: AnyRequest, name: Name, data: LimitsRequest) -> HolderView:
    """Set limits."""
    async with changing(pool, request, LimitsRequest.__struct_fields__) as connection:
        return _holder_view(await put_limits(connection, name, data))


@_change("/api/budgets/{name:str}/policy", "Say how calls of a key or budget are treated; what is not named stays", 200)
async def set_policy(pool: Pool, request: AnyRequest, name: Name, data: PolicyRequest) -> HolderView:
    """Set a policy."""
    async with changing(pool, request, PolicyRequest.__struct_fields__) as connection:
        return _holder_view(await put_policy(connection, name, data))


@_change("/api/budgets/{name:str}/move", "Move money to another budget, within their windows; the same id once", 200)
async def move_to(pool: Pool, request: AnyRequest, name: Name, data: MoveRequest) -> MovedView:
    """Move money."""
    async with changing(pool, request, MoveRequest.__struct_fields__) as connection:
        moved = await move(connection, name, data)
        return MovedView(data.id, name, data.to, nano_to_usd(read_amount(data.amount_usd)), again=not moved)


@_change("/api/budgets/{name:str}/freeze", "Refuse all calls of a key or budget and of all below it", 200)
async def freeze(pool: Pool, request: AnyRequest, name: Name) -> HolderView:
    """Freeze a budget."""
    async with changing(pool, request) as connection:
        return _holder_view(await set_frozen(connection, name, now_us(), frozen=True))


@_change("/api/budgets/{name:str}/thaw", "Let calls of a frozen key or budget be made again", 200)
async def thaw(pool: Pool, request: AnyRequest, name: Name) -> HolderView:
    """Thaw a budget."""
    async with changing(pool, request) as connection:
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


def _holder_view(holder: Holder) -> HolderView:
    limits = [limit_text(budget.terms) for budget in holder.budgets]
    return HolderView(holder.holder_id, holder.name, holder.kind, holder.frozen, limits)


CHANGES: Final = [
    create,
    limit_key,
    rotate,
    revoke,
    create_budget,
    set_limits,
    set_policy,
    move_to,
    freeze,
    thaw,
    audit,
]
