"""Raw HTTP made to break the server: each is answered with a clear 4xx or closed, and nothing is held."""

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from bench.harness import LocalBursar

Answer: TypeAlias = tuple[int, dict[str, str], bytes]

HELLO = json.dumps(
    {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "[[output=3]] hi"}]}
).encode()


class Client:
    """Speak to a server byte by byte."""

    def __init__(self, local: LocalBursar) -> None:
        self.socket = socket.create_connection(("127.0.0.1", local.port), timeout=10)
        self.reader = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self, *, head_only: bool = False) -> Answer:
        """Read one answer."""
        status_line = self.reader.readline()
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) .*\r\n", status_line)
        assert match is not None, status_line
        headers: dict[str, str] = {}
        while (line := self.reader.readline()) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if head_only or int(match[1]) == 100:
            return int(match[1]), headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.reader.readline(), 16):
                body += self.reader.read(size)
                self.reader.readline()
            self.reader.readline()
        else:
            body = self.reader.read(int(headers["content-length"])) if "content-length" in headers else b""
        return int(match[1]), headers, body

    def ended(self) -> bool:
        """Tell whether the server has closed the connection, waiting for it."""
        try:
            return self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


@pytest.fixture
def client(shared_bursar: LocalBursar) -> Iterator[Client]:
    client = Client(shared_bursar)
    yield client
    client.close()


def request(key: str, body: bytes = HELLO, *extra: bytes, path: str = "/v1/chat/completions") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1".encode(),
        b"host: localhost",
        f"authorization: Bearer {key}".encode(),
        b"content-length: %d" % len(body),
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def code_of(body: bytes) -> Any:
    return json.loads(body)["error"]["code"]


def test_a_connection_is_used_again_and_again(client: Client, key: str) -> None:
    for _ in range(5):
        client.send(request(key))
        assert client.answer()[0] == 200


@pytest.mark.parametrize("size", [1, 7, 50])
def test_a_request_that_comes_in_small_pieces_is_served(client: Client, key: str, size: int) -> None:
    whole = request(key)
    client.send(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert client.answer()[0] == 200


def test_a_chunked_body_is_served(client: Client, key: str) -> None:
    head = request(key, b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(HELLO[at : at + 9]), HELLO[at : at + 9]) for at in range(0, len(HELLO), 9))
    client.send(head, chunks, b"0\r\n\r\n", request(key))
    assert client.answer()[0] == 200
    assert client.answer()[0] == 200


def test_pipelined_requests_are_answered_in_their_order(client: Client, key: str) -> None:
    slow = HELLO.replace(b"output=3", b"output=3 ttft_ms=200")
    client.send(request(key, slow) + request(key, b"nonsense") + request(key))
    answers = [client.answer() for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 400, 200]


def test_too_many_pipelined_requests_end_the_connection_once_the_first_is_answered(client: Client, key: str) -> None:
    slow = HELLO.replace(b"output=3", b"output=3 ttft_ms=200")
    client.send(request(key, slow) + request(key, b"nonsense") * 20)
    assert client.answer()[0] == 200
    assert client.ended()


def test_a_call_is_answered_before_the_garbage_behind_it_ends_the_connection(client: Client, key: str) -> None:
    client.send(request(key) + b"\x00\x01 garbage\r\n\r\n")
    status, headers, body = client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert json.loads(body)["usage"]["completion_tokens"] == 3
    assert client.ended()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\nnonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nXYZ\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nname: a\x00b\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\nhost x\n\n",
    ],
)
def test_what_is_not_http_is_a_400_and_the_end(client: Client, raw: bytes) -> None:
    client.send(raw)
    status, headers, body = client.answer()
    assert (status, headers["connection"], code_of(body)) == (400, "close", "http_400")
    assert client.ended()


@pytest.mark.parametrize("shape", ["one", "many", "path"])
def test_headers_beyond_their_limit_are_a_431(client: Client, key: str, shape: str) -> None:
    extra = {
        "one": [b"x-filler: " + b"y" * 70_000],
        "many": [b"x-filler-%d: y" % number for number in range(6_000)],
        "path": [],
    }[shape]
    path = "/v1/chat/completions" + ("?" + "q" * 70_000 if shape == "path" else "")
    client.send(request(key, HELLO, *extra, path=path))
    status, _, body = client.answer()
    assert (status, code_of(body)) == (431, "http_431")
    assert client.ended()


def test_http_1_0_is_served_and_closed(client: Client, key: str) -> None:
    client.send(request(key).replace(b"HTTP/1.1", b"HTTP/1.0"))
    status, headers, body = client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert "transfer-encoding" not in headers
    assert json.loads(body)["usage"]["completion_tokens"] == 3
    assert client.ended()


def test_a_stream_over_http_1_0_ends_with_its_connection(client: Client, key: str) -> None:
    body = HELLO.replace(b'"max_tokens"', b'"stream": true, "max_tokens"')
    client.send(request(key, body).replace(b"HTTP/1.1", b"HTTP/1.0"))
    status, headers, _ = client.answer()
    assert status == 200
    assert "transfer-encoding" not in headers
    rest = client.reader.read()
    assert rest.startswith(b"data: ")
    assert b": bursar cost_usd=" in rest


def test_a_client_that_expects_100_is_told_to_continue(client: Client, key: str) -> None:
    whole = request(key, HELLO, b"expect: 100-continue")
    head = whole[: -len(HELLO)]
    client.send(head)
    assert client.answer()[0] == 100
    client.send(HELLO)
    assert client.answer()[0] == 200


def test_a_client_that_asks_to_close_is_closed(client: Client, key: str) -> None:
    client.send(request(key, HELLO, b"connection: close"))
    status, headers, _ = client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert client.ended()


@pytest.mark.parametrize("path", [b"/healthz", b"/v1/models", b"/nothing", b"/metrics", b"/", b"/api/calls"])
def test_head_is_answered_without_a_body_and_the_connection_goes_on(client: Client, key: str, path: bytes) -> None:
    client.send(b"HEAD %b HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n\r\n" % (path, key.encode()))
    client.answer(head_only=True)
    client.send(request(key))
    status, _, body = client.answer()
    assert (status, json.loads(body)["usage"]["completion_tokens"]) == (200, 3)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("OPTIONS", "/v1/chat/completions"),
        ("PUT", "/v1/messages"),
        ("DELETE", "/v1/messages"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1//chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("GET", "/../../etc/passwd"),
        ("GET", "/%00"),
        ("GET", "/%ff%fe"),
    ],
)
def test_no_route_is_a_404_that_names_what_was_asked(client: Client, key: str, method: str, path: str) -> None:
    client.send(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n".encode())
    status, _, body = client.answer()
    assert (status, code_of(body)) == (404, "no_route")
    assert method in body.decode()
    client.send(request(key))
    assert client.answer()[0] == 200


def test_an_upgrade_to_another_protocol_is_not_taken_up(client: Client, key: str) -> None:
    client.send(
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n"
    )
    assert client.answer()[0] in (200, 501)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}" * 2,
        b"\xff\xfe{\x00}\x00",
        b'{"model": "gpt-4o-mini", "messages": [], "temperature": NaN}',
        b'{"model": "gpt-4o-mini", "messages": [], "tools": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "caf\xe9"}]}',
        b'{"model": 7, "messages": []}',
        b'{"model": null, "messages": []}',
        b'{"model": "gpt-4o-mini"}',
        b'{"model": "gpt-4o-mini", "messages": {"role": "user"}}',
        b'{"model": "gpt-4o-mini", "messages": [null]}',
        b'{"model": "gpt-4o-mini", "messages": [], "max_tokens": 1.5}',
        b'{"model": "gpt-4o-mini", "messages": [], "max_tokens": true}',
        b'{"model": "gpt-4o-mini", "messages": [], "stream": "yes"}',
        b'{"model": "gpt-4o-mini", "messages": [], "stream": 1}',
        b'{"model": "gpt-4o-mini", "messages": [], "stream_options": 5}',
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_body_that_is_no_request_is_a_400_and_the_connection_goes_on(
    client: Client, key: str, body: bytes, path: str
) -> None:
    client.send(request(key, body, path=path))
    status, _, answer = client.answer()
    assert status == 400
    assert "caf" not in json.loads(answer)["error"]["message"]
    client.send(request(key))
    assert client.answer()[0] == 200


def test_of_a_field_given_twice_the_last_is_priced_and_the_only_one_sent(
    client: Client, key: str, call_of: Any
) -> None:
    body = HELLO.replace(b'"model": "gpt-4o-mini"', b'"model": "gpt-4o-mini", "model": "gpt-4o"')
    client.send(request(key, body))
    status, headers, answer = client.answer()
    assert (status, headers["x-bursar-model"], json.loads(answer)["model"]) == (200, "sandbox/gpt-4o", "gpt-4o")
    assert call_of(headers["x-bursar-call-id"])["served_model"] == "gpt-4o"


def test_a_key_in_the_wrong_place_or_shape_is_a_401(client: Client, key: str) -> None:
    for line in (b"authorization: Basic abc", b"authorization: Bearer ", b"authorization: " + b"\xff" * 40, b"x-y: z"):
        client.send(request(key).replace(f"authorization: Bearer {key}".encode(), line))
        assert client.answer()[0] == 401


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.io:80"])
def test_pages_answer_under_this_machines_name_alone(client: Client, host: bytes) -> None:
    client.send(b"GET /api/calls HTTP/1.1\r\nhost: %b\r\n\r\n" % host)
    status, _, body = client.answer()
    assert (status, code_of(body)) == (403, "local_only")


def test_many_idle_and_half_open_connections_hinder_nobody(shared_bursar: LocalBursar, key: str) -> None:
    crowd = [Client(shared_bursar) for _ in range(200)]
    for each in crowd[::2]:
        each.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-le")
    client = Client(shared_bursar)
    client.send(request(key))
    assert client.answer()[0] == 200
    for each in [*crowd, client]:
        each.close()


def test_after_all_this_nothing_is_held(shared_bursar: LocalBursar) -> None:
    text = "select coalesce(sum(debits_pending), 0)::bigint as held from accounts"
    deadline = time.monotonic() + 10
    while shared_bursar.query(text)[0]["held"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert shared_bursar.audit().findings == []
    assert '"request.failed"' not in shared_bursar.log.read_text()
