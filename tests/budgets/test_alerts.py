"""Thresholds are told once a window, forecasts when they are news; amounts and dates are written for people."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.alerts import Alert, AlertKind, Made, Standing, crossed, find_alerts, percents_of
from bursar.budgets.budget import UNLIMITED, Budget, Enforcement, Terms, period_at, read_limit
from bursar.budgets.forecast import Sample, sample_gap_us
from bursar.budgets.tree import Holder, Tree
from bursar.core.times import DAY_US, HOUR_US, MINUTE_US, moment_from_text

NOW_US = moment_from_text("2026-11-15T12:00Z")
USD = 1_000_000_000


def standing(limit: str | Terms, spent_nano: int, now_us: int = NOW_US, **fields: object) -> Standing:
    terms = limit if isinstance(limit, Terms) else read_limit(limit)
    budget = Budget("bud_1", 1, terms, "blue")
    return msgspec.structs.replace(Standing(budget, "team", period_at(terms, now_us), spent_nano), **fields)


def as_made(alerts: list[Alert]) -> list[Made]:
    return [Made(each.kind, each.number, each.period, each.at_us, each.runs_out_us) for each in alerts]


@pytest.mark.parametrize(
    ("limit", "spent_nano", "expected"),
    [
        ("20.00/month", 0, []),
        ("20.00/month", 10 * USD - 1, []),
        ("20.00/month", 10 * USD, [50]),
        ("20.00/month", 16 * USD - 1, [50]),
        ("20.00/month", 16 * USD, [50, 80]),
        ("20.00/month", 20 * USD, [50, 80, 100]),
        ("20.00/month", 200 * USD, [50, 80, 100]),
        ("0.000000003", 1, []),
        ("0.000000003", 2, [50]),
        ("0", 0, []),
        ("600 requests/day", 480, [50, 80]),
        ("1000 tokens/minute", 500, [50]),
        ("20 concurrent", 20, []),
        (UNLIMITED, 99 * USD, []),
        (Terms(0, enforcement=Enforcement.soft), 1, [50, 80, 100]),
        (Terms(USD, enforcement=Enforcement.grace, grace_nano=USD), USD, [50, 80, 100]),
    ],
)
def test_a_threshold_is_crossed_when_it_is_reached(limit: str | Terms, spent_nano: int, expected: list[int]) -> None:
    assert crossed(standing(limit, spent_nano), (100, 50, 80, 80), [], NOW_US) == expected


def test_what_was_moved_counts_as_the_limit() -> None:
    assert crossed(standing("20/month", 16 * USD, moved_nano=20 * USD), (50, 80), [], NOW_US) == []
    assert crossed(standing("20/month", 5 * USD, moved_nano=-10 * USD), (50, 80), [], NOW_US) == [50]


amounts = st.lists(st.integers(0, 5 * USD), max_size=30)
percents = st.lists(st.integers(1, 1_000), min_size=1, max_size=6)
limits = st.sampled_from(["5.00/day", "5.00/hour", "20.00/month", "7", "9.00/week", "5.00/day rolling", "2/minute"])


@given(limits, percents, amounts, st.integers(1, 40 * HOUR_US))
def test_each_threshold_is_told_at_most_once_a_window(
    limit: str, wanted: list[int], gains: list[int], step_us: int
) -> None:
    made: list[Made] = []
    now_us, spent, period = NOW_US, 0, ""
    for gain in gains:
        now_us += step_us
        at = period_at(read_limit(limit), now_us).name
        spent, period = (spent if at == period else 0) + gain, at
        found = find_alerts(standing(limit, spent, now_us), wanted, made, now_us)
        assert find_alerts(standing(limit, spent, now_us), wanted, made + as_made(found), now_us) == []
        made += as_made(found)
    thresholds = [(each.period, each.number) for each in made if each.kind is AlertKind.threshold]
    assert len(set(thresholds)) == len(thresholds)


@given(percents, st.integers(0, 50 * USD), st.integers(0, 50 * USD))
def test_who_spends_more_has_crossed_no_less(wanted: list[int], less_nano: int, more_nano: int) -> None:
    low, high = sorted((less_nano, more_nano))
    assert set(crossed(standing("20/month", low), wanted, [], NOW_US)) <= set(
        crossed(standing("20/month", high), wanted, [], NOW_US)
    )


def test_a_new_window_begins_anew_and_a_rolling_one_after_its_length() -> None:
    told = as_made(find_alerts(standing("5/day", 4 * USD), (50, 80), [], NOW_US))
    later = NOW_US + 12 * HOUR_US
    assert crossed(standing("5/day", 4 * USD, later - 1), (50, 80), told, later - 1) == []
    assert crossed(standing("5/day", 4 * USD, later), (50, 80), told, later) == [50, 80]
    told = as_made(find_alerts(standing("5/day rolling", 4 * USD), (50, 80), [], NOW_US))
    for hours, expected in ((1, []), (23, []), (25, [50, 80])):
        later = NOW_US + hours * HOUR_US
        assert crossed(standing("5/day rolling", 4 * USD, later), (50, 80), told, later) == expected


def test_a_limit_per_minute_is_told_once_a_day() -> None:
    told = as_made(find_alerts(standing("600 requests/minute", 600), (100,), [], NOW_US))
    for later, expected in ((MINUTE_US, []), (DAY_US - 1, []), (DAY_US, [100])):
        moment = NOW_US + later
        assert crossed(standing("600 requests/minute", 600, moment), (100,), told, moment) == expected


def test_the_day_of_a_zone_is_its_own() -> None:
    terms = msgspec.structs.replace(read_limit("5/day"), zone="America/New_York")
    told = as_made(find_alerts(standing(terms, 4 * USD), (50,), [], NOW_US))
    midnight = moment_from_text("2026-11-16T05:00Z")
    assert crossed(standing(terms, 4 * USD, midnight - 1), (50,), told, midnight - 1) == []
    assert crossed(standing(terms, 4 * USD, midnight), (50,), told, midnight) == [50]


def steady(limit: str | Terms, per_day_nano: int, now_us: int = NOW_US, days: int = 14) -> Standing:
    """Spend at one pace, since the beginning of the month or for so many days."""
    terms = limit if isinstance(limit, Terms) else read_limit(limit)
    start_us = period_at(terms, now_us).start_us or now_us - days * DAY_US

    def spent(at_us: int) -> int:
        return per_day_nano * (at_us - start_us) // DAY_US

    gap_us = sample_gap_us(terms, period_at(terms, now_us))
    samples = tuple(Sample(at_us, spent(at_us)) for at_us in range(start_us, now_us, gap_us))
    return standing(terms, spent(now_us), now_us, samples=samples)


def texts(found: list[Alert]) -> list[str]:
    return [each.text for each in found]


def test_texts_say_what_is_used_and_when_it_runs_out() -> None:
    assert texts(find_alerts(standing("20.00/month", 16_204_999_999), (80,), [], NOW_US)) == [
        "team blue: 80 % of 20.00/month used (16.20 USD)"
    ]
    assert texts(find_alerts(standing("0.001", 800_000), (80,), [], NOW_US)) == [
        "team blue: 80 % of 0.001 used (0.0008 USD)"
    ]
    assert texts(find_alerts(standing("600 requests/day", 480), (80,), [], NOW_US)) == [
        "team blue: 80 % of 600 requests/day used (480 requests)"
    ]
    assert texts(find_alerts(steady("20.00/month", 1_100_000_000), (75,), [], NOW_US)) == [
        "team blue: 75 % of 20.00/month used (15.95 USD); at this pace it runs out on 19 November",
        "team blue: 79 % of 20.00/month used (15.95 USD); at this pace it runs out on 19 November",
    ]
    berlin = msgspec.structs.replace(read_limit("6.00/day"), zone="Europe/Berlin")
    assert texts(find_alerts(steady(berlin, 9 * USD), (99,), [], NOW_US)) == [
        "team blue: 81 % of 6.00/day used (4.88 USD); at this pace it runs out at 16:00 Europe/Berlin"
    ]
    assert texts(find_alerts(steady("100", 2 * USD), (99,), [], NOW_US)) == [
        "team blue: 28 % of 100.00 used (28.00 USD); at this pace it runs out on 21 December"
    ]
    assert texts(find_alerts(steady("150", 2 * USD), (99,), [], NOW_US)) == [
        "team blue: 18 % of 150.00 used (28.00 USD); at this pace it runs out on 15 January 2027"
    ]


def test_a_forecast_that_is_not_sure_says_so() -> None:
    start_us = period_at(read_limit("1/month"), NOW_US).start_us
    slow = [Sample(start_us + hour * HOUR_US, hour * USD // 100) for hour in range(264)]
    fast = [Sample(start_us + hour * HOUR_US, 264 * USD // 100 + (hour - 264) * USD // 20) for hour in range(264, 348)]

    def said(limit: str) -> list[str]:
        found = find_alerts(standing(limit, 684 * USD // 100, samples=(*slow, *fast)), (99,), [], NOW_US)
        return [each.text.partition("; ")[2] for each in found]

    assert said("11.00/month") == ["at this pace it runs out on 21 November (between 21 November and 26 November)"]
    assert said("14.00/month") == ["at this pace it runs out on 25 November or later"]
    assert said("99.00/month") == []


def test_a_forecast_is_told_again_only_when_it_has_moved_by_a_tenth_of_the_window() -> None:
    first = find_alerts(steady("20.00/month", 1_000_000_000), (99,), [], NOW_US)
    assert [(each.kind, each.number) for each in first] == [(AlertKind.forecast, 1)]
    told = as_made(first)
    assert find_alerts(steady("20.00/month", 1_050_000_000), (99,), told, NOW_US) == []
    second = find_alerts(steady("20.00/month", 700_000_000), (99,), told, NOW_US)
    assert [(each.kind, each.number) for each in second] == [(AlertKind.forecast, 2)]
    assert second[0].alert_id != first[0].alert_id
    assert find_alerts(steady("20.00/month", 720_000_000), (99,), told + as_made(second), NOW_US) == []


def test_a_run_has_no_forecast_of_its_budget_in_all() -> None:
    whole = steady("100", 2 * USD)
    one = msgspec.structs.replace(whole, budget=msgspec.structs.replace(whole.budget, budget_id="bud_1/r1"))
    assert len(find_alerts(whole, (99,), [], NOW_US)) == 1
    assert find_alerts(one, (99,), [], NOW_US) == []


def test_nothing_is_told_where_no_percentages_are_set() -> None:
    assert find_alerts(steady("20.00/month", 2 * USD), (), [], NOW_US) == []


def test_the_same_alert_has_the_same_id_and_others_have_others() -> None:
    def found(**fields: object) -> list[str]:
        budget = msgspec.structs.replace(standing("5/day", 5 * USD).budget, **fields)
        alerts = find_alerts(standing("5/day", 5 * USD, budget=budget), (50, 80), [], NOW_US)
        return [each.alert_id for each in alerts]

    ids = [*found(), *found(tenant=2), *found(budget_id="bud_2")]
    assert len(set(ids)) == 6
    assert found() == found(holder="renamed")


def test_a_holder_without_percentages_has_those_of_the_nearest_above_it() -> None:
    tree = Tree(
        [
            Holder("org", 1, "org", "organisation", alerts_percent=(100,)),
            Holder("team", 1, "team", "team", parent_id="org"),
            Holder("key", 1, "key", "key", parent_id="team", alerts_percent=(50, 80)),
            Holder("other", 1, "other", "key"),
        ]
    )
    assert [percents_of(tree, name) for name in ("org", "team", "key", "other")] == [(100,), (100,), (50, 80), ()]
