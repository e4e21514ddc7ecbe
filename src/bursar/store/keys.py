"""Keep virtual keys. A key's secret is shown once and stored as a SHA-256 digest."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final, Literal

import asyncpg
import msgspec

from bursar.budgets.budget import UNLIMITED, Budget, Terms
from bursar.budgets.tree import Holder, Path, Tree
from bursar.core.errors import OperatorError
from bursar.ledger.chart import Unit
from bursar.store.database import Connection, announce, load_statements
from bursar.store.holders import TENANT, Place, create_holder, read_tree

_SQL: Final = load_statements("keys")

KEY_PREFIX: Final = "bk_"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LEN: Final = 43  # 256 bits


class Key(msgspec.Struct, frozen=True):
    """Hold a virtual key: who calls, what it may call, and who pays. Empty scopes allow everything."""

    tenant: int
    key_id: str
    name: str
    sha256: bytes
    path: Path  # of its holders: itself and those above it
    created_us: int
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    output_cap: int | None = None  # tokens, for a call that sets none
    expires_us: int | None = None
    revoked_us: int | None = None

    def status_at(self, now_us: int) -> Literal["active", "revoked", "expired"]:
        """Say whether calls may be made with it at a moment."""
        if self.revoked_us is not None:
            return "revoked"
        return "expired" if self.expires_us is not None and self.expires_us <= now_us else "active"

    @property
    def holder(self) -> Holder:
        """Return the key as a holder of budgets."""
        return self.path.holders[0]

    @property
    def budget(self) -> Budget:
        """Return the budget that pays for the key's calls."""
        return self.holder.budgets[0]


class Scope(msgspec.Struct, frozen=True):
    """Limit a key to models and routes, give its calls tags and an output cap, let it expire."""

    models: Sequence[str] = ()
    routes: Sequence[str] = ()
    tags: dict[str, str] = {}
    output_cap: int | None = None
    expires_us: int | None = None


def secret_digest(secret: str) -> bytes:
    """Return the digest a key's secret is stored and found by. The secret has 256 random bits: no salt is needed."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    connection: Connection,
    name: str,
    terms: Terms | Sequence[Terms],
    scope: Scope,
    now_us: int,
    parent: str | None = None,
) -> tuple[Key, str]:
    """Create a key with budgets of its own, below `parent`. Returns it with its secret, which is not kept anywhere.

    Raises `OperatorError` when the name is taken, or none, or there is no such parent.
    """
    secret = KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LEN))
    wanted = [terms] if isinstance(terms, Terms) else sorted(terms, key=lambda each: each.unit)
    if not any(each.unit is Unit.usd for each in wanted):
        wanted.insert(0, UNLIMITED)  # what its calls cost is always counted
    key_id, digest, tags = (
        f"key_{secrets.token_hex(8)}",
        secret_digest(secret),
        msgspec.json.encode(scope.tags).decode(),
    )
    scopes = (list(scope.models), list(scope.routes), tags, scope.output_cap, now_us, scope.expires_us)
    async with connection.transaction():
        holder = await create_holder(connection, name, Place("key", parent), wanted, now_us)
        await connection.execute(_SQL["insert_key"], TENANT, key_id, name, digest, holder.holder_id, *scopes)
        await announce(connection, f"key:{key_id}")
    key = await key_by_digest(connection, digest)
    assert key is not None
    return key, secret


async def all_keys(connection: Connection) -> list[Key]:
    """Read every key with its place in the budget tree."""
    return (await keys_in_tree(connection))[1]


async def keys_in_tree(connection: Connection) -> tuple[Tree, list[Key]]:
    """Read the budget tree with every key in it."""
    rows = await connection.fetch(_SQL["select_keys"])  # first: what a key was made with is there when it is
    tree = await read_tree(connection)
    return tree, [_key(row, tree) for row in rows]


async def is_key(connection: Connection, digest: bytes) -> bool:
    """Tell whether a digest is of a key's secret."""
    return bool(await connection.fetchval(_SQL["key_exists"], digest))


async def key_by_digest(connection: Connection, digest: bytes) -> Key | None:
    """Find the key of a secret's digest."""
    return next((key for key in await all_keys(connection) if key.sha256 == digest), None)


async def revoke_key(connection: Connection, name: str, now_us: int, tenant: int = TENANT) -> str:
    """Revoke a key by id or name; its budgets and records stay. Raises `OperatorError` for an unknown key."""
    async with connection.transaction():
        key_id = await connection.fetchval(_SQL["revoke_key"], tenant, name, now_us)
        if key_id is None:
            raise OperatorError(f"no key named {name!r}: see `bursar keys list`")
        await announce(connection, f"key:{key_id}")
    return key_id


def _key(row: asyncpg.Record, tree: Tree) -> Key:
    return Key(
        tenant=row["tenant"],
        key_id=row["key_id"],
        name=row["name"],
        sha256=row["sha256"],
        path=tree.path(row["holder_id"]),
        created_us=row["created_us"],
        models=tuple(row["models"]),
        routes=tuple(row["routes"]),
        tags=msgspec.json.decode(row["tags"]),
        output_cap=row["output_cap"],
        expires_us=row["expires_us"],
        revoked_us=row["revoked_us"],
    )
