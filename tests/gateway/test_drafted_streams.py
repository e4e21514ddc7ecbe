"""Streams of a cascade that are kept back until they are checked: shown as they came, or paid for and not shown."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from bench.harness import LocalBursar
from bursar.core.records import CallStatus, UsageSource
from bursar.gateway.draft import BYTES_MAX
from tests.asking import ask
from tests.gateway.conftest import ScriptedProvider
from tests.gateway.routed_house import call_of, wait_for, wait_ready

DRAFT, GRADER, LEAVING = "gpt-5-nano", "gpt-4.1-nano", "gpt-5-mini"
SORRY = "I'm sorry, I can't help with that."
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.fixture
def key(routed: LocalBursar) -> str:
    return routed.create_key(f"drafted {time.monotonic_ns()}", "10.00")


def chunk(model: str, **fields: Any) -> bytes:
    body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": []} | fields
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def told(model: str, text: str, finish: str = "stop") -> list[bytes]:
    """Return a stream of a text, word by word, for a hundred tokens in and ten out."""
    words = [chunk(model, choices=[{"index": 0, "delta": {"content": word}}]) for word in text.split(" ")]
    spaces = chunk(model, choices=[{"index": 0, "delta": {"content": " "}}])
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    ends = chunk(model, choices=[{"index": 0, "delta": {}, "finish_reason": finish}]), chunk(model, usage=usage)
    return [spaces.join(words), *ends, b"data: [DONE]\n\n"]


def say(provider: ScriptedProvider, model: str, events: list[bytes]) -> None:
    provider.say(model, "200 OK", b"".join(events), "text/event-stream")


def as_openai(routed: LocalBursar, key: str, route: str) -> str:
    client = openai.OpenAI(base_url=f"{routed.url}/v1", api_key=key, max_retries=0)
    messages: Any = [{"role": "user", "content": "[[output=10]] what is it?"}]
    with client.chat.completions.create(model=route, messages=messages, stream=True) as stream:
        return "".join(each.choices[0].delta.content or "" for each in stream if each.choices)


def as_anthropic(routed: LocalBursar, key: str, route: str) -> str:
    client = anthropic.Anthropic(base_url=routed.url, api_key=key, max_retries=0)
    messages: Any = [{"role": "user", "content": "[[output=10]] what is it?"}]
    with client.messages.stream(model=route, max_tokens=100, messages=messages) as stream:
        return "".join(stream.text_stream)


def as_gemini(routed: LocalBursar, key: str, route: str) -> str:
    with genai.Client(api_key=key, http_options={"base_url": routed.url}) as client:
        stream = client.models.generate_content_stream(model=route, contents="[[output=10]] what is it?")
        return "".join(each.text or "" for each in stream)


CLIENTS: dict[str, Callable[[LocalBursar, str, str], str]] = {
    "openai": as_openai,
    "anthropic": as_anthropic,
    "gemini": as_gemini,
}


def row_of(routed: LocalBursar, secret_or_name: str) -> dict[str, Any]:
    of_key = "select calls.* from calls join keys using (tenant, key_id) where name = $1"
    (row,) = wait_for(routed, of_key, secret_or_name)
    return row


def new_key(routed: LocalBursar, budget: str = "1.00") -> tuple[str, str]:
    name = f"drafted {time.monotonic_ns()}"
    return name, routed.create_key(name, budget)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_draft_that_passes_streams_to_every_client_and_costs_what_it_used(
    routed: LocalBursar, provider: ScriptedProvider, client: str
) -> None:
    say(provider, DRAFT, told(DRAFT, "It is forty-two."))
    name, secret = new_key(routed)
    assert CLIENTS[client](routed, secret, "drafted") == "It is forty-two."
    row = row_of(routed, name)
    assert (row["served_model"], row["attempts"], row["status"]) == (DRAFT, None, CallStatus.ok)
    assert (row["output_tokens"], row["usage_source"]) == (10, UsageSource.provider)
    assert row["cost_nano"] == 100 * 50 + 10 * 400  # gpt-5-nano's 0.05 and 0.40 USD a million


@pytest.mark.parametrize("client", CLIENTS)
def test_a_draft_that_fails_is_paid_for_and_never_shown(
    routed: LocalBursar, provider: ScriptedProvider, client: str
) -> None:
    say(provider, DRAFT, told(DRAFT, SORRY))
    name, secret = new_key(routed)
    shown = CLIENTS[client](routed, secret, "drafted")
    assert len(shown) == 40
    assert "sorry" not in shown
    row = row_of(routed, name)
    assert (row["served_model"], row["status"]) == ("gpt-4o", CallStatus.ok)
    first, last = json.loads(row["attempts"])
    assert (first[1], last[1]) == (DRAFT, "gpt-4o")
    assert "draft declined" in row["route"]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        pytest.param(told(DRAFT, "It is", "length"), "draft was cut off", id="cut off"),
        pytest.param(told(DRAFT, ""), "draft said nothing", id="empty"),
        pytest.param(told(DRAFT, "It is")[:1], "draft gave no answer", id="without an end"),
        pytest.param([b'data: {"error": {"message": "down"}}\n\n'], "draft gave no answer", id="failed"),
        pytest.param([b"data: no JSON\n\n", *told(DRAFT, "It is.")], "draft gave no answer", id="unreadable"),
        pytest.param(told(DRAFT, "long " * (BYTES_MAX // 150)), "draft gave no answer", id="too long"),
    ],
)
def test_whatever_cannot_be_found_good_is_answered_by_the_next(
    routed: LocalBursar, provider: ScriptedProvider, key: str, events: list[bytes], why: str
) -> None:
    say(provider, DRAFT, events)
    answer = ask(routed, key, "[[output=10]] what is it?", model="drafted", stream=True)
    assert answer.status == 200
    assert answer.headers["x-bursar-route"] == "cascaded; big"
    assert b"data: [DONE]" in answer.body
    call = call_of(routed, answer)
    assert why in call["route"]["why"]
    assert [each["model"] for each in call["attempts"]] == [DRAFT, "gpt-4o"]
    assert sum(Decimal(each["cost_usd"]) for each in call["attempts"]) == Decimal(call["cost_usd"])
    assert Decimal(call["cost_usd"]) <= Decimal(call["held_usd"])


def test_a_judge_reads_a_draft_before_its_client_does(
    routed: LocalBursar, provider: ScriptedProvider, key: str
) -> None:
    say(provider, DRAFT, told(DRAFT, "It is forty-two."))
    verdict = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 51}
    body = {"id": "x", "object": "chat.completion", "model": GRADER, "choices": [verdict], "usage": usage}
    provider.say(GRADER, "200 OK", json.dumps(body).encode())
    answer = ask(routed, key, "what is it?", model="drafted_and_judged", stream=True)
    assert b"forty-two" in answer.body
    assert [each["model"] for each in call_of(routed, answer)["attempts"]] == [DRAFT, GRADER]
    assert any(b"It is forty-two." in request and b"yes or no" in request for request in provider.requests)


def test_where_there_is_no_money_for_the_dear_model_the_draft_is_shown(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    say(provider, DRAFT, told(DRAFT, SORRY))
    _, poor = new_key(routed, "0.004")
    answer = ask(routed, poor, "[[output=10]] what is it?", model="drafted", stream=True, max_tokens=1_000)
    assert b"sorry" in answer.body
    assert b"data: [DONE]" in answer.body
    call = call_of(routed, answer)
    assert "the answer of draft stands" in call["route"]["why"]
    assert call["served_by"] == f"scripted/{DRAFT}"


def test_a_draft_that_was_cut_is_shown_as_cut_where_there_is_no_money_for_another(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    before = sum(DRAFT.encode() in request for request in provider.requests)
    provider.answers[DRAFT] = [HEAD + told(DRAFT, "It is")[0], b""]
    _, poor = new_key(routed, "0.004")
    answer = ask(routed, poor, "[[output=10]] what is it?", model="drafted", stream=True, max_tokens=1_000)
    assert b"upstream_cut" in answer.body
    assert b"[DONE]" not in answer.body
    call = call_of(routed, answer)
    assert (call["status"], call["overage_usd"]) == ("cut", "0.00")
    assert [each["status"] for each in call["attempts"]] == ["cut", "skipped"]
    assert sum(DRAFT.encode() in request for request in provider.requests) == before + 1  # it is not asked again


def test_a_draft_whose_client_leaves_ends_at_the_provider_and_is_charged_for_what_came(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    name, secret = new_key(routed)
    may_end = threading.Event()
    provider.answers[LEAVING] = _Held([HEAD + told(LEAVING, "It is forty-two.")[0], b""], may_end)
    body = json.dumps({"model": "left", "stream": True, "messages": [{"role": "user", "content": name}]})
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    caller = http.client.HTTPConnection("127.0.0.1", routed.port)
    caller.request("POST", "/v1/chat/completions", body, headers)
    deadline = time.monotonic() + 10
    while not any(name.encode() in request for request in provider.requests):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)  # the first words come
    caller.close()
    row = row_of(routed, name)
    may_end.set()
    assert (row["served_model"], row["attempts"], row["status"]) == (LEAVING, None, CallStatus.client_gone)
    assert row["usage_source"] == UsageSource.counted
    assert 0 < row["cost_nano"] < row["held_nano"]
    assert sum(name.encode() in request for request in provider.requests) == 1


class _Held(list[bytes]):
    """Be an answer that begins and does not end until it may."""

    def __init__(self, pieces: list[bytes], may_end: threading.Event) -> None:
        super().__init__(pieces)
        self._may_end = may_end

    def __iter__(self) -> Any:
        yield self[0]
        self._may_end.wait(30)
        yield from self[1:]


def test_a_crash_while_the_next_model_streams_settles_the_draft_and_its_hold(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    say(provider, DRAFT, told(DRAFT, SORRY))
    name, secret = new_key(routed)

    def call() -> None:
        try:
            ask(routed, secret, "[[fault=stall]] hi", model="drafted", stream=True, max_tokens=500)
        except OSError:
            return

    caller = threading.Thread(target=call)
    caller.start()
    began = "select 1 from transfers where kind = 2 and amount_nano > 4000000 and event_us > $1"
    wait_for(routed, began, time.time_ns() // 1_000 - 3_000_000)
    routed.kill("worker")
    caller.join()
    row = row_of(routed, name)
    first, last = json.loads(row["attempts"])
    assert (first[1], last[1]) == (DRAFT, "gpt-4o")
    assert row["cost_nano"] == row["held_nano"]
    wait_ready(routed)
    assert routed.audit().findings == []
