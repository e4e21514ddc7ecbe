"""Shape what was spent: totals, statements, budgets, the front page."""

from typing import Any

import msgspec

from bursar.budgets.tree import Exhausted, Holds


class TotalsView(msgspec.Struct, frozen=True):
    """Total a span of time. Tokens are told apart by kind and never overlap. Charges are for work that is no call."""

    calls: int
    charges: int
    cost_usd: str
    charges_usd: str
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    not_ok_calls: int
    estimated_calls: int


class LineView(msgspec.Struct, frozen=True):
    """Be one line of a statement, its calls and charges. Input includes cached tokens, output includes reasoning.

    `reported_usd` is what providers say so many calls cost, `of_reported_usd` what was booked for the same.
    """

    name: str
    calls: int
    charges: int
    cost_usd: str
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    estimated_calls: int
    reported_calls: int
    reported_usd: str
    of_reported_usd: str


class StatementView(msgspec.Struct, frozen=True):
    """Be a statement: lines and their total."""

    since: str
    until: str
    by: str
    lines: list[LineView]
    total: TotalsView


class RunsOutView(msgspec.Struct, frozen=True):
    """Say when a budget runs out at the pace it is spent at: by its middle pace, its fastest and its slowest.

    `latest_at` is null where it lasts at the slowest.
    """

    at: str
    earliest_at: str
    latest_at: str | None


class BudgetView(msgspec.Struct, frozen=True):
    """Say where a budget stands in the tree and where its money is in the current window.

    Amounts are in its unit, as strings; null where nothing is limited. Those of money are in USD as well.
    """

    name: str
    kind: str
    parent: str | None
    depth: int
    frozen: bool
    unit: str
    window: str
    limit: str
    limit_amount: str | None
    spent_amount: str
    held_amount: str
    left_amount: str | None
    limit_usd: str | None
    spent_usd: str | None
    held_usd: str | None
    left_usd: str | None
    overage_usd: str | None
    undecided_usd: str | None
    runs_out: RunsOutView | None  # null where it lasts, where too little is known, and where no alert is set


class BranchView(msgspec.Struct, frozen=True):
    """Describe a budget or key in its place in the tree, with its terms and the state of each of its limits."""

    id: str
    name: str
    kind: str
    parent: str | None
    depth: int
    frozen: bool
    zone: str
    soft: bool
    grace_usd: str | None
    overdraft_usd: str | None
    match: dict[str, str]
    each: str
    when_exhausted: Exhausted | None  # null where the parent decides
    holds: Holds | None
    call_depth_max: int | None
    repeats_max: int | None
    alerts_percent: list[int]
    limits: list[BudgetView]


class Overview(msgspec.Struct, frozen=True):
    """Be the front page: today and this month, by model, key and hour, budgets, the latest calls."""

    at: str
    today: TotalsView
    month: TotalsView
    by_model: list[LineView]
    by_key: list[LineView]
    hours: list[str]  # cost in USD of each hour of today
    budgets: list[BudgetView]
    calls: list[dict[str, Any]]
