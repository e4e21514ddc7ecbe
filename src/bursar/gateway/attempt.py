"""Try a call's candidates: a flow that knows no I/O, clock or chance.

Every target of a model is asked once before any is asked again, after a pause; then the models it falls back to, one
after the other. Nothing is asked again once an answer has begun, nor, unless the operator says so, what a provider may
bill already. `send` drives it.
"""

from collections.abc import Generator, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

import msgspec

from bursar.core.money import Money
from bursar.core.records import Attempt, AttemptStatus
from bursar.core.times import FOREVER_US, SECOND_US
from bursar.gateway.connection import Fault, Response, Streamed, UpstreamFault
from bursar.gateway.headers import should_not_retry, wait_asked_s
from bursar.gateway.routes import Candidate
from bursar.gateway.rules import USUAL, Rules

BACKOFF_S: Final = 0.25
"""The longest pause before the first retry; it doubles with each, and any part of it is as likely (full jitter)."""

_BACKOFF_DOUBLINGS_MAX: Final = 5


class Try(msgspec.Struct, frozen=True):
    """Ask for one attempt at a candidate, answered by its `Outcome`; `fresh` on a connection never used before."""

    candidate: Candidate
    fresh: bool = False


class Pause(msgspec.Struct, frozen=True):
    """Ask for a pause of any length between the two, answered by the time in microseconds."""

    least_s: float
    most_s: float


class Cover(msgspec.Struct, frozen=True):
    """Ask to hold what one more attempt can cost beside what was spent, answered by whether that is held."""

    candidate: Candidate


class Fallback(msgspec.Struct, frozen=True):
    """Ask for a model's candidates, held for; answered by none where they cannot be asked."""

    model: str


class Step(Enum):
    """Say what may follow an outcome."""

    end = "end"  # an answer, or an error that any other would give as well
    other = "other"  # another target may do better, this one will not
    again = "again"  # another target may do better, or this one a little later
    unknown = "unknown"  # it may be billed: only where the operator takes that


class Outcome(msgspec.Struct):
    """Say how an attempt went: an answer, or a fault; and when."""

    response: Response | None = None
    fault: UpstreamFault | None = None
    started_us: int = 0
    answered_us: int = 0
    priced: Attempt | None = None  # once it is known what the policy charges for it
    saved_nano: Money = 0  # by levers, estimated, if this becomes the answer: one that is not kept saves nothing
    draft: Streamed | None = None  # a stream that was kept back: it is read from here, no longer from its connection

    @property
    def stale(self) -> bool:
        """Tell whether the provider had closed the connection before the request reached it."""
        return self.fault is not None and self.fault.fault is Fault.stale

    @property
    def step(self) -> Step:
        """Say what may follow, with nothing shown to the client yet."""
        if self.fault is not None:
            return _AFTER_FAULT.get(self.fault.fault, Step.end)
        response = self.response
        status = response.status if response is not None else 0
        if status < 300:
            return Step.end
        if status in _AGAIN or status >= 500:
            return Step.other if response is not None and should_not_retry(response.headers) else Step.again
        return Step.other if status in _OTHER or status < 400 else Step.end

    @property
    def wait_s(self) -> float | None:
        """Return the pause the provider asks for; None where it asks for none."""
        return wait_asked_s(self.response.headers, self.answered_us) if self.response is not None else None

    @property
    def status(self) -> AttemptStatus:
        """Name how the attempt ended, before its answer is read."""
        if self.fault is not None:
            return _FAULTS[self.fault.fault]
        assert self.response is not None
        http_status = self.response.status
        if http_status < 300:
            return AttemptStatus.ok
        if http_status == 429:
            return AttemptStatus.throttled
        return AttemptStatus.refused if 400 <= http_status < 500 else AttemptStatus.failed

    def attempt(self, candidate: Candidate) -> Attempt:
        """Describe the attempt as one that cost nothing."""
        response, fault = self.response, self.fault
        return Attempt(
            candidate.upstream.name,
            candidate.model,
            self.status,
            response.status if response is not None else 0,
            self.started_us,
            self.answered_us if response is not None else 0,
            self.answered_us,
            error=str(fault) if fault is not None else "",
        )


Wish: TypeAlias = Try | Pause | Cover | Fallback
Flow: TypeAlias = Generator[Wish, Any, tuple[Candidate, Outcome]]

_AGAIN: Final = frozenset((408, 409, 429))
_OTHER: Final = frozenset((401, 403, 404))
_AFTER_FAULT: Final = {Fault.unreachable: Step.again, Fault.stale: Step.again, Fault.lost: Step.unknown}
_FAULTS: Final = {
    Fault.unreachable: AttemptStatus.unreachable,
    Fault.stale: AttemptStatus.unreachable,
    Fault.lost: AttemptStatus.lost,
    Fault.cut: AttemptStatus.cut,
    Fault.malformed: AttemptStatus.malformed,
}


def attempt_flow(candidates: Sequence[Candidate], rules: Rules = USUAL, deadline_us: int = FOREVER_US) -> Flow:
    """Try candidates until one gives an answer that another could not better; return the last outcome."""
    course = _Course(rules, deadline_us)
    fallbacks = iter(rules.fallbacks)
    while not (yield from _ask_all(course, candidates)):
        candidates = ()
        while not candidates:
            model = next(fallbacks, None)
            if model is None:
                return course.last
            candidates = yield Fallback(model)
    return course.last


class _Course:
    """Hold how a call's attempts have gone so far."""

    __slots__ = ("deadline_us", "last", "left", "now_us", "rules", "spent")

    def __init__(self, rules: Rules, deadline_us: int) -> None:
        self.rules = rules
        self.deadline_us = deadline_us
        self.left = rules.attempts_max
        self.now_us = 0
        self.spent = False  # an attempt may be billed that gave no answer
        self.last: tuple[Candidate, Outcome]


class _Again(msgspec.Struct):
    """Hold a candidate that may be asked again: from when on, and until when at the latest that begins."""

    candidate: Candidate
    from_us: int
    until_us: int


def _ask_all(course: _Course, candidates: Sequence[Candidate]) -> Generator[Wish, Any, bool]:
    """Ask a model's candidates, round after round; tell whether the call has ended with that."""
    waiting: list[_Again] = []
    for candidate in candidates:
        if (yield from _ask(course, candidate, waiting, 0)):
            return True
    for number in range(1, course.rules.retries + 1):
        waiting.sort(key=lambda each: each.from_us)
        waiting, round_ = [], waiting
        for each in round_:
            if each.until_us >= course.deadline_us:
                continue
            if each.until_us > course.now_us:
                least_us = max(0, each.from_us - course.now_us)
                course.now_us = yield Pause(least_us / SECOND_US, (each.until_us - course.now_us) / SECOND_US)
            if (yield from _ask(course, each.candidate, waiting, number)):
                return True
    return False


def _ask(course: _Course, candidate: Candidate, waiting: list[_Again], number: int) -> Generator[Wish, Any, bool]:
    """Ask one candidate; note it if it may be asked again. Tell whether the call has ended with that."""
    if course.spent and not (yield Cover(candidate)):
        return True
    course.spent = False
    outcome: Outcome = yield Try(candidate)
    if outcome.stale:
        outcome = yield Try(candidate, fresh=True)
    course.last = candidate, outcome
    step = outcome.step
    if step is Step.end:
        return True
    course.left -= 1
    course.now_us = outcome.answered_us
    if step is Step.unknown:
        if not course.rules.retry_lost:
            return True
        course.spent, step = True, Step.again
    if course.left == 0 or course.now_us >= course.deadline_us:
        return True
    wait_s = outcome.wait_s
    if step is Step.again and (wait_s is None or wait_s <= course.rules.retry_wait_max_s):
        from_us = course.now_us + round((wait_s or 0.0) * SECOND_US)
        backoff_s = BACKOFF_S * 2 ** min(number, _BACKOFF_DOUBLINGS_MAX)
        waiting.append(_Again(candidate, from_us, from_us + round(backoff_s * SECOND_US)))
    return False
