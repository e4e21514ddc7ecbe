"""Keep the keys of those who administer. Like any key's, a secret is shown once and stored as a digest."""

import secrets
from typing import Final, Literal

import asyncpg
import msgspec

from bursar.core.errors import NameTaken, NotThere
from bursar.store.audit_log import note
from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT, check_name
from bursar.store.keys import new_secret, secret_digest

_SQL: Final = load_statements("admins")

ADMIN_PREFIX: Final = "ba_"


class AdminKey(msgspec.Struct, frozen=True):
    """Hold an admin key: whose it is, and until when."""

    admin_id: str
    name: str
    sha256: bytes
    created_us: int
    expires_us: int | None
    revoked_us: int | None

    def status_at(self, now_us: int) -> Literal["active", "revoked", "expired"]:
        """Say whether it is good at a moment."""
        if self.revoked_us is not None and self.revoked_us <= now_us:
            return "revoked"
        return "expired" if self.expires_us is not None and self.expires_us <= now_us else "active"


async def create_admin(
    connection: Connection, name: str, expires_us: int | None, now_us: int, tenant: int = TENANT
) -> tuple[AdminKey, str]:
    """Create an admin key. Returns it with its secret, which is not kept anywhere. Raises `OperatorError`."""
    check_name(name)
    secret = new_secret(ADMIN_PREFIX)
    key = AdminKey(f"adm_{secrets.token_hex(8)}", name, secret_digest(secret), now_us, expires_us, None)
    async with connection.transaction():
        try:
            async with connection.transaction():
                await connection.execute(_SQL["insert"], tenant, *msgspec.structs.astuple(key)[:-1])
        except asyncpg.UniqueViolationError:
            raise NameTaken(f"there is an admin key {name!r} already: choose another name") from None
        await note(connection, tenant, "admin.create", name, {"id": key.admin_id, "expires_us": expires_us})
    return key, secret


async def admin_keys(connection: Connection, tenant: int = TENANT) -> list[AdminKey]:
    """Read all admin keys."""
    return [AdminKey(**dict(row)) for row in await connection.fetch(_SQL["select"], tenant)]


async def revoke_admin(connection: Connection, name: str, now_us: int, tenant: int = TENANT) -> str:
    """Revoke an admin key by id or name; once revoked it stays so. Raises `NotThere`."""
    async with connection.transaction():
        row = await connection.fetchrow(_SQL["lock"], tenant, name)
        if row is None:
            raise NotThere(f"no admin key named {name!r}: see `bursar admin list`")
        if row["revoked_us"] is None:
            await connection.execute(_SQL["revoke"], tenant, row["admin_id"], now_us)
            await note(connection, tenant, "admin.revoke", row["name"], {"id": row["admin_id"]})
    return row["admin_id"]
