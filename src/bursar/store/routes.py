"""Report what routes have chosen, how that turned out, and which models answer otherwise than expected."""

from typing import Final

import msgspec

from bursar.core.ids import first_id_at
from bursar.core.money import Money
from bursar.store.database import Connection, load_statements
from bursar.store.keys import TENANT

_SQL: Final = load_statements("routes")

DRIFTS_MAX: Final = 20


class Chosen(msgspec.Struct, frozen=True):
    """Hold what a route has chosen a model for by one way of choosing.

    `estimated_nano` is what its calls are estimated to have saved; `told` of them have outcomes, of mean `good`.
    """

    policy: str
    model: str
    how: str
    calls: int
    cost_nano: Money
    estimated_nano: Money
    failed: int
    told: int
    good: float | None


class Drifted(msgspec.Struct, frozen=True):
    """Say that a route's model answers otherwise than expected."""

    at_us: int
    text: str


async def chosen_by_routes(connection: Connection, from_us: int, until_us: int) -> list[Chosen]:
    """Return what routes have chosen between two moments, by route, the most frequent choice of each first."""
    span = first_id_at(from_us // 1_000), first_id_at(until_us // 1_000)
    rows = await connection.fetch(_SQL["by_choice"], TENANT, *span)
    return [Chosen(*(row[name] for name in Chosen.__struct_fields__)) for row in rows]


async def drifted(connection: Connection, from_us: int) -> list[Drifted]:
    """Return the latest alarms about models of routes since a moment, newest first."""
    return [
        Drifted(row["at_us"], row["text"])
        for row in await connection.fetch(_SQL["drifts"], TENANT, from_us, DRIFTS_MAX)
    ]
