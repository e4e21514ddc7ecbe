"""Moments are read, written and turned without losing a microsecond."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.times import DAY_US, day_start_us, day_text, from_datetime, moment_from_text, to_datetime


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_datetime_survives(at: datetime) -> None:
    assert to_datetime(from_datetime(at)) == at


def test_dates_and_moments_are_read_as_utc() -> None:
    assert moment_from_text("2026-11-21") == day_start_us(datetime(2026, 11, 21, tzinfo=UTC).date())
    assert moment_from_text("2026-11-21T01:00+01:00") == moment_from_text("2026-11-21T00:00Z")
    assert day_text(moment_from_text("2026-11-21T23:59:59")) == "2026-11-21"
    assert moment_from_text("1970-01-01") == 0
    assert day_text(moment_from_text("9998-12-31") + DAY_US) == "9999-01-01"


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-13-01",
        "",
        "21.11.2026",
        "1969-12-31",
        "0001-01-01T00:00+14:00",
        "1970-01-01T00:00+01:00",
        "9999-01-01",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a date"):
        moment_from_text(text)
