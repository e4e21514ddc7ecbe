"""Shape what the API answers with. Money is a decimal string of USD; times are ISO 8601, UTC."""

from collections.abc import Mapping
from typing import Final

from bursar.api.shapes.holders import KeyView
from bursar.api.shapes.spending import (
    BranchView,
    BudgetView,
    LineView,
    Overview,
    RunsOutView,
    StatementView,
    TotalsView,
)
from bursar.budgets.budget import UNIT_WORDS, Enforcement, amount_text, limit_text
from bursar.budgets.forecast import Forecast
from bursar.budgets.tree import Holder, Tree
from bursar.core.kinds import By
from bursar.core.money import nano_to_usd
from bursar.core.times import DAY_US, HOUR_US, day_start_us, to_datetime
from bursar.ledger.chart import Unit
from bursar.store.alerts import forecasts
from bursar.store.database import Connection
from bursar.store.holders import BudgetState, budget_states
from bursar.store.keys import Key, all_keys, keys_in_tree
from bursar.store.reports import StatementLine, Totals, last_used, recent_calls, statement, totals

_USED_US: Final = 30 * DAY_US
"""How far back it is looked for when a key was last used."""


def totals_view(total: Totals) -> TotalsView:
    """Shape totals."""
    return TotalsView(
        total.calls,
        total.charges,
        nano_to_usd(total.cost_nano),
        nano_to_usd(total.charges_nano),
        total.input_tokens,
        total.cache_read_tokens,
        total.cache_write_tokens,
        total.output_tokens,
        total.reasoning_tokens,
        total.not_ok,
        total.estimated,
    )


def line_view(line: StatementLine) -> LineView:
    """Shape a statement's line."""
    cost = nano_to_usd(line.cost_nano)
    counts = (line.input_tokens, line.cache_read_tokens, line.output_tokens, line.estimated)
    reported = (line.reported, nano_to_usd(line.reported_nano), nano_to_usd(line.of_reported_nano))
    return LineView(line.name, line.calls, line.charges, cost, *counts, *reported)


def budget_view(holder: Holder, tree: Tree, state: BudgetState, runs_out: Forecast | None = None) -> BudgetView:
    """Shape a budget's state, with when it runs out, where that was looked for."""
    terms = state.budget.terms
    parent = tree.holders.get(holder.parent_id or "")

    def text(amount: int | None) -> str | None:
        return None if amount is None else amount_text(amount, terms.unit)

    amounts = (terms.limit_nano, state.spent_nano, state.held_nano, state.left_nano)
    more = (state.overage_nano, state.indeterminate_nano)
    money = terms.unit is Unit.usd
    return BudgetView(
        holder.name,
        holder.kind,
        parent.name if parent is not None else None,
        len(tree.line(holder.holder_id)) - 1,
        holder.frozen,
        UNIT_WORDS[terms.unit],
        state.period,
        limit_text(terms),
        text(terms.limit_nano),
        amount_text(state.spent_nano, terms.unit),
        amount_text(state.held_nano, terms.unit),
        text(state.left_nano),
        *(text(amount) if money else None for amount in (*amounts, *more)),
        runs_out=runs_out_view(runs_out) if runs_out is not None else None,
    )


def runs_out_view(found: Forecast) -> RunsOutView:
    """Shape a forecast."""
    at, earliest = (to_datetime(each).isoformat(timespec="seconds") for each in (found.runs_out_us, found.earliest_us))
    latest = None if found.latest_us is None else to_datetime(found.latest_us).isoformat(timespec="seconds")
    return RunsOutView(at, earliest, latest)


def key_view(key: Key, now_us: int, used_us: int | None = None) -> KeyView:
    """Shape a key. `used_us` is when it was last used, where that was looked for."""
    holders = key.path.holders
    return KeyView(
        key.key_id,
        key.name,
        ", ".join(limit_text(budget.terms) for budget in key.holder.budgets),
        list(key.models),
        list(key.routes),
        key.tags,
        to_datetime(key.created_us).isoformat(),
        to_datetime(key.expires_us).isoformat() if key.expires_us is not None else None,
        key.revoked_us is not None,
        list(key.addresses),
        [to_datetime(each.ends_us).isoformat() for each in key.replaced],
        holders[1].name if len(holders) > 1 else None,
        key.output_cap,
        any(holder.frozen for holder in holders),
        key.status_at(now_us),
        to_datetime(used_us).isoformat(timespec="seconds") if used_us is not None else None,
    )


async def read_keys(connection: Connection, now_us: int) -> list[KeyView]:
    """Read every key, with when it was last used of the last 30 days."""
    used = await last_used(connection, now_us - _USED_US)
    return [key_view(key, now_us, used.get(key.key_id)) for key in await all_keys(connection)]


async def read_branches(connection: Connection, now_us: int) -> list[BranchView]:
    """Read the budget tree, each holder after what it is a part of; those of revoked keys are left out."""
    tree, keys = await keys_in_tree(connection)
    gone = {key.holder.holder_id for key in keys if key.revoked_us is not None}
    shown = [holder for holder in tree.in_order() if holder.holder_id not in gone]
    found = await budget_states(connection, [budget for holder in shown for budget in holder.budgets], now_us)
    states, runs_out = {state.budget.budget_id: state for state in found}, await forecasts(connection, found, now_us)
    return [_branch(holder, tree, [states[each.budget_id] for each in holder.budgets], runs_out) for holder in shown]


def _branch(holder: Holder, tree: Tree, states: list[BudgetState], runs_out: Mapping[str, Forecast]) -> BranchView:
    parent = tree.holders.get(holder.parent_id or "")
    money = [state.budget.terms for state in states if state.budget.terms.unit is Unit.usd]
    terms = next((each for each in money if each.limit_nano is not None), None)
    graced = terms is not None and terms.enforcement is Enforcement.grace
    zones = [state.budget.terms.zone for state in states if state.budget.terms.limit_nano is not None]
    return BranchView(
        holder.holder_id,
        holder.name,
        holder.kind,
        parent.name if parent is not None else None,
        len(tree.line(holder.holder_id)) - 1,
        holder.frozen,
        zones[0] if zones else "UTC",
        any(state.budget.terms.enforcement is Enforcement.soft for state in states),
        nano_to_usd(terms.grace_nano) if terms is not None and graced else None,
        nano_to_usd(terms.overdraft_nano) if terms is not None and terms.overdraft_nano else None,
        holder.match,
        holder.each,
        holder.exhausted,
        holder.holds,
        holder.depth_max,
        holder.repeats_max,
        list(holder.alerts_percent),
        [budget_view(holder, tree, state, runs_out.get(state.budget.budget_id)) for state in states],
    )


async def read_budgets(connection: Connection, now_us: int) -> list[BudgetView]:
    """Read the state of every budget, those of revoked keys left out; each after what it is a part of."""
    tree, keys = await keys_in_tree(connection)
    gone = {key.holder.holder_id for key in keys if key.revoked_us is not None}
    shown = [holder for holder in tree.in_order() if holder.holder_id not in gone]
    found = [(holder, budget) for holder in shown for budget in holder.budgets]
    states = await budget_states(connection, [budget for _, budget in found], now_us)
    runs_out = await forecasts(connection, states, now_us)
    return [
        budget_view(holder, tree, state, runs_out.get(budget.budget_id))
        for (holder, budget), state in zip(found, states, strict=True)
    ]


async def read_statement(connection: Connection, by: By, from_us: int, until_us: int) -> StatementView:
    """Read a statement between two moments."""
    lines = await statement(connection, by, from_us, until_us)
    total = await totals(connection, from_us, until_us)
    since, until = to_datetime(from_us).isoformat(), to_datetime(until_us).isoformat()
    return StatementView(since, until, str(by), [line_view(line) for line in lines], totals_view(total))


async def read_overview(connection: Connection, now_us: int, calls_max: int = 25) -> Overview:
    """Read the front page."""
    today = to_datetime(now_us).date()
    today_us, month_us = day_start_us(today), day_start_us(today.replace(day=1))
    until_us = now_us + HOUR_US
    hours = {line.name[-2:]: line.cost_nano for line in await statement(connection, By.hour, today_us, until_us)}
    return Overview(
        at=to_datetime(now_us).isoformat(timespec="seconds"),
        today=totals_view(await totals(connection, today_us, until_us)),
        month=totals_view(await totals(connection, month_us, until_us)),
        by_model=[line_view(line) for line in await statement(connection, By.model, month_us, until_us)],
        by_key=[line_view(line) for line in await statement(connection, By.key, month_us, until_us)],
        hours=[nano_to_usd(hours.get(f"{hour:02d}", 0)) for hour in range(24)],
        budgets=await read_budgets(connection, now_us),
        calls=await recent_calls(connection, limit=calls_max),
    )
