"""Check the books from their transfers alone: a pass that collects every violation and raises none.

The invariants, in the order in which they are reported:

1. each writer's chain is numbered without a gap and its hashes follow from one another;
2. each transfer moves a non-negative amount between two accounts of one unit;
3. a hold ends at most once, with the accounts and the amount it began with, and is not exceeded;
4. the balances of every account are the sums of its transfers;
5. debits equal credits in every unit, posted and pending;
6. a limited account does not owe, its pending debits included;
7. an account whose credits are limited is not owed, its pending credits included;
8. a closed account has nothing pending and no balance.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bursar.ledger.chain import GENESIS, link
from bursar.ledger.transfer import Kind, Transfer

Sums = list[int]
"""Debits pending, debits posted, credits pending, credits posted."""

_SIDES: Final = ("pending debits", "posted debits", "pending credits", "posted credits")


class AccountFacts(msgspec.Struct, frozen=True):
    """Hold an account as the books keep it."""

    account_id: int
    name: str
    unit: int
    limited: bool
    sums: tuple[int, int, int, int]
    credits_limited: bool = False
    closed: bool = False


class Checker:
    """Fold transfers, chain by chain, and compare with what the books keep."""

    def __init__(self, accounts: Iterable[AccountFacts]) -> None:
        self._accounts = {account.account_id: account for account in accounts}
        self._sums: dict[int, Sums] = {account_id: [0, 0, 0, 0] for account_id in self._accounts}
        self._holds: dict[bytes, Transfer] = {}
        self._endings: list[Transfer] = []
        self._seq, self._hash = 0, GENESIS
        self.transfers = 0
        self.findings: list[str] = []

    def begin_chain(self) -> None:
        """Begin the next chain."""
        self._seq, self._hash = 0, GENESIS

    def add(self, transfer: Transfer, seq: int, digest: bytes, chain: int) -> None:
        """Take in the next transfer of the chain."""
        self.transfers += 1
        where = f"transfer {seq} of chain {chain}"
        if seq != self._seq + 1:
            self.findings.append(f"{where} follows number {self._seq}")
        if digest != link(self._hash, seq, transfer):
            self.findings.append(f"{where} does not have the hash of what it says and of what came before")
        self._seq, self._hash = seq, digest
        if self._is_sound(transfer, where):
            self._fold(transfer)

    def end_chain(self, seq: int, digest: bytes, chain: int) -> None:
        """Compare a chain's end with the head the books keep."""
        if seq != self._seq:
            self.findings.append(f"chain {chain} ends with number {self._seq}, and its head says {seq}")
        elif digest != self._hash:
            self.findings.append(f"chain {chain} ends with another hash than its head says")

    def finish(self) -> list[str]:
        """Compare the sums of everything and return all findings."""
        self._check_holds()
        for account in self._accounts.values():
            self.findings.extend(self._check_account(account))
        for unit in sorted({account.unit for account in self._accounts.values()}):
            kept = [account.sums for account in self._accounts.values() if account.unit == unit]
            for debit, credit, what in ((0, 2, "pending"), (1, 3, "posted")):
                owed, due = sum(sums[debit] for sums in kept), sum(sums[credit] for sums in kept)
                if owed != due:
                    self.findings.append(f"unit {unit}: {what} debits are {owed} and credits {due}")
        return self.findings

    def _is_sound(self, transfer: Transfer, where: str) -> bool:
        debit, credit = self._accounts.get(transfer.debit_account), self._accounts.get(transfer.credit_account)
        if debit is None or credit is None:
            missing = transfer.debit_account if debit is None else transfer.credit_account
            self.findings.append(f"{where} names account {missing}, which does not exist")
            return False
        if transfer.amount_nano < 0 or debit is credit or not debit.unit == credit.unit == transfer.unit:
            self.findings.append(f"{where} moves {transfer.amount_nano} from {debit.name} to {credit.name}")
            return False
        return True

    def _fold(self, transfer: Transfer) -> None:
        debit, credit = self._sums[transfer.debit_account], self._sums[transfer.credit_account]
        amount = transfer.amount_nano
        if transfer.kind is Kind.hold:
            debit[0] += amount
            credit[2] += amount
            self._holds[transfer.transfer_id] = transfer
            return
        debit[1] += amount
        credit[3] += amount
        if transfer.resolves:
            debit[0] -= transfer.held_nano
            credit[2] -= transfer.held_nano
            self._endings.append(transfer)

    def _check_holds(self) -> None:
        ended: set[bytes] = set()
        for ending in self._endings:
            hold = self._holds.get(ending.hold_id)
            name = ending.hold_id.hex()
            if hold is None:
                self.findings.append(f"hold {name} ends and never began")
            elif ending.hold_id in ended:
                self.findings.append(f"hold {name} ends twice")
            elif (hold.debit_account, hold.credit_account, hold.amount_nano) != (
                ending.debit_account,
                ending.credit_account,
                ending.held_nano,
            ):
                self.findings.append(f"hold {name} ends with other accounts or another amount than it began with")
            elif ending.kind is not Kind.post_hold and ending.amount_nano:
                self.findings.append(f"hold {name} was released, and yet {ending.amount_nano} of it moved")
            elif ending.amount_nano > hold.amount_nano:
                self.findings.append(f"hold {name} of {hold.amount_nano} was posted with {ending.amount_nano}")
            ended.add(ending.hold_id)

    def _check_account(self, account: AccountFacts) -> Iterator[str]:
        folded = self._sums[account.account_id]
        for side, kept, summed in zip(_SIDES, account.sums, folded, strict=True):
            if kept != summed:
                yield f"account {account.name}: {side} are kept as {kept}, its transfers say {summed}"
        pending, posted, credits_pending, credits_posted = folded
        if account.limited and pending + posted > credits_posted:
            yield f"account {account.name} owes {pending + posted - credits_posted}, and may not"
        if account.credits_limited and credits_pending + credits_posted > posted:
            yield f"account {account.name} is owed {credits_pending + credits_posted - posted}, and may not be"
        if account.closed and (pending or credits_pending or posted != credits_posted):
            yield f"account {account.name} is closed, and holds {credits_posted - posted} with {pending} debits pending"
