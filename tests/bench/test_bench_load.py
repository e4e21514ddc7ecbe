"""The load generator counts what comes back, whatever the framing and whatever the server does."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from bench.load import Load, Outcome, answer_end, percentile, run
from bench.stage import OTHER_CORE, chat_body, long_prompt, mock, request

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
ANSWERS = [
    PLAIN,
    b"HTTP/1.1 200 OK\r\nContent-Length:5\r\nDate: now\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_ends_where_its_framing_says_and_not_before(answer: bytes) -> None:
    assert [answer_end(answer[:size]) for size in range(len(answer))] == [-1] * len(answer)
    assert answer_end(answer) == len(answer)
    assert answer_end(answer + PLAIN) == len(answer)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]


@pytest.fixture(scope="module")
def provider() -> Iterator[int]:
    with mock() as port:
        yield port


def test_a_closed_loop_counts_every_answer(provider: int) -> None:
    outcome = run(Load(port=provider, request=request(provider, chat_body()), connections=4, seconds=0.2))
    assert outcome.answers == len(outcome.latencies_ms) > 10
    assert (outcome.failures, outcome.seconds < 5) == (0, True)
    assert outcome.latency_ms(0.5) <= outcome.latency_ms(0.99)


def test_an_open_loop_sends_at_its_rate(provider: int) -> None:
    message = request(provider, chat_body())
    outcome = run(Load(port=provider, request=message, connections=8, seconds=0.5, rate=100, core=OTHER_CORE))
    assert 0 < outcome.answers <= 51


def test_a_body_beyond_what_a_command_line_holds_is_sent(provider: int) -> None:
    body = chat_body(user=long_prompt(100_000))
    assert len(body) > 400_000
    outcome = run(Load(port=provider, request=request(provider, body), connections=1, seconds=0.1))
    assert (outcome.answers > 0, outcome.failures) == (True, 0)


def load_from(answers: list[bytes], pause_s: float = 0.0) -> Outcome:
    """Load a server that gives each connection an answer and closes it after a pause, lest there be too many."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for number in range(10_000):
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                if client.recv(65_536):
                    client.sendall(answers[number % len(answers)])
                time.sleep(pause_s)

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    try:
        return run(Load(port=port, request=request(port, b"{}"), connections=1, seconds=0.2))
    finally:
        listener.close()


def test_what_is_no_200_and_what_is_cut_are_failures() -> None:
    refused = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
    outcome = load_from([refused, PLAIN[:-1], PLAIN], pause_s=0.005)
    assert outcome.failures >= 2
    assert outcome.answers >= 1


def test_a_server_that_only_closes_ends_the_load_with_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        load_from([b""])
