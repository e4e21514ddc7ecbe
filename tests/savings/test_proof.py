"""Arms divide units evenly and for good; intervals hold as often as they say, and noise is not called a saving."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.savings.proof import (
    PPM,
    UNITS_MIN,
    Arm,
    Difference,
    Sample,
    TooFew,
    arm,
    difference,
    percent_text,
    sample_of,
    students_t,
    unit_of,
)

UNITS = [unit_of("key", "", number.to_bytes(4, "big")) for number in range(20_000)]


def world(rng: random.Random, units: tuple[int, int], spread: float, left: float) -> Difference | TooFew:
    """Compare lognormal costs of mean 1, of which treatment leaves a share."""
    shift = -spread * spread / 2
    arms = [[rng.lognormvariate(shift, spread) for _ in range(count)] for count in units]
    return difference(sample_of(left * value for value in arms[0]), sample_of(arms[1]))


def test_the_arms_of_the_first_units_stay_what_they_are() -> None:
    arms = [arm("compress", "1", unit, 100_000) for unit in UNITS[:40]]
    assert [place for place, each in enumerate(arms) if each is Arm.holdout] == snapshot([4, 21, 29, 31, 36])


@pytest.mark.parametrize("holdout_ppm", [0, 10_000, 100_000, 500_000, PPM])
def test_as_many_units_are_held_out_as_was_asked(holdout_ppm: int) -> None:
    held = Counter(arm("compress", "1", unit, holdout_ppm) for unit in UNITS)[Arm.holdout]
    expected, error = (
        len(UNITS) * holdout_ppm / PPM,
        math.sqrt(len(UNITS) * holdout_ppm / PPM * (1 - holdout_ppm / PPM)),
    )
    assert abs(held - expected) <= 4 * error


@given(unit=st.text(), low=st.integers(0, PPM), more=st.integers(0, PPM))
def test_a_unit_held_out_stays_so_when_more_are(unit: str, low: int, more: int) -> None:
    if arm("route", "1", unit, low) is Arm.holdout:
        assert arm("route", "1", unit, min(PPM, low + more)) is Arm.holdout


def test_another_lever_and_another_experiment_divide_the_units_anew() -> None:
    arms = {
        name: [arm(*name, unit, 500_000) is Arm.holdout for unit in UNITS]
        for name in (("compress", "1"), ("compress", "2"), ("route", "1"))
    }
    for other in (("compress", "2"), ("route", "1")):
        both = sum(map(int.__and__, map(int, arms["compress", "1"]), map(int, arms[other])))
        assert abs(both - len(UNITS) / 4) < 4 * math.sqrt(len(UNITS) * 3 / 16)


def test_a_run_is_a_unit_whatever_its_calls_say_and_a_conversation_is_one_of_its_key() -> None:
    assert unit_of("key", "run-1", b"a") == unit_of("other", "run-1", b"b")
    names = {unit_of("key", "", b"a"), unit_of("other", "", b"a"), unit_of("key", "", b"b"), unit_of("key", "a", b"")}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("probability", "degrees", "table"),
    [(0.975, 3, 3.18245), (0.975, 10, 2.22814), (0.975, 30, 2.04227), (0.995, 5, 4.03214), (0.95, 10, 1.81246)],
)
def test_students_t_is_that_of_the_tables(probability: float, degrees: int, table: float) -> None:
    assert students_t(probability, degrees) == pytest.approx(table, rel=0.001 if degrees >= 10 else 0.02)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_intervals_hold_about_as_often_as_they_say(spread: float) -> None:
    rng, held, shares, told = random.Random(6), 0, 0, 0
    for _ in range(400):
        found = world(rng, (450, 150), spread, 0.7)
        if isinstance(found, Difference):
            assert found.share is not None
            told += 1
            held += found.less.low <= 0.3 <= found.less.high
            shares += found.share.low <= 0.3 <= found.share.high
    assert told > 370
    assert 0.91 <= held / told <= 0.98
    assert 0.91 <= shares / told <= 0.98


@pytest.mark.parametrize("spread", [0.3, 1.0, 1.5])
def test_two_arms_that_are_the_same_are_seldom_told_apart(spread: float) -> None:
    rng = random.Random(7)
    found = [world(rng, (300, 150), spread, 1.0) for _ in range(400)]
    told_apart = sum(isinstance(each, Difference) and each.less.excludes_zero for each in found)
    assert told_apart / len(found) <= 0.08


def test_too_few_or_too_unlike_units_say_nothing_yet() -> None:
    few = difference(sample_of([1.0] * 100), sample_of([1.0] * (UNITS_MIN - 1)))
    assert few == TooFew(100, 29, 30, 30)
    unlike = difference(sample_of([1.0] * 100), sample_of([0.0] * 99 + [100.0]))
    assert unlike == snapshot(TooFew(treatment_units=100, holdout_units=100, treatment_needed=30, holdout_needed=4445))


def test_arms_without_any_spread_differ_by_exactly_what_they_do() -> None:
    found = difference(sample_of([3.0] * 30), sample_of([4.0] * 30))
    assert isinstance(found, Difference)
    assert (found.less.value, found.less.low, found.less.high) == (1.0, 1.0, 1.0)
    assert found.share is not None
    assert (found.share.low, found.share.high) == (0.25, 0.25)


def test_nothing_can_be_a_share_of_nothing() -> None:
    found = difference(sample_of([0.0, 1.0] * 30), sample_of([0.0] * 40))
    assert isinstance(found, Difference)
    assert found.share is None
    assert found.less.value == -0.5


@given(values=st.lists(st.floats(0, 1e9), min_size=2, max_size=50), times=st.floats(0.001, 1000))
def test_a_sample_in_another_unit_is_the_same_sample(values: list[float], times: float) -> None:
    one, other = sample_of(values), sample_of([times * value for value in values])
    assert other.mean == pytest.approx(times * one.mean)
    assert other.variance == pytest.approx(times * times * one.variance, rel=1e-6, abs=1e-6 * times * times)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 95.0])
def test_a_confidence_beyond_0_and_1_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        difference(Sample(30, 1.0, 0.0), Sample(30, 1.0, 0.0), confidence)


def test_a_share_of_hold_out_is_written_in_percent() -> None:
    assert [percent_text(share_ppm) for share_ppm in (125_000, 900_000, 1, 0)] == ["12.5 %", "90 %", "0.0001 %", "0 %"]
