"""Keep a stream back until its answer is checked, and play it to its client as it came."""

from typing import Final

import msgspec

from bursar.gateway.connection import Fault, Streamed, Taker, UpstreamFault
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate
from bursar.gateway.stream import LEFT, end_with_client
from bursar.savings.route.flow import Answer
from bursar.wires.sse import EventSplitter, EventTooLarge, is_whole
from bursar.wires.translate import StreamText
from bursar.wires.wire import Answer as Metered
from bursar.wires.wire import BadAnswer, Seen

BYTES_MAX: Final = 4 * 1024 * 1024
"""What is kept of one stream at most: an answer of some 20,000 tokens, each an event of its own."""


class Draft:
    """Hold a stream that has come: what it says, what it used, and its bytes, which are given out once.

    It stands in a connection's place for whoever passes the stream on.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._reader = candidate.wire.reader()
        self._text: StreamText | None = StreamText(candidate.wire.protocol)
        self._splitter = EventSplitter()
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._seen = Seen.content  # of the last event
        self._fault: UpstreamFault | None = None

    @property
    def answer(self) -> Metered:
        """Return what the stream said of itself."""
        answer = self._reader.answer()
        if self._fault is None:
            return answer
        return msgspec.structs.replace(answer, whole=False, note=str(self._fault))

    @property
    def failed(self) -> bool:
        """Tell whether the provider ended it early."""
        return self._fault is not None and str(self._fault) != LEFT

    @property
    def said(self) -> Answer | None:
        """Return what it says; None where it is not whole, or cannot be read."""
        if self._text is None or not self.answer.whole:
            return None
        text = self._text
        return Answer(text.text, cut_off=text.cut_off, calls_tools=text.calls_tools)

    def take(self, piece: bytes) -> bool:
        """Take in what has come. Raises `EventTooLarge` beyond what is kept."""
        self._bytes += len(piece)
        if self._bytes > BYTES_MAX:
            raise EventTooLarge(f"it exceeds the {BYTES_MAX} bytes that are kept back to be checked")
        self._pieces.append(piece)
        self._read(self._splitter.feed(piece))
        return True

    def end(self, fault: UpstreamFault | None = None) -> None:
        """Note that the stream has ended, and how. What went wrong after the answer's end takes nothing from it."""
        if fault is None and self._seen is not Seen.last and is_whole(self._splitter.rest):
            self._read([self._splitter.rest + b"\n\n"])
        if self._seen not in (Seen.last, Seen.closing):
            self._fault = fault

    async def pour(self, take: Taker) -> bool:
        """Give what was kept to a function, piece by piece; false where that wants no more for now.

        Raises `UpstreamFault` at the end of a stream that was cut.
        """
        while self._pieces:
            if not take(self._pieces.pop(0)):
                return False
        if self._fault is not None:
            raise self._fault.again()
        return True

    def abort(self, fault: UpstreamFault | None = None) -> None:
        """Give out nothing more."""
        self._pieces.clear()
        self._fault = fault or self._fault

    def _read(self, events: list[bytes]) -> None:
        for event in events:
            if self._seen is Seen.last:
                return
            self._seen = self._reader.see(event)
            try:
                if self._text is not None:
                    self._text.feed(event)
            except BadAnswer:  # then nobody can check it
                self._text = None


async def keep_back(passage: Passage, candidate: Candidate, stream: Streamed) -> Draft:
    """Read a stream to its end; no further than its client stays where the rules say so."""
    draft = Draft(candidate)
    end_with_client(passage, stream)
    try:
        await stream.pour(draft.take)
        draft.end()
    except UpstreamFault as fault:
        draft.end(fault.again())
    except EventTooLarge as error:
        stream.abort()
        draft.end(UpstreamFault(Fault.cut, str(error)))
    finally:
        if passage.client is not None:
            passage.client.when_gone = None
    return draft
