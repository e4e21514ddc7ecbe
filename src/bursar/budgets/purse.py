"""Keep what one gateway has leased of one budget: when to ask for more, how much, what to give back.

No I/O: whoever drives a purse asks the database when the purse says so, tells it what was granted, and returns what it
puts aside.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Final

import msgspec

from bursar.budgets.budget import Budget
from bursar.core.money import Money
from bursar.core.times import SECOND_US
from bursar.ledger.chart import Unit
from bursar.ledger.lease import Grant, HoldStatus, Slice

SLICE_SECONDS: Final = 10
"""A slice lasts about this long at the rate a budget is being spent."""

SLICE_CALLS: Final = 64
"""A first slice covers this many calls like the one that asks."""

SLICE_MIN_NANO: Final = 1_000_000
"""A slice of money is no smaller: a thousandth of a dollar."""

LOW_SHARE: Final = 4
"""More is leased in the background once less than one in this many parts of a slice is free."""

IDLE_US: Final = 60 * SECOND_US
"""A lease nobody has used for this long goes back."""

DRY_US: Final = SECOND_US
"""How long a budget with nothing left is not asked again, unless it is announced to have changed."""


class Ask(msgspec.Struct, frozen=True):
    """Ask for a slice: what the call at hand needs, and what is wanted for those to come."""

    budget: Budget
    need_nano: Money
    want_nano: Money


class Return(msgspec.Struct, frozen=True):
    """Return part of a lease to its budget."""

    tenant: int
    grant: Grant
    amount_nano: Money


class Purse:
    """Hold one budget's leases: that of the current window, and those of past windows whose calls still run."""

    __slots__ = (
        "budget",
        "dry_until_us",
        "end_us",
        "lease",
        "low_nano",
        "old",
        "returns",
        "spent_before",
        "used_us",
    )

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.lease: Slice | None = None
        self.end_us = 0
        self.old: list[Slice] = []
        self.low_nano = 0  # below this much free, more is leased before it is needed
        self.spent_before: tuple[Money, int] = (0, 0)  # money spent and moment, at the last top-up
        self.dry_until_us = 0
        self.used_us = 0
        self.returns: list[Return] = []  # to be made by the driver

    def hold(self, call_id: bytes, amount_nano: Money, now_us: int, expires_us: int) -> Slice | None:
        """Hold an amount if the lease at hand covers it; None when more has to be asked for."""
        lease = self.lease
        if lease is None or now_us >= self.end_us:
            return None
        if lease.hold(call_id, amount_nano, expires_us) is HoldStatus.exceeds_lease:
            return None
        self.used_us = now_us
        return lease

    def covers(self, amount_nano: Money, now_us: int) -> bool:
        """Tell whether the lease at hand covers an amount."""
        return self.lease is not None and now_us < self.end_us and self.lease.available_nano >= amount_nano

    def is_low(self, now_us: int) -> bool:
        """Tell whether more should be leased before it is needed."""
        lease = self.lease
        return lease is not None and lease.available_nano < self.low_nano and now_us >= self.dry_until_us

    def is_dry(self, now_us: int) -> bool:
        """Tell whether the budget was asked a moment ago and had no more."""
        return self.lease is not None and now_us < min(self.dry_until_us, self.end_us)

    def ask(self, need_nano: Money, now_us: int) -> Ask:
        """Size a slice by the rate at which the budget is being spent, never below a few calls' worth."""
        spent = self.lease.spent_nano if self.lease is not None else 0
        before, then_us = self.spent_before
        seconds = max(1.0, (now_us - then_us) / SECOND_US) if then_us else 1.0
        self.spent_before = (spent, now_us)
        by_rate = round(max(0, spent - before) / seconds) * SLICE_SECONDS
        least = SLICE_MIN_NANO if self.budget.terms.unit is Unit.usd else 1
        return Ask(self.budget, need_nano, max(need_nano * SLICE_CALLS, by_rate, least))

    def granted(self, ask: Ask, grant: Grant, now_us: int) -> None:
        """Take what was granted into the lease."""
        if self.budget != ask.budget:  # it changed meanwhile: this slice goes back at once
            self.old.append(Slice(grant, grant.granted_nano))
            self._give_back(self.old[-1])
            return
        if self.lease is None or self.lease.budget_account_id != grant.budget_account:
            self.retire()
            self.lease = Slice(grant)
        self.lease.grow(grant.granted_nano)
        self.lease.grant, self.end_us = grant, grant.end_us
        self.low_nano = -(-min(ask.want_nano, grant.granted_nano) // LOW_SHARE)
        self.used_us = now_us
        self.dry_until_us = now_us + DRY_US if grant.granted_nano < ask.need_nano else 0

    def changed(self, budget: Budget) -> None:
        """Put aside what was leased under other terms, and ask anew when next needed."""
        if self.budget != budget:
            self.retire()
            self.budget = budget

    def recall(self) -> None:
        """Give back what is free: another gateway is short of it."""
        if self.lease is not None:
            self._give_back(self.lease)

    def sweep(self, now_us: int, under_way: Container[bytes] = ()) -> list[bytes]:
        """Retire the leases of past windows and of an idle budget; expire holds that have outlived their call.

        The calls under way keep theirs, however long they take: what they cost is still to come. Returns the calls
        whose holds have expired.
        """
        expired: list[bytes] = []
        if self.lease is not None:
            expired = self.lease.expire(now_us, under_way)
            if now_us >= self.end_us or (not self.lease.holds and now_us - self.used_us > IDLE_US):
                self.retire()
        for lease in self.old:
            expired += lease.expire(now_us, under_way)
            self._give_back(lease)
        self.old = [lease for lease in self.old if lease.holds or lease.available_nano]
        return expired

    def retire(self) -> None:
        """Put the lease at hand aside: what is free in it and those before goes back now, the rest as calls end."""
        if self.lease is not None:
            self.old.append(self.lease)
        for lease in self.old:
            self._give_back(lease)
        self.lease = None
        self.end_us = self.dry_until_us = 0
        self.spent_before = (0, 0)

    def take_returns(self) -> list[Return]:
        """Return what is to be given back, and forget it: whoever takes it makes the transfers."""
        returns, self.returns = self.returns, []
        return returns

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is leased, so that the purse can be forgotten."""
        return self.lease is None and not self.old and not self.returns

    def _give_back(self, lease: Slice) -> None:
        amount = lease.shrink()
        if amount:
            self.returns.append(Return(self.budget.tenant, lease.grant, amount))


def hold_in_all(
    purses: Mapping[str, Purse],
    budgets: Sequence[Budget],
    call_id: bytes,
    amounts: Sequence[Money],
    now_us: int,
    expires_us: int,
) -> tuple[list[Slice], list[tuple[Purse, Money]]] | None:
    """Hold a call's amounts in the purses of all its budgets, or in none: then some budget has to be asked.

    Returns the slices it holds in, and which purses run low, each with the amount.
    """
    if len(budgets) == 1:  # nearly every call: a third less to do
        purse = purses.get(budgets[0].budget_id)
        lease = purse.hold(call_id, amounts[0], now_us, expires_us) if purse is not None else None
        if purse is None or lease is None:
            return None
        return [lease], [(purse, amounts[0])] if purse.is_low(now_us) else []
    slices: list[Slice] = []
    low: list[tuple[Purse, Money]] = []
    for budget, amount in zip(budgets, amounts, strict=True):
        purse = purses.get(budget.budget_id)
        lease = purse.hold(call_id, amount, now_us, expires_us) if purse is not None else None
        if purse is None or lease is None:
            for held in slices:
                held.release(call_id)
            return None
        slices.append(lease)
        if purse.is_low(now_us):
            low.append((purse, amount))
    return slices, low


def raise_in_all(slices: Sequence[Slice], call_id: bytes, amounts: Sequence[Money]) -> bool:
    """Raise what a call holds in all its leases, or in none of them."""
    if any(amount > lease.available_nano for lease, amount in zip(slices, amounts, strict=True)):
        return False
    for lease, amount in zip(slices, amounts, strict=True):
        lease.raise_hold(call_id, amount)
    return True
