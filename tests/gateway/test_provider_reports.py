"""What providers report in all their ways: read once, by its last word, and never lost."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.records import CallStatus, UsageSource
from bursar.core.usage import Usage

PriceOf = Callable[[str, Usage], int]
CallOf = Callable[[httpx.Response], dict[str, Any]]
GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
USAGE = {"prompt_tokens": 10, "completion_tokens": 3}
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def ask(
    house: LocalBursar, key: str, *, stream: bool = False, model: str = f"scripted/{GPT}", **fields: Any
) -> httpx.Response:
    path = "/v1/messages" if "claude" in model else "/v1/chat/completions"
    body = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    return httpx.post(house.url + path, json=body | fields, headers={"x-api-key": key}, timeout=30)


def answer(usage: Any, text: str = "ok") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"model": GPT, "choices": [choice], "usage": usage}).encode()


def events(*chunks: Any) -> bytes:
    return b"".join(
        b"data: " + (chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()) + b"\n\n" for chunk in chunks
    )


def delta(text: str, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]} | fields


def test_counts_nobody_knows_and_a_cost_of_its_own_are_kept_and_not_priced(
    house: LocalBursar, house_key: str, call_in_house: CallOf, price_of: PriceOf, provider: Any
) -> None:
    provider.say(
        GPT, "200 OK", answer(USAGE | {"dream_tokens": 70, "cost": 0.00123, "prompt_tokens_details": {"odd": 2}})
    )
    call = call_in_house(ask(house, house_key))
    assert json.loads(call["unknown_usage"]) == {"dream_tokens": 70, "prompt_tokens_details.odd": 2}
    assert call["reported_cost_nano"] == 1_230_000
    assert call["cost_nano"] == price_of(GPT, Usage(10, output_tokens=3))


@pytest.mark.parametrize("stream", [False, True])
def test_zero_is_not_missing(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any, stream: bool
) -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0}
    if stream:
        provider.answers[GPT] = [
            SSE_HEAD,
            events(delta("hello there", "stop"), {"choices": [], "usage": nothing}, b"[DONE]"),
            b"",
        ]
    else:
        provider.say(GPT, "200 OK", answer(nothing))
    call = call_in_house(ask(house, house_key, stream=stream))
    assert (call["usage_source"], call["input_tokens"], call["output_tokens"]) == (UsageSource.provider, 0, 0)
    assert call["cost_nano"] == 0


def test_cumulative_reports_of_a_stream_are_never_summed(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any
) -> None:
    chunks = [delta("x", usage=USAGE | {"completion_tokens": count}) for count in (1, 2, 3)]
    provider.answers[GPT] = [SSE_HEAD, events(*chunks, delta("", "stop"), b"[DONE]"), b""]
    call = call_in_house(ask(house, house_key, stream=True))
    assert (call["input_tokens"], call["output_tokens"]) == (10, 3)


def test_cache_counts_that_come_only_at_a_messages_end_are_priced_once(
    house: LocalBursar, house_key: str, call_in_house: CallOf, price_of: PriceOf, provider: Any
) -> None:
    start = {"type": "message_start", "message": {"model": CLAUDE, "usage": {"input_tokens": 9, "output_tokens": 1}}}
    late = {"cache_read_input_tokens": 4_000, "cache_creation_input_tokens": 2_000, "output_tokens": 30}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": late}
    provider.answers[CLAUDE] = [SSE_HEAD, events(start, end, {"type": "message_stop"}), b""]
    call = call_in_house(ask(house, house_key, stream=True, model=f"scripted-claude/{CLAUDE}"))
    usage = Usage(9, 4_000, 2_000, 0, 30)
    assert (call["usage_source"], call["output_tokens"]) == (UsageSource.provider, 30)
    assert call["cost_nano"] == price_of(CLAUDE, usage)


def test_a_stream_cut_into_single_bytes_reaches_the_client_whole(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any
) -> None:
    body = events(delta("äöü €"), delta("", "stop"), {"choices": [], "usage": USAGE}, b"[DONE]")
    provider.answers[GPT] = [SSE_HEAD, *(body[at : at + 1] for at in range(len(body))), b""]
    response = ask(house, house_key, stream=True, stream_options={"include_usage": True})
    assert response.content.startswith(body)
    assert call_in_house(response)["output_tokens"] == 3


def test_after_the_first_byte_of_a_stream_no_other_target_is_tried(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any
) -> None:
    provider.answers["gpt-4.1-mini"] = [
        SSE_HEAD.replace(b"connection: close", b"content-length: 9999"),
        events(delta("begun ")),
        b"",
    ]
    response = ask(house, house_key, stream=True, model="falls-back-from-the-failing")
    assert response.text.count("begun") == 1
    assert "upstream_cut" in response.text
    call = call_in_house(response)
    assert (call["provider"], call["status"], call["attempts"]) == ("scripted", CallStatus.cut, None)


@pytest.mark.parametrize("done", [True, False])
def test_a_stream_that_ends_without_its_end_mark_is_whole_only_if_it_said_that_it_finished(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any, done: bool
) -> None:
    provider.answers[GPT] = [SSE_HEAD, events(delta("four"), delta("more", "stop" if done else None)), b""]
    call = call_in_house(ask(house, house_key, stream=True))
    assert call["status"] == (CallStatus.ok if done else CallStatus.cut)
    assert (call["usage_source"], call["output_tokens"]) == (UsageSource.counted, 2)


def test_a_stream_answered_with_json_is_passed_on_and_priced(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any
) -> None:
    provider.say(GPT, "200 OK", answer(USAGE))
    response = ask(house, house_key, stream=True)
    assert response.json()["usage"] == USAGE
    assert call_in_house(response)["output_tokens"] == 3


BODY = answer(USAGE)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY), BODY],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)],
        [b"HTTP/1.1 200 OK\r\n\r\n" + BODY, b""],
        [b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY, b""],
        [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY, b""],
        [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY + b"bytes nobody asked for"],
    ],
)
def test_an_answer_is_read_however_it_is_framed_and_the_next_call_is_not_disturbed(
    house: LocalBursar, house_key: str, provider: Any, pieces: list[bytes]
) -> None:
    provider.answers[GPT] = pieces
    for _ in range(3):
        response = ask(house, house_key)
        assert (response.status_code, response.json()["usage"]) == (200, USAGE)


def test_a_provider_that_closes_its_idle_connections_fails_no_call(
    house: LocalBursar, house_key: str, provider: Any
) -> None:
    provider.answers[GPT] = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY, b""]
    before = len(provider.requests)
    assert [ask(house, house_key).status_code for _ in range(20)] == [200] * 20
    assert len(provider.requests) == before + 20  # none was sent twice


def test_the_body_reaches_the_provider_as_it_came_but_for_what_was_decided(
    house: LocalBursar, house_key: str, provider: Any
) -> None:
    provider.say(GPT, "200 OK", answer(USAGE))
    odd = {"temperature": 0.30000000000000004, "seed": 2**60, "metadata": {"ü": [1.0, None]}, "stop": ["\u2028"]}
    ask(house, house_key, **odd)
    sent = json.loads(provider.requests[-1].partition(b"\r\n\r\n")[2])
    assert {name: sent[name] for name in odd} == odd
    assert sent["model"] == GPT


def test_the_cap_is_added_where_the_client_gave_none(house: LocalBursar, house_key: str, provider: Any) -> None:
    provider.say(GPT, "200 OK", answer(USAGE))
    ask(house, house_key, max_tokens=None)
    sent = json.loads(provider.requests[-1].partition(b"\r\n\r\n")[2])
    assert sent["max_tokens"] == 1_000


def test_the_longer_price_holds_for_the_whole_request_above_its_bound(
    house: LocalBursar, house_key: str, call_in_house: CallOf, price_of: PriceOf, provider: Any
) -> None:
    model = "claude-sonnet-4-5"
    costs = []
    for tokens in (200_000, 200_001):
        report = {"input_tokens": tokens, "output_tokens": 10}
        body = json.dumps({"model": model, "content": [], "usage": report}).encode()
        provider.say(model, "200 OK", body)
        call = call_in_house(ask(house, house_key, model=f"scripted-claude/{model}"))
        assert call["cost_nano"] == price_of(model, Usage(tokens, output_tokens=10))
        costs.append(call["cost_nano"])
    assert costs[1] > 1.9 * costs[0]


def test_the_books_balance_after_every_report(house: LocalBursar) -> None:
    assert house.audit().findings == []


@pytest.mark.parametrize(
    ("answered", "recorded"),
    [("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"), ("gpt-4o-mini-2024-07-18", None), (GPT, None)],
)
def test_an_answer_by_another_model_is_recorded_and_counted_and_one_by_a_snapshot_is_not(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any, answered: str, recorded: str | None
) -> None:
    before = others_counted(house)
    body = json.loads(answer(USAGE)) | {"model": answered}
    provider.say(GPT, "200 OK", json.dumps(body).encode())
    call = call_in_house(ask(house, house_key))
    assert call["answered_model"] == recorded
    assert others_counted(house) - before == (recorded is not None)
    own_price = call_in_house(ask(house, house_key, model="own-price"))
    assert own_price["answered_model"] is None  # the operator has said what it costs, whatever it calls itself


def others_counted(house: LocalBursar) -> float:
    lines = httpx.get(f"{house.url}/metrics").text.splitlines()
    return sum(
        float(line.split()[1]) for line in lines if line.startswith('bursar_other_models_total{provider="scripted"}')
    )
