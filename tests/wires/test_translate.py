"""Calls in one protocol reach a provider of another, and its answers come back in the first."""

from typing import Any

import msgspec
import pytest

from bursar.core.errors import BadRequest
from bursar.core.records import Protocol
from bursar.wires.neutral import Sending
from bursar.wires.translate import translate_request

CHAT, MESSAGES = Protocol.openai_chat, Protocol.anthropic_messages
RESPONSES, GEMINI = Protocol.openai_responses, Protocol.gemini
SENDING = Sending("target-model", 4_000)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = {"role": "user", "content": "What is the weather in Bern?"}
CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "description": "Tell it.", "parameters": SCHEMA}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
USE = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}}
MESSAGES_TOOL = {"name": "weather", "description": "Tell it.", "input_schema": SCHEMA}


def translated(source: Protocol, target: Protocol, sending: Sending = SENDING, **fields: Any) -> Any:
    body = msgspec.json.encode({"model": "asked", "messages": [QUESTION], "max_tokens": 9} | fields)
    return msgspec.json.decode(translate_request(body, source, target, sending))


def test_a_tool_loop_of_chat_is_one_of_messages() -> None:
    asked = translated(
        CHAT,
        MESSAGES,
        messages=[
            {"role": "system", "content": "Be brief."},
            QUESTION,
            {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
            {"role": "user", "content": "And tomorrow?"},
        ],
        tools=[CHAT_TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        stop="END",
        temperature=0.5,
    )
    assert asked == {
        "model": "target-model",
        "max_tokens": 4_000,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is the weather in Bern?"}]},
            {"role": "assistant", "content": [USE]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_1",
                        "content": [{"type": "text", "text": "Rain."}],
                    },
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
        "tools": [MESSAGES_TOOL],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "temperature": 0.5,
    }


def test_a_tool_loop_of_messages_is_one_of_chat() -> None:
    asked = translated(
        MESSAGES,
        CHAT,
        Sending("target-model", 4_000, "max_tokens", stream=True),
        system="Be brief.",
        messages=[
            QUESTION,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "text", "text": "I look."},
                    USE,
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "Rain.", "is_error": False},
                    {"type": "text", "text": "And tomorrow?", "cache_control": {"type": "ephemeral"}},
                ],
            },
        ],
        tools=[MESSAGES_TOOL],
        tool_choice={"type": "tool", "name": "weather"},
        thinking={"type": "enabled", "budget_tokens": 5_000},
    )
    assert asked == {
        "model": "target-model",
        "max_tokens": 4_000,
        "messages": [
            {"role": "system", "content": "Be brief."},
            QUESTION,
            {"role": "assistant", "content": "I look.", "tool_calls": [CHAT_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [CHAT_TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "reasoning_effort": "medium",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("source", "target", "fields", "param"),
    [
        (CHAT, MESSAGES, {"n": 2}, "n"),
        (CHAT, MESSAGES, {"seed": 7}, "seed"),
        (CHAT, MESSAGES, {"logprobs": True}, "logprobs"),
        (CHAT, MESSAGES, {"nobody_knows_this": 1}, "nobody_knows_this"),
        (CHAT, MESSAGES, {"service_tier": "flex"}, "service_tier"),
        (CHAT, MESSAGES, {"reasoning": {"effort": "low"}}, "reasoning"),
        (CHAT, MESSAGES, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, MESSAGES, {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        (CHAT, MESSAGES, {"messages": [QUESTION, {"role": "assistant", "content": "It is"}]}, "messages"),
        (CHAT, MESSAGES, {"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        (MESSAGES, CHAT, {"top_k": 4}, "top_k"),
        (MESSAGES, CHAT, {"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
        (MESSAGES, CHAT, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        (MESSAGES, CHAT, {"speed": "fast"}, "speed"),
    ],
)
def test_what_has_no_place_is_refused_by_its_name(
    source: Protocol, target: Protocol, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest, match="whose provider speaks " + source.name) as refused:
        translated(source, target, **fields)
    assert (refused.value.code, refused.value.param) == ("cannot_be_carried", param)
    assert target.name in refused.value.message


RESPONSES_TOOL = {"type": "function", "name": "weather", "description": "Tell it.", "parameters": SCHEMA}
DECLARATION = {"name": "weather", "description": "Tell it.", "parametersJsonSchema": SCHEMA}
SKIPS = "skip_thought_signature_validator"
CHAT_LOOP = [
    {"role": "developer", "content": "Be brief."},
    QUESTION,
    {"role": "assistant", "content": "I look.", "tool_calls": [CHAT_CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
]
PICTURE = "data:image/png;base64,iVBORw0K"


def test_a_tool_loop_of_chat_is_one_of_responses() -> None:
    asked = translated(
        CHAT, RESPONSES, messages=CHAT_LOOP, tools=[CHAT_TOOL], verbosity="low", reasoning_effort="minimal"
    )
    assert asked == {
        "model": "target-model",
        "instructions": "Be brief.",
        "input": [
            QUESTION,
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
            },
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Bern"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
        ],
        "tools": [RESPONSES_TOOL | {"strict": False}],
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "minimal"},
        "max_output_tokens": 4_000,
        "store": False,
    }


def test_a_tool_loop_of_chat_is_one_of_gemini() -> None:
    asked = translated(
        CHAT,
        GEMINI,
        Sending("gemini-3-pro", 4_000),
        messages=CHAT_LOOP,
        tools=[CHAT_TOOL],
        reasoning_effort="high",
        seed=7,
    )
    call = {"id": "call_1", "name": "weather", "args": {"city": "Bern"}}
    assert asked == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "What is the weather in Bern?"}]},
            {"role": "model", "parts": [{"text": "I look."}, {"functionCall": call, "thoughtSignature": SKIPS}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "Rain."}}}],
            },
        ],
        "tools": [{"functionDeclarations": [DECLARATION]}],
        "generationConfig": {"maxOutputTokens": 4_000, "seed": 7, "thinkingConfig": {"thinkingLevel": "HIGH"}},
    }


def test_calls_without_ids_of_gemini_are_answered_by_name_and_order() -> None:
    def call(city: str) -> Any:
        return {"function_call": {"name": "weather", "args": {"city": city}}}

    def result(told: Any) -> Any:
        return {"functionResponse": {"name": "weather", "response": told}}

    asked = translated(
        GEMINI,
        CHAT,
        model=None,
        messages=None,
        max_tokens=None,
        system_instruction={"parts": [{"text": "Be brief."}]},
        contents=[
            {"role": "user", "parts": [{"text": "Bern and Ulm?"}]},
            {"role": "model", "parts": [{"text": "Hm.", "thought": True}, call("Bern"), call("Ulm")]},
            {"role": "user", "parts": [result({"result": "Rain."}), result({"sun": [1, 2]})]},
        ],
        tools=[{"function_declarations": [{"name": "weather", "parameters": {"type": "OBJECT", "nullable": True}}]}],
        generation_config={
            "stop_sequences": ["END"],
            "max_output_tokens": 5,
            "thinking_config": {"thinking_budget": 900},
        },
    )
    first, second = (call["id"] for call in asked["messages"][2]["tool_calls"])
    assert first != second
    assert asked["messages"][3:] == [
        {"role": "tool", "tool_call_id": first, "content": "Rain."},
        {"role": "tool", "tool_call_id": second, "content": '{"sun":[1,2]}'},
    ]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked["tools"][0]["function"]["parameters"] == {"type": ["object", "null"]}
    assert (asked["stop"], asked["reasoning_effort"]) == (["END"], "low")


@pytest.mark.parametrize(
    ("target", "part"),
    [
        (MESSAGES, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}),
        (RESPONSES, {"type": "input_image", "image_url": PICTURE, "detail": "auto"}),
        (GEMINI, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}),
    ],
)
def test_an_image_goes_where_each_protocol_keeps_images(target: Protocol, part: dict[str, Any]) -> None:
    content = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    asked = translated(CHAT, target, messages=[{"role": "user", "content": content}])
    (message,) = asked.get("messages") or asked.get("input") or asked["contents"]
    assert message.get("content", message.get("parts")) == [part]


def test_a_document_of_messages_is_a_file_of_chat_and_back() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Bern: rain."}
    content = [{"type": "document", "source": source, "title": "forecast"}]
    asked = translated(MESSAGES, CHAT, messages=[{"role": "user", "content": content}])
    file = {"file_data": "data:text/plain;base64,QmVybjogcmFpbi4=", "filename": "forecast"}
    assert asked["messages"][0]["content"] == [{"type": "file", "file": file}]
    assert translated(CHAT, MESSAGES, messages=asked["messages"])["messages"][0]["content"] == content


SHAPE = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (MESSAGES, lambda asked: asked["output_config"]["format"]),
        (RESPONSES, lambda asked: asked["text"]["format"]),
        (GEMINI, lambda asked: asked["generationConfig"]),
    ],
)
def test_the_schema_of_an_answer_goes_where_each_protocol_keeps_it(target: Protocol, found: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "shape", "schema": SHAPE, "strict": True}}
    written = found(translated(CHAT, target, response_format=wanted))
    assert written.get("schema", written.get("responseJsonSchema")) == SHAPE


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 3_999}),
        ("claude-opus-4-1-20250805", {"type": "enabled", "budget_tokens": 3_999}),
        ("claude-sonnet-4-20250514", {"type": "enabled", "budget_tokens": 3_999}),
        ("claude-opus-4-8", {"type": "adaptive"}),
        ("claude-sonnet-5", {"type": "adaptive"}),
    ],
)
def test_each_model_of_anthropic_is_told_to_think_in_the_way_it_knows(model: str, thinking: dict[str, Any]) -> None:
    asked = translated(CHAT, MESSAGES, Sending(model, 4_000), reasoning_effort="high")
    assert asked["thinking"] == thinking
    assert asked.get("output_config") == ({"effort": "high"} if thinking["type"] == "adaptive" else None)


def test_a_model_that_thinks_by_budget_does_not_begin_to_between_a_call_and_its_result() -> None:
    sending = Sending("claude-haiku-4-5", 4_000)
    asked = translated(CHAT, MESSAGES, sending, messages=CHAT_LOOP, tools=[CHAT_TOOL], reasoning_effort="high")
    assert "thinking" not in asked
    with pytest.raises(BadRequest, match="output cap above 1024"):
        translated(CHAT, MESSAGES, Sending("claude-haiku-4-5", 1_024), reasoning_effort="high")


@pytest.mark.parametrize(
    ("model", "written"),
    [("gemini-2.5-flash", {"thinkingBudget": 0}), ("gemini-3-pro", {"thinkingLevel": "MINIMAL"})],
)
def test_each_model_of_google_is_told_not_to_think_in_the_way_it_knows(model: str, written: dict[str, Any]) -> None:
    asked = translated(CHAT, GEMINI, Sending(model, 4_000), reasoning_effort="none")
    assert asked["generationConfig"]["thinkingConfig"] == written


def test_an_id_that_a_protocol_does_not_take_is_the_same_other_id_in_call_and_result() -> None:
    odd = CHAT_CALL | {"id": "functions.weather:0"}
    messages = [QUESTION, {"role": "assistant", "tool_calls": [odd]}, CHAT_LOOP[3] | {"tool_call_id": odd["id"]}]
    asked = translated(CHAT, MESSAGES, messages=messages)["messages"]
    use, result = asked[1]["content"][0], asked[2]["content"][0]
    assert use["id"] == result["tool_use_id"] == "call_" + use["id"][5:]
    assert use["id"].replace("_", "").isalnum()


RESULT_IMAGE = [{"type": "image", "source": {"type": "url", "url": "https://images.example/a.png"}}]
MESSAGES_LOOP = [
    QUESTION,
    {"role": "assistant", "content": [USE]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": RESULT_IMAGE}]},
]


@pytest.mark.parametrize(
    ("source", "target", "fields", "param"),
    [
        (CHAT, RESPONSES, {"stop": "END"}, "stop"),
        (CHAT, RESPONSES, {"presence_penalty": 0.5}, "presence_penalty"),
        (CHAT, GEMINI, {"tools": [CHAT_TOOL], "parallel_tool_calls": False}, "parallel_tool_calls"),
        (CHAT, GEMINI, {"verbosity": "low"}, "verbosity"),
        (CHAT, GEMINI, {"messages": [QUESTION, {"role": "system", "content": "Now."}, QUESTION]}, "messages"),
        (CHAT, GEMINI, {"messages": [CHAT_LOOP[3]]}, "messages"),
        (MESSAGES, CHAT, {"messages": MESSAGES_LOOP}, "messages"),
        (MESSAGES, GEMINI, {"messages": MESSAGES_LOOP}, "messages"),
        (RESPONSES, CHAT, {"messages": None, "input": "Hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, CHAT, {"messages": None, "input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        (RESPONSES, GEMINI, {"messages": None, "input": "Hi", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        (RESPONSES, MESSAGES, {"messages": None, "input": "Hi", "background": True}, "background"),
        (GEMINI, CHAT, {"messages": None, "contents": [], "generationConfig": {"topK": 3}}, "generationConfig.topK"),
        (GEMINI, CHAT, {"messages": None, "contents": [], "tools": [{"google_search": {}}]}, "tools[0].googleSearch"),
        (GEMINI, CHAT, {"messages": None, "contents": [], "cachedContent": "x"}, "cachedContent"),
        (
            GEMINI,
            MESSAGES,
            {"messages": None, "contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}]}]},
            "contents[0].parts[0].inlineData.mimeType",
        ),
    ],
)
def test_what_has_no_place_in_any_pair_is_refused_by_the_clients_name_for_it(
    source: Protocol, target: Protocol, fields: dict[str, Any], param: str
) -> None:
    limits = {"max_tokens": 9 if source is MESSAGES else None}
    with pytest.raises(BadRequest) as refused:
        translated(source, target, **limits | fields)
    assert (refused.value.code, refused.value.param) == ("cannot_be_carried", param)


@pytest.mark.parametrize(
    ("source", "fields", "complaint"),
    [
        (CHAT, {"messages": "hello"}, "a list in `messages`"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, r"text or a list of parts in `messages\[0\].content`"),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"id": 5}]}]}, r"text in `messages\[0\].tool_calls"),
        (CHAT, {"temperature": "warm"}, "a number in `temperature`"),
        (MESSAGES, {"system": [{"type": "text"}]}, r"a text in `system\[0\].text`"),
        (RESPONSES, {"messages": None, "max_tokens": None, "input": [7]}, r"an object in `input\[0\]`"),
        (
            GEMINI,
            {"messages": None, "max_tokens": None, "contents": [{"parts": [{}]}]},
            r"a text in `contents\[0\].par",
        ),
    ],
)
def test_a_field_of_another_kind_is_named_with_the_kind_expected(
    source: Protocol, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadRequest, match=complaint) as refused:
        translated(source, CHAT if source is not CHAT else MESSAGES, **fields)
    assert refused.value.code == "bad_request"


def test_a_name_that_a_client_made_up_is_shown_as_far_as_it_can_be() -> None:
    with pytest.raises(BadRequest) as refused:
        translated(CHAT, MESSAGES, **{"a\n" + "x" * 1_000: 1})
    assert refused.value.param is not None
    assert len(refused.value.param) == 64
    assert refused.value.message.isprintable()


HEARING = (CHAT, RESPONSES, GEMINI)


def heard(protocol: Protocol, kind: str, data: str = "+/8=") -> dict[str, Any]:
    """Return a request whose user brings a recording."""
    part: dict[str, Any] = {"type": "input_audio", "input_audio": {"data": data, "format": kind}}
    if protocol is GEMINI:
        inline = {"mimeType": f"audio/{kind}", "data": data.translate(str.maketrans("+/", "-_"))}
        return {
            "messages": None,
            "max_tokens": None,
            "contents": [{"parts": [{"text": "Hm?"}, {"inlineData": inline}]}],
        }
    if protocol is CHAT:
        return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hm?"}, part]}], "max_tokens": None}
    item = {"role": "user", "content": [{"type": "input_text", "text": "Hm?"}, part]}
    return {"messages": None, "max_tokens": None, "input": [item]}


@pytest.mark.parametrize("kind", ["wav", "mp3"])
@pytest.mark.parametrize("target", HEARING)
@pytest.mark.parametrize("source", HEARING)
def test_a_recording_is_carried_wherever_both_ends_hear(source: Protocol, target: Protocol, kind: str) -> None:
    asked = translated(source, target, SENDING, **heard(source, kind))
    expected = heard(target, kind)
    if target is GEMINI:
        assert asked["contents"][0]["parts"][1] == {"inlineData": {"mimeType": f"audio/{kind}", "data": "+/8="}}
    else:
        field = "messages" if target is CHAT else "input"
        assert asked[field][0]["content"] == expected[field][0]["content"]


@pytest.mark.parametrize(
    ("given", "carried"), [("mpeg", "mp3"), ("x-wav", "wav"), ("WAVE;codecs=1", "wav"), ("x-aiff", ""), ("ogg", "")]
)
def test_a_kind_has_the_name_the_other_protocol_gives_it(given: str, carried: str) -> None:
    if carried:
        part = translated(GEMINI, CHAT, SENDING, **heard(GEMINI, given))["messages"][0]["content"][1]
        assert part["input_audio"]["format"] == carried
        return
    with pytest.raises(BadRequest, match="OpenAI hears WAV and MP3") as refused:
        translated(GEMINI, CHAT, SENDING, **heard(GEMINI, given))
    assert refused.value.param == "contents[0].parts[1].inlineData.mimeType"
    assert refused.value.code == "cannot_be_carried"


@pytest.mark.parametrize("kind", ["flac", "aac", "aiff", "ogg"])
def test_gemini_hears_what_openai_does_not(kind: str) -> None:
    part = translated(CHAT, GEMINI, SENDING, **heard(CHAT, kind))["contents"][0]["parts"][1]
    assert part == {"inlineData": {"mimeType": f"audio/{kind}", "data": "+/8="}}


@pytest.mark.parametrize(
    ("source", "target", "kind", "param"),
    [
        (CHAT, MESSAGES, "wav", "messages[0].content[1].input_audio.format"),
        (RESPONSES, MESSAGES, "mp3", "input[0].content[1].input_audio.format"),
        (GEMINI, MESSAGES, "wav", "contents[0].parts[1].inlineData.mimeType"),
        (CHAT, GEMINI, "pcm16", "messages[0].content[1].input_audio.format"),
        (GEMINI, CHAT, "L16", "contents[0].parts[1].inlineData.mimeType"),
        (GEMINI, RESPONSES, "webm", "contents[0].parts[1].inlineData.mimeType"),
    ],
)
def test_a_recording_that_has_no_place_is_refused_by_its_field(
    source: Protocol, target: Protocol, kind: str, param: str
) -> None:
    with pytest.raises(BadRequest, match="a recording") as refused:
        translated(source, target, SENDING, **heard(source, kind))
    assert (refused.value.code, refused.value.param) == ("cannot_be_carried", param)


def test_a_recording_of_the_models_or_a_tools_has_no_place_at_openai() -> None:
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAA="}}
    call = {"functionCall": {"name": "f", "args": {}}}
    result = {"functionResponse": {"name": "f", "response": {"output": "x"}, "parts": [sound]}}
    asked = {"role": "user", "parts": [{"text": "Hi"}]}
    for contents in (
        [asked, {"role": "model", "parts": [sound]}, asked],
        [asked, {"role": "model", "parts": [call]}, {"role": "user", "parts": [result]}],
    ):
        for target in (CHAT, RESPONSES):
            with pytest.raises(BadRequest) as refused:
                translated(GEMINI, target, SENDING, messages=None, max_tokens=None, contents=contents)
            assert refused.value.code == "cannot_be_carried"
