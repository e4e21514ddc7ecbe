"""Say what OpenTelemetry is told of a call: names, attributes and ids, in the GenAI semantic conventions. No content.

A call is a server's span and each attempt a client's below it. Usage and cost are on attempts alone, so that a sum over
spans counts nothing twice. Ids follow from the call's, so a call is found among traces by its id.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, TypeAlias

import msgspec

from bursar.core.ids import call_name
from bursar.core.money import nano_to_usd
from bursar.core.records import Attempt, AttemptStatus, CallStatus, Protocol, Record, UsageSource

Attributes: TypeAlias = dict[str, str | int | float | bool]

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NOTHING: Final = (b"0" * 32, b"0" * 16)
_SAMPLED: Final = 1

# Names the conventions have for providers; any other is told by the name it has in the configuration.
PROVIDER_NAMES: Final = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}


_OPERATIONS: Final[Mapping[int, str]] = {
    Protocol.gemini: "generate_content",
    Protocol.openai_completions: "text_completion",
    Protocol.openai_embeddings: "embeddings",
    Protocol.gemini_embed: "embeddings",
    Protocol.gemini_embed_batch: "embeddings",
    Protocol.openai_moderations: "moderation",  # the conventions have no name for it
}


class Context(msgspec.Struct, frozen=True):
    """Say which trace a call belongs to, and below which span of its client's, if any."""

    trace_id: int
    parent_id: int = 0
    sampled: bool = True


def context_of(call_id: bytes, traceparent: bytes) -> Context:
    """Read a W3C traceparent header; where there is none that can be read, the call's id is the trace's."""
    match = _TRACEPARENT.match(traceparent)
    wrong = match is None or match[1] == _NOTHING[0] or match[2] == _NOTHING[1] or traceparent.startswith(b"ff")
    if match is None or wrong or (len(traceparent) > 55 and (traceparent[:2] == b"00" or traceparent[55:56] != b"-")):
        return Context(int.from_bytes(call_id, "big"))
    return Context(int(match[1], 16), int(match[2], 16), bool(int(match[3], 16) & _SAMPLED))


def span_id(call_id: bytes, number: int = 0) -> int:
    """Return the id of a call's span, or of its attempt by number, counted from 1."""
    return int.from_bytes(blake2b(call_id + bytes((number & 255,)), digest_size=8).digest(), "big") or 1


def onward(call_id: bytes, traceparent: bytes) -> bytes:
    """Return the header line that lets a provider's spans lie below the call's."""
    context = context_of(call_id, traceparent)
    return b"traceparent: 00-%032x-%016x-%02x\r\n" % (context.trace_id, span_id(call_id), context.sampled)


def operation_of(protocol: int) -> str:
    """Name the operation, as the conventions do."""
    return _OPERATIONS.get(protocol, "chat")


def call_attributes(record: Record) -> Attributes:
    """Describe a call: who made it, what it asked for, what it came to."""
    call = record.call
    attributes: Attributes = {
        "gen_ai.operation.name": operation_of(call.protocol),
        "gen_ai.request.model": call.model,
        "gen_ai.request.stream": call.stream,
        "bursar.call_id": call_name(call.call_id),
        "bursar.protocol": Protocol(call.protocol).name,
        "bursar.key_id": call.key_id,
        "bursar.status": CallStatus(record.status).name,
        "bursar.attempts": len(record.attempts),
        "bursar.cost_usd": nano_to_usd(record.cost_nano),
        "bursar.cost_nano_usd": record.cost_nano,
        "bursar.held_usd": nano_to_usd(record.held_nano),
    }
    if call.run:
        attributes["bursar.run"] = call.run
    attributes |= {f"bursar.tag.{name}": value for name, value in call.tags.items()}
    if record.overage_nano:
        attributes["bursar.overage_usd"] = nano_to_usd(record.overage_nano)
    if error := call_error(record):
        attributes["error.type"] = error
    return attributes


def attempt_attributes(record: Record, attempt: Attempt, providers: Mapping[str, str]) -> Attributes:
    """Describe an attempt; `providers` has the conventions' names of those that are configured."""
    usage = attempt.usage
    attributes: Attributes = {
        "gen_ai.operation.name": operation_of(record.call.protocol),
        "gen_ai.provider.name": providers.get(attempt.provider, attempt.provider),
        "gen_ai.request.model": attempt.model,
        "gen_ai.request.stream": record.call.stream,
        "bursar.provider": attempt.provider,
        "bursar.status": AttemptStatus(attempt.status).name,
        "bursar.usage_source": UsageSource(attempt.usage_source).name,
        "bursar.attempt.cost_usd": nano_to_usd(attempt.cost_nano),
        "bursar.attempt.cost_nano_usd": attempt.cost_nano,
    }
    if is_known(attempt):
        attributes["gen_ai.usage.input_tokens"] = usage.input_total  # cached tokens included
        attributes["gen_ai.usage.output_tokens"] = usage.output_total  # reasoning included
        attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cache_read_tokens
        written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
        attributes["gen_ai.usage.cache_creation.input_tokens"] = written
        attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    if attempt.status in (AttemptStatus.ok, AttemptStatus.cut):
        attributes["gen_ai.response.model"] = attempt.answered_model or attempt.model
    if attempt.http_status:
        attributes["http.response.status_code"] = attempt.http_status
    if attempt.price_id:
        attributes["bursar.price_id"] = attempt.price_id
    if attempt.reported_cost_nano >= 0:
        attributes["bursar.reported_cost_usd"] = nano_to_usd(attempt.reported_cost_nano)
    if record.call.stream and attempt.first_byte_us:
        attributes["gen_ai.response.time_to_first_chunk"] = (attempt.first_byte_us - attempt.started_us) / 1_000_000
    if error := attempt_error(attempt):
        attributes["error.type"] = error
    return attributes


def is_known(attempt: Attempt) -> bool:
    """Tell whether it is known what an attempt used: what is not is left out, and never zero."""
    return attempt.usage_source in (UsageSource.provider, UsageSource.counted)


def call_error(record: Record) -> str:
    """Name what went wrong with a call; empty where its client has, or left, a whole answer."""
    fine = (CallStatus.ok, CallStatus.client_gone)
    return "" if record.status in fine else CallStatus(record.status).name


def attempt_error(attempt: Attempt) -> str:
    """Name what went wrong with an attempt: the provider's status, or a word."""
    if attempt.status is AttemptStatus.ok:
        return ""
    return str(attempt.http_status) if attempt.http_status >= 400 else AttemptStatus(attempt.status).name
