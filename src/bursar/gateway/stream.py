"""Pass a stream on as it comes, read it aside, and settle it before its end mark leaves."""

from functools import partial
from typing import Final

import msgspec

from bursar.core.errors import Unavailable, UpstreamFailed
from bursar.core.ids import call_name
from bursar.core.money import nano_to_usd
from bursar.core.records import CallStatus, Record
from bursar.gateway.asgi import Out
from bursar.gateway.attempt import Outcome
from bursar.gateway.books import GatewayBooks
from bursar.gateway.connection import Fault, Headers, Response, Streamed, UpstreamFault
from bursar.gateway.framing import ArrayFraming
from bursar.gateway.headers import returned_headers
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate
from bursar.gateway.translation import stream_translator
from bursar.wires.openai_audio import Sound
from bursar.wires.sse import EventSplitter, EventTooLarge, comment_bytes, is_whole
from bursar.wires.wire import BadAnswer, Seen

LEFT: Final = "the client left, and the stream was ended"
NO_END: Final = "it has no end"

_NOTHING_YET: Final = {"type": "http.response.body", "body": b"", "more_body": True}


def end_with_client(passage: Passage, stream: Streamed) -> None:
    """Have the provider's stream end with the client, where the rules say so."""
    client = passage.client
    if not passage.rules.cancels or client is None:
        return
    client.when_gone = partial(stream.abort, UpstreamFault(Fault.cut, LEFT))
    if client.gone:
        client.when_gone()


class CutSound(Exception):
    """Say that sound ended early: its client's connection is cut, for sound has no place to say so."""


class StreamPassage:
    """Carry one stream from provider to client, each piece within the turn in which it came.

    The provider's bytes are read to their end whatever becomes of the client, which is charged for what the provider
    bills; or they end with the client, which is charged for what came, where the rules say so.
    """

    def __init__(self, passage: Passage, candidate: Candidate, outcome: Outcome, books: GatewayBooks) -> None:
        assert passage.out is not None
        self._out: Out = ArrayFraming(passage.out) if passage.as_array else passage.out
        self._wire = passage.wire
        self._passage = passage
        self._candidate = candidate
        self._outcome = outcome
        self._books = books
        self._reader = candidate.wire.reader()
        self._translator = stream_translator(passage, candidate)
        self._sound = self._translator if isinstance(self._translator, Sound) else None
        self._hides_usage = not passage.facts.wants_usage
        self._record: Record | None = None
        self._splitter = EventSplitter()
        self._mark: bytes | None = None  # the stream's end mark, which waits for the settlement
        self._after: list[bytes] = []  # what came with it
        self._closing = False  # the last event that came may be the last of all
        self._kept = b""  # that event, where it has not been passed on
        self._fault = ""
        self._untranslated = ""

    async def run(self, response: Response, own_headers: Headers) -> None:
        """Pass the stream on, and settle it."""
        stream = self._outcome.draft or response.stream
        assert stream is not None
        headers = returned_headers(response.headers) + own_headers
        if self._sound is not None:
            headers = [(b"content-type", self._sound.content_type), *(h for h in headers if h[0] != b"content-type")]
        await self._out.send({"type": "http.response.start", "status": response.status, "headers": headers})
        end_with_client(self._passage, stream)
        try:
            rest = await self._pass_on(stream)
            ended = self._record is not None
            if not ended:  # no end mark came: cut, or a protocol or provider that has none
                if self._closing:  # whatever went wrong after the answer's end takes nothing from it
                    rest, self._fault = self._kept, ""
                await self._settle()
            no_end = NO_END if self._passage.status is CallStatus.cut else ""
            fault = "" if ended else self._fault or no_end
            if self._translator is not None:
                fault = fault or self._untranslated or no_end
                rest = b"" if fault else self._translator.end()  # one that is not whole must not pass for one that is
            if fault and self._sound is not None:
                raise CutSound(fault)
            if fault:
                rest += self._error_event("the provider's answer ended early: " + fault, "upstream_cut")
            self._put(rest)
        except Unavailable as refusal:
            stream.abort()
            self._put(self._error_event(refusal.message, refusal.code))
        assert self._record is not None
        comments = self._wire.comments and self._sound is None
        self._out.put(self._comment(self._record) if comments else b"", more=False)

    async def _pass_on(self, stream: Streamed) -> bytes:
        """Pass events on until the stream ends; return bytes after the answer's end that were no whole event."""
        while True:
            try:
                if await stream.pour(self._take):
                    return await self._take_rest()
            except UpstreamFault as fault:
                self._fault = str(fault)
                return b""
            except EventTooLarge as error:
                stream.abort()
                self._fault = str(error)
                return b""
            await self._pass_mark()
            await self._out.send(_NOTHING_YET)  # until the client has caught up

    async def _take_rest(self) -> bytes:
        """Pass on what the stream ended with, where it is an event but for the blank line behind it."""
        rest = self._splitter.rest
        if self._record is not None:
            return rest
        if is_whole(rest):
            self._put_events([rest + b"\n\n"], [])
            await self._pass_mark()
        return b""

    async def _pass_mark(self) -> None:
        """Settle before the end mark leaves, if it has come."""
        if self._mark is not None:
            await self._settle()
            passed, self._mark = [self._shown(self._mark, Seen.last)], None
            self._put_events(self._after, passed)

    def _take(self, chunk: bytes) -> bool:
        """Pass on the events that are whole now; false once the end mark is next, or the client does not keep up."""
        return self._put_events(self._splitter.feed(chunk), [])

    def _put_events(self, events: list[bytes], passed: list[bytes]) -> bool:
        for number, event in enumerate(events, 1):
            seen = self._reader.see(event)
            self._closing = seen is Seen.closing
            if self._kept:
                passed.append(self._kept)
                self._kept = b""
            if seen is Seen.last and self._record is None:
                self._mark, self._after = event, events[number:]
                break
            passed.append(self._shown(event, seen))
        return self._put(b"".join(passed)) and self._mark is None

    def _shown(self, event: bytes, seen: Seen) -> bytes:
        """Return what the client gets of an event."""
        if self._translator is not None:
            return self._translated(event)
        if self._closing:
            self._kept = event
            return b""
        return b"" if seen is Seen.usage_only and self._hides_usage else event

    def _put(self, piece: bytes) -> bool:
        return not piece or self._out.put(piece)

    def _translated(self, event: bytes) -> bytes:
        """Return an event in the client's protocol; nothing after one that has no place there."""
        assert self._translator is not None
        if self._untranslated:
            return b""
        try:
            return self._translator.feed(event)
        except BadAnswer as error:
            self._untranslated = f"a part of it has no place in this protocol: {error}"
            return b""

    async def _settle(self) -> None:
        answer = self._reader.answer()
        if self._fault:
            answer = msgspec.structs.replace(answer, whole=False, note=self._fault)
        passage, books, priced = self._passage, self._books, self._outcome.priced
        # One that was kept back to be checked is priced and judged already: neither counts twice.
        attempt = priced or books.settler.price_answer(passage, self._candidate, self._outcome, answer)
        passage.attempts.append(attempt)
        if not answer.whole and self._fault != LEFT:
            passage.status = CallStatus.cut
        if self._fault and self._fault != LEFT and priced is None:
            self._candidate.health.failed(books.clock_us(), self._fault)
        if passage.client is not None:
            passage.client.when_gone = None
        self._record = books.settle(passage)
        await books.confirm()

    def _error_event(self, message: str, code: str) -> bytes:
        """Tell the client that its answer is not whole: an end without a mark might pass for one."""
        refusal = UpstreamFailed(message, code=code)
        return self._wire.error_event(refusal, call_name(self._passage.call.call_id))

    def _comment(self, record: Record) -> bytes:
        cost, name = nano_to_usd(record.cost_nano), call_name(record.call.call_id)
        return comment_bytes(f"bursar cost_usd={cost} call={name}")
