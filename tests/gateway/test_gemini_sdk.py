"""Google's own client, unchanged, against the gateway: what it sends works, what it reads is exact."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from bursar.core.records import CallStatus, Protocol
from bursar.core.usage import Usage
from tests.gateway.conftest import NewKey, Row

CallOf = Callable[[str], Row]
PriceOf = Callable[[str, Usage], int]
FLASH, PRO = "gemini-2.5-flash", "gemini-2.5-pro"
WEATHER = types.FunctionDeclaration.model_validate(
    {"name": "get_weather", "parameters_json_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}
)


def headers_of(answer: Any) -> dict[str, str]:
    return dict(answer.sdk_http_response.headers)


def call_id(answer: Any) -> str:
    return headers_of(answer)["x-bursar-call-id"]


def client_of(local: LocalBursar, secret: str) -> genai.Client:
    return genai.Client(api_key=secret, http_options={"base_url": local.url})


def test_an_answer_tells_its_cost_and_the_books_agree(
    gemini_client: genai.Client, call_of: CallOf, price_of: PriceOf
) -> None:
    answer = gemini_client.models.generate_content(
        model=FLASH, contents="[[output=30]] How much is owed?", config={"system_instruction": "Be brief."}
    )
    usage = answer.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == snapshot((10, 30, 40))
    assert len(answer.text or "") == 30 * 4
    cost_nano = usd_to_nano(headers_of(answer)["x-bursar-cost-usd"])
    assert cost_nano == price_of(FLASH, Usage(10, output_tokens=30)) == snapshot(78_000)
    call = call_of(call_id(answer))
    assert (call["cost_nano"], call["protocol"], call["status"]) == (cost_nano, Protocol.gemini, CallStatus.ok)
    assert (call["system_bytes"], call["user_bytes"]) == (len("Be brief."), len("[[output=30]] How much is owed?"))
    assert headers_of(answer)["x-bursar-model"] == f"sandbox/{FLASH}"


def test_the_asynchronous_client_is_served_many_at_once(shared_bursar: LocalBursar, key: str) -> None:
    async def work() -> list[str]:
        async with client_of(shared_bursar, key).aio as client:
            ask = client.models.generate_content
            answers = await asyncio.gather(*(ask(model=FLASH, contents=f"question {number}") for number in range(30)))
            return [call_id(answer) for answer in answers]

    assert len(set(asyncio.run(work()))) == 30


def test_a_stream_is_read_chunk_by_chunk_and_charged_once(
    gemini_client: genai.Client, call_of: CallOf, price_of: PriceOf
) -> None:
    chunks = list(gemini_client.models.generate_content_stream(model=FLASH, contents="[[output=25]] Tell me."))
    assert "".join(chunk.text or "" for chunk in chunks) == "".join(chunk.text or "" for chunk in chunks[:25])
    usage, candidates = chunks[-1].usage_metadata, chunks[-1].candidates
    assert usage is not None
    assert candidates is not None
    assert (usage.prompt_token_count, usage.candidates_token_count) == (6, 25)  # the last, not the sum
    assert candidates[0].finish_reason is types.FinishReason.STOP
    call = call_of(call_id(chunks[0]))
    assert (call["stream"], call["usage_source"], call["output_tokens"]) == (True, 1, 25)
    assert call["cost_nano"] == price_of(FLASH, Usage(6, output_tokens=25))


async def test_the_asynchronous_client_streams(shared_bursar: LocalBursar, key: str) -> None:
    async with client_of(shared_bursar, key).aio as client:
        stream = await client.models.generate_content_stream(model=FLASH, contents="[[output=7]] Go.")
        pieces = [chunk.text async for chunk in stream]
    assert len("".join(piece or "" for piece in pieces)) == 28


def test_a_chat_sends_what_was_said_before(gemini_client: genai.Client, call_of: CallOf) -> None:
    chat = gemini_client.chats.create(model=FLASH)
    first = chat.send_message("[[output=5]] One.")
    second = chat.send_message("[[output=6]] Two.")
    call = call_of(call_id(second))
    assert call["history_bytes"] == len("[[output=5]] One.") + len(first.text or "")
    assert call["user_bytes"] == len("[[output=6]] Two.")
    streamed = list(chat.send_message_stream("[[output=7]] Three."))
    assert call_of(call_id(streamed[0]))["history_bytes"] > call["history_bytes"]


def test_tools_are_called_and_their_results_answered(gemini_client: genai.Client, call_of: CallOf) -> None:
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[WEATHER])])
    asked = types.Content(role="user", parts=[types.Part(text="Weather? [[tool=get_weather]]")])
    answer = gemini_client.models.generate_content(model=FLASH, contents=asked, config=config)
    calls = answer.function_calls
    assert calls is not None
    assert (calls[0].name, calls[0].args) == ("get_weather", {"place": "Paris"})
    result = types.Part.from_function_response(name="get_weather", response={"celsius": 9})
    said = [asked, (answer.candidates or [])[0].content, types.Content(role="user", parts=[result])]
    call = call_of(call_id(gemini_client.models.generate_content(model=FLASH, contents=said, config=config)))
    assert call["retrieved_bytes"] == len('{"name": "get_weather", "response": {"celsius": 9}}')
    assert call["tools_bytes"] > 0


def test_the_clients_own_loop_of_tools_is_two_calls_in_the_books(
    shared_bursar: LocalBursar, new_key: NewKey, call_of: CallOf
) -> None:
    places: list[str] = []

    def get_weather(place: str) -> str:
        """Tell the weather."""
        places.append(place)
        return "9 degrees [[output=4]]"

    tools: Any = [get_weather]
    config = types.GenerateContentConfig(tools=tools)
    with client_of(shared_bursar, new_key("1.00")) as client:
        said = [types.Content(role="user", parts=[types.Part(text="Weather?")])]
        demand = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
        forced = config.model_copy(update={"tool_config": types.ToolConfig(function_calling_config=demand)})
        forced.automatic_function_calling = types.AutomaticFunctionCallingConfig(maximum_remote_calls=2)
        answer = client.models.generate_content(model=FLASH, contents=said, config=forced)
    assert places == ["Paris"]
    assert call_of(call_id(answer))["retrieved_bytes"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_are_streamed_whole(gemini_client: genai.Client, stream: bool) -> None:
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[WEATHER])])
    ask: Any = gemini_client.models
    text = "Weather? [[tool=get_weather]]"
    if stream:
        answers = list(ask.generate_content_stream(model=FLASH, contents=text, config=config))
    else:
        answers = [ask.generate_content(model=FLASH, contents=text, config=config)]
    (use,) = [call for answer in answers for call in answer.function_calls or ()]
    assert (use.name, use.args) == ("get_weather", {"place": "Paris"})


def test_images_are_paid_by_their_tokens_not_by_their_bytes(gemini_client: genai.Client, call_of: CallOf) -> None:
    image = types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n" + bytes(20_000), mime_type="image/png")
    answer = gemini_client.models.generate_content(model=FLASH, contents=[image, "[[output=3]] What is this?"])
    call = call_of(call_id(answer))
    assert (call["input_tokens"], call["user_bytes"]) == snapshot((772, 26))


def test_a_document_is_held_at_the_window_and_charged_what_it_was(gemini_client: genai.Client, call_of: CallOf) -> None:
    document = types.Part.from_bytes(data=b"%PDF-1.7" + bytes(2_000), mime_type="application/pdf")
    answer = gemini_client.models.generate_content(
        model=PRO, contents=[document, "[[output=3]] What?"], config={"max_output_tokens": 10}
    )
    call = call_of(call_id(answer))
    assert call["held_nano"] == snapshot(2_621_590_000)  # 1,048,576 tokens above 200,000, and 10 of output
    assert 0 < call["cost_nano"] < 2_000_000


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_beside_the_answer_and_paid_once(
    gemini_client: genai.Client, call_of: CallOf, price_of: PriceOf, stream: bool
) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    text, models = "[[output=10 reasoning=50]] Think.", gemini_client.models
    if stream:
        *_, answer = models.generate_content_stream(model=FLASH, contents=text, config=config)
    else:
        answer = models.generate_content(model=FLASH, contents=text, config=config)
    usage = answer.usage_metadata
    assert usage is not None
    assert (usage.thoughts_token_count, usage.candidates_token_count) == (50, 10)
    call = call_of(call_id(answer))
    assert (call["output_tokens"], call["reasoning_tokens"]) == (10, 50)
    assert call["cost_nano"] == price_of(FLASH, Usage(call["input_tokens"], output_tokens=60))


def test_what_was_cached_is_paid_at_its_own_price(
    gemini_client: genai.Client, call_of: CallOf, price_of: PriceOf
) -> None:
    text = "Rules of the house. " * 400 + "[[output=4]]"
    first, second = (gemini_client.models.generate_content(model=PRO, contents=text) for _ in range(2))
    usage = second.usage_metadata
    assert usage is not None
    assert usage.cached_content_token_count
    assert usage.prompt_token_count
    cold, warm = call_of(call_id(first)), call_of(call_id(second))
    fresh = usage.prompt_token_count - usage.cached_content_token_count
    assert (cold["cache_read_tokens"], warm["cache_read_tokens"]) == (0, usage.cached_content_token_count)
    assert warm["cost_nano"] == price_of(PRO, Usage(fresh, usage.cached_content_token_count, output_tokens=4))
    assert warm["cost_nano"] < cold["cost_nano"]


def test_a_cap_ends_the_answer_and_candidates_are_each_paid(gemini_client: genai.Client, call_of: CallOf) -> None:
    answer = gemini_client.models.generate_content(
        model=FLASH, contents="[[output=100]] Long?", config={"max_output_tokens": 6, "candidate_count": 2}
    )
    candidates = answer.candidates
    assert candidates is not None
    assert [each.finish_reason for each in candidates] == [types.FinishReason.MAX_TOKENS] * 2
    assert call_of(call_id(answer))["output_tokens"] == 12


def test_a_count_is_what_the_call_is_charged_for_and_is_free_itself(
    shared_bursar: LocalBursar, new_key: NewKey
) -> None:
    text = "[[output=3]] How many tokens are these?"
    with client_of(shared_bursar, new_key("0.000001")) as poor, client_of(shared_bursar, new_key("1.00")) as client:
        count = poor.models.count_tokens(model=FLASH, contents=text)
        answer = client.models.generate_content(model=FLASH, contents=text)
    usage = answer.usage_metadata
    assert usage is not None
    assert count.total_tokens == usage.prompt_token_count
    assert "x-bursar-estimated" not in headers_of(count)


def test_models_are_listed_in_googles_shape(
    gemini_client: genai.Client, shared_bursar: LocalBursar, new_key: NewKey
) -> None:
    names = [model.name for model in gemini_client.models.list()]
    assert f"models/{FLASH}" in names
    model = gemini_client.models.get(model=FLASH)
    assert (model.name, model.supported_actions) == (
        f"models/{FLASH}",
        ["generateContent", "streamGenerateContent", "countTokens"],
    )
    with client_of(shared_bursar, new_key(models=(PRO,))) as client:
        assert [model.name for model in client.models.list()] == [f"models/{PRO}"]
        with pytest.raises(errors.ClientError) as caught:
            client.models.get(model=FLASH)
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("scope", "asked", "code", "status", "reason"),
    [
        ({}, {"model": "gemini-9"}, 404, "NOT_FOUND", "model_not_found"),
        ({"models": (PRO,)}, {}, 403, "PERMISSION_DENIED", "out_of_scope"),
        ({"routes": ("/v1/messages",)}, {}, 403, "PERMISSION_DENIED", "out_of_scope"),
        ({"budget": "0.000001"}, {}, 402, "RESOURCE_EXHAUSTED", "budget_exhausted"),
        ({}, {"config": {"tools": [{"code_execution": {}}]}}, 422, "INVALID_ARGUMENT", "unmetered"),
        ({}, {"config": {"service_tier": "flex"}}, 422, "INVALID_ARGUMENT", "unpriced"),
        ({}, {"config": {"candidate_count": 9}}, 400, "INVALID_ARGUMENT", "bad_request"),
    ],
)
def test_a_refusal_is_an_error_of_the_clients_with_our_code(
    shared_bursar: LocalBursar, new_key: NewKey, scope: Any, asked: Any, code: int, status: str, reason: str
) -> None:
    with client_of(shared_bursar, new_key(**scope)) as client:
        for ask in (client.models.generate_content, lambda **more: list(client.models.generate_content_stream(**more))):
            with pytest.raises(errors.ClientError) as caught:
                ask(**{"model": FLASH, "contents": "hi"} | asked)
            assert (caught.value.code, caught.value.status) == (code, status)
            assert caught.value.details["error"]["details"][0]["reason"] == reason


def test_an_unknown_key_is_an_error_of_the_clients(shared_bursar: LocalBursar) -> None:
    with client_of(shared_bursar, "bk_nobody") as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=FLASH, contents="hi")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(("fault", "code"), [("500", 500), ("503", 503)])
def test_a_providers_fault_is_an_error_of_the_servers(gemini_client: genai.Client, fault: str, code: int) -> None:
    with pytest.raises(errors.ServerError) as caught:
        gemini_client.models.generate_content(model=FLASH, contents=f"[[fault={fault}]]")
    assert caught.value.code == code


def test_a_stream_that_is_cut_is_an_error_and_charged_for_what_came(
    gemini_client: genai.Client, call_of: CallOf
) -> None:
    chunks: list[Any] = []
    with pytest.raises(errors.ServerError, match="upstream_cut") as caught:
        chunks.extend(
            gemini_client.models.generate_content_stream(model=FLASH, contents="[[output=60 fault=cut after=10]]")
        )
    call = call_of(caught.value.details["error"]["details"][0]["metadata"]["call_id"])
    assert (call["status"], call["output_tokens"]) == (CallStatus.cut, 10)
    assert 0 < call["cost_nano"] < call["held_nano"]


def test_texts_are_embedded_and_charged_by_what_they_are_estimated_to_take(
    gemini_client: genai.Client, call_of: CallOf
) -> None:
    made = gemini_client.models.embed_content(
        model="gemini-embedding-001", contents=["one text", "another"], config={"output_dimensionality": 8}
    )
    assert [len(each.values or ()) for each in made.embeddings or ()] == [8, 8]
    call = call_of(call_id(made))
    assert call["protocol"] in (Protocol.gemini_embed, Protocol.gemini_embed_batch)
    assert call["cost_nano"] == call["input_tokens"] * 150 > 0
    assert call["output_tokens"] == 0


def test_what_cannot_be_metered_is_not_embedded(gemini_client: genai.Client) -> None:
    image = types.Part.from_bytes(data=b"no image", mime_type="image/png")
    with pytest.raises(errors.ClientError, match="only texts are embedded here"):
        gemini_client.models.embed_content(model="gemini-embedding-001", contents=image)
