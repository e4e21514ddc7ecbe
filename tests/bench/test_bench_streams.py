"""Streams are held open, timed and found whole or not; the search finds the most that hold."""

import os
import socket
import threading
import time
from itertools import pairwise

import pytest

from bench.sse import sse_rate
from bench.stage import chat_body, cpu_s, mock, request
from bench.streams import BEGIN, STEP, Streams, most, run_streams


@pytest.mark.parametrize("limit", range(0, 8_250, STEP))
def test_the_search_finds_the_most_that_hold(limit: int) -> None:
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number <= limit

    assert most(holds) == limit
    assert len(asked) <= 8
    assert all(number <= 2 * max(limit, BEGIN) for number in asked)


def streams(port: int, **changes: float) -> Streams:
    terms = {"tokens": 5, "streams": 8, "seconds": 0.2, "ramp_s": 0.05} | changes
    return Streams(port=port, request=request(port, chat_body(cap=5, stream=True)), **terms)


def test_streams_come_whole_at_their_pace() -> None:
    with mock(interval_ms=20) as port:
        outcome = run_streams(streams(port))
    assert (outcome.failures, outcome.whole >= 8) == (0, True)
    assert len(outcome.ttft_ms) == outcome.whole
    assert outcome.longest_gap_ms > 10


def test_a_stream_that_pauses_is_counted() -> None:
    with mock(interval_ms=300) as port:
        outcome = run_streams(streams(port))
    assert (outcome.failures, outcome.gaps >= 8 * 5) == (0, True)


def test_a_stream_without_all_its_tokens_is_a_failure() -> None:
    with mock() as port:
        outcome = run_streams(streams(port, tokens=6))
    assert outcome.whole == 0
    assert outcome.failures >= 8


def test_a_stream_that_is_cut_is_a_failure_and_ends_the_wait() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(3):
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    outcome = run_streams(streams(listener.getsockname()[1], streams=3))
    listener.close()
    assert (outcome.whole, outcome.failures) == (0, 3)


def test_a_processor_that_works_is_seen_to() -> None:
    before_s, until_s = cpu_s(os.getpid()), time.process_time() + 0.1
    while time.process_time() < until_s:
        pass
    assert cpu_s(os.getpid()) - before_s == pytest.approx(0.1, abs=0.08)


def test_the_provider_reports_usage_when_asked_to() -> None:
    body = chat_body(cap=3, stream=True)
    body = body[:-1] + b',"stream_options":{"include_usage":true}}'
    with mock() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request(port, body))
        answer = b""
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += client.recv(65_536)
    order = [answer.index(word) for word in (b'"role"', b'" token"', b'"stop"', b'"completion_tokens":3', b"[DONE]")]
    assert all(one < other for one, other in pairwise(order))
    assert answer.count(b'" token"') == 3


def test_the_parser_of_streams_has_a_rate() -> None:
    (figure,) = sse_rate(1)
    assert (figure.id, figure.value > 0) == ("gateway.sse_mb_per_s", True)
