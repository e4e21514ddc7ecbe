"""A model is offered to read what was left out where its call can be gone on with; its client never hears of it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wires.reads import PROTOCOLS, TOOL, Read, go_on, note, offer, reads_in, without_reads
from tests.wires.forming import CHAT, GEMINI, MESSAGES, RESPONSES, Protocol

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | st.just(TOOL),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "tool_calls", "function", "name", "arguments", "content", "type", "input", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
OWN: dict[Protocol, Any] = {
    CHAT: {"type": "function", "function": {"name": "look"}},
    MESSAGES: {"name": "look", "input_schema": {}},
}


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_tool_stands_behind_the_clients_own_and_all_else_stays(protocol: Protocol) -> None:
    body = b'{"seed": 1.50, "tools": [' + encode(OWN[protocol]) + b'], "messages": [ ]}'
    offered = offer(protocol, body)
    assert offered is not None
    assert offered.startswith(b'{"seed":1.50,"tools":[' + encode(OWN[protocol]) + b",")
    tools = msgspec.json.decode(offered)["tools"]
    assert [each.get("name") or each["function"]["name"] for each in tools] == ["look", TOOL]
    assert offer(protocol, offered) is None


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({"tool_choice": "auto"}, True),
        ({"tool_choice": "required"}, True),
        ({"tool_choice": {"type": "any"}}, True),
        ({"tool_choice": "none"}, False),
        ({"tool_choice": {"type": "none"}}, False),
        ({"tool_choice": {"type": "function", "function": {"name": "look"}}}, False),
        ({"tool_choice": {"type": "tool", "name": "look"}}, False),
        ({"n": 1}, True),
        ({"n": 2}, False),
        ({"tools": None}, False),
        ({"tools": []}, False),
    ],
)
def test_it_is_offered_where_a_model_may_choose_what_to_call(fields: dict[str, Any], offered: bool) -> None:
    body = {"messages": [], "tools": [OWN[CHAT]]} | fields
    assert (offer(CHAT, encode(body)) is not None) is offered


@pytest.mark.parametrize("protocol", [RESPONSES, GEMINI])
def test_other_protocols_are_not_offered_it(protocol: Protocol) -> None:
    assert offer(protocol, encode({"tools": [{"type": "function", "name": "look"}], "input": []})) is None


def test_what_is_read_is_what_the_note_says() -> None:
    name = note("c1").partition('"')[2].partition('"')[0]
    call = {"id": "r0", "function": {"name": TOOL, "arguments": encode({"result": name}).decode()}}
    answer = encode({"choices": [{"message": {"content": None, "tool_calls": [call]}}]})
    assert reads_in(CHAT, answer) == (Read("r0", "c1"),)
    gone_on = msgspec.json.decode(go_on(CHAT, b'{"messages":[{"role":"user"}]}', answer, {"r0": "whole"}))
    assert [each.get("role") for each in gone_on["messages"]] == ["user", None, "tool"]
    assert msgspec.json.decode(without_reads(CHAT, answer)) == {
        "choices": [{"message": {"content": None}, "finish_reason": "stop"}]
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(answer=JSON)
def test_answers_of_any_shape_are_read_and_shown(protocol: Protocol, answer: Any) -> None:
    body = encode(answer)
    reads_in(protocol, body)
    shown = without_reads(protocol, body)
    if TOOL.encode() not in body:
        assert shown is body
    assert reads_in(protocol, shown) == ()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_no_json_is_passed_over(protocol: Protocol) -> None:
    assert reads_in(protocol, b"<html>bursar_read</html>") == ()
