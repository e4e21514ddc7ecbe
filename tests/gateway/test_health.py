"""The circuit breaker of a target as a table of moments: no clock, no calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.times import SECOND_US
from bursar.gateway.health import CALM_US, KEY_OPEN_US, OPEN_MAX_US, OPEN_US, PROBE_US, REST_US, Health, State

T0 = 1_000 * SECOND_US


def opened(times: int = 1, at_us: int = T0) -> tuple[Health, int]:
    """Return a health that opened so many times in a row, and when it did so last."""
    health = Health()
    for _ in range(5):
        health.failed(at_us, "503")
    for _ in range(times - 1):
        at_us = health.ready_at_us
        health.failed(at_us, "503")
    return health, at_us


def test_a_target_nobody_has_asked_is_ready_and_nothing_is_remembered() -> None:
    health = Health()
    assert (health.state(T0), health.ready(T0), health.troubled) == (State.closed, True, False)


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("ffff", State.closed),
        ("fffff", State.open),
        ("ffffaffff", State.closed),  # nine are too few to tell
        ("ffffaffffaf", State.open),
        ("fafafafafaf", State.open),
        ("faafaafaafaaf", State.closed),  # five of thirteen
        ("aaaaaaaaaaaaaaaaaaaaffff", State.closed),
    ],
)
def test_five_failures_in_a_row_open_it_and_so_does_a_half_of_ten(outcomes: str, state: State) -> None:
    health = Health()
    for number, outcome in enumerate(outcomes):
        if outcome == "f":
            health.failed(T0 + number, "503")
        else:
            health.answered(T0 + number)
    assert health.state(T0 + len(outcomes)) is state


def test_old_failures_are_forgotten_with_their_window() -> None:
    health = Health()
    for number in range(12):
        health.failed(T0 + number * 11 * SECOND_US, "503")
        health.answered(T0 + number * 11 * SECOND_US + 1)
        assert health.state(T0 + number * 11 * SECOND_US + 2) is State.closed


def test_open_it_is_skipped_until_its_time_is_over_and_then_one_call_finds_out() -> None:
    health, at_us = opened()
    assert (health.state(at_us + OPEN_US - 1), health.ready(at_us + OPEN_US - 1)) == (State.open, False)
    now_us = at_us + OPEN_US
    assert (health.state(now_us), health.ready(now_us)) == (State.half_open, True)
    health.begin(now_us)
    assert not health.ready(now_us + PROBE_US - 1)
    assert health.ready(now_us + PROBE_US)  # whoever was to find out never said


def test_an_answer_closes_it_and_a_failure_opens_it_for_longer() -> None:
    health, at_us = opened()
    now_us = at_us + OPEN_US
    health.begin(now_us)
    health.failed(now_us, "503")
    assert health.ready_at_us == now_us + 2 * OPEN_US
    now_us = health.ready_at_us
    health.begin(now_us)
    health.answered(now_us)
    assert (health.state(now_us), health.ready(now_us)) == (State.closed, True)


def test_it_is_open_twice_as_long_each_time_up_to_a_bound_and_anew_once_it_was_calm() -> None:
    times = [opened(times)[0].ready_at_us - opened(times)[1] for times in range(1, 8)]
    assert times == [OPEN_US, OPEN_US * 2, OPEN_US * 4, OPEN_US * 8, OPEN_US * 16, OPEN_MAX_US, OPEN_MAX_US]
    for calm_us, factor in ((CALM_US - 1, 8), (CALM_US, 1)):
        health, _ = opened(3)
        now_us = health.ready_at_us
        health.answered(now_us)
        for _ in range(5):
            health.failed(now_us + calm_us, "503")
        assert health.ready_at_us == now_us + calm_us + OPEN_US * factor


def test_a_refused_key_opens_it_at_once_and_for_long() -> None:
    health = Health()
    health.refused_key(T0, "401")
    assert (health.state(T0), health.ready_at_us, health.why) == (State.open, T0 + KEY_OPEN_US, "401")


@pytest.mark.parametrize(("wait_us", "rests_us"), [(None, REST_US), (7 * SECOND_US, 7 * SECOND_US), (0, 0)])
def test_a_429_lets_it_rest_as_long_as_asked_without_opening_it(wait_us: int | None, rests_us: int) -> None:
    health = Health()
    for _ in range(20):
        health.throttled(T0, wait_us)
    assert health.state(T0) is State.closed
    assert health.ready(T0) is (rests_us == 0)
    assert health.ready(T0 + rests_us // 2) is (rests_us == 0)
    assert health.ready(T0 + rests_us)


def test_once_all_was_calm_for_a_while_nothing_is_remembered() -> None:
    health, _ = opened()
    now_us = health.ready_at_us
    health.answered(now_us)
    assert health.troubled
    health.answered(now_us + CALM_US)
    assert health.troubled  # a window of counting has begun with this answer
    health.failed(now_us + CALM_US, "x")
    health.answered(now_us + 2 * CALM_US)
    health.answered(now_us + 2 * CALM_US + 10 * SECOND_US)
    assert health.ready(now_us + 3 * CALM_US)


@given(st.lists(st.tuples(st.sampled_from(["failed", "answered", "throttled", "key", "begin"]), st.integers(0, 20))))
def test_whatever_happens_it_is_ready_again_within_ten_minutes(events: list[tuple[str, int]]) -> None:
    health, now_us = Health(), T0
    for what, wait_s in events:
        now_us += wait_s * SECOND_US
        match what:
            case "failed":
                health.failed(now_us, "x")
            case "answered":
                health.answered(now_us)
                assert health.state(now_us) is State.closed
            case "throttled":
                health.throttled(now_us, wait_s * SECOND_US)
            case "key":
                health.refused_key(now_us, "401")
            case _:
                health.begin(now_us)
    assert health.ready(now_us + 600 * SECOND_US)
