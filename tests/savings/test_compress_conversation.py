"""A conversation is compressed turn by turn, and its beginning stays what it was as it goes on."""

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import BadRequest
from bursar.core.records import Protocol
from bursar.savings.compress.compress import compress, estimate
from bursar.savings.compress.conversation import Stages, compress_body, question_of
from bursar.savings.compress.lossless import ALL, lossless
from bursar.savings.compress.restoring import Means
from bursar.savings.compress.setting import OFF, Mode, Setting
from bursar.wires.prompt import read_parts
from bursar.wires.translate import FORMS
from tests.wires.forming import PROTOCOLS, requests
from tests.wires.test_form_laws import sending

CHAT, MESSAGES = Protocol.openai_chat, Protocol.anthropic_messages
REFERS = frozenset((Means.repeat,))
STAGES = Stages(
    lambda parts: lossless(parts, estimate, ALL - REFERS - {Means.blob}),
    lambda parts: lossless(parts, estimate, REFERS),
    compress,
)
BY_FOUR, LOSSLESS = Setting(Mode.contextual, 4.0), Setting(Mode.lossless)
ROWS = json.dumps([{"id": number, "name": f"n{number}", "of": "all"} for number in range(40)], indent=2)


def towns(seed: int, count: int = 30) -> str:
    rng = random.Random(seed)
    return "\n\n".join(
        f"Town{n} lies on the river Flow{rng.randrange(99)}. It has {rng.randrange(9_999)} people. Its mayor is"
        f" Person{seed}x{n}."
        for n in range(count)
    )


def agent(turns: int) -> list[dict[str, Any]]:
    """Be an agent that looks something up in every turn, and is asked something else in every third."""
    said: list[dict[str, Any]] = [{"role": "system", "content": "Be  brief.\n\n\n\nAlways."}]
    for turn in range(turns):
        if turn % 3 == 0:
            said += [{"role": "assistant", "content": "It is  done."}] if turn else []
            said.append({"role": "user", "content": f"Who  is the mayor of Town{turn + 5}?"})
        call = {"id": f"c{turn}", "type": "function", "function": {"name": "look", "arguments": '{ "a" :  1}'}}
        said.append({"role": "assistant", "content": None, "tool_calls": [call]})
        found = ROWS if turn % 4 == 1 else towns(turn % 3)
        said.append({"role": "tool", "tool_call_id": f"c{turn}", "content": found})
    return said


def compressed(messages: list[dict[str, Any]], setting: Setting = BY_FOUR) -> list[dict[str, Any]]:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    return json.loads(compress_body(CHAT, body, setting, STAGES).body)["messages"]


def test_what_was_sent_before_is_sent_the_same_again() -> None:
    whole = agent(9)
    before: list[dict[str, Any]] = []
    for length in range(2, len(whole) + 1):
        now = compressed(whole[:length])
        assert now[: len(before)] == before
        before = now
    assert sum(len(str(each)) for each in before) < sum(len(str(each)) for each in whole) / 2


def test_each_result_keeps_what_was_asked_when_it_came() -> None:
    sent = compressed(agent(4))
    first, later = sent[3]["content"], next(each for each in sent if each.get("tool_call_id") == "c3")["content"]
    assert "Person0x5" in first
    assert "Person0x8" in later
    assert len(first) < len(towns(0)) / 3


def test_calls_are_still_answered_by_their_results_and_users_say_what_they_said() -> None:
    whole = agent(5)
    sent = compressed(whole)
    assert len(sent) == len(whole)
    for was, now in zip(whole, sent, strict=True):
        assert {name: value for name, value in was.items() if name != "content"} == {
            name: value for name, value in now.items() if name != "content"
        }
        if was["role"] == "user":
            assert now == was


def test_json_stays_whole_where_sentences_would_not() -> None:
    result = json.dumps({"log": towns(1), "rows": [1, 2]})
    messages = [
        *agent(0),
        {"role": "user", "content": "Who?"},
        {"role": "tool", "tool_call_id": "c", "content": result},
    ]
    for setting in (BY_FOUR, LOSSLESS):
        assert json.loads(compressed(messages, setting)[-1]["content"]) == json.loads(result)


def test_what_nobody_could_ask_for_stays_in_its_place() -> None:
    blob = base64.b64encode(random.Random(3).randbytes(3_000)).decode()
    found = f"The key is:\n\n{blob}\n\n{towns(1)}\n\n\n\nThe end."
    for setting in (BY_FOUR, LOSSLESS):
        sent = compressed([{"role": "user", "content": "Why?"}, {"role": "tool", "content": found}], setting)
        assert blob in sent[1]["content"]


def test_a_document_before_a_mark_is_one_for_all_questions() -> None:
    marked = {"cache_control": {"type": "ephemeral"}}
    source = {"type": "text", "media_type": "text/plain", "data": towns(1)}

    def sent(mark: dict[str, Any], question: str) -> str:
        content = [{"type": "document", "source": source, **mark}, {"type": "text", "text": question}]
        body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
        read = json.loads(compress_body(MESSAGES, body, BY_FOUR, STAGES).body)
        return read["messages"][0]["content"][0]["source"]["data"]

    one, other = (sent(marked, f"Who is the mayor of Town{number}?") for number in (3, 17))
    assert one == other == towns(1)
    assert "Person1x3" in sent({}, "Who is the mayor of Town3?")
    assert len(sent({}, "Who is the mayor of Town3?")) < len(one) / 3


def test_a_result_before_a_mark_is_compressed_all_the_same() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": towns(1), "cache_control": {"type": "ephemeral"}}
    asked = [{"role": "user", "content": "Who is the mayor of Town3?"}, {"role": "user", "content": [result]}]
    body = json.dumps({"messages": asked}).encode()
    assert len(compress_body(MESSAGES, body, BY_FOUR, STAGES).body) < len(body) / 3


def test_the_question_is_that_of_the_turn_or_the_last_before_it() -> None:
    parts = read_parts(CHAT, json.dumps({"messages": agent(7)}).encode())
    asked = [question_of(parts, turn) for turn in range(10)]
    names = [text.split("Town")[-1] for text in asked]
    assert names == snapshot(["5?", "5?", "5?", "5?", "8?", "8?", "8?", "8?", "11?", "11?"])
    assert question_of((), 3) == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("setting", [OFF, LOSSLESS, BY_FOUR], ids=["off", "lossless", "by four"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_request_stays_one_and_never_grows(protocol: Protocol, setting: Setting, data: st.DataObject) -> None:
    form = FORMS[protocol]
    body = form.write_request(data.draw(requests(protocol)), sending(protocol))
    sent = compress_body(protocol, body, setting, STAGES).body
    assert len(sent) <= len(body)
    assert compress_body(protocol, body, setting, STAGES).body == sent
    was, now = form.read_request(body), form.read_request(sent)
    assert [[type(part) for part in turn.parts] for turn in was.turns] == [
        [type(part) for part in turn.parts] for turn in now.turns
    ]
    assert now.tools == was.tools or setting is not OFF
    if setting is OFF:
        assert sent is body


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(BadRequest):
        compress_body(CHAT, b"[", BY_FOUR, STAGES)
