"""The official `openai` package's responses, unchanged, against the gateway: each event passes, and the books agree."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import openai
import pydantic
import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar, database
from bursar.budgets.budget import Terms
from bursar.budgets.tree import Holds
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.records import CallStatus, UsageSource
from bursar.core.usage import Usage
from bursar.store.holders import Policies, set_policies
from bursar.store.keys import Scope, create_key
from bursar.wires.openai_responses import usage_from_report

CallOf = Callable[[str], dict[str, Any]]
PriceOf = Callable[[str, Usage], int]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": None,
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}


class Invoice(pydantic.BaseModel):
    number: int
    owed_to: str
    lines: list[str]


def test_an_answer_tells_its_cost_and_the_books_agree(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    raw = openai_client.responses.with_raw_response.create(
        model="gpt-4o-mini", input="[[output=40]] How much is owed?", instructions="Be brief."
    )
    answer = raw.parse()
    assert (answer.status, len(answer.output_text)) == ("completed", 160)
    assert answer.instructions == "Be brief."
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == snapshot((10, 40))
    cost_nano = usd_to_nano(raw.headers["x-bursar-cost-usd"])
    assert cost_nano == price_of("gpt-4o-mini", usage_from_report(answer.usage.model_dump()))
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["cost_nano"], call["protocol"], call["usage_source"]) == (cost_nano, 3, UsageSource.provider)
    assert (call["system_bytes"], call["user_bytes"], call["output_tokens"]) == (9, 31, 40)


def test_a_stream_passes_each_event_and_ends_with_a_comment_that_tells_its_cost(
    openai_client: openai.OpenAI, call_of: CallOf
) -> None:
    with openai_client.responses.with_streaming_response.create(
        model="o4-mini",
        input="[[output=2 reasoning=3]] Go.",
        reasoning={"effort": "low", "summary": "auto"},
        stream=True,
    ) as response:
        body, name = response.read().decode(), response.headers["x-bursar-call-id"]
    *events, comment, rest = body.split("\n\n")
    assert [event.split("\n")[0].removeprefix("event: response.") for event in events] == snapshot(
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    )
    read = [json.loads(event.split("\ndata: ")[1]) for event in events]
    assert [each["sequence_number"] for each in read] == list(range(len(read)))
    assert [each["type"] for each in read] == [event.split("\n")[0].removeprefix("event: ") for event in events]
    call = call_of(name)
    assert (call["output_tokens"], call["reasoning_tokens"], call["usage_source"]) == (2, 3, UsageSource.provider)
    assert (comment, rest) == (f": bursar cost_usd={nano_to_usd(call['cost_nano'])} call={name}", "")


def test_the_accumulator_of_a_stream_comes_to_the_same_answer(openai_client: openai.OpenAI) -> None:
    asked: Any = {"model": "gpt-5-mini", "input": "[[output=12 reasoning=5]] The same?"}
    whole = openai_client.responses.create(**asked)
    with openai_client.responses.stream(**asked) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text
    assert final.usage == whole.usage
    assert [item.type for item in final.output] == ["reasoning", "message"]


async def test_the_asynchronous_client_streams(shared_bursar: LocalBursar, key: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0) as client:
        stream = await client.responses.create(model="gpt-4o-mini", input="[[output=7]] Go.", stream=True)
        text = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        async with client.responses.stream(model="gpt-4o-mini", input="[[output=7]] Go.") as accumulated:
            final = await accumulated.get_final_response()
    assert len("".join(text)) == 28
    assert final.output_text == "".join(text)


@pytest.mark.parametrize("stream", [False, True])
def test_a_structured_answer_is_parsed(openai_client: openai.OpenAI, stream: bool) -> None:
    if stream:
        with openai_client.responses.stream(model="gpt-4o", input="Which?", text_format=Invoice) as events:
            parsed = events.get_final_response().output_parsed
    else:
        parsed = openai_client.responses.parse(model="gpt-4o", input="Which?", text_format=Invoice).output_parsed
    assert parsed == Invoice(number=7, owed_to="owed", lines=["owed"])


def test_tools_are_called_and_their_results_answered(openai_client: openai.OpenAI, call_of: CallOf) -> None:
    asked: list[Any] = [{"role": "user", "content": "Weather? [[tool=get_weather reasoning=4]]"}]
    answer = openai_client.responses.create(model="o4-mini", input=asked, tools=[WEATHER])
    call: Any = answer.output[-1]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"place": "Paris"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "9 °C"}
    raw = openai_client.responses.with_raw_response.create(
        model="o4-mini", input=[*asked, *answer.output, result], tools=[WEATHER]
    )
    record = call_of(raw.headers["x-bursar-call-id"])
    assert record["retrieved_bytes"] == len('"9 °C"'.encode())
    assert record["tools_bytes"] > 0
    assert record["history_bytes"] > len("Weather?")
    assert record["user_bytes"] == 0


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_tool_calls_are_streamed(openai_client: openai.OpenAI, kind: str) -> None:
    tool: Any = WEATHER if kind == "function" else {"type": "custom", "name": "get_weather"}
    with openai_client.responses.stream(
        model="gpt-4o-mini", input="Weather?", tools=[tool], tool_choice="required"
    ) as stream:
        deltas = [event.delta for event in stream if event.type.endswith(("arguments.delta", "input.delta"))]
        call: Any = stream.get_final_response().output[0]
    assert call.type == ("function_call" if kind == "function" else "custom_tool_call")
    assert json.loads(call.arguments if kind == "function" else call.input) == {"place": "Paris"}
    assert json.loads("".join(deltas)) == {"place": "Paris"}


def test_images_are_paid_by_their_tokens_not_by_their_bytes(openai_client: openai.OpenAI, call_of: CallOf) -> None:
    image: Any = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG * 200}"}
    content: Any = [{"type": "input_text", "text": "[[output=3]] What is this?"}, image]
    raw = openai_client.responses.with_raw_response.create(
        model="gpt-4o-mini", input=[{"role": "user", "content": content}]
    )
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["input_tokens"], call["user_bytes"]) == snapshot((772, 26))


def test_a_cached_prompt_costs_less_and_exactly_its_price(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    create = openai_client.responses.with_raw_response.create
    text: Any = {"instructions": "Be exact. " * 1_000, "input": "[[output=4]] Cached?"}
    first, second = (create(model="gpt-4o", **text) for _ in range(2))
    cold, warm = (call_of(raw.headers["x-bursar-call-id"]) for raw in (first, second))
    assert (cold["cache_read_tokens"], warm["cache_read_tokens"]) == snapshot((0, 2432))
    expected = price_of("gpt-4o", Usage(warm["input_tokens"], warm["cache_read_tokens"], output_tokens=4))
    assert warm["cost_nano"] == expected < cold["cost_nano"]
    usage = second.parse().usage
    assert usage is not None
    assert usage.input_tokens == cold["input_tokens"]
    assert usage.input_tokens_details.cached_tokens == warm["cache_read_tokens"]


def test_a_cap_ends_the_answer_and_bounds_the_hold(openai_client: openai.OpenAI, call_of: CallOf) -> None:
    create = openai_client.responses.with_raw_response.create
    raw = create(model="gpt-4o-mini", input="[[output=100]] Long?", max_output_tokens=16)
    answer = raw.parse()
    assert (answer.status, answer.max_output_tokens) == ("incomplete", 16)
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    free = create(model="gpt-4o-mini", input="[[output=100]] Long?")
    assert free.parse().max_output_tokens == snapshot(4096)  # ours, for a call that sets none
    capped, open_ended = (call_of(each.headers["x-bursar-call-id"]) for each in (raw, free))
    assert (capped["output_tokens"], open_ended["output_tokens"]) == (16, 100)
    assert capped["held_nano"] < open_ended["held_nano"]


def test_a_budget_blocks_this_route_too(shared_bursar: LocalBursar, new_key: Any, call_of: CallOf) -> None:
    with openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=new_key("0.0005"), max_retries=0) as client:
        asked: Any = {"model": "gpt-4o", "input": "[[output=20]] hi"}
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(**asked, max_output_tokens=1_000)
        error: Any = caught.value.body
        assert (caught.value.status_code, error["code"], error["spent_usd"]) == (402, "budget_exhausted", "0.00")
        client.responses.create(**asked, max_output_tokens=20)  # nothing was held by what was refused


def test_what_such_answers_take_is_held_once_it_is_known(
    shared_bursar: LocalBursar, openai_client: openai.OpenAI, call_of: CallOf
) -> None:
    async def expecting() -> str:
        terms, now_us = Terms(1_000_000_000, overdraft_nano=100_000_000), time.time_ns() // 1_000
        async with database(shared_bursar.database_url) as connection:
            _, secret = await create_key(connection, "expects responses", [terms], Scope(), now_us)
            await set_policies(connection, "expects responses", Policies(holds=Holds.expected))
            return secret

    client = openai_client.with_options(api_key=asyncio.run(expecting()))
    asked: Any = {"model": "gpt-4.1-mini", "input": "[[output=10]] short", "max_output_tokens": 2_000}
    deadline = time.monotonic() + 30
    while True:
        raw = client.responses.with_raw_response.create(**asked)
        held_nano = call_of(raw.headers["x-bursar-call-id"])["held_nano"]
        if held_nano < 2_000 * 1_600 // 4:
            break
        for _ in range(40):
            client.responses.create(**asked)
        assert time.monotonic() < deadline, held_nano
    assert held_nano > 10 * 1_600  # what it costs at least


def test_requests_and_tokens_are_limited_on_this_route_too(shared_bursar: LocalBursar) -> None:
    for number, limit in enumerate(("1 requests/minute", "120 tokens/minute")):
        secret = shared_bursar.create_key(f"limited responses {number}", limit)
        with openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=secret, max_retries=0) as client:
            asked: Any = {"model": "gpt-4o-mini", "input": "[[output=10]] hi", "max_output_tokens": 40}
            client.responses.create(**asked)
            with pytest.raises(openai.RateLimitError) as caught:
                [client.responses.create(**asked) for _ in range(3)]
            assert caught.value.code == "rate_limit_exceeded"


def test_a_route_out_of_scope_is_forbidden(shared_bursar: LocalBursar, new_key: Any) -> None:
    secret = new_key("1.00", routes=("/v1/chat/completions",))
    client = openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=secret, max_retries=0)
    with client, pytest.raises(openai.PermissionDeniedError) as caught:
        client.responses.create(model="gpt-4o-mini", input="hi")
    assert caught.value.code == "out_of_scope"


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"input": 5}, openai.BadRequestError, "input"),
        ({"input": [{"role": "user", "content": 5}]}, openai.BadRequestError, "input[0].content"),
        ({"max_output_tokens": 0}, openai.BadRequestError, "max_output_tokens"),
        ({"background": True}, openai.UnprocessableEntityError, "background"),
        ({"prompt": {"id": "pmpt_1"}}, openai.UnprocessableEntityError, "prompt"),
        ({"tools": [{"type": "code_interpreter"}]}, openai.UnprocessableEntityError, "tools"),
        ({"service_tier": "ultrafast"}, openai.UnprocessableEntityError, "service_tier"),
        ({"model": "gpt-4o-mimi"}, openai.NotFoundError, "model"),
    ],
)
def test_what_is_refused_is_the_clients_own_error_and_names_its_field(
    openai_client: openai.OpenAI, fields: dict[str, Any], kind: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(kind) as caught:
        openai_client.responses.create(**({"model": "gpt-4o-mini", "input": "hi"} | fields))
    assert caught.value.param == param


def test_what_the_provider_has_kept_is_held_for_by_the_models_window(
    openai_client: openai.OpenAI, call_of: CallOf
) -> None:
    create = openai_client.responses.with_raw_response.create
    first = create(model="gpt-4o-mini", input="[[output=2]] Remember.", max_output_tokens=16)
    again = create(
        model="gpt-4o-mini",
        input="[[output=2]] And?",
        max_output_tokens=16,
        previous_response_id=first.parse().id,
    )
    fresh, kept = (call_of(raw.headers["x-bursar-call-id"]) for raw in (first, again))
    assert kept["held_nano"] > 128_000 * 150 > fresh["held_nano"]


@pytest.mark.parametrize("verb", ["retrieve", "delete", "cancel"])
def test_responses_are_stored_nowhere_and_who_asks_is_told_the_way_on(openai_client: openai.OpenAI, verb: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        getattr(openai_client.responses, verb)("resp_1")
    assert caught.value.code == "no_route"
    assert "POST /v1/responses" in str(caught.value)


def test_a_base_address_without_its_version_is_told_so(shared_bursar: LocalBursar, key: str) -> None:
    with openai.OpenAI(base_url=shared_bursar.url, api_key=key, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match=r"add /v1"):
            client.responses.create(model="gpt-4o-mini", input="hi")
        with pytest.raises(openai.NotFoundError, match=r"add /v1"):
            client.chat.completions.create(model="gpt-4o-mini", messages=[])


@pytest.mark.parametrize("fault", [429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_refusal_is_passed_on_and_costs_nothing(
    openai_client: openai.OpenAI, call_of: CallOf, fault: int, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        openai_client.responses.create(model="gpt-4o", input=f"[[fault={fault}]]", stream=stream)
    assert caught.value.status_code == fault
    call = call_of(caught.value.response.headers["x-bursar-call-id"])
    assert (call["status"], call["cost_nano"]) == (CallStatus.failed, 0)


def test_a_cut_stream_is_an_error_and_charged_for_what_came(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    text = "[[output=40 fault=cut after=7]] Break off."
    stream = openai_client.responses.create(model="gpt-4o-mini", input=text, stream=True)
    name, seen = stream.response.headers["x-bursar-call-id"], []
    with pytest.raises(openai.APIError, match="ended early") as caught:
        seen.extend(stream)
    assert caught.value.code == "upstream_cut"
    assert [event.type for event in seen].count("response.output_text.delta") == 7
    call = call_of(name)
    assert (call["status"], call["usage_source"], call["output_tokens"]) == (CallStatus.cut, UsageSource.counted, 7)
    assert call["cost_nano"] == price_of("gpt-4o-mini", Usage(call["input_tokens"], output_tokens=7)) > 0


@pytest.mark.parametrize("stream", [False, True])
def test_usage_that_is_not_reported_is_counted(openai_client: openai.OpenAI, call_of: CallOf, stream: bool) -> None:
    raw = openai_client.responses.with_raw_response.create(
        model="gpt-4o-mini", input="[[output=30 fault=silent]] Say nothing of it.", stream=stream
    )
    if stream:
        list(raw.parse())
    call = call_of(raw.headers["x-bursar-call-id"])
    assert (call["status"], call["usage_source"], call["output_tokens"]) == (CallStatus.ok, UsageSource.counted, 30)


def test_a_client_that_hangs_up_is_charged_what_the_provider_bills(
    openai_client: openai.OpenAI, call_of: CallOf, price_of: PriceOf
) -> None:
    stream = openai_client.responses.create(model="gpt-4o-mini", input="[[output=40 tpot_ms=5]] Slowly.", stream=True)
    name = stream.response.headers["x-bursar-call-id"]
    next(iter(stream))
    stream.close()
    call = call_of(name)
    assert (call["status"], call["output_tokens"]) == (CallStatus.client_gone, 40)
    assert call["cost_nano"] == price_of("gpt-4o-mini", Usage(call["input_tokens"], output_tokens=40))


def test_the_same_idempotency_key_is_one_charge(openai_client: openai.OpenAI) -> None:
    asked: Any = {"model": "gpt-4o-mini", "input": "[[output=5]] Once.", "stream": True}
    first, again = (
        openai_client.responses.create(**asked, extra_headers={"Idempotency-Key": "responses once"}) for _ in range(2)
    )
    assert [event.type for event in first] == [event.type for event in again]
    assert again.response.headers["x-bursar-call-id"] == first.response.headers["x-bursar-call-id"]
    assert again.response.headers["x-bursar-replayed"] == "true"
