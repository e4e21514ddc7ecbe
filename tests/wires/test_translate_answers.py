"""Answers as providers publish them reach clients of other protocols, whole and streamed; broken ones do not."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.errors import BadRequest
from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.wires.neutral import Answer, Sending, Stop, Telling, Text, ToolCall
from bursar.wires.sse import EventSplitter, event_bytes
from bursar.wires.translate import FORMS, StreamTranslator, translate_answer, translate_request
from bursar.wires.translate_errors import translate_error
from bursar.wires.wire import BadAnswer
from tests.wires.forming import CHAT, GEMINI, MESSAGES, PROTOCOLS, RESPONSES, events_of

TELLING = Telling(model="asked", call_name="call_7", created_s=1_700_000_000)

DEEPSEEK = {
    "id": "8d1c",
    "object": "chat.completion",
    "model": "deepseek-reasoner",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Rain.", "reasoning_content": "They ask of Bern."},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 15},
        "completion_tokens_details": {"reasoning_tokens": 6},
    },
}
CLAUDE = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [
        {"type": "thinking", "thinking": "They ask of Bern.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        {"type": "text", "text": "I look.", "citations": None},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "weather",
            "input": {"city": "Bern"},
            "caller": {"type": "direct"},
        },
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "cache_read_input_tokens": 15, "output_tokens": 9},
}
GEMINI_ANSWER = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "They ask of Bern.", "thought": True},
                    {"functionCall": {"name": "weather", "args": {"city": "Bern"}}, "thoughtSignature": "c2ln"},
                    {"functionCall": {"name": "weather", "args": {"city": "Ulm"}}},
                ],
            },
            "finishReason": "STOP",
            "index": 0,
            "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 20,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 6,
        "totalTokenCount": 29,
        "cachedContentTokenCount": 15,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}


def told(answer: Any, source: Protocol, target: Protocol) -> Any:
    return msgspec.json.decode(translate_answer(msgspec.json.encode(answer), source, target, TELLING))


def test_reasoning_and_usage_of_chat_are_those_of_a_message() -> None:
    message = told(DEEPSEEK, CHAT, MESSAGES)
    assert message["content"] == [
        {"type": "thinking", "thinking": "They ask of Bern.", "signature": ""},
        {"type": "text", "text": "Rain."},
    ]
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (5, 15, 9)
    assert (message["model"], message["stop_reason"], message["type"]) == ("asked", "end_turn", "message")


def test_a_message_that_calls_a_tool_is_a_chat_completion_that_does() -> None:
    completion = told(CLAUDE, MESSAGES, CHAT)
    (choice,) = completion["choices"]
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert choice["message"] == {
        "role": "assistant",
        "content": "I look.",
        "refusal": None,
        "reasoning_content": "They ask of Bern.",
        "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
    }
    assert choice["finish_reason"] == "tool_calls"
    usage = completion["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (20, 9, 29)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 15
    assert (completion["object"], completion["created"]) == ("chat.completion", 1_700_000_000)


def test_a_message_is_a_response_in_the_order_it_was_said() -> None:
    response = told(CLAUDE, MESSAGES, RESPONSES)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert len({item["id"] for item in response["output"]}) == 3
    assert response["output"][2]["call_id"] == "toolu_1"
    assert (response["status"], response["usage"]["input_tokens"]) == ("completed", 20)
    assert "c2ln" not in str(response)


@pytest.mark.parametrize("target", [CHAT, MESSAGES, RESPONSES])
def test_calls_without_ids_get_such_as_are_the_same_each_time(target: Protocol) -> None:
    first, again = (told(GEMINI_ANSWER, GEMINI, target) for _ in range(2))
    assert first == again
    calls = [part for part in FORMS[target].read_answer(msgspec.json.encode(first)).parts if isinstance(part, ToolCall)]
    assert len({call.call_id for call in calls}) == 2
    another = told(GEMINI_ANSWER | {"responseId": "r2"}, GEMINI, target)
    assert calls[0].call_id not in str(another)


def test_a_prompt_that_gemini_blocked_is_an_answer_that_was_filtered() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
    }
    assert told(blocked, GEMINI, CHAT)["choices"][0]["finish_reason"] == "content_filter"
    assert told(blocked, GEMINI, MESSAGES)["stop_reason"] == "refusal"
    translator = StreamTranslator(GEMINI, CHAT, TELLING)
    sent = translator.feed(event_bytes(msgspec.json.encode(blocked))) + translator.end()
    assert b'"finish_reason":"content_filter"' in sent
    assert sent.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("target", [MESSAGES, GEMINI])
def test_a_call_that_the_output_cap_cut_off_is_left_out_and_any_other_half_is_no_answer(target: Protocol) -> None:
    def cut(reason: str) -> bytes:
        parts = (Text("I look."), ToolCall("call_1", "weather", '{"city": "Be'))
        answer = FORMS[CHAT].write_answer(Answer(parts=parts, stop=Stop.length), TELLING)
        return answer.replace(b'"length"', f'"{reason}"'.encode())

    answer = FORMS[target].read_answer(translate_answer(cut("length"), CHAT, target, TELLING))
    assert (answer.parts, answer.stop) == ((Text("I look."),), Stop.length)
    with pytest.raises(BadAnswer, match="no JSON object"):
        translate_answer(cut("tool_calls"), CHAT, target, TELLING)


@pytest.mark.parametrize(
    ("source", "body", "complaint"),
    [
        (CHAT, b"{}", "one choice"),
        (CHAT, b'{"choices":[{"message":{"content":[{"type":"audio"}]}}]}', "type"),
        (CHAT, b'{"choices":[{"message":{"content":"a"},"finish_reason":"exploded"}]}', "known reason"),
        (MESSAGES, b'{"content":[{"type":"server_tool_use"}]}', "known type"),
        (MESSAGES, b'{"content":[],"stop_reason":"pause_turn"}', "known reason"),
        (RESPONSES, b'{"output":[{"type":"image_generation_call"}]}', "known type"),
        (RESPONSES, b'{"output":[],"status":"failed","error":{"message":"no luck"}}', "no luck"),
        (GEMINI, b'{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}', "finishReason"),
        (GEMINI, b'{"candidates":[{},{}]}', "one candidate"),
        (GEMINI, b'{"candidates":[{"content":{"parts":[{"executableCode":{}}]}}]}', "executableCode"),
        (CHAT, b"<html>", "JSON"),
        (CHAT, b"[" * 100_000, "deep"),
        (CHAT, b'{"id":"\xff"}', "UTF-8"),
    ],
)
def test_an_answer_that_cannot_be_carried_is_a_bad_answer(source: Protocol, body: bytes, complaint: str) -> None:
    with pytest.raises(BadAnswer, match=complaint):
        translate_answer(body, source, MESSAGES if source is CHAT else CHAT, TELLING)


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event_bytes(msgspec.json.encode({"id": "c1", "model": "m", "choices": [choice]} | fields))


def started(index: int, **more: Any) -> bytes:
    function = {"name": f"tool_{index}", "arguments": ""}
    return chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]})


def argued(index: int, piece: str) -> bytes:
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def test_calls_whose_pieces_come_in_turn_are_told_one_after_another() -> None:
    translator = StreamTranslator(CHAT, MESSAGES, TELLING)
    pieces = [started(0), started(1), argued(1, '{"b":'), argued(0, '{"a":1}'), argued(1, "2}"), started(2)]
    sent = b"".join(translator.feed(piece) for piece in pieces)
    assert b"tool_1" not in sent
    sent += translator.feed(chunk({}, "tool_calls")) + translator.feed(b"data: [DONE]\n\n")
    starts = [sent.index(f'"name":"tool_{index}"'.encode()) for index in range(3)]
    assert starts == sorted(starts)
    reader = FORMS[MESSAGES].events()
    events = [event for each in EventSplitter().feed(sent) for event in reader.read(each)]
    assert [event.text for event in events if hasattr(event, "text")] == ['{"a":1}', '{"b":', "2}", "{}"]


def test_a_chunk_of_usage_nobody_asked_for_is_not_shown() -> None:
    def sent(telling: Telling) -> bytes:
        writer = FORMS[MESSAGES].chunks(TELLING)
        answer = Answer(parts=(Text("Hi"),), usage=Usage(1, 0, 0, 0, 2))
        stream = b"".join(writer.write(event) for event in events_of(answer, 9))
        translator = StreamTranslator(MESSAGES, CHAT, telling)
        return b"".join(translator.feed(event) for event in EventSplitter().feed(stream))

    assert b'"usage"' not in sent(Telling(wants_usage=False))
    assert sent(Telling()).count(b'"usage"') == 1


@pytest.mark.parametrize("source", PROTOCOLS)
@pytest.mark.parametrize("target", PROTOCOLS)
def test_a_stream_that_is_cut_has_no_end(source: Protocol, target: Protocol) -> None:
    writer, translator = FORMS[source].chunks(TELLING), StreamTranslator(source, target, TELLING)
    events = events_of(Answer(parts=(Text("Some words"),), usage=Usage(1, 0, 0, 0, 2)), 4)[:4]
    sent = b"".join(writer.write(event) for event in events)
    told = b"".join(translator.feed(event) for event in EventSplitter().feed(sent)) + translator.end()
    assert b"Some" in told
    assert not translator.ended
    assert not any(mark in told for mark in (b"[DONE]", b"message_stop", b"response.completed", b"finishReason"))


FAILURES = {
    CHAT: b'data: {"error":{"message":"Overloaded","type":"server_error"}}\n\n',
    MESSAGES: b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    RESPONSES: b'event: error\ndata: {"type":"error","message":"Overloaded","code":"server_error"}\n\n',
    GEMINI: b'data: {"error":{"code":503,"message":"Overloaded","status":"UNAVAILABLE"}}\n\n',
}


@pytest.mark.parametrize("source", PROTOCOLS)
@pytest.mark.parametrize("target", PROTOCOLS)
def test_an_error_in_a_stream_is_told_in_the_clients_words(source: Protocol, target: Protocol) -> None:
    translator = StreamTranslator(source, target, TELLING)
    sent = translator.feed(FAILURES[source])
    (event,) = FORMS[target].events().read(sent)
    assert getattr(event, "message", "") == "Overloaded"
    assert translator.ended
    assert translator.feed(FAILURES[source]) + translator.end() == b""


def openai(message: str, code: str) -> Any:
    return {"error": {"message": message, "type": "rate_limit_error", "param": None, "code": code}}


def anthropic(message: str, code: str | None) -> Any:
    return {"type": "error", "error": {"type": "rate_limit_error", "message": message, "code": code}}


NO_WORDS = {"code": 429, "message": "the provider answered with status 429", "status": "RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize(
    ("body", "target", "written"),
    [
        (
            b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}',
            CHAT,
            openai("Slow down", "rate_limit_error"),
        ),
        (
            b'{"error":{"message":"Slow down","type":"tokens","code":"rate_limit_exceeded"}}',
            MESSAGES,
            anthropic("Slow down", "rate_limit_exceeded"),
        ),
        (
            b'[{"error":{"code":429,"message":"Slow down","status":"RESOURCE_EXHAUSTED"}}]',
            RESPONSES,
            openai("Slow down", "RESOURCE_EXHAUSTED"),
        ),
        (b'{"error":"Slow down"}', MESSAGES, anthropic("Slow down", None)),
        (b"<html>a proxy's page</html>", GEMINI, {"error": NO_WORDS}),
    ],
)
def test_a_providers_error_is_told_in_the_clients_shape(body: bytes, target: Protocol, written: Any) -> None:
    assert msgspec.json.decode(translate_error(429, body, target)) == written


NAMES = """
messages role content type text tool_calls id function name arguments tools input parts contents functionCall
functionResponse output choices message candidates finishReason error delta index item response usage status source
image_url url system tool_choice thinking response_format json_schema generationConfig responseSchema
"""
WORDS = """
user assistant tool model text function message function_call image input_text tool_use tool_result data:;base64,
content_block_start response.output_item.done
"""
values = st.sampled_from(["", None, True, 0, -1, 1.5, 2**70, *WORDS.split()])
names = st.sampled_from(NAMES.split())
anything = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


@pytest.mark.parametrize("source", PROTOCOLS)
@given(value=anything, target=st.sampled_from(PROTOCOLS))
@settings(max_examples=60, deadline=None)
def test_no_json_breaks_a_translator(source: Protocol, target: Protocol, value: Any) -> None:
    body = msgspec.json.encode(value)
    translator = StreamTranslator(source, target, TELLING)
    for translate in (
        lambda: translate_request(body, source, target, Sending("m", 100)),
        lambda: translate_answer(body, source, target, TELLING),
        lambda: translator.feed(event_bytes(body)),
        translator.end,
    ):
        with suppress(BadRequest, BadAnswer):
            assert isinstance(translate(), bytes)
    assert msgspec.json.decode(translate_error(500, body, target))
