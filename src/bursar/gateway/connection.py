"""Speak HTTP/1.1 to a provider over one connection: one exchange at a time, streaming, bounded."""

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import httptools
import msgspec

from bursar.gateway.heads import HEADER_BYTES_MAX, Headers, read_answer

if TYPE_CHECKING:
    from bursar.gateway.pool import Pool

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
_BUFFER_HIGH: Final = 256 * 1024
_JOIN_MAX: Final = 64 * 1024  # a larger body is written beside its head rather than copied

_FRAMES: Final = (b"content-length", b"transfer-encoding")

STALE_S: Final = 2.0
"""How soon a kept connection ends after a request when its provider had closed it before."""


class Fault(Enum):
    """Say what went wrong with an exchange, as far as money is concerned."""

    unreachable = "unreachable"  # nothing was sent
    stale = "stale"  # a kept connection ended at once: the provider had closed it before the request
    lost = "lost"  # the request was sent and no answer began
    cut = "cut"  # the answer began and did not end
    malformed = "malformed"  # what came is not HTTP, or too large


class UpstreamFault(Exception):
    """Report a failed exchange. `timed_out` tells silence from refusal."""

    def __init__(self, fault: Fault, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        self.fault = fault
        self.timed_out = timed_out

    def again(self) -> "UpstreamFault":
        """Return the same as if it had not been raised: one that was refers to all that was under way."""
        return UpstreamFault(self.fault, str(self), timed_out=self.timed_out)


class Response(msgspec.Struct):
    """Hold an answer: whole with its body, or a stream whose chunks are still to be read from the connection."""

    status: int
    headers: Headers
    body: bytes
    stream: "Connection | None" = None


Answered: TypeAlias = Callable[[Response | UpstreamFault], None]
"""Is called once with an answer, or with why there is none; whatever goes wrong in it is its own to handle."""

Taker: TypeAlias = Callable[[bytes], bool]
"""Takes what has come of a stream; false when it wants no more for now."""


class Streamed(Protocol):
    """Be where a stream comes from: a provider's connection, or what was kept of one."""

    async def pour(self, take: Taker) -> bool:
        """Give the stream to a function, piece by piece; false where that wants no more for now."""
        ...

    def abort(self, fault: UpstreamFault | None = None) -> None:
        """End it at once; whoever reads it gets the fault."""
        ...


class Timeouts(msgspec.Struct, frozen=True):
    """Bound how long each part of an exchange may take, in seconds."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0  # between two chunks of an answer
    whole_s: float = 1_800.0  # from the request to the answer's end

    def within(self, most_s: float) -> "Timeouts":
        """Return the same, but all within so many seconds."""
        connect_s, first_byte_s = min(self.connect_s, most_s), min(self.first_byte_s, most_s)
        return Timeouts(connect_s, first_byte_s, self.idle_s, most_s)


class Connection(asyncio.Protocol):
    """Hold one connection of a pool. `exchange` sends a request; a stream is then read with `pour`, or `chunk`."""

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: Answered | None = None  # until there is an answer, or a fault
        self._headers: Headers = []
        self._header_bytes = 0
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._streams_all = False
        self._streaming = False
        self._until_close = False
        self._ended = True
        self._reading: asyncio.Future[bool] | None = None  # yields whether whoever reads wants more
        self._taker: Taker | None = None
        self._fault: UpstreamFault | None = None
        self._paused = False
        self._kept = False
        self._sent_at = 0.0
        self._may_stay = False
        self.closed = False
        self.used = 0
        self.deadline = 0.0  # of what it waits for now, in the loop's time; 0: nothing
        self._end_by = 0.0
        self.idle_since = 0.0
        self.first_byte_at = 0.0

    def exchange(
        self, request: tuple[bytes, bytes], timeouts: Timeouts, *, stream: bool = False
    ) -> asyncio.Future[Response]:
        """Send a request's head and body. The future yields the answer, or raises `UpstreamFault`.

        An event stream, and any answer with `stream`, is yielded as soon as its head is there.
        """
        answer: asyncio.Future[Response] = self._loop.create_future()
        self.send(request, timeouts, partial(_settle, answer), stream=stream)
        return answer

    def send(
        self, request: tuple[bytes, bytes], timeouts: Timeouts, answered: Answered, *, stream: bool = False
    ) -> None:
        """Send a request as `exchange` does; the answer is given to `answered` within the turn in which it came."""
        assert self._ended
        assert self._transport is not None
        self._kept = self.used > 0
        self.used += 1
        self._ended = self._streaming = self._until_close = False
        self._streams_all = stream
        self._headers, self._header_bytes, self._buffered = [], 0, 0
        self._chunks.clear()
        self.first_byte_at = 0.0
        self._answered = answered
        self._sent_at = now = self._loop.time()
        self.deadline = now + timeouts.first_byte_s
        self._end_by = now + timeouts.whole_s
        self._idle_s = timeouts.idle_s
        head, body = request
        if len(body) < _JOIN_MAX:
            self._pool.outbox.write(self._transport, head + body)
        else:
            self._pool.outbox.write(self._transport, head)
            self._pool.outbox.write(self._transport, body)

    async def pour(self, take: Taker) -> bool:
        """Give a stream to a function, each piece within the turn in which it came; tell whether it is at its end.

        It is not where the function wants no more for now. Raises `UpstreamFault` when the stream is cut, and what the
        function raises.
        """
        while True:
            if self._chunks:
                wants_more = take(self._take())
            elif self._is_over():
                return True
            else:
                self._taker = take
                try:
                    wants_more = await self._wait()
                finally:
                    self._taker = None
            if not wants_more:
                return False

    async def chunk(self) -> bytes:
        """Return the next bytes of a stream; empty at its regular end. Raises `UpstreamFault` when it is cut."""
        while not self._chunks:
            if self._is_over():
                return b""
            await self._wait()
        return self._take()

    def abort(self, fault: UpstreamFault | None = None) -> None:
        """Close at once; whoever waits gets the fault."""
        if fault is not None:
            self._fail(fault)
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """End an exchange whose time has run out."""
        if self._ended or (not 0 < self.deadline < now and self._end_by >= now):
            return
        if self._answered is not None:
            self.abort(UpstreamFault(Fault.lost, "no answer in time", timed_out=True))
        elif self._end_by < now:
            self.abort(UpstreamFault(Fault.cut, "the answer took too long", timed_out=True))
        else:
            self.abort(UpstreamFault(Fault.cut, "the answer stalled", timed_out=True))

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._ended:  # bytes nobody asked for: this connection cannot be trusted
            self.abort()
            return
        if not self.first_byte_at:
            self.first_byte_at = self._loop.time()
            if not self._streams_all and (whole := read_answer(data)) is not None and not is_stream(whole[1]):
                self._ended = self._may_stay = True
                self._finish(Response(*whole), self.first_byte_at)
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._ended:
                self.abort(self._fault or UpstreamFault(Fault.malformed, f"not HTTP: {error}"))
                return
            self._may_stay = False  # the answer is whole, and what follows it nobody asked for
        if self._streaming and self._chunks:
            self._hand_on()
        if self._ended:
            self._end()
        elif self._streaming and not self._paused:
            self.deadline = self._loop.time() + self._idle_s

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's
        """Settle what is under way and leave the pool."""
        self.closed = True
        if not self._ended:
            if self._until_close and self._fault is None:
                self.on_message_complete()
                self._end()
            elif self._answered is not None and not self._headers and not self.first_byte_at:
                soon = self._loop.time() - self._sent_at < STALE_S  # later it may have been at work on it, and bill
                fault = Fault.stale if self._kept and soon else Fault.lost
                self._fail(UpstreamFault(fault, "the connection ended before an answer"))
            else:
                self._fail(UpstreamFault(Fault.cut, "the connection ended within the answer"))
        self._pool.forget(self)
        del self._parser  # it refers back: none of this is to stay until garbage is collected

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Read nothing beyond the answer."""
        if self._ended:
            raise ValueError("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX:
            self._fault = UpstreamFault(Fault.malformed, f"headers exceed {HEADER_BYTES_MAX} bytes")
            raise ValueError("headers too large")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide whether the answer is passed on as it comes."""
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue and the like: the answer proper follows
            self._headers = []
            return
        self._until_close = status not in (204, 304) and not any(name in _FRAMES for name, _ in self._headers)
        if self._streams_all or is_stream(self._headers):
            self._streaming = True
            self.deadline = self._loop.time() + self._idle_s
            self._tell(Response(status, self._headers, b"", self))

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BODY_BYTES_MAX and not self._streaming:
            self._fault = UpstreamFault(Fault.malformed, f"the answer exceeds {BODY_BYTES_MAX} bytes")
            raise ValueError("answer too large")

    def on_message_complete(self) -> None:
        """Finish the exchange."""
        if self._parser.get_status_code() < 200:
            return
        self._ended = True
        self._may_stay = self._parser.should_keep_alive()  # the parser forgets it with the message

    def _end(self) -> None:
        """Pass on what has come to its end, once the parser is done with it."""
        if self._streaming:
            self.deadline = 0.0
            self._wake()
            return
        self._finish(Response(self._parser.get_status_code(), self._headers, self._take()), self._loop.time())

    def _hand_on(self) -> None:
        """Give what came of a stream to whoever takes it, and hold the provider back when nobody does."""
        reading = self._reading
        if self._taker is not None and reading is not None and not reading.done():
            try:
                if not self._taker(self._take()):
                    reading.set_result(False)
            except Exception as error:  # noqa: BLE001 - it is for whoever reads the stream
                reading.set_exception(error)
            return
        self._wake()
        if self._buffered > _BUFFER_HIGH and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            self.deadline = 0.0  # the client is slow, not the provider

    def _is_over(self) -> bool:
        """Tell whether a stream that is read to where it is has ended. Raises `UpstreamFault` when it is cut."""
        if self._fault is not None:
            raise self._fault.again()
        if self._ended:
            self._pool.release(self, self._loop.time())
        return self._ended

    async def _wait(self) -> bool:
        self._reading = self._loop.create_future()
        return await self._reading

    def _take(self) -> bytes:
        """Take what has come, and let the provider go on."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            self.deadline = self._loop.time() + self._idle_s
        return data

    def _finish(self, response: Response, now: float) -> None:
        self.deadline = 0.0
        # Back in the pool before the answer is used: the next call may take it at once.
        self._pool.release(self, now)
        self._tell(response)

    @property
    def reusable(self) -> bool:
        """Tell whether another exchange may follow."""
        return self._ended and not self.closed and self._fault is None and self._may_stay and not self._until_close

    def _tell(self, answer: Response | UpstreamFault) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(answer)

    def _fail(self, fault: UpstreamFault) -> None:
        self._fault = fault.again()
        self._ended = True
        self.deadline = 0.0
        self._tell(fault)
        self._wake()

    def _wake(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(True)


def is_stream(headers: Headers) -> bool:
    """Tell whether an answer is an event stream."""
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _settle(future: asyncio.Future[Response], answer: Response | UpstreamFault) -> None:
    if future.done():  # nobody waits any more
        return
    if isinstance(answer, UpstreamFault):
        future.set_exception(answer)
    else:
        future.set_result(answer)
