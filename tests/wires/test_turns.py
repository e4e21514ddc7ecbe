"""The same turn is known again under other ids, another turn is not taken for it, and no body breaks the reader."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wires.turns import turn_digest

ASKED = {"role": "user", "content": "Find the invoice."}


def digest(*messages: Any, **fields: Any) -> bytes:
    return turn_digest(msgspec.json.encode({"model": "m", "messages": messages} | fields))


def openai_turn(call_id: str, arguments: str = '{"id":1}', result: str = "nothing found", name: str = "find") -> Any:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def anthropic_turn(
    call_id: str, arguments: Any = msgspec.UNSET, result: Any = "nothing found", name: str = "find", **thoughts: str
) -> Any:
    given = {"id": 1} if arguments is msgspec.UNSET else arguments
    use = {"type": "tool_use", "id": call_id, "name": name, "input": given}
    thinking = [{"type": "thinking", **thoughts}] if thoughts else []
    return [
        {"role": "assistant", "content": [*thinking, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id, "content": result}]},
    ]


def responses_turn(call_id: str, arguments: str = '{"id":1}', result: str = "nothing found", name: str = "find") -> Any:
    return [
        {"type": "reasoning", "id": f"rs_{call_id}", "summary": [], "encrypted_content": call_id},
        {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": arguments},
        {"type": "function_call_output", "call_id": call_id, "output": result},
    ]


SHAPES = [openai_turn, anthropic_turn]


@pytest.mark.parametrize("turn", SHAPES)
def test_the_same_turn_is_known_under_other_ids_and_after_another_past(turn: Any) -> None:
    first = digest(ASKED, *turn("call_1"))
    assert len(first) == 16
    assert digest(ASKED, *turn("call_2")) == first
    assert digest(ASKED, *turn("call_1"), *turn("call_3")) == first
    assert digest(*turn("call_9"), model="another", tools=[], temperature=1) == first


@pytest.mark.parametrize("turn", SHAPES)
def test_other_results_tools_and_words_are_other_turns(turn: Any) -> None:
    turns = [
        turn("call_1"),
        turn("call_1", result="one found"),
        turn("call_1", name="search"),
        [*turn("call_1"), {"role": "user", "content": "Go on."}],
        turn("call_1") + turn("call_1")[:1],
        [ASKED],
    ]
    assert len({digest(ASKED, *each) for each in turns}) == len(turns)


def test_what_a_tool_is_asked_for_counts_whatever_its_fields_are_called() -> None:
    texts = ['{"id":1}', '{"id":2}', '{"tool_use_id":1}', "{}"]
    assert len({digest(*openai_turn("c", text, "done")) for text in texts}) == len(texts)
    inputs = [{"id": 1}, {"id": 2}, {"tool_use_id": 1}, {"cache_control": 1}, {"deep": [{"id": 1}]}, {"deep": [{}]}, {}]
    assert len({digest(*anthropic_turn("c", each, "done")) for each in inputs}) == len(inputs)


def gemini_digest(*contents: Any, **fields: Any) -> bytes:
    return turn_digest(msgspec.json.encode({"contents": contents} | fields))


def gemini_turn(call_id: str, args: Any = None, response: Any = None, **more: Any) -> Any:
    call = {"id": call_id, "name": "find", "args": {"id": 1} if args is None else args}
    result = {"id": call_id, "name": "find", "response": response or {"result": "nothing"}}
    return [
        {"role": "model", "parts": [{"functionCall": call} | more]},
        {"role": "user", "parts": [{"functionResponse": result}]},
    ]


def test_geminis_turns_are_told_apart_in_the_same_way() -> None:
    asked: Any = {"parts": [{"text": "Find it."}]}
    first = gemini_digest(asked, *gemini_turn("a", thoughtSignature="x"))
    assert len(first) == 16
    assert gemini_digest(*gemini_turn("a"), *gemini_turn("b", thoughtSignature="y"), model="m") == first
    thought = {"role": "model", "parts": [{"text": "Hm.", "thought": True}, *gemini_turn("c")[0]["parts"]]}
    assert gemini_digest(asked, thought, gemini_turn("c")[1]) == first
    others = [gemini_turn("a", args={"id": 2}), gemini_turn("a", response={"id": 7}), [asked], gemini_turn("a")[:1]]
    assert len({first, *(gemini_digest(*each) for each in others)}) == 5


def test_geminis_first_turn_holds_its_system_prompt_in_either_spelling() -> None:
    asked: Any = {"parts": [{"text": "Go."}]}
    plan, check = ({"parts": [{"text": text}]} for text in ("You plan.", "You check."))
    digests = {
        gemini_digest(asked),
        gemini_digest(asked, systemInstruction=plan),
        gemini_digest(asked, systemInstruction=check),
        gemini_digest(asked, system_instruction=check),
    }
    assert len(digests) == 4
    assert turn_digest(msgspec.json.encode({"contents": asked})) == gemini_digest(asked)  # one for a list of one


def test_the_order_of_a_tools_arguments_is_no_difference() -> None:
    one, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert digest(*anthropic_turn("c", one)) == digest(*anthropic_turn("c", other))


def items_digest(*items: Any, **fields: Any) -> bytes:
    return turn_digest(msgspec.json.encode({"model": "m", "input": items} | fields))


def test_the_same_turn_of_responses_is_known_under_other_ids_and_after_another_past() -> None:
    first = items_digest(ASKED, *responses_turn("c1"))
    assert len(first) == 16
    assert items_digest(ASKED, *responses_turn("c2")) == first
    assert items_digest(*responses_turn("c1"), *responses_turn("c3")) == first
    assert items_digest(*responses_turn("c9"), model="another", tools=[], previous_response_id="resp_1") == first
    assert items_digest(*responses_turn("c9")[1:]) == first  # what was thought is no part of it


def test_other_results_tools_words_and_calls_at_once_are_other_turns_of_responses() -> None:
    turns = [
        responses_turn("c"),
        responses_turn("c", result="one found"),
        responses_turn("c", name="search"),
        responses_turn("c", '{"id":2}'),
        [*responses_turn("c"), {"role": "user", "content": "Go on."}],
        [*responses_turn("c")[:2], *responses_turn("d")[1:]],
        [{"role": "assistant", "content": "I will look."}, *responses_turn("c")],
        [ASKED],
    ]
    assert len({items_digest(ASKED, *each) for each in turns}) == len(turns)


def test_a_first_turn_of_responses_is_all_that_is_asked_with_its_instructions() -> None:
    plain = turn_digest(b'{"input":"Find it."}')
    assert len(plain) == 16
    assert turn_digest(b'{"input":"Find it.","temperature":0}') == plain
    assert turn_digest(b'{"input":"Find it.","instructions":"You plan."}') != plain
    assert turn_digest(b'{"input":"Find them."}') != plain


@pytest.mark.parametrize("kept", [{"previous_response_id": "resp_1"}, {"conversation": {"id": "conv_1"}}])
def test_a_turn_the_provider_keeps_is_not_compared(kept: dict[str, Any]) -> None:
    done = {"type": "function_call_output", "call_id": "c", "output": "done"}
    assert items_digest(done, **kept) == b""
    assert items_digest(done) != b""


def test_marks_for_a_cache_are_no_difference() -> None:
    turn = anthropic_turn("call_1")
    marked = anthropic_turn("call_2")
    marked[1]["content"][0]["cache_control"] = {"type": "ephemeral"}
    assert digest(*marked) == digest(*turn)


def test_what_was_thought_is_no_difference_and_what_was_done_is() -> None:
    one = digest(*anthropic_turn("call_1", thinking="I will look.", signature="abc"))
    assert digest(*anthropic_turn("call_2", thinking="I should look.", signature="def")) == one
    assert digest(*anthropic_turn("call_2")) == one
    assert digest(*anthropic_turn("call_2", thinking="I will look.", signature="abc", result="found")) != one


def test_ids_within_a_tools_result_blocks_are_no_difference() -> None:
    one, other = ([{"type": "document", "id": name, "text": "same"}] for name in ("d1", "d2"))
    assert digest(*anthropic_turn("c", result=one)) == digest(*anthropic_turn("c", result=other))


def test_a_first_turn_is_all_that_is_asked_with_its_system_prompt() -> None:
    assert digest(ASKED) == digest(ASKED, temperature=0)
    assert digest(ASKED, system="You plan.") != digest(ASKED, system="You check.")
    assert digest({"role": "system", "content": "You plan."}, ASKED) != digest(ASKED)
    answered = [ASKED, {"role": "assistant", "content": "Here."}, ASKED]
    assert digest(*answered, system="You plan.") == digest(*answered, system="You check.")


def test_only_the_latest_messages_are_read() -> None:
    many = [{"role": "user", "content": str(number)} for number in range(100)]
    assert digest(*many) == digest({"role": "user", "content": "other"}, *many[1:])
    assert digest(*many) != digest(*many[:-1], {"role": "user", "content": "other"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b'{"messages":[]}',
        b'{"messages":null}',
        b'{"messages":{"role":"user"}}',
        b'{"messages":[5]}',
        b'{"contents":[5]}',
        b'{"contents":7}',
        b'{"contents":[]}',
        b'{"messages":[{"role":7}]}',
        b'{"messages":[null]}',
        b'{"input":null}',
        b'{"input":[{"role":7}]}',
        b'{"input":"\xff"}',
        b'{"input":[{"type":"message","content":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"messages":[{"role":"user","content":"\xff\xfe"}]}',
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"messages":[{"role":"user","content":1e999}]}',
        b'{"messages":[{"role":"user","content":NaN}]}',
        b'{"messages":[{"role":"user","content":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"messages":[{"role":"user","content":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}]}",
        b'{"messages":[{"role":"user","content":' + b"9" * 5_000 + b"}]}",
    ],
)
def test_a_hostile_body_has_an_empty_digest(body: bytes) -> None:
    assert turn_digest(body) == b""


@given(st.binary(max_size=60), st.text(max_size=60))
def test_whatever_is_sent_nothing_is_raised(raw: bytes, text: str) -> None:
    for body in (raw, text.encode("utf-8", "surrogatepass"), b'{"messages":[' + raw + b"]}", b'{"input":' + raw + b"}"):
        assert len(turn_digest(body)) in (0, 16)
