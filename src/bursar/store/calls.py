"""Write the record of a call as a row, and read rows back."""

from typing import Any, Final

import msgspec

from bursar.ledger.journal import Settled

COLUMNS: Final = {
    "tenant": "integer",
    "call_id": "bytea",
    "key_id": "text",
    "run": "text",
    "parent": "text",
    "tags": "jsonb",
    "protocol": "smallint",
    "model": "text",
    "stream": "boolean",
    "status": "smallint",
    "provider": "text",
    "served_model": "text",
    "http_status": "smallint",
    "opened_us": "bigint",
    "first_byte_us": "bigint",
    "ended_us": "bigint",
    "input_tokens": "bigint",
    "cache_read_tokens": "bigint",
    "cache_write_5m_tokens": "bigint",
    "cache_write_1h_tokens": "bigint",
    "output_tokens": "bigint",
    "reasoning_tokens": "bigint",
    "other_usage": "jsonb",
    "unknown_usage": "jsonb",
    "usage_source": "smallint",
    "held_nano": "bigint",
    "cost_nano": "bigint",
    "overage_nano": "bigint",
    "counterfactual_nano": "bigint",
    "price_id": "text",
    "reported_cost_nano": "bigint",
    "lines": "jsonb",
    "attempts": "jsonb",
    "error": "text",
    "system_bytes": "bigint",
    "tools_bytes": "bigint",
    "history_bytes": "bigint",
    "retrieved_bytes": "bigint",
    "user_bytes": "bigint",
    "arms": "jsonb",
    "budget_account": "bigint",
    "gateway": "integer",
    "idempotency_key": "bytea",
    "body_sha256": "bytea",
}
"""The columns of `calls` with their types, in the order of `call_row`."""

_encode = msgspec.json.Encoder().encode


def call_row(settled: Settled, gateway: int) -> tuple[Any, ...]:
    """Return a finished call as a row of `COLUMNS`, in which its last attempt stands; several are in `attempts`."""
    record = settled.record
    call, last, segments = record.call, record.attempts[-1], record.call.segments
    single = len(record.attempts) == 1
    usage = last.usage if single else record.usage
    return (
        call.tenant,
        call.call_id,
        call.key_id,
        call.run,
        call.parent,
        _encode(call.tags).decode() if call.tags else None,
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
        _encode(usage.other).decode() if usage.other else None,
        _encode(usage.unknown).decode() if usage.unknown else None,
        last.usage_source,
        record.held_nano,
        record.cost_nano,
        record.overage_nano,
        record.counterfactual_nano,
        last.price_id,
        last.reported_cost_nano if last.reported_cost_nano >= 0 else None,
        _encode(last.lines).decode() if last.lines else None,
        None if single else _encode(record.attempts).decode(),
        last.error or None,
        segments.system,
        segments.tools,
        segments.history,
        segments.retrieved,
        segments.user,
        _encode(record.arms).decode() if record.arms else None,
        settled.budget_account,
        gateway,
        call.idempotency_key or None,
        call.body_sha256 or None,
    )
