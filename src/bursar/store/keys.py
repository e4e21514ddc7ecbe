"""Keep virtual keys. A key's secret is shown once and stored as a SHA-256 digest.

A secret has 256 random bits, so neither salt nor a slow hash would add anything: there is no list to try. A secret is
found by its digest, and who guesses cannot choose what digest a guess has, so the time of a comparison tells nothing.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import asyncpg
import msgspec

from bursar.budgets.budget import UNLIMITED, Budget, Terms
from bursar.budgets.tree import Holder, Path, Tree
from bursar.core.errors import NotThere, OperatorError
from bursar.ledger.chart import Unit
from bursar.store.audit_log import note
from bursar.store.database import Connection, announce, load_statements
from bursar.store.holders import TENANT, Place, create_holder, read_tree

_SQL: Final = load_statements("keys")

KEY_PREFIX: Final = "bk_"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LEN: Final = 43  # 256 bits
_SECRET: Final = re.compile(rf"[0-9A-Za-z]{{{_SECRET_LEN}}}")


class Replaced(msgspec.Struct, frozen=True):
    """Hold the digest of a secret that was replaced, and the moment until which it is good."""

    sha256: bytes
    replaced_us: int
    ends_us: int


class Key(msgspec.Struct, frozen=True):
    """Hold a virtual key: who calls, what it may call, and who pays. Empty scopes allow everything.

    A model of the scope that ends in `*` stands for all that begin so.
    """

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
    addresses: tuple[str, ...] = ()  # networks it may be used from
    replaced: tuple[Replaced, ...] = ()  # earlier secrets, the latest first
    ends_us: int | None = None  # of the secret it was found by, if that one was replaced

    def status_at(self, now_us: int) -> Literal["active", "revoked", "expired", "replaced"]:
        """Say whether calls may be made with it at a moment, by the secret it was found by."""
        if self.revoked_us is not None and self.revoked_us <= now_us:
            return "revoked"
        if self.expires_us is not None and self.expires_us <= now_us:
            return "expired"
        return "replaced" if self.ends_us is not None and self.ends_us <= now_us else "active"

    def may_use(self, model: str) -> bool:
        """Tell whether its scope includes a model."""
        if not self.models or model in self.models:
            return True
        return any(each.endswith("*") and model.startswith(each[:-1]) for each in self.models)

    def by_digest(self) -> dict[bytes, "Key"]:
        """Return the key as it is found by each of its secrets."""
        former: dict[bytes, Key] = {
            each.sha256: msgspec.structs.replace(self, ends_us=each.ends_us) for each in self.replaced
        }
        former[self.sha256] = self
        return former

    @property
    def holder(self) -> Holder:
        """Return the key as a holder of budgets."""
        return self.path.holders[0]

    @property
    def budget(self) -> Budget:
        """Return the budget that pays for the key's calls."""
        return self.holder.budgets[0]


class Scope(msgspec.Struct, frozen=True):
    """Limit a key to models, routes and addresses, give its calls tags and an output cap, let it expire."""

    models: Sequence[str] = ()
    routes: Sequence[str] = ()
    tags: dict[str, str] = {}
    output_cap: int | None = None
    expires_us: int | None = None
    addresses: Sequence[str] = ()


def new_secret(prefix: str) -> str:
    """Make a secret of 256 random bits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LEN))


def is_secret(text: str, prefix: str) -> bool:
    """Tell whether a text has the form of a secret: what has not is of no key, and nobody needs to be asked."""
    return text.startswith(prefix) and _SECRET.fullmatch(text, len(prefix)) is not None


def secret_digest(secret: str) -> bytes:
    """Return the digest a secret is stored and found by."""
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
    secret = new_secret(KEY_PREFIX)
    wanted = [terms] if isinstance(terms, Terms) else sorted(terms, key=lambda each: each.unit)
    if not any(each.unit is Unit.usd for each in wanted):
        wanted.insert(0, UNLIMITED)  # what its calls cost is always counted
    key_id, digest = f"key_{secrets.token_hex(8)}", secret_digest(secret)
    columns = (*_columns(scope), now_us, scope.expires_us)
    async with connection.transaction():
        holder = await create_holder(connection, name, Place("key", parent), wanted, now_us)
        await connection.execute(_SQL["insert_key"], TENANT, key_id, name, digest, holder.holder_id, *columns)
        details = msgspec.structs.asdict(scope) | {"id": key_id}
        await note(connection, TENANT, "key.create", name, {name: value for name, value in details.items() if value})
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
    replaced: dict[tuple[int, str], list[Replaced]] = {}
    for row in await connection.fetch(_SQL["select_replaced"]):
        former = Replaced(row["sha256"], row["replaced_us"], row["ends_us"])
        replaced.setdefault((row["tenant"], row["key_id"]), []).append(former)
    tree = await read_tree(connection)
    return tree, [_key(row, tree, replaced.get((row["tenant"], row["key_id"]), ())) for row in rows]


async def is_key(connection: Connection, digest: bytes) -> bool:
    """Tell whether a digest is of a key's secret."""
    return bool(await connection.fetchval(_SQL["key_exists"], digest))


async def key_by_digest(connection: Connection, digest: bytes) -> Key | None:
    """Find the key of a secret's digest, as it is found by that secret."""
    found = (key.by_digest().get(digest) for key in await all_keys(connection))
    return next((key for key in found if key is not None), None)


async def find_key(connection: Connection, name: str) -> Key:
    """Find a key by id or name. Raises `NotThere` for an unknown one."""
    found = (key for key in await all_keys(connection) if name in (key.key_id, key.name))
    key = next(found, None)
    if key is None:
        raise NotThere(f"no key named {name!r}: see `bursar keys list`")
    return key


async def rotate_key(connection: Connection, name: str, overlap_us: int, now_us: int) -> tuple[Key, str]:
    """Give a key, by id or name, a new secret; the present one is good for so long yet, and no earlier one longer.

    Returns the key with its new secret, which is not kept anywhere. Raises `OperatorError` for a key that is unknown or
    not valid any more.
    """
    secret, ends_us = new_secret(KEY_PREFIX), now_us + overlap_us
    async with connection.transaction():
        row = await _lock_key(connection, name, TENANT)
        if row["revoked_us"] is not None or (row["expires_us"] is not None and row["expires_us"] <= now_us):
            ended = "revoked" if row["revoked_us"] is not None else "expired"
            raise OperatorError(f"key {row['name']!r} is {ended}: create another with `bursar keys create`")
        key_id, digest = row["key_id"], secret_digest(secret)
        await connection.execute(_SQL["shorten_replaced"], TENANT, key_id, ends_us)
        await connection.execute(_SQL["keep_replaced"], row["sha256"], TENANT, key_id, now_us, ends_us)
        await connection.execute(_SQL["set_secret"], TENANT, key_id, digest)
        await note(connection, TENANT, "key.rotate", row["name"], {"id": key_id, "former_ends_us": ends_us})
        await announce(connection, f"key:{key_id}")
    key = await key_by_digest(connection, digest)
    assert key is not None
    return key, secret


async def set_scope(connection: Connection, name: str, changes: Mapping[str, Any]) -> Key:
    """Limit a key, by id or name, otherwise: `changes` are fields of `Scope`; what is not named stays.

    Raises `NotThere` for an unknown key, `OperatorError` for one that is revoked.
    """
    async with connection.transaction():
        row = await _lock_key(connection, name, TENANT)
        if row["revoked_us"] is not None:
            raise OperatorError(f"key {row['name']!r} is revoked: create another with `bursar keys create`")
        key = await find_key(connection, row["key_id"])
        before = Scope(**{field: getattr(key, field) for field in Scope.__struct_fields__})
        scope = msgspec.structs.replace(before, **changes)
        scopes = (
            list(scope.models),
            list(scope.routes),
            list(scope.addresses),
            msgspec.json.encode(scope.tags).decode(),
        )
        await connection.execute(_SQL["set_scope"], TENANT, key.key_id, *scopes, scope.output_cap, scope.expires_us)
        given = {field: value for field, value in msgspec.structs.asdict(scope).items() if field in changes}
        await note(connection, TENANT, "key.scope", key.name, given | {"id": key.key_id})
        await announce(connection, f"key:{key.key_id}")
    return msgspec.structs.replace(key, **msgspec.structs.asdict(scope))


async def revoke_key(connection: Connection, name: str, now_us: int, tenant: int = TENANT) -> str:
    """Revoke a key by id or name, with all its secrets; its budgets and records stay. Once revoked it stays so.

    Raises `NotThere` for an unknown key.
    """
    async with connection.transaction():
        row = await _lock_key(connection, name, tenant)
        if row["revoked_us"] is None:
            await connection.execute(_SQL["revoke_key"], tenant, row["key_id"], now_us)
            await note(connection, tenant, "key.revoke", row["name"], {"id": row["key_id"]})
        await announce(connection, f"key:{row['key_id']}")
    return row["key_id"]


def _columns(scope: Scope) -> tuple[list[str], list[str], list[str], str, int | None]:
    tags = msgspec.json.encode(scope.tags).decode()
    return list(scope.models), list(scope.routes), list(scope.addresses), tags, scope.output_cap


async def _lock_key(connection: Connection, name: str, tenant: int) -> asyncpg.Record:
    row = await connection.fetchrow(_SQL["lock_key"], tenant, name)
    if row is None:
        raise NotThere(f"no key named {name!r}: see `bursar keys list`")
    return row


def _key(row: asyncpg.Record, tree: Tree, replaced: Sequence[Replaced]) -> Key:
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
        addresses=tuple(row["addresses"]),
        replaced=tuple(replaced),
    )
