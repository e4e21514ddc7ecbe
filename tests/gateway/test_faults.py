"""Every fault a provider can have: what the client is told, what it is charged, what the books say."""

from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.records import CallStatus, UsageSource
from bursar.tokens.estimate import tokens_from_bytes

PROTOCOLS = {
    "openai": ("/v1/chat/completions", "remote/gpt-4o-mini"),
    "anthropic": ("/v1/messages", "claude/claude-haiku-4-5"),
    "responses": ("/v1/responses", "remote/gpt-4o-mini"),
}
RESPONSES = {"messages": "input", "max_tokens": "max_output_tokens"}


def ask(house: LocalBursar, key: str, protocol: str, text: str, *, stream: bool, **fields: Any) -> httpx.Response:
    path, model = PROTOCOLS[protocol]
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 500, "stream": stream}
    asked = body | fields
    if protocol == "responses":
        asked = {RESPONSES.get(name, name): value for name, value in asked.items()}
    return httpx.post(house.url + path, json=asked, headers={"authorization": f"Bearer {key}"}, timeout=30)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_providers_refusal_reaches_the_client_and_costs_nothing(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str, stream: bool, status: int
) -> None:
    response = ask(house, house_key, protocol, f"[[fault={status}]]", stream=stream)
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith("the sandbox was told")
    if status == 429:
        assert response.headers["retry-after"] == "1"
    call = call_in_house(response)
    assert (call["status"], call["http_status"], call["cost_nano"]) == (CallStatus.failed, status, 0)
    assert (call["usage_source"], call["input_tokens"], call["output_tokens"]) == (UsageSource.none, 0, 0)
    assert usd_to_nano(response.headers["x-bursar-cost-usd"]) == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_provider_that_never_answers_is_given_up_and_its_bill_is_not_known(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str, stream: bool
) -> None:
    response = ask(house, house_key, protocol, "[[fault=stall]]", stream=stream)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_timeout"
    call = call_in_house(response)
    assert (call["status"], call["usage_source"]) == (CallStatus.indeterminate, UsageSource.held)
    assert call["cost_nano"] == call["held_nano"] > 0
    assert usd_to_nano(response.headers["x-bursar-cost-usd"]) == call["cost_nano"]
    assert call["error"] == "no answer in time"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("fault", "message"), [("cut", "the connection ended within the answer"), ("malformed", "not a")]
)
def test_an_answer_that_cannot_be_read_is_charged_its_whole_hold(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str, fault: str, message: str
) -> None:
    response = ask(house, house_key, protocol, f"[[output=50 fault={fault}]]", stream=False)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_failed"
    call = call_in_house(response)
    assert (call["status"], call["usage_source"]) == (CallStatus.indeterminate, UsageSource.held)
    assert call["cost_nano"] == call["held_nano"] > 0
    assert message in call["error"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_that_is_cut_is_charged_for_what_came_and_says_so_to_the_client(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str
) -> None:
    text = "[[output=60 fault=cut after=10]]"
    response = ask(house, house_key, protocol, text, stream=True)
    assert response.status_code == 200
    assert "upstream_cut" in response.text
    assert "data: [DONE]" not in response.text
    assert "message_stop" not in response.text
    assert "response.completed" not in response.text
    call = call_in_house(response)
    assert (call["status"], call["usage_source"]) == (CallStatus.cut, UsageSource.counted)
    assert call["output_tokens"] == 10
    assert 0 < call["cost_nano"] < call["held_nano"]
    assert f"bursar cost_usd={nano_to_usd(call['cost_nano'])} " in response.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_that_goes_silent_midway_is_ended_and_charged_for_what_came(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str
) -> None:
    response = ask(house, house_key, protocol, "[[output=3 tpot_ms=4000 ttft_ms=-4000]]", stream=True)
    call = call_in_house(response)
    assert (call["status"], call["error"]) == (CallStatus.cut, "the answer stalled")
    assert call["output_tokens"] == 1
    assert "the answer stalled" in response.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_malformed_event_passes_and_the_providers_usage_still_counts(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str
) -> None:
    response = ask(house, house_key, protocol, "[[output=20 fault=malformed]]", stream=True)
    assert 'data: {"choices": [{"del' in response.text
    call = call_in_house(response)
    assert (call["status"], call["usage_source"], call["output_tokens"]) == (CallStatus.ok, UsageSource.provider, 20)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_usage_that_is_not_reported_is_counted_and_marked_as_counted(
    house: LocalBursar, house_key: str, call_in_house: Any, protocol: str, stream: bool
) -> None:
    text = "[[output=40 fault=silent]] Say nothing of it."
    response = ask(house, house_key, protocol, text, stream=stream)
    call = call_in_house(response)
    assert call["status"] == CallStatus.ok
    assert call["output_tokens"] == 40
    if stream and protocol == "anthropic":  # its first event has told of the prompt
        assert call["input_tokens"] == len(text.encode()) // 4 + 1
    else:
        assert (call["usage_source"], call["input_tokens"]) == (UsageSource.counted, tokens_from_bytes(len(text)))
    assert call["cost_nano"] > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_provider_that_overruns_the_cap_is_paid_and_the_excess_is_seen(
    house: LocalBursar, house_key: str, call_in_house: Any, price_of: Any, protocol: str
) -> None:
    response = ask(house, house_key, protocol, "[[output=900 fault=overrun]]", stream=False, max_tokens=10)
    call = call_in_house(response)
    assert call["output_tokens"] == 900
    assert call["cost_nano"] > call["held_nano"]
    assert usd_to_nano(response.headers["x-bursar-cost-usd"]) == call["cost_nano"]


def test_overage_is_booked_when_neither_hold_nor_budget_covers_the_bill(house: LocalBursar, call_in_house: Any) -> None:
    key = house.create_key("small purse", "0.0001")
    response = ask(house, key, "openai", "[[output=900 fault=overrun]]", stream=False, max_tokens=10)
    call = call_in_house(response)
    assert call["overage_nano"] == call["cost_nano"] - 100_000 > 0
    refused = ask(house, key, "openai", "hi", stream=False, max_tokens=10)
    assert refused.status_code == 402


@pytest.mark.parametrize(
    ("name", "status"), [("falls-back-from-the-dead", "dead"), ("falls-back-from-the-failing", "scripted")]
)
def test_a_call_falls_back_to_its_next_target_and_records_both_attempts(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: Any, name: str, status: str
) -> None:
    provider.say("gpt-4.1-mini", "500 Internal Server Error", b'{"error":{"message":"down"}}')
    response = ask(house, house_key, "openai", "[[output=5]] hello", stream=False, model=name)
    assert response.status_code == 200
    assert response.headers["x-bursar-model"].startswith("sandbox/")
    call = call_in_house(response)
    assert (call["provider"], call["status"], call["output_tokens"]) == ("sandbox", CallStatus.ok, 5)
    assert status in call["attempts"]
    assert usd_to_nano(response.headers["x-bursar-cost-usd"]) == call["cost_nano"]


def test_a_stream_falls_back_before_its_first_byte(house: LocalBursar, house_key: str, call_in_house: Any) -> None:
    response = ask(house, house_key, "openai", "[[output=5]] hi", stream=True, model="falls-back-from-the-dead")
    assert response.text.count("data: [DONE]") == 1
    assert call_in_house(response)["provider"] == "sandbox"


def test_when_no_target_can_be_reached_nothing_is_charged(
    house: LocalBursar, house_key: str, call_in_house: Any
) -> None:
    response = ask(house, house_key, "openai", "hi", stream=False, model="nobody")
    assert response.status_code == 502
    assert usd_to_nano(response.headers["x-bursar-cost-usd"]) == 0
    call = call_in_house(response)
    assert (call["status"], call["cost_nano"], call["usage_source"]) == (CallStatus.failed, 0, UsageSource.none)


def test_a_model_of_ones_own_is_charged_at_ones_own_price(
    house: LocalBursar, house_key: str, call_in_house: Any
) -> None:
    call = call_in_house(ask(house, house_key, "openai", "[[output=7]] four", stream=False, model="own-price"))
    assert call["cost_nano"] == call["input_tokens"] * 1_000 + 7 * 2_000


OK_ANSWER = (
    b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],'
)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 502, "upstream_failed"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 502, "upstream_failed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull", 502, "upstream_failed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", 502, "upstream_failed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 502, "upstream_failed"),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"model":"\xff\xff"}', 502, "upstream_failed"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n", 502, "upstream_failed"),
        (b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n", 502, "upstream_failed"),
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}", 502, "upstream_auth"),
    ],
)
def test_a_provider_that_speaks_nonsense_is_answered_for_by_a_502(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: Any, answer: bytes, status: int, code: str
) -> None:
    provider.answers["gpt-4o-mini"] = [answer, b""]
    response = ask(house, house_key, "openai", "hi", stream=False, model="scripted/gpt-4o-mini")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert call_in_house(response)["status"] in (CallStatus.indeterminate, CallStatus.failed)


@pytest.mark.parametrize(
    "usage",
    [
        b'{"prompt_tokens":99999999999999999999999,"completion_tokens":1}',
        b'{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}',
        b'{"prompt_tokens":3,"completion_tokens":1,"cost":1e300}',
        b'{"prompt_tokens":3,"completion_tokens":1,"a\\u0000b":7,"big":999999999999999999999999}',
        b'{"prompt_tokens":-3,"completion_tokens":1}',
        b'"free of charge"',
        b"[1, 2, 3, 4]",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_usage_made_to_break_the_books_breaks_nothing(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: Any, usage: bytes, stream: bool
) -> None:
    body = OK_ANSWER + b'"usage":' + usage + b"}"
    if stream:
        chunk = b'data: {"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\n'
        body = chunk + b'data: {"choices":[],"usage":' + usage + b"}\n\ndata: [DONE]\n\n"
    provider.say("gpt-4o-mini", "200 OK", body, "text/event-stream" if stream else "application/json")
    response = ask(house, house_key, "openai", "hi", stream=stream, model="scripted/gpt-4o-mini")
    assert response.status_code == 200
    call = call_in_house(response)
    assert call["status"] == CallStatus.ok
    assert 0 < call["cost_nano"] <= call["held_nano"]


def test_the_providers_own_headers_stay_behind_but_for_those_a_client_acts_on(
    house: LocalBursar, house_key: str, provider: Any
) -> None:
    body = OK_ANSWER + b'"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    provider.answers["gpt-4o-mini"] = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: session=canary\r\nx-request-id: req_1\r\n"
        b"x-ratelimit-remaining-requests: 9\r\nopenai-organization: canary\r\nserver: canary\r\n"
        b"content-length: %d\r\n\r\n" % len(body) + body
    ]
    response = ask(house, house_key, "openai", "hi", stream=False, model="scripted/gpt-4o-mini")
    assert "canary" not in str(response.headers)
    assert response.headers["x-request-id"] == "req_1"
    assert response.headers["x-ratelimit-remaining-requests"] == "9"
    assert response.content == body


def test_the_books_balance_after_every_fault(house: LocalBursar) -> None:
    assert house.audit().findings == []
