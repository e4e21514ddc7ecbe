"""Responses: what is read from requests, answers and streams, and what is written."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import BadRequest, NoMoney, Unmetered
from bursar.core.usage import Usage, UsageContradiction
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.openai_responses import OPENAI_RESPONSES, usage_from_report
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.wire import TOOLS_OVERHEAD_TOKENS, Answer, Media, Seen

encode = msgspec.json.encode
PROMPT = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": "hi"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
    {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "42 °C"},
    {"role": "user", "content": [{"type": "input_text", "text": "so?"}]},
]
USAGE = {"input_tokens": 9, "output_tokens": 4}


def request(**fields: Any) -> bytes:
    return encode({"model": "gpt-4o-mini", "input": PROMPT} | fields)


def media_of(*items: Any) -> Media:
    return OPENAI_RESPONSES.facts(request(input=items)).media


def test_the_prompt_is_measured_by_segment_in_bytes() -> None:
    body = request(instructions="Obey.", tools=[{"type": "function"}])
    facts = OPENAI_RESPONSES.facts(body)
    segments = facts.segments
    assert (segments.system, segments.user) == (len("be brief") + len("Obey."), 3)
    assert segments.retrieved == len('"42 °C"'.encode())
    assert segments.history == len("hi") + len('[]"sealed""{}"')
    assert segments.tools == len('[{"type":"function"}]')
    assert facts.text_bytes == len(body) + TOOLS_OVERHEAD_TOKENS
    assert facts.media == Media()


def test_an_input_may_be_a_text_alone() -> None:
    facts = OPENAI_RESPONSES.facts(request(input="how much?"))
    assert (facts.segments.user, facts.segments.total) == (9, 9)


def test_cap_and_wishes_are_read() -> None:
    facts = OPENAI_RESPONSES.facts(request(max_output_tokens=20, stream=True, service_tier="flex"))
    assert (facts.output_cap, facts.choices, facts.stream, facts.service_tier) == (20, 1, True, "flex")
    assert facts.wants_usage  # the protocol tells it always
    plain = OPENAI_RESPONSES.facts(request(stream=None, max_output_tokens=None))
    assert (plain.output_cap, plain.stream, plain.service_tier) == (None, False, "")
    assert OPENAI_RESPONSES.facts(request(service_tier="fast")).service_tier == "priority"


def test_a_cache_kept_for_long_may_bill_its_writes_apart() -> None:
    assert OPENAI_RESPONSES.facts(request(prompt_cache_options={"ttl": "12h"})).traits.writes_cache_1h
    traits = OPENAI_RESPONSES.facts(request()).traits
    assert (traits.writes_cache_5m, traits.writes_cache_1h, traits.media) == (True, False, False)


def message(**part: Any) -> Any:
    return {"role": "user", "content": [part]}


@pytest.mark.parametrize(
    ("item", "images", "others"),
    [
        (message(type="input_image", image_url="data:image/png;base64,AAAA"), 1, 0),
        (message(type="input_image", file_id="file_1"), 1, 0),
        (message(type="input_file", file_data="AAAA"), 0, 1),
        (message(type="input_file", file_url="https://example.com/a.pdf"), 0, 1),
        (message(type="input_file", file_id="file_1"), 0, 1),
        (message(type="input_hologram"), 0, 1),
        ({"type": "function_call_output", "output": [{"type": "input_image", "image_url": "data:AAAA"}]}, 1, 0),
        ({"type": "custom_tool_call_output", "output": [{"type": "input_file", "file_id": "f"}]}, 0, 1),
        ({"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "data:AAAA"}}, 1, 0),
        ({"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "status": "completed"}, 1, 0),
        # What is not in the request, or of which nobody knows what it brings.
        ({"type": "item_reference", "id": "msg_1"}, 0, 1),
        ({"type": "item_reference", "id": "msg_1", "role": "user"}, 0, 1),
        ({"id": "msg_1"}, 0, 1),
        ({"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}, 0, 1),
        ({"type": "file_search_call", "id": "fs_1", "results": None}, 0, 1),
        ({"type": "something_new"}, 0, 1),
        # What is all there.
        ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}, 0, 0),
        ({"type": "function_call_output", "output": [{"type": "input_text", "text": "yes"}]}, 0, 0),
        ({"type": "shell_call_output", "output": [{"stdout": "yes", "stderr": "", "outcome": {"type": "exit"}}]}, 0, 0),
        ({"type": "function_call_output", "output": [1, 2]}, 0, 0),
        ({"type": "custom_tool_call", "name": "f", "input": "x"}, 0, 0),
        ({"type": "compaction", "encrypted_content": "sealed"}, 0, 0),
        ({"type": "additional_tools", "role": "developer", "tools": [{"type": "function"}]}, 0, 0),
    ],
)
def test_what_the_bytes_of_a_prompt_do_not_bound_is_counted(item: Any, images: int, others: int) -> None:
    media = media_of(item)
    assert (media.images, media.others) == (images, others)


def test_images_are_bounded_by_number_and_not_by_bytes() -> None:
    body = request(input=[message(type="input_image", image_url="data:image/png;base64," + "A" * 90_000)])
    facts = OPENAI_RESPONSES.facts(body)
    assert facts.text_bytes < 200
    assert facts.text_bytes + facts.media.body_bytes == len(body)
    assert input_tokens_max(facts, "gpt-4o", 128_000) == facts.text_bytes + 16_384


@pytest.mark.parametrize(
    "fields",
    [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}}],
)
def test_only_the_context_window_bounds_what_the_provider_has_kept(fields: dict[str, Any]) -> None:
    facts = OPENAI_RESPONSES.facts(request(**fields))
    assert input_tokens_max(facts, "m", 128_000) == 128_000
    assert input_tokens_max(facts, "m", None) is None
    assert facts.traits.media
    assert OPENAI_RESPONSES.facts(request(previous_response_id=None, conversation=None)).media.others == 0


def test_a_search_of_the_web_needs_a_price_and_reads_what_it_finds() -> None:
    for tools in ([{"type": "web_search"}], [{"type": "function", "name": "f"}, {"type": "web_search_2025_08_26"}]):
        facts = OPENAI_RESPONSES.facts(request(tools=tools))
        assert facts.traits.searches_web
        assert facts.media.others == 1
    later = OPENAI_RESPONSES.facts(request(input=[{"type": "additional_tools", "tools": [{"type": "web_search"}]}]))
    assert later.traits.searches_web
    assert later.media.others == 1
    assert not OPENAI_RESPONSES.facts(request(tools=[{"type": "function"}])).traits.searches_web


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "web_search"},
        {"type": "custom", "name": "f"},
        {"type": "computer"},
        {"type": "computer_use_preview"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "tool_search"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "f"}]},
    ],
)
def test_the_clients_own_tools_pass(tool: Any) -> None:
    assert OPENAI_RESPONSES.facts(request(tools=[tool])).media.others == 0


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search_preview"},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation"},
        {"type": "mcp", "server_label": "s"},
        {"type": "programmatic_tool_calling"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "namespace", "name": "crm", "tools": [{"type": "mcp"}]},
        {"type": ""},
        {"type": "novel"},
    ],
)
def test_what_runs_at_the_providers_and_has_no_meter_is_refused_wherever_it_is_asked_for(tool: Any) -> None:
    with pytest.raises(Unmetered) as caught:
        OPENAI_RESPONSES.facts(request(tools=[{"type": "function", "name": "f"}, tool]))
    assert (caught.value.code, caught.value.param) == ("unmetered", "tools")
    for kind in ("additional_tools", "tool_search_output"):
        with pytest.raises(Unmetered) as caught:
            OPENAI_RESPONSES.facts(request(input=[{"type": kind, "tools": [tool]}]))
        assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"models": ["a", "b"]}, "models"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"search_parameters": {"mode": "on"}}, "search_parameters"),
    ],
)
def test_what_would_be_billed_without_a_meter_is_refused_naming_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Unmetered) as caught:
        OPENAI_RESPONSES.facts(request(**fields))
    assert (caught.value.code, caught.value.param) == ("unmetered", param)


def test_what_is_turned_off_and_what_nobody_bills_passes() -> None:
    OPENAI_RESPONSES.facts(request(background=False, prompt=None, tools=None, models=[], plugins=None))
    OPENAI_RESPONSES.facts(request(store=False, truncation="auto", max_tool_calls=2, include=[], metadata={"a": "b"}))
    OPENAI_RESPONSES.facts(request(text={"format": {"type": "json_schema"}}, reasoning={"effort": "high"}))


@pytest.mark.parametrize(
    ("fields", "complaint", "param"),
    [
        ({"model": 5}, "Expected `str`", "model"),
        ({"input": 5}, "Expected `str | array | null`", "input"),
        ({"input": ["hi"]}, "Expected `object`", "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": 1}]}]}, "Expected `str`", "input[0].content[0].type"),
        ({"instructions": ["be brief"]}, "Expected `str | null`", "instructions"),
        ({"max_output_tokens": 0}, "at least 1", "max_output_tokens"),
        ({"max_output_tokens": 10**9}, "at most 10000000", "max_output_tokens"),
        ({"stream": "yes"}, "Expected `bool | null`", "stream"),
        ({"tools": [5]}, "a list of tools", "tools"),
        ({"tools": [{"name": "f"}]}, "a list of tools", "tools"),
        ({"input": [{"type": "additional_tools", "tools": 5}]}, "a list of tools", "input"),
    ],
)
def test_a_wrong_field_is_named_with_the_kind_expected(fields: dict[str, Any], complaint: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        OPENAI_RESPONSES.facts(request(**fields))
    assert complaint in caught.value.message
    assert caught.value.param == param


def test_model_and_cap_are_written_and_nothing_else_is_touched() -> None:
    body = b'{"model":"house", "input":"\\u00e9", "novel": 1.50, "input":"hi", "max_output_tokens":20}'
    facts = OPENAI_RESPONSES.facts(body)
    sent = OPENAI_RESPONSES.upstream_body(body, facts, "gpt-4o", 20, "max_tokens")
    assert sent == snapshot(b'{"model":"gpt-4o","input":"hi","novel":1.50,"max_output_tokens":20}')
    smaller = msgspec.json.decode(OPENAI_RESPONSES.upstream_body(body, facts, "house", 7, "max_tokens"))
    assert smaller == {"model": "house", "input": "hi", "novel": 1.5, "max_output_tokens": 7}
    open_ended = b'{"model":"house","input":"hi","max_output_tokens":null,"stream":true}'
    sent = OPENAI_RESPONSES.upstream_body(open_ended, OPENAI_RESPONSES.facts(open_ended), "house", 99, "max_tokens")
    assert msgspec.json.decode(sent) == {"model": "house", "input": "hi", "max_output_tokens": 99, "stream": True}


leaves = st.integers(0, 10**6)
usages = st.builds(
    Usage,
    leaves,
    leaves,
    leaves,
    leaves,
    leaves,
    leaves,
    other=st.dictionaries(
        st.sampled_from(["input_audio_tokens", "output_audio_tokens", "output_image_tokens"]), st.integers(1, 10**6)
    ),
)


@given(usages)
def test_usage_survives_being_reported(usage: Usage) -> None:
    report = OPENAI_RESPONSES.usage_report(usage)
    assert usage_from_report(report) == usage
    assert report["total_tokens"] == report["input_tokens"] + report["output_tokens"]


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        # OpenAI: cached is part of the input, reasoning of the output.
        (
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 30},
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 20},
                "total_tokens": 150,
            },
            Usage(70, 30, output_tokens=30, reasoning_tokens=20),
        ),
        # genai-prices #486: what was written to a cache is part of the input, and was dropped.
        (
            {
                "input_tokens": 2_000,
                "input_tokens_details": {"cached_tokens": 500, "cache_write_tokens": 1_200},
                "output_tokens": 1,
            },
            Usage(300, 500, 1_200, output_tokens=1),
        ),
        # The longer lifetime is told apart.
        (
            {
                "input_tokens": 100,
                "input_tokens_details": {
                    "cache_write_tokens": 60,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 20, "ttl_12h_tokens": 40},
                },
                "output_tokens": 0,
            },
            Usage(40, 0, 20, 40),
        ),
        # Reasoning beside the output, which the total tells.
        (
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 20},
                "total_tokens": 170,
            },
            Usage(100, output_tokens=50, reasoning_tokens=20),
        ),
        # null is missing, zero is zero.
        ({"input_tokens": 3, "input_tokens_details": None, "output_tokens": 0}, Usage(3)),
        # What nobody knows is kept, not priced, not dropped.
        (
            {"input_tokens": 3, "output_tokens": 2, "dream_tokens": 5, "x": {"deep": 1, "zero": 0}},
            Usage(3, output_tokens=2, unknown={"dream_tokens": 5, "x.deep": 1}),
        ),
    ],
)
def test_usage_of_each_shape(report: dict[str, Any], usage: Usage) -> None:
    assert usage_from_report(report) == usage


@pytest.mark.parametrize(
    "report",
    [
        {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 6}},
        {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cache_write_tokens": 6}},
        {"input_tokens": 5, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 2}},
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": None, "output_tokens": 1},
        {"output_tokens": 1, "total_tokens": 9},
        {"input_tokens": 1},
        {"input_tokens": "many", "output_tokens": 1},
        {"input_tokens": True, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 1, "input_tokens_details": [1]},
        {"input_tokens": 10**9 + 1, "output_tokens": 1},
    ],
)
def test_usage_that_contradicts_itself_is_not_believed(report: dict[str, Any]) -> None:
    with pytest.raises(UsageContradiction):
        usage_from_report(report)
    answer = OPENAI_RESPONSES.answer(encode({"usage": report, "output": [SAID], "status": "completed"}))
    assert (answer.usage, answer.output_bytes, answer.whole) == (None, 4, True)
    assert answer.note


SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "four"}]}
SEARCH = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}}
OPEN = {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page", "url": "https://example.com"}}


def answer_of(**fields: Any) -> Answer:
    return OPENAI_RESPONSES.answer(encode({"model": "m", "status": "completed", "output": [SAID]} | fields))


def test_an_answer_tells_model_tier_and_stated_cost() -> None:
    answer = answer_of(usage=USAGE | {"cost": 0.00125}, service_tier="flex")
    assert (answer.usage, answer.model, answer.service_tier) == (Usage(9, output_tokens=4), "m", "flex")
    assert (answer.reported_cost_nano, answer.whole, answer.note) == (1_250_000, True, "")
    assert answer_of(usage=USAGE | {"cost": {"in": 1}}).reported_cost_nano == -1


@pytest.mark.parametrize(
    ("fields", "searches"),
    [
        ({"output": [SAID]}, 0),
        ({"output": [SEARCH, OPEN, SEARCH, SAID]}, 2),
        ({"output": [{"type": "web_search_call", "id": "ws_1"}, SAID]}, 1),
        ({"output": [SEARCH, SEARCH], "tool_usage": {"web_search": {"num_requests": 5}}}, 5),
        ({"output": [SEARCH, SEARCH], "tool_usage": {"web_search": {"num_requests": 0}}}, 0),
        ({"output": [SEARCH], "tool_usage": {"web_search": None}}, 1),
        ({"output": [SAID | {"content": [{"type": "output_text", "text": "web_search_call"}]}]}, 0),
    ],
)
def test_searches_are_counted_as_often_as_they_are_billed(fields: dict[str, Any], searches: int) -> None:
    usage = answer_of(usage=USAGE, **fields).usage
    assert usage is not None
    assert usage.other == ({"web_searches": searches} if searches else {})
    final = {"type": "response.completed", "response": {"status": "completed", "usage": USAGE} | fields}
    streamed = read_stream(final)[1].usage
    assert streamed == usage


def test_what_a_tool_at_the_providers_used_is_shown_when_nobody_knows_it() -> None:
    report = {"image_gen": {"input_tokens": 7, "output_tokens": 0}, "web_search": {"num_requests": 1}}
    usage = answer_of(usage=USAGE, tool_usage=report).usage
    assert usage is not None
    assert usage.unknown == {"tool_usage.image_gen.input_tokens": 7}
    assert answer_of(usage=USAGE, tool_usage={"web_search": {"num_requests": -1}}).usage is None


def test_without_usage_every_word_of_an_answer_is_counted() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "content": None},
        {"type": "message", "content": [{"type": "output_text", "text": "né"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "arguments": "{}", "name": "f"},
        {"type": "custom_tool_call", "input": "x", "name": "f"},
        {"type": "novel", "content": None},
    ]
    answer = answer_of(output=output)
    assert (answer.usage, answer.output_bytes) == (None, 2 + 3 + 2 + len('"{}"') + len('"x"'))
    lost = answer_of(output=[SEARCH, SAID])
    assert (lost.usage, lost.searches) == (None, 1)


@pytest.mark.parametrize(
    ("fields", "whole", "noted"),
    [
        ({"status": "completed", "usage": USAGE}, True, False),
        ({"status": None, "usage": USAGE}, True, False),
        ({"status": "incomplete", "usage": USAGE}, True, False),
        ({"status": "failed", "usage": USAGE}, True, True),
        ({"status": "failed"}, False, True),
        ({"status": "queued"}, False, False),
        ({"status": "cancelled"}, False, False),
    ],
)
def test_only_an_answer_that_ended_is_whole(fields: dict[str, Any], whole: bool, noted: bool) -> None:
    answer = answer_of(**fields)
    assert (answer.whole, bool(answer.note)) == (whole, noted)


def read_stream(*events: dict[str, Any]) -> tuple[list[Seen], Answer]:
    reader = OPENAI_RESPONSES.reader()
    seen = [reader.see(event_bytes(encode(event), event["type"])) for event in events]
    return seen, reader.answer()


CREATED = {"type": "response.created", "response": {"model": "m", "status": "in_progress", "usage": None}}
COMPLETED = {
    "type": "response.completed",
    "response": {"model": "m-1", "status": "completed", "usage": USAGE, "service_tier": "default", "output": [SAID]},
}


def delta(kind: str, text: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "sequence_number": 1, "delta": text, "obfuscation": "xxxx"}


def test_a_stream_is_read_to_its_last_event() -> None:
    seen, answer = read_stream(CREATED, delta("output_text", "fo"), delta("output_text", "ur"), COMPLETED)
    assert seen == [Seen.content, Seen.content, Seen.content, Seen.last]
    assert answer == Answer(Usage(9, output_tokens=4), "m-1", "default", 4)


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_whichever_way_it_ends_its_usage_is_in_the_last_event(status: str) -> None:
    last = {"type": f"response.{status}", "response": {"status": status, "usage": USAGE}}
    seen, answer = read_stream(CREATED, last)
    assert seen[-1] is Seen.last
    assert (answer.usage, answer.whole) == (Usage(9, output_tokens=4), True)
    assert bool(answer.note) is (status == "failed")


def test_a_stream_that_ends_without_its_last_event_is_counted_by_its_deltas() -> None:
    seen, answer = read_stream(
        CREATED,
        delta("reasoning_summary_text", "hm"),
        delta("output_text", "né"),
        delta("function_call_arguments", "{}"),
        delta("custom_tool_call_input", "x"),
        delta("refusal", "no"),
        delta("shell_call_output_content", {"stdout": "y"}),
        {"type": "response.output_item.done", "item": SEARCH},
        {"type": "response.output_item.done", "item": SAID},
    )
    assert set(seen) == {Seen.content}
    assert (answer.usage, answer.whole, answer.searches) == (None, False, 1)
    assert answer.output_bytes == 2 + 3 + 2 + 1 + 2 + len('{"stdout":"y"}')


def test_an_error_ends_a_stream_that_is_not_whole() -> None:
    error = {"type": "error", "code": "server_error", "message": "canary", "sequence_number": 3}
    _, answer = read_stream(CREATED, delta("output_text", "four"), error)
    assert (answer.whole, answer.usage, answer.output_bytes) == (False, None, 4)
    assert "canary" not in answer.note
    assert answer.note


@pytest.mark.parametrize("response", [None, 5, "done", [], {"usage": [1]}, {"usage": 7}, {"model": 5}, {}])
def test_a_last_event_that_cannot_be_read_is_the_last_all_the_same(response: Any) -> None:
    seen, answer = read_stream(delta("output_text", "four"), {"type": "response.completed", "response": response})
    assert seen == [Seen.content, Seen.last]
    assert (answer.usage, answer.whole, answer.output_bytes) == (None, True, 4)


@pytest.mark.parametrize(
    "event",
    [
        b": a comment\n\n",
        b"event: ping\n\n",
        b"data: [DONE]\n\n",
        b"data: {\n\n",
        b"data: null\n\n",
        b'data: {"type":"response.output_text.delta","delta":"\\ud800"}\n\n',
        b'data: {"type":"response.output_item.done","item":5}\n\n',
        b'data: {"type":"response.output_item.done"}\n\n',
        b'data: {"type":"response.novel","delta":null}\n\n',
    ],
)
def test_an_event_nobody_knows_passes_and_stops_nothing(event: bytes) -> None:
    reader = OPENAI_RESPONSES.reader()
    assert reader.see(event) is Seen.content
    assert reader.see(event_bytes(encode(COMPLETED))) is Seen.last
    assert reader.answer().usage == Usage(9, output_tokens=4)


def test_a_refusal_has_the_protocols_shape_whole_and_in_a_stream() -> None:
    refusal = NoMoney("no money", code="budget_exhausted", details={"limit_usd": "1.00"})
    error = msgspec.json.decode(OPENAI_RESPONSES.error_body(refusal, "call_1"))["error"]
    assert error == snapshot(
        {
            "message": "no money",
            "type": "insufficient_quota",
            "param": None,
            "code": "budget_exhausted",
            "limit_usd": "1.00",
            "call_id": "call_1",
        }
    )
    event = OPENAI_RESPONSES.error_event(refusal, "call_1")
    assert event.startswith(b"event: error\n")
    told = msgspec.json.decode(event_data(event))
    assert (told["type"], told["code"], told["message"]) == ("error", "budget_exhausted", "no money")
    assert told["error"] == error


def test_what_a_provider_keeps_of_an_answer_is_known_by_its_ids_unless_it_keeps_nothing() -> None:
    output = [{"type": "reasoning", "id": "rs_1"}, {"type": "message", "id": "msg_1", "content": []}, {"type": "odd"}]
    whole = {"id": "resp_1", "status": "completed", "output": output}
    assert OPENAI_RESPONSES.answer(msgspec.json.encode(whole)).kept == ("resp_1", "rs_1", "msg_1")
    for fields in ({"store": False}, {"id": None}, {"id": 5}, {"output": [{"id": 7}]}):
        assert OPENAI_RESPONSES.answer(msgspec.json.encode(whole | fields)).kept == ()
    reader = OPENAI_RESPONSES.reader()
    begun = {"type": "response.created", "response": {"id": "resp_1", "output": []}}
    reader.see(b"data: " + msgspec.json.encode(begun) + b"\n\n")
    assert reader.answer().kept == ("resp_1",)  # should it end here, the provider may have it all the same
    reader.see(b"data: " + msgspec.json.encode({"type": "response.completed", "response": whole}) + b"\n\n")
    assert reader.answer().kept == ("resp_1", "rs_1", "msg_1")
