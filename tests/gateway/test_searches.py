"""Searches of the web are charged as often as the provider searched, not as often as it was allowed to."""

import json
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.usage import Usage

CLAUDE, GPT = "claude-haiku-4-5", "gpt-4o-mini-search-preview"
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
