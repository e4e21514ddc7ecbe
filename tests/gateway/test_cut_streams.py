"""A provider's stream that closes without its end is cut, whoever asked: an error event, and what came is charged."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bursar.core.records import CallStatus, UsageSource

CallOf = Callable[[httpx.Response], dict[str, Any]]
SSE = "text/event-stream"
TEXT = "Twelve tokens or so of an answer that breaks off here,"


def events(*chunks: dict[str, Any]) -> bytes:
    """Write the events of a stream, named where the protocol names them."""
    names = (f"event: {chunk['type']}\n" if "type" in chunk else "" for chunk in chunks)
    return "".join(f"{name}data: {json.dumps(chunk)}\n\n" for name, chunk in zip(names, chunks, strict=True)).encode()


CHAT = (
    {"id": "c1", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"role": "assistant", "content": TEXT}}]},
)
CLAUDE_USAGE = {"input_tokens": 9, "output_tokens": 1}
CLAUDE: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {"id": "m1", "model": "claude-haiku-4-5", "role": "assistant", "content": [], "usage": CLAUDE_USAGE},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
)
GEMINI = ({"candidates": [{"content": {"role": "model", "parts": [{"text": TEXT}]}, "index": 0}]},)
ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
RESPONSES: tuple[dict[str, Any], ...] = (
    {
        "type": "response.created",
        "response": {"id": "resp_1", "model": "gpt-4o-mini", "status": "in_progress", "output": []},
    },
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": TEXT},
)
UPSTREAMS = {
    "chat": ("scripted/gpt-4o-mini", CHAT),
    "responses": ("scripted/gpt-4o-mini", RESPONSES),
    "claude": ("scripted-claude/claude-haiku-4-5", CLAUDE),
    "gemini": ("scripted-gemini/gemini-2.5-flash", GEMINI),
}
# What ends an answer in each protocol: none of it may come.
ENDS = {
    "chat": ("[DONE]", '"finish_reason":"'),
    "responses": ("response.completed", "response.incomplete"),
    "claude": ("message_stop", "message_delta"),
    "gemini": ('"finishReason"',),
}
PAIRS = [
    *((client, upstream) for client in ENDS for upstream in ("claude", "gemini")),
    *((client, "chat") for client in ("chat", "claude", "gemini")),
    ("responses", "responses"),
]


def ask(house: LocalBursar, key: str, client: str, model: str) -> httpx.Response:
    said = [{"role": "user", "content": "hi"}]
    path, body = {
        "chat": ("/v1/chat/completions", {"messages": said, "max_tokens": 100}),
        "responses": ("/v1/responses", {"input": said, "max_output_tokens": 100}),
        "claude": ("/v1/messages", {"messages": said, "max_tokens": 100}),
        "gemini": (
            f"/v1beta/models/{model}:streamGenerateContent?alt=sse",
            {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 100}},
        ),
    }[client]
    more = {} if client == "gemini" else {"model": model, "stream": True}
    return httpx.post(house.url + path, json=body | more, headers={"x-api-key": key}, timeout=30)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_stream_that_closes_before_its_end_is_an_error_to_every_client_and_charged_for_what_came(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any, client: str, upstream: str
) -> None:
    model, chunks = UPSTREAMS[upstream]
    provider.say(model.partition("/")[2], "200 OK", events(*chunks), SSE)
    response = ask(house, house_key, client, model)
    assert response.status_code == 200
    assert TEXT in response.text
    assert "upstream_cut" in response.text
    assert "ended early: it has no end" in response.text
    assert [end for end in ENDS[client] if end in response.text] == []
    call = call_in_house(response)
    assert (call["status"], call["usage_source"]) == (CallStatus.cut, UsageSource.counted)
    assert len(TEXT) // 6 < call["output_tokens"] < len(TEXT)
    assert 0 < call["cost_nano"] < call["held_nano"]


LAST: dict[str, dict[str, Any]] = {
    "chat": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "."}]}, "finishReason": "STOP", "index": 0}]},
    "claude": {"type": "message_stop"},
}


@pytest.mark.parametrize("upstream", LAST)
def test_an_end_without_its_blank_line_is_an_end_and_half_of_one_is_none(
    house: LocalBursar, house_key: str, call_in_house: CallOf, provider: Any, upstream: str
) -> None:
    model, chunks = UPSTREAMS[upstream]
    whole = events(*chunks, LAST[upstream])
    provider.say(model.partition("/")[2], "200 OK", whole.rstrip(b"\n"), SSE)
    response = ask(house, house_key, upstream, model)
    assert response.content.startswith(whole)
    assert "upstream_cut" not in response.text
    assert call_in_house(response)["status"] == CallStatus.ok
    provider.say(model.partition("/")[2], "200 OK", whole[:-9], SSE)
    response = ask(house, house_key, upstream, model)
    assert response.content.startswith(
        events(*chunks) + (b"event: error" if upstream == "claude" else b'data: {"error"')
    )
    assert call_in_house(response)["status"] == CallStatus.cut
