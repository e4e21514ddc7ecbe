"""Drive the flows of routes that ask before they choose: a judge that grades, or a cheap answer that is checked.

Whatever is asked is an attempt of the call: held for before, priced, and written down with it.
"""

import contextlib
from typing import Any, Final

import msgspec

from bursar.core.errors import BooksError, Refusal
from bursar.core.records import Attempt, AttemptStatus, CallStatus, Protocol
from bursar.gateway.attempt import Outcome
from bursar.gateway.books import GatewayBooks
from bursar.gateway.draft import Draft, keep_back
from bursar.gateway.passage import Passage
from bursar.gateway.plan import Plan, Quote
from bursar.gateway.routes import Candidate
from bursar.gateway.routing import Routing
from bursar.gateway.send import Sender
from bursar.gateway.translation import telling, translate_call
from bursar.savings.route.choice import Choice
from bursar.savings.route.flow import Answer, Ask, Wish
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.translate import translate_answer
from bursar.wires.wire import BadAnswer

Made = tuple[Candidate, Outcome]

_BILLABLE: Final = (AttemptStatus.lost, AttemptStatus.cut, AttemptStatus.malformed)


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[Any] | None = None


class _Logprob(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Chosen(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Chat(msgspec.Struct):
    choices: list[_Chosen]


_chat = msgspec.json.Decoder(_Chat)


class Deciding:
    """Ask what a route wishes to know, and have the call go where it then says."""

    def __init__(self, books: GatewayBooks, sender: Sender) -> None:
        self._books = books
        self._sender = sender

    def cover(self, passage: Passage, quote: Quote) -> None:
        """Add to a quote what the first side question can cost."""
        wish = passage.routed.wish if passage.routed is not None else None
        if isinstance(wish, Ask):
            assert passage.routing is not None
            side, candidate = self._side(passage, passage.routing, wish)
            most = candidate.ceiling(candidate.dearest_card(passage.call.opened_us), side.facts.traits)
            size = side.facts.text_bytes
            quote.add(most.cost(size, wish.output_cap), size + wish.output_cap)

    async def run(self, passage: Passage, routing: Routing) -> Made | None:
        """Decide; returns the attempt whose answer is kept, or None where the call is to be made by its plan.

        Where the client has left before a model was asked for the answer, the call's status says so: it has ended.
        """
        routed, made = passage.routed, dict[str, Made]()
        assert routed is not None
        flow, wish = routed.flow, routed.wish
        routed.flow = None
        while flow is not None and wish is not None:
            answer = await self._grant(passage, routing, wish, made)
            try:
                wish = flow.send(answer)
            except StopIteration as end:
                return await self._conclude(passage, routing, end.value, made)
        return None

    async def _grant(self, passage: Passage, routing: Routing, wish: Wish, made: dict[str, Made]) -> Answer | None:
        """Do what a flow wishes; None where that failed or there is no money for it."""
        side, begun = None, bool(passage.attempts)
        if begun and passage.is_deserted:
            return None
        try:
            if isinstance(wish, Ask):
                side, candidate = self._side(passage, routing, wish)
            else:
                candidate = routing.targets(passage, wish.model, passage.plan.output_cap)[0]
            if begun and not await self._sender.cover(passage, (candidate,), side=side):
                return None
            await self._books.payable(passage.call.tenant, candidate.upstream.name)
        except (Refusal, BooksError):
            return None
        if begun and passage.is_deserted:  # by now
            return None
        if not begun:
            self._books.goes_on(passage, candidate)
        passage.asked = candidate
        outcome, saved_nano = await self._sender.attempt(side or passage, candidate), passage.saved_nano
        if side is None and (draft := await self._draft(passage, candidate, outcome)) is not None:
            outcome.priced = self._books.settler.price_answer(passage, candidate, outcome, draft.answer)
            answer = draft.said
        else:
            outcome.priced, answer = self._read(side or passage, candidate, outcome)
        outcome.saved_nano, passage.saved_nano = passage.saved_nano - saved_nano, saved_nano
        passage.attempts.append(outcome.priced)
        if side is None and answer is not None:
            made[wish.model] = candidate, outcome
        elif side is None and outcome.priced.cost_nano:  # nothing to check, but it is paid for
            made.setdefault(wish.model, (candidate, outcome))
        return answer

    async def _draft(self, passage: Passage, candidate: Candidate, outcome: Outcome) -> Draft | None:
        """Keep an answer back that comes as a stream; None where it does not."""
        response = outcome.response
        if not passage.facts.stream or response is None or response.stream is None or response.status >= 300:
            return None
        draft = await keep_back(passage, candidate, response.stream)
        if draft.failed:
            candidate.health.failed(self._books.clock_us(), draft.answer.note)
        outcome.draft = draft
        return draft

    def _read(self, asked: Passage, candidate: Candidate, outcome: Outcome) -> tuple[Attempt, Answer | None]:
        """Price an attempt and read its answer; None where it gave none."""
        settler, response, attempt = self._books.settler, outcome.response, outcome.attempt(candidate)
        if response is not None and response.stream is not None:
            response.stream.abort()
            attempt = msgspec.structs.replace(attempt, status=AttemptStatus.malformed)
        if attempt.status is not AttemptStatus.ok or response is None:
            return settler.price_unknown(asked, candidate, attempt) if attempt.status in _BILLABLE else attempt, None
        try:
            answer = candidate.wire.answer(response.body)
        except BadAnswer as error:
            broken = msgspec.structs.replace(attempt, status=AttemptStatus.malformed, error=str(error))
            return settler.price_unknown(asked, candidate, broken), None
        return settler.price_answer(asked, candidate, outcome, answer), _said(asked, candidate, response.body)

    async def _conclude(self, passage: Passage, routing: Routing, choice: Choice, made: dict[str, Made]) -> Made | None:
        """Have the call be what was decided: an answer that is kept, or its plan at the model chosen."""
        routed = passage.routed
        assert routed is not None
        if choice.answered and choice.model in made:
            routing.note(passage, choice)
            return self._kept(passage, made[choice.model])
        candidates, covered = passage.plan.candidates, False
        if not passage.is_deserted:
            with contextlib.suppress(Refusal, BooksError):
                candidates = routing.targets(passage, choice.model, passage.plan.output_cap)
                covered = await self._sender.cover(passage, candidates)
        if passage.attempts and passage.is_deserted:  # nobody waits for a better one
            return self._left(passage, routing, choice, made)
        if covered:
            routing.note(passage, choice)
            passage.plan = msgspec.structs.replace(passage.plan, candidates=candidates)
            return None
        if made:  # better than none: the call has paid for it
            return self._stands(passage, routing, choice, made, f"{choice.model} cannot be asked")
        routing.targets(passage, routed.choice.model, passage.plan.output_cap)  # its rules
        return None

    def _left(self, passage: Passage, routing: Routing, choice: Choice, made: dict[str, Made]) -> Made | None:
        """End a call whose client has left with what it has: the last answer, or none where only others were asked."""
        if made:
            return self._stands(passage, routing, choice, made, "the client has left")
        assert passage.routed is not None
        passage.routed.unverified = True
        routing.note(passage, msgspec.structs.replace(choice, why=f"{choice.why}; the client has left unanswered"))
        passage.status = CallStatus.client_gone
        return None

    def _stands(self, passage: Passage, routing: Routing, choice: Choice, made: dict[str, Made], reason: str) -> Made:
        """Keep the last answer though it was not found good, for a reason."""
        assert passage.routed is not None
        passage.routed.unverified = True
        whole = [name for name, (_, outcome) in made.items() if _is_whole(outcome)]
        model = (whole or list(made))[-1]
        why = f"{choice.why}; {reason}, so the answer of {model} stands"
        routing.note(passage, msgspec.structs.replace(choice, model=model, why=why))
        return self._kept(passage, made[model])

    @staticmethod
    def _kept(passage: Passage, made: Made) -> Made:
        """Take an attempt out of those written down: it is written down last, as the call's end."""
        priced = made[1].priced
        passage.attempts[:] = [each for each in passage.attempts if each is not priced]
        passage.saved_nano += made[1].saved_nano
        return made

    def _side(self, passage: Passage, routing: Routing, wish: Ask) -> tuple[Passage, Candidate]:
        """Return a question of the route's own as a call beside the call, and whom to ask."""
        said = {"model": wish.model, "max_tokens": wish.output_cap}
        body = msgspec.json.encode(said | {"messages": [{"role": "user", "content": wish.prompt}]})
        call = msgspec.structs.replace(passage.call, protocol=Protocol.openai_chat, stream=False)
        side = Passage(OPENAI_CHAT, call, OPENAI_CHAT.facts(body), body, b"")
        candidate = routing.first(wish.model)
        side.plan, side.attempts = Plan((candidate,), wish.output_cap), passage.attempts
        side.held_nano, side.deadline_us = passage.held_nano, passage.deadline_us
        if side.is_foreign_to((candidate,)):
            translate_call(side, (candidate,), wish.output_cap)
        return side, candidate


def _is_whole(outcome: Outcome) -> bool:
    return outcome.priced is not None and outcome.priced.status is AttemptStatus.ok


def _said(asked: Passage, candidate: Candidate, body: bytes) -> Answer | None:
    """Return what an answer says, whatever protocol it came in; None where that cannot be told."""
    theirs = candidate.wire.protocol
    try:
        if theirs is not Protocol.openai_chat:
            body = translate_answer(body, theirs, Protocol.openai_chat, telling(asked))
        chosen = _chat.decode(body).choices[0]
    except (BadAnswer, Refusal, msgspec.MsgspecError, IndexError):
        return None
    logprobs = chosen.logprobs.content if chosen.logprobs is not None else None
    return Answer(
        chosen.message.content or "",
        cut_off=chosen.finish_reason == "length",
        calls_tools=bool(chosen.message.tool_calls),
        logprob=sum(each.logprob for each in logprobs) / len(logprobs) if logprobs else None,
    )
