"""A forecast is right where spending is even, keeps still after a burst, and never speaks of the past."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.budget import UNLIMITED, Terms, period_at, read_limit
from bursar.budgets.forecast import HORIZON_US, Forecast, Sample, forecast, is_forecast, sample_gap_us
from bursar.core.times import DAY_US, HOUR_US, from_datetime, moment_from_text, to_datetime

NOVEMBER_US = moment_from_text("2026-11-01")
USD = 1_000_000_000
MONTH = read_limit("100/month")


def seen(spent: Callable[[float], float], days: float, limit: int = 100, terms: Terms = MONTH) -> Forecast | None:
    """Forecast after so many days of spending, sampled as the keeper does; `spent` is of days, in USD."""
    period = period_at(terms, NOVEMBER_US)
    gap = sample_gap_us(terms, period)
    moments = [*range(NOVEMBER_US, NOVEMBER_US + round(days * DAY_US), gap), NOVEMBER_US + round(days * DAY_US)]
    samples = [Sample(at_us, round(spent((at_us - NOVEMBER_US) / DAY_US) * USD)) for at_us in moments]
    return forecast(terms, period, limit * USD, samples)


def day_of(at_us: int | None) -> float | None:
    """Return how many days after the first a moment lies."""
    return None if at_us is None else round((at_us - NOVEMBER_US) / DAY_US, 1)


def days(found: Forecast | None) -> Sequence[float | None] | None:
    return found and [day_of(found.runs_out_us), day_of(found.earliest_us), day_of(found.latest_us)]


@pytest.mark.parametrize(("per_day", "after", "expected"), [(10, 4, 10), (5, 10, 20), (4, 20, 25), (3.4, 28, 29.4)])
def test_even_spending_runs_out_when_it_does(per_day: float, after: float, expected: float) -> None:
    found = days(seen(lambda day: per_day * day, after))
    assert found == [pytest.approx(expected, abs=0.1)] * 3


CURVES: list[tuple[str, Callable[[float], float], float, object]] = [
    ("nothing", lambda day: 0, 15, None),
    ("it lasts", lambda day: 3 * day, 15, None),
    ("too early", lambda day: 10 * day, 3.4, None),
    ("all is spent", lambda day: 10 * day, 10, None),
    ("one burst at the start", lambda day: 60 if day > 0.5 else 0, 3, None),
    ("one burst now", lambda day: day + (50 if day > 14.9 else 0), 15, None),
    ("it has ceased", lambda day: min(day * 9, 60), 20, None),
    ("it has slowed", lambda day: min(day, 8) * 8 + max(0, day - 8) * 0.5, 18, None),
    ("it has grown", lambda day: day + max(0, day - 10) * 8, 15, 20.9),
    ("a batch a day", lambda day: 6 * int(day), 10, 16.7),
    ("office hours", lambda day: 7 * int(day) + min(7.0, 14 * (day % 1)), 8, 13.7),
]


@pytest.mark.parametrize(
    ("curve", "after", "expected"), [each[1:] for each in CURVES], ids=[each[0] for each in CURVES]
)
def test_a_burst_is_no_pace(curve: Callable[[float], float], after: float, expected: float | None) -> None:
    found = days(seen(curve, after))
    assert found is None if expected is None else found is not None and found[0] == pytest.approx(expected, abs=1.6)


def test_what_is_not_sure_says_from_when_to_when() -> None:
    found = days(seen(lambda day: day + max(0, day - 10) * 6, 14))
    assert found is not None
    assert found[1] < found[0] < 30
    assert found[2] is None or found[2] > found[0]


def test_spending_seen_at_once_after_a_long_absence_is_no_pace() -> None:
    period = period_at(MONTH, NOVEMBER_US)
    assert forecast(MONTH, period, 100 * USD, [Sample(NOVEMBER_US + 10 * DAY_US, 60 * USD)]) is None


@pytest.mark.parametrize("limit", ["5/hour", "5/minute", "5/day rolling", "600 requests/minute"])
def test_short_and_rolling_windows_have_none(limit: str) -> None:
    assert not is_forecast(read_limit(limit))


def test_what_has_no_limit_never_runs_out() -> None:
    assert not is_forecast(UNLIMITED)
    assert forecast(UNLIMITED, period_at(UNLIMITED, 0), 0, [Sample(1, 1)]) is None


def test_counts_run_out_like_money() -> None:
    terms = read_limit("1000 requests/month")
    period = period_at(terms, NOVEMBER_US)
    samples = [Sample(NOVEMBER_US + hour * HOUR_US, hour * 2) for hour in range(241)]
    found = forecast(terms, period, 1_000, samples)
    assert found is not None
    assert day_of(found.runs_out_us) == pytest.approx(20.8, abs=0.4)


def test_a_budget_in_all_is_looked_at_for_ninety_days() -> None:
    terms = read_limit("100")
    period = period_at(terms, NOVEMBER_US)
    samples = [Sample(NOVEMBER_US + hour * HOUR_US, hour * USD // 24) for hour in range(241)]
    assert [day_of(each.runs_out_us) if (each := forecast(terms, period, limit * USD, samples)) else None
            for limit in (30, 99, 101)] == pytest.approx([30, 99, None], abs=1.5)  # fmt: skip


def test_a_window_that_has_ended_has_none() -> None:
    period = period_at(MONTH, NOVEMBER_US)
    samples = [Sample(NOVEMBER_US + day * DAY_US, day * 5 * USD) for day in range(20)]
    assert forecast(MONTH, period, 100 * USD, samples) is not None
    assert forecast(MONTH, period, 100 * USD, [*samples, Sample(period.end_us, 96 * USD)]) is None


@given(
    st.sampled_from(["100/day", "100/week", "100/month", "100", "100 requests/day"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]),
    st.lists(st.tuples(st.integers(1, 3 * DAY_US), st.integers(-1, 30 * USD)), min_size=1, max_size=40),
    st.integers(0, 400),
)
def test_a_forecast_lies_ahead_within_the_window_and_in_order(
    limit: str, zone: str, steps: list[tuple[int, int]], offset_days: int
) -> None:
    terms = msgspec.structs.replace(read_limit(limit), zone=zone)
    begin_us = NOVEMBER_US + offset_days * DAY_US
    period = period_at(terms, begin_us)
    samples, at_us, spent = [], max(begin_us, period.start_us), 0
    for step_us, gain in steps:
        at_us, spent = at_us + step_us, max(0, spent + gain)
        samples.append(Sample(at_us, spent))
        found = forecast(terms, period, 100 * USD, samples)
        if found is not None:
            latest_us = found.latest_us or found.runs_out_us
            end_us = period.end_us if period.name != "total" else at_us + HORIZON_US
            assert at_us < found.earliest_us <= found.runs_out_us <= latest_us < end_us


@given(st.integers(20, 300), st.integers(4, 28))
def test_who_spends_evenly_is_told_the_day_it_runs_out(per_day_cents: int, after_days: int) -> None:
    found = seen(lambda day: per_day_cents * day / 100, after_days, limit=40)
    exact = 40 * 100 / per_day_cents
    if exact <= after_days or exact >= 32:
        assert found is None
    elif exact < 28:
        assert found is not None
        assert day_of(found.runs_out_us) == pytest.approx(exact, abs=max(0.4, (exact - after_days) * 0.06))


def test_a_month_of_another_zone_ends_when_it_ends_there() -> None:
    terms = msgspec.structs.replace(MONTH, zone="Pacific/Apia")
    period = period_at(terms, NOVEMBER_US)
    samples = [Sample(period.start_us + hour * HOUR_US, hour * USD // 7) for hour in range(481)]
    found = forecast(terms, period, 100 * USD, samples)
    assert found is not None
    assert found.runs_out_us < period.end_us < from_datetime(to_datetime(NOVEMBER_US).replace(month=12))
