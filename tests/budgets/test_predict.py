"""Holds stay between one token and the cap, cover what was promised, and follow a stream that changes."""

import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.predict import Calibration, OutputPredictor

CAP = 4_096
STREAM = ("key", "model", "route")
WARM = 500
Length = Callable[[random.Random, int, float], float]
"""Draws a length from dice, the input's length and how far the calls have got, 0 to 1."""

anything = st.integers(-5, 10**30)
calls = st.lists(st.tuples(st.integers(0, 5), anything, anything, anything), max_size=60)


def drawn(length: Length, count: int = 6_000) -> list[tuple[int, int]]:
    dice = random.Random(20261122)
    inputs = [dice.randrange(1, 4_000) for _ in range(count)]
    return [(each, min(CAP, int(length(dice, each, at / count)))) for at, each in enumerate(inputs)]


def held(
    predictor: OutputPredictor, lengths: Iterable[tuple[int, int]], stream: Hashable = STREAM, under_way: int = 32
) -> list[tuple[int, int]]:
    """Give hold and true length of each call, outcomes known `under_way` calls later."""
    waiting: deque[tuple[int, int, int]] = deque()
    outcome = []
    for input_tokens, output_tokens in lengths:
        hold = predictor.predict(stream, input_tokens, CAP)
        waiting.append((input_tokens, output_tokens, hold))
        outcome.append((hold, output_tokens))
        if len(waiting) > under_way:
            predictor.observe(stream, *waiting.popleft(), CAP)
    return outcome


def exceeded_share(outcome: list[tuple[int, int]]) -> float:
    return sum(length > hold for hold, length in outcome) / len(outcome)


def money(outcome: list[tuple[int, int]]) -> float:
    return sum(hold for hold, _ in outcome) / len(outcome)


def lognormal(dice: random.Random, input_tokens: int, _at: float) -> float:
    return dice.lognormvariate(5, 0.6)


def heavy(dice: random.Random, input_tokens: int, _at: float) -> float:
    return 40 * dice.paretovariate(1.2)


def bimodal(dice: random.Random, input_tokens: int, _at: float) -> float:
    return dice.lognormvariate(3, 0.3) if dice.random() < 0.97 else dice.lognormvariate(6.5, 0.3)


def two_values(dice: random.Random, input_tokens: int, _at: float) -> float:
    return 10 if dice.random() < 0.985 else 500


def by_input(dice: random.Random, input_tokens: int, _at: float) -> float:
    return input_tokens * dice.uniform(0.2, 0.4)


def growing(dice: random.Random, input_tokens: int, at: float) -> float:
    return dice.lognormvariate(4, 0.6) * (1 + 6 * at)


def shrinking(dice: random.Random, input_tokens: int, at: float) -> float:
    return dice.lognormvariate(4, 0.6) * (7 - 6 * at)


def doubling(dice: random.Random, input_tokens: int, at: float) -> float:
    return dice.lognormvariate(4, 0.6) * (1 if at < 0.5 else 2)


def halving(dice: random.Random, input_tokens: int, at: float) -> float:
    return dice.lognormvariate(5, 0.6) * (1 if at < 0.5 else 0.5)


@given(calls, st.integers(1, 999_999))
def test_a_hold_lies_between_one_and_the_cap(calls: list[tuple[int, int, int, int]], coverage_ppm: int) -> None:
    predictor = OutputPredictor(coverage_ppm, streams_max=3)
    for name, input_tokens, output_tokens, cap in calls * 4:
        hold = predictor.predict((name, "model"), input_tokens, cap)
        assert 1 <= hold <= max(1, cap)
        predictor.observe((name, "model"), input_tokens, output_tokens, hold, cap)


@given(calls, st.randoms(use_true_random=False))
def test_memory_is_bounded_and_every_call_counted_in_any_order(
    calls: list[tuple[int, int, int, int]], dice: random.Random
) -> None:
    overall: set[Calibration] = set()
    for _ in range(2):
        predictor = OutputPredictor(streams_max=3)
        for name, input_tokens, output_tokens, cap in calls:
            predictor.observe((name, "model"), input_tokens, output_tokens, cap // 2, cap)
        assert len(predictor) == min(3, len({name for name, *_ in calls}))
        assert sum(each.calls for _, each in predictor.calibrations()) <= len(calls)
        overall.add(predictor.overall())
        dice.shuffle(calls)
    assert len(overall) == 1
    assert overall.pop().calls == len(calls)


@pytest.mark.parametrize("length", [lognormal, heavy, bimodal, two_values, by_input, growing, shrinking])
def test_what_was_promised_is_covered(length: Length) -> None:
    outcome = held(OutputPredictor(), drawn(length))[WARM:]
    assert abs(exceeded_share(outcome) - 0.01) < 0.0025
    windows = [outcome[at : at + 1_000] for at in range(0, len(outcome) - 999, 1_000)]
    assert all(exceeded_share(window) <= 0.02 for window in windows)


@pytest.mark.parametrize("coverage_ppm", [500_000, 900_000, 950_000, 995_000])
def test_other_promises_are_kept(coverage_ppm: int) -> None:
    outcome = held(OutputPredictor(coverage_ppm), drawn(lognormal, 10_000))[2_000:]
    assert exceeded_share(outcome) == pytest.approx(1 - coverage_ppm / 1_000_000, abs=0.002)


def test_a_window_in_which_lengths_double_is_within_a_point_and_a_half() -> None:
    outcome = held(OutputPredictor(), drawn(doubling))
    after = outcome[len(outcome) // 2 :]
    # 32 calls were under way when the first of the longer answers ended: nothing can be done about these.
    unavoidable = sum(length > hold for hold, length in after[:32])
    assert unavoidable > 3
    assert exceeded_share(after[:1_000]) <= 0.025
    assert exceeded_share(after[32:1_000]) <= 0.013


def test_holds_follow_lengths_that_halve() -> None:
    outcome = held(OutputPredictor(), drawn(halving))
    assert money(outcome[-1_000:]) < 0.7 * money(outcome[2_000:3_000])
    assert exceeded_share(outcome[-2_000:]) <= 0.015


@pytest.mark.parametrize("tokens", [0, 1, 10, 3_000])
def test_a_constant_length_is_held_nearly_exactly_and_never_exceeded(tokens: int) -> None:
    outcome = held(OutputPredictor(), drawn(lambda dice, input_tokens, at: tokens))[WARM:]
    assert exceeded_share(outcome) == 0
    assert money(outcome[1_000:]) <= tokens * 1.25 + 2


def test_the_length_of_the_input_saves_money_where_it_tells_something() -> None:
    outcome = held(OutputPredictor(), drawn(by_input))[WARM:]
    quantile = sorted(length for _, length in outcome)[int(0.99 * len(outcome))]
    assert money(outcome) < 0.75 * quantile


def test_an_input_of_a_new_length_is_held_with_care() -> None:
    predictor = OutputPredictor()
    held(predictor, drawn(lognormal))
    assert predictor.predict(STREAM, 1_000_000, CAP) > 2 * predictor.predict(STREAM, 1_000, CAP)


def test_the_cap_is_held_until_enough_is_known_and_never_more() -> None:
    predictor = OutputPredictor()
    outcome = held(predictor, drawn(lognormal, 500))
    assert {hold for hold, _ in outcome[:132]} == {CAP}
    assert max(hold for hold, _ in outcome[200:]) < CAP
    assert predictor.predict(STREAM, 100, 20) == 20
    assert predictor.predict(STREAM, 100, 0) == 1


def test_answers_cut_at_a_cap_count_as_longer() -> None:
    predictor, dice = OutputPredictor(), random.Random(1)
    for at in range(4_000):
        cap = 200 if at % 2 else CAP
        length = min(cap, int(dice.lognormvariate(5, 0.6)))
        hold = predictor.predict(STREAM, 500, cap)
        predictor.observe(STREAM, 500, length, hold, cap)
    # A third of the answers that may have 200 tokens are cut; the quantile of those that may have more is 600.
    assert 450 < predictor.predict(STREAM, 500, CAP) < 900
    assert predictor.predict(STREAM, 500, 200) == 200


def test_where_answers_are_cut_and_nothing_longer_is_known_the_cap_is_held() -> None:
    predictor = OutputPredictor()
    outcome = held(predictor, drawn(lambda dice, input_tokens, at: CAP if dice.random() < 0.05 else 10, 2_000))
    assert {hold for hold, _ in outcome} == {CAP}


def test_a_new_key_begins_with_what_others_know_of_its_model_and_route() -> None:
    predictor = OutputPredictor()
    held(predictor, drawn(lognormal, 1_000))
    assert 300 < predictor.predict(("another", "model", "route"), 500, CAP) < 1_500
    assert predictor.predict(("another", "model", "elsewhere"), 500, CAP) == CAP
    assert predictor.predict("model", 500, CAP) == CAP
    assert predictor.predict((), 500, CAP) == CAP


def test_a_key_unlike_the_others_is_soon_held_for_more() -> None:
    predictor = OutputPredictor()
    held(predictor, drawn(lognormal, 1_000))
    unlike = held(predictor, drawn(lambda dice, *_: dice.uniform(2_000, 3_000), 400), ("unlike", "model", "route"))
    assert exceeded_share(unlike[:32]) == 1
    assert exceeded_share(unlike[40:]) < 0.02
    assert exceeded_share(held(predictor, drawn(lognormal, 400))) < 0.02


def test_many_small_keys_are_covered_together() -> None:
    predictor, dice = OutputPredictor(), random.Random(2)
    outcome = []
    for _ in range(6_000):
        stream, length = (dice.randrange(200), "model"), int(dice.lognormvariate(5, 0.6))
        hold = predictor.predict(stream, 500, CAP)
        predictor.observe(stream, 500, length, hold, CAP)
        outcome.append((hold, length))
    assert abs(exceeded_share(outcome[WARM:]) - 0.01) < 0.003
    assert money(outcome[WARM:]) < 900


def test_late_missing_and_shuffled_feedback_do_no_harm() -> None:
    predictor, dice = OutputPredictor(), random.Random(3)
    waiting: list[tuple[int, int, int]] = []
    outcome = []
    for input_tokens, length in drawn(lognormal):
        hold = predictor.predict(STREAM, input_tokens, CAP)
        outcome.append((hold, length))
        waiting.append((input_tokens, length, hold))
        if len(waiting) > 200:
            ended = waiting.pop(dice.randrange(len(waiting)))
            if dice.random() < 0.7:
                predictor.observe(STREAM, *ended, CAP)
    assert abs(exceeded_share(outcome[1_000:]) - 0.01) < 0.004


def test_the_stream_observed_longest_ago_is_forgotten_first() -> None:
    predictor = OutputPredictor(streams_max=2)
    for name in ("a", "b", "a", "c"):
        predictor.observe(name, 1, 1, 1, 2)
    assert [name for name, _ in predictor.calibrations()] == ["a", "c"]
    assert predictor.calibration("b") == Calibration(990_000)
    assert predictor.calibration("a") == Calibration(990_000, calls=2)


def test_promise_and_measure_are_shown() -> None:
    predictor = OutputPredictor(950_000)
    for output_tokens, predicted in [(5, 10), (11, 10), (10, 10), (3, 64)]:
        predictor.observe(STREAM, 100, output_tokens, predicted, 64)
    measured = predictor.calibration(STREAM)
    assert measured == Calibration(950_000, calls=4, at_cap=1, exceeded=1)
    assert measured.coverage_ppm == 750_000
    assert Calibration(950_000).coverage_ppm == 1_000_000
    assert predictor.overall() == measured


@pytest.mark.parametrize(("coverage_ppm", "streams_max"), [(0, 1), (1_000_000, 1), (990_000, 0)])
def test_a_promise_that_cannot_be_kept_is_refused(coverage_ppm: int, streams_max: int) -> None:
    with pytest.raises(ValueError, match="coverage is between"):
        OutputPredictor(coverage_ppm, streams_max)
