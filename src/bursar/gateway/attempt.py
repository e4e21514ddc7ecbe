"""Try a call's candidates in order: a flow that knows no I/O, and the driver that sends what it yields."""

from collections.abc import Callable, Generator, Sequence
from typing import Final

import msgspec

from bursar.core.records import Attempt, AttemptStatus
from bursar.gateway.connection import Fault, Response, UpstreamFault
from bursar.gateway.routes import Candidate
from bursar.gateway.settle import Passage
from bursar.wires.wire import Wire


class Try(msgspec.Struct, frozen=True):
    """Ask for one attempt at a candidate; `fresh` on a connection that was not used before."""

    candidate: Candidate
    fresh: bool = False


class Outcome(msgspec.Struct):
    """Say how an attempt went: an answer, or a fault."""

    response: Response | None = None
    fault: UpstreamFault | None = None

    @property
    def stale(self) -> bool:
        """Tell whether the provider had closed the connection before the request reached it."""
        return self.fault is not None and self.fault.fault is Fault.stale

    @property
    def next_may_help(self) -> bool:
        """Tell whether another candidate may do better, with nothing billed and nothing shown to the client yet."""
        if self.fault is not None:
            return self.fault.fault in (Fault.unreachable, Fault.stale)
        return self.response is not None and (self.response.status in _NEXT or self.response.status >= 500)


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


def status_of(outcome: Outcome) -> AttemptStatus:
    """Name how an attempt ended, before its answer is read."""
    if outcome.fault is not None:
        return _FAULTS[outcome.fault.fault]
    assert outcome.response is not None
    status = outcome.response.status
    if status < 400:
        return AttemptStatus.ok
    if status == 429:
        return AttemptStatus.throttled
    return AttemptStatus.refused if status < 500 else AttemptStatus.failed


_FAULTS: Final = {
    Fault.unreachable: AttemptStatus.unreachable,
    Fault.stale: AttemptStatus.unreachable,
    Fault.lost: AttemptStatus.lost,
    Fault.cut: AttemptStatus.cut,
    Fault.malformed: AttemptStatus.malformed,
}


class Sender:
    """Send attempts upstream for one call."""

    def __init__(self, wire: Wire, body: bytes, passage: Passage, output_cap: int, clock_us: Callable[[], int]) -> None:
        self._wire = wire
        self._body = body
        self._passage = passage
        self._output_cap = output_cap
        self._clock_us = clock_us
        self._started_us = 0
        self._answered_us = 0

    async def run(self, candidates: Sequence[Candidate]) -> tuple[Candidate, Outcome]:
        """Drive the flow; attempts that came to nothing are recorded on the way."""
        flow = attempt_flow(candidates)
        wish = next(flow)
        while True:
            self._started_us = self._clock_us()
            outcome = await self._send(wish)
            self._answered_us = self._clock_us()
            try:
                following = flow.send(outcome)
            except StopIteration as end:
                return end.value
            self._passage.attempts.append(self.attempt(wish.candidate, outcome))
            if outcome.response is not None and outcome.response.stream is not None:
                outcome.response.stream.abort()
            wish = following

    def attempt(self, candidate: Candidate, outcome: Outcome) -> Attempt:
        """Describe an attempt that cost nothing, or whose cost is still to be found."""
        fault, response = outcome.fault, outcome.response
        return Attempt(
            provider=candidate.upstream.name,
            model=candidate.model,
            status=status_of(outcome),
            http_status=response.status if response is not None else 0,
            started_us=self._started_us,
            first_byte_us=self._answered_us if response is not None else 0,
            ended_us=self._answered_us,
            error=str(fault) if fault is not None else "",
        )

    async def _send(self, wish: Try) -> Outcome:
        candidate, passage = wish.candidate, self._passage
        upstream, facts = candidate.upstream, passage.facts
        body = self._wire.upstream_body(self._body, facts, candidate.model, self._output_cap, upstream.cap_field)
        head = upstream.head(passage.call.protocol, passage.forwarded, len(body))
        try:
            connection = None if wish.fresh else upstream.pool.take_idle()
            if connection is None:
                connection = await upstream.pool.open()
            return Outcome(await connection.exchange((head, body), upstream.pool.timeouts))
        except UpstreamFault as fault:
            return Outcome(fault=fault)
