"""Describe budgets and their windows. Windows are calendar windows in UTC; each is an account of its own."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.money import Money, nano_to_usd, usd_to_nano
from bursar.core.times import DAY_US, FOREVER_US, HOUR_US, MINUTE_US, from_datetime, to_datetime


class Window(StrEnum):
    """Name how long a budget's limit lasts before it begins anew."""

    minute = "minute"
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    total = "total"


class Budget(msgspec.Struct, frozen=True):
    """Limit what may be spent in a window. `limit_nano` None means unlimited: metered, never refused."""

    budget_id: str
    tenant: int
    limit_nano: Money | None
    window: Window = Window.total


class Period(msgspec.Struct, frozen=True):
    """Hold one window of a budget: its name, first microsecond and the one after its last."""

    name: str
    start_us: int
    end_us: int


_LIMIT: Final = re.compile(r"([0-9.]+)(?:/([a-z]+))?")
_FIXED: Final = {Window.minute: MINUTE_US, Window.hour: HOUR_US, Window.day: DAY_US}
_FORMATS: Final = {Window.minute: "%Y-%m-%dT%H:%MZ", Window.hour: "%Y-%m-%dT%HZ", Window.day: "%Y-%m-%d"}


def read_limit(text: str) -> tuple[Money, Window]:
    """Read a limit such as `5.00/day` or `5.00`, in USD. Raises `ValueError` saying what was expected."""
    match = _LIMIT.fullmatch(text)
    if match is None or (match[2] is not None and match[2] not in Window.__members__):
        windows = ", ".join(Window)
        raise ValueError(f"expected USD, alone or per window ({windows}), such as 5.00/day; got {text!r}")
    return usd_to_nano(match[1]), Window(match[2] or Window.total)


def limit_text(limit_nano: Money | None, window: Window) -> str:
    """Write a limit as `read_limit` reads it."""
    if limit_nano is None:
        return "unlimited"
    return nano_to_usd(limit_nano) + ("" if window is Window.total else f"/{window}")


def period_at(window: Window, at_us: int) -> Period:
    """Return the window a moment lies in."""
    if window is Window.total:
        return Period("total", 0, FOREVER_US)
    if window in _FIXED:
        length = _FIXED[window]
        start = at_us - at_us % length
        return Period(to_datetime(start).strftime(_FORMATS[window]), start, start + length)
    at = to_datetime(at_us)
    if window is Window.week:
        monday = datetime(at.year, at.month, at.day, tzinfo=UTC) - timedelta(days=at.weekday())
        year, week, _ = monday.isocalendar()
        return Period(f"{year}-W{week:02d}", from_datetime(monday), from_datetime(monday + timedelta(days=7)))
    first = datetime(at.year, at.month, 1, tzinfo=UTC)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return Period(f"{at.year}-{at.month:02d}", from_datetime(first), from_datetime(following))
