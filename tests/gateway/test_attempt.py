"""The flow of attempts, driven from a list of outcomes: no I/O, no provider."""

from typing import Any, cast

import pytest

from bursar.core.records import AttemptStatus
from bursar.gateway.attempt import Outcome, Try, attempt_flow
from bursar.gateway.connection import Fault, Response, UpstreamFault
from bursar.gateway.routes import Candidate

FIRST, SECOND, THIRD = (cast(Candidate, name) for name in ("first", "second", "third"))  # the flow looks at none


def answered(status: int) -> Outcome:
    return Outcome(Response(status, [], b""))


def failed(fault: Fault) -> Outcome:
    return Outcome(None, UpstreamFault(fault, "went wrong"))


def drive(candidates: list[Candidate], outcomes: list[Outcome]) -> tuple[list[Try], Any]:
    """Answer each wish of the flow with the next outcome; return the wishes and the result."""
    flow, wishes, given = attempt_flow(candidates), [], iter(outcomes)
    wish = next(flow)
    while True:
        wishes.append(wish)
        try:
            wish = flow.send(next(given))
        except StopIteration as end:
            assert next(given, None) is None, "an outcome was left over"
            return wishes, end.value


@pytest.mark.parametrize(
    ("outcomes", "wishes", "ends_with"),
    [
        ([answered(200)], [Try(FIRST)], FIRST),
        ([answered(400)], [Try(FIRST)], FIRST),  # the client's own mistake: another would say the same
        ([answered(422)], [Try(FIRST)], FIRST),
        *(
            ([answered(status), answered(200)], [Try(FIRST), Try(SECOND)], SECOND)
            for status in (302, 401, 403, 404, 408)
        ),
        *(([answered(status), answered(200)], [Try(FIRST), Try(SECOND)], SECOND) for status in (429, 500, 503, 529)),
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
    asked, (candidate, outcome) = drive([FIRST, SECOND], outcomes)
    assert asked == wishes
    assert (candidate, outcome) == (ends_with, outcomes[-1])


def test_each_candidate_is_tried_at_most_twice_and_a_call_ends() -> None:
    outcomes = [failed(Fault.stale)] * 6
    asked, (candidate, _) = drive([FIRST, SECOND, THIRD], outcomes)
    assert [wish.candidate for wish in asked] == [FIRST, FIRST, SECOND, SECOND, THIRD, THIRD]
    assert candidate == THIRD


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
