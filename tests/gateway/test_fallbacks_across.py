"""A call that falls back to a provider of another protocol: answered in its own, each attempt a line at its price."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd
from bursar.core.records import AttemptStatus, CallStatus, UsageSource
from bursar.core.usage import Usage
from bursar.prices import load

CallOf = Callable[[httpx.Response], dict[str, Any]]
PriceOf = Callable[[str, Usage], int]
MODELS = {"claude": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
ERROR = b'{"error":{"message":"down","type":"server_error"}}'


def ask(house: LocalBursar, key: str, model: str, *, stream: bool) -> httpx.Response:
    body = {"model": model, "max_tokens": 400, "messages": [{"role": "user", "content": "[[output=12]] hi"}]}
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{house.url}/v1/chat/completions", json=body | more, headers=headers, timeout=30)


def answered(response: httpx.Response, *, stream: bool) -> tuple[str, str, dict[str, Any]]:
    """Return the text, the reason to stop and the usage, as a client of chat completions reads them."""
    if not stream:
        choice = response.json()["choices"][0]
        return choice["message"]["content"], choice["finish_reason"], response.json()["usage"]
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    (reason,) = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    return text, reason, chunks[-1]["usage"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", MODELS)
@pytest.mark.parametrize(
    ("status", "first"),
    [("500 Internal Server Error", AttemptStatus.failed), ("429 Too Many Requests", AttemptStatus.throttled)],
)
def test_what_one_protocols_provider_refuses_anothers_answers(
    house: LocalBursar,
    house_key: str,
    call_in_house: CallOf,
    provider: Any,
    price_of: PriceOf,
    target: str,
    status: str,
    first: AttemptStatus,
    stream: bool,
) -> None:
    head = f"HTTP/1.1 {status}\r\nretry-after-ms: 1\r\ncontent-length: {len(ERROR)}\r\n\r\n"
    provider.answers["gpt-4.1"] = [head.encode() + ERROR]
    response = ask(house, house_key, f"falls-back-to-{target}", stream=stream)
    assert response.status_code == 200, response.text
    assert response.headers["x-bursar-model"] == f"{target}/{MODELS[target]}"
    text, reason, usage = answered(response, stream=stream)
    assert (len(text) > 20, reason, usage["completion_tokens"]) == (True, "stop", 12)
    call = call_in_house(response)
    failed, made = json.loads(call["attempts"])
    assert [(each[0], each[1], each[2], each[11]) for each in (failed, made)] == [
        ("scripted", "gpt-4.1", first, 0),
        (target, MODELS[target], AttemptStatus.ok, call["cost_nano"]),
    ]
    assert (call["status"], call["usage_source"]) == (CallStatus.ok, UsageSource.provider)
    assert (call["provider"], call["served_model"]) == (target, MODELS[target])
    assert usage["prompt_tokens"] == call["input_tokens"] > 0
    cost_nano = price_of(MODELS[target], Usage(call["input_tokens"], output_tokens=12))
    assert call["cost_nano"] == cost_nano
    assert call["price_id"].startswith(price_name(MODELS[target]))
    assert nano_to_usd(cost_nano) in (response.text if stream else response.headers["x-bursar-cost-usd"])


def price_name(model: str) -> str:
    price = load().find_any(model)
    return f"{price.provider}/{price.model}"


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_cannot_be_reached_costs_nothing_and_another_protocols_answers(
    house: LocalBursar, house_key: str, call_in_house: CallOf, stream: bool
) -> None:
    response = ask(house, house_key, "falls-back-from-the-dead-to-claude", stream=stream)
    assert response.headers["x-bursar-model"] == "claude/claude-haiku-4-5"
    assert answered(response, stream=stream)[1] == "stop"
    call = call_in_house(response)
    attempts = json.loads(call["attempts"])
    assert [(each[0], each[2]) for each in attempts[-1:]] == [("claude", AttemptStatus.ok)]
    assert {(each[0], each[2], each[11]) for each in attempts[:-1]} == {("dead", AttemptStatus.unreachable, 0)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_has_it_and_says_nothing_may_bill_it_so_nobody_else_is_asked(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any, stream: bool
) -> None:
    provider.answers["gpt-4.1"] = []  # takes the request and says nothing
    response = ask(house, house_key, "falls-back-to-claude", stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
    call = call_in_house(response)
    assert (call["status"], call["usage_source"]) == (CallStatus.indeterminate, UsageSource.held)
    assert call["cost_nano"] == call["held_nano"] > 0


def test_the_books_balance_after_all_of_it(house: LocalBursar) -> None:
    assert house.audit().findings == []
