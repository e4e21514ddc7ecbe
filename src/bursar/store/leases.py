"""Move money between budgets and the leases gateways spend from, each move one transaction."""

from typing import Final

import asyncpg
import msgspec

from bursar.budgets.budget import Budget, Enforcement, Terms, base_id, overdraft_line, period_at, pieces_beside
from bursar.budgets.purse import Ask
from bursar.budgets.slices import (
    Accounts,
    Moment,
    Move,
    id_of,
    lasts,
    lease_transfers,
    most_in_force,
    plan_lease,
    return_transfer,
)
from bursar.core import ids
from bursar.core.errors import BooksError
from bursar.core.money import Money
from bursar.ledger import chart
from bursar.ledger.chart import Code, Unit
from bursar.ledger.lease import Grant
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
from bursar.store.database import Connection, announce, load_statements

__all__ = ["CONTROL_CHAIN", "Grant", "OpenLease", "id_of", "open_lease", "return_lease", "set_aside", "set_limit"]

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
    unit: Unit = Unit.usd


class _InForce(msgspec.Struct, frozen=True):
    limit_nano: Money | None
    grace_nano: Money
    overdraft_nano: Money
    enforcement: Enforcement

    def terms(self) -> Terms:
        """Return them as terms, without their window."""
        enforcement, grace, line = self.enforcement, self.grace_nano, self.overdraft_nano
        return Terms(self.limit_nano, enforcement=enforcement, grace_nano=grace, overdraft_nano=line)


class _Stand(msgspec.Struct, frozen=True):
    """Hold a window's accounts, under lock, and where it stands."""

    accounts: Accounts
    used_account: int
    moment: Moment
    limited: bool  # as the account says, not yet the terms
    elsewhere_nano: Money
    name: str
    end_us: int


async def set_limit(connection: Connection, budget: Budget, at_us: int, *, open_it: bool = False) -> None:
    """Bring the account of a budget's current window to the budget's limit, within the caller's transaction.

    A lower limit takes out what is free now. Gateways return their leases when they hear of it, and what comes back
    beyond the limit is taken out before anything is leased again; what was spent beyond it stays spent. A window that
    nobody has spent from has no account yet, and gets one only where that is asked for.
    """
    name = chart.budget_name(budget.budget_id, period_at(budget.terms, at_us).name)
    await lock_chain(connection, budget.tenant, CONTROL_CHAIN)
    if open_it or await find_account(connection, budget.tenant, name) is not None:
        stand = await _stand(connection, budget, None, at_us)
        move = msgspec.structs.replace(plan_lease(stand.moment, 0, 0), repaid_nano=0)
        await _book_move(connection, budget, stand, move, id_of("limit", budget.tenant, name, at_us), at_us)


async def open_lease(connection: Connection, ask: Ask, gateway: int, transfer_id: bytes, at_us: int) -> Grant:
    """Lease a slice of a budget's current window to a gateway: what there is, if it is less than is wanted.

    The window is brought to the limit in force and what it overspent before is repaid first. The same transfer id
    leases once, however often it is asked. Where other gateways have what the call at hand needs, they are told.
    """
    budget = ask.budget
    async with connection.transaction():
        await lock_chain(connection, budget.tenant, CONTROL_CHAIN)
        stand = await _stand(connection, budget, gateway, at_us)
        before = await transfer_amount(connection, budget.tenant, transfer_id)
        if before is None:
            move = plan_lease(stand.moment, ask.need_nano, ask.want_nano)
            await _book_move(connection, budget, stand, move, transfer_id, at_us)
            if move.repaid_nano and budget.terms.overdraft_nano:
                await _restore_line(connection, budget, move.repaid_nano, transfer_id, at_us)
        else:
            move = Move(0, 0, 0, before, stand.moment.available_nano)
        if move.leased_nano < ask.need_nano and stand.elsewhere_nano:
            await announce(connection, f"recall:{budget.budget_id}")
    accounts = stand.accounts
    return Grant(
        accounts.lease,
        accounts.budget,
        accounts.overage,
        stand.used_account,
        move.leased_nano,
        move.left_nano,
        stand.moment.most_nano,
        stand.end_us,
        stand.elsewhere_nano,
        accounts.unit,
        at_us,
    )


async def _stand(connection: Connection, budget: Budget, gateway: int | None, at_us: int) -> _Stand:
    """Open the accounts of a budget's window, lock them and see where it stands."""
    tenant, terms, period = budget.tenant, budget.terms, period_at(budget.terms, at_us)
    unit, name = terms.unit, chart.budget_name(budget.budget_id, period.name)
    span, limited = (period.start_us, period.end_us), terms.most_nano is not None
    account, _ = await open_account(connection, tenant, Opening(name, Code.budget, None, span, limited, unit), at_us)

    async def opened(word: str, code: Code, *, limited: bool = False, parent: int | None = None) -> int:
        opening = Opening(word, code, parent, None, limited, unit)
        return (await open_account(connection, tenant, opening, at_us))[0]

    lasting = lasts(terms)
    overage_name = chart.overage_name(name if lasting else chart.budget_name(budget.budget_id, "all"))
    overage = await opened(overage_name, Code.overage, parent=account if lasting else None)
    lease = used = 0
    if gateway is not None:
        lease = await opened(chart.lease_name(gateway, name), Code.lease, limited=True, parent=account)
        used = await opened(chart.used_name(unit, gateway), Code.used)
    grants = await opened(chart.grants_name(unit), Code.grants)
    locked = await lock_accounts(connection, tenant, [account, overage, *([lease] if lease else [])])
    pieces = [chart.budget_name(budget.budget_id, piece.name) for piece in pieces_beside(terms, at_us)]
    row = await connection.fetchrow(
        _SQL["moment"], tenant, base_id(budget.budget_id), terms.window.value, account, lease, pieces
    )
    assert row is not None
    most = terms.most_nano
    if row["terms"] is not None:  # in force; what the gateway knows may be older
        most = most_in_force(budget.budget_id, msgspec.json.decode(row["terms"], type=_InForce).terms())
    state, owed = locked[account], locked[overage].debits_posted - locked[overage].credits_posted
    moment = Moment(
        state.available,
        owed if lasting else 0,
        row["granted_nano"] - row["withdrawn_nano"],
        most,
        row["earlier_nano"],
        max(1, row["gateways"]),
    )
    accounts = Accounts(unit, grants, account, overage, lease)
    return _Stand(accounts, used, moment, state.limited, row["elsewhere_nano"], name, period.end_us)


async def _book_move(
    connection: Connection, budget: Budget, stand: _Stand, move: Move, transfer_id: bytes, at_us: int
) -> None:
    """Book a move, the account's limit being lifted before it and set after it, as the terms say."""
    tenant, accounts = budget.tenant, stand.accounts
    limited = stand.moment.most_nano is not None
    if stand.limited and not limited:
        await set_limited(connection, tenant, accounts.budget, limited=False)
    withdrawn = 0
    if move.withdrawn_nano:
        name = chart.withdrawn_name(stand.name)
        opening = Opening(name, Code.withdrawn, accounts.budget, limited=True, unit=accounts.unit)
        withdrawn, _ = await open_account(connection, tenant, opening, at_us)
    transfers = lease_transfers(accounts, withdrawn, move, transfer_id, at_us)
    if transfers:
        await _book_all(connection, tenant, transfers)
    if limited and not stand.limited:
        await set_limited(connection, tenant, accounts.budget, limited=True)


async def _restore_line(
    connection: Connection, budget: Budget, repaid_nano: Money, transfer_id: bytes, at_us: int
) -> None:
    """Give an overdraft line back what of its use the budget has repaid."""
    line = overdraft_line(budget)
    name = chart.budget_name(line.budget_id, period_at(line.terms, at_us).name)
    if await find_account(connection, budget.tenant, name) is None:
        return
    stand = await _stand(connection, line, None, at_us)
    used = stand.moment.granted_nano - stand.moment.available_nano - stand.elsewhere_nano
    amount, unit = min(repaid_nano, max(0, used)), stand.accounts.unit
    if amount:
        opening = Opening(chart.used_name(unit, 0), Code.used, unit=unit)
        source, _ = await open_account(connection, budget.tenant, opening, at_us)
        act, target = id_of("line", transfer_id.hex()), stand.accounts.budget
        restored = Transfer(act, source, target, amount, Kind.post, Reason.overage, at_us, unit=unit)
        await _book_all(connection, budget.tenant, [restored])


async def lock_control(connection: Connection, tenant: int) -> None:
    """Let nobody else move a budget's money until the caller's transaction ends."""
    await lock_chain(connection, tenant, CONTROL_CHAIN)


async def spend_from(
    connection: Connection, budget: Budget, spent: tuple[Money, int], reason: Reason, transfer_id: bytes, at_us: int
) -> Money:
    """Spend from a budget itself, within the caller's transaction; returns what it could not pay, which is overage.

    `spent` is the amount and the account it goes to. What gateways have leased is asked back where it falls short.
    """
    (amount, target), tenant, unit = spent, budget.tenant, budget.terms.unit
    stand = await _stand(connection, budget, None, at_us)
    move = msgspec.structs.replace(plan_lease(stand.moment, 0, 0), repaid_nano=0)
    await _book_move(connection, budget, stand, move, id_of("open", transfer_id.hex()), at_us)
    free = stand.moment.available_nano + move.granted_nano - move.withdrawn_nano
    paid = amount if stand.moment.most_nano is None else max(0, min(amount, free))
    accounts, beyond = stand.accounts, id_of("beyond", transfer_id.hex())
    parts = [
        Transfer(transfer_id, accounts.budget, target, paid, Kind.post, reason, at_us, unit=unit),
        Transfer(beyond, accounts.overage, target, amount - paid, Kind.post, Reason.overage, at_us, unit=unit),
    ]
    await _book_all(connection, tenant, [part for part in parts if part.amount_nano])
    if paid < amount and stand.elsewhere_nano:
        await announce(connection, f"recall:{budget.budget_id}")
    return amount - paid


async def return_lease(connection: Connection, lease: OpenLease, transfer_id: bytes, at_us: int) -> None:
    """Return a lease's unspent money to its budget."""
    async with connection.transaction():
        moved = (lease.account_id, lease.budget_account, lease.available_nano)
        transfer = return_transfer(lease.unit, moved, transfer_id, at_us)
        await _book_all(connection, lease.tenant, [transfer])


async def expire_holds(connection: Connection, gateway: int, at_us: int) -> int:
    """Expire the holds of a gateway that are still open in the books, and return how many there were.

    Once its spool has been carried into the books, these are of calls it has forgotten: what they held stays in the
    lease, to be set aside with it.
    """
    async with connection.transaction():
        rows = await open_holds(connection, gateway)
        for tenant in sorted({row["tenant"] for row in rows}):
            await _book_all(connection, tenant, [_expiry(row, at_us) for row in rows if row["tenant"] == tenant])
    return len(rows)


def _expiry(hold: asyncpg.Record, at_us: int) -> Transfer:
    """Return the transfer that expires a hold."""
    hold_id, way = hold["transfer_id"], (hold["debit_account"], hold["credit_account"])
    name = ids.transfer_id(ids.call_of_transfer(hold_id), ids.VOID)
    return Transfer(name, *way, 0, Kind.expire_hold, Reason.call, at_us, hold_id, hold["amount_nano"])


async def set_aside(
    connection: Connection, lease: OpenLease, at_us: int, reason: Reason = Reason.indeterminate
) -> None:
    """Move a lease's rest to where undecided money lies: it may have been spent by calls nobody remembers."""
    async with connection.transaction():
        await lock_chain(connection, lease.tenant, CONTROL_CHAIN)
        account = await _beside(connection, lease, Code.indeterminate, at_us)
        name = id_of("set aside", lease.tenant, lease.account_id, at_us)
        await _move(connection, lease, (lease.account_id, account), reason, name, at_us)


async def take_back(connection: Connection, lease: OpenLease, transfer_id: bytes, at_us: int) -> None:
    """Move what was set aside of a dead gateway's lease back into it: it is alive, and knows what it spent."""
    async with connection.transaction():
        await lock_chain(connection, lease.tenant, CONTROL_CHAIN)
        account = await _beside(connection, lease, Code.indeterminate, at_us)
        await _move(connection, lease, (account, lease.account_id), Reason.set_aside, transfer_id, at_us)


async def cover(connection: Connection, lease: OpenLease, transfer_id: bytes, at_us: int) -> None:
    """Give a lease what its calls have spent of money that was decided to be somebody else's: it is overage."""
    async with connection.transaction():
        await lock_chain(connection, lease.tenant, CONTROL_CHAIN)
        account = await _beside(connection, lease, Code.overage, at_us)
        await _move(connection, lease, (account, lease.account_id), Reason.overage, transfer_id, at_us)


async def write_off(connection: Connection, lease: OpenLease, transfer_id: bytes, at_us: int) -> None:
    """Count what was set aside of a dead gateway's lease as spent, though nobody knows on what."""
    async with connection.transaction():
        await lock_chain(connection, lease.tenant, CONTROL_CHAIN)
        account = await _beside(connection, lease, Code.written_off, at_us)
        await _move(connection, lease, (lease.account_id, account), Reason.written_off, transfer_id, at_us)


_BESIDE: Final = {
    Code.indeterminate: chart.indeterminate_name,
    Code.overage: chart.overage_name,
    Code.written_off: chart.written_off_name,
}


async def _beside(connection: Connection, lease: OpenLease, code: Code, at_us: int) -> int:
    """Find or open an account beside that of a lease's budget."""
    limited = code is Code.indeterminate
    opening = Opening(_BESIDE[code](lease.budget_name), code, lease.budget_account, limited=limited, unit=lease.unit)
    return (await open_account(connection, lease.tenant, opening, at_us))[0]


async def _move(
    connection: Connection, lease: OpenLease, way: tuple[int, int], reason: Reason, transfer_id: bytes, at_us: int
) -> None:
    amount, unit = lease.available_nano, lease.unit
    transfer = Transfer(transfer_id, *way, amount, Kind.post, reason, at_us, unit=unit)
    await _book_all(connection, lease.tenant, [transfer])


async def payable_account(connection: Connection, tenant: int, provider: str, gateway: int, at_us: int) -> int:
    """Find or open the account of what is owed to a provider through a gateway."""
    name = chart.payable_name(provider, gateway)
    account, _ = await open_account(connection, tenant, Opening(name, Code.payable), at_us)
    return account


async def _book_all(connection: Connection, tenant: int, transfers: list[Transfer]) -> None:
    for transfer, status in zip(transfers, await book(connection, tenant, CONTROL_CHAIN, transfers), strict=True):
        if not status.ok:
            raise BooksError(f"the books refused a transfer of {transfer.amount_nano} nano-USD: {status.name}")
