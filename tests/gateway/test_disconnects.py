"""Streams whose client leaves, reads slowly or not at all: what is charged, and what the provider is told."""

import json
import socket
import time
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.records import CallStatus, UsageSource

STREAMS = {
    "openai": ("/v1/chat/completions", "remote/gpt-4o-mini", "cancels"),
    "anthropic": ("/v1/messages", "claude/claude-haiku-4-5", "cancels-claude"),
}
LONG = "[[output=40 tpot_ms=20]] tell me"


def leave(house: LocalBursar, key: str, protocol: str, model: str, text: str) -> str:
    """Begin a stream, read a little of it, and hang up; the call's name."""
    body = {"model": model, "max_tokens": 500, "stream": True, "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream("POST", house.url + STREAMS[protocol][0], json=body, headers=headers, timeout=30) as response:
        assert response.status_code == 200
        seen = ""
        for piece in response.iter_text():
            seen += piece
            if seen.count("data: ") > 5:
                break
        return response.headers["x-bursar-call-id"]


def record_of(house: LocalBursar, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while not (rows := house.query("select * from calls where call_id = $1", bytes.fromhex(name[5:]))):
        assert time.monotonic() < deadline, house.last_words()
        time.sleep(0.02)
    return rows[0]


@pytest.mark.parametrize("protocol", STREAMS)
def test_drained_a_left_stream_is_read_to_its_end_and_charged_exactly(
    house: LocalBursar, house_key: str, protocol: str
) -> None:
    call = record_of(house, leave(house, house_key, protocol, STREAMS[protocol][1], LONG))
    assert (call["status"], call["usage_source"]) == (CallStatus.client_gone, UsageSource.provider)
    assert call["output_tokens"] == 40


@pytest.mark.parametrize("protocol", STREAMS)
def test_cancelled_a_left_stream_ends_at_the_provider_and_is_charged_for_what_came(
    house: LocalBursar, house_key: str, protocol: str
) -> None:
    text = "[[output=400 tpot_ms=20]] tell me"  # eight seconds, were it read to its end
    call = record_of(house, leave(house, house_key, protocol, STREAMS[protocol][2], text))
    assert (call["status"], call["usage_source"]) == (CallStatus.client_gone, UsageSource.counted)
    assert 0 < call["output_tokens"] < 200
    assert 0 < call["cost_nano"] < call["held_nano"]
    assert call["ended_us"] - call["opened_us"] < 6_000_000
    assert "client left" in call["error"]


@pytest.mark.parametrize("protocol", STREAMS)
def test_a_stream_that_may_be_cancelled_and_is_read_whole_is_charged_exactly(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str
) -> None:
    path, _, model = STREAMS[protocol]
    body = {"model": model, "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "[[output=9]]"}]}
    headers = {"authorization": f"Bearer {house_key}"}
    call = call_in_house(httpx.post(house.url + path, json=body, headers=headers, timeout=30))
    assert (call["status"], call["usage_source"]) == (CallStatus.ok, UsageSource.provider)
    assert call["output_tokens"] == 9


def test_a_client_that_reads_slowly_holds_the_provider_back_and_gets_all_of_it(
    house: LocalBursar, house_key: str
) -> None:
    """Eight megabytes of answer do not fit between provider and client: someone has to wait, and nothing is lost."""
    output = 30_000
    message = {"role": "user", "content": f"[[output={output}]]"}
    body = {"model": "remote/gpt-4o-mini", "max_tokens": output, "stream": True, "messages": [message]}
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house_key}\r\n"
    with socket.create_connection(("127.0.0.1", house.port), timeout=30) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(head.encode() + b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data))
        time.sleep(1.5)  # longer than idle_s: the provider is not to blame for this silence
        seen = b"".join(iter(lambda: client.recv(1 << 20), b""))
    name = next(line[18:] for line in seen.split(b"\r\n") if line.startswith(b"x-bursar-call-id")).decode().strip()
    call = record_of(house, name)
    assert b"data: [DONE]" in seen
    assert (call["status"], call["output_tokens"]) == (CallStatus.ok, output)
