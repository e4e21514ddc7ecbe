"""A model that asks for what was left out of a tool's result gets it within the same call, unseen by its client."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from bursar.core.records import AttemptStatus, CallStatus
from tests.asking import Answer, fetch
from tests.gateway.conftest import Row, ScriptedProvider, find_call

CONFIG = """
[gateway]
output_cap = 200

[compress]
bytes_min = 2_000
holdout_percent = 0

[providers.chat]
kind = "openai"
base_url = "{scripted}"
prices = "openai"

[providers.messages]
kind = "anthropic"
base_url = "{scripted}"
prices = "anthropic"

[models.chat]
targets = ["chat/gpt-4.1"]
compress = {{ ratio = 4, read_more = true }}

[models.messages]
targets = ["messages/claude-haiku-4-5"]
compress = {{ ratio = 4, read_more = true }}

[models.foreign]
targets = ["messages/claude-haiku-4-5", "chat/gpt-4.1"]
compress = {{ ratio = 4, read_more = true }}
"""
GPT, CLAUDE = "gpt-4.1", "claude-haiku-4-5"
TOWNS = "\n\n".join(
    f"Town{n} lies on the river Flow{n} and has {n * 37} people. Its mayor is Person{n}, who was a baker."
    for n in range(80)
)
QUESTION = "Who is the mayor of Town77?"


def chat_body(**fields: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "towns", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": TOWNS},
    ]
    tools = [{"type": "function", "function": {"name": "towns", "parameters": {"type": "object"}}}]
    return {"model": "chat", "messages": messages, "tools": tools, **fields}


def messages_body(**fields: Any) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "towns", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": TOWNS}]},
    ]
    tools = [{"name": "towns", "input_schema": {"type": "object"}}]
    return {"model": "messages", "max_tokens": 100, "messages": messages, "tools": tools, **fields}


def chat_says(*calls: tuple[str, Any], text: str | None = None) -> bytes:
    """Answer as a chat completion of 1,000 tokens in and 20 out, with calls of tools."""
    made = [
        {"id": f"r{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text} | ({"tool_calls": made} if made else {})
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if made else "stop"}
    usage = {"prompt_tokens": 1_000, "completion_tokens": 20, "total_tokens": 1_020}
    return json.dumps({"id": "1", "model": GPT, "choices": [choice], "usage": usage}).encode()


def message_says(*calls: tuple[str, Any], text: str = "Hm.") -> bytes:
    made = [{"type": "tool_use", "id": f"r{n}", "name": name, "input": given} for n, (name, given) in enumerate(calls)]
    content = [{"type": "text", "text": text}, *made]
    usage = {"input_tokens": 1_000, "output_tokens": 20}
    why = "tool_use" if made else "end_turn"
    answer = {"id": "1", "type": "message", "role": "assistant", "model": CLAUDE, "content": content}
    return json.dumps(answer | {"stop_reason": why, "usage": usage}).encode()


READ = ("bursar_read", {"result": "c1"})


@pytest.fixture(scope="module")
def reading(provider: ScriptedProvider) -> Iterator[LocalBursar]:
    local = LocalBursar(CONFIG.format(scripted=provider.url))
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def secret(reading: LocalBursar) -> str:
    return reading.create_key("reader", "100.00")


def post(local: LocalBursar, secret: str, body: dict[str, Any], **headers: str) -> Answer:
    path = "/v1/messages" if "max_tokens" in body else "/v1/chat/completions"
    named = {"authorization": f"Bearer {secret}", "content_type": "application/json"} | headers
    return fetch(local, "POST", path, json.dumps(body).encode(), **named)


def row_of(local: LocalBursar, answer: Answer) -> Row:
    return find_call(local, answer.headers["x-bursar-call-id"])


def asked_of(provider: ScriptedProvider, last: int) -> list[Any]:
    """Return the bodies of the last requests."""
    return [json.loads(each.partition(b"\r\n\r\n")[2]) for each in provider.requests[-last:]]


def test_a_chat_is_asked_again_with_the_whole_result(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say_in_turn(GPT, chat_says(READ), chat_says(text="Person77"))
    answer = post(reading, secret, chat_body())
    assert answer.json()["choices"][0]["message"] == {"role": "assistant", "content": "Person77"}
    first, second = asked_of(provider, 2)
    assert first["tools"][0] == chat_body()["tools"][0]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["towns", "bursar_read"]
    shortened = first["messages"][2]["content"]
    assert shortened.endswith('\n[Shortened. bursar_read with result "c1" gives the whole.]')
    assert "Person77" in shortened
    assert len(shortened) < len(TOWNS) / 3
    assert second["messages"][:3] == first["messages"]
    *_, said, told = second["messages"]
    assert said["tool_calls"][0]["function"]["name"] == "bursar_read"
    assert told == {"role": "tool", "tool_call_id": "r0", "content": TOWNS}
    row = row_of(reading, answer)
    attempts = json.loads(row["attempts"])
    assert len(attempts) == 2
    assert (row["input_tokens"], row["output_tokens"], row["status"]) == (2_000, 40, CallStatus.ok)
    assert row["cost_nano"] == usd_to_nano(answer.headers["x-bursar-cost-usd"]) == 2 * (2_000_000 + 160_000)
    assert row["overage_nano"] == 0
    assert row["counterfactual_nano"] - row["cost_nano"] == usd_to_nano(answer.headers["x-bursar-saved-usd"])


def test_a_message_is_asked_again_with_the_whole_result(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say_in_turn(CLAUDE, message_says(READ), message_says(text="Person77"))
    answer = post(reading, secret, messages_body())
    assert answer.json()["content"] == [{"type": "text", "text": "Person77"}]
    first, second = asked_of(provider, 2)
    assert [tool["name"] for tool in first["tools"]] == ["towns", "bursar_read"]
    assert second["messages"][:3] == first["messages"]
    said, told = second["messages"][3:]
    assert said["content"][1]["name"] == "bursar_read"
    assert told["content"] == [{"type": "tool_result", "tool_use_id": "r0", "content": TOWNS}]
    assert len(json.loads(row_of(reading, answer)["attempts"])) == 2


def test_a_result_that_is_none_is_told_to_be_none(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say_in_turn(GPT, chat_says(("bursar_read", {"result": "c9"})), chat_says(("bursar_read", [])), chat_says())
    assert post(reading, secret, chat_body()).status == 200
    told = [body["messages"][-1]["content"] for body in asked_of(provider, 2)]
    assert told == ["There is no result 'c9'.", "There is no result ''."]


@pytest.mark.parametrize(("model", "says"), [(GPT, chat_says), (CLAUDE, message_says)], ids=["chat", "messages"])
def test_a_model_that_never_stops_reading_is_stopped(
    reading: LocalBursar, secret: str, provider: ScriptedProvider, model: str, says: Any
) -> None:
    provider.say_in_turn(model, *(says(READ) for _ in range(9)))
    answer = post(reading, secret, chat_body() if model is GPT else messages_body())
    assert len(provider.turns.pop(model)) == 5
    assert [b"bursar_read" in json.dumps(body["tools"]).encode() for body in asked_of(provider, 4)] == [True] * 3 + [
        False
    ]
    if model is GPT:  # it said nothing besides
        assert (answer.status, answer.json()["error"]["code"]) == (502, "no_answer_but_reads")
        return
    assert b"bursar_read" not in answer.body
    assert answer.json()["stop_reason"] == "end_turn"
    assert len(json.loads(row_of(reading, answer)["attempts"])) == 4


@pytest.mark.parametrize(("model", "says"), [(GPT, chat_says), (CLAUDE, message_says)], ids=["chat", "messages"])
def test_calls_of_the_clients_own_tools_go_to_the_client(
    reading: LocalBursar, secret: str, provider: ScriptedProvider, model: str, says: Any
) -> None:
    provider.say_in_turn(model, says(READ, ("towns", {"again": True})))
    answer = post(reading, secret, chat_body() if model is GPT else messages_body())
    assert b"bursar_read" not in answer.body
    told = answer.json()
    if model is GPT:
        assert [each["function"]["name"] for each in told["choices"][0]["message"]["tool_calls"]] == ["towns"]
        assert told["choices"][0]["finish_reason"] == "tool_calls"
    else:
        assert [each.get("name") for each in told["content"]] == [None, "towns"]
        assert told["stop_reason"] == "tool_use"
    assert row_of(reading, answer)["attempts"] is None


@pytest.mark.parametrize(
    "fields",
    [{"stream": True}, {"tool_choice": "none"}, {"n": 2}, {"tools": []}, {"model": "foreign"}],
    ids=["stream", "no tools", "two answers", "none given", "another protocol"],
)
def test_what_cannot_be_gone_on_with_offers_nothing(
    reading: LocalBursar, secret: str, provider: ScriptedProvider, fields: dict[str, Any]
) -> None:
    provider.turns.clear()
    provider.say(GPT, "200 OK", chat_says(text="Person77"))
    provider.say(CLAUDE, "200 OK", message_says(text="Person77"))
    post(reading, secret, chat_body(**fields))
    (sent,) = provider.requests[-1:]
    assert b"bursar_read" not in sent
    assert b"Person77" in sent
    assert len(sent) < len(TOWNS) / 2


def held_for(local: LocalBursar, secret: str, provider: ScriptedProvider, *answers: bytes, **headers: str) -> int:
    """Return what a call that is answered so comes to hold."""
    provider.say_in_turn(GPT, *answers)
    return row_of(local, post(local, secret, chat_body(), **headers))["held_nano"]


def test_one_ask_more_is_held_for_before_reading_is_offered(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    one = held_for(reading, secret, provider, chat_says(text="Hm."), x_bursar_compress="4")
    two = held_for(reading, secret, provider, chat_says(text="Hm."))
    assert two > 2 * one + len(TOWNS) // 4 * 2_000  # the whole result at 2 USD a million, at least
    read = held_for(reading, secret, provider, chat_says(READ), chat_says(text="Hm."))
    assert read > two


def test_a_budget_for_one_ask_is_offered_nothing_to_read(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    two = held_for(reading, secret, provider, chat_says(text="Hm."))
    limit = f"{two * 0.6 / 1e9:.9f}"
    poor = reading.create_key("poor reader", limit)
    for who, headers in ((poor, {}), (secret, {"x_bursar_max_cost_usd": limit})):
        provider.say_in_turn(GPT, chat_says(text="Person77"))
        answer = post(reading, who, chat_body(), **headers)
        assert answer.json()["choices"][0]["message"]["content"] == "Person77"
        (sent,) = asked_of(provider, 1)
        assert sent["tools"] == chat_body()["tools"]
        shortened = sent["messages"][2]["content"]
        assert "Person77" in shortened
        assert len(shortened) < len(TOWNS) / 3
        assert "bursar_read" not in shortened
        row = row_of(reading, answer)
        assert row["held_nano"] < two * 0.6
        assert json.loads(row["lever_notes"]) == [
            "the rest of results is not offered: the budget has no room for one more ask"
        ]


def test_the_last_ask_there_is_room_for_offers_no_more(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    two = held_for(reading, secret, provider, chat_says(text="Hm."))
    poor = reading.create_key("reads once", f"{two / 1e9:.9f}")
    provider.say_in_turn(GPT, chat_says(READ), chat_says(text="Person77"))
    answer = post(reading, poor, chat_body())
    assert answer.json()["choices"][0]["message"]["content"] == "Person77"
    offered = [b"bursar_read" in json.dumps(body["tools"]).encode() for body in asked_of(provider, 2)]
    assert offered == [True, False]
    row = row_of(reading, answer)
    assert (len(json.loads(row["attempts"])), row["overage_nano"]) == (2, 0)
    assert row["cost_nano"] == 2 * 2_160_000
    assert row["held_nano"] <= two


def test_a_model_that_reads_more_at_once_than_is_held_for_is_told_so(
    reading: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    def body() -> dict[str, Any]:
        asked = chat_body()
        asked["messages"][1]["tool_calls"] += [
            {"id": f"c{n}", "type": "function", "function": {"name": "towns", "arguments": "{}"}} for n in range(2, 9)
        ]
        asked["messages"] += [
            {"role": "tool", "tool_call_id": f"c{n}", "content": TOWNS.replace("Town", f"City{n}x")}
            for n in range(2, 9)
        ]
        return asked

    provider.say_in_turn(GPT, chat_says(text="Hm."))
    two = row_of(reading, post(reading, secret, body()))["held_nano"]
    poor = reading.create_key("reads all", f"{two / 1e9:.9f}")
    provider.say_in_turn(GPT, chat_says(*(("bursar_read", {"result": f"c{n}"}) for n in range(1, 9))))
    answer = post(reading, poor, body())
    assert (answer.status, answer.json()["error"]["code"]) == (402, "no_room_to_read")
    row = row_of(reading, answer)
    made, skipped = json.loads(row["attempts"])
    assert (skipped[2], made[2]) == (AttemptStatus.skipped, AttemptStatus.ok)
    assert (row["cost_nano"], row["overage_nano"]) == (2_160_000, 0)


def test_a_gateway_killed_between_two_asks_leaves_both_in_the_books(provider: ScriptedProvider) -> None:
    local = LocalBursar(CONFIG.format(scripted=provider.url))
    local.start()
    try:
        secret = local.create_key("killed reader", "100.00")
        provider.say_in_turn(GPT, chat_says(READ))
        hangs = provider.answers[GPT] = []
        before = len(provider.requests)
        asking = threading.Thread(target=_ask_in_vain, args=(local, secret), daemon=True)
        asking.start()
        _wait_for(lambda: len(provider.requests) >= before + 2)
        assert hangs == []
        local.kill("worker")
        asking.join(30)
        rows: list[Row] = []
        _wait_for(lambda: rows.extend(local.query("select * from calls")) or bool(rows))
        attempts = json.loads(rows[0]["attempts"])
        assert [each[2] for each in attempts] == [AttemptStatus.ok, AttemptStatus.lost]
        assert rows[0]["status"] == CallStatus.indeterminate
        assert rows[0]["cost_nano"] == rows[0]["held_nano"] > 2_160_000
        assert local.audit().findings == []
    finally:
        local.stop()
        local.remove()


def _ask_in_vain(local: LocalBursar, secret: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        post(local, secret, chat_body())


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
