"""What OpenTelemetry is told of a call: the conventions' words, input with what was cached, and no content."""

import msgspec
import pytest
from inline_snapshot import snapshot

from bursar.core.records import (
    Attempt,
    AttemptStatus,
    Call,
    CallStatus,
    Protocol,
    Record,
    Segments,
    UsageSource,
)
from bursar.core.usage import Usage
from bursar.gateway.telemetry import (
    Context,
    attempt_attributes,
    call_attributes,
    context_of,
    onward,
    span_id,
)

CALL_ID = bytes(range(16))
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OWN = Context(int.from_bytes(CALL_ID, "big"))
GIVEN = Context(int(TRACE, 16), int(PARENT, 16))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", GIVEN),
        (f"00-{TRACE}-{PARENT}-00", msgspec.structs.replace(GIVEN, sampled=False)),
        (f"00-{TRACE}-{PARENT}-03", GIVEN),
        (f"01-{TRACE}-{PARENT}-01-what-is-to-come", GIVEN),
        ("", OWN),
        (f"00-{TRACE}-{PARENT}-01-more", OWN),
        (f"01-{TRACE}-{PARENT}-01more", OWN),
        (f"ff-{TRACE}-{PARENT}-01", OWN),
        (f"00-{'0' * 32}-{PARENT}-01", OWN),
        (f"00-{TRACE}-{'0' * 16}-01", OWN),
        (f"00-{TRACE.upper()}-{PARENT}-01", OWN),
        (f"00-{TRACE}-{PARENT}", OWN),
        ("\x00" * 55, OWN),
    ],
)
def test_a_trace_is_the_clients_where_it_says_so_rightly_and_else_the_calls_own(header: str, expected: Context) -> None:
    assert context_of(CALL_ID, header.encode()) == expected


def test_a_provider_is_told_the_trace_and_the_calls_span() -> None:
    own = f"{span_id(CALL_ID):016x}"
    assert onward(CALL_ID, f"00-{TRACE}-{PARENT}-00".encode()) == f"traceparent: 00-{TRACE}-{own}-00\r\n".encode()
    assert onward(CALL_ID, b"\r\nx-evil: 1") == f"traceparent: 00-{CALL_ID.hex()}-{own}-01\r\n".encode()
    assert len({span_id(CALL_ID, number) for number in range(30)}) == 30


def record(*attempts: Attempt, status: CallStatus = CallStatus.ok) -> Record:
    call = Call(CALL_ID, 1, "key_1", Protocol.openai_chat, "mine", True, 1_000_000, Segments(), "r", "", {"team": "a"})
    cost = sum(each.cost_nano for each in attempts)
    return Record(call, status, attempts, 9_000, cost, 0, cost, 3_000_000)


ANSWERED = Attempt(
    "claude", "opus", AttemptStatus.ok, 200, 1_000_000, 1_250_000, 3_000_000, Usage(10, 400, 30, 5, 20, 7),
    UsageSource.provider, "price", (), 1_500, 1_600,
)  # fmt: skip
UNREACHABLE = Attempt("dead", "opus", AttemptStatus.unreachable, 0, 1_000_000, 0, 1_000_000)


def test_an_attempt_says_what_was_used_with_cached_tokens_among_the_input() -> None:
    assert attempt_attributes(record(ANSWERED), ANSWERED, {"claude": "anthropic"}) == snapshot(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "opus",
            "gen_ai.request.stream": True,
            "bursar.provider": "claude",
            "bursar.status": "ok",
            "bursar.usage_source": "provider",
            "bursar.attempt.cost_usd": "0.0000015",
            "bursar.attempt.cost_nano_usd": 1500,
            "gen_ai.usage.input_tokens": 445,
            "gen_ai.usage.output_tokens": 27,
            "gen_ai.usage.cache_read.input_tokens": 400,
            "gen_ai.usage.cache_creation.input_tokens": 35,
            "gen_ai.usage.reasoning.output_tokens": 7,
            "gen_ai.response.model": "opus",
            "http.response.status_code": 200,
            "bursar.price_id": "price",
            "bursar.reported_cost_usd": "0.0000016",
            "gen_ai.response.time_to_first_chunk": 0.25,
        }
    )


def test_a_call_says_what_it_came_to() -> None:
    assert call_attributes(record(UNREACHABLE, ANSWERED)) == snapshot(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "mine",
            "gen_ai.request.stream": True,
            "bursar.call_id": "call_000102030405060708090a0b0c0d0e0f",
            "bursar.protocol": "openai_chat",
            "bursar.key_id": "key_1",
            "bursar.status": "ok",
            "bursar.attempts": 2,
            "bursar.cost_usd": "0.0000015",
            "bursar.cost_nano_usd": 1500,
            "bursar.held_usd": "0.000009",
            "bursar.run": "r",
            "bursar.tag.team": "a",
        }
    )


def test_what_is_not_known_is_left_out_and_never_zero() -> None:
    held = msgspec.structs.replace(ANSWERED, usage=Usage(), usage_source=UsageSource.held, status=AttemptStatus.lost)
    for attempt in (held, UNREACHABLE):
        described = attempt_attributes(record(attempt), attempt, {})
        assert [name for name in described if name.startswith("gen_ai.usage")] == []
    assert attempt_attributes(record(held), held, {})["error.type"] == "lost"


@pytest.mark.parametrize(
    ("status", "http_status", "error"),
    [
        (AttemptStatus.ok, 200, None),
        (AttemptStatus.throttled, 429, "429"),
        (AttemptStatus.failed, 503, "503"),
        (AttemptStatus.cut, 200, "cut"),
        (AttemptStatus.unreachable, 0, "unreachable"),
    ],
)
def test_what_went_wrong_with_an_attempt_has_a_name(status: AttemptStatus, http_status: int, error: str | None) -> None:
    attempt = msgspec.structs.replace(ANSWERED, status=status, http_status=http_status)
    assert attempt_attributes(record(attempt), attempt, {}).get("error.type") == error


@pytest.mark.parametrize("status", CallStatus)
def test_a_client_that_left_is_no_error(status: CallStatus) -> None:
    wrong = status not in (CallStatus.ok, CallStatus.client_gone)
    assert ("error.type" in call_attributes(record(ANSWERED, status=status))) is wrong
