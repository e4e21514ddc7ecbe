"""Calls in one protocol reach a provider of another, and its answers come back in the first."""

from typing import Any

import msgspec
import pytest

from bursar.core.errors import BadRequest
from bursar.core.records import Protocol
from bursar.wires.neutral import Sending
from bursar.wires.translate import translate_request

CHAT, MESSAGES = Protocol.openai_chat, Protocol.anthropic_messages
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
