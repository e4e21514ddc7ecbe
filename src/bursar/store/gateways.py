"""Take a gateway's place at the database: one a database for now, fenced by epoch and found again by its id."""

import asyncio
import secrets
import socket
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from bursar.core.errors import OperatorError
from bursar.core.ids import first_id_at
from bursar.core.money import Money
from bursar.core.times import DAY_US, day_text
from bursar.store.database import Connection, load_statements
from bursar.store.leases import OpenLease

_SQL: Final = load_statements("gateways")
_LOCK_WAIT_S: Final = 10.0
"""A gateway that was killed holds its place until the database has noticed."""

_LOST: Final = "lost"
"""The boot of a gateway whose last life is not recovered yet: no real one has this name."""


class Place(msgspec.Struct, frozen=True):
    """Say which gateway this is, in which epoch, and whether its last life may have lost the spool's end."""

    gateway: int
    epoch: int
    may_have_lost: bool


class IdempotentCall(msgspec.Struct, frozen=True):
    """Remember a call made under an Idempotency-Key."""

    tenant: int
    key_id: str
    idempotency_key: bytes
    body_sha256: bytes
    call_id: bytes
    cost_nano: Money


def gateway_name(spool_folder: Path) -> str:
    """Return the name of the gateway that owns a spool, making one for a new spool."""
    file = spool_folder / "gateway"
    spool_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.write_text(f"gw_{secrets.token_hex(6)}\n")
        fresh.rename(file)
    return file.read_text().strip()


def boot_id() -> str:
    """Name this boot of the machine: after another one, what was written but not synced may be gone."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


async def take_place(connection: Connection, name: str, now_us: int, *, spool_is_new: bool) -> Place:
    """Become the database's gateway. The place is kept for as long as this connection lives.

    Raises `OperatorError` when another gateway has it.
    """
    deadline = asyncio.get_running_loop().time() + _LOCK_WAIT_S
    while not await connection.fetchval(_SQL["try_lock"]):
        if asyncio.get_running_loop().time() > deadline:
            raise OperatorError(await _occupied(connection, name))
        await asyncio.sleep(0.1)
    boot = boot_id()
    async with connection.transaction():
        before = await connection.fetchrow(_SQL["previous"], name)
        lost = before is not None and before["closed_us"] is None and (before["boot_id"] != boot or spool_is_new)
        # What may be lost stays so, whatever happens to this life, until it is recovered.
        begun = await connection.fetchrow(_SQL["begin"], name, socket.gethostname(), _LOST if lost else boot, now_us)
        assert begun is not None
    return Place(begun["gateway"], begun["epoch"], lost)


async def recovered(connection: Connection, place: Place) -> None:
    """Say that what the last life may have lost has been set aside."""
    await connection.execute(_SQL["recovered"], place.gateway, place.epoch, boot_id())


async def still_has_place(connection: Connection, place: Place) -> bool:
    """Take the place again after a lost session; False when another gateway was there meanwhile."""
    deadline = asyncio.get_running_loop().time() + _LOCK_WAIT_S
    while not await connection.fetchval(_SQL["try_lock"]):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.1)
    return bool(await connection.fetchval(_SQL["epoch_is"], place.gateway, place.epoch))


async def open_leases(connection: Connection, gateway: int) -> list[OpenLease]:
    """Return the leases of a gateway that still hold money."""
    rows = await connection.fetch(_SQL["leases"], str(gateway))
    return [
        OpenLease(row["tenant"], row["account_id"], row["parent_id"], row["available_nano"], row["budget_name"])
        for row in rows
    ]


async def idempotent_calls(connection: Connection, now_us: int) -> list[IdempotentCall]:
    """Return the calls of the last day that were made under an Idempotency-Key."""
    rows = await connection.fetch(_SQL["idempotent_calls"], first_id_at((now_us - DAY_US) // 1000))
    return [IdempotentCall(*(row[name] for name in IdempotentCall.__struct_fields__)) for row in rows]


async def _occupied(connection: Connection, name: str) -> str:
    rows: list[asyncpg.Record] = await connection.fetch(_SQL["others"], name)
    who = f" (on {rows[0]['host']}, since {day_text(rows[0]['started_us'])})" if rows else ""
    return f"another gateway{who} serves this database; only one is supported for now: stop it, or use another one"
