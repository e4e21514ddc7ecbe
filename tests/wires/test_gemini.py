"""Gemini: what a request may cost is read from either spelling, and each token of an answer is counted once."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import BadRequest, NoMoney, TooMany, Unmetered
from bursar.core.records import Segments, Traits
from bursar.core.usage import Usage
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.gemini import GEMINI, camel_case
from bursar.wires.sse import event_bytes
from bursar.wires.wire import TOOLS_OVERHEAD_TOKENS, Answer, BadAnswer, Facts, Media, Seen

FLASH = "gemini-2.5-flash"
SAID = {"role": "user", "parts": [{"text": "héllo"}]}
WINDOW = 1_048_576


def facts(method: str = "generateContent", **fields: Any) -> Facts:
    return GEMINI.facts(msgspec.json.encode({"contents": [SAID]} | fields), f"{FLASH}:{method}")


def facts_of(*parts: Any) -> Facts:
    return facts(contents=[{"role": "user", "parts": list(parts)}])


def sent(body: dict[str, Any] | bytes, model: str = FLASH, cap: int = 50) -> Any:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    read = GEMINI.facts(raw, f"{FLASH}:generateContent")
    return msgspec.json.decode(GEMINI.upstream_body(raw, read, model, cap, ""))


def test_the_path_says_which_model_and_whether_it_streams() -> None:
    assert (facts().model, facts().stream) == (FLASH, False)
    assert facts("streamGenerateContent").stream
    assert GEMINI.facts(b'{"contents":[]}', "google/gemma:27b:generateContent").model == "google/gemma:27b"
    assert GEMINI.path(FLASH, stream=False) == "/models/gemini-2.5-flash:generateContent"
    assert GEMINI.path(FLASH, stream=True) == "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("../../v1/files", "/models/..%2F..%2Fv1%2Ffiles:generateContent"),
        ("a?key=b", "/models/a%3Fkey%3Db:generateContent"),
        ("a#b", "/models/a%23b:generateContent"),
        ("a b\r\nx: y", "/models/a%20b%0D%0Ax%3A%20y:generateContent"),
        ("%2e%2e", "/models/%252e%252e:generateContent"),
        ("modèle", "/models/mod%C3%A8le:generateContent"),
    ],
)
def test_a_name_never_leaves_its_place_in_the_path(model: str, path: str) -> None:
    assert GEMINI.path(model, stream=False) == path


def test_each_part_of_a_prompt_is_measured() -> None:
    call, result = {"name": "find", "args": {"a": 1}}, {"name": "find", "response": {"b": 2}}
    contents = [
        SAID,
        {"role": "model", "parts": [{"text": "I look.", "thought": True}, {"functionCall": call}]},
        {"role": "user", "parts": [{"functionResponse": result}]},
        {"parts": {"text": "And?"}},  # no role, and one part for a list of one
    ]
    system, tools = {"parts": {"text": "Be brief."}}, [{"functionDeclarations": [{"name": "find"}]}]
    read = facts(contents=contents, systemInstruction=system, tools=tools)
    encoded = [len(msgspec.json.encode(each)) for each in (tools, call, result)]
    assert read.segments == Segments(9, encoded[0], 6 + 7 + encoded[1], encoded[2], 4)
    assert (read.media, read.traits) == (Media(), Traits())


def test_both_spellings_of_a_field_are_one_field() -> None:
    camel = facts(
        systemInstruction=SAID,
        generationConfig={"maxOutputTokens": 7, "candidateCount": 2},
        contents=[{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}],
        tools=[{"functionDeclarations": []}],
    )
    snake = facts(
        system_instruction=SAID,
        generation_config={"max_output_tokens": 7, "candidate_count": 2},
        contents=[{"parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]}],
        tools=[{"function_declarations": []}],
    )
    assert (camel.output_cap, camel.choices, camel.media.images) == (7, 2, 1)
    assert (snake.output_cap, snake.choices, snake.media.images) == (7, 2, 1)
    assert camel.segments.system == snake.segments.system == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"systemInstruction": SAID, "system_instruction": SAID},
        {"generationConfig": {"maxOutputTokens": 5, "max_output_tokens": 5_000}},
        {"generationConfig": {"maxOutputTokens": 5}, "generation_config": {"maxOutputTokens": 5_000}},
        {"tools": [{"functionDeclarations": [], "function_declarations": []}]},
        {"contents": [{"parts": [{"inlineData": {}, "inline_data": {}}]}]},
    ],
)
def test_a_field_in_two_spellings_is_refused_for_nobody_knows_which_is_read(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="given twice, in two spellings"):
        facts(**fields)


@pytest.mark.parametrize("name", ["a b_c", "x" * 65 + "_y", "\u0000_a"])
def test_a_made_up_name_is_not_repeated_in_a_refusal(name: str) -> None:
    with pytest.raises(BadRequest, match="`a field` is given twice"):
        facts(**{name: 1, camel_case(name): 2})


def test_a_letter_written_as_an_escape_hides_nothing() -> None:
    body = b'{"contents":[],"generation\\u0043onfig":{"max\\u005foutput\\u005ftokens":9},"cached\\u0043ontent":"c/1"}'
    read = GEMINI.facts(body, f"{FLASH}:generateContent")
    assert (read.output_cap, read.media.others) == (9, 1)


@pytest.mark.parametrize(
    ("config", "cap", "choices"),
    [
        ({}, None, 1),
        (None, None, 1),
        ({"maxOutputTokens": None, "candidateCount": None}, None, 1),
        ({"maxOutputTokens": 100}, 100, 1),
        ({"maxOutputTokens": "100", "candidateCount": "3"}, 100, 3),
        ({"thinkingConfig": {"thinkingBudget": 900}, "responseModalities": ["TEXT"]}, None, 1),
        ({"responseModalities": [], "responseFormat": {"text": {"mimeType": "application/json"}}}, None, 1),
    ],
)
def test_limits_are_read_as_proto3_writes_them(config: Any, cap: int | None, choices: int) -> None:
    read = facts(generationConfig=config)
    assert (read.output_cap, read.choices) == (cap, choices)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"contents": None}, "expected a list of contents in `contents`"),
        ({"contents": "hi"}, r"got `str` in `contents\[0\]`"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "Expected `str`, got `int` in `contents.parts.text`"),
        ({"contents": [{"parts": ["hi"]}]}, r"got `str` in `contents\[0\].parts\[0\]`"),
        ({"generationConfig": []}, "in `generationConfig`"),
        ({"generationConfig": {"maxOutputTokens": "many"}}, "in `generationConfig.maxOutputTokens`"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "at least 1 in `generationConfig.maxOutputTokens`"),
        ({"generationConfig": {"maxOutputTokens": 10**9}}, "at most 10000000"),
        ({"generationConfig": {"candidateCount": 9}}, "from 1 to 8 in `generationConfig.candidateCount`, got 9"),
        ({"tools": [3]}, r"in `tools\[0\]`"),
        ({"serviceTier": 2}, "in `serviceTier`"),
    ],
)
def test_a_wrong_field_is_named_with_the_kind_expected(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        facts(**fields)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b'{"contents":[{"parts":[{"text":"caf\xe9"}]}]}', "UTF-8"),
        (b'{"contents":[{"parts":[{"text":"\\ud800"}]}]}', "not valid JSON"),
        (b'{"contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"contents":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (
            b'{"contents":[{"parts":' + b'{"functionResponse":{"parts":' * 40_000 + b"[]" + b"}}" * 40_000 + b"}]}",
            "too deep",
        ),
    ],
)
def test_a_hostile_request_is_a_bad_request(body: bytes, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        GEMINI.facts(body, f"{FLASH}:generateContent")


@pytest.mark.parametrize("model", ["m" * 257, "m\0", "m\n"])
def test_a_name_the_books_cannot_show_is_refused(model: str) -> None:
    with pytest.raises(BadRequest, match="printable characters in `model`"):
        GEMINI.facts(b'{"contents":[]}', f"{model}:generateContent")


@pytest.mark.parametrize(
    ("part", "media"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "A" * 999}}, (1, 0)),
        ({"inlineData": {"mimeType": "IMAGE/JPEG", "data": "A" * 999}}, (1, 0)),
        ({"inlineData": {"mimeType": "video/mp4", "data": "A" * 999}}, (0, 1)),
        ({"inlineData": {"data": "A" * 999}}, (0, 1)),
        ({"fileData": {"mimeType": "image/png", "fileUri": "https://x/y"}}, (0, 1)),  # what is there, nobody knows
        ({"somethingNew": {"uri": "https://x/y"}}, (0, 1)),
        ({"text": "four", "thoughtSignature": "AAAA"}, (0, 0)),
        (
            {"functionResponse": {"name": "f", "parts": [{"inlineData": {"mimeType": "image/png", "data": "A"}}]}},
            (1, 0),
        ),
        ({"functionResponse": {"name": "f", "response": {"fileData": 1}}}, (0, 0)),
    ],
)
def test_media_are_bounded_by_kind_and_not_by_bytes(part: dict[str, Any], media: tuple[int, int]) -> None:
    read = facts_of(part)
    assert (read.media.images, read.media.others) == media
    assert read.traits.media == (media != (0, 0))
    bound = input_tokens_max(read, FLASH, WINDOW)
    assert bound == (WINDOW if media[1] else read.text_bytes + media[0] * 16_384)


def test_what_the_body_does_not_hold_is_bounded_by_the_window_even_where_the_catalogue_knows_none() -> None:
    read = facts(cachedContent="cachedContents/1")
    assert (read.media.others, read.traits.media) == (1, True)
    assert input_tokens_max(read, "gemini-2.5-pro", None) == WINDOW
    assert input_tokens_max(read, "gemini-3-flash-preview", 1_000_000) == WINDOW
    assert input_tokens_max(read, "gemini-2.5-flash-image", 1_000_000) == WINDOW
    assert input_tokens_max(read, "gemma-3", None) is None


def test_a_prompt_beyond_a_rounded_window_is_bounded_by_the_true_one() -> None:
    read = facts_of({"text": "a" * 1_020_000})
    assert input_tokens_max(read, FLASH, 1_000_000) == read.text_bytes
    assert input_tokens_max(facts_of({"text": "a" * 1_100_000}), FLASH, 1_000_000) == WINDOW


@pytest.mark.parametrize(
    ("tools", "searches", "reads"),
    [
        ([{"functionDeclarations": [{"name": "googleSearch"}]}], False, False),
        ([{"functionDeclarations": []}, {"googleSearch": {}}], True, False),
        ({"google_search": {}}, True, False),
        ([{"googleSearchRetrieval": {"dynamicRetrievalConfig": {}}}], True, False),
        ([{"urlContext": {}}], False, True),
        ([{"codeExecution": None}], False, False),
        ([{}], False, False),
        ([], False, False),
    ],
)
def test_what_runs_at_the_providers_is_bounded(tools: Any, searches: bool, reads: bool) -> None:
    read = facts(tools=tools)
    assert read.traits.searches_web is searches
    assert read.media.others == (searches or reads)
    assert read.text_bytes >= TOOLS_OVERHEAD_TOKENS


@pytest.mark.parametrize(
    "tool",
    [
        "codeExecution",
        "code_execution",
        "googleMaps",
        "computerUse",
        "fileSearch",
        "enterpriseWebSearch",
        "mcpServers",
        "novel",
    ],
)
def test_what_is_billed_by_other_than_tokens_and_searches_is_refused(tool: str) -> None:
    with pytest.raises(Unmetered) as caught:
        facts(tools=[{"functionDeclarations": []}, {tool: {}}])
    assert (caught.value.code, caught.value.param) == ("unmetered", "tools")


@pytest.mark.parametrize(
    "config",
    [
        {"responseModalities": ["TEXT", "IMAGE"]},
        {"response_modalities": ["IMAGE"]},
        {"responseModalities": "Video"},
        {"responseFormat": [{"text": {}}, {"image": {}}]},
        {"routingConfig": {"autoMode": {}}},
        {"modelSelectionConfig": {}},
    ],
)
def test_an_answer_that_is_not_this_models_text_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Unmetered):
        facts(generationConfig=config)


@pytest.mark.parametrize(
    ("tier", "read"), [("flex", "flex"), ("PRIORITY", "priority"), ("unspecified", ""), (None, "")]
)
def test_a_service_tier_is_read(tier: str | None, read: str) -> None:
    assert facts(serviceTier=tier).service_tier == read


def test_the_body_sent_has_the_cap_decided_and_all_else_as_it_came() -> None:
    body = {"contents": [SAID], "generationConfig": {"temperature": 0.10}, "safetySettings": [1], "labels": {"a": "b"}}
    assert sent(body) == body | {"generationConfig": {"temperature": 0.1, "maxOutputTokens": 50}}
    assert sent({"contents": [SAID]})["generationConfig"] == {"maxOutputTokens": 50}
    assert sent({"contents": [SAID], "generationConfig": None})["generationConfig"] == {"maxOutputTokens": 50}


def test_a_cap_in_either_spelling_is_replaced_and_never_doubled() -> None:
    snake = {"contents": [SAID], "generation_config": {"max_output_tokens": 900, "top_p": 1}}
    assert sent(snake) == {"contents": [SAID], "generation_config": {"top_p": 1, "maxOutputTokens": 50}}
    assert sent(snake, cap=900) == snake
    nulls = {"contents": [SAID], "generation_config": None, "generationConfig": {"maxOutputTokens": 900}}
    assert sent(nulls) == {"contents": [SAID], "generationConfig": {"maxOutputTokens": 50}}


def test_a_field_given_twice_is_sent_as_it_was_read_and_a_model_in_the_body_not_at_all() -> None:
    body = b'{"contents":[],"generationConfig":{"maxOutputTokens":900,"maxOutputTokens":50},"model":"models/dear"}'
    assert sent(body) == {"contents": [], "generationConfig": {"maxOutputTokens": 50}}


def chunk(text: str = "", finish: str = "", usage: dict[str, Any] | None = None, **fields: Any) -> bytes:
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "index": fields.pop("index", 0),
    }
    if finish:
        candidate["finishReason"] = finish
    told = {"candidates": [candidate], "modelVersion": FLASH} | ({"usageMetadata": usage} if usage else {}) | fields
    return event_bytes(msgspec.json.encode(told))


def read(*events: bytes) -> tuple[list[Seen], Answer]:
    reader = GEMINI.reader()
    return [reader.see(event) for event in events], reader.answer()


def test_snapshots_of_a_stream_are_never_summed_and_its_last_chunk_may_close_it() -> None:
    seen, answer = read(
        chunk("one ", usage={"promptTokenCount": 9, "thoughtsTokenCount": 20, "totalTokenCount": 29}),
        chunk("two ", usage={"promptTokenCount": 9, "thoughtsTokenCount": 20, "candidatesTokenCount": 3}),
        chunk("", "STOP", usage={"promptTokenCount": 9, "thoughtsTokenCount": 20, "candidatesTokenCount": 5}),
    )
    assert seen == [Seen.content, Seen.content, Seen.closing]
    assert answer == Answer(Usage(9, output_tokens=5, reasoning_tokens=20), FLASH, "", 8, whole=True, final=True)


def test_usage_that_comes_after_the_end_is_taken_in() -> None:
    told = event_bytes(b'{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5}}')
    seen, answer = read(chunk("four", "STOP"), told)
    assert seen == [Seen.closing, Seen.closing]
    assert (answer.usage, answer.whole, answer.final) == (Usage(9, output_tokens=5), True, True)


def test_a_stream_is_whole_when_every_candidate_has_finished() -> None:
    events = [chunk("a"), chunk("b", index=1), chunk("", "STOP"), chunk("", "MAX_TOKENS", index=1)]
    seen, answer = read(*events)
    assert seen == [Seen.content, Seen.content, Seen.content, Seen.closing]
    assert answer.whole
    assert not read(*events[:3])[1].whole


def test_a_stream_without_its_end_is_cut_and_its_usage_a_beginning() -> None:
    _, answer = read(chunk("four", usage={"promptTokenCount": 9, "candidatesTokenCount": 1}))
    assert (answer.whole, answer.final, answer.output_bytes) == (False, False, 4)
    assert not read()[1].whole
    _, failed = read(chunk("four"), event_bytes(b'{"error":{"code":503,"message":"overloaded"}}'))
    assert not failed.whole


def test_a_blocked_prompt_is_a_whole_answer_and_billed() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    }
    seen, answer = read(event_bytes(msgspec.json.encode(blocked)))
    assert seen == [Seen.closing]
    assert (answer.usage, answer.whole, answer.final) == (Usage(9), True, True)
    assert GEMINI.answer(msgspec.json.encode(blocked)).usage == Usage(9)


@pytest.mark.parametrize(
    ("model", "queries", "searches"),
    [
        (FLASH, [["a", "b"], ["c"]], 1),
        ("gemini-3-pro-preview", [["a", "b"], ["b", "c", ""]], 3),
        ("gemini-3-pro-preview", [["", ""]], 0),
        ("gemini-3-pro-preview", [[]], 0),
        (FLASH, [[]], 0),
    ],
)
def test_searches_are_counted_as_google_bills_them(model: str, queries: list[list[str]], searches: int) -> None:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1}
    events = [
        chunk(
            "x", "STOP", usage, candidates=[{"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": each}}]
        )
        for each in queries
    ]
    told = [event.replace(FLASH.encode(), model.encode()) for event in events]
    answer = read(*told)[1]
    assert answer.usage is not None
    assert answer.usage.other == ({"web_searches": searches} if searches else {})


def test_an_answer_without_usage_is_measured_for_our_own_count() -> None:
    parts = [{"text": "four"}, {"functionCall": {"name": "f"}}, {"executableCode": {"code": "1"}}]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    answer = GEMINI.answer(msgspec.json.encode(body))
    assert (answer.usage, answer.output_bytes, answer.note) == (None, 4 + 12 + 12, "")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"candidates":{}}', b'{"usageMetadata":[]}', b'{"candidates":[{"index":"x"}]}']
)
def test_what_is_no_answer_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="not a generated content"):
        GEMINI.answer(body)


def test_an_event_that_cannot_be_read_stops_nothing() -> None:
    seen, answer = read(b'data: {"candidates": [{"con\n\n', b": ping\n\n", chunk("four", "STOP"))
    assert seen == [Seen.content, Seen.content, Seen.closing]
    assert answer.whole
    assert (answer.note, answer.output_bytes > 20) == ("an event of the stream could not be read", True)


def test_a_refusal_has_googles_shape_and_our_code() -> None:
    refusal = NoMoney("no money left", details={"spent_usd": "1.00"})
    assert msgspec.json.decode(GEMINI.error_body(refusal, "call_1")) == snapshot(
        {
            "error": {
                "code": 402,
                "message": "no money left",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "budget_exhausted",
                        "domain": "bursar",
                        "metadata": {"spent_usd": "1.00", "call_id": "call_1"},
                    }
                ],
            }
        }
    )
    busy = msgspec.json.decode(GEMINI.error_body(TooMany("busy", retry_after_s=7), "call_1"))
    assert busy["error"]["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}


@pytest.mark.parametrize(
    ("name", "written"), [("inline_data", "inlineData"), ("text", "text"), ("a__b", "aB"), ("_x", "X"), ("x_", "x")]
)
def test_names_are_written_as_proto3_writes_them(name: str, written: str) -> None:
    assert camel_case(name) == written


NAMES = st.sampled_from(
    [
        "contents",
        "parts",
        "text",
        "role",
        "inlineData",
        "inline_data",
        "mimeType",
        "functionResponse",
        "tools",
        "x",
        "generationConfig",
        "maxOutputTokens",
        "candidates",
        "content",
        "usageMetadata",
        "promptTokenCount",
        "index",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(NAMES, json_values, max_size=4).map(lambda fields: msgspec.json.encode({"contents": []} | fields))
)
def test_whatever_is_sent_is_read_or_refused(body: bytes) -> None:
    try:
        read_facts = GEMINI.facts(body, f"{FLASH}:generateContent")
    except (BadRequest, Unmetered):
        pass
    else:
        assert read_facts.text_bytes <= len(body) + TOOLS_OVERHEAD_TOKENS
        msgspec.json.decode(GEMINI.upstream_body(body, read_facts, "m", 5, ""))
    with contextlib.suppress(BadAnswer):
        GEMINI.answer(body)
    GEMINI.reader().see(event_bytes(body))
