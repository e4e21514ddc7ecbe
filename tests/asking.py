"""Ask a running Bursar as an application does, and wait until the call is in the books."""

import http.client
import json
import time
from typing import Any, NamedTuple

from bench.harness import LocalBursar

SANDBOX = """
[providers.sandbox]
kind = "sandbox"

[models."gpt-4o-mini"]
targets = ["sandbox/gpt-4o-mini"]
"""
JOURNAL_S = 20.0
HEARD_S = 10.0


class Answer(NamedTuple):
    """Hold an answer: its status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def fetch(local: LocalBursar, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Make one request."""
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def ask(local: LocalBursar, secret: str, text: str = "[[output=10]] hi", **options: Any) -> Answer:
    """Ask a chat model; `options` are fields of the body, or headers where they begin with x_, or are traceparent."""
    headers = {name: value for name, value in options.items() if name.startswith("x_") or name == "traceparent"}
    fields = {name: value for name, value in options.items() if name not in headers}
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]} | fields
    return fetch(
        local,
        "POST",
        "/v1/chat/completions",
        json.dumps(body).encode(),
        authorization=f"Bearer {secret}",
        content_type="application/json",
        **headers,
    )


def ask_and_wait(local: LocalBursar, secret: str, text: str = "[[output=10]] hi", **options: Any) -> str:
    """Ask, wait until the call is in the books, and return its id."""
    answer = ask(local, secret, text, **options)
    assert answer.status == 200, answer.body
    call_id = answer.headers["x-bursar-call-id"]
    wait_booked(local, call_id)
    return call_id


def wait_booked(local: LocalBursar, call_id: str) -> None:
    """Wait until a call is in the books."""
    deadline = time.monotonic() + JOURNAL_S
    while fetch(local, "GET", f"/api/calls/{call_id}").status != 200:
        assert time.monotonic() < deadline, f"{call_id} is not in the books: {local.last_words()}"
        time.sleep(0.02)


def ask_until(local: LocalBursar, secret: str, status: int) -> Answer:
    """Ask until a change that the gateway hears of shows in its answer, and return that answer."""
    deadline = time.monotonic() + HEARD_S
    while (answer := ask(local, secret)).status != status:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.02)
    return answer
