"""Read records back: single calls, the latest, and statements over a span of time."""

from typing import Any, Final

import asyncpg
import msgspec

from bursar.core.ids import call_id_from_name, call_name, first_id_at
from bursar.core.kinds import By
from bursar.core.money import Money, nano_to_usd
from bursar.core.records import Attempt, AttemptStatus, CallStatus, Line, Protocol, Route, UsageSource
from bursar.core.times import to_datetime
from bursar.core.usage import MAIN_LEAVES, Usage, usage_of
from bursar.prices.charge import charge
from bursar.prices.price import RateCard, Rates, Source
from bursar.prices.units import MILLION
from bursar.store.database import Connection, load_statements
from bursar.store.keys import TENANT
from bursar.store.outcomes import outcomes_of_call

_SUMS: Final = """count(*) as calls, sum(cost_nano)::bigint as cost_nano,
    sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens)::bigint as input_tokens,
    sum(cache_read_tokens)::bigint as cache_read_tokens,
    sum(output_tokens + reasoning_tokens)::bigint as output_tokens,
    count(*) filter (where usage_source in (2, 3)) as estimated,
    count(reported_cost_nano) as reported, coalesce(sum(reported_cost_nano), 0)::bigint as reported_nano,
    coalesce(sum(cost_nano) filter (where reported_cost_nano is not null), 0)::bigint as of_reported_nano"""
_SQL: Final = {name: text.replace("{sums}", _SUMS) for name, text in load_statements("calls").items()}

_CHARGES: Final = load_statements("charges")

# An attempt's own status is kept where there were several; where there was one, the call's says the same.
_STATUS_OF: Final = {
    CallStatus.failed: AttemptStatus.failed,
    CallStatus.cut: AttemptStatus.cut,
    CallStatus.indeterminate: AttemptStatus.lost,
}


class StatementLine(msgspec.Struct, frozen=True):
    """Hold one line of a statement. Input includes cached tokens, output includes reasoning."""

    name: str
    calls: int
    cost_nano: Money
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    estimated: int  # calls whose usage the provider did not report
    reported: int = 0  # calls whose provider has stated what they cost
    reported_nano: Money = 0  # what it has stated
    of_reported_nano: Money = 0  # what was booked for the same calls
    charges: int = 0  # for work that is no call; their cost is in the line's


_OF_CALLS: Final = StatementLine.__struct_fields__[:-1]


class Totals(msgspec.Struct, frozen=True):
    """Hold the totals of a span of time, tokens by kind. The cost is that of calls and charges."""

    calls: int
    cost_nano: Money
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    not_ok: int
    estimated: int
    charges: int = 0
    charges_nano: Money = 0


async def statement(
    connection: Connection, by: By, from_us: int, until_us: int, tenant: int = TENANT
) -> list[StatementLine]:
    """Return what was spent between two moments, grouped. What has several tags is in the line of each.

    A charge is in the line of its key, run, tag and time; among models, work that is no call has a line of its own.
    """
    rows = await connection.fetch(_SQL[f"by_{by}"], tenant, _id_at(from_us), _id_at(until_us))
    lines = {row["name"]: StatementLine(*(row[name] for name in _OF_CALLS)) for row in rows}
    for row in await connection.fetch(_CHARGES[f"by_{by}"], tenant, from_us, until_us):
        line = lines.get(row["name"]) or StatementLine(row["name"], 0, 0, 0, 0, 0, 0)
        cost = line.cost_nano + row["cost_nano"]
        lines[line.name] = msgspec.structs.replace(line, cost_nano=cost, charges=row["charges"])
    if by in (By.day, By.hour):
        return sorted(lines.values(), key=lambda line: line.name)
    return sorted(lines.values(), key=lambda line: (-line.cost_nano, line.name))


async def totals(connection: Connection, from_us: int, until_us: int, tenant: int = TENANT) -> Totals:
    """Return the totals between two moments."""
    row = await connection.fetchrow(_SQL["totals"], tenant, _id_at(from_us), _id_at(until_us))
    charged = await connection.fetchrow(_CHARGES["totals"], tenant, from_us, until_us)
    assert row is not None
    assert charged is not None
    values = {**row, **charged}
    values["cost_nano"] += charged["charges_nano"]
    return Totals(**values)


async def last_used(connection: Connection, since_us: int, tenant: int = TENANT) -> dict[str, int]:
    """Return when each key was last used since a moment, by its id."""
    rows = await connection.fetch(_SQL["last_used"], tenant, _id_at(since_us))
    return {row["key_id"]: row["used_us"] for row in rows}


class Sought(msgspec.Struct, frozen=True):
    """Say which calls are sought: after or before a call by its id, of a key, run or model, of a status."""

    after: str | None = None
    before: str | None = None
    key: str | None = None  # by name or id
    run: str | None = None
    model: str | None = None  # as asked for, or what served it, with or without its provider
    status: CallStatus | None = None


ANY: Final = Sought()


async def recent_calls(connection: Connection, sought: Sought = ANY, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the latest calls that are sought, newest first. Raises `ValueError` naming an id that is none."""
    ids: list[bytes | None] = []
    for field, name in (("after", sought.after), ("before", sought.before)):
        try:
            ids.append(call_id_from_name(name) if name else None)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
    wanted = ids[0], sought.key, sought.run, ids[1], sought.model, sought.status
    rows = await connection.fetch(_SQL["recent"], TENANT, *wanted, limit)
    return [shown_call(row) for row in rows]


async def one_call(connection: Connection, name: str) -> dict[str, Any] | None:
    """Return a call with its attempts and priced lines; None when it is not in the books."""
    row = await connection.fetchrow(_SQL["one"], TENANT, call_id_from_name(name))
    if row is None:
        return None
    attempts = msgspec.json.decode(row["attempts"], type=list[Attempt]) if row["attempts"] else [_last_attempt(row)]
    return shown_call(row) | {
        "outcomes": await outcomes_of_call(connection, row["call_id"]),
        "held_usd": nano_to_usd(row["held_nano"]),
        "overage_usd": nano_to_usd(row["overage_nano"]),
        "counterfactual_usd": nano_to_usd(row["counterfactual_nano"]),
        "arms": msgspec.json.decode(row["arms"]) if row["arms"] else [],
        "sent_bytes": msgspec.json.decode(row["sent_bytes"]) if row["sent_bytes"] else None,
        "lever_notes": msgspec.json.decode(row["lever_notes"]) if row["lever_notes"] else [],
        "prompt_bytes": {part: row[f"{part}_bytes"] for part in ("system", "tools", "history", "retrieved", "user")},
        "attempts": [await _attempt(connection, attempt, row["opened_us"]) for attempt in attempts],
    }


class Length(msgspec.Struct, frozen=True):
    """Say how long an answer was, and what it was to."""

    key_id: str
    model: str
    protocol: int
    prompt_bytes: int
    output_tokens: int


async def recent_lengths(connection: Connection, since_us: int, limit: int) -> list[Length]:
    """Return the lengths of the latest answers since a moment, oldest first."""
    rows = await connection.fetch(_SQL["lengths"], TENANT, _id_at(since_us), limit)
    return [Length(*(row[name] for name in Length.__struct_fields__)) for row in rows]


async def used_within(connection: Connection, from_us: int, until_us: int, model: str) -> dict[str, Usage]:
    """Return what the calls of each provider, opened from one moment to before another, have used of a model."""
    by_provider: dict[str, dict[str, int]] = {}
    bounds = _id_at(from_us), model, _id_at(until_us)
    for provider, leaf, quantity in await connection.fetch(_SQL["used"], TENANT, *bounds):
        by_provider.setdefault(provider, {})[leaf] = quantity
    return {provider: usage_of(leaves) for provider, leaves in by_provider.items()}


def _id_at(at_us: int) -> bytes:
    """Return the first id of a moment; beyond what an id's time can hold, the last there is."""
    return first_id_at(at_us // 1000) if at_us < 2**57 else b"\xff" * 16


def shown_call(row: asyncpg.Record) -> dict[str, Any]:
    """Show a call's row as the API and the commands do."""
    usage = {
        name: row[name]
        for name in (
            "input_tokens",
            "cache_read_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "output_tokens",
            "reasoning_tokens",
        )
    }
    first_byte_us = row["first_byte_us"]
    return {
        "id": call_name(row["call_id"]),
        "at": to_datetime(row["opened_us"]).isoformat(),
        "key": row["key_name"],
        "run": row["run"] or None,
        "parent": row["parent"] or None,
        "tags": _json(row["tags"]),
        "protocol": Protocol(row["protocol"]).name,
        "model": row["model"],
        "route": _route(row["route"]),
        "served_by": f"{row['provider']}/{row['served_model']}",
        "stream": row["stream"],
        "status": CallStatus(row["status"]).name,
        "http_status": row["http_status"],
        "usage": usage | _json(row["other_usage"]),
        "unknown_usage": _json(row["unknown_usage"]),
        "usage_source": UsageSource(row["usage_source"]).name,
        "cost_usd": nano_to_usd(row["cost_nano"]),
        "price_id": row["price_id"],
        "ttft_ms": _ms(first_byte_us - row["opened_us"]) if first_byte_us else None,
        "duration_ms": _ms(row["ended_us"] - row["opened_us"]),
    }


def _ms(duration_us: int) -> float:
    return round(duration_us / 1000, 1)


def _last_attempt(row: asyncpg.Record) -> Attempt:
    """Read a call's one attempt from its columns."""
    main = (row[name] for name in MAIN_LEAVES)
    return Attempt(
        provider=row["provider"],
        model=row["served_model"],
        status=_STATUS_OF.get(CallStatus(row["status"]), AttemptStatus.ok),
        http_status=row["http_status"],
        started_us=row["opened_us"],
        first_byte_us=row["first_byte_us"],
        ended_us=row["ended_us"],
        usage=Usage(*main, other=_json(row["other_usage"]), unknown=_json(row["unknown_usage"])),
        usage_source=UsageSource(row["usage_source"]),
        price_id=row["price_id"],
        lines=msgspec.json.decode(row["lines"], type=tuple[Line, ...]) if row["lines"] else (),
        cost_nano=row["cost_nano"],
        reported_cost_nano=-1 if row["reported_cost_nano"] is None else row["reported_cost_nano"],
        error=row["error"] or "",
    )


async def _attempt(connection: Connection, attempt: Attempt, opened_us: int) -> dict[str, Any]:
    """Show an attempt; its lines are derived again from usage and price, unless they depend on volume."""
    row = await connection.fetchrow(_SQL["card"], attempt.price_id) if attempt.price_id else None
    lines, source = attempt.lines, Source("", "")
    if row is not None:
        source = Source(row["source"], row["checked"])
        if not lines and attempt.usage_source is not UsageSource.held:
            rates = msgspec.json.decode(row["rates"], type=Rates)
            lines = charge(attempt.usage, RateCard(attempt.price_id, rates, 0, source))
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "status": AttemptStatus(attempt.status).name,
        "http_status": attempt.http_status,
        "started_ms": _ms(attempt.started_us - opened_us),
        "ttft_ms": _ms(attempt.first_byte_us - attempt.started_us) if attempt.first_byte_us else None,
        "duration_ms": _ms(attempt.ended_us - attempt.started_us),
        "usage": attempt.usage.leaves(),
        "usage_source": UsageSource(attempt.usage_source).name,
        "cost_usd": nano_to_usd(attempt.cost_nano),
        "reported_cost_usd": nano_to_usd(attempt.reported_cost_nano) if attempt.reported_cost_nano >= 0 else None,
        "price_id": attempt.price_id or None,
        "price_source": source.url or None,
        "price_checked": source.checked or None,
        "lines": [_line(line) for line in lines],
        "error": attempt.error or None,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "unit": line.unit,
        "quantity": line.quantity,
        "rate_nano_usd": str(line.rate_nano),
        "per": line.divisor,
        "amount_usd": nano_to_usd(line.amount_nano),
    }


def _route(text: str | None) -> dict[str, Any] | None:
    """Show which model was chosen for a call and why; None for one that named its model."""
    if not text:
        return None
    route = msgspec.json.decode(text, type=Route)
    return {
        "policy": route.policy,
        "model": route.model,
        "how": route.how,
        "why": route.why,
        "expected_quality": route.quality_ppm / MILLION if route.quality_ppm >= 0 else None,
        "expected_cost_usd": nano_to_usd(route.cost_nano) if route.cost_nano >= 0 else None,
        "promised": route.promised,
        "reference": route.reference or None,
    }


def _json(text: str | None) -> dict[str, Any]:
    return msgspec.json.decode(text) if text else {}
