"""Keep who makes the call of an Idempotency-Key, whichever gateway it comes to."""

from typing import Final

import msgspec

from bursar.core.times import DAY_US, HOUR_US
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("gateways")

ABANDONED_US: Final = HOUR_US
"""A claim this old whose call is not in the books is of a gateway that died before it made the call."""


class Claim(msgspec.Struct, frozen=True):
    """Name the call that is made under a key, and its place among those that may be repeated."""

    tenant: int
    key_id: str
    name: bytes  # SHA-256 of the client's key
    body_sha256: bytes
    call_id: bytes


class Claimed(msgspec.Struct, frozen=True):
    """Say which call has a key already, and whether it is in the books."""

    body_sha256: bytes
    call_id: bytes
    made: bool


async def claim(connection: Connection, wanted: Claim, now_us: int) -> Claimed | None:
    """Claim a key for a day: None when it is free, else the call that has it."""
    who, call_id = (wanted.tenant, wanted.key_id, wanted.name), wanted.call_id
    values = (*who, wanted.body_sha256, call_id, now_us, now_us - DAY_US)
    if await connection.fetchval(_SQL["claim"], *values) is not None:
        return None
    row = await connection.fetchrow(_SQL["claimed"], *who)
    if row is None or row["call_id"] == call_id:  # given up meanwhile; or asked again after a lost answer
        return await claim(connection, wanted, now_us) if row is None else None
    abandoned = not row["made"] and row["claimed_us"] < now_us - ABANDONED_US
    if abandoned and row["body_sha256"] == wanted.body_sha256:
        taken = await connection.fetchval(_SQL["take_over"], *who, row["call_id"], call_id, now_us)
        return None if taken is not None else Claimed(row["body_sha256"], row["call_id"], made=False)
    return Claimed(row["body_sha256"], row["call_id"], row["made"])


async def give_up(connection: Connection, claimed: Claim) -> None:
    """Give a key up whose call was not charged: it may be made again."""
    who = (claimed.tenant, claimed.key_id, claimed.name)
    await connection.execute(_SQL["unclaim"], *who, claimed.call_id)


async def forget_old(connection: Connection, now_us: int) -> None:
    """Forget the claims of more than a day ago."""
    await connection.execute(_SQL["forget_claims"], now_us - DAY_US)
