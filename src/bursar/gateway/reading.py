"""Answer a model that asks for what was left out of a tool's result, from the request's own body, and ask it again.

Each ask is an attempt of the one call: held for before it is made, charged and recorded.
"""

from functools import partial
from typing import Final

import msgspec

from bursar.core.errors import BadRequest, NoMoney, Refusal, UpstreamFailed
from bursar.core.records import Attempt, AttemptStatus
from bursar.gateway.attempt import Outcome
from bursar.gateway.books import GatewayBooks
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate
from bursar.gateway.send import Sender
from bursar.wires.parts import Kind
from bursar.wires.prompt import read_parts
from bursar.wires.reads import go_on, reads_in, says_nothing, without_reads
from bursar.wires.wire import BadAnswer

ROUNDS_MAX: Final = 3
"""How often a model may ask for more within one call."""


class Reader:
    """Go on with calls whose models want to read more."""

    def __init__(self, sender: Sender, books: GatewayBooks) -> None:
        self._sender = sender
        self._books = books

    async def read_on(self, passage: Passage, candidate: Candidate, outcome: Outcome) -> tuple[Candidate, Outcome]:
        """Ask again until the model wants no more of what was left out; returns the last ask and how it went."""
        for left in reversed(range(ROUNDS_MAX)):
            if not await self._asks_on(passage, candidate, outcome, last=not left):
                break
            candidate, outcome = await self._sender.send(passage)
        return candidate, outcome

    async def _asks_on(self, passage: Passage, candidate: Candidate, outcome: Outcome, *, last: bool) -> bool:
        """Make a call ready to be asked again, if its model wants to read and that can be held for."""
        response = outcome.response
        if response is None or response.status >= 300 or response.stream is not None:
            return False
        if candidate.wire is not passage.wire or passage.is_deserted:
            return False
        reads = reads_in(passage.call.protocol, response.body)
        if not reads:
            return False
        before = passage.body, passage.facts, passage.plan, passage.saved_nano
        try:
            answer = candidate.wire.answer(response.body)
            found = {each.call_id: whole_of(passage, each.result) for each in reads}
            going_on = partial(go_on, passage.call.protocol, passage.body, response.body, found)
            bodies = (going_on(last=True),) if last else (going_on(), going_on(last=True))
            attempt = self._books.settler.price_answer(passage, candidate, outcome, answer)
            covered = await self._cover(passage, candidate, attempt, bodies)
        except (BadAnswer, BadRequest):
            attempt, covered = None, False
        if attempt is None or not covered:
            passage.body, passage.facts, passage.plan, passage.saved_nano = before
            return False
        passage.attempts.append(attempt)
        passage.asked, passage.hurried = candidate, True
        passage.reads += 1
        return True

    async def _cover(self, passage: Passage, candidate: Candidate, attempt: Attempt, bodies: tuple[bytes, ...]) -> bool:
        """Hold for the next ask; it offers to read more only where one more behind it is held for as well."""
        passage.plan = msgspec.structs.replace(passage.plan, candidates=(candidate,))
        for body in bodies:
            passage.body, passage.facts = body, candidate.wire.facts(body)
            if body is not bodies[-1] and await self._sender.cover_two(passage, candidate, attempt):
                return True
        return await self._sender.cover(passage, (candidate,), attempt)


def whole_of(passage: Passage, result: str) -> str:
    """Return the whole of a tool's result, as the client has sent it."""
    parts = read_parts(passage.call.protocol, passage.whole)
    texts = [part.text for part in parts if part.kind is Kind.retrieved and part.call_id == result]
    return "\n".join(texts) or f"There is no result {result!r}."


def unread(passage: Passage, body: bytes) -> Refusal | None:
    """Refuse an answer that only asks for what was left out: to its client it would say nothing, and be paid for."""
    if not passage.whole or not says_nothing(passage.call.protocol, body):
        return None
    way_out = "send x-bursar-compress: lossless, or have read_more left out of the model's compress"
    if any(attempt.status is AttemptStatus.skipped for attempt in passage.attempts):
        said = "the model asked for what was left out of a tool's result, and the budget has no room to ask again"
        return NoMoney(f"{said}; raise it, or {way_out}", code="no_room_to_read")
    said = "the model asked to read what was left out of a tool's result, and gave no answer"
    return UpstreamFailed(f"{said}; {way_out}", code="no_answer_but_reads")


def shown(passage: Passage, body: bytes) -> bytes:
    """Return an answer as its client gets it: without calls of a tool that it does not know."""
    return without_reads(passage.call.protocol, body) if passage.whole else body
