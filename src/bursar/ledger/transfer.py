"""Describe transfers and what may become of one. A transfer is never changed or deleted; corrections are new ones."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.core.times import SECOND_US
from bursar.ledger.chart import Unit

NO_ID: Final = b""

EVENT_US_MAX: Final = 253_370_764_800_000_000
"""The end of the year 9998: beyond it no calendar has a name for a day."""

EVENT_AHEAD_US_MAX: Final = 5 * 60 * SECOND_US
"""How far a transfer's event may lie ahead of the ledger's clock: clocks differ, and nothing happens in the future."""


class Kind(IntEnum):
    """Say what a transfer does."""

    post = 1  # moves the amount at once
    hold = 2  # reserves the amount: pending on both accounts
    post_hold = 3  # moves the amount, at most what was held, and releases the rest
    void_hold = 4  # releases the whole hold; the amount is 0
    expire_hold = 5  # the same, because its time ran out


class Reason(IntEnum):
    """Say why a transfer was made."""

    grant = 1
    lease = 2
    lease_return = 3
    call = 4
    overage = 5
    indeterminate = 6
    correction = 7
    withdrawal = 8
    moved = 9  # from one budget to another
    set_aside = 10  # a dead gateway's lease, and back when it is alive after all
    written_off = 11
    charge = 12  # work that is no model call
    exchange = 20  # one unit sold for another
    rounding = 21  # what an exchange left over, or was short of


class Status(IntEnum):
    """Say what became of a transfer. Listed by precedence: of several that apply, the first in this list is given.

    Everything from `id_already_failed` on is a refusal: nothing was written but the refusal itself, and the same id
    is refused for ever, so that a retry cannot succeed because somebody topped up in between. Databases keep the
    numbers, so a status that comes later has a higher number wherever it stands.
    """

    created = 0
    exists = 1  # the same id with the same content came before: nothing to do
    id_already_failed = 2
    exists_with_different_content = 3
    linked_transfer_failed = 21  # another transfer of the same chain was refused, and says why
    amount_is_negative = 4
    amount_exceeds_int64 = 5
    held_amount_out_of_range = 22  # negative, or beyond int64
    event_time_out_of_range = 23  # before 1970, too far ahead of the ledger's clock, or beyond all dates
    hold_not_expected = 24  # a transfer that ends no hold names one
    accounts_are_the_same = 6
    debit_account_not_found = 7
    credit_account_not_found = 8
    units_differ = 9
    debit_account_closed = 10
    credit_account_closed = 11
    hold_not_found = 12
    hold_already_posted = 13
    hold_already_voided = 14
    hold_expired = 15
    hold_has_other_accounts = 16
    hold_has_other_amount = 17
    exceeds_hold = 18
    exceeds_credits = 19  # the debit account may not owe
    exceeds_debits = 25  # the credit account may not be owed
    balance_exceeds_int64 = 20

    @property
    def ok(self) -> bool:
        """Tell whether the transfer stands in the books."""
        return self <= Status.exists


class Transfer(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Move `amount_nano` from the debit to the credit account, as `kind` says.

    `hold_id` names the hold that a `post_hold`, `void_hold` or `expire_hold` resolves, `held_nano` its amount. A hold
    that was opened and resolved within one commit leaves no transfer of its own: its call's `post` has the amount.
    """

    transfer_id: bytes
    debit_account: int
    credit_account: int
    amount_nano: Money
    kind: Kind
    reason: Reason
    event_us: int
    hold_id: bytes = NO_ID
    held_nano: Money = 0
    unit: Unit = Unit.usd

    @property
    def resolves(self) -> bool:
        """Tell whether this transfer ends a hold."""
        return self.kind in (Kind.post_hold, Kind.void_hold, Kind.expire_hold)


class Linked(msgspec.Struct, frozen=True, array_like=True):
    """Bind transfers to one fate: each sees what those before it did, and either all stand or none.

    One that stood before stays. Of a chain that fails, the first that was refused says why, and every id stays failed.
    """

    transfers: tuple[Transfer, ...]


Step = Transfer | Linked
"""What is booked at once: a transfer, or a chain of them."""


def flatten(steps: Iterable[Step]) -> list[Transfer]:
    """Return the transfers of steps, in order."""
    transfers: list[Transfer] = []
    for step in steps:
        transfers.extend(step.transfers if isinstance(step, Linked) else (step,))
    return transfers
