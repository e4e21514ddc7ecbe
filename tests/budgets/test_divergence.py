"""A price that is wrong by the provider's own word is told, and one that is right is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.budgets.alerts import AlertKind
from bursar.budgets.divergence import LEAST_NANO, Reported, find_divergence, find_stale
from bursar.core.times import DAY_US, moment_from_text

USD = 1_000_000_000
NOW_US = moment_from_text("2026-11-22T12:00Z")


def told(booked_nano: int, reported_nano: int, percent: int = 2) -> list[str]:
    sums = [Reported("openrouter/gpt-4o", "2026-11-22", 41, booked_nano, reported_nano)]
    return [alert.text for alert in find_divergence(1, sums, percent, NOW_US)]


@pytest.mark.parametrize(
    ("booked_nano", "reported_nano", "percent", "is_told"),
    [
        (10 * USD, 10 * USD, 2, False),
        (98 * USD, 100 * USD, 2, False),  # of the larger, exactly 2 %
        (98 * USD - 1, 100 * USD, 2, True),
        (100 * USD, 98 * USD - 1, 2, True),
        (0, LEAST_NANO, 2, True),
        (0, LEAST_NANO - 1, 2, False),  # less than a cent
        (LEAST_NANO - 1, 0, 2, False),
        (1 * USD, 1 * USD + LEAST_NANO, 0, False),  # told never
        (1 * USD, 50 * USD, 99, False),
        (0, 0, 2, False),
    ],
)
def test_what_is_told_of_two_sums(booked_nano: int, reported_nano: int, percent: int, is_told: bool) -> None:
    assert bool(told(booked_nano, reported_nano, percent)) is is_told


def test_a_difference_says_how_much_it_is_and_in_which_direction() -> None:
    texts = told(11 * USD // 10, 123 * USD // 100) + told(2 * USD, 1 * USD) + told(0, USD)
    assert {text[:49] for text in texts} == {"openrouter/gpt-4o says that 41 calls of 2026-11-2"}
    assert [text[51:] for text in texts] == snapshot(
        [
            "cost 1.23 USD, 12 % more than the 1.10 USD booked: its price here is wrong",
            "cost 1.00 USD, 50 % less than the 2.00 USD booked: its price here is wrong",
            "cost 1.00 USD, and nothing was booked: its price here is wrong",
        ]
    )


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 100))
def test_one_target_and_day_is_one_alert_however_it_goes_on(
    booked_nano: int, reported_nano: int, more_nano: int, percent: int
) -> None:
    ids = {
        alert.alert_id
        for late in (0, more_nano)
        for alert in find_divergence(
            1, [Reported("a/b", "2026-11-22", 1, booked_nano, reported_nano + late)], percent, NOW_US + late
        )
    }
    assert len(ids) <= 1
    assert bool(told(booked_nano, reported_nano, percent)) == bool(told(reported_nano, booked_nano, percent))


def test_other_days_and_targets_are_other_alerts() -> None:
    sums = [Reported(target, day, 1, 0, USD) for target in ("a/b", "a/c") for day in ("2026-11-21", "2026-11-22")]
    found = find_divergence(1, sums, 2, NOW_US)
    assert len({alert.alert_id for alert in found}) == 4
    assert {(alert.kind, alert.number) for alert in found} == {(AlertKind.price_divergence, 0)}


@pytest.mark.parametrize(
    ("checked", "days_max", "is_told"),
    [
        ("2026-11-01", 60, False),
        ("2026-09-23", 60, False),
        ("2026-09-22", 60, True),
        ("2020-01-01", 0, False),
        ("", 60, False),  # not known is not old
    ],
)
def test_prices_are_told_to_be_old_once_they_are(checked: str, days_max: int, is_told: bool) -> None:
    assert bool(find_stale(1, checked, days_max, NOW_US)) is is_told


def test_that_prices_are_old_is_told_once_a_month() -> None:
    ids = {find_stale(1, "2026-01-01", 60, NOW_US + day * DAY_US)[0].alert_id for day in range(41)}
    assert len(ids) == 3  # November, December and the first of January
    assert find_stale(1, "2026-08-01", 60, NOW_US)[0].text == snapshot(
        "the price book was last checked on 2026-08-01, 113 days ago: upgrade Bursar, or give your own prices"
    )
