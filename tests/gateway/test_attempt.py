"""The flow of attempts, driven from a list of outcomes: no I/O, no provider."""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import pytest

from bursar.core.records import AttemptStatus
from bursar.core.times import SECOND_US
from bursar.gateway.attempt import Cover, Fallback, Outcome, Pause, Try, Wish, attempt_flow
from bursar.gateway.connection import Fault, Response, UpstreamFault
from bursar.gateway.routes import Candidate
from bursar.gateway.rules import Rules

FIRST, SECOND, THIRD = (cast(Candidate, name) for name in ("first", "second", "third"))  # the flow looks at none


Step: TypeAlias = Outcome | Sequence[Candidate] | bool

ONE_ROUND = Rules(retries=0)
HALF_S = 500_000


def answered(status: int, *headers: tuple[bytes, bytes]) -> Outcome:
    return Outcome(Response(status, list(headers), b""))


def asks_to_wait(seconds: bytes) -> Outcome:
    return answered(429, (b"retry-after", seconds))


def failed(fault: Fault) -> Outcome:
    return Outcome(None, UpstreamFault(fault, "went wrong"))


def drive(
    given: Sequence[Step], rules: Rules = ONE_ROUND, candidates: Sequence[Candidate] = (FIRST, SECOND), **options: Any
) -> tuple[list[Wish], tuple[Candidate, Outcome]]:
    """Answer each wish of the flow with what is given next, a pause with its end; an attempt takes half a second."""
    flow, wishes, rest = attempt_flow(candidates, rules, **options), list[Wish](), list(given)
    now_us, wish = 0, next(flow)
    while True:
        wishes.append(wish)
        answer: Any
        if isinstance(wish, Pause):
            now_us += round(wish.most_s * SECOND_US)
            answer = now_us
        else:
            answer = rest.pop(0)
        if isinstance(answer, Outcome):
            now_us += HALF_S
            answer.answered_us = now_us
        try:
            wish = flow.send(answer)
        except StopIteration as end:
            assert not rest, "something that was given is left over"
            return wishes, end.value


@pytest.mark.parametrize(
    ("outcomes", "wishes", "ends_with"),
    [
        ([answered(200)], [Try(FIRST)], FIRST),
        ([answered(400)], [Try(FIRST)], FIRST),  # the client's own mistake: another would say the same
        ([answered(422)], [Try(FIRST)], FIRST),
        *(
            ([answered(status), answered(200)], [Try(FIRST), Try(SECOND)], SECOND)
            for status in (302, 401, 403, 404, 408, 409, 429, 500, 503, 529)
        ),
        ([failed(Fault.unreachable), answered(200)], [Try(FIRST), Try(SECOND)], SECOND),
        ([failed(Fault.lost)], [Try(FIRST)], FIRST),  # it may have been billed: never sent twice
        ([failed(Fault.cut)], [Try(FIRST)], FIRST),
        ([failed(Fault.malformed)], [Try(FIRST)], FIRST),
        ([failed(Fault.stale), answered(200)], [Try(FIRST), Try(FIRST, fresh=True)], FIRST),
        (
            [failed(Fault.stale), failed(Fault.unreachable), answered(200)],
            [Try(FIRST), Try(FIRST, fresh=True), Try(SECOND)],
            SECOND,
        ),
        ([answered(500), answered(429)], [Try(FIRST), Try(SECOND)], SECOND),
        ([answered(500), failed(Fault.lost)], [Try(FIRST), Try(SECOND)], SECOND),
    ],
)
def test_another_candidate_is_tried_only_where_it_may_help_and_nothing_was_billed(
    outcomes: list[Outcome], wishes: list[Try], ends_with: Candidate
) -> None:
    asked, (candidate, outcome) = drive(outcomes)
    assert asked == wishes
    assert (candidate, outcome) == (ends_with, outcomes[-1])


def test_each_candidate_is_tried_at_most_twice_in_a_round_and_a_call_ends() -> None:
    asked, (candidate, _) = drive([failed(Fault.stale)] * 6, candidates=(FIRST, SECOND, THIRD))
    assert asked == [Try(each, fresh=fresh) for each in (FIRST, SECOND, THIRD) for fresh in (False, True)]
    assert candidate == THIRD


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (answered(500), [Pause(0.0, 0.25), Try(FIRST)]),
        (answered(408), [Pause(0.0, 0.25), Try(FIRST)]),
        (answered(409), [Pause(0.0, 0.25), Try(FIRST)]),
        (answered(429), [Pause(0.0, 0.25), Try(FIRST)]),
        (failed(Fault.unreachable), [Pause(0.0, 0.25), Try(FIRST)]),
        (asks_to_wait(b"3"), [Pause(3.0, 3.25), Try(FIRST)]),  # no sooner than asked, and not all at once
        (asks_to_wait(b"10"), [Pause(10.0, 10.25), Try(FIRST)]),
        (answered(503, (b"retry-after-ms", b"1500"), (b"retry-after", b"9")), [Pause(1.5, 1.75), Try(FIRST)]),
        (asks_to_wait(b"11"), []),  # longer than the rules allow
        (answered(503, (b"x-should-retry", b"false")), []),
        (answered(401), []),
        (answered(404), []),
        (answered(302), []),
        (failed(Fault.lost), []),
        (failed(Fault.cut), []),
    ],
)
def test_a_target_is_asked_again_where_that_may_help_after_the_pause_it_asks_for(
    first: Outcome, then: list[Wish]
) -> None:
    answer = answered(200)
    wishes, end = drive([first, answer] if then else [first], Rules(), (FIRST,))
    assert wishes == [Try(FIRST), *then]
    assert end == (FIRST, answer if then else first)


def test_all_targets_are_asked_once_before_one_is_asked_again() -> None:
    wishes, _ = drive([answered(500)] * 6, Rules(retries=2))
    assert [wish.candidate for wish in wishes if isinstance(wish, Try)] == [FIRST, SECOND] * 3


def test_pauses_double_and_may_take_any_part_of_that() -> None:
    wishes, _ = drive([answered(500)] * 9, Rules(retries=8, attempts_max=50), (FIRST,))
    pauses = [wish for wish in wishes if isinstance(wish, Pause)]
    assert pauses == [Pause(0.0, seconds) for seconds in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)]


def test_who_asks_for_the_shorter_pause_is_asked_first() -> None:
    wishes, (candidate, _) = drive([asks_to_wait(b"8"), asks_to_wait(b"2"), answered(200)], Rules())
    assert wishes[2:] == [Pause(2.0, 2.25), Try(SECOND)]
    assert candidate == SECOND


def test_a_call_makes_no_more_attempts_than_allowed_over_all_rounds_and_fallbacks() -> None:
    rules = Rules(retries=5, attempts_max=3, fallbacks=("other",))
    wishes, (candidate, _) = drive([answered(500)] * 3, rules)
    assert [wish.candidate for wish in wishes if isinstance(wish, Try)] == [FIRST, SECOND, FIRST]
    assert candidate == FIRST


def test_no_pause_reaches_beyond_the_deadline() -> None:
    first = asks_to_wait(b"3")
    assert drive([first], Rules(), (FIRST,), deadline_us=HALF_S + 3_250_000)[0] == [Try(FIRST)]
    wishes, _ = drive([asks_to_wait(b"3"), answered(200)], Rules(), (FIRST,), deadline_us=HALF_S + 3_250_001)
    assert wishes == [Try(FIRST), Pause(3.0, 3.25), Try(FIRST)]


def test_nothing_is_asked_after_the_deadline() -> None:
    assert drive([answered(500)], Rules(fallbacks=("other",)), deadline_us=HALF_S)[0] == [Try(FIRST)]


def test_the_fallbacks_follow_once_a_models_targets_are_exhausted() -> None:
    rules = Rules(retries=0, fallbacks=("unpaid", "other", "never"))
    wishes, (candidate, _) = drive([answered(500), answered(429), (), (THIRD,), answered(200)], rules)
    assert wishes == [Try(FIRST), Try(SECOND), Fallback("unpaid"), Fallback("other"), Try(THIRD)]
    assert candidate == THIRD


def test_when_no_fallback_can_be_asked_the_earlier_error_stands() -> None:
    error = answered(503)
    wishes, end = drive([error, ()], Rules(retries=0, fallbacks=("unpaid",)), (FIRST,))
    assert wishes == [Try(FIRST), Fallback("unpaid")]
    assert end == (FIRST, error)


def test_what_was_lost_is_asked_again_only_where_the_operator_says_so_and_more_is_held() -> None:
    rules = Rules(retry_lost=True)
    wishes, (_, outcome) = drive([failed(Fault.lost), True, answered(200)], rules, (FIRST,))
    assert wishes == [Try(FIRST), Pause(0.0, 0.25), Cover(FIRST), Try(FIRST)]
    assert outcome.status is AttemptStatus.ok
    wishes, (_, outcome) = drive([failed(Fault.lost), False], rules)
    assert wishes == [Try(FIRST), Cover(SECOND)]
    assert outcome.status is AttemptStatus.lost


def test_one_lost_attempt_is_held_for_once() -> None:
    given = [failed(Fault.lost), True, answered(500), answered(200)]
    wishes, _ = drive(given, Rules(retry_lost=True))
    assert [type(wish) for wish in wishes] == [Try, Cover, Try, Try]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (answered(200), AttemptStatus.ok),
        (answered(302), AttemptStatus.failed),
        (answered(400), AttemptStatus.refused),
        (answered(401), AttemptStatus.refused),
        (answered(429), AttemptStatus.throttled),
        (answered(500), AttemptStatus.failed),
        (answered(529), AttemptStatus.failed),
        (failed(Fault.unreachable), AttemptStatus.unreachable),
        (failed(Fault.stale), AttemptStatus.unreachable),
        (failed(Fault.lost), AttemptStatus.lost),
        (failed(Fault.cut), AttemptStatus.cut),
        (failed(Fault.malformed), AttemptStatus.malformed),
    ],
)
def test_an_attempt_is_named_by_how_it_ended(outcome: Outcome, status: AttemptStatus) -> None:
    assert outcome.status is status


def test_every_fault_has_a_status() -> None:
    for fault in Fault:
        assert failed(fault).status is not AttemptStatus.ok
