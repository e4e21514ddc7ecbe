"""Keep virtual keys and their budgets. A key's secret is shown once and stored as a SHA-256 digest."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from bursar.budgets.budget import Budget, Window, period_at
from bursar.core.errors import OperatorError
from bursar.core.money import Money
from bursar.ledger import chart
from bursar.store.database import Connection, load_statements
from bursar.store.leases import set_limit

_SQL: Final = load_statements("keys")

TENANT: Final = 1
"""The tenant of an installation that has one."""
KEY_PREFIX: Final = "bk_"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LEN: Final = 43  # 256 bits
_NAME_CHARS_MAX: Final = 128


class Key(msgspec.Struct, frozen=True):
    """Hold a virtual key: who calls, what it may call, and which budget pays. Empty scopes allow everything."""

    tenant: int
    key_id: str
    name: str
    sha256: bytes
    budget: Budget
    created_us: int
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    output_cap: int | None = None  # tokens, for a call that sets none
    expires_us: int | None = None
    revoked_us: int | None = None


class Scope(msgspec.Struct, frozen=True):
    """Limit a key to models and routes, give its calls tags and an output cap, let it expire."""

    models: Sequence[str] = ()
    routes: Sequence[str] = ()
    tags: dict[str, str] = {}
    output_cap: int | None = None
    expires_us: int | None = None


class BudgetState(msgspec.Struct, frozen=True):
    """Say where the money of a budget's current window is. Spent and held are told apart."""

    limit_nano: Money | None
    window: Window
    period: str
    spent_nano: Money
    held_nano: Money
    leased_nano: Money  # in leases, neither spent nor held
    overage_nano: Money
    indeterminate_nano: Money

    @property
    def left_nano(self) -> Money | None:
        """Return what can still be spent; None when unlimited."""
        if self.limit_nano is None:
            return None
        return self.limit_nano - self.spent_nano - self.held_nano - self.indeterminate_nano


def secret_digest(secret: str) -> bytes:
    """Return the digest a key's secret is stored and found by. The secret has 256 random bits: no salt is needed."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    connection: Connection,
    name: str,
    limit: tuple[Money | None, Window],
    scope: Scope,
    now_us: int,
    tenant: int = TENANT,
) -> tuple[Key, str]:
    """Create a key with a budget of its own. Returns it with its secret, which is not kept anywhere.

    Raises `OperatorError` when the name is taken, or none.
    """
    if not name.strip() or not name.isprintable() or len(name) > _NAME_CHARS_MAX:
        raise OperatorError(
            f"a key's name has 1 to {_NAME_CHARS_MAX} printable characters, got {name[:_NAME_CHARS_MAX]!r}"
        )
    secret = KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LEN))
    budget = Budget(f"bud_{secrets.token_hex(8)}", tenant, *limit)
    key = Key(
        tenant=tenant,
        key_id=f"key_{secrets.token_hex(8)}",
        name=name,
        sha256=secret_digest(secret),
        budget=budget,
        created_us=now_us,
        models=tuple(scope.models),
        routes=tuple(scope.routes),
        tags=scope.tags,
        output_cap=scope.output_cap,
        expires_us=scope.expires_us,
    )
    values = (
        list(key.models),
        list(key.routes),
        msgspec.json.encode(key.tags).decode(),
        key.output_cap,
        now_us,
        key.expires_us,
    )
    try:
        async with connection.transaction():
            await connection.execute(
                _SQL["insert_budget"], tenant, budget.budget_id, budget.limit_nano, budget.window.value, now_us
            )
            await connection.execute(
                _SQL["insert_key"], tenant, key.key_id, name, key.sha256, budget.budget_id, *values
            )
            await connection.execute(_SQL["notify"], f"key:{key.key_id}")
    except asyncpg.UniqueViolationError:
        raise OperatorError(f"a key named {name!r} exists already: choose another name") from None
    return key, secret


async def all_keys(connection: Connection) -> list[Key]:
    """Read every key."""
    return [_key(row) for row in await connection.fetch(_SQL["select_keys"])]


async def key_by_digest(connection: Connection, digest: bytes) -> Key | None:
    """Find the key of a secret's digest."""
    row = await connection.fetchrow(_SQL["select_key_by_hash"], digest)
    return _key(row) if row is not None else None


async def revoke_key(connection: Connection, name: str, now_us: int, tenant: int = TENANT) -> str:
    """Revoke a key by id or name; its budget and records stay. Raises `OperatorError` for an unknown key."""
    async with connection.transaction():
        key_id = await connection.fetchval(_SQL["revoke_key"], tenant, name, now_us)
        if key_id is None:
            raise OperatorError(f"no key named {name!r}: see `bursar keys list`")
        await connection.execute(_SQL["notify"], f"key:{key_id}")
    return key_id


async def set_budget(
    connection: Connection, name: str, limit: tuple[Money | None, Window], now_us: int, tenant: int = TENANT
) -> Budget:
    """Change the budget of a key, by id or name. What was spent in the current window stays spent.

    Raises `OperatorError` for an unknown key.
    """
    limit_nano, window = limit
    async with connection.transaction():
        row = await connection.fetchrow(_SQL["key_budget"], tenant, name)
        if row is None:
            raise OperatorError(f"no key named {name!r}: see `bursar keys list`")
        budget = Budget(row["budget_id"], tenant, limit_nano, window)
        await connection.execute(_SQL["update_budget"], tenant, budget.budget_id, limit_nano, window.value)
        await set_limit(connection, budget, now_us)
        await connection.execute(_SQL["notify"], f"key:{row['key_id']}")
    return budget


async def budget_states(connection: Connection, budgets: Sequence[Budget], now_us: int) -> list[BudgetState]:
    """Say where the money of each budget's current window is."""
    by_tenant: dict[int, list[str]] = {}
    names = {budget: chart.budget_name(budget.budget_id, period_at(budget.window, now_us).name) for budget in budgets}
    for budget, name in names.items():
        by_tenant.setdefault(budget.tenant, []).append(name)
    rows: dict[tuple[int, str], asyncpg.Record] = {}
    for tenant, wanted in by_tenant.items():
        rows |= {(tenant, row["name"]): row for row in await connection.fetch(_SQL["budget_accounts"], tenant, wanted)}
    return [_state(budget, names[budget], rows.get((budget.tenant, names[budget]))) for budget in budgets]


def _state(budget: Budget, name: str, row: asyncpg.Record | None) -> BudgetState:
    period = name.split(":", 2)[2]
    if row is None:
        return BudgetState(budget.limit_nano, budget.window, period, 0, 0, 0, 0, 0)
    undecided, held = row["indeterminate_nano"], row["held_nano"]
    elsewhere = row["there_nano"] + row["in_leases_nano"] + undecided + row["withdrawn_nano"]
    spent = row["granted_nano"] - elsewhere
    return BudgetState(
        budget.limit_nano,
        budget.window,
        period,
        spent + row["overage_nano"],
        held,
        row["in_leases_nano"] - held,
        row["overage_nano"],
        undecided,
    )


def _key(row: asyncpg.Record) -> Key:
    values: dict[str, Any] = dict(row)
    return Key(
        tenant=values["tenant"],
        key_id=values["key_id"],
        name=values["name"],
        sha256=values["sha256"],
        budget=Budget(values["budget_id"], values["tenant"], values["limit_nano"], Window(values["time_window"])),
        created_us=values["created_us"],
        models=tuple(values["models"]),
        routes=tuple(values["routes"]),
        tags=msgspec.json.decode(values["tags"]),
        output_cap=values["output_cap"],
        expires_us=values["expires_us"],
        revoked_us=values["revoked_us"],
    )
