"""Reckon with moments as Unix microseconds, UTC, without a clock."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
FOREVER_US: Final = 2**62

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])|0")
_SPAN_US: Final = {"s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NAMED_US: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND  # a day more is still a date


def to_datetime(at_us: int) -> datetime:
    """Turn Unix microseconds into a datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=at_us)


def from_datetime(at: datetime) -> int:
    """Turn an aware datetime into Unix microseconds, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def day_start_us(day: date) -> int:
    """Return the first microsecond of a UTC day."""
    return from_datetime(datetime(day.year, day.month, day.day, tzinfo=UTC))


def day_text(at_us: int) -> str:
    """Write the UTC day of a moment as an ISO date."""
    return to_datetime(at_us).date().isoformat()


def moment_from_text(text: str) -> int:
    """Read an ISO date or datetime; without a zone it is UTC. Raises `ValueError` saying what was expected."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected a date such as 2026-11-21 or 2026-11-21T16:30Z, got {text!r}") from None
    at_us = from_datetime(at if at.tzinfo else at.replace(tzinfo=UTC))
    if not 0 <= at_us < _NAMED_US:
        raise ValueError(f"expected a date from 1970 to 9998, got {text!r}")
    return at_us


def span_from_text(text: str) -> int:
    """Read a span of time such as 30d, 24h, 15m, 10s or 0, in microseconds. Raises `ValueError`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a span of time such as 30d, 24h, 15m or 0, got {text!r}")
    return int(match[1]) * _SPAN_US[match[2]] if match[1] else 0
