"""Write the record of a call as a row, and read rows back."""

from typing import Any, Final

import msgspec

from bursar.ledger.journal import Settled

COLUMNS: Final = (
    "tenant",
    "call_id",
    "key_id",
    "run",
    "parent",
    "tags",
    "protocol",
    "model",
    "stream",
    "status",
    "provider",
    "served_model",
    "http_status",
    "opened_us",
    "first_byte_us",
    "ended_us",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "other_usage",
    "unknown_usage",
    "usage_source",
    "held_nano",
    "cost_nano",
    "overage_nano",
    "counterfactual_nano",
    "price_id",
    "attempts",
    "system_bytes",
    "tools_bytes",
    "history_bytes",
    "retrieved_bytes",
    "user_bytes",
    "arms",
    "budget_account",
    "gateway_id",
    "idempotency_key",
    "body_sha256",
)

_encode = msgspec.json.Encoder().encode


def call_row(settled: Settled, gateway_id: str) -> tuple[Any, ...]:
    """Return a finished call as a row of `COLUMNS`. Its last attempt stands in the columns, all of them in `attempts`."""
    record = settled.record
    call, last = record.call, record.attempts[-1]
    usage, segments = record.usage, call.segments
    return (
        call.tenant,
        call.call_id,
        call.key_id,
        call.run,
        call.parent,
        call.tags or None,
        call.protocol,
        call.model,
        call.stream,
        record.status,
        last.provider,
        last.model,
        last.http_status,
        call.opened_us,
        last.first_byte_us,
        record.ended_us,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.other or None,
        usage.unknown or None,
        last.usage_source,
        record.held_nano,
        record.cost_nano,
        record.overage_nano,
        record.counterfactual_nano,
        last.price_id,
        _encode(record.attempts),
        segments.system,
        segments.tools,
        segments.history,
        segments.retrieved,
        segments.user,
        record.arms or None,
        settled.budget_account,
        gateway_id,
        call.idempotency_key or None,
        call.body_sha256 or None,
    )
