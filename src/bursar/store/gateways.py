"""Take a gateway's place at the database: fenced by epoch, found again by its spool's name, given up when dead.

A gateway that nobody has seen for a while is given up: its epoch ends, so that it can write no more, and what it had
leased is set aside. Should it live, it begins anew, takes that back and carries its spool into the books as ever.
"""

import asyncio
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from bursar.core.errors import OperatorError
from bursar.core.money import Money
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Reason
from bursar.store.audit_log import note
from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT
from bursar.store.leases import (
    OpenLease,
    cover,
    expire_holds,
    id_of,
    return_lease,
    set_aside,
    take_back,
    write_off,
)

_SQL: Final = load_statements("gateways")
_LOCK_WAIT_S: Final = 10.0
"""A gateway that was killed holds its place until the database has noticed."""

_LOST: Final = "lost"
"""The boot of a gateway whose last life is not recovered yet: no real one has this name."""


class Place(msgspec.Struct, frozen=True):
    """Say which gateway this is and in which epoch; whether its last life may have lost something, or was dead."""

    gateway: int
    epoch: int
    may_have_lost: bool
    given_up: bool = False


class DeadGateway(msgspec.Struct, frozen=True):
    """Name a gateway that was given up, and when it was last seen."""

    gateway: int
    name: str
    host: str
    seen_us: int


class GatewayState(msgspec.Struct, frozen=True):
    """Say when a gateway began, was last seen, stopped in order or was given up, by the database's clock."""

    gateway: int
    name: str
    host: str
    started_us: int
    seen_us: int
    closed_us: int | None
    reaped_us: int | None
    now_us: int


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
    """Become the gateway of a name. The place is kept for as long as this connection lives.

    Raises `OperatorError` when another process has it.
    """
    deadline = asyncio.get_running_loop().time() + _LOCK_WAIT_S
    while not await connection.fetchval(_SQL["try_lock"], name):
        if asyncio.get_running_loop().time() > deadline:
            raise OperatorError(f"gateway {name} runs already: was its data folder copied? Each needs its own spool")
        await asyncio.sleep(0.1)
    boot = boot_id()
    async with connection.transaction():
        before = await connection.fetchrow(_SQL["previous"], name)
        lost = before is not None and before["closed_us"] is None and (before["boot_id"] != boot or spool_is_new)
        # What may be lost stays so, whatever happens to this life, until it is recovered.
        begun = await connection.fetchrow(_SQL["begin"], name, socket.gethostname(), _LOST if lost else boot, now_us)
        assert begun is not None
    return Place(begun["gateway"], begun["epoch"], lost, before is not None and before["reaped_us"] is not None)


async def recovered(connection: Connection, place: Place) -> None:
    """Say that what the last life may have lost is set aside, and that what was given up is back."""
    await connection.execute(_SQL["recovered"], place.gateway, place.epoch, boot_id())


async def still_has_place(connection: Connection, name: str, place: Place) -> bool:
    """Take the place again after a lost session; False when another was there meanwhile, or this one given up."""
    deadline = asyncio.get_running_loop().time() + _LOCK_WAIT_S
    while not await connection.fetchval(_SQL["try_lock"], name):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.1)
    return bool(await connection.fetchval(_SQL["epoch_is"], place.gateway, place.epoch))


async def be_seen(connection: Connection, place: Place) -> bool:
    """Say that this gateway lives; False when it was replaced, or given up for dead."""
    return await connection.fetchval(_SQL["seen"], place.gateway, place.epoch) is not None


async def give_up_dead(connection: Connection, unseen_us: int, now_us: int) -> list[DeadGateway]:
    """End the epoch of every gateway nobody has seen for so long, and set its leases aside. Names them."""
    async with connection.transaction():
        rows = await connection.fetch(_SQL["lock_dead"], unseen_us)
        for row in rows:
            for lease in await open_leases(connection, row["gateway"]):
                await set_aside(connection, lease, now_us, Reason.set_aside)
    return [DeadGateway(row["gateway"], row["name"], row["host"], row["seen_us"]) for row in rows]


async def open_leases(connection: Connection, gateway: int) -> list[OpenLease]:
    """Return the leases of a gateway that still hold money."""
    return [_lease(row) for row in await connection.fetch(_SQL["leases"], str(gateway))]


async def leases_set_aside(connection: Connection, gateway: int) -> list[OpenLease]:
    """Return what was set aside of a gateway's leases when it was given up, and has not come back."""
    return [_lease(row) for row in await connection.fetch(_SQL["set_aside"], str(gateway))]


async def cover_shortages(connection: Connection, needs: Mapping[int, Money], epoch: int, now_us: int) -> None:
    """Give each lease what its calls have spent beyond what it has, where its money went elsewhere meanwhile.

    `needs` is by the lease's account. What is covered is overage.
    """
    for row in await connection.fetch(_SQL["leases_by_id"], list(needs)):
        lease = _lease(row)
        short = needs[lease.account_id] - lease.available_nano
        if short > 0:
            lease = msgspec.structs.replace(lease, available_nano=short)
            await cover(connection, lease, id_of("cover", lease.account_id, epoch), now_us)


async def settle_dead(connection: Connection, name: str, now_us: int, *, spent: bool) -> Sequence[OpenLease]:
    """Decide what became of a dead gateway's leases: all of it spent, or none beyond what is in the books.

    Should its spool turn up after all, what it holds is charged all the same. Raises `OperatorError` for a gateway that
    is not known or not given up.
    """
    async with connection.transaction():
        row = await connection.fetchrow(_SQL["previous"], name)
        if row is None or row["reaped_us"] is None:
            raise OperatorError(f"gateway {name!r} is not one that was given up: see `bursar gateways list`")
        gateway = row["gateway"]
        await connection.execute(_SQL["end_epoch"], gateway)
        await expire_holds(connection, gateway, now_us)
        for lease in await open_leases(connection, gateway):  # what was held
            await set_aside(connection, lease, now_us, Reason.set_aside)
        leases = await leases_set_aside(connection, gateway)
        for lease in leases:
            act = (gateway, lease.account_id, now_us)
            await take_back(connection, lease, id_of("decide", *act), now_us)
            end = write_off if spent else return_lease
            await end(connection, lease, id_of("decided", *act), now_us)
        details = {"outcome": "spent" if spent else "returned", "leases": len(leases)}
        await note(connection, TENANT, "gateway.settle", name, details)
    return leases


async def all_gateways(connection: Connection) -> list[GatewayState]:
    """List all gateways that ever served this database."""
    return [
        GatewayState(*(row[name] for name in GatewayState.__struct_fields__))
        for row in await connection.fetch(_SQL["all_gateways"])
    ]


def _lease(row: asyncpg.Record) -> OpenLease:
    return OpenLease(
        row["tenant"],
        row["account_id"],
        row["parent_id"],
        row["available_nano"],
        row["budget_name"],
        Unit(row["unit"]),
    )
