"""What the books say of calls: one by one, the latest, and summed over a span of time."""

from pathlib import Path

import msgspec
import pytest
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write
from inline_snapshot import snapshot

from bursar.core.ids import call_name
from bursar.core.kinds import By
from bursar.core.money import nano_to_usd
from bursar.core.records import AttemptStatus, CallStatus, Line, UsageSource
from bursar.core.times import DAY_US, FOREVER_US, SECOND_US
from bursar.core.usage import Usage
from bursar.ledger.journal import CardUsed, Intent, Settled
from bursar.prices.charge import charge, total
from bursar.prices.price import Rate, RateCard, Rates, Source
from bursar.store.database import Connection
from bursar.store.reports import Sought, StatementLine, Totals, one_call, recent_calls, statement, totals, used_within

RATES: Rates = {
    "input_tokens": Rate(150_000_000),
    "cache_read_tokens": Rate(75_000_000, ((50, 90_000_000),)),
    "output_tokens": Rate(600_000_000),
    "reasoning_tokens": Rate(600_000_000),
}
CARD = RateCard("openai/gpt-4o-mini#1", RATES, 0, Source("https://example.com/prices", "2026-11-01"))
USAGE = Usage(100, 20, output_tokens=30, reasoning_tokens=5)


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


async def test_a_calls_lines_are_derived_again_and_sum_to_what_was_charged(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    lines = charge(USAGE, CARD)
    intent = shop.intent(9 * USD, tags={"team": "search"}, run="run_1")
    settled = shop.settled(intent, attempt(total(lines), usage=USAGE, price_id=CARD.price_id))
    card = CardUsed(CARD.price_id, msgspec.json.encode(RATES), CARD.source.url, CARD.source.checked, NOW_US)
    await write(shop, tmp_path, database_url, card, intent, settled)
    shown = await one_call(connection, call_name(intent.call.call_id))
    assert shown is not None
    assert sum(float(line["amount_usd"]) for line in shown["attempts"][0]["lines"]) == pytest.approx(0.0000378)
    assert shown["cost_usd"] == nano_to_usd(total(lines)) == "0.0000378"
    assert shown.pop("id") == call_name(intent.call.call_id)
    assert shown == snapshot(
        {
            "at": "2026-11-21T16:30:00+00:00",
            "key": "app",
            "run": "run_1",
            "parent": None,
            "tags": {"team": "search"},
            "protocol": "openai_chat",
            "model": "gpt-4o-mini",
            "route": None,
            "outcomes": [],
            "served_by": "openai/gpt-4o-mini",
            "stream": False,
            "status": "ok",
            "http_status": 200,
            "usage": {
                "input_tokens": 100,
                "cache_read_tokens": 20,
                "cache_write_5m_tokens": 0,
                "cache_write_1h_tokens": 0,
                "output_tokens": 30,
                "reasoning_tokens": 5,
            },
            "unknown_usage": {},
            "usage_source": "provider",
            "cost_usd": "0.0000378",
            "price_id": "openai/gpt-4o-mini#1",
            "ttft_ms": 50.0,
            "duration_ms": 200.0,
            "held_usd": "9.00",
            "overage_usd": "0.00",
            "counterfactual_usd": "0.0000378",
            "arms": [],
            "lever_notes": [],
            "sent_bytes": None,
            "prompt_bytes": {"system": 8, "tools": 21, "history": 30, "retrieved": 6, "user": 3},
            "attempts": [
                {
                    "provider": "openai",
                    "model": "gpt-4o-mini",
                    "status": "ok",
                    "http_status": 200,
                    "started_ms": 0.0,
                    "ttft_ms": 50.0,
                    "duration_ms": 200.0,
                    "usage": {"input_tokens": 100, "cache_read_tokens": 20, "output_tokens": 30, "reasoning_tokens": 5},
                    "usage_source": "provider",
                    "cost_usd": "0.0000378",
                    "reported_cost_usd": None,
                    "price_id": "openai/gpt-4o-mini#1",
                    "price_source": "https://example.com/prices",
                    "price_checked": "2026-11-01",
                    "lines": [
                        {
                            "unit": "input_tokens",
                            "quantity": 100,
                            "rate_nano_usd": "150000000",
                            "per": 1000000,
                            "amount_usd": "0.000015",
                        },
                        {
                            "unit": "cache_read_tokens",
                            "quantity": 20,
                            "rate_nano_usd": "90000000",
                            "per": 1000000,
                            "amount_usd": "0.0000018",
                        },
                        {
                            "unit": "output_tokens",
                            "quantity": 30,
                            "rate_nano_usd": "600000000",
                            "per": 1000000,
                            "amount_usd": "0.000018",
                        },
                        {
                            "unit": "reasoning_tokens",
                            "quantity": 5,
                            "rate_nano_usd": "600000000",
                            "per": 1000000,
                            "amount_usd": "0.000003",
                        },
                    ],
                    "error": None,
                }
            ],
        }
    )


async def test_lines_that_depend_on_volume_are_shown_as_they_were_kept(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    kept = Line("input_tokens", 100, 5, 1, 500)
    intent = shop.intent(500)
    await write(
        shop, tmp_path, database_url, intent, shop.settled(intent, attempt(500, lines=(kept,), price_id="volume"))
    )
    shown = await one_call(connection, call_name(intent.call.call_id))
    assert shown is not None
    assert shown["attempts"][0]["lines"] == [
        {"unit": "input_tokens", "quantity": 100, "rate_nano_usd": "5", "per": 1, "amount_usd": "0.0000005"}
    ]


async def test_every_attempt_of_a_call_is_shown(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    intent = shop.intent(50)
    lost = attempt(
        20, status=AttemptStatus.lost, http_status=0, usage_source=UsageSource.held, usage=Usage(), error="x"
    )
    good = attempt(30, provider="anthropic", price_id="unknown")
    await write(shop, tmp_path, database_url, intent, shop.settled(intent, lost, good))
    shown = await one_call(connection, call_name(intent.call.call_id))
    assert shown is not None
    assert [(each["provider"], each["status"], each["cost_usd"], each["error"]) for each in shown["attempts"]] == [
        ("openai", "lost", "0.00000002", "x"),
        ("anthropic", "ok", "0.00000003", None),
    ]
    assert (shown["served_by"], shown["cost_usd"]) == ("anthropic/gpt-4o-mini", "0.00000005")


async def test_a_call_that_is_not_in_the_books_is_none_and_a_name_that_is_none_is_an_error(
    connection: Connection,
) -> None:
    assert await one_call(connection, "call_" + "0" * 32) is None
    with pytest.raises(ValueError, match="expected a call id"):
        await one_call(connection, "nonsense")


@pytest.fixture
async def days(connection: Connection, database_url: str, shop: Shop, tmp_path: Path) -> Shop:
    """Make calls on two days, by two providers, with tags, one that failed and one that was counted."""
    yesterday = NOW_US - DAY_US
    failed, counted = shop.intent(5, yesterday), shop.intent(9, provider="anthropic", tags={"team": "b"})
    broken = attempt(0, yesterday, usage=Usage(), usage_source=UsageSource.none, http_status=500)
    await write(
        shop,
        tmp_path,
        database_url,
        *shop.call(10, at_us=yesterday, tags={"team": "a", "env": "test"}, run="run_1"),
        failed,
        shop.settled(failed, broken, status=CallStatus.failed),
        *shop.call(3, tags={"team": "a"}),
        counted,
        shop.settled(
            counted, attempt(4, provider="anthropic", model="claude-haiku-4-5", usage_source=UsageSource.counted)
        ),
    )
    return shop


STATEMENTS = {
    By.model: snapshot([("openai/gpt-4o-mini", 3, 13, 240, 0), ("anthropic/claude-haiku-4-5", 1, 4, 120, 1)]),
    By.key: snapshot([("app", 4, 17, 360, 1)]),
    By.tag: snapshot([("team=a", 2, 13, 240, 0), ("env=test", 1, 10, 120, 0), ("team=b", 1, 4, 120, 1)]),
    By.run: snapshot([("run_1", 1, 10, 120, 0)]),
    By.day: snapshot([("2026-11-20", 2, 10, 120, 0), ("2026-11-21", 2, 7, 240, 1)]),
    By.hour: snapshot([("2026-11-20T16", 2, 10, 120, 0), ("2026-11-21T16", 2, 7, 240, 1)]),
    By.charge: snapshot([("model calls", 4, 17, 360, 1)]),
}


@pytest.mark.parametrize("by", By)
async def test_a_statement_sums_by_what_is_asked(connection: Connection, days: Shop, by: By) -> None:
    lines = await statement(connection, by, NOW_US - 2 * DAY_US, NOW_US + 1_000)
    told = [(line.name, line.calls, line.cost_nano, line.input_tokens, line.estimated) for line in lines]
    assert told == STATEMENTS[by]


async def test_a_span_begins_with_its_first_moment_and_ends_before_its_last(connection: Connection, days: Shop) -> None:
    async def calls(from_us: int, until_us: int) -> int:
        lines = await statement(connection, By.day, from_us, until_us)
        summed = await totals(connection, from_us, until_us)
        assert sum(line.calls for line in lines) == summed.calls
        assert sum(line.cost_nano for line in lines) == summed.cost_nano
        return summed.calls

    assert await calls(NOW_US, NOW_US + 1_000) == 2
    assert await calls(NOW_US - DAY_US, NOW_US) == 2
    assert await calls(NOW_US + 1_000, NOW_US + DAY_US) == 0
    assert await calls(0, 2**62) == 4


async def test_totals_tell_tokens_by_kind_and_what_was_not_well(connection: Connection, days: Shop) -> None:
    assert await totals(connection, 0, 2**62) == Totals(
        calls=4,
        cost_nano=17,
        input_tokens=300,
        cache_read_tokens=60,
        cache_write_tokens=0,
        output_tokens=90,
        reasoning_tokens=15,
        not_ok=1,
        estimated=1,
    )
    assert await totals(connection, 0, 1) == Totals(0, 0, 0, 0, 0, 0, 0, 0, 0)


async def test_input_includes_cached_and_output_includes_reasoning(connection: Connection, days: Shop) -> None:
    (line,) = await statement(connection, By.run, 0, 2**62)
    assert line == StatementLine("run_1", 1, 10, 120, 20, 35, 0)


async def test_the_latest_calls_come_newest_first_and_can_be_followed(connection: Connection, days: Shop) -> None:
    newest = await recent_calls(connection)
    assert [call["cost_usd"] for call in newest] == ["0.000000003", "0.000000004", "0.00000001", "0.00"]
    assert newest[3]["status"] == "failed"
    assert await recent_calls(connection, limit=2) == newest[:2]
    assert await recent_calls(connection, Sought(after=newest[1]["id"])) == newest[:1]
    assert await recent_calls(connection, Sought(after=newest[0]["id"])) == []
    assert await recent_calls(connection, Sought(before=newest[1]["id"])) == newest[2:]
    for name in ("app", days.key.key_id):
        assert await recent_calls(connection, Sought(key=name)) == newest
    for name in ("anthropic/claude-haiku-4-5", "claude-haiku-4-5"):
        (found,) = await recent_calls(connection, Sought(model=name))
        assert found["served_by"] == "anthropic/claude-haiku-4-5"
    assert await recent_calls(connection, Sought(model="gpt-4o-mini")) == newest  # what all have asked for
    with pytest.raises(ValueError, match="before: expected a call id"):
        await recent_calls(connection, Sought(before="call_1"))
    assert await recent_calls(connection, Sought(status=CallStatus.failed)) == newest[3:]
    assert await recent_calls(connection, Sought(key="other")) == []
    assert await recent_calls(connection, Sought(run="run_1")) == newest[2:3]


async def test_what_was_opened_a_moment_ago_is_in_todays_statement(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    await write(shop, tmp_path, database_url, *shop.call(5, at_us=NOW_US + 999), now_us=NOW_US + SECOND_US)
    assert (await totals(connection, NOW_US, NOW_US + 1_000)).calls == 1


async def test_what_was_used_of_a_model_is_each_attempts_own_within_a_period(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    first, then = Usage(7, output_tokens=3), Usage(20, 5, other={"web_searches": 2})
    made: list[Intent | Settled] = []
    for at_us, attempts in (
        (NOW_US, (attempt(10, usage=first, model="m"),)),
        (
            NOW_US + 1_000,
            (attempt(10, usage=first, model="m"), attempt(10, provider="anthropic", usage=then, model="n")),
        ),
        (NOW_US + DAY_US, (attempt(10, usage=first, model="m"),)),
    ):
        intent = shop.intent(1_000, at_us)
        made += intent, shop.settled(intent, *attempts)
    await write(shop, tmp_path, database_url, *made)
    day = NOW_US, NOW_US + DAY_US
    assert await used_within(connection, *day, "m") == {"openai": first.plus(first)}
    assert await used_within(connection, *day, "n") == {"anthropic": then}
    assert await used_within(connection, NOW_US, FOREVER_US, "m") == {"openai": first.plus(first).plus(first)}
    assert await used_within(connection, NOW_US + 2 * DAY_US, FOREVER_US, "m") == {}
