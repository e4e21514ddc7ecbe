"""A lever's arms are compared by run or conversation: what both cost, how they went, and what cannot be told yet."""

from pathlib import Path
from typing import Any

import pytest
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write
from inline_snapshot import snapshot

from bursar.core.ids import call_name
from bursar.core.kinds import OutcomeKind
from bursar.core.records import Assignment, AttemptStatus, CallStatus, Segments
from bursar.core.times import DAY_US, HOUR_US
from bursar.savings.proof import Difference, TooFew
from bursar.store.database import Connection
from bursar.store.outcomes import NewOutcome, add_outcome
from bursar.store.reports import one_call
from bursar.store.savings import ArmTotals, savings

CENT = USD // 100
SPAN = NOW_US - HOUR_US, NOW_US + HOUR_US


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


def call(shop: Shop, arm: str, unit: int, cost_nano: int, lever: str = "compress", **fields: Any) -> list[Any]:
    """Make a call of some unit in an arm."""
    intent = shop.intent(cost_nano, run=fields.pop("run", ""))
    experiment = fields.pop("experiment", ("a", 100_000))
    divided = {"arms": (Assignment(lever, arm, *experiment),), "unit": unit.to_bytes(8, "big")}
    attempts = fields.pop("attempts", [attempt(cost_nano)])
    return [intent, shop.settled(intent, *attempts, **(divided | fields))]


async def test_a_unit_counts_once_however_many_calls_it_has(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    entries: list[Any] = []
    for unit in range(40):
        entries += call(shop, "holdout", unit, 4 * CENT)
        for _ in range(3):
            entries += call(shop, "treatment", 100 + unit, CENT)
    await write(shop, tmp_path, database_url, *entries)
    (report,) = await savings(connection, *SPAN)
    assert (report.lever, report.left_out_units) == ("compress", 0)
    assert report.treatment == ArmTotals(40, 120, 120 * CENT)
    assert report.holdout == ArmTotals(40, 40, 160 * CENT)
    assert isinstance(report.cost, Difference)
    assert report.cost.less.value == CENT
    assert report.cost.share is not None
    assert report.cost.share.value == 0.25
    assert isinstance(report.measures["failed"], Difference)
    assert report.measures["failed"].less.value == 0


async def test_failures_and_further_attempts_are_told_beside_the_cost(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    entries: list[Any] = []
    for unit in range(200):
        entries += call(shop, "holdout", unit, CENT, status=CallStatus.ok if unit % 2 else CallStatus.failed)
        again = [attempt(0, status=AttemptStatus.throttled), attempt(CENT)]
        entries += call(shop, "treatment", 1_000 + unit, CENT, attempts=again if unit % 4 else [attempt(CENT)])
    await write(shop, tmp_path, database_url, *entries)
    (report,) = await savings(connection, *SPAN)
    failed, again = report.measures["failed"], report.measures["again"]
    assert isinstance(failed, Difference)
    assert isinstance(again, Difference)
    assert (failed.less.value, again.less.value) == (0.5, -0.75)
    assert failed.less.excludes_zero
    assert again.less.excludes_zero


async def test_outcomes_told_of_calls_and_of_runs_are_compared(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    entries: list[Any] = []
    for unit in range(80):
        made = call(shop, "holdout" if unit < 40 else "treatment", unit, CENT, run=f"run-{unit}")
        entries += made
    entries += call(shop, "holdout", 99, CENT)  # of which nobody said anything
    await write(shop, tmp_path, database_url, *entries)
    for unit in range(80):
        good = 0.8 if unit < 40 else 0.5
        of = {"call": call_name(entries[2 * unit].call.call_id)} if unit % 2 else {"run": f"run-{unit}"}
        told = NewOutcome(f"o{unit}", OutcomeKind.score, good + (0.1 if unit % 4 < 2 else -0.1), **of)
        assert not await add_outcome(connection, shop.key, told, NOW_US)
    (report,) = await savings(connection, *SPAN)
    short = report.measures["short"]
    assert isinstance(short, Difference)
    assert short.less.value == pytest.approx(-0.3)
    assert short.less.high < -0.2
    assert report.holdout.units == 41


async def test_few_units_say_nothing_yet_and_units_in_both_arms_never_do(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    entries = [*call(shop, "treatment", 1, CENT), *call(shop, "holdout", 1, CENT), *call(shop, "treatment", 2, CENT)]
    entries += call(shop, "explored", 3, CENT, lever="route")
    await write(shop, tmp_path, database_url, *entries)
    compress, route = await savings(connection, *SPAN)
    assert (compress.left_out_units, compress.treatment.units, compress.holdout) == (1, 1, ArmTotals())
    assert compress.cost == TooFew(1, 0, 30, 30)
    assert (route.lever, route.experiment, route.share_ppm) == ("route", "a", 100_000)
    assert (route.treatment.units, route.left_out_units) == (0, 1)
    assert await savings(connection, NOW_US + DAY_US, NOW_US + 2 * DAY_US) == []


async def test_experiments_are_never_pooled(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    entries: list[Any] = []
    for unit in range(400):  # cheap ones, of which few are held out; dear ones, of which most are
        cheap = "holdout" if unit % 10 == 0 else "treatment"
        entries += call(shop, cheap, unit, CENT, "route", experiment=("short", 100_000))
        dear = "treatment" if unit % 10 == 0 else "holdout"
        entries += call(shop, dear, 1_000 + unit, 9 * CENT, "route", experiment=("long", 900_000))
    entries += call(shop, "treatment", 5_000, CENT, "route", experiment=("free", 0))
    await write(shop, tmp_path, database_url, *entries)
    found = await savings(connection, *SPAN)
    assert [(report.experiment, report.share_ppm) for report in found] == [("long", 900_000), ("short", 100_000)]
    for report in found:
        assert isinstance(report.cost, Difference)
        assert report.cost.less.value == 0


@pytest.mark.parametrize("arm", ["cheaper", "explored"])
async def test_what_a_budget_made_cheaper_is_in_neither_arm(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str, arm: str
) -> None:
    entries = [*call(shop, "holdout", 1, CENT), *call(shop, arm, 1, CENT), *call(shop, "holdout", 2, CENT)]
    await write(shop, tmp_path, database_url, *entries)
    (report,) = await savings(connection, *SPAN)
    assert (report.treatment.units, report.holdout.units, report.left_out_units) == (0, 1, 1)


async def test_what_was_sent_of_a_compressed_prompt_is_in_the_books(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    entries = call(shop, "treatment", 1, CENT, sent=Segments(8, 21, 10, 2, 3))
    plain = shop.call(CENT)
    await write(shop, tmp_path, database_url, *entries, *plain)
    shown = await one_call(connection, call_name(entries[0].call.call_id))
    assert shown is not None
    assert (shown["sent_bytes"], shown["arms"]) == snapshot(
        (
            {"user": 3, "tools": 21, "system": 8, "history": 10, "retrieved": 2},
            [{"lever": "compress", "arm": "treatment", "experiment": "a", "share_ppm": 100_000}],
        )
    )
    other = await one_call(connection, call_name(plain[0].call.call_id))
    assert other is not None
    assert other["sent_bytes"] is None
    (report,) = await savings(connection, *SPAN)
    assert report.treatment.removed_bytes == 24


async def test_a_confidence_beyond_0_and_1_is_an_error(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    await write(shop, tmp_path, database_url, *call(shop, "treatment", 1, CENT))
    with pytest.raises(ValueError, match="between 0 and 1"):
        await savings(connection, *SPAN, confidence=1.0)
