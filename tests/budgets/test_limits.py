"""Limits of every unit are read and written; windows follow the clock on the wall, rolling ones look back."""

import string
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bursar.budgets.budget import (
    UNLIMITED,
    Enforcement,
    Terms,
    Window,
    amount_text,
    base_id,
    limit_text,
    period_at,
    pieces_before,
    read_limit,
    zone_exists,
)
from bursar.core.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, from_datetime, moment_from_text
from bursar.ledger.chart import Unit

USD = 1_000_000_000
AROUND_US = (moment_from_text("1971-01-01"), moment_from_text("2200-01-01"))
ZONES = sorted(name for name in available_timezones() if name.count("/") and not name.startswith(("Etc/", "posix")))
moments = st.integers(*AROUND_US)
calendar = st.sampled_from([window for window in Window if window is not Window.total])


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("5.00/day", Terms(5 * USD, Window.day)),
        ("5.00/day rolling", Terms(5 * USD, Window.day, rolling=True)),
        ("0/minute rolling", Terms(0, Window.minute, rolling=True)),
        ("600 requests/minute", Terms(600, Window.minute, Unit.request)),
        ("1 request/hour", Terms(1, Window.hour, Unit.request)),
        ("100000 tokens/minute", Terms(100_000, Window.minute, Unit.token)),
        ("1 token/month rolling", Terms(1, Window.month, Unit.token, rolling=True)),
        ("7 requests/total", Terms(7, Window.total, Unit.request)),
        ("20 concurrent", Terms(20, Window.total, Unit.call)),
        ("0 concurrent", Terms(0, Window.total, Unit.call)),
        ("007 requests/day", Terms(7, Window.day, Unit.request)),
        ("999999999999999999 tokens/week", Terms(10**18 - 1, Window.week, Unit.token)),
    ],
)
def test_limits_of_all_units_are_read(text: str, terms: Terms) -> None:
    assert read_limit(text) == terms


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("600 requests", "expected a window, such as 600 requests/minute"),
        ("600 tokens", "expected a window, such as 600 tokens/minute"),
        ("20 concurrent/minute", "what is concurrent has no window: expected 20 concurrent"),
        ("5.00 rolling", "expected a window that rolls, such as 5.00/day rolling"),
        ("5.00/total rolling", "expected a window that rolls"),
        ("1.5 requests/minute", "expected a whole number, got '1.5'"),
        (". tokens/minute", "expected a whole number, got '.'"),
        ("1000000000000000000 tokens/day", "expected a whole number"),
        ("-1 requests/minute", "such as 600 requests/minute"),
        ("600 calls/minute", "or a count such as 600 requests/minute"),
        ("600 Requests/minute", "or a count such as"),
        ("600 requests /minute", "or a count such as"),
        ("600  requests/minute", "or a count such as"),
        ("600 requests/minute Rolling", "or a count such as"),
        ("600 requests/minute rolling rolling", "or a count such as"),
        ("5.00/day  rolling", "or a count such as"),
        ("٣ requests/minute", "or a count such as"),  # digits, but not ours
        ("unlimited", "such as 5.00/day"),
        ("20 concurrents", "or a count such as"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_was_expected(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_limit(text)


@given(st.text(alphabet=string.digits + "./ requstokncligmhdayw", max_size=30))
def test_whatever_is_written_is_a_limit_or_is_refused_in_words(text: str) -> None:
    try:
        terms = read_limit(text)
    except ValueError as error:
        said = str(error)
    else:
        said = "expected" if read_limit(limit_text(terms)) == terms else ""
    assert any(word in said for word in ("expected", "decimals", "more than the books can hold"))


counted = st.builds(
    Terms,
    st.integers(0, 10**18 - 1),
    st.sampled_from(Window),
    st.sampled_from([Unit.request, Unit.token]),
)
money = st.builds(Terms, st.integers(0, 9 * 10**18), st.sampled_from(Window))
concurrent = st.builds(Terms, st.integers(0, 10**18 - 1), st.just(Window.total), st.just(Unit.call))


@given(st.one_of(counted, money, concurrent), st.booleans())
def test_a_limit_is_read_as_it_was_written(terms: Terms, rolling: bool) -> None:
    terms = msgspec.structs.replace(terms, rolling=rolling and terms.window is not Window.total)
    if terms.unit in (Unit.request, Unit.token):
        assume(terms.window is not Window.total)  # which only words can say
    assert read_limit(limit_text(terms)) == terms


def test_amounts_are_written_in_their_unit() -> None:
    written = [
        amount_text(1_500_000_000, unit) for unit in (Unit.usd, Unit.credit, Unit.request, Unit.token, Unit.call)
    ]
    assert written == ["1.50", "1.50", "1500000000", "1500000000", "1500000000"]


@pytest.mark.parametrize(
    ("terms", "most"),
    [
        (Terms(5), 5),
        (Terms(0), 0),
        (UNLIMITED, None),
        (Terms(5, enforcement=Enforcement.soft), None),
        (Terms(5, enforcement=Enforcement.grace, grace_nano=2), 7),
        (Terms(5, overdraft_nano=3), 5),  # a line of its own
        (Terms(None, enforcement=Enforcement.grace, grace_nano=2), None),
    ],
)
def test_what_is_never_exceeded_is_the_limit_and_its_grace(terms: Terms, most: int | None) -> None:
    assert terms.most_nano == most


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("bud_1", "bud_1"),
        ("bud_1-abc", "bud_1-abc"),
        ("bud_1/run-7", "bud_1"),
        ("bud_1~overdraft", "bud_1"),
        ("bud_1/run-7~overdraft", "bud_1"),
        ("bud_1/a/b", "bud_1"),
    ],
)
def test_a_budget_of_a_run_or_a_line_is_written_down_under_one_name(name: str, base: str) -> None:
    assert base_id(name) == base


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_time_zones_are_known(name: str) -> None:
    assert zone_exists(name)


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../etc/passwd", "/etc/passwd", "Europe", "Europe/Berlin\0", "CEST!"]
)
def test_what_is_no_time_zone_is_known_as_such(name: str) -> None:
    assert not zone_exists(name)


@pytest.mark.parametrize(
    ("zone", "window", "at", "name", "start", "end"),
    [
        # Clocks go forward: the day has 23 hours, and the week and the month an hour less.
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "week", "2026-03-29T12:00", "2026-W13", "2026-03-22T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "month", "2026-03-29T12:00", "2026-03", "2026-02-28T23:00", "2026-03-31T22:00"),
        # Clocks go back: the day has 25 hours; two of them are named alike but for their offset.
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Europe/Berlin", "hour", "2026-10-25T00:59", "2026-10-25T02+0200", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("Europe/Berlin", "hour", "2026-10-25T01:00", "2026-10-25T02+0100", "2026-10-25T01:00", "2026-10-25T02:00"),
        ("Europe/Berlin", "day", "2026-12-31T22:59", "2026-12-31", "2026-12-30T23:00", "2026-12-31T23:00"),
        ("Europe/Berlin", "month", "2026-12-31T23:00", "2027-01", "2026-12-31T23:00", "2027-01-31T23:00"),
        ("America/New_York", "day", "2026-11-01T03:59", "2026-10-31", "2026-10-31T04:00", "2026-11-01T04:00"),
        ("America/New_York", "day", "2026-11-01T04:00", "2026-11-01", "2026-11-01T04:00", "2026-11-02T05:00"),
        # Zones whose hours begin at the half or the three quarters of ours.
        ("Asia/Kolkata", "hour", "2026-11-21T16:29", "2026-11-21T21+0530", "2026-11-21T15:30", "2026-11-21T16:30"),
        ("Asia/Kathmandu", "hour", "2026-11-21T16:15", "2026-11-21T22+0545", "2026-11-21T16:15", "2026-11-21T17:15"),
        ("Asia/Kolkata", "minute", "2026-11-21T16:29", "2026-11-21T21:59+0530", "2026-11-21T16:29", "2026-11-21T16:30"),
        ("Pacific/Kiritimati", "day", "2026-12-31T10:00", "2027-01-01", "2026-12-31T10:00", "2027-01-01T10:00"),
        # London in winter is at no offset: it writes its hours as UTC does.
        ("Europe/London", "hour", "2026-11-21T16:29", "2026-11-21T16Z", "2026-11-21T16:00", "2026-11-21T17:00"),
    ],
)
def test_windows_follow_the_clock_on_the_wall(zone: str, window: str, at: str, name: str, start: str, end: str) -> None:
    period = period_at(Terms(None, Window(window), zone=zone), moment_from_text(at))
    assert (period.name, period.start_us, period.end_us) == (name, moment_from_text(start), moment_from_text(end))


@given(calendar, st.sampled_from(ZONES), moments)
def test_windows_tile_time_in_every_zone(window: Window, zone: str, at_us: int) -> None:
    terms = Terms(None, window, zone=zone)
    period = period_at(terms, at_us)
    assert period.start_us <= at_us < period.end_us
    for inside_us in (period.start_us, (period.start_us + period.end_us) // 2, period.end_us - 1):
        assert period_at(terms, inside_us) == period
    following = period_at(terms, period.end_us)
    assert following.start_us == period.end_us
    assert following.name != period.name
    assert period_at(terms, period.start_us - 1).end_us == period.start_us


def turns_of(zone: str, year: int) -> list[int]:
    """Return when a zone's clocks are turned in a year, to within a day."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    return [from_datetime(day) for day, was, now in zip(days, offsets, offsets[1:], strict=False) if was != now]


TURNS = [
    *((zone, 2026) for zone in ZONES),
    ("America/Goose_Bay", 2009),  # one minute after midnight they went back into the day before
    ("America/St_Johns", 2009),
    ("America/Sao_Paulo", 2018),  # a midnight that never was
    ("America/Havana", 2018),  # a midnight that was twice
    ("Asia/Pyongyang", 2018),  # at half past an hour, by half an hour
    ("Australia/Lord_Howe", 2018),  # by half an hour
    ("Antarctica/Troll", 2018),  # by two hours
    ("Pacific/Apia", 2011),  # a day that never was
    ("Africa/Monrovia", 1972),  # by 44 minutes and 30 seconds
]


def test_windows_tile_time_where_clocks_are_turned() -> None:
    """Walk through the day around each change of offset, where calendars go wrong."""
    turned = [(zone, at_us) for zone, year in TURNS for at_us in turns_of(zone, year)]
    assert len(turned) > 100
    for zone, day_us in turned:
        for window in (Window.hour, Window.day, Window.month):
            terms, names = Terms(None, window, zone=zone), list[str]()
            period = period_at(terms, day_us)
            while period.start_us < day_us + DAY_US + 3 * HOUR_US:
                for at_us in (period.start_us, (period.start_us + period.end_us) // 2, period.end_us - 1):
                    assert period_at(terms, at_us) == period, (zone, at_us)
                names.append(period.name)
                before, period = period, period_at(terms, period.end_us)
                assert period.start_us == before.end_us, (zone, window, period)
            assert len(set(names)) == len(names)


@given(st.sampled_from(ZONES), moments)
def test_weeks_are_made_of_whole_days(zone: str, at_us: int) -> None:
    week = period_at(Terms(None, Window.week, zone=zone), at_us)
    days, at = 0, week.start_us
    while at < week.end_us:
        at = period_at(Terms(None, Window.day, zone=zone), at).end_us
        days += 1
    assert (at, days in (6, 7)) == (week.end_us, True)  # a country that crosses the date line skips a day


PIECES = {
    Window.minute: (MINUTE_US, 10 * SECOND_US),
    Window.hour: (HOUR_US, MINUTE_US),
    Window.day: (DAY_US, DAY_US // 48),
    Window.week: (7 * DAY_US, 4 * HOUR_US),
    Window.month: (30 * DAY_US, 12 * HOUR_US),
}


@given(calendar, st.sampled_from(["UTC", "Asia/Kathmandu"]), moments)
def test_the_pieces_of_a_rolling_window_cover_it_without_gap_and_little_more(
    window: Window, zone: str, at_us: int
) -> None:
    terms = Terms(1, window, rolling=True, zone=zone)
    whole_us, length_us = PIECES[window]
    pieces = [*pieces_before(terms, at_us), period_at(terms, at_us)]
    assert [later.start_us for later in pieces[1:]] == [piece.end_us for piece in pieces[:-1]]
    assert pieces[-1].start_us <= at_us < pieces[-1].end_us
    assert at_us - whole_us - length_us < pieces[0].start_us <= at_us - whole_us
    assert len({piece.name for piece in pieces}) == len(pieces) == whole_us // length_us + 1
    assert all(piece == period_at(terms, piece.start_us) for piece in pieces)


@given(st.sampled_from(Window), moments)
def test_a_calendar_window_counts_nothing_from_before_it(window: Window, at_us: int) -> None:
    assert pieces_before(Terms(1, window), at_us) == []
