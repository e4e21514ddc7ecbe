r"""Read the heads that nearly every message has, at one glance; whatever is unusual is left to the parser proper.

httptools calls Python for each header, which costs more than all else it does. Heads of clients repeat themselves but
for their `content-length`: one that httptools has read is known by its bytes from then on. Heads of answers differ, and
are matched as a whole. Both give what httptools gives, or nothing (tests/gateway/test_heads.py).
"""

import re
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import httptools
import msgspec

Headers: TypeAlias = list[tuple[bytes, bytes]]

HEADER_BYTES_MAX: Final = 64 * 1024

KNOWN_MAX: Final = 1_024
"""Heads remembered; when there are more, all are forgotten."""

KNOWN_BYTES_MAX: Final = 4_096
"""A longer head is not remembered."""

_TEXT: Final = rb"[\t \x21-\x7e\x80-\xff]*"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})\r\n", re.IGNORECASE)
_ANSWER: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: " + _TEXT + rb")?\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:" + _TEXT + rb"\r\n)*)\r\n"
)
_LINE: Final = re.compile(rb"([^:\r]+):[ \t]*([^\r]*)\r\n")
_DIGITS: Final = re.compile(rb"[0-9]{1,9}")
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection", b"upgrade"))
_WITHOUT_BODY: Final = (204, 304)


class Known(msgspec.Struct):
    """Hold what is known of a request by its head: its scope, without `content-length`, and what was read of it.

    `head` are the bytes before and after the digits of its `content-length`, once it is remembered.
    """

    scope: dict[str, Any]
    read: Any = None
    head: tuple[bytes, bytes] = (b"", b"")

    def body_of(self, data: bytes, body_max: int) -> bytes | None:
        """Return the body of a whole request with this head; None for any other bytes."""
        before, after = self.head
        first = len(before)
        last = data.find(b"\r", first, first + 10)
        if last < 0 or not data.startswith(before) or not data.startswith(after, last):
            return None
        digits = data[first:last]
        if not digits.isdigit():
            return None
        start, size = last + len(after), int(digits)
        return data[start:] if len(data) == start + size and size <= body_max else None


class KnownHeads:
    """Remember the heads of requests that were read before, each without the digits of its `content-length`."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Known] = {}

    def find(self, data: bytes, body_max: int, usual: Known | None = None) -> tuple[Known, bytes] | None:
        """Return what is known of a whole request, and its body; None for any other bytes.

        `usual` is what the last request of the same connection was known by: most have the same head again.
        """
        if usual is not None and (body := usual.body_of(data, body_max)) is not None:
            return usual, body
        found = _cut(data, body_max)
        if found is None:
            return None
        known = self._known.get(found[0])
        return (known, found[1]) if known is not None else None

    def learn(self, data: bytes, body: bytes, known: Known) -> None:
        """Remember the head of a request that was read from these bytes, if they are one request and nothing else."""
        found = _cut(data, len(body))
        if found is None or found[1] != body or len(data) - len(body) > KNOWN_BYTES_MAX:
            return
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        known.head = found[0]
        self._known[found[0]] = known


def _cut(data: bytes, body_max: int) -> tuple[tuple[bytes, bytes], bytes] | None:
    """Cut a whole request into its head, without the digits of its `content-length`, and its body."""
    length = _LENGTH.search(data, 0, KNOWN_BYTES_MAX)
    if length is None:
        return None
    end = data.find(b"\r\n\r\n", 0) + 4
    first, last = length.span(1)
    if last >= end:  # it stands in the body
        return None
    size = int(length[1])
    if size > body_max or len(data) != end + size:
        return None
    return (data[:first], data[last:end]), data[end:]


def read_answer(data: bytes) -> tuple[int, Headers, bytes] | None:
    """Read a whole answer: status, headers and body, after which the connection may stay; None for any other bytes."""
    head = _ANSWER.match(data)
    if head is None:
        return None
    status, lines, end = int(head[1]), head[2], head.end()
    if b" \r\n" in lines or b"\t\r\n" in lines or end > HEADER_BYTES_MAX or status in _WITHOUT_BODY:
        return None
    headers: Headers = [(name.lower(), value) for name, value in _LINE.findall(lines)]
    framing = [pair for pair in headers if pair[0] in _FRAMING]
    if len(framing) != 1:
        return None
    name, length = framing[0]
    if name != b"content-length" or _DIGITS.fullmatch(length) is None or len(data) != end + int(length):
        return None
    return status, headers, data[end:]


@lru_cache(maxsize=200)  # strangers choose them, and they may be long
def split_target(url: bytes) -> tuple[str, bytes, bytes]:
    """Split a request's target into its path, as text and as it came, and its query."""
    target = httptools.parse_url(url)
    raw_path: bytes = target.path or b"/"
    return unquote(raw_path.decode("latin-1")), raw_path, target.query or b""
