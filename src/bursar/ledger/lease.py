"""Spend inside a lease: holds and settlements in memory, without a database round trip and without overspending.

A lease is a slice of a budget's headroom that the database has moved to one gateway. Everything here happens between
two points at which the gateway could be interrupted, so no interleaving of calls can spend the same money twice.
"""

from collections.abc import Container
from enum import IntEnum
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.ledger.chart import Unit
from bursar.ledger.journal import Share

_NO_HOLD: Final = (0, 0)


class Grant(msgspec.Struct, frozen=True):
    """Say what a budget has leased out, and what it has left. `most_nano` is None for a budget that refuses nothing."""

    lease_account: int
    budget_account: int
    overage_account: int
    used_account: int
    granted_nano: Money
    left_nano: Money
    most_nano: Money | None
    end_us: int  # of the window
    elsewhere_nano: Money = 0  # in other gateways' leases
    unit: Unit = Unit.usd
    asked_us: int = 0


class HoldStatus(IntEnum):
    """Say what became of a hold."""

    held = 0
    exists = 1  # this call holds already
    exceeds_lease = 2  # the slice cannot cover it: ask the budget for more


class Lease:
    """Hold one gateway's slice of one budget account."""

    __slots__ = ("account_id", "available_nano", "budget_account_id", "held_nano", "holds", "spent_nano")

    def __init__(self, account_id: int, budget_account_id: int, available_nano: Money = 0) -> None:
        self.account_id = account_id
        self.budget_account_id = budget_account_id
        self.available_nano = available_nano  # neither spent nor held
        self.held_nano = 0
        self.spent_nano = 0
        self.holds: dict[bytes, tuple[Money, int]] = {}  # by call: amount, and when it expires

    def hold(self, call_id: bytes, amount_nano: Money, expires_us: int) -> HoldStatus:
        """Reserve the most a call can cost."""
        if call_id in self.holds:
            return HoldStatus.exists
        if amount_nano > self.available_nano:
            return HoldStatus.exceeds_lease
        self.available_nano -= amount_nano
        self.held_nano += amount_nano
        self.holds[call_id] = (amount_nano, expires_us)
        return HoldStatus.held

    def raise_hold(self, call_id: bytes, more_nano: Money) -> bool:
        """Hold more for a call that holds already; false where the lease cannot cover it."""
        if more_nano > self.available_nano:
            return False
        held, expires_us = self.holds[call_id]
        self.available_nano -= more_nano
        self.held_nano += more_nano
        self.holds[call_id] = (held + more_nano, expires_us)
        return True

    def settle(self, call_id: bytes, cost_nano: Money) -> Money:
        """Spend a call's true cost, release the rest of its hold, and return what the lease could pay of the cost.

        A cost beyond the hold is taken from what the lease has free; what is beyond that too is overage, so that a
        charge cannot fail. A hold that expired meanwhile is charged all the same.
        """
        held, _ = self.holds.pop(call_id, _NO_HOLD)
        available = self.available_nano + held
        paid = cost_nano if cost_nano <= available else available
        self.held_nano -= held
        self.available_nano = available - paid
        self.spent_nano += paid
        return paid

    def release(self, call_id: bytes) -> None:
        """Take back a hold of a call that is not made."""
        amount, _ = self.holds.pop(call_id)
        self.held_nano -= amount
        self.available_nano += amount

    def expire(self, now_us: int, under_way: Container[bytes] = ()) -> list[bytes]:
        """Release the holds whose time has passed and name their calls; a call under way keeps its hold."""
        expired = [
            call_id
            for call_id, (_, expires_us) in self.holds.items()
            if expires_us <= now_us and call_id not in under_way
        ]
        for call_id in expired:
            self.release(call_id)
        return expired

    def grow(self, amount_nano: Money) -> None:
        """Add what the budget has granted."""
        self.available_nano += amount_nano

    def shrink(self, keep_nano: Money = 0) -> Money:
        """Take out what is free beyond `keep_nano`, to be returned to the budget."""
        amount = max(0, self.available_nano - keep_nano)
        self.available_nano -= amount
        return amount


class Slice(Lease):
    """Be a lease together with the grant it came from, which names its accounts."""

    __slots__ = ("grant", "share")

    def __init__(self, grant: Grant, available_nano: Money = 0) -> None:
        super().__init__(grant.lease_account, grant.budget_account, available_nano)
        self.grant = grant
        self.share: Share | None = None  # the last that was made, to be made but once for calls that use the same
