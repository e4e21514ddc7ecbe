"""Records survive being written down, and their numbers stay what databases and spools hold."""

from enum import IntEnum

import msgspec
import pytest

from bursar.core.records import (
    Assignment,
    Attempt,
    AttemptStatus,
    Call,
    CallStatus,
    Line,
    Protocol,
    Record,
    Segments,
    UsageSource,
)
from bursar.core.usage import Usage

FAILED = Attempt("first", "m", AttemptStatus.failed, 503, 10, 11, 12, error="overloaded")
ANSWERED = Attempt(
    "second",
    "m-2",
    AttemptStatus.ok,
    200,
    13,
    14,
    20,
    Usage(5, 3, output_tokens=2, other={"web_searches": 1}, unknown={"dreams": 4}),
    UsageSource.provider,
    "second/m-2#1",
    (Line("input_tokens", 5, 3_000_000, 1_000_000, 15),),
    1_234,
    1_240,
)
CALL = Call(b"\x01" * 16, 1, "key", Protocol.anthropic_messages, "m", True, 9, Segments(1, 2, 3, 4, 5), tags={"k": "v"})
ARMS = (Assignment("cache", "holdout", "1", 100_000),)
RECORD = Record(CALL, CallStatus.ok, (FAILED, ANSWERED), 2_000, 1_234, 0, 1_500, 21, ARMS)


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_a_record_survives_being_written_down(codec: object) -> None:
    encode, decode = codec.encode, codec.decode  # pyright: ignore[reportAttributeAccessIssue]
    assert decode(encode(RECORD), type=Record) == RECORD


def test_a_call_written_before_a_field_was_added_is_still_read() -> None:
    written = msgspec.msgpack.decode(msgspec.msgpack.encode(CALL))
    assert msgspec.convert(written[:8], Call) == msgspec.structs.replace(CALL, tags={})


def test_the_usage_of_a_call_is_that_of_all_its_attempts() -> None:
    assert RECORD.usage == ANSWERED.usage
    twice = msgspec.structs.replace(RECORD, attempts=(ANSWERED, FAILED, ANSWERED))
    assert twice.usage == ANSWERED.usage.plus(ANSWERED.usage)
    assert twice.usage.unknown == {"dreams": 8}


def test_a_call_ends_with_its_latest_attempt_unless_another_is_named() -> None:
    assert RECORD.last is RECORD.attempts[1]
    assert msgspec.structs.replace(RECORD, last_place=0).last is RECORD.attempts[0]


def test_segments_add_up() -> None:
    assert Segments(1, 2, 3, 4, 5).total == 15
    assert Segments().total == 0


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (
            Protocol,
            {
                "openai_chat": 1,
                "anthropic_messages": 2,
                "openai_responses": 3,
                "gemini": 4,
                "openai_completions": 5,
                "openai_embeddings": 6,
                "openai_moderations": 7,
                "openai_images": 8,
                "openai_image_edits": 9,
                "openai_image_variations": 10,
                "openai_speech": 11,
                "openai_transcriptions": 12,
                "openai_translations": 13,
                "gemini_embed": 14,
                "gemini_embed_batch": 15,
                "openai_batch": 21,
                "anthropic_batch": 22,
                "gemini_batch": 23,
                "unmetered": 31,
            },
        ),
        (
            AttemptStatus,
            {
                "ok": 1,
                "refused": 2,
                "throttled": 3,
                "failed": 4,
                "unreachable": 5,
                "cut": 6,
                "lost": 7,
                "malformed": 8,
                "skipped": 9,
            },
        ),
        (CallStatus, {"ok": 1, "failed": 2, "client_gone": 3, "cut": 4, "indeterminate": 5}),
        (UsageSource, {"none": 0, "provider": 1, "counted": 2, "held": 3}),
    ],
)
def test_numbers_that_databases_keep_do_not_change(kind: type[IntEnum], numbers: dict[str, int]) -> None:
    assert {each.name: int(each) for each in kind} == numbers
