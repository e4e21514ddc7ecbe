"""Limits are read and written; windows tile all time in UTC, without gap or overlap."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.budget import Budget, Terms, Window, limit_text, period_at, read_limit
from bursar.core.times import DAY_US, FOREVER_US, HOUR_US, MINUTE_US, from_datetime, moment_from_text

moments = st.integers(0, moment_from_text("2200-01-01"))
windows = st.sampled_from(Window)


@pytest.mark.parametrize(
    ("text", "nano", "window"),
    [
        ("5.00/day", 5_000_000_000, Window.day),
        ("5", 5_000_000_000, Window.total),
        ("0", 0, Window.total),
        ("0.000000001/minute", 1, Window.minute),
        ("19.99/month", 19_990_000_000, Window.month),
        ("100/hour", 100_000_000_000, Window.hour),
        ("1.5/week", 1_500_000_000, Window.week),
        ("2/total", 2_000_000_000, Window.total),
    ],
)
def test_limits_are_read_exactly(text: str, nano: int, window: Window) -> None:
    assert read_limit(text) == Terms(nano, window)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "such as 5.00/day"),
        ("free", "such as 5.00/day"),
        ("-5", "such as 5.00/day"),
        ("$5", "such as 5.00/day"),
        ("5/year", r"minute, hour, day, week, month, total"),
        ("5/DAY", "minute, hour, day"),
        ("5/", "such as 5.00/day"),
        ("5 / day", "such as 5.00/day"),
        ("5.00/day\n", "such as 5.00/day"),
        (".", "decimal"),
        ("5..0", "decimal"),
        ("0.0000000001", "nine decimals"),
        ("9223372037/day", "more than the books can hold"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_was_expected(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_limit(text)


@given(st.integers(0, 9 * 10**18), windows)
def test_a_limit_is_read_as_it_was_written(nano: int, window: Window) -> None:
    assert read_limit(limit_text(Terms(nano, window))) == Terms(nano, window)


def test_no_limit_is_written_as_unlimited() -> None:
    assert limit_text(Terms(None, Window.day)) == "unlimited"
    assert Budget("b", 1, Terms(None)).terms.window is Window.total


@pytest.mark.parametrize(
    ("window", "at", "name", "start", "end"),
    [
        (Window.minute, "2026-11-21T16:30:59.999999", "2026-11-21T16:30Z", "2026-11-21T16:30", "2026-11-21T16:31"),
        (Window.hour, "2026-11-21T16:30", "2026-11-21T16Z", "2026-11-21T16:00", "2026-11-21T17:00"),
        (Window.day, "2026-11-21T23:59:59.999999", "2026-11-21", "2026-11-21", "2026-11-22"),
        (Window.day, "2026-11-22", "2026-11-22", "2026-11-22", "2026-11-23"),
        # Weeks begin on Monday and are named as ISO 8601 does: the last days of a year may be of the next one's first.
        (Window.week, "2026-11-22T23:59", "2026-W47", "2026-11-16", "2026-11-23"),
        (Window.week, "2026-11-23", "2026-W48", "2026-11-23", "2026-11-30"),
        (Window.week, "2024-12-31", "2025-W01", "2024-12-30", "2025-01-06"),
        (Window.week, "2027-01-01", "2026-W53", "2026-12-28", "2027-01-04"),
        # Months, leap years and the turn of the year.
        (Window.month, "2024-02-29T12:00", "2024-02", "2024-02-01", "2024-03-01"),
        (Window.month, "2025-02-28T23:59:59", "2025-02", "2025-02-01", "2025-03-01"),
        (Window.month, "2100-02-28T23:59:59", "2100-02", "2100-02-01", "2100-03-01"),
        (Window.month, "2026-12-31T23:59:59.999999", "2026-12", "2026-12-01", "2027-01-01"),
        # Days on which many clocks are turned have 24 hours all the same.
        (Window.day, "2026-03-29T02:30", "2026-03-29", "2026-03-29", "2026-03-30"),
        (Window.hour, "2026-10-25T02:30", "2026-10-25T02Z", "2026-10-25T02:00", "2026-10-25T03:00"),
    ],
)
def test_a_moment_lies_in_its_calendar_window(window: Window, at: str, name: str, start: str, end: str) -> None:
    period = period_at(Terms(None, window), moment_from_text(at))
    assert (period.name, period.start_us, period.end_us) == (name, moment_from_text(start), moment_from_text(end))


def test_a_total_budget_has_one_window_for_ever() -> None:
    ever = Terms(None, Window.total)
    assert period_at(ever, 0) == period_at(ever, moment_from_text("2199-12-31"))
    assert period_at(ever, 0).end_us == FOREVER_US


@given(windows, moments)
def test_windows_tile_time(window: Window, at_us: int) -> None:
    terms = Terms(None, window)
    period = period_at(terms, at_us)
    assert period.start_us <= at_us < period.end_us
    assert period_at(terms, period.start_us) == period
    assert period_at(terms, period.end_us - 1) == period
    if window is not Window.total:
        following = period_at(terms, period.end_us)
        assert following.start_us == period.end_us
        assert following.name > period.name


LENGTHS_US = {
    Window.minute: {MINUTE_US},
    Window.hour: {HOUR_US},
    Window.day: {DAY_US},
    Window.week: {7 * DAY_US},
    Window.month: {days * DAY_US for days in (28, 29, 30, 31)},
}


@given(st.sampled_from(sorted(LENGTHS_US)), moments)
def test_windows_are_as_long_as_the_calendar_says(window: Window, at_us: int) -> None:
    period = period_at(Terms(None, window), at_us)
    assert period.end_us - period.start_us in LENGTHS_US[window]


def test_leap_days_are_counted() -> None:
    lengths = [
        (period.end_us - period.start_us) // DAY_US
        for year in (2023, 2024, 2100, 2000)
        for period in (period_at(Terms(None, Window.month), from_datetime(datetime(year, 2, 5, tzinfo=UTC))),)
    ]
    assert lengths == [28, 29, 28, 29]
