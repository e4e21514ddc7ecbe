"""Settle a call in the leases it holds in: what each pays, what is overage, who is owed.

No I/O: the gateway writes down what comes out of this, and only then answers.
"""

from collections.abc import Mapping, Sequence

import msgspec

from bursar.budgets.budget import Budget
from bursar.core.money import Money
from bursar.core.records import Assignment, Attempt, Call, CallStatus, Record, Segments, UsageSource
from bursar.ledger.chart import Unit
from bursar.ledger.journal import Debt, Intent, Settled, Share
from bursar.ledger.lease import Slice


class Wish(msgspec.Struct, frozen=True):
    """Say what a call holds: an amount of each budget it counts against, the one that pays first.

    `lines` pair budgets with the overdraft lines behind them, by their places in the list. `output_tokens` are those
    held for, of at most `output_cap`.
    """

    budgets: Sequence[Budget]
    amounts: Sequence[int]
    output_tokens: int
    output_cap: int
    lines: tuple[tuple[int, int], ...] = ()


class Holding(msgspec.Struct, frozen=True):
    """Hold what a call holds, and in which leases."""

    wish: Wish
    slices: Sequence[Slice]


class Ended(msgspec.Struct, frozen=True, gc=False):
    """Hold how a call ended, before it is known which lease pays what."""

    call: Call
    status: CallStatus
    attempts: tuple[Attempt, ...]
    held_nano: Money
    payable_account: int  # of the provider its hold was for
    arms: tuple[Assignment, ...] = ()
    saved_nano: Money = 0  # by levers, estimated
    unit: bytes = b""
    sent: Segments | None = None
    last_place: int = -1
    notes: tuple[str, ...] = ()


def settle_call(holding: Holding, ended: Ended, payables: Mapping[tuple[int, str], int]) -> Settled:
    """Settle an ended call in all leases it holds in; `payables` are accounts by tenant and provider."""
    call, slices, attempts = ended.call, holding.slices, ended.attempts
    lease = slices[0]
    cost = attempts[0].cost_nano if len(attempts) == 1 else sum(attempt.cost_nano for attempt in attempts)
    paid = lease.settle(call.call_id, cost)
    at_us = attempts[-1].ended_us
    overage, without_levers = cost - paid, cost + ended.saved_nano
    levers = ended.arms, ended.unit, ended.sent, ended.last_place, ended.notes
    record = Record(call, ended.status, attempts, ended.held_nano, cost, overage, without_levers, at_us, *levers)
    grant = lease.grant
    return Settled(
        record,
        grant.lease_account,
        grant.budget_account,
        grant.overage_account,
        ended.payable_account,
        debts_of(attempts, paid, call.tenant, payables),
        settle_shares(holding, record) if len(slices) > 1 else (),
    )


def settle_lost(intent: Intent, attempt: Attempt) -> Settled:
    """Settle a call of which only the beginning was written down: never beyond what it held.

    `attempt` carries what the policy charges. Its leases are those of a life that has ended.
    """
    call, held = intent.call, intent.held_nano
    spent = sum(earlier.cost_nano for earlier in intent.earlier)
    last = min(attempt.cost_nano, max(0, held - spent))
    attempt, cost = msgspec.structs.replace(attempt, cost_nano=last), spent + last
    attempts = (*intent.earlier, attempt)
    record = Record(call, CallStatus.indeterminate, attempts, held, cost, 0, cost, attempt.ended_us)
    owed = {debt.payable_account: debt.amount_nano for debt in intent.owed}
    if last:
        account = intent.owed_account or intent.payable_account
        owed[account] = owed.get(account, 0) + last
    debts = tuple(Debt(account, amount) for account, amount in owed.items())
    shares = tuple(
        msgspec.structs.replace(share, amount_nano=min(share.amount_nano, used))
        for share in intent.shares
        if (used := used_of(share.unit, record, share.amount_nano))
    )
    return Settled(record, intent.lease_account, intent.budget_account, 0, intent.payable_account, debts, shares)


def shares_held(holding: Holding) -> tuple[Share, ...]:
    """Return what a call holds of its further budgets, without overdraft lines: what is beyond a hold is overage."""
    wish, slices = holding.wish, holding.slices
    lines = {line for _, line in wish.lines} if wish.lines else ()
    return tuple(
        _share(slices[place], wish.amounts[place])
        for place in range(1, len(slices))
        if place not in lines and slices[place].grant.unit is not Unit.call  # which is nothing once the call is over
    )


def settle_shares(holding: Holding, record: Record) -> tuple[Share, ...]:
    """Settle a call in its further budgets and return what it used of each.

    An overdraft line pays what the budget before it could not; a line's own overage was counted there.
    """
    call_id, wish, slices = record.call.call_id, holding.wish, holding.slices
    behind = {line: budget for budget, line in wish.lines} if wish.lines else {}
    shares: list[Share] = []
    overages = [record.overage_nano]
    for place in range(1, len(slices)):
        lease = slices[place]
        before = behind.get(place) if behind else None
        amount = used_of(lease.grant.unit, record, wish.amounts[place]) if before is None else overages[before]
        paid = lease.settle(call_id, amount)
        overages.append(amount - paid)
        if amount:
            shares.append(_share(lease, paid, amount - paid if before is None else 0))
    return tuple(shares)


def used_of(unit: Unit, record: Record, held: int) -> int:
    """Return what a call used of a budget in some unit."""
    if unit is Unit.usd:
        return record.cost_nano
    if unit is Unit.token:
        for attempt in record.attempts:
            if attempt.usage_source is UsageSource.held:
                return held  # not known
        usage = record.usage
        return usage.input_total + usage.output_total
    return held if unit is Unit.request else 0  # what is counted while it lasts is over


def _share(lease: Slice, amount: int, overage: int = 0) -> Share:
    share = lease.share
    if share is not None and share.amount_nano == amount and share.overage_nano == overage:
        return share  # as with each call that counts as one request
    grant = lease.grant
    share = Share(grant.unit, grant.lease_account, grant.used_account, grant.overage_account, amount, overage)
    lease.share = share
    return share


def debts_of(
    attempts: Sequence[Attempt], paid_nano: Money, tenant: int, payables: Mapping[tuple[int, str], int]
) -> tuple[Debt, ...]:
    """Divide what the lease pays among the providers that are owed, in the order of their attempts."""
    if len(attempts) == 1:
        return (Debt(payables[tenant, attempts[0].provider], paid_nano),) if paid_nano else ()
    owed: dict[int, Money] = {}
    for attempt in attempts:
        amount = min(attempt.cost_nano, paid_nano)
        if amount:
            payable = payables[tenant, attempt.provider]
            owed[payable] = owed.get(payable, 0) + amount
            paid_nano -= amount
    return tuple(Debt(payable, amount) for payable, amount in owed.items())
