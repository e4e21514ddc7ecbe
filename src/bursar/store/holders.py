"""Keep the budget tree: who has budgets, below whom, on which terms, and where the money of each budget is."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import asyncpg
import msgspec

from bursar.budgets.budget import (
    UNLIMITED,
    Budget,
    Enforcement,
    Terms,
    Window,
    limit_text,
    period_at,
    pieces_before,
    zone_exists,
)
from bursar.budgets.tree import Exhausted, Holder, Holds, Tree
from bursar.core.errors import NameTaken, NotThere, OperatorError
from bursar.core.money import Money, nano_to_usd
from bursar.ledger import chart
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Kind, Reason, Status, Transfer
from bursar.store.accounts import book, find_account
from bursar.store.audit_log import note
from bursar.store.database import Connection, announce, load_statements
from bursar.store.leases import CONTROL_CHAIN, set_limit

_SQL: Final = load_statements("holders")

TENANT: Final = 1
"""The tenant of an installation that has one."""
NAME_CHARS_MAX: Final = 128


class Policies(msgspec.Struct, frozen=True):
    """Say how a holder's calls are treated; what is None stays as it is, or as the parent has it."""

    exhausted: Exhausted | None = None
    holds: Holds | None = None
    depth_max: int | None = None
    repeats_max: int | None = None
    alerts_percent: Sequence[int] | None = None


class Place(msgspec.Struct, frozen=True):
    """Say where in the tree a holder stands, and for which part of its parent's calls."""

    kind: str
    parent: str | None = None
    match: dict[str, str] = {}
    each: str = ""
    policies: Policies = Policies()


class BudgetState(msgspec.Struct, frozen=True):
    """Say where the money of a budget's current window is, in its unit. Spent and held are told apart."""

    budget: Budget
    period: str
    end_us: int
    spent_nano: int
    held_nano: int
    leased_nano: int  # in leases, neither spent nor held
    overage_nano: int
    indeterminate_nano: int
    moved_nano: int = 0  # in from other budgets, less what went out to them

    @property
    def left_nano(self) -> int | None:
        """Return what can still be spent; None when nothing is refused."""
        most = self.budget.terms.most_nano
        if most is None:
            return None
        return most + self.moved_nano - self.spent_nano - self.held_nano - self.indeterminate_nano


async def read_tree(connection: Connection, tenant: int | None = None) -> Tree:
    """Read all holders with their budgets, of one tenant or of all."""
    budgets: dict[tuple[int, str], list[Budget]] = {}
    rows = await connection.fetch(_SQL["select_holders"], tenant)
    names = {(row["tenant"], row["holder_id"]): row["name"] for row in rows}
    for row in await connection.fetch(_SQL["select_budgets"], tenant):
        owner = (row["tenant"], row["holder_id"])
        if owner not in names:  # made since the holders were read
            continue
        budgets.setdefault(owner, []).append(Budget(row["budget_id"], row["tenant"], _terms(row), names[owner]))
    return Tree(_holder(row, tuple(budgets.get((row["tenant"], row["holder_id"]), ()))) for row in rows)


async def find_holder(connection: Connection, name: str) -> Holder:
    """Find a holder by name or id. Raises `OperatorError` for an unknown one."""
    return (await find_in_tree(connection, name))[1]


async def find_in_tree(connection: Connection, name: str) -> tuple[Tree, Holder]:
    """Read the tree and find a holder in it, by name or id. Raises `OperatorError` for an unknown one."""
    if name.startswith("key_"):
        name = await connection.fetchval(_SQL["holder_of_key"], TENANT, name) or name
    tree = await read_tree(connection, TENANT)
    for holder in tree.holders.values():
        if name in (holder.name, holder.holder_id):
            return tree, holder
    raise NotThere(f"no budget or key named {name!r}: see `bursar budget show`")


async def create_holder(
    connection: Connection,
    name: str,
    place: Place,
    terms: Sequence[Terms],
    now_us: int,
) -> Holder:
    """Create a holder with its budgets, within the caller's transaction. Raises `OperatorError`."""
    check_name(name)
    for each in terms:
        _check_terms(each)
    tenant, policies = TENANT, place.policies
    parent_id = None
    if place.parent is not None:
        parent = await find_holder(connection, place.parent)
        if parent.is_part and not (place.match or place.each):
            raise OperatorError(f"{parent.name!r} is of some calls only: nobody stands below it but parts of it")
        parent_id = parent.holder_id
    holder_id = f"bud_{secrets.token_hex(8)}"
    match = msgspec.json.encode(place.match).decode()
    values = (policies.exhausted, policies.holds, policies.depth_max, policies.repeats_max)
    alerts = list(policies.alerts_percent or ())
    try:
        async with connection.transaction():
            at = (name, place.kind, parent_id, match, place.each)
            await connection.execute(_SQL["insert_holder"], tenant, holder_id, *at, *values, alerts, now_us)
    except asyncpg.UniqueViolationError:
        raise NameTaken(f"{name!r} exists already: choose another name") from None
    for number, each in enumerate(terms):
        budget_id = holder_id if number == 0 else f"{holder_id}-{secrets.token_hex(3)}"
        await _write_budget(connection, tenant, holder_id, budget_id, each, now_us + number)
    details = {"limits": _limits(terms)} | msgspec.to_builtins(place)
    await note(connection, tenant, "budget.create", name, {word: value for word, value in details.items() if value})
    await announce(connection, f"holder:{holder_id}")
    return await find_holder(connection, holder_id)


async def set_budgets(connection: Connection, name: str, terms: Sequence[Terms], now_us: int) -> Holder:
    """Give a holder these budgets and no others. What was spent in the current windows stays spent.

    Raises `OperatorError` for an unknown holder or terms that cannot be.
    """
    for each in terms:
        _check_terms(each)
    async with connection.transaction():
        holder = await find_holder(connection, name)
        await connection.fetchval(_SQL["lock_holder"], TENANT, holder.holder_id)
        if holder.kind == "key" and not any(each.unit is Unit.usd for each in terms):
            terms = [UNLIMITED, *terms]  # what a key's calls cost is always counted
        kept = _match(holder.budgets, terms)
        gone = [budget.budget_id for budget in holder.budgets if budget not in kept]
        await connection.execute(_SQL["delete_budgets"], TENANT, gone)
        for number, (each, before) in enumerate(zip(terms, kept, strict=True)):
            budget_id = before.budget_id if before is not None else f"{holder.holder_id}-{secrets.token_hex(3)}"
            await _write_budget(connection, TENANT, holder.holder_id, budget_id, each, now_us + number)
            await set_limit(connection, Budget(budget_id, TENANT, each, holder.name), now_us)
        details = {"limits": _limits(terms), "before": _limits([budget.terms for budget in holder.budgets])}
        await note(connection, TENANT, "budget.set", holder.name, details)
        await announce(connection, f"holder:{holder.holder_id}")
        return await find_holder(connection, holder.holder_id)


async def set_policies(connection: Connection, name: str, policies: Policies) -> Holder:
    """Change how a holder's calls are treated. Raises `OperatorError` for an unknown holder."""
    async with connection.transaction():
        holder = await find_holder(connection, name)
        values = (policies.exhausted, policies.holds, policies.depth_max, policies.repeats_max)
        alerts = None if policies.alerts_percent is None else list(policies.alerts_percent)
        await connection.execute(_SQL["set_policies"], TENANT, holder.holder_id, *values, alerts)
        details = {word: value for word, value in msgspec.to_builtins(policies).items() if value is not None}
        await note(connection, TENANT, "budget.policy", holder.name, details)
        await announce(connection, f"holder:{holder.holder_id}")
        return await find_holder(connection, holder.holder_id)


async def set_frozen(connection: Connection, name: str, now_us: int, *, frozen: bool) -> Holder:
    """Refuse all calls of a holder and of all below it, or no longer. Raises `OperatorError` for an unknown holder."""
    async with connection.transaction():
        holder = await find_holder(connection, name)
        if holder.frozen is not frozen:
            await connection.execute(_SQL["set_frozen"], TENANT, holder.holder_id, now_us if frozen else None)
            await note(connection, TENANT, "budget.freeze" if frozen else "budget.thaw", holder.name, {})
        await announce(connection, f"holder:{holder.holder_id}")
        return await find_holder(connection, holder.holder_id)


async def move_money(
    connection: Connection,
    names: tuple[str, str],
    amount_nano: Money,
    transfer_id: bytes,
    now_us: int,
) -> bool:
    """Move money from one holder's budget to another's, within their current windows.

    What gateways have leased and do not need is asked back. The same id moves once: False where it has moved this
    before. Raises `NameTaken` where it has moved something else, `OperatorError` when either has no budget that is
    limited, or the first not so much left.
    """
    for pause in (*_RECALL_S, None):
        try:
            return await _move_once(connection, names, amount_nano, transfer_id, now_us)
        except _Short as short:  # nothing is written, not even that it was refused
            if pause is None:
                raise OperatorError(f"{names[0]!r} cannot give so much: exceeds credits") from None
            await announce(connection, f"recall:{short}")
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


class _Short(Exception):
    """Name a budget that has not so much left that is not leased."""


async def _move_once(
    connection: Connection, names: tuple[str, str], amount_nano: Money, transfer_id: bytes, now_us: int
) -> bool:
    async with connection.transaction():
        source, target = [await _movable(connection, name, now_us) for name in names]
        way = source[1], target[1]
        transfer = Transfer(transfer_id, *way, amount_nano, Kind.post, Reason.moved, now_us)
        status = (await book(connection, TENANT, CONTROL_CHAIN, [transfer]))[0]
        if status is Status.exceeds_credits:
            raise _Short(source[0])
        if status is Status.exists or status is Status.exists_with_different_content:
            before = await connection.fetchrow(_SQL["moved_before"], TENANT, transfer_id)
            if before is None or tuple(before) != (*way, amount_nano):
                raise NameTaken("this id has moved something else, or in an earlier window: choose another")
            return False  # at another moment, which alone differs
        if not status.ok:
            raise OperatorError(f"{names[0]!r} cannot give so much: {status.name.replace('_', ' ')}")
        details = {"to": names[1], "amount_usd": nano_to_usd(amount_nano), "transfer": transfer_id.hex()}
        await note(connection, TENANT, "budget.move", names[0], details)
        await announce(connection, "holder:")
        return True


_RECALL_S: Final = (0.1, 0.3, 0.8)
"""How long gateways get, time after time, to give back what they have leased and do not need."""


async def _movable(connection: Connection, name: str, now_us: int) -> tuple[str, int]:
    """Return the budget of a holder that money may be moved from and to, and its account."""
    tree, holder = await find_in_tree(connection, name)
    if any(above.each for above in tree.line(holder.holder_id)):
        raise OperatorError(f"{name!r} has a budget for each run or value: nothing can be moved")
    budget = next((each for each in holder.budgets if each.terms.unit is Unit.usd), None)
    if budget is None or budget.terms.most_nano is None or budget.terms.rolling:
        raise OperatorError(f"{name!r} has no limited budget in USD of a calendar window: nothing can be moved")
    await open_window(connection, budget, now_us)
    window = chart.budget_name(budget.budget_id, period_at(budget.terms, now_us).name)
    account = await find_account(connection, TENANT, window)
    assert account is not None
    return budget.budget_id, account


async def open_window(connection: Connection, budget: Budget, now_us: int) -> None:
    """Open the account of a budget's current window and grant it its limit, within the caller's transaction."""
    await set_limit(connection, budget, now_us, open_it=True)


async def budget_states(connection: Connection, budgets: Sequence[Budget], now_us: int) -> list[BudgetState]:
    """Say where the money of each budget's current window is."""
    names = {budget: _window_names(budget, now_us) for budget in budgets}
    rows: dict[tuple[int, str], asyncpg.Record] = {}
    for tenant in {budget.tenant for budget in budgets}:
        wanted = [name for budget, each in names.items() if budget.tenant == tenant for name in each]
        found = await connection.fetch(_SQL["budget_accounts"], tenant, wanted)
        rows |= {(tenant, row["name"]): row for row in found}
    return [
        _state(budget, now_us, [rows[key] for name in names[budget] if (key := (budget.tenant, name)) in rows])
        for budget in budgets
    ]


async def latest_instances(connection: Connection, budget: Budget, now_us: int, limit: int) -> list[Budget]:
    """Return the budgets of the latest runs or values that one `each` budget stands for, in their current window."""
    prefix, period = f"budget:{budget.budget_id}/", period_at(budget.terms, now_us).name
    rows = await connection.fetch(_SQL["instances"], budget.tenant, prefix, f":{period}", limit)
    return [
        msgspec.structs.replace(budget, budget_id=budget_id, holder=unquote(budget_id.partition("/")[2]))
        for row in rows
        if not (budget_id := row["name"].split(":", 2)[1]).endswith(chart.OVERDRAFT)
    ]


def check_name(name: str) -> None:
    """Check a name for a key or a budget. Raises `OperatorError`."""
    if not name.strip() or not name.isprintable() or len(name) > NAME_CHARS_MAX:
        raise OperatorError(f"a name has 1 to {NAME_CHARS_MAX} printable characters, got {name[:NAME_CHARS_MAX]!r}")


def _window_names(budget: Budget, now_us: int) -> list[str]:
    periods = [*pieces_before(budget.terms, now_us), period_at(budget.terms, now_us)]
    return [chart.budget_name(budget.budget_id, period.name) for period in periods]


def _state(budget: Budget, now_us: int, rows: Sequence[asyncpg.Record]) -> BudgetState:
    period = period_at(budget.terms, now_us)

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    undecided, held, leased = total("indeterminate_nano"), total("held_nano"), total("in_leases_nano")
    elsewhere = total("there_nano") + leased + undecided + total("withdrawn_nano")
    spent = total("granted_nano") + total("moved_nano") - elsewhere
    return BudgetState(
        budget,
        period.name,
        period.end_us,
        spent + total("overage_nano"),
        held,
        leased - held,
        total("overage_nano"),
        undecided,
        total("moved_nano"),
    )


def _limits(terms: Sequence[Terms]) -> list[str]:
    return [limit_text(each) for each in terms]


def _match(budgets: Sequence[Budget], terms: Sequence[Terms]) -> list[Budget | None]:
    """Find for each of the new terms the budget that goes on under them: of the same window, else of the same unit."""
    left, kept = list(budgets), list[Budget | None]([None] * len(terms))
    for likeness in (_window_of, _unit_of):
        for number, each in enumerate(terms):
            before = next((budget for budget in left if likeness(budget.terms) == likeness(each)), None)
            if kept[number] is None and before is not None:
                kept[number] = before
                left.remove(before)
    return kept


def _window_of(terms: Terms) -> tuple[object, ...]:
    return terms.unit, terms.window, terms.rolling, terms.zone


def _unit_of(terms: Terms) -> tuple[object, ...]:
    return (terms.unit,)


async def _write_budget(
    connection: Connection, tenant: int, holder_id: str, budget_id: str, terms: Terms, now_us: int
) -> None:
    values = (terms.limit_nano, terms.unit, terms.window.value, terms.rolling, terms.zone, terms.enforcement.value)
    amounts = (terms.grace_nano, terms.overdraft_nano)
    await connection.execute(_SQL["insert_budget"], tenant, budget_id, holder_id, *values, *amounts, now_us)


def _check_terms(terms: Terms) -> None:
    if not zone_exists(terms.zone):
        raise OperatorError(f"no time zone {terms.zone!r}: expected a name such as Europe/Berlin")
    if terms.rolling and terms.window is Window.total:
        raise OperatorError("a budget in all has no window that could roll")
    if terms.enforcement is not Enforcement.grace and terms.grace_nano:
        raise OperatorError("a grace needs a limit that is enforced with grace")


def _terms(row: asyncpg.Record) -> Terms:
    return Terms(
        row["limit_nano"],
        Window(row["time_window"]),
        Unit(row["unit"]),
        row["rolling"],
        row["zone"],
        Enforcement(row["enforcement"]),
        row["grace_nano"],
        row["overdraft_nano"],
    )


def _holder(row: asyncpg.Record, budgets: tuple[Budget, ...]) -> Holder:
    return Holder(
        row["holder_id"],
        row["tenant"],
        row["name"],
        row["kind"],
        budgets,
        row["parent_id"],
        msgspec.json.decode(row["match"]),
        row["each"],
        row["frozen_us"] is not None,
        Exhausted(row["exhausted"]) if row["exhausted"] else None,
        Holds(row["holds"]) if row["holds"] else None,
        row["depth_max"],
        row["repeats_max"],
        tuple(row["alerts_percent"]),
    )
