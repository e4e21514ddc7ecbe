"""Write the record of a call as a row of `calls`."""

from typing import Any, Final

import msgspec

from bursar.core.records import Assignment, Record
from bursar.store.database import Connection, load_statements
from bursar.store.rows import bytea, defaults_json, rows_json

_SQL: Final = load_statements("calls")

OF_NO_GATEWAY: Final = 0
"""What stands for the gateway of a record that no gateway's journal carries: gateways have numbers from 1."""


class CallRow(msgspec.Struct, omit_defaults=True, gc=False):
    """Be a row of `calls`, its columns in any order. Of several attempts the one the call has ended with is in them."""

    tenant: int
    call_id: str
    key_id: str
    protocol: int
    model: str
    status: int
    provider: str
    served_model: str
    http_status: int
    opened_us: int
    first_byte_us: int
    ended_us: int
    usage_source: int
    held_nano: int
    cost_nano: int
    counterfactual_nano: int
    price_id: str
    budget_account: int
    gateway: int
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    system_bytes: int = 0
    tools_bytes: int = 0
    history_bytes: int = 0
    retrieved_bytes: int = 0
    user_bytes: int = 0
    overage_nano: int = 0
    stream: bool = False
    run: str = ""
    parent: str = ""
    tags: Any = None
    other_usage: Any = None
    unknown_usage: Any = None
    reported_cost_nano: int | None = None
    lines: Any = None
    attempts: Any = None
    error: str | None = None
    arms: tuple[Assignment, ...] | None = None
    idempotency_key: str | None = None
    body_sha256: str | None = None
    kept: Any = None
    answered_model: str | None = None
    route: Any = None
    unit: str | None = None
    sent_bytes: Any = None
    lever_notes: Any = None


def call_row(record: Record, budget_account: int, gateway: int) -> CallRow:
    """Return a finished call as a row."""
    call, last, segments = record.call, record.last, record.call.segments
    single = len(record.attempts) == 1
    usage = last.usage if single else record.usage
    return CallRow(
        call.tenant,
        bytea(call.call_id),
        call.key_id,
        call.protocol,
        call.model,
        record.status,
        last.provider,
        last.model,
        last.http_status,
        call.opened_us,
        last.first_byte_us,
        record.ended_us,
        last.usage_source,
        record.held_nano,
        record.cost_nano,
        record.counterfactual_nano,
        last.price_id,
        budget_account,
        gateway,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        segments.system,
        segments.tools,
        segments.history,
        segments.retrieved,
        segments.user,
        record.overage_nano,
        call.stream,
        call.run,
        call.parent,
        call.tags or None,
        usage.other or None,
        usage.unknown or None,
        last.reported_cost_nano if last.reported_cost_nano >= 0 else None,
        last.lines or None,
        None if single else record.attempts,
        last.error or None,
        record.arms or None,
        bytea(call.idempotency_key) if call.idempotency_key else None,
        bytea(call.body_sha256) if call.body_sha256 else None,
        [bytea(name) for name in last.kept] if last.kept else None,
        last.answered_model if last.is_other else None,
        call.route,
        bytea(record.unit) if record.unit else None,
        msgspec.structs.asdict(record.sent) if record.sent is not None else None,
        record.notes or None,
    )


_DEFAULTS: Final = defaults_json(CallRow)


async def insert_call(connection: Connection, record: Record, budget_account: int = 0) -> None:
    """Write a finished call down that no gateway's journal carries; one without charge is of no budget's account."""
    await connection.execute(_SQL["insert"], _DEFAULTS, rows_json([call_row(record, budget_account, OF_NO_GATEWAY)]))
