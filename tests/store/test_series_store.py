"""Series add up to the books, whatever they are grouped by, and keep calls in the part they began in."""

from pathlib import Path

import pytest
from bookkeeping import NOW_US, Shop, attempt, open_shop, write

from bursar.core.kinds import ChargeKind
from bursar.core.records import CallStatus
from bursar.core.spans import Grain, part_starts
from bursar.core.times import DAY_US, HOUR_US, SECOND_US
from bursar.core.usage import Usage
from bursar.store.charges import NewCharge, charge
from bursar.store.database import Connection
from bursar.store.reports import totals
from bursar.store.series import Grouping, Span, latency_series, spent_series, tag_names, token_series

FROM_US, UNTIL_US = NOW_US - 2 * DAY_US, NOW_US + HOUR_US
SPAN = Span(FROM_US, UNTIL_US, part_starts(FROM_US, UNTIL_US, Grain.day))


@pytest.fixture
async def shop(connection: Connection, database_url: str, tmp_path: Path) -> Shop:
    """Make calls on two days with tags, one that failed, one with tokens of images, and charge a search."""
    shop = await open_shop(connection)
    yesterday = NOW_US - DAY_US
    failed, seen = shop.intent(5, yesterday), shop.intent(9, provider="anthropic", tags={"team": "b"})
    broken = attempt(0, yesterday, usage=Usage(), http_status=500)
    image = Usage(10, output_tokens=1, other={"input_image_tokens": 70, "requests": 1})
    await write(
        shop,
        tmp_path,
        database_url,
        *shop.call(10, at_us=yesterday, tags={"team": "a", "env": "test"}),
        failed,
        shop.settled(failed, broken, status=CallStatus.failed),
        *shop.call(3, tags={"team": "a"}),
        seen,
        shop.settled(seen, attempt(4, provider="anthropic", model="claude-haiku-4-5", usage=image)),
    )
    await charge(connection, shop.key, NewCharge("c1", ChargeKind.tool, 6, tags={"team": "b"}), NOW_US)
    return shop


SPENT = {
    "model": [("openai/gpt-4o-mini", 13), ("work that is no call", 6), ("anthropic/claude-haiku-4-5", 4)],
    "provider": [("openai", 13), ("work that is no call", 6), ("anthropic", 4)],
    "key": [("app", 23)],
    "account": [("", 23)],
    "tag": [("a", 13), ("b", 10), ("", 0)],
}


@pytest.mark.parametrize("by", SPENT)
async def test_what_is_spent_adds_up_to_the_totals_by_whatever_it_is_grouped(
    connection: Connection, shop: Shop, by: str
) -> None:
    parts = await spent_series(connection, SPAN, Grouping(by, "team" if by == "tag" else ""))
    total = await totals(connection, FROM_US, UNTIL_US)
    assert sum(part.cost_nano for part in parts) == total.cost_nano == 23
    assert sum(part.calls for part in parts) == total.calls == 4
    by_name: dict[str, int] = {}
    for part in sorted(parts, key=lambda part: part.rank):
        by_name[part.name] = by_name.get(part.name, 0) + part.cost_nano
    assert list(by_name.items()) == SPENT[by]
    assert {part.groups for part in parts} == {len(by_name)}
    assert {place: sum(part.cost_nano for part in parts if part.place == place) for place in (1, 2)} == {1: 10, 2: 13}


async def test_groups_beyond_those_told_apart_are_one_and_nothing_of_them_is_lost(
    connection: Connection, shop: Shop
) -> None:
    parts = await spent_series(connection, SPAN, Grouping("model", groups_max=1))
    assert {(part.rank, part.name) for part in parts} == {(1, "openai/gpt-4o-mini"), (0, "")}
    assert sum(part.cost_nano for part in parts if part.rank == 0) == 10
    assert sum(part.cost_nano for part in parts) == 23


async def test_tokens_are_told_by_kind_and_what_is_no_token_is_left_out(connection: Connection, shop: Shop) -> None:
    found = await token_series(connection, SPAN)
    total = await totals(connection, FROM_US, UNTIL_US)
    by_kind: dict[str, int] = {}
    for _, kind, number in found:
        by_kind[kind] = by_kind.get(kind, 0) + number
    assert by_kind.pop("input_image_tokens") == 70
    assert "requests" not in by_kind
    assert by_kind["input_tokens"] == total.input_tokens
    assert by_kind["cache_read_tokens"] == total.cache_read_tokens
    assert by_kind["output_tokens"] == total.output_tokens
    assert by_kind["reasoning_tokens"] == total.reasoning_tokens
    spent = await spent_series(connection, SPAN, Grouping("key"))
    assert sum(part.tokens for part in spent) == sum(by_kind.values()) + 70


async def test_latency_is_of_answered_calls_alone(connection: Connection, shop: Shop) -> None:
    found = await latency_series(connection, SPAN, Grouping("provider"))
    whole = {each.name: each for each in found if each.place < 0}
    assert {name: each.calls for name, each in whole.items()} == {"": 3, "openai": 2, "anthropic": 1}
    assert whole[""].streams == 0
    assert whole[""].ttft_ms in (None, [None, None, None])
    assert [each.calls for each in found if each.rank == 0 and each.place >= 0] == [1, 2]
    assert all(p50 <= p95 <= p99 for p50, p95, p99 in (each.took_ms for each in found))
    assert await latency_series(connection, Span(0, SECOND_US, [0]), Grouping("model")) == []


async def test_the_tags_of_a_span_are_named_the_most_frequent_first(connection: Connection, shop: Shop) -> None:
    assert await tag_names(connection, SPAN) == ["team", "env"]
    assert await tag_names(connection, Span(0, SECOND_US, [0])) == []
