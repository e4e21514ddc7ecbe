"""Every text of a prompt is found where it stands, and writing others changes nothing but these."""

import time
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import BadRequest
from bursar.core.records import Segments
from bursar.wires.neutral import Reasoning, Refused, Request, Sending, Text, ToolResult
from bursar.wires.parts import Kind, Part, write_parts
from bursar.wires.prompt import read_parts
from bursar.wires.translate import FORMS
from tests.wires.forming import CHAT, GEMINI, MESSAGES, PROTOCOLS, RESPONSES, Protocol, requests

SENDING = Sending("some-model", 1_000)


def body_of(value: Any) -> bytes:
    return msgspec.json.encode(value)


def shown(parts: tuple[Part, ...]) -> list[str]:
    """Say of each part what it is, on a line."""
    return [
        f"{part.turn} {part.kind} {part.role or '-'}{' ' + part.call_id if part.call_id else ''}: {part.text}"
        f"{' [protected]' if part.protected else ''}{' [cached]' if part.cached else ''}"
        for part in parts
    ]


def texts_said(request: Request) -> Counter[str]:
    """Count the texts that are in a request's turns and system prompt."""
    found = Counter(text for text in request.system if text)
    for turn in request.turns:
        for part in turn.parts:
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            found.update(each.text for each in inner if isinstance(each, Text | Refused | Reasoning) and each.text)
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_changing_texts_changes_nothing_else(protocol: Protocol, data: st.DataObject) -> None:
    body = FORMS[protocol].write_request(data.draw(requests(protocol)), SENDING)
    parts = read_parts(protocol, body)
    assert write_parts(body, parts, [part.text for part in parts]) is body
    changed = [part.text if part.protected else part.text + "é\n" for part in parts]
    written = write_parts(body, parts, changed)
    again = read_parts(protocol, written)
    assert [part.text for part in again] == changed
    assert [msgspec.structs.replace(part, text="") for part in again] == [
        msgspec.structs.replace(part, text="") for part in parts
    ]
    back = write_parts(written, again, [part.text for part in parts])
    assert msgspec.json.decode(back) == msgspec.json.decode(body)


@pytest.mark.parametrize("protocol", [CHAT, MESSAGES, RESPONSES])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_text_of_a_conversation_is_a_part(protocol: Protocol, data: st.DataObject) -> None:
    request = FORMS[protocol].read_request(FORMS[protocol].write_request(data.draw(requests(protocol)), SENDING))
    parts = read_parts(protocol, FORMS[protocol].write_request(request, SENDING))
    found = "\n".join(part.text for part in parts)
    for text in texts_said(request):
        assert text in found or msgspec.json.encode(text).decode()[1:-1] in found


def test_all_else_keeps_its_bytes() -> None:
    body = (
        b' {"model":"m", "seed":12345678901234567890123, "temperature":1.0e-0,"messages": [{"role":"tool","x":1.50,'
        b'"content":"old" , "tool_call_id":"c"},  {"role":"user","content":"\\u00e9"}], "top_p" : 0.10}'
    )
    parts = read_parts(CHAT, body)
    written = write_parts(body, parts, ["new", parts[1].text])
    assert written == (
        b'{"model":"m","seed":12345678901234567890123,"temperature":1.0e-0,"messages":[{"role":"tool","x":1.50,'
        b'"content":"new","tool_call_id":"c"},{"role":"user","content":"\\u00e9"}],"top_p":0.10}'
    )


def test_a_protected_text_cannot_be_written() -> None:
    body = body_of({"messages": [{"role": "user", "content": "Why?"}]})
    with pytest.raises(ValueError, match=r"messages\.0\.content"):
        write_parts(body, read_parts(CHAT, body), ["How?"])
    with pytest.raises(ValueError, match="shorter"):
        write_parts(body, read_parts(CHAT, body), [])


def test_a_chat_is_read_in_its_order() -> None:
    body = {
        "tools": [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"a": 1}}}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Find it."}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "Long."},
        ],
    }
    assert shown(read_parts(CHAT, body_of(body))) == snapshot(
        [
            "0 tools -: Look. [cached]",
            "0 tools -: look [protected] [cached]",
            '0 tools -: {"a":1} [protected] [cached]',
            "0 system system: Be brief. [cached]",
            "0 user user: Find it. [protected]",
            '0 history assistant c1: {"arguments":"{}"} [protected]',
            "1 retrieved tool c1: Long.",
        ]
    )
    body["messages"] += [{"role": "assistant", "content": "Found."}, {"role": "user", "content": "Thanks. And?"}]
    assert shown(read_parts(CHAT, body_of(body)))[3:] == snapshot(
        [
            "0 system system: Be brief. [cached]",
            "0 history user: Find it.",
            '0 history assistant c1: {"arguments":"{}"} [protected]',
            "1 retrieved tool c1: Long.",
            "1 history assistant: Found.",
            "2 user user: Thanks. And? [protected]",
        ]
    )


def test_what_a_user_marks_as_found_is_apart_from_what_the_user_says() -> None:
    said = "Answer from these.\n<documents>\n<document id='1'>A.</document>\n</documents>\n<CONTEXT>B.</CONTEXT>Why?"
    body = body_of({"messages": [{"role": "user", "content": said}]})
    parts = read_parts(CHAT, body)
    assert shown(parts) == snapshot(
        [
            """\
0 user user: Answer from these.
<documents> [protected]\
""",
            """\
0 retrieved user: \n\
<document id='1'>A.</document>
""",
            """\
0 user user: </documents>
<CONTEXT> [protected]\
""",
            "0 retrieved user: B.",
            "0 user user: </CONTEXT>Why? [protected]",
        ]
    )
    changed = [part.text if part.protected else "…" for part in parts]
    written = msgspec.json.decode(write_parts(body, parts, changed))["messages"][0]["content"]
    assert written == "Answer from these.\n<documents>…</documents>\n<CONTEXT>…</CONTEXT>Why?"
    with pytest.raises(ValueError, match=r"messages\.0\.content"):
        write_parts(body, parts, ["…" for _ in parts])


@pytest.mark.parametrize("said", ["<context>" * 60_000 + "</sources>", "<context></context>" * 30_000, "</a>" * 90_000])
def test_marks_that_mark_nothing_take_no_time(said: str) -> None:
    started_s = time.perf_counter()
    assert [part.text for part in read_parts(CHAT, body_of({"messages": [{"role": "user", "content": said}]}))] == [
        said
    ]
    assert time.perf_counter() - started_s < 2


def test_a_message_is_read_in_its_order_and_marks_say_what_is_cached() -> None:
    marked = {"cache_control": {"type": "ephemeral"}}
    body = {
        "tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object"}}],
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "text", "data": "A report."}},
                    {"type": "document", "source": {"type": "text", "data": "Cited."}, "citations": {"enabled": True}},
                    {"type": "search_result", "content": [{"type": "text", "text": "Found."}], **marked},
                    {"type": "text", "text": "What?"},
                ],
            }
        ],
    }
    assert shown(read_parts(MESSAGES, body_of(body))) == snapshot(
        [
            "0 tools -: Look. [cached]",
            "0 tools -: look [protected] [cached]",
            '0 tools -: {"type":"object"} [protected] [cached]',
            "0 system system: Be brief. [cached]",
            "0 retrieved tool: A report. [cached]",
            "0 retrieved tool: Cited. [protected] [cached]",
            "0 retrieved tool: Found. [cached]",
            "0 user user: What? [protected]",
        ]
    )
    body["messages"] += [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Seen.", **marked}]},
    ]
    assert shown(read_parts(MESSAGES, body_of(body)))[7:] == snapshot(
        [
            "0 user user: What? [protected] [cached]",
            '0 history assistant: {"thinking":"Hm."} [protected] [cached]',
            '0 history assistant t1: {"name":"look","input":{"at":1}} [protected] [cached]',
            "1 retrieved tool t1: Seen. [cached]",
        ]
    )


def test_a_response_is_read_in_its_order() -> None:
    body = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Find it."}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "zzz"},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "Long."},
            {"type": "computer_call_output", "call_id": "c2", "output": {"image_url": "data:image/png;base64,AAAA"}},
        ],
    }
    assert shown(read_parts(RESPONSES, body_of(body))) == snapshot(
        [
            "0 system system: Be brief. [cached]",
            "0 user user: Find it. [protected]",
            '0 history assistant: {"summary":[]} [protected]',
            '0 history assistant c1: {"call_id":"c1","name":"look","arguments":"{}"} [protected]',
            "1 retrieved tool c1: Long.",
        ]
    )
    assert shown(read_parts(RESPONSES, b'{"input": "Why?"}')) == snapshot(["0 user user: Why? [protected]"])


def test_gemini_is_read_in_either_spelling() -> None:
    body = {
        "system_instruction": {"parts": {"text": "Be brief."}},
        "tools": {"function_declarations": [{"name": "look", "description": "Look."}]},
        "contents": [
            {"parts": [{"text": "Find it."}]},
            {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"functionCall": {"name": "look"}}]},
            {
                "role": "user",
                "parts": [{"function_response": {"name": "look", "response": {"output": "Long.", "n": 1.5}}}],
            },
        ],
    }
    assert shown(read_parts(GEMINI, body_of(body))) == snapshot(
        [
            "0 tools -: Look. [cached]",
            "0 tools -: look [protected] [cached]",
            "0 system system: Be brief. [cached]",
            "0 user user: Find it. [protected]",
            "0 history assistant: Hm. [protected]",
            '0 history assistant: {"name":"look"} [protected]',
            "1 retrieved tool look: Long.",
            "1 retrieved tool look: 1.5 [protected]",
        ]
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None, "input": None, "contents": None, "tools": {}},
        {"messages": [1, None, {"role": 3, "content": {"a": 1}}], "input": [[]], "contents": [[]], "tools": [1]},
        {"messages": [{"role": "assistant", "content": [7], "tool_calls": [8]}], "contents": [{"parts": [9]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": 4}, {"type": "tool_result"}]}]},
    ],
)
def test_what_has_no_known_shape_is_left_alone(protocol: Protocol, body: Any) -> None:
    assert [part for part in read_parts(protocol, body_of(body)) if not part.protected] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":' * 2_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_parts(CHAT, body)


def test_kinds_are_the_segments_of_a_record() -> None:
    assert {kind.value for kind in Kind} == set(Segments.__struct_fields__)
