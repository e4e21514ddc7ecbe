"""Holds stay between one token and the cap, cover what was promised, and follow a stream that changes."""

import random
from collections import deque
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.predict import OutputPredictor

CAP = 4_096
STREAM = ("key", "model", "route")


def held(predictor: OutputPredictor, lengths: Iterable[tuple[int, int]], under_way: int = 32) -> list[tuple[int, int]]:
    """Give hold and true length of each call, outcomes known `under_way` calls later."""
    waiting: deque[tuple[int, int, int]] = deque()
    calls = []
    for input_tokens, output_tokens in lengths:
        hold = predictor.predict(STREAM, input_tokens, CAP)
        waiting.append((input_tokens, output_tokens, hold))
        calls.append((hold, output_tokens))
        if len(waiting) > under_way:
            predictor.observe(STREAM, *waiting.popleft(), CAP)
    return calls


def drawn(count: int, length: Callable[[random.Random], float]) -> list[tuple[int, int]]:
    dice = random.Random(20261122)
    return [(dice.randrange(1, 4_000), min(CAP, max(0, int(length(dice))))) for _ in range(count)]


@given(st.lists(st.tuples(st.integers(-5, 10**9), st.integers(-5, 10**9), st.integers(-5, 10**6)), max_size=300))
def test_a_hold_lies_between_one_and_the_cap(calls: list[tuple[int, int, int]]) -> None:
    predictor = OutputPredictor()
    for input_tokens, output_tokens, cap in calls:
        hold = predictor.predict(STREAM, input_tokens, cap)
        assert 1 <= hold <= max(1, cap)
        predictor.observe(STREAM, input_tokens, output_tokens, hold, cap)


def test_lengths_without_drift_are_covered_as_promised() -> None:
    calls = held(OutputPredictor(), drawn(8_000, lambda dice: dice.lognormvariate(5, 0.6)))[1_000:]
    assert abs(sum(length > hold for hold, length in calls) / len(calls) - 0.01) < 0.002
