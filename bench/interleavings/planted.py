"""Plant bugs, one at a time, to see that the simulation finds each."""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, Final

from bench.interleavings.database import Database, OpenLease
from bench.interleavings.gateway import EXPIRES_US, Flight, Gateway
from bench.interleavings.world import Parts
from bursar.budgets.purse import Purse
from bursar.budgets.slices import id_of
from bursar.core.money import Money
from bursar.ledger import following
from bursar.ledger.journal import Settled
from bursar.ledger.lease import HoldStatus, Lease, Slice
from bursar.ledger.transfer import Kind, Reason, Transfer


class CheckThenAct(Gateway):
    """See first whether all leases cover a call, and take the money later: others see the same money meanwhile."""

    def try_hold(self, flight: Flight, now_us: int) -> bool:
        """Check now; when the call is tried again, act."""
        purses = [self.purses.get(budget.budget_id) for budget in flight.wish.budgets]
        pairs = list(zip(purses, flight.wish.amounts, strict=True))
        if flight.opened_us:
            slices = [purse.lease for purse in purses if purse is not None and purse.lease is not None]
            if len(slices) == len(purses) and all(now_us < purse.end_us for purse in purses if purse is not None):
                for lease, amount in zip(slices, flight.wish.amounts, strict=True):
                    lease.available_nano -= amount
                    lease.held_nano += amount
                    lease.holds[flight.call.call_id] = (amount, now_us + EXPIRES_US)
                self.holds(flight, slices, now_us)
                return True
            flight.opened_us = 0
        elif all(purse is not None and purse.covers(amount, now_us) for purse, amount in pairs):
            flight.opened_us = now_us
            self.waiting.append(flight)
            return True
        return super().try_hold(flight, now_us)


class DoublePost(Gateway):
    """Post a group again, under new ids, when the answer to its commit was lost."""

    def read_books(self) -> None:
        """Write again instead of reading what was written."""
        group = self.group
        if group is None or not group.done:
            super().read_books()
            return
        for _, t in group.postings.transfers:
            if t.kind is Kind.post:
                names = (t.debit_account, t.credit_account, t.amount_nano, t.kind, t.reason, t.event_us)
                self.database.book([Transfer(self.fresh_id(), *names, unit=t.unit)], self.number)
        self.written()


class GivenBackEarly(Database):
    """Give a dead gateway's lease back at once, before its spool has been read."""

    def put_aside(self, _number: int, lease: OpenLease, _reason: Reason, at_us: int) -> None:
        """Return the rest."""
        name = id_of("set aside", lease.account, at_us)
        self.return_lease(lease.account, lease.window.account, lease.amount_nano, name, at_us)


def without_voids(settled: Settled, hold_written_nano: Money | None) -> list[Transfer]:
    """Forget to release the hold of a call that costs nothing."""
    transfers = _SETTLEMENT(settled, hold_written_nano)
    return [transfer for transfer in transfers if transfer.kind is not Kind.void_hold]


def as_method(act: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that becomes a method of whatever it is set on."""

    def method(*args: Any) -> Any:
        return act(*args)

    return method


class ExpiredPosted:
    """Post a hold although its time ran out and its money was released: from a list nobody keeps up to date."""

    def __init__(self) -> None:
        self._expire, self._settle = Lease.expire, Lease.settle
        # With each lease, so that its number stays its own.
        self._kept: dict[tuple[int, bytes], tuple[Lease, Money]] = {}

    def plant(self) -> None:
        """Plant it."""
        Lease.expire = as_method(self.expire)
        Lease.settle = as_method(self.settle)

    def remove(self) -> None:
        """Put the shipped code back."""
        Lease.expire = self._expire
        Lease.settle = self._settle

    def expire(self, lease: Lease, now_us: int, under_way: Container[bytes] = ()) -> list[bytes]:
        """Expire holds, and keep their amounts."""
        amounts = {call_id: amount for call_id, (amount, _) in lease.holds.items()}
        expired = self._expire(lease, now_us, under_way)
        self._kept |= {(id(lease), call_id): (lease, amounts[call_id]) for call_id in expired}
        return expired

    def settle(self, lease: Lease, call_id: bytes, cost_nano: Money) -> Money:
        """Post what is kept of a hold, whether it stands or not."""
        kept = self._kept.pop((id(lease), call_id), None)
        if kept is not None:
            lease.available_nano += kept[1]
        return self._settle(lease, call_id, cost_nano)


def hold_in_any_window(purse: Purse, call_id: bytes, amount_nano: Money, now_us: int, expires_us: int) -> Slice | None:
    """Hold in the lease at hand, whichever window it is of."""
    lease = purse.lease
    if lease is None or lease.hold(call_id, amount_nano, expires_us) is HoldStatus.exceeds_lease:
        return None
    purse.used_us = now_us
    return lease


_SETTLEMENT: Final = following.settlement_transfers

PARTS: Final[dict[str, Parts]] = {
    "check-then-act": Parts(gateway=CheckThenAct),
    "double post": Parts(gateway=DoublePost),
    "lease given back early": Parts(database=GivenBackEarly),
}
PATCHES: Final[dict[str, tuple[Any, str, Callable[..., Any]]]] = {
    "lost void": (following, "settlement_transfers", without_voids),
    "window crossed": (Purse, "hold", hold_in_any_window),
}
BUGS: Final = (
    "check-then-act",
    "lost void",
    "double post",
    "lease given back early",
    "expired hold posted",
    "window crossed",
)


@contextmanager
def planted(bug: str) -> Iterator[Parts]:
    """Plant a bug for a while; returns what worlds are to be made of."""
    if bug in PARTS:
        yield PARTS[bug]
        return
    if bug == "expired hold posted":
        expired = ExpiredPosted()
        expired.plant()
        try:
            yield Parts()
        finally:
            expired.remove()
        return
    holder, name, wrong = PATCHES[bug]
    right = getattr(holder, name)
    setattr(holder, name, wrong)
    try:
        yield Parts()
    finally:
        setattr(holder, name, right)
