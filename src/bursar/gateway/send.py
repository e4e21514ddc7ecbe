"""Drive the flow of a call's attempts: send, pause, hold more, fall back; write down what came to nothing."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from bursar.core.errors import Refusal
from bursar.core.records import Attempt, AttemptStatus
from bursar.core.times import SECOND_US
from bursar.gateway.attempt import Cover, Fallback, Outcome, Pause, Try, Wish, attempt_flow
from bursar.gateway.balance import arrange, note_outcome
from bursar.gateway.books import GatewayBooks
from bursar.gateway.connection import Timeouts, UpstreamFault
from bursar.gateway.holding import HoldPolicy, read_quote
from bursar.gateway.passage import Passage
from bursar.gateway.plan import Quote, check_max_cost, quote_plan
from bursar.gateway.routes import Candidate, Routes
from bursar.gateway.translation import translate_call
from bursar.wires.form import boundary_of, content_type_of

log = structlog.get_logger()

_BILLABLE: Final = (AttemptStatus.lost, AttemptStatus.cut, AttemptStatus.malformed)
_SOONEST_S: Final = 0.001


class Sender:
    """Send calls to their candidates, with all a flow may wish for on the way."""

    def __init__(self, routes: Routes, books: GatewayBooks, holds: HoldPolicy) -> None:
        self.routes = routes
        self._books = books
        self._holds = holds
        self._clock_us = books.clock_us

    async def send(self, passage: Passage, first: Outcome | None = None) -> tuple[Candidate, Outcome]:
        """Return the last candidate asked and how that went; those before are recorded on the way.

        Once one was asked, no other is for a client that has left.
        `first` is how the attempt went that every flow begins with, where it was made already.
        """
        candidates = passage.plan.candidates
        flow = attempt_flow(candidates, passage.rules, passage.deadline_us)
        wish: Wish = next(flow)
        candidate, outcome = candidates[0], Outcome()
        while not (outcome.started_us and passage.is_deserted):
            if isinstance(wish, Try):
                timeouts = wish.candidate.timeouts
                if outcome.started_us or passage.hurried:
                    timeouts = self._go_on(passage, (candidate, outcome), wish.candidate)
                candidate = wish.candidate
                outcome, first = first or await self._try(passage, wish, timeouts), None
                response = outcome.response
                if response is None or response.status >= 300 or candidate.health.troubled:
                    note_outcome(candidate.health, outcome)
                answer = outcome
            else:
                answer = await self._grant(passage, wish, candidate, outcome)
            try:
                wish = flow.send(answer)
            except StopIteration as end:
                return end.value
        return candidate, outcome

    async def attempt(self, passage: Passage, candidate: Candidate) -> Outcome:
        """Make one attempt in the time the call has left, once more where its connection had grown stale."""
        left_s = max(_SOONEST_S, (passage.deadline_us - self._clock_us()) / SECOND_US)
        timeouts = candidate.timeouts.within(left_s)
        outcome = await self._try(passage, Try(candidate), timeouts)
        if outcome.stale:
            outcome = await self._try(passage, Try(candidate, fresh=True), timeouts)
        if outcome.response is None or outcome.response.status >= 300 or candidate.health.troubled:
            note_outcome(candidate.health, outcome)
        return outcome

    async def _try(self, passage: Passage, wish: Try, timeouts: Timeouts) -> Outcome:
        candidate, started_us = wish.candidate, self._clock_us()
        try:
            pool = candidate.upstream.pool
            head, body = request_of(passage, candidate)
            if candidate.upstream.signer is not None:
                head = await candidate.upstream.signer.sign(head, body, timeouts.connect_s)
            connection = (None if wish.fresh else pool.take_idle()) or await pool.open(timeouts.connect_s)
            outcome = Outcome(await connection.exchange((head, body), timeouts))
        except UpstreamFault as fault:
            outcome = Outcome(None, fault.again())
        outcome.started_us, outcome.answered_us = started_us, self._clock_us()
        return outcome

    def _go_on(self, passage: Passage, last: tuple[Candidate, Outcome], candidate: Candidate) -> Timeouts:
        """Record the attempt before, say where the call goes now, and return the time it has there."""
        before, outcome = last
        if outcome.started_us:
            passage.attempts.append(self._priced(passage, before, outcome))
            if outcome.response is not None and outcome.response.stream is not None:
                outcome.response.stream.abort()
            passage.asked = candidate
            if candidate.upstream is not before.upstream:
                self._books.goes_on(passage, candidate)
        left_s = (passage.deadline_us - self._clock_us()) / SECOND_US
        return candidate.timeouts.within(max(_SOONEST_S, left_s))

    def _priced(self, passage: Passage, candidate: Candidate, outcome: Outcome) -> Attempt:
        if outcome.priced is None:
            attempt = outcome.attempt(candidate)
            if attempt.status in _BILLABLE:
                attempt = self._books.settler.price_unknown(passage, candidate, attempt)
            outcome.priced = attempt
        return outcome.priced

    async def _grant(
        self, passage: Passage, wish: Pause | Cover | Fallback, candidate: Candidate, outcome: Outcome
    ) -> int | bool | Sequence[Candidate]:
        """Do what a flow wishes between two attempts."""
        if isinstance(wish, Pause):
            # What spreads the retries of many calls over time is no secret.
            await asyncio.sleep(random.uniform(wish.least_s, wish.most_s))  # noqa: S311
            return self._clock_us()
        pending = self._priced(passage, candidate, outcome)
        if isinstance(wish, Cover):
            return await self.cover(passage, (wish.candidate,), pending)
        try:
            candidates = self.routes.find(wish.model, passage.call.protocol)
            candidates = arrange(passage, candidates)
            if passage.is_foreign_to(candidates):
                candidates = translate_call(passage, candidates, passage.plan.output_cap)
        except Refusal as refusal:
            self._skip(passage, wish.model, refusal)
            return ()
        return candidates if await self.cover(passage, candidates, pending) else ()

    async def cover(
        self,
        passage: Passage,
        candidates: Sequence[Candidate],
        pending: Attempt | None = None,
        side: Passage | None = None,
    ) -> bool:
        """Hold what candidates can cost beside what was spent; tell whether that was possible.

        `pending` is an attempt that is not among the call's own yet; `side` a question asked beside the call.
        """
        asked = side or passage
        try:
            plan = msgspec.structs.replace(asked.plan, candidates=candidates)
            quote = quote_plan(asked.facts, plan, passage.call.opened_us, asked.forwarded, asked.facts_for)
            await self._raise(passage, quote, candidates, pending)
        except Refusal as refusal:
            self._skip(passage, passage.call.model, refusal, candidates[0])
            return False
        return True

    async def cover_two(self, passage: Passage, candidate: Candidate, pending: Attempt) -> bool:
        """Hold what the call's next ask can cost with another to read behind it; tell whether that was possible."""
        plan, call = passage.plan, passage.call
        try:
            quote = quote_plan(passage.facts, plan, call.opened_us, passage.forwarded, passage.facts_for)
            await self._raise(passage, quote.with_another(read_quote(passage)), (candidate,), pending)
        except Refusal:
            return False
        return True

    async def _raise(
        self, passage: Passage, quote: Quote, candidates: Sequence[Candidate], pending: Attempt | None
    ) -> None:
        """Raise what a call holds to a quote beside what was spent. Raises `Refusal`."""
        books, more = self._books, () if pending is None else (pending,)
        spent = (*passage.attempts, *more)
        if passage.most_nano is not None:
            check_max_cost(passage.most_nano, quote.cost() + sum(attempt.cost_nano for attempt in spent))
        for candidate in candidates:
            await books.payable(passage.call.tenant, candidate.upstream.name)
        await books.raise_hold(passage, self._holds.raised(passage, quote, spent), candidates[0], more)

    def _skip(self, passage: Passage, model: str, refusal: Refusal, candidate: Candidate | None = None) -> None:
        """Record a candidate that is not asked, and why."""
        now_us, reason = self._clock_us(), f"not asked: {refusal.code}"
        provider = candidate.upstream.name if candidate is not None else ""
        name = candidate.model if candidate is not None else model
        passage.attempts.append(Attempt(provider, name, AttemptStatus.skipped, 0, now_us, 0, now_us, error=reason))
        log.info("attempt.skipped", call=passage.call.call_id.hex(), model=name, provider=provider, reason=refusal.code)


def request_of(passage: Passage, candidate: Candidate) -> tuple[bytes, bytes]:
    """Return the head and body of the request for a candidate."""
    wire, facts, cap_field = candidate.wire, passage.facts_for(candidate), candidate.upstream.cap_field
    body = wire.upstream_body(passage.body_for(candidate), facts, candidate.model, passage.plan.output_cap, cap_field)
    if candidate.upstream.dialect is not None and not wire.multipart:
        body = candidate.upstream.dialect.body(body)
    extra = passage.headers_for(wire)
    if wire.multipart:
        extra += b"content-type: %b\r\n" % content_type_of(boundary_of(body))
    return candidate.head(stream=passage.facts.stream, extra=extra, body_len=len(body)), body
