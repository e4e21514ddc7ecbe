"""Messages: what is read from requests, answers and streams, and what is written."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import BadRequest, NoMoney, TooMany, Unavailable, Unmetered
from bursar.core.usage import Usage, UsageContradiction
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES, usage_from_report
from bursar.wires.sse import event_bytes
from bursar.wires.wire import TOOLS_OVERHEAD_TOKENS, BadAnswer, Seen

encode = msgspec.json.encode
HI = [{"role": "user", "content": "hi"}]
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 5_000}}
PAPER = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "B" * 5_000}}
USAGE = {"input_tokens": 10, "output_tokens": 4}


def request(**fields: Any) -> bytes:
    return encode({"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": HI} | fields)


def user(*parts: dict[str, Any]) -> bytes:
    return request(messages=[{"role": "user", "content": list(parts)}])


def test_searches_are_always_reported() -> None:
    facts = ANTHROPIC_MESSAGES.facts(request(tools=[{"type": "web_search_20250305", "name": "web_search"}]))
    assert facts.traits.searches_web
    assert not facts.hides_searches


def test_the_prompt_is_measured_by_segment_in_bytes() -> None:
    messages = [
        {"role": "user", "content": "what is it?"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a tool"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {"at": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42 °C"}]},
        {"role": "user", "content": [{"type": "text", "text": "so?"}]},
    ]
    system = [{"type": "text", "text": "be"}, {"type": "text", "text": " brief"}]
    body = request(messages=messages, system=system, tools=[{"name": "look"}])
    facts = ANTHROPIC_MESSAGES.facts(body)
    segments = facts.segments
    assert (segments.system, segments.user) == (8, 3)
    assert segments.retrieved == len('"42 °C"'.encode())
    assert segments.history == len("what is it?") + len("hm") + len("a tool") + len('{"at":1}')
    assert segments.tools == len('[{"name":"look"}]')
    assert facts.text_bytes == len(body) + TOOLS_OVERHEAD_TOKENS


def test_caps_and_wishes_are_read() -> None:
    facts = ANTHROPIC_MESSAGES.facts(request(stream=True, service_tier="standard_only", speed="fast", system="x"))
    assert (facts.output_cap, facts.choices, facts.stream) == (64, 1, True)
    assert (facts.service_tier, facts.speed, facts.segments.system) == ("standard_only", "fast", 1)
    assert facts.wants_usage
    assert not ANTHROPIC_MESSAGES.facts(request(stream=None)).stream


@pytest.mark.parametrize(
    ("part", "images", "others"),
    [
        (PIXEL, 1, 0),
        (PAPER, 0, 1),
        ({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}, 1, 0),
        ({"type": "tool_result", "tool_use_id": "1", "content": [PIXEL, {"type": "text", "text": "seen"}]}, 1, 0),
        ({"type": "tool_result", "tool_use_id": "1", "content": [PAPER, PIXEL]}, 1, 1),
        ({"type": "tool_result", "tool_use_id": "1", "content": "plain"}, 0, 0),
        ({"type": "tool_result", "tool_use_id": "1", "content": [1, 2]}, 0, 0),
        # The source of a search result is a text, which its bytes bound.
        ({"type": "search_result", "source": "https://example.org", "title": "t", "content": [{"type": "text"}]}, 0, 0),
    ],
)
def test_media_are_counted_wherever_they_stand(part: dict[str, Any], images: int, others: int) -> None:
    body = user(part)
    facts = ANTHROPIC_MESSAGES.facts(body)
    assert (facts.media.images, facts.media.others) == (images, others)
    assert facts.traits.media == (images + others > 0)
    assert facts.text_bytes == len(body) - facts.media.body_bytes
    assert facts.text_bytes < 400


@pytest.mark.parametrize(
    ("body", "writes_5m", "writes_1h", "searches"),
    [
        (request(), False, False, False),
        (request(system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]), True, False, False),
        (request(cache_control={"type": "ephemeral", "ttl": "1h"}), True, True, False),
        (request(tools=[{"type": "web_search_20250305", "name": "web_search"}]), False, False, True),
        (request(tools=[{"name": "look"}]), False, False, False),
        # A word the hold depends on, hidden behind escapes, makes the hold no smaller.
        (request(cache_control={"ttl": "1h"}).replace(b"cache_c", b"cache_\\u0063"), True, True, False),
        (request(tools=[{"type": "web_search_1"}]).replace(b"web_s", b"web\\u005fs"), True, True, True),
        # What is escaped for other reasons is no such word, nor is a client's own tool of that name.
        (request(system="<&>", tools=[{"name": "look"}]).replace(b"<", b"\\u003c"), False, False, False),
        (request(system="\\u0061", tools=[{"name": "look"}]), False, False, False),
        (request(system="\\\\u0061", tools=[{"name": "look"}]), False, False, False),
        (
            request(tools=[{"name": "web_search", "type": "custom"}, {"name": "web_search", "type": None}]),
            False,
            False,
            False,
        ),
        (request(system='"web_search_1"'), False, False, False),
        (request(system="caf\u00e9").replace("é".encode(), b"\\u00e9"), False, False, False),
    ],
)
def test_what_a_call_may_do_is_read(body: bytes, writes_5m: bool, writes_1h: bool, searches: bool) -> None:
    traits = ANTHROPIC_MESSAGES.facts(body).traits
    assert (traits.writes_cache_5m, traits.writes_cache_1h, traits.searches_web) == (writes_5m, writes_1h, searches)


@pytest.mark.parametrize(
    ("body", "complaint", "param"),
    [
        (b"", "not valid JSON", None),
        (b"[]", "Expected `object`, got `array`", None),
        (b'{"model":"m","messages":[]}', "missing required field `max_tokens`", None),
        (b'{"max_tokens":1,"messages":[]}', "missing required field `model`", None),
        (request(max_tokens=0), "at least 1", "max_tokens"),
        (request(max_tokens="secret"), "Expected `int`, got `str` in `max_tokens`", "max_tokens"),
        (request(messages=[{"role": "user"}]), "missing required field `content`", "messages[0]"),
        (request(messages=[{"role": 7, "content": "secret"}]), "got `int` in `messages[0].role`", "messages[0].role"),
        (request(system=3), "got `int` in `system`", "system"),
        (request(stream="yes"), "got `str` in `stream`", "stream"),
    ],
)
def test_bad_requests_name_the_field_and_the_kind(body: bytes, complaint: str, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        ANTHROPIC_MESSAGES.facts(body)
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"tools": [{"name": "mine"}, {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-6"}]},
        {"inference_geo": "us"},
        {"fallbacks": [{"model": "claude-opus-4-6"}]},
    ],
)
def test_what_has_a_price_of_its_own_and_no_meter_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Unmetered, match="no meter for it here") as caught:
        ANTHROPIC_MESSAGES.facts(request(**fields))
    assert caught.value.param == next(iter(fields))


@pytest.mark.parametrize("tools", [{"type": "web_search_1"}, "web_search_1", [7], [{"type": 7}]])
def test_tools_of_another_shape_are_refused(tools: Any) -> None:
    with pytest.raises(BadRequest, match="expected a list of tools"):
        ANTHROPIC_MESSAGES.facts(request(tools=tools))


@pytest.mark.parametrize(
    ("fields", "bounded"),
    [
        ({"tools": [{"name": "web_fetch"}, {"type": "bash_20250124", "name": "bash"}]}, True),
        ({"tools": None, "mcp_servers": [], "fallbacks": None, "inference_geo": "global"}, True),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, False),
        ({"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]}, False),
    ],
)
def test_what_the_provider_reads_by_itself_only_the_context_window_bounds(
    fields: dict[str, Any], bounded: bool
) -> None:
    facts = ANTHROPIC_MESSAGES.facts(request(**fields))
    assert (input_tokens_max(facts, facts.model, 200_000) == 200_000) is not bounded


def test_the_upstream_body_is_the_clients_with_the_model_as_decided() -> None:
    body = request(temperature=0.25, metadata={"user_id": "u"}, stream=True)
    facts = ANTHROPIC_MESSAGES.facts(body)
    assert facts.output_cap is not None
    sent = ANTHROPIC_MESSAGES.upstream_body(body, facts, "claude-haiku-4-5", facts.output_cap, "max_tokens")
    assert msgspec.json.decode(sent) == msgspec.json.decode(body) | {"model": "claude-haiku-4-5"}
    assert b'"temperature":0.25' in sent
    smaller = ANTHROPIC_MESSAGES.upstream_body(body, facts, facts.model, 9, "max_tokens")
    assert msgspec.json.decode(smaller) == msgspec.json.decode(body) | {"max_tokens": 9}


def test_a_field_given_twice_reaches_the_provider_once_as_it_was_read() -> None:
    body = b'{"model":"cheap","max_tokens":1,"messages":[],"model":"dear","max_tokens":9000}'
    facts = ANTHROPIC_MESSAGES.facts(body)
    sent = ANTHROPIC_MESSAGES.upstream_body(body, facts, facts.model, 9000, "max_tokens")
    assert (facts.model, facts.output_cap) == ("dear", 9000)
    assert msgspec.json.decode(sent) == {"model": "dear", "max_tokens": 9000, "messages": []}
    assert sent.count(b'"model"') == sent.count(b'"max_tokens"') == 1


leaves = st.integers(0, 10**7)
usages = st.builds(Usage, *[leaves] * 6, other=st.fixed_dictionaries({}, optional={"web_searches": st.integers(1, 9)}))


@given(usages)
def test_usage_survives_being_reported(usage: Usage) -> None:
    report = ANTHROPIC_MESSAGES.usage_report(usage)
    assert usage_from_report(report) == usage
    assert msgspec.json.decode(encode(report)) == report


@pytest.mark.parametrize(
    ("more", "usage"),
    [
        ({}, Usage(10, output_tokens=4)),
        # Cache reads and writes stand beside the input, not within it (litellm #5443, #9812).
        (
            {"cache_read_input_tokens": 1_000, "cache_creation_input_tokens": 200},
            Usage(10, 1_000, 200, output_tokens=4),
        ),
        # Writes by lifetime.
        (
            {
                "cache_creation_input_tokens": 300,
                "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            },
            Usage(10, 0, 100, 200, output_tokens=4),
        ),
        # Lifetimes that do not cover all that was written: the rest is of five minutes, the default.
        (
            {"cache_creation_input_tokens": 300, "cache_creation": {"ephemeral_1h_input_tokens": 200}},
            Usage(10, 0, 100, 200, output_tokens=4),
        ),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 7}}, Usage(10, 0, 7, output_tokens=4)),
        # Thinking is a part of the output (litellm #18599).
        ({"output_tokens_details": {"thinking_tokens": 3}}, Usage(10, output_tokens=1, reasoning_tokens=3)),
        (
            {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 5}},
            Usage(10, output_tokens=4, other={"web_searches": 2}),
        ),
        # null is missing, zero is zero.
        (
            {"cache_read_input_tokens": None, "cache_creation": None, "server_tool_use": None},
            Usage(10, output_tokens=4),
        ),
        ({"input_tokens": 0, "output_tokens": 0}, Usage()),
        # What nobody knows is kept, not priced, not dropped.
        (
            {"dream_tokens": 5, "server_tool_use": {"teleports": 1}, "inference_geo": "eu", "none": 0},
            Usage(10, output_tokens=4, unknown={"dream_tokens": 5, "server_tool_use.teleports": 1}),
        ),
        # The turns of a tool loop are within the totals; a compaction is billed beside them.
        (
            {
                "iterations": [
                    {"type": "compaction", "input_tokens": 1_000, "output_tokens": 30, "cache_read_input_tokens": 2},
                    {"type": "message", "input_tokens": 6, "output_tokens": 1},
                    {"type": "message", "input_tokens": 4, "output_tokens": 3},
                ]
            },
            Usage(1_010, 2, output_tokens=34),
        ),
        # An advisor's tokens are another model's: shown, not priced at this one's rates.
        (
            {"iterations": [{"type": "advisor_message", "model": "m", "input_tokens": 70, "output_tokens": 0}]},
            Usage(10, output_tokens=4, unknown={"iterations.advisor_message.input_tokens": 70}),
        ),
    ],
)
def test_usage_is_read_as_reported(more: dict[str, Any], usage: Usage) -> None:
    assert usage_from_report(USAGE | more) == usage


@pytest.mark.parametrize(
    "more",
    [
        {"input_tokens": -1},
        {"output_tokens": -1},
        {"cache_read_input_tokens": -1},
        {"cache_creation_input_tokens": -5},
        {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": -3}},
        {"cache_creation": {"ephemeral_1h_input_tokens": -3}},
        {"server_tool_use": {"web_search_requests": -1}},
        {"output_tokens_details": {"thinking_tokens": 5}},
        {"input_tokens": None},
        {"output_tokens": None},
        {"input_tokens": "many"},
        {"input_tokens": 1.5},
        {"input_tokens": True},
        {"cache_creation": 7},
        {"iterations": 7},
        {"iterations": [7]},
        {"iterations": [{"type": "compaction", "input_tokens": -1, "output_tokens": 0}]},
    ],
)
def test_a_report_that_contradicts_itself_is_not_believed(more: dict[str, Any]) -> None:
    with pytest.raises(UsageContradiction):
        usage_from_report(USAGE | more)
    answer = ANTHROPIC_MESSAGES.answer(encode({"usage": USAGE | more, "content": [{"type": "text", "text": "four"}]}))
    assert answer.usage is None
    assert answer.note
    assert answer.output_bytes == 4


def test_an_answer_is_read_whole() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "né"},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"at": 1}},
    ]
    body = encode({"type": "message", "model": "m", "content": content, "usage": USAGE | {"service_tier": "priority"}})
    answer = ANTHROPIC_MESSAGES.answer(body)
    assert (answer.usage, answer.model, answer.service_tier) == (Usage(10, output_tokens=4), "m", "priority")
    assert (answer.whole, answer.final, answer.note) == (True, True, "")
    assert answer.output_bytes == len("hm") + len("né".encode()) + len('{"at":1}')


def test_an_answer_without_usage_has_none_rather_than_zero() -> None:
    assert ANTHROPIC_MESSAGES.answer(b'{"content":[{"type":"text","text":"four"}]}').usage is None
    assert ANTHROPIC_MESSAGES.answer(b'{"content":[],"usage":null}').usage is None
    assert ANTHROPIC_MESSAGES.answer(b'{"content":[],"usage":{}}').usage is None
    assert ANTHROPIC_MESSAGES.answer(b'{"content":[],"usage":{"input_tokens":0,"output_tokens":0}}').usage == Usage()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"content": [', b"<html>", b'{"usage": 3}'])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        ANTHROPIC_MESSAGES.answer(body)


def event(kind: str, **fields: Any) -> bytes:
    return event_bytes(encode({"type": kind} | fields), kind)


def start(**usage: Any) -> bytes:
    return event("message_start", message={"model": "m", "content": [], "usage": {"output_tokens": 1} | usage})


def text(piece: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})


def end(**usage: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)


STOP = event("message_stop")


def test_a_stream_is_read_event_by_event() -> None:
    events = [
        start(input_tokens=10, cache_read_input_tokens=7),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        text("hé"),
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"a"'}),
        event("content_block_delta", index=2, delta={"type": "thinking_delta", "thinking": "so"}),
        event("content_block_stop", index=0),
        end(output_tokens=12),
    ]
    reader = ANTHROPIC_MESSAGES.reader()
    assert {reader.see(each) for each in events} == {Seen.content}
    assert reader.see(STOP) is Seen.last
    answer = reader.answer()
    assert (answer.usage, answer.model) == (Usage(10, 7, output_tokens=12), "m")
    assert (answer.whole, answer.final, answer.output_bytes) == (True, True, 3 + 4 + 2)


def usage_of_stream(*events: bytes) -> Usage | None:
    reader = ANTHROPIC_MESSAGES.reader()
    for each in events:
        reader.see(each)
    reader.see(STOP)
    return reader.answer().usage


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        # Cumulative snapshots are not summed (helix PR 3005, bifrost #3451).
        ({"input_tokens": 10}, [{"output_tokens": 2}, {"output_tokens": 5}], Usage(10, output_tokens=5)),
        (
            {"input_tokens": 10, "cache_read_input_tokens": 3},
            [{"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 5}],
            Usage(10, 3, output_tokens=5),
        ),
        # Cache counts that come in message_delta only (bifrost #5354, envoy #2290).
        (
            {"input_tokens": 10},
            [{"output_tokens": 5, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 6}],
            Usage(10, 8, 6, output_tokens=5),
        ),
        # A later null says nothing; a later zero is a count.
        ({"input_tokens": 10}, [{"input_tokens": None, "output_tokens": 5}], Usage(10, output_tokens=5)),
        (
            {"input_tokens": 10, "cache_read_input_tokens": 4},
            [{"input_tokens": 14, "cache_read_input_tokens": 0, "output_tokens": 0}],
            Usage(14),
        ),
        # Lifetimes are merged field by field, and what a loop of server tools wrote later is of five minutes.
        (
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 9,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 9},
            },
            [{"output_tokens": 5, "cache_creation_input_tokens": 12, "cache_creation": None}],
            Usage(10, 0, 3, 9, output_tokens=5),
        ),
        ({"input_tokens": 1, "dreams": 2}, [{"output_tokens": 1}], Usage(1, output_tokens=1, unknown={"dreams": 2})),
    ],
)
def test_usage_of_a_stream_is_the_last_that_is_not_null(
    first: dict[str, Any], last: list[dict[str, Any]], usage: Usage
) -> None:
    assert usage_of_stream(start(**first), *(end(**each) for each in last)) == usage


snapshots = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens"]), st.none() | leaves
)


@given(st.lists(snapshots, min_size=1, max_size=5))
def test_each_field_of_a_stream_is_its_last_count(reports: list[dict[str, int | None]]) -> None:
    last: dict[str, int] = {"input_tokens": 0, "output_tokens": 1}
    for report in reports:
        last |= {name: count for name, count in report.items() if count is not None}
    expected = Usage(last["input_tokens"], last.get("cache_read_input_tokens", 0), output_tokens=last["output_tokens"])
    assert usage_of_stream(start(input_tokens=0), *(end(**report) for report in reports)) == expected


def test_a_stream_that_was_cut_is_not_whole_and_what_came_is_counted() -> None:
    reader = ANTHROPIC_MESSAGES.reader()
    for each in (start(input_tokens=10), text("abcdefgh")):
        reader.see(each)
    answer = reader.answer()
    assert (answer.usage, answer.whole, answer.final) == (Usage(10, output_tokens=1), False, False)
    assert answer.output_bytes == 8


def test_the_count_a_stream_begins_with_does_not_pass_for_its_end() -> None:
    for last in ((), (b"data: {nonsense\n\n",), (end(),), (end(output_tokens=None),)):
        reader = ANTHROPIC_MESSAGES.reader()
        for each in (start(input_tokens=10), text("a long answer"), *last, STOP):
            reader.see(each)
        answer = reader.answer()
        assert (answer.usage, answer.whole, answer.final) == (Usage(10, output_tokens=1), True, False)
        assert bool(answer.note) == (last == (b"data: {nonsense\n\n",))


@pytest.mark.parametrize("odd", [b"data: {nonsense\n\n", b"data: [1]\n\n", b": ping\n\n", b"\n\n", b"data: \n\n"])
def test_events_nobody_knows_pass_and_break_nothing(odd: bytes) -> None:
    reader = ANTHROPIC_MESSAGES.reader()
    reader.see(start(input_tokens=3))
    assert reader.see(odd) is Seen.content
    reader.see(end(output_tokens=2))
    reader.see(STOP)
    assert reader.answer().usage == Usage(3, output_tokens=2)
    assert reader.answer().final


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    reader = ANTHROPIC_MESSAGES.reader()
    reader.see(data)
    reader.answer()


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (
            NoMoney("no money", details={"spent_usd": "1.00"}),
            {"type": "billing_error", "message": "no money", "code": "budget_exhausted", "spent_usd": "1.00"},
        ),
        (BadRequest("what?"), {"type": "invalid_request_error", "message": "what?", "code": "bad_request"}),
        (TooMany("slow"), {"type": "rate_limit_error", "message": "slow", "code": "too_many_requests"}),
        (Unavailable("later"), {"type": "overloaded_error", "message": "later", "code": "books_unavailable"}),
    ],
)
def test_a_refusal_is_written_as_anthropic_does(refusal: Any, error: dict[str, str]) -> None:
    written = msgspec.json.decode(ANTHROPIC_MESSAGES.error_body(refusal, "call_1"))
    assert written == {"type": "error", "error": error, "request_id": "call_1"}
