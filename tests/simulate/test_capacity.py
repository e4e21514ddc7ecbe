"""The smallest number that is enough is found, whatever the guess, and a fleet is as large as its load asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.physics.calibration import ROOFLINE
from bursar.physics.deployment import Deployment
from bursar.physics.facts import load
from bursar.simulate.capacity import Case, busiest, first_guess, least, on_chips, smallest_groups, solve
from bursar.simulate.report import Promise
from bursar.simulate.trace import Trace
from bursar.simulate.traces import poisson

FACTS = load()
ONE = Deployment(FACTS.shape("Meta-Llama-3.1-8B"), FACTS.chip("H100"))
TRACE = poisson("20,500,100,30", 1)


def asked(scale: float) -> Case:
    return Case(ONE, poisson("20,500,100,30", 1, scale), scale, Promise(300, 30), ROOFLINE)


def answered(enough: int, guess: int, most: int) -> tuple[int | None, list[int]]:
    """Answer a search for `enough`; give what it found and what it asked."""
    search, asked = least(guess, most), []
    try:
        number = next(search)
        while True:
            asked.append(number)
            number = search.send(number >= enough)
    except StopIteration as end:
        return end.value, asked


@given(enough=st.integers(1, 500), guess=st.integers(1, 500))
def test_the_smallest_that_is_enough_is_found_in_few_questions(enough: int, guess: int) -> None:
    found, asked = answered(enough, guess, 10_000)
    if enough > 32 * guess:
        assert found is None
        return
    assert found == enough
    assert enough in asked
    assert enough == 1 or enough - 1 in asked
    assert len(asked) == len(set(asked)) <= 16


def test_no_more_are_asked_for_than_there_can_be() -> None:
    assert answered(8, 3, 5) == (None, [3, 5])
    assert answered(1, 0, 5) == (1, [1])


@pytest.mark.parametrize("scale", [1.0, 6.0, 30.0])
def test_the_fleet_found_keeps_the_promise_and_the_one_below_does_not(scale: float) -> None:
    found = solve(asked(scale))
    assert found.replicas is not None
    assert found.report is not None
    assert found.report.kept_share >= 0.99
    assert found.replicas == 1 or found.replicas - 1 in found.tried
    assert found.guess <= 2 * found.replicas + 1


def test_more_load_takes_no_fewer_replicas() -> None:
    found = [solve(asked(scale)).replicas or 0 for scale in (1, 4, 16)]
    assert found == sorted(found)
    assert found[-1] > found[0]


def test_the_guess_follows_the_busiest_minute() -> None:
    trace = Trace([0.0] * 60 + [float(each) for each in range(100, 200)], [10] * 160, [10] * 160)
    assert busiest(trace) == 1.0
    assert busiest(Trace([3.0], [1], [1])) == 1.0
    assert first_guess(asked(40.0)) > first_guess(asked(10.0))


def test_a_replica_has_the_fewest_chips_that_hold_the_model_or_twice_as_many() -> None:
    assert smallest_groups(ONE) == (1, 2)
    big = Deployment(FACTS.shape("Meta-Llama-3.1-70B"), FACTS.chip("H100"))
    assert smallest_groups(big) == (2, 4)
    assert smallest_groups(Deployment(FACTS.shape("Meta-Llama-3.1-405B"), FACTS.chip("A100"))) == ()
    assert (on_chips(big, 4).chips, on_chips(big, 4).tensor) == (4, 4)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case(ONE, TRACE, 1.0, Promise(300, 0.5), ROOFLINE), "one sequence alone takes"),
        (Case(ONE, TRACE, 1.0, Promise(1, 50), ROOFLINE), "replicas keep the promise for 0.00% of the requests only"),
        (Case(ONE, Trace([0.0], [10**6], [9]), 1.0, Promise(), ROOFLINE), "do not hold"),
    ],
)
def test_where_there_is_no_fleet_it_says_why(case: Case, reason: str) -> None:
    found = solve(case)
    assert found.replicas is None
    assert reason in found.reason


def test_a_trace_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no requests"):
        first_guess(Case(ONE, Trace([], [], []), 1.0, Promise(), ROOFLINE))
