"""Decide what a budget leases when it is asked, and which transfers that takes. The store books them at once."""

import hashlib

import msgspec

from bursar.budgets.budget import Terms, Window
from bursar.core.money import Money
from bursar.ledger.chart import OVERDRAFT, Unit
from bursar.ledger.transfer import Kind, Reason, Transfer


class Accounts(msgspec.Struct, frozen=True):
    """Name the accounts one gateway's lease of one budget's window touches."""

    unit: Unit
    grants: int
    budget: int
    overage: int
    lease: int  # 0 where nothing is leased


class Moment(msgspec.Struct, frozen=True):
    """Say where a budget's window stands when it is asked, all under lock."""

    available_nano: Money  # neither leased nor withdrawn
    owed_nano: Money  # overspent before
    granted_nano: Money  # in all, less what was withdrawn
    most_nano: Money | None  # what the terms in force allow; None: anything
    earlier_nano: Money = 0  # used in the other pieces of a rolling window
    gateways: int = 1  # that share it


class Move(msgspec.Struct, frozen=True):
    """Say what moves: into the window or out of it, to what it overspent, to the lease."""

    granted_nano: Money
    withdrawn_nano: Money
    repaid_nano: Money
    leased_nano: Money
    left_nano: Money


def lasts(terms: Terms) -> bool:
    """Tell whether a window lasts long enough that what it overspends is repaid from it."""
    return not terms.rolling and terms.window is not Window.minute


def most_in_force(budget_id: str, terms: Terms) -> Money | None:
    """Return what terms in force allow a budget, or its overdraft line; None for anything."""
    return terms.overdraft_nano if budget_id.endswith(OVERDRAFT) else terms.most_nano


def id_of(*words: object) -> bytes:
    """Make an id of 16 bytes from words, so that the same act always has the same id."""
    return hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()[:16]


def plan_lease(moment: Moment, need_nano: Money, want_nano: Money) -> Move:
    """Divide what a budget has: bring it to its limit, repay what it overspent, lease what is wanted as far as it goes.

    Where gateways share a budget, none takes more than its part of what is left, unless the call at hand needs it.
    """
    if moment.most_nano is None:
        return Move(0, 0, moment.owed_nano, want_nano, 0)
    beyond = moment.granted_nano + moment.earlier_nano - moment.most_nano
    granted = max(0, -beyond, -moment.available_nano)  # what is out already counts, but is not taken back
    withdrawn = min(max(0, beyond), max(0, moment.available_nano))
    left = moment.available_nano + granted - withdrawn
    repaid = min(moment.owed_nano, left)
    left -= repaid
    leased = min(want_nano, left, max(need_nano, left // moment.gateways))
    return Move(granted, withdrawn, repaid, leased, left - leased)


def lease_transfers(
    accounts: Accounts, withdrawn_account: int, move: Move, transfer_id: bytes, at_us: int
) -> list[Transfer]:
    """Return the transfers of a move. The lease's is among them whatever its amount, so that its id is taken."""
    name, unit = transfer_id.hex(), accounts.unit
    steps = [
        (id_of("grant", name), accounts.grants, accounts.budget, move.granted_nano, Reason.grant),
        (id_of("withdraw", name), accounts.budget, withdrawn_account, move.withdrawn_nano, Reason.withdrawal),
        (id_of("repay", name), accounts.budget, accounts.overage, move.repaid_nano, Reason.overage),
        (transfer_id, accounts.budget, accounts.lease, move.leased_nano, Reason.lease),
    ]
    return [
        Transfer(step_id, debit, credit, amount, Kind.post, reason, at_us, unit=unit)
        for step_id, debit, credit, amount, reason in steps
        if amount or (reason is Reason.lease and accounts.lease)
    ]


def return_transfer(unit: Unit, moved: tuple[int, int, Money], transfer_id: bytes, at_us: int) -> Transfer:
    """Return the transfer that gives part of a lease back: `moved` is the lease, the budget and the amount."""
    return Transfer(transfer_id, *moved, Kind.post, Reason.lease_return, at_us, unit=unit)
