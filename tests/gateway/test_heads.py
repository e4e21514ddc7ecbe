"""Heads read at one glance: what httptools makes of the same bytes, or nothing."""

from typing import Any

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bursar.gateway.heads import HEADER_BYTES_MAX, KNOWN_MAX, Known, KnownHeads, read_answer

BODY = b'{"model":"m"}'
HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer bk_1\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
KNOWN = Known({"path": "/v1/messages"})


def find(heads: KnownHeads, data: bytes, body_max: int) -> tuple[Known, bytes] | None:
    """Find a request, as the first of its connection and as one that follows its like."""
    found = heads.find(data, body_max)
    assert heads.find(data, body_max, KNOWN) == found
    return found


class Parsed:
    """Be told by httptools what some bytes are."""

    def __init__(self, kind: type, data: bytes) -> None:
        self.messages = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.may_stay = False
        self.parser: Any = kind(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1
        self.may_stay = self.parser.should_keep_alive()


STATUS_LINES = b"""HTTP/1.1 200 OK|HTTP/1.1 429 Too Many|HTTP/1.1 200|HTTP/1.1 500 |HTTP/1.0 200 OK|HTTP/1.1 204 No|
HTTP/1.1 304 Not|HTTP/1.1 100 Go|HTTP/1.1 2000 OK|HTTP/1.1  200 OK|HTTP/1.1 200 \x00""".replace(b"\n", b"").split(b"|")
LINES = b"""content-type: application/json|Content-Length: 5|content-length:5|content-length: 5 |x: |content-length: 05|
content-length: +5|content-length: 5, 5|content-length: 6|X-Y:\ta b\tc|transfer-encoding: chunked|connection: close|
connection: keep-alive| folded: 1|x : y|upgrade: h2c|na me: 1|: 1|x|x: \xc3|x: a\x00b|x: a\rb|trailer: x|
x:y:z""".replace(b"\n", b"").split(b"|")
BODIES = [b"hello", b"hell", b"hellos", b"", b"5\r\nhello\r\n0\r\n\r\n", b"helloHTTP/1.1 200 OK\r\n\r\n"]


def heads() -> st.SearchStrategy[bytes]:
    """Make answers of the usual parts in any order, and of some that are unusual or wrong."""
    return st.builds(
        lambda status, lines, end, body: end.join([status, *lines, b"", b""]) + body,
        st.sampled_from(STATUS_LINES),
        st.lists(st.sampled_from(LINES), max_size=5),
        st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
        st.sampled_from(BODIES),
    )


@given(heads(), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2))
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", [])
def test_an_answer_is_read_as_httptools_reads_it_or_not_at_all(answer: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(answer)
    for place, value in changes:
        data[place % len(data)] = value
    read = read_answer(bytes(data))
    if read is not None:
        parsed = Parsed(httptools.HttpResponseParser, bytes(data))
        assert read == (parsed.parser.get_status_code(), parsed.headers, parsed.body)
        assert parsed.messages == 1
        assert parsed.may_stay


@pytest.mark.parametrize(
    "line",
    [
        b"content-length: 5\r\ncontent-length: 5",
        b"transfer-encoding: chunked",
        b"connection: close",
        b"upgrade: h2c",
        b"x: a\x00b",
        b"x: a\nb",
        b" folded: line",
        b"name : value",
        b"x: " + b"a" * HEADER_BYTES_MAX,
    ],
)
def test_what_is_unusual_in_an_answer_is_left_to_the_parser(line: bytes) -> None:
    usual = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n%b\r\n\r\nhello"
    assert read_answer(usual % b"x: y") == (200, [(b"content-length", b"5"), (b"x", b"y")], b"hello")
    assert read_answer(usual % line) is None


@pytest.mark.parametrize("size", range(len(REQUEST)))
def test_only_a_whole_request_is_known(size: int) -> None:
    heads = KnownHeads()
    heads.learn(REQUEST, BODY, KNOWN)
    assert find(heads, REQUEST, 100) == (KNOWN, BODY)
    assert find(heads, REQUEST[:size], 100) is None
    assert find(heads, REQUEST + REQUEST[: size + 1], 100) is None


def test_a_head_is_known_with_any_length_of_body_and_no_other_byte() -> None:
    heads = KnownHeads()
    heads.learn(REQUEST, BODY, KNOWN)
    for body in (b"", b"x", b"x" * 1_000, b"\r\ncontent-length: 3\r\n\r\n"):
        assert find(heads, HEAD % len(body) + body, 1_000) == (KNOWN, body)
    assert find(heads, HEAD % 1_001 + bytes(1_001), 1_000) is None
    for length in (b"", b"-1", b"+1", b" 1", b"1 ", b"x", b"1234567890", b"\xd9\xa1"):
        assert find(heads, HEAD.replace(b"%d", length) + b"x", 1_000) is None
    for place in range(len(HEAD) - 8):
        changed = bytearray(REQUEST)
        changed[place] ^= 1
        assert find(heads, bytes(changed), 1_000) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\r\ncontent-length: 0\r\n\r\n",
        HEAD % 14 + BODY,
        HEAD % 12 + BODY,
        b"POST / HTTP/1.1\r\nx: " + b"a" * 5_000 + b"\r\ncontent-length: 13\r\n\r\n" + BODY,
    ],
    ids=["no body", "chunked", "short", "long", "large head"],
)
def test_what_is_no_whole_request_of_a_small_head_is_not_remembered(data: bytes) -> None:
    heads = KnownHeads()
    heads.learn(data, BODY, KNOWN)
    assert heads.find(data, 10_000) is None


def test_the_heads_remembered_are_bounded() -> None:
    heads = KnownHeads()
    data = [b"POST /%d HTTP/1.1\r\ncontent-length: 0\r\n\r\n" % number for number in range(KNOWN_MAX + 1)]
    for each in data[:-1]:
        heads.learn(each, b"", KNOWN)
    assert heads.find(data[0], 0) is not None
    heads.learn(data[-1], b"", KNOWN)
    assert heads.find(data[0], 0) is None
    assert heads.find(data[-1], 0) is not None


@given(
    st.lists(st.sampled_from([b"content-length: 3", b"Content-Length: 4", b"x: y", b"expect: 1", b"a:b"]), max_size=4)
)
def test_what_is_learned_of_a_request_is_what_httptools_reads_of_it(lines: list[bytes]) -> None:
    data = b"\r\n".join([b"POST /p HTTP/1.1", *lines, b"", b"abc"])
    heads = KnownHeads()
    try:
        parsed = Parsed(httptools.HttpRequestParser, data)
    except httptools.HttpParserError:
        return
    if parsed.messages != 1 or parsed.body != b"abc":
        return
    heads.learn(data, parsed.body, KNOWN)
    found = heads.find(data, 100)
    assert found == (KNOWN, b"abc")
