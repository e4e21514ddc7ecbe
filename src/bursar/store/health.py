"""Ask a database how it is: its version and clock, its migrations, the sums of its books. Nothing is changed."""

from typing import Final

import msgspec

from bursar.ledger.chart import Unit
from bursar.store.database import Connection, is_migrated, is_writer, known_migrations, load_statements

_SQL: Final = load_statements("gateways")


class Health(msgspec.Struct, frozen=True):
    """Say how a database is. `sums` has, by unit, debits less credits, posted and pending."""

    version: str
    clock_us: int
    bytes_used: int
    applied: list[int]
    known: list[int]
    as_writer: bool
    sums: dict[str, tuple[int, int]]


async def health(connection: Connection) -> Health | None:
    """Look at a database; None where Bursar has never been."""
    if not await is_migrated(connection):
        return None
    row = await connection.fetchrow(_SQL["health"])
    assert row is not None
    rows = await connection.fetch(_SQL["sums"])
    return Health(
        version=row["version"].split()[0],
        clock_us=row["clock_us"],
        bytes_used=row["bytes"],
        applied=row["migrations"] or [],
        known=known_migrations(),
        as_writer=await is_writer(connection),
        sums={Unit(each["unit"]).name: (each["posted"], each["pending"]) for each in rows},
    )
