"""Read agent runs back: their calls as a tree, what else was charged to them, and what they have left to spend."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from bursar.budgets.budget import UNIT_WORDS, Budget, amount_text, base_id, limit_text
from bursar.budgets.tree import RUN
from bursar.core.ids import call_id_from_name, call_name, first_id_at
from bursar.core.money import nano_to_usd
from bursar.core.times import to_datetime
from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT, budget_states
from bursar.store.keys import keys_in_tree
from bursar.store.outcomes import outcomes_of_run
from bursar.store.reports import shown_call

_SQL: Final = load_statements("charges")

CALLS_MAX: Final = 10_000
"""How many calls and how many charges of a run are shown. Its sums are of all."""


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


async def one_run(connection: Connection, run: str, now_us: int, key_id: str | None = None) -> dict[str, Any] | None:
    """Return a run with its calls as a tree, its charges and its budgets; None when nothing is known of it.

    With a key it is as if there were no other: of what others did in the run nothing is shown or summed. The tree
    is a list: each call comes after its parent, with its `depth`, and all below it before what is beside it.
    """
    calls = await connection.fetch(_SQL["calls_of_run"], TENANT, run, CALLS_MAX, key_id)
    charges = await connection.fetch(_SQL["of_run"], TENANT, run, CALLS_MAX, key_id)
    if not calls and not charges:
        return None
    sums = await connection.fetchrow(_SQL["sums_of_run"], TENANT, run, key_id)
    assert sums is not None
    rows = {call_name(row["call_id"]): row for row in calls}
    tree: dict[str, dict[str, Any]] = {
        name: {"depth": depth} | shown_call(rows[name]) | {"charges": []}
        for name, depth in in_order({name: row["parent"] for name, row in rows.items()})
    }
    others: list[dict[str, Any]] = []
    for row in charges:
        node = tree.get(call_name(row["call_id"])) if row["call_id"] is not None else None
        (others if node is None else node["charges"]).append(_shown_charge(row))
    return {
        "run": run,
        "calls": sums["calls"],
        "calls_usd": nano_to_usd(sums["calls_nano"]),
        "charges_usd": nano_to_usd(sums["charges_nano"]),
        "cost_usd": nano_to_usd(sums["calls_nano"] + sums["charges_nano"]),
        "whole": sums["calls"] == len(calls) and sums["charges"] == len(charges),
        "budgets": await _budgets(connection, run, [*calls, *charges], now_us),
        "charges": others,
        "outcomes": await outcomes_of_run(connection, run, key_id),
        "tree": list(tree.values()),
    }


def in_order(parents: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Walk a forest, given by the name of each node's parent: nodes with their depth, 1 at the top, parents first.

    A node whose parent is not among them is at the top, and so is the first of those that lie below one another in a
    circle. Nodes that are beside one another come in the order they are given in.
    """
    children: dict[str, list[str]] = {}
    for name, parent in _without_circles(parents).items():
        children.setdefault(parent, []).append(name)
    waiting = [(name, 1) for name in reversed(children.get("", []))]
    while waiting:
        name, depth = waiting.pop()
        yield name, depth
        waiting += ((child, depth + 1) for child in reversed(children.get(name, [])))


def _without_circles(parents: Mapping[str, str]) -> dict[str, str]:
    """Return each node's parent, "" for one at the top, so that the way up from every node comes to its end."""
    cut = {name: parent if parent in parents else "" for name, parent in parents.items()}
    places = {name: place for place, name in enumerate(cut)}
    ended: set[str] = set()
    for start in cut:
        way: dict[str, None] = {}
        name = start
        while name and name not in ended and name not in way:
            way[name] = None
            name = cut[name]
        if name in way:
            names = list(way)
            cut[min(names[names.index(name) :], key=places.__getitem__)] = ""
        ended.update(way)
    return cut


async def depth_of(connection: Connection, run: str, name: str, most: int) -> int | None:
    """Return how deep a call of a run lies, as the books know it, up to `most` and one more; None when they do not."""
    try:
        call_id = call_id_from_name(name)
    except ValueError:
        return None
    return await connection.fetchval(_SQL["depth"], TENANT, run, call_id, most)


async def _budgets(connection: Connection, run: str, rows: Iterable[Any], now_us: int) -> list[dict[str, Any]]:
    """Say what the budgets of the run itself have left."""
    tree, every = await keys_in_tree(connection)
    keys = {key.key_id: key for key in every}
    of_runs = {
        budget.budget_id
        for holder in tree.holders.values()
        if any(above.each == RUN for above in tree.line(holder.holder_id))
        for budget in holder.budgets
    }
    facts = {(row["key_id"], row.get("model") or "", row["tags"] or "{}") for row in rows}
    budgets: dict[str, Budget] = {}
    for key_id, model, tags in sorted(facts):
        key = keys[key_id]
        for budget in key.path.find(run, model, key.tags | msgspec.json.decode(tags, type=dict[str, str])).budgets:
            if base_id(budget.budget_id) in of_runs:
                budgets[budget.budget_id] = budget
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
        "call": call_name(row["call_id"]) if row["call_id"] is not None else None,
        "supplier": row["supplier"] or None,
        "description": row["description"] or None,
        "quantity": row["quantity"] or None,
        "tags": msgspec.json.decode(row["tags"]),
        "cost_usd": nano_to_usd(row["cost_nano"]),
        "overage_usd": nano_to_usd(row["overage_nano"]),
    }
