r"""Split a byte stream into server-sent events (WHATWG HTML, section 9.2), keeping each event's bytes as they came.

An event ends at a blank line; lines end with `\n`, `\r\n` or `\r`. Chunks may be cut anywhere, also between `\r`
and `\n`. An event beyond `EVENT_BYTES_MAX` is an error: a stream may not grow without bound in memory.
"""

import re
from typing import Any, Final

import msgspec

EVENT_BYTES_MAX: Final = 8 * 1024 * 1024

# A blank line after a line. A lone `\r` at the very end of the buffer may be half of `\r\n`: wait for more.
_EVENT_END: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=.))", re.DOTALL)

_json = msgspec.json.Decoder(Any)


class EventTooLarge(ValueError):
    """Say that one event exceeds `EVENT_BYTES_MAX`."""


class EventSplitter:
    """Collect chunks and give out whole events."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that are complete now, each with its closing blank line."""
        data = self._rest + chunk if self._rest else chunk
        if b"\r" not in data:
            return self._feed_newlines(data, len(self._rest))
        events: list[bytes] = []
        start = 0
        for match in _EVENT_END.finditer(data):
            events.append(data[start : match.end()])
            start = match.end()
        self._keep(data[start:])
        return events

    def _feed_newlines(self, data: bytes, seen: int) -> list[bytes]:
        r"""Split data whose lines end with `\n` alone, the case of every provider known."""
        end = data.find(b"\n\n", max(0, seen - 1))
        if end < 0:
            self._keep(data)
            return []
        events: list[bytes] = []
        start = 0
        while end >= 0:
            events.append(data[start : end + 2])
            start = end + 2
            end = data.find(b"\n\n", start)
        self._keep(data[start:])
        return events

    def _keep(self, rest: bytes) -> None:
        if len(rest) > EVENT_BYTES_MAX:
            raise EventTooLarge(f"an event of the stream exceeds {EVENT_BYTES_MAX} bytes")
        self._rest = rest

    @property
    def rest(self) -> bytes:
        """Return what came after the last whole event."""
        return self._rest


def event_data(event: bytes) -> bytes:
    r"""Return an event's data lines joined by `\n`; empty for a comment or an event without data."""
    if event.startswith(b"data:") and event.find(b"\n") >= len(event) - 2:
        return event[5:].strip()
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines).strip()


def is_whole(rest: bytes) -> bool:
    """Tell whether what a stream ended with is an event but for the blank line behind it, as some servers leave it."""
    data = event_data(rest)
    if not data or data == b"[DONE]":
        return bool(data)
    try:
        _json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def event_bytes(data: bytes, name: str = "") -> bytes:
    """Frame one event; `data` holds no line break."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data) if name else b"data: %s\n\n" % data


def comment_bytes(text: str) -> bytes:
    """Frame a comment, which clients ignore."""
    return b": %s\n\n" % text.encode()
