"""Every protocol: bodies made to break a reader are refused, and answers made to break it are not believed."""

import msgspec
import pytest

from bursar.core.errors import BadRequest
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.openai_responses import OPENAI_RESPONSES
from bursar.wires.sse import event_bytes
from bursar.wires.wire import BadAnswer, Wire

WIRES = [OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_RESPONSES]
OWN_NAMES = {"max_tokens": "max_output_tokens", "messages": "input"}  # of responses
DEEP = b"[" * 100_000 + b"]" * 100_000


def request(fields: bytes) -> bytes:
    return b'{"model":"m","max_tokens":1,"messages":[],' + fields + b"}"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (request(b'"tools":' + DEEP), "nested too deep"),
        (request(b'"nobody_knows_this":' + DEEP), "nested too deep"),
        (request(b'"model":"\xff\xfe"'), "not UTF-8"),
        (request(b'"messages":[{"role":"user","content":"caf\xe9"}]'), "not UTF-8"),
        (request(b'"messages":[{"role":"user","content":"\\ud800"}]'), "not valid JSON"),
        (request(b'"temperature":NaN'), "not valid JSON"),
        (request(b'"max_tokens":1e400'), "out of range in `max_tokens`"),
        (request(b'"max_tokens":' + b"9" * 5_000), "out of range in `max_tokens`"),
        (request(b'"max_tokens":99999999999999999999'), "at most 10000000"),
        (request(b'"max_tokens":-1'), "at least 1"),
        (request(b'"model":"m\\u0000"'), "printable characters in `model`"),
        (request(b'"model":"' + b"m" * 257 + b'"'), "printable characters in `model`"),
        (b"\xef\xbb\xbf" + request(b'"n":1'), "not valid JSON"),
        (request(b'"n":1') + b"{}", "trailing characters"),
    ],
)
def test_a_hostile_request_is_a_bad_request(wire: Wire, body: bytes, complaint: str) -> None:
    for name, own in OWN_NAMES.items() if wire is OPENAI_RESPONSES else ():
        body, complaint = body.replace(name.encode(), own.encode()), complaint.replace(name, own)
    with pytest.raises(BadRequest, match=complaint):
        wire.facts(body)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("body", [b'{"usage":' + DEEP + b"}", b'{"model":"\xff"}', b'{"content":[{"text":"\xff"}]} '])
def test_an_answer_that_breaks_a_reader_is_a_bad_answer_or_nothing_to_it(wire: Wire, body: bytes) -> None:
    try:
        answer = wire.answer(body)
    except BadAnswer:
        return
    assert answer.usage is None


@pytest.mark.parametrize(
    "usage",
    ["[1,2,3]", '"a word"', "123456", '{"prompt_tokens":' + "9" * 5_000 + "}", '{"a":' * 50_000 + "1" + "}" * 50_000],
)
def test_a_streams_usage_of_another_kind_is_not_believed_and_stops_nothing(usage: str) -> None:
    reader = OPENAI_CHAT.reader()
    reader.see(b'data: {"choices":[],"usage":' + usage.encode() + b"}\n\n")
    reader.see(event_bytes(msgspec.json.encode({"choices": [{"delta": {"content": "four"}, "finish_reason": "stop"}]})))
    answer = reader.answer()
    assert (answer.usage, answer.whole) == (None, True)
    assert answer.output_bytes >= 4
    assert answer.note


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_of_bytes_that_are_no_text_stops_nothing(wire: Wire) -> None:
    reader = wire.reader()
    reader.see(b'data: {"choices":[{"delta":{"content":"\xff"}}],"delta":{"text":"\xff"}}\n\n')
    assert reader.answer().output_bytes > 0


@pytest.mark.parametrize("count", [10**9 + 1, 2**63 - 1, 2**63, 10**30])
@pytest.mark.parametrize("leaf", ["prompt_tokens", "completion_tokens", "num_search_queries"])
def test_more_tokens_than_any_call_can_have_are_not_believed(count: int, leaf: str) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1} | {leaf: count}
    answer = OPENAI_CHAT.answer(msgspec.json.encode({"usage": usage, "choices": []}))
    assert answer.usage is None
    assert answer.note


@pytest.mark.parametrize("leaf", ["input_tokens", "output_tokens", "cache_read_input_tokens"])
def test_more_tokens_than_any_message_can_have_are_not_believed(leaf: str) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1} | {leaf: 2**63 - 1}
    answer = ANTHROPIC_MESSAGES.answer(msgspec.json.encode({"usage": usage, "content": []}))
    assert answer.usage is None
    assert answer.note


@pytest.mark.parametrize(("cost", "stated"), [("1e300", -1), ("-1", -1), ("1e9", -1), ("0", 0), ("1.5", 1_500_000_000)])
def test_a_stated_cost_the_books_could_not_hold_is_not_kept(cost: str, stated: int) -> None:
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":' + cost.encode() + b'},"choices":[]}'
    assert OPENAI_CHAT.answer(body).reported_cost_nano == stated


@pytest.mark.parametrize("wire", WIRES)
def test_unknown_counts_and_their_names_can_be_kept_in_the_books(wire: Wire) -> None:
    reported = b'"input_tokens":1,"output_tokens":1,"prompt_tokens":1,"completion_tokens":1'
    body = b'{"usage":{' + reported + b',"novel\\u0000":4,"large":99999999999999999999},"choices":[],"content":[]}'
    usage = wire.answer(body).usage
    assert usage is not None
    assert (usage.unknown["'novel\\x00'"], usage.unknown["large"]) == (4, 2**63 - 1)
    assert all(name.isprintable() for name in usage.unknown)
