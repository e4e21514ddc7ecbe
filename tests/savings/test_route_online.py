"""Outcomes correct what is expected of a model, within bounds, and an alarm tells when it has changed."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.savings.route.online import (
    ALARM_AT,
    EVENTS_MIN,
    SHIFT_MAX,
    SLOPE_MAX,
    SLOPE_MIN,
    START_CHECKS,
    Learned,
    Outcome,
    State,
    after,
    learn,
    recalibrated,
)


def outcomes(count: int, seed: int, shift: float = 0.0, slope: float = 1.0) -> Iterator[Outcome]:
    """Give outcomes of a model whose log-odds are as expected, shifted and stretched."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        odds = generator.normal(0.5, 1.0)
        chance = 1 / (1 + np.exp(-odds))
        truth = 1 / (1 + np.exp(-(shift + slope * odds)))
        yield Outcome("small", float(chance), float(generator.random() < truth))


def test_a_model_worse_than_expected_is_expected_to_be_worse() -> None:
    state = learn(State(), outcomes(1_500, 1, shift=-1.0))

    shift, slope = state.corrections()["small"]
    assert shift == pytest.approx(-1.0, abs=0.2)
    assert slope == pytest.approx(1.0, abs=0.25)
    assert recalibrated(state, "small", 0.5) == pytest.approx(1 / (1 + np.exp(1.0)), abs=0.05)
    assert recalibrated(state, "big", 0.5) == 0.5


def test_a_model_whose_chances_say_too_much_is_flattened() -> None:
    state = learn(State(), outcomes(4_000, 2, slope=0.6))

    assert state.corrections()["small"][1] == pytest.approx(0.6, abs=0.15)


def test_few_outcomes_correct_nothing() -> None:
    some = [Outcome("small", 0.9, 0.0)] * EVENTS_MIN

    assert learn(State(), some[:-1]).corrections() == {}
    assert "small" in learn(State(), some).corrections()


def test_a_bucket_has_corrections_of_its_own_and_falls_back_to_all() -> None:
    bad = [Outcome("small", 0.9, 0.0, bucket="law")] * 60
    good = [Outcome("small", 0.9, 1.0, bucket="chat")] * 60
    state = learn(State(), [each for pair in zip(bad, good, strict=True) for each in pair])

    law, everywhere, chat = (state.corrections(bucket)["small"][0] for bucket in ("law", "", "chat"))
    assert law < everywhere < -1 < 0 < chat
    assert state.corrections("unknown") == state.corrections()


@given(st.lists(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), max_size=200))
def test_corrections_stay_within_bounds_and_certainty_grows_no_further_than_allowed(events) -> None:
    known = Learned()
    for chance, good in events:
        known = after(known, Outcome("small", chance, good))
        of_shift, of_slope, of_both = known.variances
        assert abs(known.shift) <= SHIFT_MAX
        assert SLOPE_MIN <= known.slope <= SLOPE_MAX
        assert 0 < of_shift <= 0.2501
        assert 0 < of_slope <= 0.0401
        assert of_both**2 < of_shift * of_slope
        assert 0 <= min(known.above, known.below) <= max(known.above, known.below) < ALARM_AT


def test_the_fold_gives_the_same_however_it_is_cut() -> None:
    events = list(outcomes(300, 3, shift=0.5))

    assert learn(learn(State(), events[:120]), events[120:]) == learn(State(), events)


def test_a_false_alarm_is_as_rare_as_stated() -> None:
    """One in some 10,000 to 20,000 outcomes: of 150 models with 700 each five to eleven raise one."""
    alarms = sum(learn(State(), outcomes(700, seed)).learned["small"].alarms for seed in range(150))

    assert 1 <= alarms <= 16


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_what_is_off_from_the_beginning_is_corrected_and_told_once(shift: float) -> None:
    states = [learn(State(), outcomes(400, seed, shift=shift)) for seed in range(20)]

    assert all(state.corrections()["small"][0] * shift > 0.4 for state in states)
    assert sum(state.learned["small"].off_from_start for state in states) >= 19
    more = learn(states[0], outcomes(300, 21, shift=shift)).learned["small"]
    assert more.off_from_start
    assert more.alarms == states[0].learned["small"].alarms


@pytest.mark.parametrize(
    ("events", "good", "off"),
    [
        (START_CHECKS[0] - 1, 0, False),  # nothing is checked yet
        (START_CHECKS[0], 0, True),  # 25 were expected
        (START_CHECKS[0], 11, True),  # 14 fewer, 2.5 of them slack, and 3 deviations of 3.54
        (START_CHECKS[0], 12, False),
        (START_CHECKS[0], 38, False),
        (START_CHECKS[0], 39, True),
        (START_CHECKS[1], 29, True),
        (START_CHECKS[1] - 1, 29, False),  # only checks tell
        (START_CHECKS[1], 30, False),
    ],
)
def test_the_start_is_checked_at_its_counts_and_beyond_slack_and_chance(events: int, good: int, off: bool) -> None:
    came = [float((number + 1) * good // events > number * good // events) for number in range(events)]

    known = learn(State(), [Outcome("small", 0.5, each) for each in came]).learned["small"]

    assert (sum(came), known.off_from_start) == (good, off)
    assert known.alarms >= off


def test_of_models_as_expected_none_in_three_hundred_is_told_to_be_off_from_the_start() -> None:
    assert not any(learn(State(), outcomes(400, seed)).learned["small"].off_from_start for seed in range(300))


def test_what_comes_after_the_start_is_no_part_of_it() -> None:
    start = learn(State(), outcomes(START_CHECKS[-1], 6)).learned["small"]
    later = learn(State(), [*outcomes(START_CHECKS[-1], 6), *[Outcome("small", 0.9, 0.0)] * 500]).learned["small"]

    assert (later.missed, later.spread, later.off_from_start) == (start.missed, start.spread, False)
    assert later.alarms > 0


@pytest.mark.parametrize("shift", [-2.2, 2.2])
def test_a_model_that_changes_raises_an_alarm_soon(shift: float) -> None:
    state = learn(State(), outcomes(1_000, 4))
    assert state.alarmed() == ()

    raised = [learn(state, outcomes(count, 5, shift=shift)).alarmed() for count in (20, 150)]

    assert raised == [(), ("small",)]
