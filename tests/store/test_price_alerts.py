"""What providers say their calls cost is compared with the books, by target and day, and told once."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from inline_snapshot import snapshot

from bursar.core.kinds import By
from bursar.core.records import UsageSource
from bursar.core.times import DAY_US
from bursar.store.alerts import claim_deliveries, recent_alerts
from bursar.store.database import Connection
from bursar.store.price_alerts import PriceTerms, make_price_alerts, other_models, reported_sums
from bursar.store.reports import statement
from tests.store.bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write

URL = b"u" * 32
TERMS = PriceTerms(2, 60)
DAY_START_US = NOW_US - NOW_US % DAY_US


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection, 100 * USD, 90 * USD)


def calls(shop: Shop, *costs: tuple[int, int], at_us: int = NOW_US, **fields: Any) -> list[Any]:
    """Make a call for each pair of what was booked and what the provider says; -1 where it says nothing."""
    entries: list[Any] = []
    for booked, reported in costs:
        intent = shop.intent(booked, at_us)
        made = attempt(booked, at_us, reported_cost_nano=reported, usage_source=UsageSource.provider)
        entries += [intent, shop.settled(intent, msgspec.structs.replace(made, **fields))]
    return entries


async def look(connection: Connection, now_us: int = NOW_US, terms: PriceTerms = TERMS) -> list[str]:
    return [alert.text for alert in await make_price_alerts(connection, terms, now_us, URL)]


async def test_a_difference_is_told_once_a_day_and_delivered_like_any_alert(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    await write(shop, tmp_path / "spool", database_url, *calls(shop, (USD, 2 * USD), (USD, -1)))
    (text,) = await look(connection)
    assert "says that 1 calls" in text
    assert "cost 2.00 USD, 100 % more than the 1.00 USD booked" in text
    assert await look(connection, NOW_US + 1) == []
    (listed,) = await recent_alerts(connection, 10)
    assert listed.alert.type == "price.divergence"
    assert (listed.alert.budget, listed.alert.kind) == ("openai/gpt-4o-mini", "target")
    assert (listed.alert.limit, listed.alert.spent, listed.alert.percent) == ("1.00", "2.00", 100)
    assert len(await claim_deliveries(connection, URL, NOW_US, NOW_US + 1, 5)) == 1


async def test_what_agrees_or_is_not_stated_or_estimated_is_not_told(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    entries = calls(shop, (USD, USD), (USD, -1)) + calls(shop, (USD, 9 * USD), usage_source=UsageSource.counted)
    await write(shop, tmp_path / "spool", database_url, *entries)
    assert await look(connection) == []


async def test_of_several_attempts_the_last_is_compared_and_the_cost_of_earlier_ones_is_not(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    intent = shop.intent(5 * USD)
    lost = attempt(4 * USD, usage_source=UsageSource.held)
    answered = attempt(USD, usage_source=UsageSource.provider, reported_cost_nano=USD)
    await write(shop, tmp_path / "spool", database_url, intent, shop.settled(intent, lost, answered))
    (sums,) = await reported_sums(connection, DAY_START_US)
    assert (sums.calls, sums.booked_nano, sums.reported_nano) == (1, USD, USD)


async def test_only_calls_of_the_day_count_and_its_end_is_looked_at_for_a_while(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    await write(shop, tmp_path / "spool", database_url, *calls(shop, (USD, 2 * USD), at_us=DAY_START_US + DAY_US - 1))
    assert await reported_sums(connection, DAY_START_US - DAY_US) == []
    assert await reported_sums(connection, DAY_START_US + DAY_US) == []
    assert len(await look(connection, DAY_START_US + DAY_US + 60_000_000)) == 1
    assert await look(connection, DAY_START_US + 2 * DAY_US) == []


async def test_old_prices_are_told_and_nothing_is_where_that_is_turned_off(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    await write(shop, tmp_path / "spool", database_url, *calls(shop, (USD, 2 * USD)))
    assert await look(connection, terms=PriceTerms(0, 0, "2020-01-01")) == []
    (text,) = await look(connection, terms=PriceTerms(0, 60, "2020-01-01"))
    assert text.startswith("the price book was last checked on 2020-01-01")
    assert (await recent_alerts(connection, 1))[0].alert.type == "price.stale"


async def test_a_statement_shows_what_was_reported_beside_what_was_booked_for_the_same(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    await write(shop, tmp_path / "spool", database_url, *calls(shop, (USD, 2 * USD), (3 * USD, -1)))
    (line,) = await statement(connection, By.model, DAY_START_US, DAY_START_US + DAY_US)
    assert (line.calls, line.cost_nano) == (2, 4 * USD)
    assert (line.reported, line.reported_nano, line.of_reported_nano) == (1, 2 * USD, USD)


async def test_another_model_that_answers_is_told_once_a_day_and_a_snapshot_is_not(
    connection: Connection, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    dear = calls(shop, (USD, -1), (2 * USD, -1), answered_model="gpt-4o", is_other=True)
    dated = calls(shop, (USD, -1), answered_model="gpt-4o-mini-2024-07-18")
    await write(shop, tmp_path / "spool", database_url, *dear, *dated)
    (text,) = await look(connection)
    assert text == snapshot(
        "openai/gpt-4o-mini has answered 2 calls of 2026-11-21 by gpt-4o: "
        "they were charged by the price of openai/gpt-4o-mini, 3.00 USD"
    )
    assert await look(connection, NOW_US + 1) == []
    (listed,) = await recent_alerts(connection, 10)
    assert (listed.alert.type, listed.alert.budget, listed.alert.limit) == (
        "price.model",
        "openai/gpt-4o-mini",
        "gpt-4o",
    )
    assert await other_models(connection, DAY_START_US + DAY_US) == []
    assert await look(connection, NOW_US, PriceTerms(2, 60, other_models=False)) == []
