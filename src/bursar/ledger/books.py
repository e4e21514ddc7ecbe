"""Apply transfers to accounts: the one set of rules that decides what the books accept.

The database holds the balances, this module the judgement: a caller loads the accounts and holds a batch touches
under lock, applies the batch here and writes back what changed.
"""

from collections.abc import Iterable
from typing import Final

from bursar.core.money import MONEY_MAX
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Kind, Status, Transfer


class Account:
    """Hold an account's four sums. A `limited` account may never owe: pending debits count against its credits."""

    __slots__ = (
        "account_id",
        "closed",
        "credits_pending",
        "credits_posted",
        "debits_pending",
        "debits_posted",
        "limited",
        "unit",
    )

    def __init__(self, account_id: int, *, limited: bool = False, unit: Unit = Unit.usd, closed: bool = False) -> None:
        self.account_id = account_id
        self.limited = limited
        self.unit = unit
        self.closed = closed
        self.debits_pending = self.debits_posted = self.credits_pending = self.credits_posted = 0

    @property
    def available(self) -> int:
        """Return what may still be debited from a limited account."""
        return self.credits_posted - self.debits_posted - self.debits_pending

    def sums(self) -> tuple[int, int, int, int]:
        """Return debits pending, debits posted, credits pending, credits posted."""
        return self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted


class Books:
    """Hold accounts, open and resolved holds, and the ids seen; apply transfers one by one."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.accounts = {account.account_id: account for account in accounts}
        self.transfers: dict[bytes, Transfer] = {}
        self.failures: dict[bytes, Status] = {}
        self.resolutions: dict[bytes, Kind] = {}  # how each hold that is no longer open ended

    def apply(self, transfer: Transfer) -> Status:
        """Apply one transfer and return its status; a refusal changes no account and is remembered by id."""
        status = self._judge(transfer)
        if status is Status.created:
            self._post(transfer)
        elif not status.ok and transfer.transfer_id not in self.transfers:
            self.failures.setdefault(transfer.transfer_id, status)
        return status

    def _judge(self, transfer: Transfer) -> Status:
        earlier = self.transfers.get(transfer.transfer_id)
        if earlier is not None:
            return Status.exists if earlier == transfer else Status.exists_with_different_content
        if transfer.transfer_id in self.failures:
            return Status.id_already_failed
        if transfer.amount_nano < 0:
            return Status.amount_is_negative
        if transfer.amount_nano > MONEY_MAX:
            return Status.amount_exceeds_int64
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
        debit, credit = self.accounts[transfer.debit_account], self.accounts[transfer.credit_account]
        amount = transfer.amount_nano
        if transfer.kind is Kind.hold:
            debit.debits_pending += amount
            credit.credits_pending += amount
        else:
            debit.debits_posted += amount
            credit.credits_posted += amount
        if transfer.resolves:
            debit.debits_pending -= transfer.held_nano
            credit.credits_pending -= transfer.held_nano
            self.resolutions[transfer.hold_id] = transfer.kind
        self.transfers[transfer.transfer_id] = transfer


_ENDED: Final = {
    Kind.post_hold: Status.hold_already_posted,
    Kind.void_hold: Status.hold_already_voided,
    Kind.expire_hold: Status.hold_expired,
}
