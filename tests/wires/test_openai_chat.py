"""Chat completions: what is read from requests, answers and streams, and what is written."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import BadRequest, NoMoney, Unmetered
from bursar.core.usage import Usage, UsageContradiction
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.chat_usage import usage_from_json
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.sse import event_bytes
from bursar.wires.wire import BadAnswer, Seen

encode = msgspec.json.encode
PROMPT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    {"role": "tool", "content": "42 °C"},
    {"role": "user", "content": [{"type": "text", "text": "so?"}]},
]


def request(**fields: Any) -> bytes:
    return encode({"model": "gpt-4o-mini", "messages": PROMPT} | fields)


def usage_of(report: dict[str, Any]) -> Usage:
    return usage_from_json(encode(report))[0]


def test_the_prompt_is_measured_by_segment_in_bytes() -> None:
    facts = OPENAI_CHAT.facts(request(tools=[{"type": "function"}]))
    segments = facts.segments
    assert (segments.system, segments.retrieved, segments.user) == (8, 6, 3)
    assert segments.history == len("hi") + len('[{"id":"1"}]')
    assert segments.tools == len('[{"type":"function"}]')
    assert facts.text_bytes >= len(request(tools=[{"type": "function"}]))


def test_caps_choices_and_wishes_are_read() -> None:
    facts = OPENAI_CHAT.facts(request(max_tokens=5, max_completion_tokens=9, n=3, stream=True, service_tier="flex"))
    assert (facts.output_cap, facts.choices, facts.stream, facts.service_tier) == (9, 3, True, "flex")
    assert not facts.wants_usage
    assert OPENAI_CHAT.facts(request(stream=True, stream_options={"include_usage": True})).wants_usage
    assert OPENAI_CHAT.facts(request()).output_cap is None


def test_a_model_that_searches_does_not_say_how_often() -> None:
    facts = OPENAI_CHAT.facts(request(web_search_options={}))
    assert facts.traits.searches_web
    assert facts.hides_searches
    assert not OPENAI_CHAT.facts(request()).hides_searches


def test_images_are_counted_and_their_bytes_bound_nothing() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000}}
    body = request(messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}])
    facts = OPENAI_CHAT.facts(body)
    assert facts.media.images == 1
    assert facts.traits.media
    assert facts.text_bytes < 500 < len(body)


@pytest.mark.parametrize(
    ("body", "complaint", "param"),
    [
        (b"", "not valid JSON", None),
        (b"{", "not valid JSON", None),
        (b"[]", "Expected `object`, got `array`", None),
        (b'{"messages":[]}', "missing required field `model`", None),
        (b'{"model":3,"messages":[]}', "Expected `str`, got `int` in `model`", "model"),
        (b'{"model":"m","messages":[{"role":1,"content":"secret"}]}', "in `messages[0].role`", "messages[0].role"),
        (request(max_tokens="many"), "Expected `int | null`, got `str` in `max_tokens`", "max_tokens"),
        (request(max_tokens=0), "at least 1", "max_completion_tokens"),
        (request(n=0), "from 1 to 128", None),
        (request(n=129), "from 1 to 128", "n"),
        (request(stream="yes"), "Expected `bool | null`, got `str` in `stream`", "stream"),
    ],
)
def test_bad_requests_name_the_field_and_the_kind(body: bytes, complaint: str, param: str | None) -> None:
    if complaint == "from 1 to 128" and param is None:  # n = 0 means the default, as null does
        assert OPENAI_CHAT.facts(body).choices == 1
        return
    with pytest.raises(BadRequest) as caught:
        OPENAI_CHAT.facts(body)
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.param == param


def test_the_upstream_body_is_the_clients_with_what_was_decided() -> None:
    body = request(temperature=0.2, stream=True)
    facts = OPENAI_CHAT.facts(body)
    sent = msgspec.json.decode(OPENAI_CHAT.upstream_body(body, facts, "other-model", 77, "max_tokens"))
    assert sent == msgspec.json.decode(body) | {
        "model": "other-model",
        "max_tokens": 77,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("caps", "cap_field", "sent"),
    [
        ({"max_completion_tokens": 5}, "max_tokens", {"max_tokens": 5}),
        ({"max_tokens": 5}, "max_completion_tokens", {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": None}, "max_tokens", {"max_tokens": 5}),
        ({"max_tokens": 5}, "max_output_tokens", {"max_output_tokens": 5}),
        ({"max_tokens": 5}, "max_tokens", {"max_tokens": 5}),
    ],
)
def test_a_cap_reaches_the_provider_in_the_field_it_knows(
    caps: dict[str, Any], cap_field: str, sent: dict[str, int]
) -> None:
    body = request(**caps)
    facts = OPENAI_CHAT.facts(body)
    read = msgspec.json.decode(OPENAI_CHAT.upstream_body(body, facts, facts.model, 5, cap_field))
    assert {name: value for name, value in read.items() if name.startswith("max_")} == sent


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["openai/o1-pro"]},
        {"fallbacks": ["dearer"]},
        {"plugins": [{"id": "web"}]},
        {"search_parameters": {"mode": "on"}},
        {"modalities": ["text", "image"]},
        {"enable_search": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}]},
        {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
    ],
)
def test_what_is_billed_beside_the_tokens_and_has_no_meter_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Unmetered, match="no meter for it here") as caught:
        OPENAI_CHAT.facts(request(**fields))
    assert caught.value.param == next(iter(fields))


def test_what_asks_for_nothing_is_not_refused() -> None:
    OPENAI_CHAT.facts(request(models=[], plugins=None, enable_search=False, search_parameters={}, tools=None))
    OPENAI_CHAT.facts(request(audio=None, modalities=["text"]))
    OPENAI_CHAT.facts(request(tools=[{"type": "function"}, {"type": "custom"}, {"function": {"name": "f"}}]))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://example.com/v"}}]},
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
    ],
)
def test_what_neither_bytes_nor_images_bound_only_the_context_window_does(message: dict[str, Any]) -> None:
    facts = OPENAI_CHAT.facts(request(messages=[message]))
    assert input_tokens_max(facts, facts.model, 128_000) == 128_000
    assert facts.traits.media


def test_a_field_given_twice_reaches_the_provider_once_as_it_was_read() -> None:
    body = b'{"model":"cheap","messages":[],"model":"dear","max_tokens":1,"max_tokens":9000}'
    facts = OPENAI_CHAT.facts(body)
    sent = OPENAI_CHAT.upstream_body(body, facts, facts.model, 9000, "max_tokens")
    assert (facts.model, facts.output_cap) == ("dear", 9000)
    assert sent.count(b'"model"') == sent.count(b'"max_tokens"') == 1
    assert b"dear" in sent
    assert b"9000" in sent
    smaller = msgspec.json.decode(OPENAI_CHAT.upstream_body(body, facts, facts.model, 5, "max_completion_tokens"))
    assert (smaller["max_completion_tokens"], "max_tokens" in smaller) == (5, False)


leaves = st.integers(0, 10**7)
usages = st.builds(
    Usage,
    leaves,
    leaves,
    leaves,
    st.just(0),
    leaves,
    leaves,
    other=st.dictionaries(st.sampled_from(["input_audio_tokens", "output_audio_tokens"]), st.integers(1, 10**6)),
)


@given(usages)
def test_usage_survives_being_reported(usage: Usage) -> None:
    report = OPENAI_CHAT.usage_report(usage)
    assert usage_of(report) == usage
    assert report["total_tokens"] == report["prompt_tokens"] + report["completion_tokens"]


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        # OpenAI: cached is part of the prompt, reasoning of the completion.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(70, 30, output_tokens=30, reasoning_tokens=20),
        ),
        # xAI: reasoning stands beside the completion, which the total tells.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 170,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(100, output_tokens=50, reasoning_tokens=20),
        ),
        # DeepSeek: the split of the prompt under names of its own.
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 1},
            Usage(1, 8, output_tokens=1),
        ),
        # Caches that bill their writes.
        (
            {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 60}},
            Usage(40, 0, 60),
        ),
        # Gemini's compatible endpoint: thoughts are in the total only, and are billed.
        ({"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 300}, Usage(5, 0, 0, 0, 9, 286)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5)),
        # null is missing, zero is zero.
        ({"prompt_tokens": 3, "completion_tokens": 0, "prompt_tokens_details": None}, Usage(3)),
        # What nobody knows is kept, not priced, not dropped.
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "dream_tokens": 5, "x": {"deep": 1, "zero": 0}},
            Usage(3, output_tokens=2, unknown={"dream_tokens": 5, "x.deep": 1}),
        ),
    ],
)
def test_usage_of_each_provider(report: dict[str, Any], usage: Usage) -> None:
    assert usage_of(report) == usage


def test_an_unknown_count_is_found_also_after_the_same_shape_held_zero() -> None:
    assert usage_of({"prompt_tokens": 1, "completion_tokens": 1, "novel": 0}).unknown == {}
    assert usage_of({"prompt_tokens": 2, "completion_tokens": 7, "novel": 9}).unknown == {"novel": 9}


@pytest.mark.parametrize(
    "report",
    [
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": None, "completion_tokens": 1},
        {"completion_tokens": 1, "total_tokens": 9},
        {"prompt_tokens": 1, "novel": 3},
        {"prompt_tokens": "many", "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": [1]},
    ],
)
def test_a_report_that_contradicts_itself_is_not_believed(report: dict[str, Any]) -> None:
    with pytest.raises(UsageContradiction):
        usage_of(report)
    answer = OPENAI_CHAT.answer(encode({"usage": report, "choices": [{"message": {"content": "four"}}]}))
    assert answer.usage is None
    assert answer.note
    assert answer.output_bytes == 4


@pytest.mark.parametrize(
    ("cost", "nano"),
    [
        ("0.00123", 1_230_000),
        ("1.5e-05", 15_000),
        ("2", 2_000_000_000),
        ("0", 0),
        ("123.456789012", 123_456_789_012),
        ("0.0000000005", 0),  # half to even
        ('"0.25"', 250_000_000),
        ("null", -1),
        ("-1", -1),
        ("1e300", -1),
        ('"NaN"', -1),
        ("true", -1),
        ('{"input": 0.1, "output": 0.2}', -1),  # in parts; the usage is believed all the same
    ],
)
def test_what_a_provider_says_it_charged_is_kept(cost: str, nano: int) -> None:
    report = b'{"prompt_tokens":3,"completion_tokens":1,"cost":' + cost.encode() + b"}"
    assert usage_from_json(report) == (Usage(3, output_tokens=1), nano)
    reader = OPENAI_CHAT.reader()
    reader.see(event_bytes(b'{"choices":[],"usage":' + report + b"}"))
    assert (reader.answer().usage, reader.answer().reported_cost_nano) == (Usage(3, output_tokens=1), nano)


def test_a_provider_need_not_say_what_it_charged() -> None:
    assert usage_from_json(encode({"prompt_tokens": 1, "completion_tokens": 1}))[1] == -1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices": [', b"<html>"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        OPENAI_CHAT.answer(body)


def chunk(**fields: Any) -> bytes:
    return event_bytes(encode({"model": "m", "choices": []} | fields))


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}


def test_a_stream_is_read_event_by_event() -> None:
    reader = OPENAI_CHAT.reader()
    usage = {"prompt_tokens": 4, "completion_tokens": 2}
    events = [
        chunk(**delta("he"), usage=None),
        chunk(**delta("llo", "stop")),
        chunk(usage=usage),
        event_bytes(b"[DONE]"),
    ]
    assert [reader.see(event) for event in events] == [Seen.content, Seen.content, Seen.usage_only, Seen.last]
    answer = reader.answer()
    assert (answer.usage, answer.whole, answer.output_bytes, answer.model) == (Usage(4, output_tokens=2), True, 5, "m")


def test_usage_of_a_stream_is_the_last_that_is_not_null_never_a_sum() -> None:
    reader = OPENAI_CHAT.reader()
    for count in (1, 2, 5):
        reader.see(chunk(**delta("x"), usage={"prompt_tokens": 4, "completion_tokens": count}))
    reader.see(chunk(usage={"prompt_tokens": None, "completion_tokens": 6}))
    assert reader.answer().usage == Usage(4, output_tokens=6)


def test_a_stream_without_its_end_is_not_whole_and_what_came_is_counted() -> None:
    reader = OPENAI_CHAT.reader()
    reader.see(chunk(**delta("abcdefgh")))
    answer = reader.answer()
    assert (answer.usage, answer.whole, answer.output_bytes) == (None, False, 8)


@pytest.mark.parametrize("event", [b"data: {nonsense\n\n", b"data: [1]\n\n", b": ping\n\n", b"\n\n", b"data: \n\n"])
def test_events_nobody_knows_pass_and_break_nothing(event: bytes) -> None:
    reader = OPENAI_CHAT.reader()
    assert reader.see(event) is Seen.content
    reader.see(chunk(**delta("x", "stop"), usage={"prompt_tokens": 1, "completion_tokens": 1}))
    assert reader.answer().usage == Usage(1, output_tokens=1)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    reader = OPENAI_CHAT.reader()
    reader.see(data)
    reader.answer()


def test_a_refusal_is_written_as_openai_does() -> None:
    refusal = NoMoney("no money", param="model", details={"spent_usd": "1.00"})
    assert msgspec.json.decode(OPENAI_CHAT.error_body(refusal, "call_1")) == {
        "error": {
            "message": "no money",
            "type": "insufficient_quota",
            "param": "model",
            "code": "budget_exhausted",
            "spent_usd": "1.00",
            "call_id": "call_1",
        }
    }
