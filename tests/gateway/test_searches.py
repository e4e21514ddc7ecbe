"""Searches of the web are charged as often as the provider searched, not as often as it was allowed to."""

import json
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.usage import Usage
from bursar.wires.sse import event_bytes

CLAUDE, GPT = "claude-haiku-4-5", "gpt-4o-mini-search-preview"
ACTIONS = ("search", "open_page", "search", "find_in_page")
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
MESSAGES = [{"role": "user", "content": "what is new?"}]


@pytest.mark.parametrize(
    ("report", "searches"),
    [
        ({}, 0),
        ({"server_tool_use": None}, 0),
        ({"server_tool_use": {"web_search_requests": 0}}, 0),
        ({"server_tool_use": {"web_search_requests": 2}}, 2),
    ],
)
def test_claude_says_how_often_it_searched(
    house: LocalBursar,
    house_key: str,
    call_in_house: Any,
    price_of: Any,
    provider: Any,
    report: dict[str, Any],
    searches: int,
) -> None:
    usage = {"input_tokens": 9, "output_tokens": 3} | report
    provider.say(CLAUDE, "200 OK", json.dumps({"model": CLAUDE, "content": [], "usage": usage}).encode())
    body = {"model": f"scripted-claude/{CLAUDE}", "max_tokens": 50, "messages": MESSAGES, "tools": [SEARCH]}
    call = call_in_house(httpx.post(house.url + "/v1/messages", json=body, headers={"x-api-key": house_key}))
    other = {"web_searches": searches} if searches else {}
    assert call["cost_nano"] == price_of(CLAUDE, Usage(9, output_tokens=3, other=other))
    assert call["held_nano"] > call["cost_nano"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("report", "searches"), [({}, 2), ({"tool_usage": {"web_search": {"num_requests": 3}}}, 3)])
def test_responses_are_charged_each_search_they_tell_of(
    house: LocalBursar,
    house_key: str,
    call_in_house: Any,
    price_of: Any,
    provider: Any,
    stream: bool,
    report: dict[str, Any],
    searches: int,
) -> None:
    items = [{"type": "web_search_call", "id": f"ws_{n}", "action": {"type": kind}} for n, kind in enumerate(ACTIONS)]
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    answer = {"id": "resp_1", "model": "gpt-4o", "status": "completed", "output": items, "usage": usage} | report
    body, kind = json.dumps(answer).encode(), "application/json"
    if stream:
        body, kind = event_bytes(b'{"type":"response.completed","response":' + body + b"}"), "text/event-stream"
    provider.say("gpt-4o", "200 OK", body, kind)
    asked = {"model": "scripted/gpt-4o", "max_output_tokens": 50, "input": "what is new?", "stream": stream}
    headers = {"authorization": f"Bearer {house_key}"}
    response = httpx.post(
        house.url + "/v1/responses", json=asked | {"tools": [{"type": "web_search"}]}, headers=headers
    )
    call = call_in_house(response)
    assert call["cost_nano"] == price_of("gpt-4o", Usage(9, output_tokens=3, other={"web_searches": searches}))
    assert call["held_nano"] > call["cost_nano"]


def test_a_response_that_failed_is_charged_what_it_reports_and_noted(
    house: LocalBursar, house_key: str, call_in_house: Any, price_of: Any, provider: Any
) -> None:
    answer = {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "canary"}, "output": []}
    headers = {"authorization": f"Bearer {house_key}"}
    asked = {"model": "scripted/gpt-4.1", "max_output_tokens": 50, "input": "hi"}
    provider.say("gpt-4.1", "200 OK", json.dumps(answer | {"usage": {"input_tokens": 9, "output_tokens": 3}}).encode())
    call = call_in_house(httpx.post(house.url + "/v1/responses", json=asked, headers=headers))
    assert call["cost_nano"] == price_of("gpt-4.1", Usage(9, output_tokens=3))
    assert "failed" in call["error"]
    assert "canary" not in call["error"]


def test_a_search_model_that_does_not_say_is_charged_the_one_search_it_makes(
    house: LocalBursar, house_key: str, call_in_house: Any, price_of: Any, provider: Any
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    choices = [{"index": 0, "message": {"role": "assistant", "content": "news"}, "finish_reason": "stop"}]
    provider.say(GPT, "200 OK", json.dumps({"model": GPT, "choices": choices, "usage": usage}).encode())
    body = {"model": f"scripted/{GPT}", "max_tokens": 50, "messages": MESSAGES, "web_search_options": {}}
    headers = {"authorization": f"Bearer {house_key}"}
    call = call_in_house(httpx.post(house.url + "/v1/chat/completions", json=body, headers=headers))
    assert call["cost_nano"] == price_of(GPT, Usage(9, output_tokens=3, other={"web_searches": 1}))
