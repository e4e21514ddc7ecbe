"""The simulated provider over ASGI: honest usage, its own bill, latencies and faults."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from inline_snapshot import snapshot

from bursar.sandbox.app import MODELS, Cut, Sandbox
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.sse import EventSplitter
from bursar.wires.wire import Answer, Wire

PATHS: dict[str, tuple[str, Wire]] = {
    "openai": ("/v1/chat/completions", OPENAI_CHAT),
    "anthropic": ("/v1/messages", ANTHROPIC_MESSAGES),
}


@pytest.fixture
async def provider() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Sandbox())
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        yield client


async def ask(provider: httpx.AsyncClient, protocol: str, text: str, **fields: Any) -> httpx.Response:
    body = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": text}]} | fields
    return await provider.post(PATHS[protocol][0], json=body)


def read_stream(wire: Wire, body: bytes) -> Answer:
    reader, splitter = wire.reader(), EventSplitter()
    for event in splitter.feed(body):
        reader.see(event)
    assert splitter.rest == b""
    return reader.answer()


async def bill_of(provider: httpx.AsyncClient) -> Any:
    return (await provider.get("/sandbox/bill")).json()


@pytest.mark.parametrize("protocol", PATHS)
async def test_an_answer_is_the_same_whole_and_in_a_stream_but_for_its_name(
    provider: httpx.AsyncClient, protocol: str
) -> None:
    wire = PATHS[protocol][1]
    fields: Any = {"stream_options": {"include_usage": True}} if protocol == "openai" else {}
    text = "[[output=30 reasoning=5]] the same question"
    whole = wire.answer((await ask(provider, protocol, text)).content)
    streamed = read_stream(wire, (await ask(provider, protocol, text, stream=True, **fields)).content)
    assert whole.usage == streamed.usage
    assert whole.usage is not None
    assert (whole.usage.output_tokens, whole.usage.reasoning_tokens) == (30, 5)
    assert whole.usage.input_tokens == -(-len(text) // 4)


@pytest.mark.parametrize("protocol", PATHS)
async def test_the_text_is_as_long_as_its_tokens_say(provider: httpx.AsyncClient, protocol: str) -> None:
    answer = (await ask(provider, protocol, "[[output=12]] say it")).json()
    text = answer["choices"][0]["message"]["content"] if protocol == "openai" else answer["content"][0]["text"]
    assert text == snapshot("in- pen owe pen in- due the tax tax the due in- ")
    assert len(text) == 48


@pytest.mark.parametrize("stream", [False, True])
async def test_every_choice_is_worded_and_billed(provider: httpx.AsyncClient, stream: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    response = await ask(provider, "openai", "[[output=4 reasoning=2]] three times", n=3, **options)
    if stream:
        chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
        deltas = [choice for chunk in chunks for choice in chunk["choices"]]
        texts = ["".join(each["delta"].get("content", "") for each in deltas if each["index"] == n) for n in range(3)]
        assert [each["index"] for each in deltas if each["finish_reason"]] == [0, 1, 2]
    else:
        texts = [choice["message"]["content"] for choice in response.json()["choices"]]
    assert len(texts) == 3
    assert {len(text) for text in texts} == {16}
    assert (await bill_of(provider))["usage"]["m"] == {"input_tokens": 9, "output_tokens": 12, "reasoning_tokens": 6}


async def test_without_being_asked_a_chat_stream_tells_no_usage(provider: httpx.AsyncClient) -> None:
    response = await ask(provider, "openai", "[[output=3]]", stream=True)
    assert "usage" not in response.text
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("protocol", PATHS)
async def test_the_bill_is_what_all_answers_said(provider: httpx.AsyncClient, protocol: str) -> None:
    wire, reported = PATHS[protocol][1], []
    for number in range(5):
        usage = wire.answer((await ask(provider, protocol, f"question {number}", model="billed")).content).usage
        assert usage is not None
        reported.append(usage)
    bill = await bill_of(provider)
    assert bill["requests"] == 5
    assert bill["usage"]["billed"]["input_tokens"] == sum(usage.input_tokens for usage in reported)
    assert bill["usage"]["billed"]["output_tokens"] == sum(usage.output_tokens for usage in reported)


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize(("fault", "status"), [("429", 429), ("500", 500), ("503", 503)])
async def test_a_refused_request_is_told_in_the_protocols_shape_and_not_billed(
    provider: httpx.AsyncClient, protocol: str, fault: str, status: int
) -> None:
    response = await ask(provider, protocol, f"[[fault={fault}]]")
    assert response.status_code == status
    assert "error" in response.json()
    assert (response.json().get("type") == "error") is (protocol == "anthropic")
    assert ("retry-after" in response.headers) is (status == 429)
    assert (await bill_of(provider))["usage"] == {}


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_cut_stream_is_billed_for_what_was_made(provider: httpx.AsyncClient, protocol: str) -> None:
    with pytest.raises(Cut):
        await ask(provider, protocol, "[[output=40 fault=cut after=7]]", stream=True)
    assert (await bill_of(provider))["usage"]["m"]["output_tokens"] == 8


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_malformed_answer_is_half_of_one(provider: httpx.AsyncClient, protocol: str) -> None:
    response = await ask(provider, protocol, "[[output=40 fault=malformed]]")
    with pytest.raises(json.JSONDecodeError):
        response.json()


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_silent_provider_tells_no_usage_but_bills(provider: httpx.AsyncClient, protocol: str) -> None:
    response = await ask(provider, protocol, "[[output=9 fault=silent]]")
    assert "usage" not in response.json()
    assert (await bill_of(provider))["usage"]["m"]["output_tokens"] == 9


async def test_a_stalled_request_is_never_answered(provider: httpx.AsyncClient) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(provider, "openai", "[[fault=stall]]"), 0.05)


async def test_latencies_are_kept_from_below_and_a_request_may_set_its_own() -> None:
    loop = asyncio.get_running_loop()
    transport = httpx.ASGITransport(Sandbox(ttft_ms=20_000.0, tpot_ms=1_000.0))
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as provider:
        for stream in (False, True):
            began = loop.time()
            await ask(provider, "openai", "[[output=20 ttft_ms=20 tpot_ms=2]]", stream=stream)
            assert 0.058 <= loop.time() - began < 20.0


async def test_a_prompt_seen_before_is_read_from_the_cache(provider: httpx.AsyncClient) -> None:
    text = "remember this. " * 500
    usages = [OPENAI_CHAT.answer((await ask(provider, "openai", text)).content).usage for _ in range(2)]
    assert [usage.cache_read_tokens for usage in usages if usage] == [0, 1_792]


async def test_images_are_counted_alike_in_both_protocols(provider: httpx.AsyncClient) -> None:
    text = {"type": "text", "text": "[[output=2]]"}
    chat: Any = [text, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    block: Any = [text, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]
    one = OPENAI_CHAT.answer((await ask(provider, "openai", chat)).content).usage
    two = ANTHROPIC_MESSAGES.answer((await ask(provider, "anthropic", block)).content).usage
    assert one is not None
    assert one == two
    assert one.input_tokens == 3 + 765


@pytest.mark.parametrize(
    ("choice", "called"),
    [(None, False), ("auto", False), ("none", False), ("required", True), ({"function": {"name": "f"}}, True)],
)
async def test_a_tool_is_called_when_the_request_demands_it(
    provider: httpx.AsyncClient, choice: Any, called: bool
) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    response = await ask(provider, "openai", "hi", tools=tools, tool_choice=choice)
    (answer,) = response.json()["choices"]
    assert (answer["finish_reason"] == "tool_calls") is called
    assert bool(answer["message"].get("tool_calls")) is called


async def test_models_are_listed_and_everything_else_is_not_found(provider: httpx.AsyncClient) -> None:
    listed = (await provider.get("/v1/models")).json()["data"]
    assert tuple(model["id"] for model in listed) == MODELS
    assert (await provider.get("/v1/nothing")).status_code == 404
    assert (await provider.get("/v1/chat/completions")).status_code == 404
    assert (await provider.post("/v1/chat/completions", content=b"{")).status_code == 400
