"""Ask a provider for something that is no call: a file, a batch, a list; whole answers, or line by line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec

from bursar.core.errors import Refusal, UpstreamFailed, UpstreamTimeout
from bursar.core.records import Protocol
from bursar.gateway.connection import Connection, Fault, Response, UpstreamFault
from bursar.gateway.routes import Upstream

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""What one line of a file of results may take at most."""

_AT_ONCE: Final = 4


_NEEDED: Final = {Protocol.anthropic_messages: b"anthropic-version: 2023-06-01\r\n"}
"""What a provider demands where nobody has sent it along."""


class Question(msgspec.Struct, frozen=True):
    """Be a request to a provider: what it is sent, and by which protocol's headers."""

    method: str
    path: str  # below the provider's address
    protocol: Protocol
    body: bytes = b""
    content_type: str = "application/json"
    forwarded: bytes = b""  # header lines
    rooted: bool = False  # the path is the whole of it, and not below the provider's


class Unanswered(Exception):
    """Say that a provider gave no answer; `sent` tells whether it may have taken the request all the same."""

    def __init__(self, name: str, fault: UpstreamFault, *, sent: bool) -> None:
        super().__init__(str(fault))
        self.sent = sent
        kind = UpstreamTimeout if fault.timed_out else UpstreamFailed
        self.refusal: Refusal = kind(f"provider {name} gave no answer: {fault}")


async def ask(upstream: Upstream, question: Question, *, stream: bool = False) -> Response:
    """Ask a provider. An answer with `stream` is to be read to its end, or aborted. Raises `Unanswered`.

    Raises `UpstreamFailed` for a provider that refuses this gateway's own key.
    """
    path = question.path if question.rooted else upstream.pool.path + question.path
    head = upstream.head_of(question.method, path, question.protocol, question.content_type)
    forwarded = question.forwarded or _NEEDED.get(question.protocol, b"")
    head += b"%bcontent-length: %d\r\n\r\n" % (forwarded, len(question.body))
    connection = upstream.pool.take_idle()
    while True:
        try:
            connection = connection or await upstream.pool.open()
            response = await connection.exchange((head, question.body), upstream.pool.timeouts, stream=stream)
        except UpstreamFault as fault:
            if fault.fault is Fault.stale:
                connection = None
                continue
            raise Unanswered(upstream.name, fault, sent=fault.fault is not Fault.unreachable) from None
        if response.status in (401, 403):
            if response.stream is not None:
                response.stream.abort()
            raise UpstreamFailed(f"provider {upstream.name} refuses this gateway's own key", code="upstream_auth")
        return response


async def ask_whole(upstream: Upstream, question: Question) -> Response:
    """Ask a provider for an answer in one piece. Raises `UpstreamFailed` or `UpstreamTimeout` without one."""
    try:
        response = await ask(upstream, question)
    except Unanswered as error:
        raise error.refusal from None
    if response.stream is not None:
        response.stream.abort()
        raise UpstreamFailed(f"provider {upstream.name} answered with a stream")
    return response


async def few_at_once(asks: Sequence[Callable[[], Awaitable[Response]]]) -> list[Response | None]:
    """Ask for several things, a few at a time; none where one is out of reach.

    Raises the `Refusal` of the first where all are.
    """
    turn, refusals = asyncio.Semaphore(_AT_ONCE), list[Refusal]()

    async def one(act: Callable[[], Awaitable[Response]]) -> Response | None:
        async with turn:
            try:
                return await act()
            except Refusal as refusal:
                refusals.append(refusal)
                return None

    answers = await asyncio.gather(*map(one, asks))
    if refusals and len(refusals) == len(asks):
        raise refusals[0]
    return answers


async def lines_from(stream: Connection) -> AsyncIterator[bytes]:
    """Return a stream's lines that are not empty, one by one. Raises `UpstreamFault` when it is cut."""
    rest = b""
    while piece := await stream.chunk():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line := line.strip():
                yield line
        if len(rest) > LINE_BYTES_MAX:
            stream.abort()
            raise UpstreamFault(Fault.malformed, f"a line exceeds {LINE_BYTES_MAX} bytes")
    if rest := rest.strip():
        yield rest
