"""Divide a span of time into the parts a series is drawn by: minutes to months, UTC, without a clock."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from bursar.core.times import DAY_US, HOUR_US, MINUTE_US, from_datetime, to_datetime

PARTS_MAX: Final = 750
"""What a span may be divided into at most: more can be told apart in no picture."""

_USUAL_DAYS: Final = ((3, "hour"), (120, "day"), (1_000, "week"))


class Grain(StrEnum):
    """Name how long the parts of a series are."""

    minute = "minute"
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"


_WIDTH_US: Final = {
    Grain.minute: MINUTE_US,
    Grain.hour: HOUR_US,
    Grain.day: DAY_US,
    Grain.week: 7 * DAY_US,
    Grain.month: 28 * DAY_US,
}


def usual_grain(span_us: int) -> Grain:
    """Return the parts a span is best read in: 30 to 170 of them at most."""
    if span_us <= 2 * HOUR_US:
        return Grain.minute
    return next((Grain(name) for days, name in _USUAL_DAYS if span_us <= days * DAY_US), Grain.month)


def part_starts(from_us: int, until_us: int, grain: Grain) -> list[int]:
    """Return the moments at which the parts of a span begin; the first may lie before the span, which begins within it.

    Raises `ValueError` where these are more than `PARTS_MAX`.
    """
    if (until_us - from_us) // _WIDTH_US[grain] > PARTS_MAX:
        raise ValueError(f"expected a longer part: so many days have more than {PARTS_MAX} parts of a {grain}")
    at = _start(to_datetime(from_us), grain)
    starts: list[int] = []
    while (start_us := from_datetime(at)) < until_us:
        starts.append(start_us)
        at = _next(at, grain)
    return starts


def _start(at: datetime, grain: Grain) -> datetime:
    if grain is Grain.minute:
        return at.replace(second=0, microsecond=0)
    if grain is Grain.hour:
        return at.replace(minute=0, second=0, microsecond=0)
    day = datetime(at.year, at.month, at.day, tzinfo=UTC)
    if grain is Grain.week:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if grain is Grain.month else day


def _next(at: datetime, grain: Grain) -> datetime:
    if grain is Grain.month:
        return at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
    return at + timedelta(microseconds=_WIDTH_US[grain])
