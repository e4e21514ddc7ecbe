"""A span is divided into whole minutes to months of UTC, the first of which it may begin within."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.spans import PARTS_MAX, Grain, part_starts, usual_grain
from bursar.core.times import DAY_US, HOUR_US, from_datetime, to_datetime

AT_US = from_datetime(datetime(2026, 2, 11, 16, 30, 5, tzinfo=UTC))
FIRST = {
    Grain.minute: "2026-02-11T16:30:00+00:00",
    Grain.hour: "2026-02-11T16:00:00+00:00",
    Grain.day: "2026-02-11T00:00:00+00:00",
    Grain.week: "2026-02-09T00:00:00+00:00",
    Grain.month: "2026-02-01T00:00:00+00:00",
}


@pytest.mark.parametrize("grain", Grain)
def test_the_first_part_is_the_one_the_span_begins_in(grain: Grain) -> None:
    assert to_datetime(part_starts(AT_US, AT_US + HOUR_US, grain)[0]).isoformat() == FIRST[grain]


def test_months_follow_the_calendar() -> None:
    starts = part_starts(AT_US, AT_US + 330 * DAY_US, Grain.month)
    assert [to_datetime(each).isoformat()[:10] for each in (starts[1], starts[-1])] == ["2026-03-01", "2027-01-01"]
    assert len(starts) == 12


@given(st.integers(0, 2**52), st.integers(1, 900 * DAY_US), st.sampled_from([Grain.day, Grain.week, Grain.month]))
def test_parts_follow_one_another_and_cover_the_span(from_us: int, length_us: int, grain: Grain) -> None:
    if length_us > 700 * DAY_US:
        grain = Grain.week
    starts = part_starts(from_us, from_us + length_us, grain)
    assert starts[0] <= from_us
    assert starts[-1] < from_us + length_us
    assert starts == sorted(set(starts))
    assert len(starts) == 1 or starts[1] > from_us


def test_too_many_parts_are_refused_and_the_usual_grain_never_has_them() -> None:
    with pytest.raises(ValueError, match="more than 750 parts of a minute"):
        part_starts(AT_US, AT_US + DAY_US, Grain.minute)
    for days in (0.01, 0.05, 1, 3, 4, 119, 121, 999, 1_001, 3_660):
        span_us = int(days * DAY_US)
        assert 1 <= len(part_starts(AT_US, AT_US + span_us, usual_grain(span_us))) <= PARTS_MAX
