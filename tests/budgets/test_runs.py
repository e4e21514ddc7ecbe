"""Runs are watched by depth and by turn, and no number of them or of their calls takes more than so much room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.runs import CALLS_MAX, TURNS_MAX, Run, Runs, depth_below, enter, leave, times_before


def make(run: Run, *turns: bytes) -> list[int]:
    """Answer one turn after the other; returns how often each had come before."""
    found = []
    for turn in turns:
        found.append(times_before(run, turn))
        leave(run, turn)
    return found


@pytest.mark.parametrize(
    ("parent", "known", "depth"),
    [
        ("", None, 1),
        ("", 7, 1),
        ("call_a", None, 2),
        ("call_b", None, 6),
        ("call_b", 2, 6),  # what is known here goes first
        ("call_c", None, None),
        ("call_c", 3, 4),
        ("a step", None, None),
    ],
)
def test_a_call_lies_one_deeper_than_its_parent(parent: str, known: int | None, depth: int | None) -> None:
    run = Run()
    enter(run, "call_a", 1)
    enter(run, "call_b", 5)
    assert depth_below(run, parent, known) == depth


def test_a_chain_of_calls_counts_its_links() -> None:
    run, parent = Run(), ""
    for number in range(1, 100):
        depth = depth_below(run, parent)
        assert depth == number
        parent = f"call_{number}"
        enter(run, parent, depth)


def test_of_a_runs_calls_the_latest_are_known() -> None:
    run = Run()
    for number in range(CALLS_MAX + 10):
        enter(run, f"call_{number}", 3)
    assert len(run.depths) == CALLS_MAX
    assert depth_below(run, "call_9") is None
    assert depth_below(run, "call_10") == depth_below(run, f"call_{CALLS_MAX + 9}") == 4


def test_the_run_that_was_idle_for_longest_is_forgotten() -> None:
    runs = Runs(runs_max=2)
    first, second = runs.find("key", "one"), runs.find("key", "two")
    assert runs.find("key", "one") is first
    third = runs.find("key", "three")
    assert runs.find("key", "one") is first
    assert runs.find("key", "three") is third
    assert runs.find("key", "two") is not second


def test_runs_of_two_keys_are_two_runs() -> None:
    runs = Runs()
    make(runs.find("key_1", "run"), b"a")
    assert make(runs.find("key_2", "run"), b"a") == [0]
    assert make(runs.find("key_1", "run"), b"a") == [1]


@pytest.mark.parametrize(
    ("turns", "times"),
    [
        ((b"a", b"a", b"a"), [0, 1, 2]),
        ((b"a", b"b", b"a", b"b"), [0, 0, 1, 1]),
        ((b"a", b"b", b"c"), [0, 0, 0]),
        ((b"", b"", b""), [0, 0, 0]),  # what cannot be read is never a repeat
    ],
)
def test_repeats_are_counted_whatever_comes_between(turns: tuple[bytes, ...], times: list[int]) -> None:
    assert make(Run(), *turns) == times


def test_a_turn_that_was_not_answered_does_not_count() -> None:
    run = Run()
    assert [times_before(run, b"a") for _ in range(3)] == [0, 0, 0]


def test_only_the_latest_turns_are_compared() -> None:
    run = Run()
    make(run, b"a", *(b"%d" % number for number in range(TURNS_MAX - 1)))
    assert times_before(run, b"a") == 1
    leave(run, b"another")
    assert times_before(run, b"a") == 0
    assert len(run.turns) == TURNS_MAX


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=TURNS_MAX))
def test_a_turn_has_come_as_often_as_it_was_answered(turns: list[bytes]) -> None:
    assert make(Run(), *turns) == [turns[:at].count(turn) for at, turn in enumerate(turns)]
