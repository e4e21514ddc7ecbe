"""Try a call's candidates in order: a flow that knows no I/O, and the driver that sends what it yields."""

from collections.abc import Callable, Generator, Sequence
from typing import Final

import msgspec

from bursar.core.records import Attempt, AttemptStatus
from bursar.gateway.connection import Fault, Response, UpstreamFault
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate


class Try(msgspec.Struct, frozen=True):
    """Ask for one attempt at a candidate; `fresh` on a connection that was not used before."""

    candidate: Candidate
    fresh: bool = False


class Outcome(msgspec.Struct):
    """Say how an attempt went: an answer, or a fault; and when."""

    response: Response | None = None
    fault: UpstreamFault | None = None
    started_us: int = 0
    answered_us: int = 0

    @property
    def stale(self) -> bool:
        """Tell whether the provider had closed the connection before the request reached it."""
        return self.fault is not None and self.fault.fault is Fault.stale

    @property
    def next_may_help(self) -> bool:
        """Tell whether another candidate may do better, with nothing billed and nothing shown to the client yet."""
        if self.fault is not None:
            return self.fault.fault in (Fault.unreachable, Fault.stale)
        status = self.response.status if self.response is not None else 0
        return status in _NEXT or status >= 500 or 300 <= status < 400

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


_NEXT: Final = frozenset((401, 403, 404, 408, 429))


def attempt_flow(candidates: Sequence[Candidate]) -> Generator[Try, Outcome, tuple[Candidate, Outcome]]:
    """Try candidates in order until one gives an answer that another could not better; return the last outcome."""
    candidate, outcome = candidates[0], Outcome()
    for candidate in candidates:
        outcome = yield Try(candidate)
        if outcome.stale:
            outcome = yield Try(candidate, fresh=True)
        if not outcome.next_may_help:
            break
    return candidate, outcome


_FAULTS: Final = {
    Fault.unreachable: AttemptStatus.unreachable,
    Fault.stale: AttemptStatus.unreachable,
    Fault.lost: AttemptStatus.lost,
    Fault.cut: AttemptStatus.cut,
    Fault.malformed: AttemptStatus.malformed,
}


async def send_attempts(passage: Passage, clock_us: Callable[[], int]) -> tuple[Candidate, Outcome]:
    """Drive the flow of a call's attempts; those that came to nothing are recorded on the way."""
    flow = attempt_flow(passage.plan.candidates)
    wish = next(flow)
    while True:
        started_us = clock_us()
        try:
            connection = None if wish.fresh else wish.candidate.upstream.pool.take_idle()
            if connection is None:
                connection = await wish.candidate.upstream.pool.open()
            outcome = Outcome(
                await connection.exchange(_request(passage, wish.candidate), wish.candidate.upstream.pool.timeouts)
            )
        except UpstreamFault as fault:
            outcome = Outcome(None, fault)
        outcome.started_us, outcome.answered_us = started_us, clock_us()
        try:
            following = flow.send(outcome)
        except StopIteration as end:
            return end.value
        passage.attempts.append(outcome.attempt(wish.candidate))
        if outcome.response is not None and outcome.response.stream is not None:
            outcome.response.stream.abort()
        wish = following


def _request(passage: Passage, candidate: Candidate) -> tuple[bytes, bytes]:
    """Return the head and body of the request for a candidate."""
    wire, facts, cap_field = candidate.wire, passage.facts_for(candidate.wire), candidate.upstream.cap_field
    body = wire.upstream_body(passage.body_for(wire), facts, candidate.model, passage.plan.output_cap, cap_field)
    return candidate.head(stream=passage.facts.stream, extra=passage.headers_for(wire), body_len=len(body)), body
