"""Random interleavings of everything that moves money, on a virtual clock; a million of them are `bench.overspend`."""

import pytest

from bench.interleavings.planted import BUGS
from bench.interleavings.run import find, run_world, run_worlds

INTERLEAVINGS_MAX = 2_000


def test_no_invariant_breaks_in_some_thousand_interleavings() -> None:
    outcome = run_worlds(range(5_000_000, 5_000_600))
    assert outcome.broken == ()
    assert outcome.interleavings == 2_400
    assert outcome.calls > 2_400


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_where_the_shipped_code_breaks_nothing(bug: str) -> None:
    outcome = find(bug, 6_000_000, INTERLEAVINGS_MAX)
    assert outcome.broken, f"{bug} was not found in {INTERLEAVINGS_MAX} interleavings"
    seed, _ = outcome.broken[0]
    assert run_world(seed).broken == ()


@pytest.mark.parametrize("seed", [1, 36, 2315])
def test_a_world_takes_the_same_steps_each_time(seed: int) -> None:
    first: list[str] = []
    again: list[str] = []
    run_world(seed, say=first.append)
    run_world(seed, say=again.append)
    assert first == again
    assert len(first) > 40
