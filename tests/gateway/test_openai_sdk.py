"""The official `openai` package, unchanged, against the gateway: what it sends works, what it reads is exact."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.usage import Usage
from bursar.wires.chat_usage import usage_from_json

CallOf = Callable[[str], dict[str, Any]]
PriceOf = Callable[[str, Usage], int]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_an_answer_tells_its_cost_and_the_books_agree(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=user("[[output=40]] How much is owed?")
    )
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == snapshot((8, 40))
    cost_nano = usd_to_nano(raw.headers["x-bursar-cost-usd"])
    assert cost_nano == price_of("gpt-4o-mini", usage_from_json(answer.usage.model_dump_json().encode())[0])
    call = call_of(raw.headers["x-bursar-call-id"])
    assert call["cost_nano"] == cost_nano
    assert (call["input_tokens"], call["output_tokens"], call["overage_nano"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
        0,
    )
    assert call["held_nano"] >= cost_nano
    assert {name: raw.headers[name] for name in ("x-bursar-model", "x-bursar-cache", "x-bursar-saved-usd")} == snapshot(
        {"x-bursar-model": "sandbox/gpt-4o-mini", "x-bursar-cache": "miss", "x-bursar-saved-usd": "0.00"}
    )


def test_the_asynchronous_client_is_served_many_at_once(shared_bursar: LocalBursar, key: str) -> None:
    async def work() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.with_raw_response.create(
                        model="gpt-4o", messages=user(f"question {number}")
                    )
                    for number in range(50)
                )
            )
            return [answer.headers["x-bursar-call-id"] for answer in answers]

    assert len(set(asyncio.run(work()))) == 50


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_shows_usage_only_to_a_client_that_asked(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf, asked: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asked else {}
    raw = openai_client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=user("[[output=20]] Tell me."), stream=True, **options
    )
    chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text) == 20 * 4
    shown = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(shown) == int(asked)
    assert [chunk for chunk in chunks if not chunk.choices] == ([chunks[-1]] if asked else [])
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["stream"], call["status"], call["usage_source"], call["output_tokens"]) == (True, 1, 1, 20)
    usage = Usage(call["input_tokens"], output_tokens=20)
    assert call["cost_nano"] == price_of("gpt-4o-mini", usage)
    if asked:
        assert (shown[0].prompt_tokens, shown[0].completion_tokens) == (call["input_tokens"], 20)


def test_a_stream_ends_with_a_comment_that_tells_its_cost(
    shared_bursar: LocalBursar, openai_client: openai.OpenAI, call_of: CallOf
) -> None:
    with openai_client.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=user("[[output=5]] Go."), stream=True
    ) as response:
        body = response.read().decode()
        name = response.headers["x-bursar-call-id"]
        assert "x-bursar-cost-usd" not in response.headers
    *_, done, comment, rest = body.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert comment == f": bursar cost_usd={nano_to_usd(call_of(name)['cost_nano'])} call={name}"


async def test_the_asynchronous_client_streams(shared_bursar: LocalBursar, key: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=user("[[output=7]] Go."), stream=True
        )
        text = [chunk.choices[0].delta.content async for chunk in stream]
    assert len("".join(piece or "" for piece in text)) == 28


def test_tools_are_called_and_their_results_answered(openai_client: openai.OpenAI, call_of: CallOf) -> None:
    asked = user("Weather? [[tool=get_weather]]")
    answer = openai_client.chat.completions.create(model="gpt-4o", messages=asked, tools=[WEATHER])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    call: Any = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"place": "Paris"})
    turn: Any = [
        *asked,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "9 °C"},
    ]
    raw = openai_client.chat.completions.with_raw_response.create(model="gpt-4o", messages=turn, tools=[WEATHER])
    record = call_of(raw.headers["x-bursar-call-id"])
    assert record["retrieved_bytes"] == len("9 °C".encode())
    assert record["tools_bytes"] > 0
    assert record["history_bytes"] > 0


def test_tool_calls_are_streamed(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=user("Weather?"), tools=[WEATHER], tool_choice="required", stream=True
    )
    name = arguments = finish = ""
    for chunk in stream:
        choice = chunk.choices[0]
        for call in choice.delta.tool_calls or []:
            assert call.function is not None
            name += call.function.name or ""
            arguments += call.function.arguments or ""
        finish = choice.finish_reason or finish
    assert (name, json.loads(arguments), finish) == ("get_weather", {"place": "Paris"}, "tool_calls")


def test_images_are_paid_by_their_tokens_not_by_their_bytes(openai_client: openai.OpenAI, call_of: CallOf) -> None:
    image: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG * 200}"}}
    content: Any = [{"type": "text", "text": "[[output=3]] What is this?"}, image]
    raw = openai_client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": content}]
    )
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["input_tokens"], call["user_bytes"]) == snapshot((772, 26))


def test_every_choice_is_paid(openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf) -> None:
    one = openai_client.chat.completions.with_raw_response.create(model="gpt-4o", messages=user("[[output=10]] One?"))
    raw = openai_client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=user("[[output=10]] One?"), n=3
    )
    answer = raw.parse()
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    call, single = call_of(raw.headers["x-bursar-call-id"]), call_of(one.headers["x-bursar-call-id"])
    assert call["output_tokens"] == 30
    assert call["cost_nano"] == price_of("gpt-4o", Usage(call["input_tokens"], output_tokens=30))
    output_held = call["held_nano"] - single["held_nano"]
    assert output_held > single["held_nano"]  # two more choices, each with its whole cap


def test_reasoning_is_part_of_the_completion_and_paid_once(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model="o4-mini", messages=user("[[output=10 reasoning=50]] Think.")
    )
    usage = raw.parse().usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (60, 50)
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["output_tokens"], call["reasoning_tokens"]) == (10, 50)
    assert call["cost_nano"] == price_of("o4-mini", Usage(call["input_tokens"], output_tokens=60))


def test_a_cached_prompt_costs_less_and_exactly_its_price(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    messages: Any = [{"role": "system", "content": "Be brief. " * 1_000}, *user("[[output=4]] Cached?")]
    create = openai_client.chat.completions.with_raw_response.create
    first, second = (create(model="gpt-4o", messages=messages) for _ in range(2))
    cold, warm = (call_of(raw.headers["x-bursar-call-id"]) for raw in (first, second))
    assert (cold["cache_read_tokens"], warm["cache_read_tokens"]) == snapshot((0, 2432))
    assert cold["input_tokens"] == warm["input_tokens"] + warm["cache_read_tokens"]
    expected = price_of("gpt-4o", Usage(warm["input_tokens"], warm["cache_read_tokens"], output_tokens=4))
    assert warm["cost_nano"] == expected < cold["cost_nano"]
    usage = second.parse().usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == warm["cache_read_tokens"]
    assert usage.prompt_tokens == cold["input_tokens"]  # cached tokens are part of the prompt, not beside it


def test_models_are_listed_and_found(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == snapshot(
        [
            "gpt-4o-mini",
            "gpt-4o",
            "gpt-4.1-mini",
            "gpt-5-mini",
            "o4-mini",
            "claude-haiku-4-5",
            "claude-sonnet-4-5",
            "claude-opus-4-5",
            "gemini-2.5-flash",
            "gemini-2.5-pro",
            "gpt-3.5-turbo-instruct",
            "text-embedding-3-small",
            "text-embedding-3-large",
            "gemini-embedding-001",
            "omni-moderation-latest",
            "gpt-image-2",
            "gpt-4o-mini-tts",
            "tts-1",
            "gpt-4o-transcribe",
            "whisper-1",
            "gpt-audio",
            "gpt-audio-mini",
        ]
    )
    assert openai_client.models.retrieve("gpt-4o").owned_by == "sandbox"
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.models.retrieve("gpt-4p")
    assert caught.value.code == "model_not_found"


def test_a_cap_ends_the_answer_and_bounds_the_hold(openai_client: openai.OpenAI, call_of: CallOf) -> None:
    create = openai_client.chat.completions.with_raw_response.create
    raw = create(model="gpt-4o-mini", messages=user("[[output=100]] Long?"), max_completion_tokens=6)
    assert raw.parse().choices[0].finish_reason == "length"
    capped = call_of(raw.headers["x-bursar-call-id"])
    free = call_of(create(model="gpt-4o-mini", messages=user("[[output=100]] Long?")).headers["x-bursar-call-id"])
    assert capped["output_tokens"] == 6
    assert capped["held_nano"] < free["held_nano"]
