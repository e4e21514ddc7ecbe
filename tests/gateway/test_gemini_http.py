"""Gemini's protocol as it is on the wire: framings, keys, paths made to mislead, and what a provider gets to see."""

import json
import socket
import time
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from bursar.core.records import CallStatus, UsageSource
from bursar.core.usage import Usage
from tests.gateway.conftest import PROVIDER_SECRET, NewKey, ScriptedProvider, find_call

FLASH = "gemini-2.5-flash"
ASKED = {"contents": [{"role": "user", "parts": [{"text": "[[output=5]] Go."}]}]}
USED = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}


def post(
    local: LocalBursar, secret: str, method: str = "generateContent", model: str = FLASH, **options: Any
) -> httpx.Response:
    headers = {"x-goog-api-key": secret} | options.pop("headers", {})
    url = f"{local.url}/v1beta/models/{model}:{method}"
    return httpx.post(url, json=options.pop("json", ASKED), headers=headers, timeout=30, **options)


def said(text: str = "four", finish: str = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}} | ({"finishReason": finish} if finish else {})
    return {"candidates": [candidate], "usageMetadata": USED, "modelVersion": FLASH} | more


def events(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def test_without_alt_a_stream_is_one_json_array_and_charged_the_same(
    shared_bursar: LocalBursar, key: str, call_of: Any, price_of: Any
) -> None:
    answer = post(shared_bursar, key, "streamGenerateContent")
    assert answer.headers["content-type"] == "application/json"
    chunks = answer.json()
    assert len(chunks) == 6
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    call = call_of(answer.headers["x-bursar-call-id"])
    assert (call["stream"], call["output_tokens"]) == (True, 5)
    assert call["cost_nano"] == price_of(FLASH, Usage(call["input_tokens"], output_tokens=5))


def test_an_array_that_is_cut_ends_with_the_error_and_is_still_json(
    shared_bursar: LocalBursar, key: str, call_of: Any
) -> None:
    asked = {"contents": [{"parts": [{"text": "[[output=60 fault=cut after=10]]"}]}]}
    answer = post(shared_bursar, key, "streamGenerateContent", json=asked)
    *chunks, last = answer.json()
    assert last["error"]["details"][0]["reason"] == "upstream_cut"
    assert 9 <= len(chunks) <= 10
    assert call_of(answer.headers["x-bursar-call-id"])["status"] == CallStatus.cut


def test_events_pass_as_they_came_and_nothing_follows_the_last(shared_bursar: LocalBursar, key: str) -> None:
    answer = post(shared_bursar, key, "streamGenerateContent", params={"alt": "sse"})
    assert answer.headers["content-type"] == "text/event-stream"
    *pieces, last, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(piece.startswith("data: {") for piece in [*pieces, last])
    assert '"finishReason":"STOP"' in last
    assert "bursar" not in answer.text  # Google's client takes a comment for an error


@pytest.mark.parametrize("way", ["x-goog-api-key", "x-api-key", "authorization", "query"])
@pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models"])
def test_a_key_is_taken_wherever_clients_put_it(shared_bursar: LocalBursar, key: str, way: str, path: str) -> None:
    url = f"{shared_bursar.url}{path}/{FLASH}:"
    headers = {} if way == "query" else {way: f"Bearer {key}" if way == "authorization" else key}
    params = {"key": key} if way == "query" else {}
    for method in ("generateContent", "countTokens"):
        assert httpx.post(url + method, json=ASKED, headers=headers, params=params).status_code == 200
    large = ASKED | {"labels": {"text": "x" * 200_000}}
    assert httpx.post(url + "generateContent", json=large, headers=headers, params=params).status_code == 200
    listed = httpx.get(f"{shared_bursar.url}/v1beta/models", headers=headers, params=params)
    assert listed.json()["models"][0]["name"].startswith("models/")


def test_no_key_is_a_refusal_in_googles_shape(shared_bursar: LocalBursar) -> None:
    for path in (f"/v1beta/models/{FLASH}:generateContent", f"/v1beta/models/{FLASH}:countTokens"):
        error = httpx.post(shared_bursar.url + path, json=ASKED).json()["error"]
        assert (error["code"], error["details"][0]["reason"]) == (401, "missing_api_key")
    error = httpx.get(f"{shared_bursar.url}/v1beta/models").json()["error"]
    assert error["status"] == "UNAUTHENTICATED"


def test_either_spelling_is_served_and_capped(shared_bursar: LocalBursar, key: str, call_of: Any) -> None:
    asked = {
        "system_instruction": {"parts": {"text": "Be brief."}},
        "contents": {"parts": {"text": "[[output=50]] Long?"}},
        "generation_config": {"max_output_tokens": 7},
    }
    answer = post(shared_bursar, key, json=asked)
    assert answer.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"
    call = call_of(answer.headers["x-bursar-call-id"])
    assert (call["output_tokens"], call["system_bytes"]) == (7, 9)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v1beta/models/..%2f..%2fv1%2ffiles:generateContent", "model_not_found"),
        ("/v1beta/models/%2e%2e/x:generateContent", "model_not_found"),
        ("/v1beta/models/sandbox%2f:generateContent", "model_not_found"),
        ("/v1beta/models/:generateContent", "model_not_found"),
        ("/v1beta/models/a%3Fkey%3Db%23c:generateContent", "model_not_found"),
        ("/v1beta/models/%00:generateContent", "bad_request"),
        ("/v1beta/models/" + "m" * 257 + ":countTokens", "bad_request"),
        ("/v1beta/models/sandbox%2Fgemini-2.5-flash%0d%0ax-evil:%201:generateContent", "bad_request"),
        ("/v1beta/models/sandbox/gemini-9%3Fkey=x:generateContent", "unpriced"),
        (f"/v1beta/models/{FLASH}:predict", "no_route"),
        (f"/v1beta/models/{FLASH}:batchGenerateContent", "bad_request"),
        ("/v1beta/models/a%3Fkey%3Db:batchGenerateContent", "not_found"),
        (f"/v1beta/models/{FLASH}", "no_route"),
        (f"/v1beta/tunedModels/{FLASH}:generateContent", "no_route"),
        ("/v1beta/files", "no_route"),
        ("/v1beta/cachedContents", "no_route"),
    ],
)
def test_a_path_made_to_mislead_is_refused_in_googles_shape(
    shared_bursar: LocalBursar, key: str, path: str, reason: str
) -> None:
    with httpx.Client(base_url=shared_bursar.url, headers={"x-goog-api-key": key}) as client:
        error = client.post(httpx.URL(shared_bursar.url).copy_with(raw_path=path.encode()), json=ASKED).json()["error"]
    assert error["details"][0]["reason"] == reason


def test_a_provider_sees_its_own_key_and_nothing_of_the_clients(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: ScriptedProvider
) -> None:
    provider.say("gemini-2.0-flash", "200 OK", json.dumps(said()).encode())
    answer = post(
        house,
        "",
        model="scripted-gemini/gemini-2.0-flash",
        params={"key": house_key, "alt": "json"},
        headers={"x-goog-api-client": "canary", "cookie": "canary", "x-forwarded-for": "canary"},
    )
    assert answer.status_code == 200
    head, body = provider.requests[-1].split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /v1/models/gemini-2.0-flash:generateContent HTTP/1.1\r\n")
    assert f"x-goog-api-key: {PROVIDER_SECRET}".encode() in head
    assert b"canary-" in head  # the provider's own secret is one
    assert head.count(b"canary") == 1
    assert house_key.encode() not in head + body
    assert json.loads(body) == ASKED | {"generationConfig": {"maxOutputTokens": 1_000}}
    call = call_in_house(answer)
    assert (call["cost_nano"], call["usage_source"]) == (
        usd_to_nano(answer.headers["x-bursar-cost-usd"]),
        UsageSource.provider,
    )


def test_a_stream_is_asked_for_as_events_whatever_the_client_asked_for(
    house: LocalBursar, house_key: str, provider: ScriptedProvider
) -> None:
    provider.say("gemini-2.0-flash", "200 OK", events(said(finish=""), said("!")), "text/event-stream")
    chunks = post(house, house_key, "streamGenerateContent", "scripted-gemini/gemini-2.0-flash").json()
    assert [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks] == ["four", "!"]
    assert provider.requests[-1].startswith(
        b"POST /v1/models/gemini-2.0-flash:streamGenerateContent?alt=sse HTTP/1.1\r\n"
    )


@pytest.mark.parametrize("fault", [[b""], []], ids=["it hangs up", "it goes silent"])
def test_a_fault_after_the_answers_end_takes_nothing_from_it(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: ScriptedProvider, fault: list[bytes]
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n"
    provider.answers["gemini-2.0-flash"] = [head, events(said(finish="")), events(said("!")), *fault]
    answer = post(house, house_key, "streamGenerateContent", "scripted-gemini/gemini-2.0-flash", params={"alt": "sse"})
    assert answer.text.count("data: ") == 2
    assert "error" not in answer.text
    call = call_in_house(answer)
    assert (call["status"], call["usage_source"], call["output_tokens"]) == (CallStatus.ok, UsageSource.provider, 5)


def test_a_stream_that_just_stops_is_counted_by_us(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: ScriptedProvider
) -> None:
    provider.say("gemini-2.0-flash", "200 OK", events(said("x" * 400, finish="")), "text/event-stream")
    answer = post(house, house_key, "streamGenerateContent", "scripted-gemini/gemini-2.0-flash")
    call = call_in_house(answer)
    assert (call["status"], call["usage_source"], call["output_tokens"]) == (CallStatus.cut, UsageSource.counted, 100)


def test_what_was_searched_is_charged_as_google_bills_it(
    house: LocalBursar, house_key: str, call_in_house: Any, price_of: Any, provider: ScriptedProvider
) -> None:
    answer = said()
    answer["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b", ""]}
    asked = ASKED | {"tools": [{"googleSearch": {}}], "generationConfig": {"maxOutputTokens": 10}}
    for model, searches in (("gemini-2.0-flash", 1), ("gemini-3-flash-preview", 2)):
        provider.say(model, "200 OK", json.dumps(answer | {"modelVersion": model}).encode())
        call = call_in_house(post(house, house_key, model=f"scripted-gemini/{model}", json=asked))
        assert call["cost_nano"] == price_of(model, Usage(9, output_tokens=5, other={"web_searches": searches}))
        assert call["held_nano"] > call["cost_nano"]


def test_an_answer_that_is_cut_before_it_says_what_it_searched_is_charged_one_search(
    house: LocalBursar, house_key: str, call_in_house: Any, price_of: Any, provider: ScriptedProvider
) -> None:
    provider.say("gemini-2.0-flash", "200 OK", events(said("four", finish="")), "text/event-stream")
    asked = ASKED | {"tools": [{"googleSearch": {}}]}
    answer = post(house, house_key, "streamGenerateContent", "scripted-gemini/gemini-2.0-flash", json=asked)
    call = call_in_house(answer)
    usage = Usage(call["input_tokens"], output_tokens=call["output_tokens"], other={"web_searches": 1})
    assert (call["status"], call["cost_nano"]) == (CallStatus.cut, price_of("gemini-2.0-flash", usage))


def test_a_providers_error_reaches_the_client_as_it_is_and_costs_nothing(
    house: LocalBursar, house_key: str, call_in_house: Any, provider: ScriptedProvider
) -> None:
    error = b'[{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}]'
    provider.say("gemini-2.0-flash", "429 Too Many Requests", error)
    answer = post(house, house_key, "streamGenerateContent", "scripted-gemini/gemini-2.0-flash")
    assert (answer.status_code, answer.content) == (429, error)
    assert call_in_house(answer)["cost_nano"] == 0


def test_a_client_that_hangs_up_is_charged_for_the_whole_answer(
    shared_bursar: LocalBursar, new_key: NewKey, price_of: Any
) -> None:
    secret, deadline = new_key("1.00"), time.monotonic() + 20
    body = json.dumps({"contents": [{"parts": [{"text": "[[output=20 tpot_ms=5]] leaving"}]}]}).encode()
    head = f"POST /v1beta/models/{FLASH}:streamGenerateContent?alt=sse&key={secret} HTTP/1.1\r\nhost: x\r\n"
    with socket.create_connection(("127.0.0.1", shared_bursar.port)) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        name = client.recv(4_000).decode().partition("x-bursar-call-id: ")[2].partition("\r\n")[0]
    call = find_call(shared_bursar, name, deadline - time.monotonic())
    assert (call["status"], call["output_tokens"]) == (CallStatus.client_gone, 20)
    assert call["cost_nano"] == price_of(FLASH, Usage(call["input_tokens"], output_tokens=20))


def test_an_idempotency_key_means_one_model_and_one_method(shared_bursar: LocalBursar, key: str) -> None:
    headers = {"idempotency-key": "once"}
    first = post(shared_bursar, key, headers=headers)
    again = post(shared_bursar, key, headers=headers)
    assert again.headers["x-bursar-replayed"] == "true"
    assert again.content == first.content
    for method, model in (("generateContent", "gemini-2.5-pro"), ("streamGenerateContent", FLASH)):
        assert post(shared_bursar, key, method, model, headers=headers).status_code == 409


def test_messages_are_counted_as_they_will_be_charged(anthropic_client: Any, call_of: Any) -> None:
    asked: Any = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "[[output=3]] Count me."}]}
    counted = anthropic_client.messages.count_tokens(system="Be brief.", **asked)
    answer = anthropic_client.messages.create(system="Be brief.", max_tokens=9, **asked)
    assert counted.input_tokens == answer.usage.input_tokens > 0


def test_a_count_goes_to_a_provider_with_its_own_key_and_under_its_own_name(
    house: LocalBursar, house_key: str, provider: ScriptedProvider
) -> None:
    provider.say("gemini-2.0-flash", "200 OK", b'{"totalTokens": 77}')
    inner = ASKED | {"model": "models/whatever"}
    for asked, body in (
        (ASKED, ASKED),
        ({"generateContentRequest": inner}, {"generateContentRequest": ASKED | {"model": "models/gemini-2.0-flash"}}),
    ):
        answer = post(house, house_key, "countTokens", "scripted-gemini/gemini-2.0-flash", json=asked)
        assert (answer.json(), "x-bursar-estimated" in answer.headers) == ({"totalTokens": 77}, False)
        head, _, got = provider.requests[-1].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/models/gemini-2.0-flash:countTokens HTTP/1.1\r\n")
        assert f"x-goog-api-key: {PROVIDER_SECRET}".encode() in head
        assert house_key.encode() not in head
        assert json.loads(got) == body


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "429 Too Many Requests"])
def test_where_a_provider_does_not_count_we_estimate_and_say_so(
    house: LocalBursar, house_key: str, provider: ScriptedProvider, status: str
) -> None:
    provider.say("gemini-2.0-flash", status, b'{"error": {"code": 1}}')
    answer = post(house, house_key, "countTokens", "scripted-gemini/gemini-2.0-flash")
    assert (answer.status_code, answer.headers["x-bursar-estimated"]) == (200, "true")
    assert answer.json() == {"totalTokens": 4}  # 16 bytes of text


@pytest.mark.parametrize(
    ("path", "model", "answer"),
    [
        ("/v1/messages/count_tokens", "remote/gpt-4o-mini", {"input_tokens": 2}),
        ("/v1beta/models/claude/claude-haiku-4-5:countTokens", "", {"totalTokens": 2}),
        ("/v1beta/models/dead/gpt-4o-mini:countTokens", "", {"totalTokens": 2}),
    ],
)
def test_where_a_provider_speaks_another_protocol_we_estimate_and_say_so(
    house: LocalBursar, house_key: str, path: str, model: str, answer: dict[str, int]
) -> None:
    asked: dict[str, Any] = {"contents": [{"parts": [{"text": "8 bytes."}]}]}
    if model:
        asked = {"model": model, "messages": [{"role": "user", "content": "8 bytes."}]}
    counted = httpx.post(house.url + path, json=asked, headers={"x-api-key": house_key})
    assert (counted.json(), counted.headers["x-bursar-estimated"]) == (answer, "true")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (b'{"messages":[]}', 400, "bad_request"),
        (b'{"model":5}', 400, "bad_request"),
        (b'{"model":"claude-9","messages":[]}', 404, "model_not_found"),
        (b'{"model":"gpt-4o","messages":[]}', 403, "out_of_scope"),
        (b'{"model":"claude-haiku-4-5","messages":7}', 400, "bad_request"),
    ],
)
def test_a_count_that_cannot_be_made_is_refused_in_anthropics_shape(
    shared_bursar: LocalBursar, new_key: NewKey, body: bytes, status: int, code: str
) -> None:
    secret = new_key(models=("claude-haiku-4-5", "claude-9"))
    url = shared_bursar.url + "/v1/messages/count_tokens"
    answer = httpx.post(url, content=body, headers={"x-api-key": secret})
    assert (answer.status_code, answer.json()["error"].get("code")) == (status, code)
    assert answer.json()["type"] == "error"
