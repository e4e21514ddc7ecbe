"""Serve HTTP/1.1 to clients as ASGI: httptools in front, few copies behind, every size and time bounded.

uvicorn runs the sockets and the life cycle and takes this class in place of its own. It differs in four ways: a request
is handed on when its body is whole (or known to be too large); what answers it may do so without a task, and then gives
no coroutine back; head and body of an answer leave in one write; `sweep` ends connections whose client is too slow
without a timer for each request.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
import msgspec
import structlog

from bursar.gateway.asgi import CLIENT, KNOWN, Cancellable, Scope
from bursar.gateway.door import Door
from bursar.gateway.heads import HEADER_BYTES_MAX, Headers, Known, KnownHeads, split_target
from bursar.gateway.outbox import Outbox

log = structlog.get_logger()

REQUEST_S: Final = 60.0
"""How long a request may take to arrive, from its first byte to its last."""

UNREAD_S: Final = 60.0
"""How long a client may leave its answer unread before it counts as gone."""

STRANGER_BYTES_MAX: Final = 64 * 1024
"""How much of a body is kept of whoever has not shown a key that is known here."""

KEEP_ALIVE_S: Final = 75.0
PIPELINE_MAX: Final = 16

_WITHOUT_BODY: Final = (204, 304)  # a chunk after their heads would pass for the next answer
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    if status.value >= 200
}
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Exchange:
    """Hold one request and its answer; `receive` and `send` are what ASGI asks for, `respond` is both at once."""

    __slots__ = (
        "_chunked",
        "_has_body",
        "_head",
        "_protocol",
        "_speaks_11",
        "answering",
        "body",
        "ended",
        "keep_alive",
        "scope",
        "whole",
        "work",
    )

    def __init__(self, protocol: "ClientProtocol", scope: Scope, body: bytes, *, whole: bool, keep_alive: bool) -> None:
        self._protocol = protocol
        self._head: bytes | None = None
        self._chunked = False
        self.body: bytes | None = body
        self.whole = whole
        self.scope: Scope | None = scope  # until it is begun
        self._has_body = scope["method"] != "HEAD"  # its answer is a head: a body would pass for the next answer
        self._speaks_11 = scope["http_version"] == "1.1"
        self.keep_alive = keep_alive and whole
        self.answering = False  # once bytes of the answer are on their way
        self.ended = False
        self.work: Cancellable | None = None
        scope[CLIENT] = self

    @property
    def gone(self) -> bool:
        """Tell whether the client is gone."""
        return self._protocol.gone

    @property
    def when_gone(self) -> Callable[[], None] | None:
        """Be called once the client is gone."""
        return self._protocol.when_gone

    @when_gone.setter
    def when_gone(self, call: Callable[[], None] | None) -> None:
        """Have something called once the client is gone."""
        self._protocol.when_gone = call

    def expect(self, work: Cancellable) -> None:
        """Know what is under way, so that a server that stops waits for it and can end it."""
        self.work = work
        self._protocol.expect(work)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the rest of the work done by a task."""
        self._protocol.run(self, work)

    def fail(self, error: Exception | None = None) -> None:
        """Tell the client that its answer went wrong."""
        self._protocol.failed(self, error)

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer in one piece."""
        protocol = self._protocol
        headers.append((b"content-length", b"%d" % len(body)))
        head = self._compose(status, headers)
        if not protocol.gone:
            self.answering = True
            protocol.write(head + body if self._has_body else head)
        self.ended = True
        protocol.finished(self)

    async def receive(self) -> dict[str, Any]:
        """Return the request's body, and after that the end of the connection."""
        body = self.body
        if body is not None:
            self.body = None
            return {"type": "http.request", "body": body, "more_body": not self.whole}
        if not self._protocol.gone:
            await self._protocol.wait_gone()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take in a part of the answer."""
        if message["type"] == "http.response.start":
            self._head = self._compose(message["status"], message["headers"])
            return
        more = message.get("more_body", False)
        if not self.put(message["body"], more=more) and more:
            await self._protocol.drained()

    def put(self, body: bytes, *, more: bool = True) -> bool:
        """Send a piece of the answer's body, the last one without `more`; tell whether the client keeps up."""
        protocol = self._protocol
        if not self._has_body:
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        if self._head is not None:
            body, self._head = self._head + body, None
        if not protocol.gone and body:
            self.answering = True
            protocol.write(body)
        if not more:
            self.ended = True
            protocol.finished(self)
        return not protocol.paused or protocol.gone

    def _compose(self, status: int, headers: Headers) -> bytes:
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        self._chunked = self._speaks_11 and status not in _WITHOUT_BODY
        for name, value in headers:
            if name == b"content-length":
                self._chunked = False
            lines += (name, b": ", value, b"\r\n")
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif not self._speaks_11 and not any(name == b"content-length" for name, _ in headers):
            self.keep_alive = False
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)


class ClientProtocol(asyncio.Protocol):
    """Serve one client's connection. uvicorn makes it: what it cannot pass, a subclass holds (`bound_to`)."""

    outbox: Outbox
    door: Door
    stopping: bool = False  # of all connections, those to come included
    heads: KnownHeads
    body_bytes_max: int

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:  # noqa: ARG002
        self._app = config.loaded_app
        self._outbox = self.outbox
        self._door = self.door
        self._heads = self.heads
        self._known_body_max = min(STRANGER_BYTES_MAX, self.body_bytes_max)
        self._learned: tuple[bytes, Known] | None = None
        self._usual: Known | None = None  # of the last request whose head was known
        self._loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._connections: set[Any] = server_state.connections
        self._tasks: set[Any] = server_state.tasks
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._peer: tuple[str, int] | None = None
        self._url = b""
        self._headers: Headers = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_bound = self.body_bytes_max
        self._refused = False
        self._waiting: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._closing = False
        self._arriving = False
        self._arriving_since = 0.0
        self._unread_since = 0.0
        self._idle_since = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._gone_waiter: asyncio.Future[None] | None = None
        self.gone = False
        self.when_gone: Callable[[], None] | None = None
        self.paused = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._closing = self.stopping
        peer = transport.get_extra_info("peername")
        self._peer = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        self._idle_since = self._loop.time()
        if (problem := self._door.enter(self._peer)) is not None:
            self.refuse(503, problem)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a whole request whose head was parsed before is known by its bytes."""
        alone = self._current is None and not (self._arriving or self._refused or self._closing)
        if alone and (found := self._heads.find(data, self._known_body_max, self._usual)) is not None:
            known, body = found
            self._usual = known
            scope = known.scope.copy()
            scope["client"], scope[KNOWN] = self._peer, known
            self._idle_since = 0.0
            self._begin(Exchange(self, scope, body, whole=True, keep_alive=True))
            return
        self._learned = None
        try:
            self._parser.feed_data(data)
            if alone:
                self._learn(data)
            if self._arriving and not self._arriving_since:  # more of it is still to come
                self._arriving_since = self._loop.time()
            if self._arriving or self._current is not None:  # line breaks before a request are none of it
                self._idle_since = 0.0
        except httptools.HttpParserUpgrade:
            self.refuse(501, "this server speaks HTTP/1.1 alone")
        except httptools.HttpParserError:
            if not self._refused:
                self.refuse(400, "the request is not valid HTTP")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's
        """Note that the client is gone; its calls go on, for the provider bills them."""
        self.gone = True
        if self.when_gone is not None:
            self.when_gone()
        self._connections.discard(self)
        self._door.leave(self._peer)
        self._waiting.clear()
        for future in (self._drained, self._gone_waiter):
            if future is not None and not future.done():
                future.set_result(None)
        del self._parser  # it refers back: none of this is to stay until garbage is collected

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self.paused = True
        self._unread_since = self._loop.time()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self.paused = False
        self._unread_since = 0.0
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url, self._headers, self._header_bytes = b"", [], 0
        self._body, self._body_bytes = [], 0
        self._learned = None
        self._body_bound = min(STRANGER_BYTES_MAX, self.body_bytes_max)
        self._arriving = True

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url
        self._bound_headers(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name.lower(), value))
        self._bound_headers(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """Let a client that waits for it go on."""
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; what is beyond the limit is not kept, and the request refused by the app."""
        if self._refused:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes <= self._body_bound:
            return
        if self._body_bytes <= self.body_bytes_max and self._door.knows(self._headers, self._url):
            self._body_bound = self.body_bytes_max
        else:
            self._refused, self._arriving, self._arriving_since = True, False, 0.0
            self._transport.pause_reading()
            self._hand_on(whole=False)

    def on_message_complete(self) -> None:
        """Hand the request on."""
        self._arriving, self._arriving_since = False, 0.0
        if not self._refused:
            self._hand_on(whole=True)

    # What exchanges call.

    def write(self, data: bytes) -> None:
        """Send bytes to the client, in the next turn of the loop."""
        self._outbox.write(self._transport, data)

    def finished(self, exchange: Exchange) -> None:
        """Go on to the next request, or close."""
        self._current = None
        self._forget_work(exchange)
        if not exchange.keep_alive or self._closing:
            self._closing = True
            self._outbox.write(self._transport, b"")
        elif self._waiting:
            self._begin(self._waiting.popleft())
            self._transport.resume_reading()
        else:
            self._idle_since = self._loop.time()

    def expect(self, work: Cancellable) -> None:
        """Have a server that stops wait for work that no task does."""
        self._tasks.add(work)

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Answer a request by a task."""
        self._forget_work(exchange)
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, exchange))

    def failed(self, exchange: Exchange, error: BaseException | None = None) -> None:
        """Tell a client whose answer failed, or was ended."""
        if error is not None:
            log.error("request.failed", error=type(error).__name__, exc_info=error)
        self._forget_work(exchange)
        if self._current is not exchange:
            return
        self._current = None
        if exchange.ended or self.gone:
            return
        if exchange.answering:  # an answer that is not whole must not look as if it were
            self._transport.abort()
        else:
            self.refuse(500, "the gateway failed: see its log")

    async def drained(self) -> None:
        """Wait until the client has read enough, or is gone."""
        if not self.gone:
            self._drained = self._loop.create_future()
            await self._drained

    async def wait_gone(self) -> None:
        """Wait until the client is gone."""
        self._gone_waiter = self._loop.create_future()
        await self._gone_waiter

    # What the server calls.

    def answer_last(self) -> None:
        """Close after the next answer, or the one under way: the server is about to stop."""
        self._closing = True
        if self._current is not None:
            self._current.keep_alive = False

    def shutdown(self) -> None:
        """Close once the request under way is answered: the server stops."""
        self._closing = True
        if self._current is None:
            self._transport.close()
        else:
            self._current.keep_alive = False

    def sweep(self, now: float) -> None:
        """End the connection when its client is too slow, or has nothing to say."""
        if self._arriving_since and now - self._arriving_since > REQUEST_S:
            self.refuse(408, f"the request took more than {REQUEST_S:.0f} s to arrive")
        elif self._unread_since and now - self._unread_since > UNREAD_S:
            self._transport.abort()
        elif self._idle_since and now - self._idle_since > KEEP_ALIVE_S:
            self._transport.close()

    def refuse(self, status: int, message: str) -> None:
        """Answer what never became a request, and close; a request before it is answered first."""
        self._refused, self._arriving, self._arriving_since = True, False, 0.0
        if self._transport.is_closing():
            return
        if self._current is not None:
            self._current.keep_alive = False
            self._waiting.clear()
            self._transport.pause_reading()
            return
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": f"http_{status}"}
        body = msgspec.json.encode({"error": error})
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.write(_STATUS_LINES[status] + head + body)
        self._outbox.write(self._transport, b"")

    def _learn(self, data: bytes) -> None:
        """Remember the head of the request that these bytes were."""
        learned, self._learned = self._learned, None
        if learned is not None:
            self._heads.learn(data, *learned)

    def _bound_headers(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX and not self._refused:
            self.refuse(431, f"the headers exceed {HEADER_BYTES_MAX} bytes")
            raise ValueError("headers too large")

    def _hand_on(self, *, whole: bool) -> None:
        parser = self._parser
        path, raw_path, query = split_target(self._url)
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": parser.get_http_version(),
            "method": parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
            "client": self._peer,
        }
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        keep_alive = parser.should_keep_alive() and not self._closing
        if whole and keep_alive and self._current is None and not any(name == b"expect" for name, _ in self._headers):
            headers = [pair for pair in self._headers if pair[0] != b"content-length"]
            self._learned = body, Known({**scope, "headers": headers})
        exchange = Exchange(self, scope, body, whole=whole, keep_alive=keep_alive)
        if self._current is None:
            self._begin(exchange)
            return
        self._waiting.append(exchange)  # pipelined: answers go out in the order of their requests
        self._transport.pause_reading()
        if len(self._waiting) > PIPELINE_MAX:
            self.refuse(400, f"more than {PIPELINE_MAX} requests are pipelined")

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        scope, exchange.scope = exchange.scope, None
        try:
            work = self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client is told and the others are served
            self.failed(exchange, error)
        else:
            if work is not None:
                self.run(exchange, work)

    def _forget_work(self, exchange: Exchange) -> None:
        if exchange.work is not None:
            self._tasks.discard(exchange.work)
            exchange.work = None

    def _ended(self, exchange: Exchange, task: "asyncio.Task[None]") -> None:
        """Note the end of a request's task; one that failed leaves its client without an answer, so it is told."""
        self._tasks.discard(task)
        if task.cancelled():
            self.failed(exchange)
        elif (error := task.exception()) is not None:
            self.failed(exchange, error)


def bound_to(outbox: Outbox, door: Door, body_bytes_max: int) -> type[ClientProtocol]:
    """Return a protocol class with its outbox, its door and its body limit."""
    held = {"outbox": outbox, "door": door, "heads": KnownHeads(), "body_bytes_max": body_bytes_max}
    return type("BoundProtocol", (ClientProtocol,), held)
