"""Read agent runs back: their calls as a tree, what else was charged to them, and what they have left to spend."""

from typing import Any, Final

import msgspec

from bursar.budgets.budget import UNIT_WORDS, amount_text, limit_text
from bursar.core.ids import call_id_from_name, call_name, first_id_at
from bursar.core.money import nano_to_usd
from bursar.core.times import to_datetime
from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT, budget_states
from bursar.store.keys import all_keys
from bursar.store.reports import shown_call

_SQL: Final = load_statements("charges")

CALLS_MAX: Final = 10_000


async def recent_runs(connection: Connection, since_us: int, limit: int) -> list[dict[str, Any]]:
    """Return the latest runs since a moment, newest first, with what they cost."""
    rows = await connection.fetch(_SQL["runs"], TENANT, first_id_at(since_us // 1000), since_us, limit)
    return [
        {
            "run": row["run"],
            "key": row["key_name"],
            "calls": row["calls"],
            "charges": row["charges"],
            "cost_usd": nano_to_usd(row["cost_nano"]),
            "first_at": to_datetime(row["first_us"]).isoformat(),
            "last_at": to_datetime(row["last_us"]).isoformat(),
        }
        for row in rows
    ]


async def one_run(connection: Connection, run: str, now_us: int) -> dict[str, Any] | None:
    """Return a run with its calls as a tree, its charges and its budgets; None when nothing is known of it."""
    calls = await connection.fetch(_SQL["calls_of_run"], TENANT, run, CALLS_MAX)
    charges = await connection.fetch(_SQL["of_run"], TENANT, run)
    if not calls and not charges:
        return None
    nodes = {call_name(row["call_id"]): shown_call(row) | {"charges": [], "children": []} for row in calls}
    roots: list[dict[str, Any]] = []
    for row, node in zip(calls, nodes.values(), strict=True):
        parent = nodes.get(row["parent"])
        (roots if parent is None or parent is node else parent["children"]).append(node)
    others: list[dict[str, Any]] = []
    for row in charges:
        node = nodes.get(call_name(row["call_id"])) if row["call_id"] is not None else None
        (others if node is None else node["charges"]).append(_shown_charge(row))
    spent, charged = sum(row["cost_nano"] for row in calls), sum(row["cost_nano"] for row in charges)
    return {
        "run": run,
        "calls": len(calls),
        "calls_usd": nano_to_usd(spent),
        "charges_usd": nano_to_usd(charged),
        "cost_usd": nano_to_usd(spent + charged),
        "whole": len(calls) < CALLS_MAX,
        "budgets": await _budgets(connection, run, [*calls, *charges], now_us),
        "charges": others,
        "tree": roots,
    }


async def depth_of(connection: Connection, run: str, name: str, most: int) -> int | None:
    """Return how deep a call of a run lies, as the books know it; None when they do not."""
    try:
        call_id = call_id_from_name(name)
    except ValueError:
        return None
    return await connection.fetchval(_SQL["depth"], TENANT, run, call_id, most)


async def _budgets(connection: Connection, run: str, rows: list[Any], now_us: int) -> list[dict[str, Any]]:
    """Say what the budgets of the run itself have left."""
    key_ids = {row["key_id"] for row in rows}
    budgets = {
        budget.budget_id: budget
        for key in await all_keys(connection)
        if key.key_id in key_ids
        for budget in key.path.find(run, "", key.tags).budgets
        if "/" in budget.budget_id
    }
    states = await budget_states(connection, list(budgets.values()), now_us)
    return [
        {
            "budget": state.budget.holder,
            "limit": limit_text(state.budget.terms),
            "unit": UNIT_WORDS[state.budget.terms.unit],
            "spent": amount_text(state.spent_nano, state.budget.terms.unit),
            "held": amount_text(state.held_nano, state.budget.terms.unit),
            "left": None if state.left_nano is None else amount_text(state.left_nano, state.budget.terms.unit),
        }
        for state in states
    ]


def _shown_charge(row: Any) -> dict[str, Any]:
    return {
        "id": row["charge_id"],
        "at": to_datetime(row["event_us"]).isoformat(),
        "key": row["key_name"],
        "kind": row["kind"],
        "supplier": row["supplier"] or None,
        "description": row["description"] or None,
        "quantity": row["quantity"] or None,
        "tags": msgspec.json.decode(row["tags"]),
        "cost_usd": nano_to_usd(row["cost_nano"]),
        "overage_usd": nano_to_usd(row["overage_nano"]),
    }
