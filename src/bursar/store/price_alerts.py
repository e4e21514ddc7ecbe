"""Look at what providers say calls cost, at the age of prices and at routes, and write down what is to be told."""

from typing import Final

import msgspec

from bursar.budgets.alerts import Alert
from bursar.budgets.divergence import (
    Drift,
    OtherModel,
    Reported,
    find_divergence,
    find_drift,
    find_other_models,
    find_stale,
)
from bursar.core.ids import first_id_at
from bursar.core.times import DAY_US, MINUTE_US, day_text
from bursar.store.alerts import write_alert
from bursar.store.database import Connection, load_statements
from bursar.store.keys import TENANT
from bursar.store.outcomes import learned_states

_SQL: Final = load_statements("alerts")

_LATE_US: Final = 30 * MINUTE_US
"""How long after its end a day is still looked at: its last calls settle then."""


class PriceTerms(msgspec.Struct, frozen=True):
    """Say from where on something is told: percent of difference, days of age, 0 for never; and other models or not."""

    divergence_percent: int
    stale_days: int
    checked: str = ""  # the day of the price book's newest check
    other_models: bool = True


async def make_price_alerts(
    connection: Connection, terms: PriceTerms, now_us: int, url_sha256: bytes | None
) -> list[Alert]:
    """Find and write down what is to be told about prices, once; returns what is new."""
    found = find_stale(TENANT, terms.checked, terms.stale_days, now_us)
    for day_us in sorted({at_us - at_us % DAY_US for at_us in (now_us - _LATE_US, now_us)}):
        if terms.divergence_percent:
            sums = await reported_sums(connection, day_us)
            found += find_divergence(TENANT, sums, terms.divergence_percent, now_us)
        if terms.other_models:
            found += find_other_models(TENANT, await other_models(connection, day_us), now_us)
    found += find_drift(TENANT, await drifts(connection), now_us)
    if not found:
        return []
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
        return [alert for alert in found if await write_alert(connection, alert, url_sha256, now_us)]


async def drifts(connection: Connection) -> list[Drift]:
    """Return the models of routes whose answers come out otherwise than expected."""
    return [
        Drift(policy, model, state.learned[model].alarms, state.learned[model].events)
        for policy, state in (await learned_states(connection)).items()
        for model in state.alarmed()
    ]


async def reported_sums(connection: Connection, day_us: int) -> list[Reported]:
    """Sum the calls of a UTC day whose provider has stated what they cost, by target."""
    rows, day = await connection.fetch(_SQL["reported"], TENANT, *_ids_of(day_us)), day_text(day_us)
    return [Reported(row["target"], day, row["calls"], row["booked_nano"], row["reported_nano"]) for row in rows]


async def other_models(connection: Connection, day_us: int) -> list[OtherModel]:
    """Sum the calls of a UTC day that were answered by another model than the one asked, by target and model."""
    rows, day = await connection.fetch(_SQL["other_models"], TENANT, *_ids_of(day_us)), day_text(day_us)
    return [OtherModel(row["target"], row["answered_model"], day, row["calls"], row["booked_nano"]) for row in rows]


def _ids_of(day_us: int) -> tuple[bytes, bytes]:
    """Return the first ids of a day and of the one after it."""
    return first_id_at(day_us // 1_000), first_id_at((day_us + DAY_US) // 1_000)
