"""Move money between budgets and the leases gateways spend from, each move one transaction."""

import hashlib
from typing import Final

import msgspec

from bursar.budgets.budget import Budget, period_at
from bursar.core import ids
from bursar.core.errors import BooksError
from bursar.core.money import Money
from bursar.ledger import chart
from bursar.ledger.books import Account
from bursar.ledger.chart import Code
from bursar.ledger.transfer import Kind, Reason, Transfer
from bursar.store.accounts import (
    Opening,
    book,
    find_account,
    lock_accounts,
    lock_chain,
    open_account,
    open_holds,
    set_limited,
    transfer_amount,
)
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("leases")

CONTROL_CHAIN: Final = 0
"""The chain of everything that is not a call: grants, leases, returns, corrections."""


class OpenLease(msgspec.Struct, frozen=True):
    """Describe a lease and how much of it is neither spent nor held."""

    tenant: int
    account_id: int
    budget_account: int
    available_nano: Money
    budget_name: str = ""


class Grant(msgspec.Struct, frozen=True):
    """Say what a budget has leased out, and what it has left. `limit_nano` is None for an unlimited budget."""

    lease_account: int
    budget_account: int
    overage_account: int
    granted_nano: Money
    left_nano: Money
    limit_nano: Money | None
    in_lease_nano: Money  # in this gateway's lease now, holds included
    end_us: int  # of the window


def id_of(*words: object) -> bytes:
    """Make an id of 16 bytes from words, so that the same act always has the same id."""
    return hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()[:16]


async def ensure_budget_account(connection: Connection, budget: Budget, at_us: int) -> tuple[int, int]:
    """Find or open the account of a budget's window, granting its limit when it is new. Returns its id and end."""
    tenant, period = budget.tenant, period_at(budget.window, at_us)
    name, limited = chart.budget_name(budget.budget_id, period.name), budget.limit_nano is not None
    span = (period.start_us, period.end_us)
    account, new = await open_account(connection, tenant, Opening(name, Code.budget, None, span, limited), at_us)
    if new and budget.limit_nano:
        await grant(connection, tenant, account, budget.limit_nano, id_of("grant", tenant, name), at_us)
    return account, period.end_us


async def grant(
    connection: Connection, tenant: int, account: int, amount_nano: Money, transfer_id: bytes, at_us: int
) -> None:
    """Grant money to a budget account."""
    source, _ = await open_account(connection, tenant, Opening(chart.grants_name(), Code.grants), at_us)
    transfer = Transfer(transfer_id, source, account, amount_nano, Kind.post, Reason.grant, at_us)
    await _book_all(connection, tenant, [transfer])


async def set_limit(connection: Connection, budget: Budget, at_us: int) -> None:
    """Bring the account of a budget's current window to the budget's limit, within the caller's transaction.

    A lower limit takes out what is free now. Gateways return their leases when they hear of it, and what comes back
    beyond the limit is taken out before anything is leased again; what was spent beyond it stays spent.
    """
    tenant, name = budget.tenant, chart.budget_name(budget.budget_id, period_at(budget.window, at_us).name)
    await lock_chain(connection, tenant, CONTROL_CHAIN)
    account = await find_account(connection, tenant, name)
    if account is None:
        return
    if budget.limit_nano is not None:
        state = (await lock_accounts(connection, tenant, [account]))[account]
        change = -await _beyond_limit(connection, budget, account, name)
        if not state.limited:  # what is out already counts, but is not taken back
            change = max(change, -state.available)
        transfer_id = id_of("limit", account, at_us)
        if change > 0:
            await grant(connection, tenant, account, change, transfer_id, at_us)
        elif (amount := min(-change, state.available)) > 0:
            out = await _withdrawn_account(connection, tenant, account, name, at_us)
            transfer = Transfer(transfer_id, account, out, amount, Kind.post, Reason.withdrawal, at_us)
            await _book_all(connection, tenant, [transfer])
    await set_limited(connection, tenant, account, limited=budget.limit_nano is not None)


async def _beyond_limit(connection: Connection, budget: Budget, account: int, name: str) -> Money:
    """Return how much more a budget's account was granted than the limit in force allows; negative when less."""
    values = (budget.tenant, budget.budget_id, budget.window.value, account, chart.withdrawn_name(name))
    return await connection.fetchval(_SQL["beyond_limit"], *values) or 0


async def _withdrawn_account(connection: Connection, tenant: int, account: int, name: str, at_us: int) -> int:
    """Find or open the account of what was taken out of a budget's account."""
    opening = Opening(chart.withdrawn_name(name), Code.withdrawn, account, limited=True)
    return (await open_account(connection, tenant, opening, at_us))[0]


async def open_lease(
    connection: Connection, budget: Budget, gateway: int, want_nano: Money, transfer_id: bytes, at_us: int
) -> Grant:
    """Lease up to `want_nano` of a budget's current window to a gateway: what there is, if it is less.

    What the window overspent before is repaid first. The same transfer id leases once, however often it is asked.
    """
    tenant = budget.tenant
    name = chart.budget_name(budget.budget_id, period_at(budget.window, at_us).name)
    async with connection.transaction():
        await lock_chain(connection, tenant, CONTROL_CHAIN)
        account, end_us = await ensure_budget_account(connection, budget, at_us)
        lease_name = chart.lease_name(gateway, name)
        lease, _ = await open_account(connection, tenant, Opening(lease_name, Code.lease, account, limited=True), at_us)
        overage, _ = await open_account(
            connection, tenant, Opening(chart.overage_name(name), Code.overage, account), at_us
        )
        locked = await lock_accounts(connection, tenant, [account, lease, overage])
        state, own, owed = locked[account], locked[lease], locked[overage]
        before = await transfer_amount(connection, tenant, transfer_id)
        beyond = 0 if before is not None else await _beyond_limit(connection, budget, account, name)
        out, repaid, leased = (0, 0, before) if before is not None else _shares(state, owed, beyond, want_nano)
        transfers = [
            Transfer(id_of("repay", transfer_id.hex()), account, overage, repaid, Kind.post, Reason.overage, at_us),
            Transfer(transfer_id, account, lease, leased, Kind.post, Reason.lease, at_us),
        ]
        if out:
            name_out, reason = id_of("withdraw", transfer_id.hex()), Reason.withdrawal
            withdrawn = await _withdrawn_account(connection, tenant, account, name, at_us)
            transfers.insert(0, Transfer(name_out, account, withdrawn, out, Kind.post, reason, at_us))
        if before is None:
            await _book_all(connection, tenant, [transfer for transfer in transfers if transfer.amount_nano])
    moved = 0 if before is not None else leased
    return Grant(
        lease,
        account,
        overage,
        granted_nano=leased,
        left_nano=state.available - out - repaid - moved,
        limit_nano=budget.limit_nano,
        in_lease_nano=own.available + own.debits_pending + moved,
        end_us=end_us,
    )


def _shares(budget: Account, overage: Account, beyond_nano: Money, want_nano: Money) -> tuple[Money, Money, Money]:
    """Divide what a budget has left: what is beyond its limit goes out, then what it overspent before is repaid."""
    owed = overage.debits_posted - overage.credits_posted
    if not budget.limited:
        return 0, owed, want_nano
    out = min(max(0, beyond_nano), budget.available)
    repaid = min(owed, budget.available - out)
    return out, repaid, min(want_nano, budget.available - out - repaid)


async def return_lease(connection: Connection, lease: OpenLease, transfer_id: bytes, at_us: int) -> None:
    """Return a lease's unspent money to its budget."""
    reason, amount = Reason.lease_return, lease.available_nano
    async with connection.transaction():
        transfer = Transfer(transfer_id, lease.account_id, lease.budget_account, amount, Kind.post, reason, at_us)
        await _book_all(connection, lease.tenant, [transfer])


async def expire_holds(connection: Connection, gateway: int, at_us: int) -> int:
    """Expire the holds of a gateway that are still open in the books, and return how many there were.

    Once its spool has been carried into the books, these are of calls it has forgotten: what they held stays in the
    lease, to be set aside with it.
    """
    async with connection.transaction():
        rows = await open_holds(connection, gateway)
        for row in rows:
            hold_id, held = row["transfer_id"], row["amount_nano"]
            accounts = row["debit_account"], row["credit_account"]
            name = ids.transfer_id(ids.call_of_transfer(hold_id), ids.VOID)
            transfer = Transfer(name, *accounts, 0, Kind.expire_hold, Reason.call, at_us, hold_id, held)
            await _book_all(connection, row["tenant"], [transfer])
    return len(rows)


async def set_aside(connection: Connection, lease: OpenLease, at_us: int) -> None:
    """Move a lease's rest to where undecided money lies: it may have been spent by calls nobody remembers."""
    tenant = lease.tenant
    async with connection.transaction():
        await lock_chain(connection, tenant, CONTROL_CHAIN)
        name = chart.indeterminate_name(lease.budget_name)
        parent = lease.budget_account
        account, _ = await open_account(
            connection, tenant, Opening(name, Code.indeterminate, parent, limited=True), at_us
        )
        transfer_id = id_of("set aside", tenant, lease.account_id, at_us)
        reason, amount = Reason.indeterminate, lease.available_nano
        transfer = Transfer(transfer_id, lease.account_id, account, amount, Kind.post, reason, at_us)
        await _book_all(connection, tenant, [transfer])


async def payable_account(connection: Connection, tenant: int, provider: str, gateway: int, at_us: int) -> int:
    """Find or open the account of what is owed to a provider through a gateway."""
    name = chart.payable_name(provider, gateway)
    account, _ = await open_account(connection, tenant, Opening(name, Code.payable), at_us)
    return account


async def _book_all(connection: Connection, tenant: int, transfers: list[Transfer]) -> None:
    for transfer, status in zip(transfers, await book(connection, tenant, CONTROL_CHAIN, transfers), strict=True):
        if not status.ok:
            raise BooksError(f"the books refused a transfer of {transfer.amount_nano} nano-USD: {status.name}")
