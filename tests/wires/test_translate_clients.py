"""The providers' own clients put together what is streamed to them from providers of other protocols."""

from typing import Any

import httpx
import httpx2
import pytest
from anthropic import Anthropic
from anthropic import APIError as AnthropicError
from google import genai
from google.genai import types
from openai import APIError, OpenAI

from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.wires.neutral import Answer, Event, Failed, Reasoning, Stop, Telling, Text, ToolCall
from bursar.wires.sse import EventSplitter
from bursar.wires.translate import FORMS, StreamTranslator
from tests.wires.forming import CHAT, GEMINI, MESSAGES, RESPONSES, events_of

TELLING = Telling(model="asked", call_name="call_7", created_s=1_700_000_000)
SAID = Answer(
    answer_id="a1",
    model="m",
    parts=(
        Reasoning("They ask of Bern."),
        Text("I look."),
        ToolCall("call_1", "weather", '{"city":"Bern"}'),
        ToolCall("call_2", "weather", "{}"),
    ),
    stop=Stop.tools,
    usage=Usage(5, 15, 0, 0, 3, 6),
)


def streamed(source: Protocol, target: Protocol, kit: Any = httpx) -> Any:
    """Answer any call with a stream of one protocol's provider, translated for a client of another."""
    return answering(events_of(SAID, 5), source, target, kit)


def answering(events: list[Event], source: Protocol, target: Protocol, kit: Any) -> Any:
    writer, translator = FORMS[source].chunks(TELLING), StreamTranslator(source, target, TELLING)
    sent = b"".join(writer.write(event) for event in events)
    told = b"".join(translator.feed(event) for event in EventSplitter().feed(sent)) + translator.end()
    headers = {"content-type": "text/event-stream"}
    return kit.Client(transport=kit.MockTransport(lambda request: kit.Response(200, headers=headers, content=told)))


@pytest.mark.parametrize("source", [MESSAGES, RESPONSES, GEMINI])
def test_openais_client_puts_a_chat_together(source: Protocol) -> None:
    client = OpenAI(api_key="k", http_client=streamed(source, CHAT))
    with client.chat.completions.stream(model="m", messages=[], stream_options={"include_usage": True}) as stream:
        completion = stream.get_final_completion()
    message = completion.choices[0].message
    assert (message.content, completion.choices[0].finish_reason) == ("I look.", "tool_calls")
    assert message.tool_calls is not None
    assert [call.function.arguments for call in message.tool_calls] == ['{"city":"Bern"}', "{}"]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (20, 9)


@pytest.mark.parametrize("source", [CHAT, MESSAGES, GEMINI])
def test_openais_client_puts_a_response_together(source: Protocol) -> None:
    client = OpenAI(api_key="k", http_client=streamed(source, RESPONSES))
    with client.responses.stream(model="m", input="Hi") as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert (response.output_text, response.status) == ("I look.", "completed")
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.arguments for item in response.output if item.type == "function_call"] == ['{"city":"Bern"}', "{}"]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert "response.reasoning_summary_text.delta" in kinds
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (20, 9)


@pytest.mark.parametrize("source", [CHAT, RESPONSES, GEMINI])
def test_anthropics_client_puts_a_message_together(source: Protocol) -> None:
    client = Anthropic(api_key="k", http_client=streamed(source, MESSAGES, httpx2))
    with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"city": "Bern"}, {}]
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (
        5,
        15,
        9,
    )


@pytest.mark.parametrize("source", [CHAT, MESSAGES, RESPONSES])
def test_googles_client_reads_the_chunks(source: Protocol) -> None:
    options = types.HttpOptions(httpx_client=streamed(source, GEMINI))
    chunks = list(
        genai.Client(api_key="k", http_options=options).models.generate_content_stream(model="m", contents="Hi")
    )
    calls = [call for each in chunks for call in each.function_calls or ()]
    assert [(call.id, call.args) for call in calls] == [("call_1", {"city": "Bern"}), ("call_2", {})]
    candidates = [candidate for each in chunks for candidate in each.candidates or ()]
    parts = [part for each in candidates if each.content for part in each.content.parts or ()]
    assert "".join(part.text or "" for part in parts if not part.thought) == "I look."
    usage = chunks[-1].usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (20, 3, 6)
    assert candidates[-1].finish_reason == types.FinishReason.STOP


def failing(source: Protocol, target: Protocol, kit: Any = httpx) -> Any:
    """Answer any call with a stream whose provider fails after the first words."""
    events = [*events_of(SAID, 5)[:3], Failed("out of luck", "overloaded")]
    return answering(events, source, target, kit)


def test_each_client_raises_what_failed_in_the_midst_of_a_stream() -> None:
    chat = OpenAI(api_key="k", http_client=failing(MESSAGES, CHAT), max_retries=0)
    with pytest.raises(APIError, match="out of luck"):
        list(chat.chat.completions.create(model="m", messages=[], stream=True))
    responses = OpenAI(api_key="k", http_client=failing(CHAT, RESPONSES), max_retries=0)
    with pytest.raises(APIError, match="out of luck"):
        list(responses.responses.create(model="m", input="Hi", stream=True))
    messages = Anthropic(api_key="k", http_client=failing(CHAT, MESSAGES, httpx2), max_retries=0)
    with pytest.raises(AnthropicError, match="out of luck"):
        list(messages.messages.create(model="m", max_tokens=9, messages=[], stream=True))
    gemini = genai.Client(api_key="k", http_options=types.HttpOptions(httpx_client=failing(CHAT, GEMINI)))
    with pytest.raises(genai.errors.APIError, match="out of luck"):
        list(gemini.models.generate_content_stream(model="m", contents="Hi"))
