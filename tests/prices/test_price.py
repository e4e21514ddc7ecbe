"""Prices have a history, times of day and variants; `at` finds the rates in force and says until when."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.times import DAY_US, FOREVER_US, day_start_us, moment_from_text, to_datetime
from bursar.prices.price import ALWAYS, Match, Price, Rate, Source, Variant, Version, When, discounted, with_parents

NIGHT = (16 * 3600 + 1800, 1800)  # 16:30 to 00:30


def on(text: str) -> int:
    return moment_from_text(text)


def flat(nano: int) -> dict[str, Rate]:
    return {"input_tokens": Rate(nano)}


def price(*versions: Version, **more: Any) -> Price:
    return Price("house", "m", Match("equals", "m"), versions, Source("", ""), **more)


HISTORY = price(
    Version(flat(300)),
    Version(flat(200), When(on("2026-01-01"))),
    Version(flat(100), When(on("2026-06-01"))),
)


def input_nano(of: Price, at: str, **context: str) -> int:
    return of.at(on(at), context).rates["input_tokens"].base_nano


@pytest.mark.parametrize(
    ("at", "nano"),
    [
        ("2020-01-01", 300),
        ("2025-12-31T23:59:59.999999", 300),
        ("2026-01-01", 200),
        ("2026-05-31T23:59:59.999999", 200),
        ("2026-06-01", 100),
        ("2100-01-01", 100),
    ],
)
def test_a_price_changes_at_the_first_moment_of_its_day(at: str, nano: int) -> None:
    assert input_nano(HISTORY, at) == nano


@pytest.mark.parametrize(
    ("at", "until"),
    [("2025-01-01", "2026-01-01"), ("2026-01-01", "2026-06-01"), ("2026-05-31T23:59:59.999999", "2026-06-01")],
)
def test_a_card_says_until_when_it_holds(at: str, until: str) -> None:
    assert HISTORY.at(on(at)).valid_until_us == on(until)


def test_the_newest_card_holds_for_ever() -> None:
    assert HISTORY.at(on("2026-06-01")).valid_until_us == FOREVER_US


OFF_PEAK = price(Version(flat(270)), Version(flat(135), When(daily_s=NIGHT)))


@pytest.mark.parametrize(
    ("at", "nano", "until"),
    [
        ("2026-11-21T16:29:59.999999", 270, "2026-11-21T16:30"),
        ("2026-11-21T16:30", 135, "2026-11-22T00:30"),
        ("2026-11-21T23:59:59", 135, "2026-11-22T00:30"),
        ("2026-11-22T00:00", 135, "2026-11-22T00:30"),
        ("2026-11-22T00:29:59.999999", 135, "2026-11-22T00:30"),
        ("2026-11-22T00:30", 270, "2026-11-22T16:30"),
    ],
)
def test_a_time_of_day_may_wrap_over_midnight(at: str, nano: int, until: str) -> None:
    assert input_nano(OFF_PEAK, at) == nano
    assert OFF_PEAK.at(on(at)).valid_until_us == on(until)


def test_a_time_of_day_can_begin_on_a_day() -> None:
    night = When(on("2026-02-01"), NIGHT)
    assert not night.holds(on("2026-01-31T20:00"))
    assert night.next_change_us(on("2026-01-31T20:00")) == on("2026-02-01")
    assert night.holds(on("2026-02-01T00:10"))
    assert night.holds(on("2026-02-01T20:00"))


seconds = st.integers(0, 86_399)
moments = st.integers(0, 10 * DAY_US)
day_numbers = st.integers(0, 30_000)
whens = st.builds(
    When,
    st.none() | moments,
    st.none() | st.tuples(seconds, seconds),
    st.lists(st.integers(0, 6), max_size=3).map(tuple),
    st.lists(day_numbers, max_size=3).map(tuple),
)


@given(whens, moments, moments)
def test_nothing_changes_before_the_next_change(when: When, at_us: int, later: int) -> None:
    change = when.next_change_us(at_us)
    assert change > at_us
    between = at_us + later % (change - at_us)
    assert when.holds(between) == when.holds(at_us)
    assert when.holds(change - 1) == when.holds(at_us)


@given(st.tuples(seconds, seconds), st.integers(0, DAY_US - 1))
def test_a_time_of_day_is_the_same_every_day(daily_s: tuple[int, int], at_us: int) -> None:
    when = When(daily_s=daily_s)
    at = to_datetime(at_us)
    second = at.hour * 3600 + at.minute * 60 + at.second
    start, end = daily_s
    inside = start <= second < end if start <= end else not end <= second < start
    assert {when.holds(at_us + day * DAY_US) for day in range(3)} == {inside}


VARIED = price(
    Version({"input_tokens": Rate(100), "output_tokens": Rate(400)}),
    variants=(
        Variant({"service_tier": "flex"}, {"input_tokens": Rate(50), "output_tokens": Rate(200)}),
        Variant({"service_tier": "priority"}, {"input_tokens": Rate(200)}),
        Variant({"processing": "batch"}, {"input_tokens": Rate(51)}),
        Variant({"service_tier": "flex", "speed": "fast"}, {"output_tokens": Rate(999), "reasoning_tokens": Rate(7)}),
        Variant({"service_tier": "spring"}, {"input_tokens": Rate(1)}, When(on("2026-03-01"))),
    ),
)


@pytest.mark.parametrize(
    ("context", "rates"),
    [
        ({}, (100, 400)),
        ({"service_tier": "default"}, (100, 400)),
        ({"service_tier": "flex"}, (50, 200)),
        ({"service_tier": "priority"}, (200, 400)),  # output has no rate of its own there
        ({"processing": "batch"}, (51, 400)),
        ({"service_tier": "flex", "processing": "batch"}, (50, 200)),  # of two that apply the first counts
        ({"speed": "fast"}, (100, 400)),
        ({"service_tier": "flex", "speed": "fast"}, (50, 200)),
    ],
)
def test_a_variant_replaces_the_rates_it_names(context: dict[str, str], rates: tuple[int, int]) -> None:
    found = VARIED.at(0, context).rates
    assert (found["input_tokens"].base_nano, found["output_tokens"].base_nano) == rates


def test_a_variant_may_begin_on_a_day() -> None:
    assert input_nano(VARIED, "2026-02-28", service_tier="spring") == 100
    assert VARIED.at(on("2026-02-28"), {"service_tier": "spring"}).valid_until_us == on("2026-03-01")
    assert input_nano(VARIED, "2026-03-01", service_tier="spring") == 1


def test_a_price_knows_the_tiers_it_has() -> None:
    assert VARIED.knows("service_tier", "flex")
    assert not VARIED.knows("service_tier", "scale")
    assert not VARIED.knows("processing", "flex")


def test_a_card_is_named_by_model_day_context_and_rates() -> None:
    night = price(Version(flat(9), When(on("2026-01-01"), NIGHT)), variants=VARIED.variants)
    assert [
        HISTORY.at(0).price_id,
        HISTORY.at(on("2026-06-01")).price_id,
        VARIED.at(0, {"service_tier": "flex"}).price_id,
        night.at(on("2026-01-02"), {"service_tier": "flex", "processing": "batch"}).price_id,
        OFF_PEAK.at(on("2026-11-21T20:00")).price_id,
    ] == snapshot(
        [
            "house/m#782a6820",
            "house/m@2026-06-01#f2dfae5d",
            "house/m@service_tier=flex#63c41dc9",
            "house/m@2026-01-01;1630-0030;service_tier=flex;processing=batch#63c41dc9",
            "house/m@1630-0030#2e1370fa",
        ]
    )


some_rates = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_read_tokens", "web_searches"]),
    st.builds(Rate, st.integers(0, 3), st.sampled_from([(), ((200_000, 5),)])),
    min_size=1,
)


@given(some_rates, some_rates)
def test_the_same_name_always_means_the_same_rates(one: dict[str, Rate], two: dict[str, Rate]) -> None:
    ids = [price(Version(rates)).at(0).price_id for rates in (one, dict(reversed(two.items())), two)]
    assert (ids[0] == ids[1]) == (one == two)
    assert ids[1] == ids[2]


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 40), st.integers(0, 40))
def test_a_tiers_rate_is_found_and_none_is_dearer_than_the_dearest(
    base: int, middle: int, high: int, input_total: int, more: int
) -> None:
    rate = Rate(base, ((10, middle), (20, high)))
    assert rate.at(input_total) == (high if input_total > 20 else middle if input_total > 10 else base)
    assert rate.at(input_total) <= rate.dearest(input_total) <= rate.dearest(input_total + more)


def test_rates_of_parents_stand_in_nearest_first() -> None:
    full = with_parents({"input_tokens": Rate(1), "cache_read_tokens": Rate(2), "input_audio_tokens": Rate(3)})
    assert full["cache_read_audio_tokens"] == Rate(2)
    assert full["cache_write_1h_tokens"] == full["cache_write_5m_tokens"] == full["input_image_tokens"] == Rate(1)
    assert "output_tokens" not in full
    assert "reasoning_tokens" not in full
    assert with_parents({"output_tokens": Rate(0)})["reasoning_tokens"] == Rate(0)


@pytest.mark.parametrize(
    ("rate", "off_ppm", "left"),
    [(150_000_000, 100_000, 135_000_000), (150_000_000, 0, 150_000_000), (7, 1_000_000, 0), (2, 500_000, 1)],
)
def test_a_discount_is_taken_exactly(rate: int, off_ppm: int, left: int) -> None:
    assert discounted(rate, off_ppm) == left


def test_a_discount_that_leaves_no_whole_number_is_refused() -> None:
    with pytest.raises(ValueError, match="500000 parts per million off 3 nano-USD per million units is not exact"):
        discounted(3, 500_000)


def test_days_begin_at_midnight_utc() -> None:
    assert When(day_start_us(to_datetime(on("2026-01-01")).date())).holds(on("2026-01-01T00:00Z"))
    assert not When(on("2026-01-01")).holds(on("2026-01-01T00:59:59+01:00"))
    assert ALWAYS.holds(0)
    assert ALWAYS.next_change_us(0) == FOREVER_US


@given(moments, st.lists(st.integers(0, 6), min_size=1, unique=True))
def test_a_weekday_is_the_calendars_own(at_us: int, weekdays: list[int]) -> None:
    assert When(weekdays=tuple(weekdays)).holds(at_us) == (to_datetime(at_us).weekday() in weekdays)


def test_days_are_whole_and_all_else_must_hold_as_well() -> None:
    day = on("2026-10-01")
    when = When(day - 3 * DAY_US, (3_600, 7_200), days=(day // DAY_US,))
    hours = {hour: when.holds(day + hour * 3_600_000_000) for hour in (-23, 0, 1, 2, 25)}
    assert hours == {-23: False, 0: False, 1: True, 2: False, 25: False}
    assert when.next_change_us(day + 8_000_000_000) == day + DAY_US
