"""Say what a gateway writes down of a call, and which transfers follow from it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from bursar.core.ids import EXTRA, HOLD, OVERAGE, POST, VOID, transfer_id
from bursar.core.money import Money
from bursar.core.records import Attempt, Call, Record
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import NO_ID, Kind, Reason, Transfer


class Share(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Count a call against one more limit: what it holds there, or once it has ended, what it used.

    Such limits count money that one lease pays, or requests and tokens. So they owe nobody: what is used is posted to
    an account of this gateway's, for all calls of a commit at once.
    """

    unit: Unit
    lease_account: int
    used_account: int
    overage_account: int
    amount_nano: Money
    overage_nano: Money = 0


class Debt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Say what is owed to one provider for a call, taken from the lease."""

    payable_account: int
    amount_nano: Money


class Intent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Announce a call before it is sent upstream: if nothing else is heard of it, this is what may have been spent.

    It is announced again when it goes on elsewhere or holds more; the last announcement counts. Its hold is owed to
    `payable_account`, what is billed now to `owed_account` (0: the same), `earlier` attempts as `owed` says.
    """

    call: Call
    provider: str
    lease_account: int
    budget_account: int
    payable_account: int
    held_nano: Money
    expires_us: int
    shares: tuple[Share, ...] = ()
    owed_account: int = 0
    earlier: tuple[Attempt, ...] = ()
    owed: tuple[Debt, ...] = ()
    model: str = ""  # the provider's, that is asked now


class Settled(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Report a finished call: its record, and where its cost goes."""

    record: Record
    lease_account: int
    budget_account: int
    overage_account: int
    hold_payable_account: int
    debts: tuple[Debt, ...]
    shares: tuple[Share, ...] = ()


class CardUsed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Keep the rates of a price the first time a call is charged by it. `rates` is JSON."""

    price_id: str
    rates: bytes
    source: str
    checked: str
    at_us: int


class Closed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Report that the gateway stopped in order: nothing is under way."""

    at_us: int


Entry = Intent | Settled | CardUsed | Closed

_POST, _CALL = Kind.post, Reason.call


def hold_transfer(intent: Intent) -> Transfer:
    """Return the transfer that shows a call's hold in the books while it is under way."""
    return Transfer(
        transfer_id(intent.call.call_id, HOLD),
        intent.lease_account,
        intent.payable_account,
        intent.held_nano,
        Kind.hold,
        Reason.call,
        intent.call.opened_us,
    )


def settlement_transfers(settled: Settled, hold_written_nano: Money | None) -> list[Transfer]:
    """Return the transfers of a finished call.

    `hold_written_nano` is the amount of its hold in the books: it is posted, or voided if nothing is owed to the
    provider it was for. None means that the hold was opened and resolved since the last commit and leaves no transfer.
    """
    record, debts, lease = settled.record, settled.debts, settled.lease_account
    call_id, event_us = record.call.call_id, record.ended_us
    if hold_written_nano is None and len(debts) == 1 and not record.overage_nano:  # nearly every call
        debt = debts[0]
        name, held = transfer_id(call_id, POST), record.held_nano
        return [Transfer(name, lease, debt.payable_account, debt.amount_nano, _POST, _CALL, event_us, NO_ID, held)]
    transfers: list[Transfer] = []

    def add(number: int, payable: int, amount: Money, kind: Kind, held: Money = 0) -> None:
        name = transfer_id(call_id, number)
        hold_id = NO_ID if kind is Kind.post else transfer_id(call_id, HOLD)
        transfers.append(Transfer(name, lease, payable, amount, kind, Reason.call, event_us, hold_id, held))

    if hold_written_nano is None:
        for number, debt in enumerate(debts):
            add(POST + number, debt.payable_account, debt.amount_nano, Kind.post, 0 if number else record.held_nano)
    else:
        payable = settled.hold_payable_account
        owed = sum(debt.amount_nano for debt in debts if debt.payable_account == payable)
        if owed:
            add(POST, payable, min(owed, hold_written_nano), Kind.post_hold, hold_written_nano)
        else:
            add(VOID, payable, 0, Kind.void_hold, hold_written_nano)
        if owed > hold_written_nano:
            add(EXTRA, payable, owed - hold_written_nano, Kind.post)
        others = [debt for debt in debts if debt.payable_account != payable]
        for number, debt in enumerate(others, POST + 1):
            add(number, debt.payable_account, debt.amount_nano, Kind.post)
    if record.overage_nano:
        name = transfer_id(call_id, OVERAGE)
        payable = debts[-1].payable_account if debts else settled.hold_payable_account
        account = settled.overage_account
        transfers.append(Transfer(name, account, payable, record.overage_nano, Kind.post, Reason.overage, event_us))
    return transfers


class Uses:
    """Sum what calls used of further limits, to be posted at once."""

    def __init__(self) -> None:
        # By the account it comes from, a lease or an overage: tenant, amount, latest moment, and one of the shares.
        self._sums: dict[int, list[Any]] = {}
        self._beyond: dict[int, list[Any]] = {}

    def add(self, settled: Settled) -> None:
        """Add a call's shares."""
        record = settled.record
        tenant, at_us = record.call.tenant, record.ended_us
        for share in settled.shares:
            if share.amount_nano:
                self._add(self._sums, share.lease_account, share, share.amount_nano, (tenant, at_us))
            if share.overage_nano:
                self._add(self._beyond, share.overage_account, share, share.overage_nano, (tenant, at_us))

    @staticmethod
    def _add(sums: dict[int, list[Any]], account: int, share: Share, amount: Money, when: tuple[int, int]) -> None:
        found = sums.get(account)
        if found is None:
            sums[account] = [when[0], amount, when[1], share]
            return
        found[1] += amount
        if when[1] > found[2]:
            found[2] = when[1]

    def transfers(self, name: Callable[[int, int, int], bytes]) -> Iterator[tuple[int, Transfer]]:
        """Return each sum's tenant and transfer; `name` makes an id of tenant, debit account and reason."""
        for sums, reason in ((self._sums, Reason.call), (self._beyond, Reason.overage)):
            for account, (tenant, amount, at_us, share) in sums.items():
                name_of, used, unit = name(tenant, account, reason), share.used_account, share.unit
                yield tenant, Transfer(name_of, account, used, amount, Kind.post, reason, at_us, unit=unit)
