"""The official `anthropic` package, unchanged, against the gateway: what it sends works, what it reads is exact."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import anthropic
import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.usage import Usage

CallOf = Callable[[str], dict[str, Any]]
PriceOf = Callable[[str, Usage], int]
HAIKU = "claude-haiku-4-5"
WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def test_an_answer_tells_its_cost_and_the_books_agree(
    anthropic_client: anthropic.Anthropic, call_of: CallOf, price_of: PriceOf
) -> None:
    raw = anthropic_client.messages.with_raw_response.create(
        model=HAIKU, max_tokens=100, system="Be brief.", messages=user("[[output=30]] How much is owed?")
    )
    message = raw.parse()
    assert (message.type, message.stop_reason) == ("message", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == snapshot((10, 30))
    cost_nano = usd_to_nano(raw.headers["x-bursar-cost-usd"])
    assert cost_nano == price_of(HAIKU, Usage(message.usage.input_tokens, output_tokens=30))
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["cost_nano"], call["protocol"], call["status"]) == (cost_nano, 2, 1)
    assert (call["system_bytes"], call["user_bytes"]) == (len("Be brief."), len("[[output=30]] How much is owed?"))
    assert raw.headers["x-bursar-model"] == f"sandbox/{HAIKU}"


def test_the_asynchronous_client_is_served_many_at_once(shared_bursar: LocalBursar, key: str) -> None:
    async def work() -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=shared_bursar.url, api_key=key, max_retries=0) as client:
            create = client.messages.with_raw_response.create
            answers = await asyncio.gather(
                *(create(model=HAIKU, max_tokens=50, messages=user(f"question {number}")) for number in range(50))
            )
            return [answer.headers["x-bursar-call-id"] for answer in answers]

    assert len(set(asyncio.run(work()))) == 50


def test_a_stream_is_read_event_by_event_and_charged_once(
    anthropic_client: anthropic.Anthropic, call_of: CallOf, price_of: PriceOf
) -> None:
    with anthropic_client.messages.stream(
        model=HAIKU, max_tokens=100, messages=user("[[output=25]] Tell me.")
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        name = stream.response.headers["x-bursar-call-id"]
    assert len(text) == 25 * 4
    assert message.usage.output_tokens == 25  # the last of the stream, not its sum with the first
    call = call_of(name)
    assert (call["stream"], call["usage_source"], call["output_tokens"]) == (True, 1, 25)
    assert call["cost_nano"] == price_of(HAIKU, Usage(message.usage.input_tokens, output_tokens=25))


async def test_the_asynchronous_client_streams(shared_bursar: LocalBursar, key: str) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=shared_bursar.url, api_key=key, max_retries=0) as client,
        client.messages.stream(model=HAIKU, max_tokens=50, messages=user("[[output=7]] Go.")) as stream,
    ):
        pieces = [piece async for piece in stream.text_stream]
    assert len("".join(pieces)) == 28


def test_a_stream_ends_with_a_comment_that_tells_its_cost(
    anthropic_client: anthropic.Anthropic, call_of: CallOf
) -> None:
    with anthropic_client.messages.with_streaming_response.create(
        model=HAIKU, max_tokens=50, messages=user("[[output=5]] Go."), stream=True
    ) as response:
        body, name = response.read().decode(), response.headers["x-bursar-call-id"]
    *_, stop, comment, rest = body.split("\n\n")
    assert stop == 'event: message_stop\ndata: {"type":"message_stop"}'
    assert (comment, rest) == (f": bursar cost_usd={nano_to_usd(call_of(name)['cost_nano'])} call={name}", "")


def test_tools_are_called_and_their_results_answered(anthropic_client: anthropic.Anthropic, call_of: CallOf) -> None:
    asked = user("Weather? [[tool=get_weather]]")
    message = anthropic_client.messages.create(model=HAIKU, max_tokens=100, messages=asked, tools=[WEATHER])
    use: Any = message.content[0]
    assert (message.stop_reason, use.type, use.name, use.input) == (
        "tool_use",
        "tool_use",
        "get_weather",
        {"place": "Paris"},
    )
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "9 °C"}
    turn: Any = [*asked, {"role": "assistant", "content": message.model_dump()["content"]}, *user([result])]
    raw = anthropic_client.messages.with_raw_response.create(
        model=HAIKU, max_tokens=100, messages=turn, tools=[WEATHER]
    )
    call = call_of(raw.headers["x-bursar-call-id"])
    assert call["retrieved_bytes"] == len('"9 °C"'.encode())
    assert call["tools_bytes"] > 0


def test_tool_calls_are_streamed(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model=HAIKU,
        max_tokens=100,
        messages=user("Weather?"),
        tools=[WEATHER],
        tool_choice={"type": "tool", "name": "get_weather"},
    ) as stream:
        message = stream.get_final_message()
    use: Any = message.content[0]
    assert (use.type, use.input, message.stop_reason) == ("tool_use", {"place": "Paris"}, "tool_use")


def test_images_are_paid_by_their_tokens_not_by_their_bytes(
    anthropic_client: anthropic.Anthropic, call_of: CallOf
) -> None:
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20_000)).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    raw = anthropic_client.messages.with_raw_response.create(
        model=HAIKU, max_tokens=20, messages=user([image, {"type": "text", "text": "[[output=3]] What is this?"}])
    )
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["input_tokens"], call["user_bytes"]) == snapshot((772, 26))


@pytest.mark.parametrize(("ttl", "leaf"), [("5m", "cache_write_5m_tokens"), ("1h", "cache_write_1h_tokens")])
def test_a_cache_is_written_at_its_lifetimes_price_and_read_at_its_own(
    anthropic_client: anthropic.Anthropic, call_of: CallOf, price_of: PriceOf, ttl: Any, leaf: str
) -> None:
    system: Any = [
        {"type": "text", "text": f"Rules for {ttl}. " * 500, "cache_control": {"type": "ephemeral", "ttl": ttl}}
    ]
    create = anthropic_client.messages.with_raw_response.create
    messages = user("[[output=4]] Cached?")
    first, second = (create(model=HAIKU, max_tokens=20, system=system, messages=messages) for _ in range(2))
    usage, again = first.parse().usage, second.parse().usage
    written = usage.cache_creation_input_tokens
    assert written
    assert (again.cache_read_input_tokens, again.cache_creation_input_tokens) == (written, 0)
    cold, warm = (call_of(raw.headers["x-bursar-call-id"]) for raw in (first, second))
    assert (cold[leaf], cold["cache_read_tokens"], warm[leaf], warm["cache_read_tokens"]) == (written, 0, 0, written)
    writes = Usage(usage.input_tokens, output_tokens=4, **{leaf: written})
    assert cold["cost_nano"] == price_of(HAIKU, writes)
    assert warm["cost_nano"] == price_of(HAIKU, Usage(again.input_tokens, written, output_tokens=4))
    plain = price_of(HAIKU, Usage(usage.input_tokens + written, output_tokens=4))
    assert warm["cost_nano"] < plain < cold["cost_nano"] <= cold["held_nano"]


def test_thinking_is_part_of_the_output_and_paid_once(
    anthropic_client: anthropic.Anthropic, call_of: CallOf, price_of: PriceOf
) -> None:
    raw = anthropic_client.messages.with_raw_response.create(
        model=HAIKU, max_tokens=200, messages=user("[[output=10 reasoning=50]] Think.")
    )
    usage = raw.parse().usage
    assert usage.output_tokens == 60
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["output_tokens"], call["reasoning_tokens"]) == (10, 50)
    assert call["cost_nano"] == price_of(HAIKU, Usage(usage.input_tokens, output_tokens=60))


def test_a_cap_ends_the_answer(anthropic_client: anthropic.Anthropic) -> None:
    message = anthropic_client.messages.create(model=HAIKU, max_tokens=6, messages=user("[[output=100]] Long?"))
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 6)


def test_models_are_listed_in_anthropics_shape(anthropic_client: anthropic.Anthropic) -> None:
    page = anthropic_client.models.list()
    assert HAIKU in [model.id for model in page]
    assert page.has_more is False
    assert anthropic_client.models.retrieve(HAIKU).type == "model"


def test_a_beta_the_client_asks_for_costs_nothing_extra(anthropic_client: anthropic.Anthropic) -> None:
    message = anthropic_client.beta.messages.create(
        model=HAIKU, max_tokens=20, messages=user("[[output=4]] Hi"), betas=["interleaved-thinking-2025-05-14"]
    )
    assert message.usage.output_tokens == 4
