"""Retries, fallbacks and deadlines through a real gateway: each attempt a line, money held before it is spent."""

import contextlib
import json
import threading
import time
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.records import AttemptStatus, CallStatus, UsageSource
from bursar.ledger.transfer import Kind, Reason

DEAR_NANO = 500 * 10_000
"""What 500 tokens of gpt-4o cost, without the prompt; the model before it costs a sixth."""


def ask(house: LocalBursar, key: str, text: str = "[[output=5]] hi", **options: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} | options.pop("headers", {})
    body = {"model": "falls-back-to-a-dearer", "max_tokens": 500, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{house.url}/v1/chat/completions", json=body | options, headers=headers, timeout=30)


def statuses(call: dict[str, Any]) -> list[AttemptStatus]:
    return [AttemptStatus(attempt[2]) for attempt in json.loads(call["attempts"])]


@pytest.fixture
def failing(provider: Any) -> Any:
    provider.say("gpt-4.1-mini", "503 Service Unavailable", b'{"error":{"message":"down"}}')
    return provider


@pytest.mark.parametrize("stream", [False, True])
def test_a_dearer_fallback_is_held_for_when_it_is_reached(
    house: LocalBursar, failing: Any, call_in_house: Any, stream: bool
) -> None:
    response = ask(house, house.create_key(f"dearer {stream}", "0.05"), stream=stream)
    assert response.status_code == 200
    assert response.headers["x-bursar-model"] == "sandbox/gpt-4o"
    call = call_in_house(response)
    assert statuses(call) == [AttemptStatus.failed, AttemptStatus.ok]
    assert call["held_nano"] > DEAR_NANO
    assert 0 < call["cost_nano"] < DEAR_NANO


def test_a_first_answer_holds_for_no_fallback(house: LocalBursar, provider: Any, call_in_house: Any) -> None:
    usage = b'"usage":{"prompt_tokens":3,"completion_tokens":1}}'
    provider.say("gpt-4.1-mini", "200 OK", b'{"model":"m","choices":[{"message":{"content":"ok"}}],' + usage)
    call = call_in_house(ask(house, house.create_key("cheap", "0.05")))
    assert call["held_nano"] < DEAR_NANO / 5


@pytest.mark.parametrize(
    ("limits", "headers", "reason"),
    [
        ("0.003", {}, "budget_exhausted"),
        ("0.05", {"x-bursar-max-cost-usd": "0.003"}, "max_cost_exceeded"),
    ],
)
def test_a_fallback_there_is_no_money_for_is_skipped_and_the_error_before_stands(
    house: LocalBursar, failing: Any, call_in_house: Any, limits: str, headers: dict[str, str], reason: str
) -> None:
    key = house.create_key(f"short of {reason}", limits)
    response = ask(house, key, headers=headers)
    assert (response.status_code, response.json()["error"]["message"]) == (503, "down")
    call = call_in_house(response)
    assert statuses(call) == [AttemptStatus.failed, AttemptStatus.skipped]
    assert reason in call["attempts"]
    assert (call["status"], call["cost_nano"]) == (CallStatus.failed, 0)
    assert call["held_nano"] < 3_000_000
    assert ask(house, key, model="own-price", headers=headers).status_code == 200  # nothing of it is held any more


def test_a_call_that_dies_at_its_fallback_is_charged_there_for_all_it_held(house: LocalBursar, failing: Any) -> None:
    key = house.create_key("dies at its fallback", "0.05")

    def call() -> None:
        with contextlib.suppress(httpx.HTTPError):
            ask(house, key, "[[fault=stall]]")

    caller = threading.Thread(target=call)
    held = "select count(*) as calls from transfers where kind = $1 and reason = $2 and amount_nano > $3"

    def held_for() -> int:
        return house.query(held, Kind.hold, Reason.call, DEAR_NANO)[0]["calls"]

    before = held_for()  # by tests that came first
    caller.start()
    wait_for(lambda: held_for() > before, house)
    house.kill("worker")
    caller.join()
    lost = "select * from calls where status = $1 and model = 'falls-back-to-a-dearer'"
    call = wait_for(lambda: house.query(lost, CallStatus.indeterminate), house)[0]
    assert (call["provider"], call["usage_source"]) == ("sandbox", UsageSource.held)
    assert statuses(call) == [AttemptStatus.failed, AttemptStatus.lost]
    assert call["cost_nano"] == call["held_nano"] > DEAR_NANO
    wait_for(house.ready, house)
    assert house.audit().findings == []


def wait_for(look: Any, house: LocalBursar) -> Any:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline, house.last_words()
        time.sleep(0.05)
    return found


def test_a_target_that_fails_once_is_asked_again(house: LocalBursar, house_key: str, call_in_house: Any) -> None:
    response = ask(house, house_key, "[[fault=429]]", model="remote/gpt-4o-mini")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    call = call_in_house(response)
    assert statuses(call) == [AttemptStatus.throttled, AttemptStatus.throttled]
    assert call["ended_us"] - call["opened_us"] > 1_000_000  # the second it was asked to wait


@pytest.mark.parametrize(
    ("model", "headers"),
    [
        ("in-haste", {}),
        ("in-haste", {"x-bursar-timeout-s": "0.5"}),
        ("remote/gpt-4o-mini", {"x-bursar-timeout-s": "0.5"}),
    ],
)
def test_a_call_ends_at_its_deadline_and_is_settled(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: Any, model: str, headers: dict[str, str]
) -> None:
    provider.answers["gpt-4.1-nano"] = []  # takes the request and says nothing
    began = time.monotonic()
    response = ask(house, house_key, "[[fault=stall]]", model=model, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    assert time.monotonic() - began < 10
    call = call_in_house(response)
    assert (call["status"], call["usage_source"]) == (CallStatus.indeterminate, UsageSource.held)


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "1e9"])
def test_a_deadline_that_is_none_is_refused(house: LocalBursar, house_key: str, value: str) -> None:
    response = ask(house, house_key, headers={"x-bursar-timeout-s": value})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "x-bursar-timeout-s")


def test_the_books_balance_after_all_of_it(house: LocalBursar) -> None:
    assert house.audit().findings == []
