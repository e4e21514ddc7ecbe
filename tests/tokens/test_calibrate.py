"""A meter learns a model's tokens from its calls, says how sure it is, and is not led astray by a few that are odd."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.tokens.calibrate import (
    CALLS_MAX,
    UNCALIBRATED,
    UNCALIBRATED_ERROR_PCT,
    Meter,
    Sample,
    learn,
)
from bursar.tokens.features import FEATURES, PLACES, Counts


def counts(random: Random) -> Counts:
    """Make up a call of 200 to 3,000 pieces."""
    size = random.randrange(200, 3_000)
    found = [random.randrange(size // 10) for _ in FEATURES]
    found[PLACES["call"]], found[PLACES["texts"]] = 1, 2
    return tuple(found)


def truth(given: Counts, per_digit: float = 1.0) -> int:
    """Count as some vocabulary does: digits one by one, rare words in two, seven tokens a call."""
    weights = {"word_3": 2.0, "digit_groups": 0.0, "digits": per_digit, "call": 7.0, "texts": 0.0}
    other = dict.fromkeys(("words_cut", "marks_foreign", "line_breaks_more", "blanks_more"), 0.0)
    return round(sum(count * (weights | other).get(name, 1.0) for name, count in zip(FEATURES, given, strict=True)))


def samples(count: int, seed: int) -> list[Sample]:
    random = Random(seed)
    return [Sample(given := counts(random), truth(given)) for _ in range(count)]


def error_pct(meter: Meter, tests: list[Sample]) -> float:
    errors = sorted(abs(meter.estimate(each.counts).tokens - each.tokens) / each.tokens for each in tests)
    return 100 * errors[len(errors) // 2]


def test_without_calls_nothing_is_learned_and_the_error_says_so() -> None:
    assert learn([]) == UNCALIBRATED
    assert UNCALIBRATED.estimate(counts(Random(1))).error_pct == UNCALIBRATED_ERROR_PCT


def test_two_hundred_calls_teach_another_vocabulary() -> None:
    tests = samples(100, 2)
    before, after = error_pct(UNCALIBRATED, tests), error_pct(learn(samples(200, 1)), tests)
    assert before > 3
    assert after < 0.3


def test_the_same_calls_teach_the_same() -> None:
    assert learn(samples(60, 3)) == learn(samples(60, 3))


def test_calls_with_more_in_them_than_their_text_are_given_little_weight() -> None:
    known = samples(200, 1)
    odd = [Sample(each.counts, each.tokens * 3) for each in known[:20]]
    assert error_pct(learn(odd + known[20:]), samples(100, 2)) < 2


def test_only_the_last_calls_count() -> None:
    random = Random(5)
    old = [Sample(given := counts(random), truth(given, per_digit=5.0)) for _ in range(CALLS_MAX)]
    new = samples(CALLS_MAX, 6)
    assert learn(old + new) == learn(new)
    assert learn(new).calls == CALLS_MAX


@pytest.mark.parametrize("odd", [Sample((1, 2, 3), 10), Sample(tuple(1 for _ in FEATURES), 0)])
def test_a_sample_of_another_version_or_without_tokens_teaches_nothing(odd: Sample) -> None:
    known = samples(50, 1)
    assert learn([*known, odd]) == learn(known)


def test_nine_of_ten_keep_the_error_that_is_told() -> None:
    random = Random(8)

    def noisy(count: int) -> list[Sample]:
        made = [counts(random) for _ in range(count)]
        return [Sample(each, max(1, round(truth(each) * random.gauss(1, 0.03)))) for each in made]

    meter, tests = learn(noisy(200)), noisy(400)
    kept = sum(
        abs(meter.estimate(each.counts).tokens - each.tokens) <= meter.error_pct / 100 * each.tokens for each in tests
    )
    assert 0.85 < kept / len(tests) < 0.95
    assert 4 < meter.error_pct < 7


def test_a_few_calls_are_too_few_to_be_surer() -> None:
    assert learn(samples(5, 1)).error_pct == UNCALIBRATED_ERROR_PCT
    assert learn(samples(30, 1)).error_pct < UNCALIBRATED_ERROR_PCT


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 50_000), min_size=len(FEATURES), max_size=len(FEATURES)), st.integers(1, 10**6)
        ),
        max_size=12,
    )
)
def test_whatever_calls_there_were_an_estimate_is_a_number_of_tokens(given: list[tuple[list[int], int]]) -> None:
    meter = learn([Sample(tuple(found), tokens) for found, tokens in given])
    for found, _ in given:
        estimate = meter.estimate(tuple(found))
        assert estimate.tokens >= (1 if any(found) else 0)
        assert estimate.error_pct >= 0
