"""Apply transfers to accounts: the one set of rules that decides what the books accept.

The database holds the balances, this module the judgement: a caller loads the accounts and holds a batch touches
under lock, applies the batch here and writes back what changed.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from bursar.core.money import MONEY_MAX
from bursar.ledger.chart import WRITTEN_UNASKED, Code, Unit
from bursar.ledger.transfer import EVENT_AHEAD_US_MAX, EVENT_US_MAX, NO_ID, Kind, Linked, Status, Step, Transfer


class Account:
    """Hold an account's four sums.

    A `limited` account may never owe: pending debits count against its credits. A `credits_limited` account may never
    be owed: pending credits count against its debits.
    """

    __slots__ = (
        "account_id",
        "closed",
        "credits_limited",
        "credits_pending",
        "credits_posted",
        "debits_pending",
        "debits_posted",
        "limited",
        "unit",
    )

    def __init__(
        self,
        account_id: int,
        *,
        limited: bool = False,
        credits_limited: bool = False,
        unit: Unit = Unit.usd,
        closed: bool = False,
    ) -> None:
        self.account_id = account_id
        self.limited = limited
        self.credits_limited = credits_limited
        self.unit = unit
        self.closed = closed
        self.debits_pending = self.debits_posted = self.credits_pending = self.credits_posted = 0

    @property
    def available(self) -> int:
        """Return what may still be debited from a limited account."""
        return self.credits_posted - self.debits_posted - self.debits_pending

    @property
    def receivable(self) -> int:
        """Return what may still be credited to an account whose credits are limited."""
        return self.debits_posted - self.credits_posted - self.credits_pending

    def sums(self) -> tuple[int, int, int, int]:
        """Return debits pending, debits posted, credits pending, credits posted."""
        return self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted


class Books:
    """Hold accounts, open and resolved holds, and the ids seen; apply transfers one by one.

    `now_us` is the ledger's clock; without it, an event may lie anywhere from 1970 on.
    """

    def __init__(self, accounts: Iterable[Account] = (), now_us: int | None = None) -> None:
        self.accounts = {account.account_id: account for account in accounts}
        self.transfers: dict[bytes, Transfer] = {}
        self.failures: dict[bytes, Status] = {}
        self.resolutions: dict[bytes, Kind] = {}  # how each hold that is no longer open ended
        self.latest_us = EVENT_US_MAX if now_us is None else min(EVENT_US_MAX, now_us + EVENT_AHEAD_US_MAX)

    def apply(self, transfer: Transfer) -> Status:
        """Apply one transfer and return its status; a refusal changes no account and is remembered by id."""
        status = self._judge(transfer)
        if status is Status.created:
            self._post(transfer)
        elif not status.ok:
            self._remember_failure(transfer, status)
        return status

    def apply_linked(self, chain: Linked) -> list[Status]:
        """Apply the transfers of a chain, all or none, and return the status of each."""
        statuses: list[Status] = []
        created: list[Transfer] = []
        for transfer in chain.transfers:
            status = self._judge(transfer)
            statuses.append(status)
            if status is Status.created:
                self._post(transfer)
                created.append(transfer)
            elif not status.ok:
                break
        else:
            return statuses
        for transfer in reversed(created):
            self._undo(transfer)
        refused = len(statuses) - 1
        found = [
            status if number == refused else self._judge_id(transfer) or Status.linked_transfer_failed
            for number, transfer in enumerate(chain.transfers)
        ]
        for transfer, each in zip(chain.transfers, found, strict=True):
            if not each.ok:
                self._remember_failure(transfer, each)
        return found

    def apply_all(self, steps: Iterable[Step]) -> list[Status]:
        """Apply transfers and chains in order and return the status of each transfer."""
        statuses: list[Status] = []
        for step in steps:
            if isinstance(step, Linked):
                statuses.extend(self.apply_linked(step))
            else:
                statuses.append(self.apply(step))
        return statuses

    def _remember_failure(self, transfer: Transfer, status: Status) -> None:
        if transfer.transfer_id not in self.transfers:
            self.failures.setdefault(transfer.transfer_id, status)

    def _judge(self, transfer: Transfer) -> Status:
        return self._judge_id(transfer) or self._judge_content(transfer)

    def _judge_id(self, transfer: Transfer) -> Status | None:
        """Say what an id that came before means; None for a new one."""
        earlier = self.transfers.get(transfer.transfer_id)
        if earlier is not None:
            return Status.exists if earlier == transfer else Status.exists_with_different_content
        return Status.id_already_failed if transfer.transfer_id in self.failures else None

    def _judge_content(self, transfer: Transfer) -> Status:
        if transfer.amount_nano < 0:
            return Status.amount_is_negative
        if transfer.amount_nano > MONEY_MAX:
            return Status.amount_exceeds_int64
        if not 0 <= transfer.held_nano <= MONEY_MAX:
            return Status.held_amount_out_of_range
        if not 0 <= transfer.event_us <= self.latest_us:
            return Status.event_time_out_of_range
        if transfer.hold_id != NO_ID and not transfer.resolves:
            return Status.hold_not_expected
        return self._judge_accounts(transfer)

    def _judge_accounts(self, transfer: Transfer) -> Status:
        debit, credit = self.accounts.get(transfer.debit_account), self.accounts.get(transfer.credit_account)
        if transfer.debit_account == transfer.credit_account:
            return Status.accounts_are_the_same
        if debit is None:
            return Status.debit_account_not_found
        if credit is None:
            return Status.credit_account_not_found
        if not debit.unit == credit.unit == transfer.unit:
            return Status.units_differ
        if transfer.resolves:
            return self._judge_hold(transfer)
        if debit.closed:
            return Status.debit_account_closed
        if credit.closed:
            return Status.credit_account_closed
        if debit.limited and transfer.amount_nano > debit.available:
            return Status.exceeds_credits
        if credit.credits_limited and transfer.amount_nano > credit.receivable:
            return Status.exceeds_debits
        most = max(debit.debits_posted + debit.debits_pending, credit.credits_posted + credit.credits_pending)
        if most + transfer.amount_nano > MONEY_MAX:  # what is pending may be posted
            return Status.balance_exceeds_int64
        return Status.created

    def _judge_hold(self, transfer: Transfer) -> Status:
        hold = self.transfers.get(transfer.hold_id)
        if hold is None or hold.kind is not Kind.hold:
            return Status.hold_not_found
        ended = self.resolutions.get(transfer.hold_id)
        if ended is not None:
            return _ENDED[ended]
        if (hold.debit_account, hold.credit_account) != (transfer.debit_account, transfer.credit_account):
            return Status.hold_has_other_accounts
        if transfer.held_nano != hold.amount_nano:
            return Status.hold_has_other_amount
        most = hold.amount_nano if transfer.kind is Kind.post_hold else 0
        return Status.exceeds_hold if transfer.amount_nano > most else Status.created

    def _post(self, transfer: Transfer) -> None:
        self._move(transfer, 1)
        self.transfers[transfer.transfer_id] = transfer
        if transfer.resolves:
            self.resolutions[transfer.hold_id] = transfer.kind

    def _undo(self, transfer: Transfer) -> None:
        self._move(transfer, -1)
        del self.transfers[transfer.transfer_id]
        if transfer.resolves:
            del self.resolutions[transfer.hold_id]

    def _move(self, transfer: Transfer, sign: int) -> None:
        debit, credit = self.accounts[transfer.debit_account], self.accounts[transfer.credit_account]
        amount, held = sign * transfer.amount_nano, sign * transfer.held_nano
        if transfer.kind is Kind.hold:
            debit.debits_pending += amount
            credit.credits_pending += amount
        else:
            debit.debits_posted += amount
            credit.credits_posted += amount
        if transfer.resolves:
            debit.debits_pending -= held
            credit.credits_pending -= held


_ENDED: Final = {
    Kind.post_hold: Status.hold_already_posted,
    Kind.void_hold: Status.hold_already_voided,
    Kind.expire_hold: Status.hold_expired,
}


class Closing(IntEnum):
    """Say what became of closing an account. Ordered by precedence, as a transfer's statuses are."""

    closed = 0
    exists = 1  # it was closed before: nothing to do
    account_not_found = 2
    written_by_gateways = 3  # gateways carry what they did into it, whether it is open or not
    has_pending = 4
    has_balance = 5
    child_has_balance = 6  # what an account below it holds may yet return

    @property
    def ok(self) -> bool:
        """Tell whether the account is closed."""
        return self <= Closing.exists


def judge_closing(account: Account | None, code: Code, *, children_hold: bool = False) -> Closing:
    """Say whether an account may be closed; `children_hold` says that an account below it holds something."""
    if account is None:
        return Closing.account_not_found
    if account.closed:
        return Closing.exists
    if code in WRITTEN_UNASKED:
        return Closing.written_by_gateways
    if account.debits_pending or account.credits_pending:
        return Closing.has_pending
    if account.debits_posted != account.credits_posted:
        return Closing.has_balance
    return Closing.child_has_balance if children_hold else Closing.closed
