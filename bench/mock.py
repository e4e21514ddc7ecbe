"""Be a provider that costs next to nothing to run: fixed answers, an optional delay, no parsing beyond framing.

    python -m bench.mock PORT [DELAY_MS [INTERVAL_MS]]

Every POST is a chat, or asks for an embedding, which is 1,536 numbers in base64. A chat that asks for a stream gets as
many tokens as its cap allows: the first at once, the others INTERVAL_MS apart; without an interval all at once. Head
and body leave in one write, each token in one of its own, and nothing waits for more (`TCP_NODELAY`).
"""

import asyncio
import gc
import re
import sys
import time
from typing import Any

import uvloop

from bursar.store.descriptors import allow_descriptors

_ANSWER = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"The quick brown fox jumps over it. "
    * 8
    + b'",'
    b'"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":120,'
    b'"completion_tokens":64,"total_tokens":184,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,'
    b'"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_bench"}'
)
_VECTOR = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":"'
    + b"kNzgvAJ7Ar1mKnk8" * 512
    + b'"}],"model":"text-embedding-3-small","usage":{"prompt_tokens":13,"total_tokens":13}}'
)
_RESPONSE, _EMBEDDED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
    for answer in (_ANSWER, _VECTOR)
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
_CHUNK = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_bench",'
    b'"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]%b}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{"prompt_tokens":120,"completion_tokens":%d,'
    b'"total_tokens":%d}}\n\n'
)
_ASKS_STREAM = re.compile(rb'"stream"\s*:\s*true')
_ASKS_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_CAP = re.compile(rb'"max_(?:completion_)?tokens"\s*:\s*(\d+)')
_TOKENS = 20  # of a stream without a cap
_SLOT_S = 0.001


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_FIRST = _STREAM_HEAD + _framed(_CHUNK % (b'{"role":"assistant","content":"","refusal":null}', b"null", b""))
_TOKEN = _framed(_CHUNK % (b'{"content":" token"}', b"null", b""))
_STOP = _CHUNK % (b"{}", b'"stop"', b"")


class Stream:
    """Hold what is still to be said in one stream."""

    __slots__ = ("_last", "_left", "_transport")

    def __init__(self, transport: Any, body: bytes) -> None:
        self._transport = transport
        cap = _CAP.search(body)
        self._left = tokens = int(cap[1]) if cap else _TOKENS
        usage = _USAGE % (tokens, 120 + tokens) if _ASKS_USAGE.search(body) else b""
        self._last = _framed(_STOP + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def begin(self) -> None:
        """Say the first token."""
        self._transport.write(_FIRST + _TOKEN)
        self._left -= 1

    def go_on(self) -> bool:
        """Say the next token, or the end after the last; true while there is more to say."""
        if self._transport.is_closing():
            return False
        if self._left > 0:
            self._left -= 1
            self._transport.write(_TOKEN)
            return True
        self._transport.write(self._last)
        return False

    def say_all(self) -> None:
        """Say everything at once."""
        self._transport.write(_FIRST + _TOKEN * self._left + self._last)


class Wheel:
    """Turn once an interval, and have each stream say its next token when its slot of a millisecond comes by."""

    def __init__(self, interval_s: float) -> None:
        self._slots: list[list[Stream]] = [[] for _ in range(round(interval_s / _SLOT_S))]
        self._turned = 0
        self._loop = asyncio.get_running_loop()
        self._began_s = time.perf_counter()
        self._loop.call_later(_SLOT_S, self._turn)

    def add(self, stream: Stream) -> None:
        """Take a stream that has just begun."""
        self._slots[self._turned % len(self._slots)].append(stream)

    def _turn(self) -> None:
        due = int((time.perf_counter() - self._began_s) / _SLOT_S)
        while self._turned < due:
            self._turned += 1
            slot = self._slots[self._turned % len(self._slots)]
            slot[:] = [stream for stream in slot if stream.go_on()]
        self._loop.call_later(_SLOT_S, self._turn)  # what is late by then is caught up with


class Mock(asyncio.Protocol):
    """Answer each request of a connection with the same bytes."""

    def __init__(self, delay_s: float, wheel: Wheel | None) -> None:
        self._delay_s = delay_s
        self._wheel = wheel
        self._transport: Any = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        data = self._rest + data if self._rest else data
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            at = data.find(b"content-length: ", 0, end)
            if at < 0:
                at = data[:end].lower().find(b"content-length: ")
            size = int(data[at + 16 : data.find(b"\r", at)]) if at >= 0 else 0
            if len(data) < end + 4 + size:
                break
            body, data = data[end + 4 : end + 4 + size], data[end + 4 + size :]
            self._answer(body)
        self._rest = data

    def _answer(self, body: bytes) -> None:
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._begin, body)
        else:
            self._begin(body)

    def _begin(self, body: bytes) -> None:
        if self._transport.is_closing():
            return
        if b'"stream"' not in body or not _ASKS_STREAM.search(body):
            self._transport.write(_EMBEDDED if b'"encoding_format"' in body else _RESPONSE)
            return
        stream = Stream(self._transport, body)
        if self._wheel is None:
            stream.say_all()
        else:
            stream.begin()
            self._wheel.add(stream)


async def main(port: int, delay_ms: float = 0.0, interval_ms: float = 0.0) -> None:
    """Serve until killed."""
    wheel = Wheel(interval_ms / 1000) if interval_ms else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Mock(delay_ms / 1000, wheel), "127.0.0.1", port, backlog=4096)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    allow_descriptors()
    uvloop.run(main(int(sys.argv[1]), *(float(value) for value in sys.argv[2:])))
