"""The checker finds each kind of breakage, names it, and finds nothing in books that are right."""

from collections.abc import Callable

import msgspec
import pytest
from inline_snapshot import snapshot

from bursar.ledger.books import Account, Books
from bursar.ledger.chain import GENESIS, link
from bursar.ledger.check import AccountFacts, Checker
from bursar.ledger.transfer import NO_ID, Kind, Reason, Status, Transfer

GRANTS, BUDGET, PAYABLE = 1, 2, 3
NAMES = {GRANTS: "grants", BUDGET: "budget:b:total", PAYABLE: "payable:openai:1"}


def move(
    number: int, debit: int, credit: int, amount: int, kind: Kind = Kind.post, hold: int = 0, held: int = 0
) -> Transfer:
    hold_id = bytes((hold,)) if hold else NO_ID
    return Transfer(bytes((number,)), debit, credit, amount, kind, Reason.call, number, hold_id, held)


STORY = (
    move(1, GRANTS, BUDGET, 100),
    move(2, BUDGET, PAYABLE, 60, Kind.hold),
    move(3, BUDGET, PAYABLE, 25, Kind.post_hold, 2, 60),
    move(4, BUDGET, PAYABLE, 30, Kind.hold),
    move(5, BUDGET, PAYABLE, 0, Kind.void_hold, 4, 30),
    move(6, BUDGET, PAYABLE, 10, Kind.hold),
    move(7, BUDGET, PAYABLE, 0, Kind.expire_hold, 6, 10),
    move(8, BUDGET, PAYABLE, 40, Kind.hold),
)


class Kept(msgspec.Struct):
    """Hold what a database keeps: accounts, and chains of (number, hash, transfer) with their heads."""

    accounts: dict[int, AccountFacts]
    chains: list[list[tuple[int, bytes, Transfer]]]
    heads: list[tuple[int, bytes]]

    def check(self) -> list[str]:
        checker = Checker(self.accounts.values())
        for number, (chain, head) in enumerate(zip(self.chains, self.heads, strict=True), 1):
            checker.begin_chain()
            for seq, digest, transfer in chain:
                checker.add(transfer, seq, digest, number)
            checker.end_chain(*head, number)
        assert checker.transfers == sum(map(len, self.chains))
        return checker.finish()

    def tamper(self, seq: int, **change: object) -> None:
        """Change a transfer and leave the hashes as they are."""
        number, digest, transfer = self.chains[0][seq - 1]
        self.chains[0][seq - 1] = number, digest, msgspec.structs.replace(transfer, **change)

    def set_account(self, account_id: int, **change: object) -> None:
        self.accounts[account_id] = msgspec.structs.replace(self.accounts[account_id], **change)


def chained(transfers: tuple[Transfer, ...]) -> tuple[list[tuple[int, bytes, Transfer]], tuple[int, bytes]]:
    rows: list[tuple[int, bytes, Transfer]] = []
    digest = GENESIS
    for seq, transfer in enumerate(transfers, 1):
        digest = link(digest, seq, transfer)
        rows.append((seq, digest, transfer))
    return rows, (len(rows), digest)


def kept(*chains: tuple[Transfer, ...]) -> Kept:
    """Keep chains as a sound database would: balances are the sums of all transfers, judged or not."""
    sums = {name: [0, 0, 0, 0] for name in NAMES}
    for transfer in (each for chain in chains for each in chain):
        pending = transfer.kind is Kind.hold
        for account_id, side in ((transfer.debit_account, 0), (transfer.credit_account, 2)):
            if account_id in sums:
                sums[account_id][side if pending else side + 1] += transfer.amount_nano
                sums[account_id][side] -= transfer.held_nano if transfer.resolves else 0
    accounts = {
        name: AccountFacts(name, text, 1, name == BUDGET, tuple(sums[name]))  # pyright: ignore[reportArgumentType]
        for name, text in NAMES.items()
    }
    rows = [chained(chain) for chain in chains]
    return Kept(accounts, [each for each, _ in rows], [head for _, head in rows])


def test_books_that_are_right_have_no_findings() -> None:
    assert kept(STORY).check() == []
    assert kept(STORY[:2], STORY[2:]).check() == []
    assert kept().check() == []


def test_the_story_is_one_the_books_accept() -> None:
    books = Books([Account(GRANTS), Account(BUDGET, limited=True), Account(PAYABLE)])
    assert {books.apply(each) for each in STORY} == {Status.created}
    assert {name: account.sums() for name, account in books.accounts.items()} == {
        name: account.sums for name, account in kept(STORY).accounts.items()
    }


def forge(number: int) -> Callable[[Kept], None]:
    """Rewrite a transfer's amount and its own hash, as a forger without the rest of the chain would."""

    def apply(books: Kept) -> None:
        seq, _, transfer = books.chains[0][number - 1]
        forged = msgspec.structs.replace(transfer, amount_nano=transfer.amount_nano + 1)
        before = books.chains[0][number - 2][1]
        books.chains[0][number - 1] = seq, link(before, seq, forged), forged

    return apply


def drop(number: int) -> Callable[[Kept], None]:
    return lambda books: books.chains[0].pop(number - 1) and None


TAMPERINGS: list[tuple[str, Callable[[Kept], None], list[str]]] = [
    (
        "an amount is changed",
        lambda books: books.tamper(3, amount_nano=24),
        snapshot(
            [
                "transfer 3 of chain 1 does not have the hash of what it says and of what came before",
                "account budget:b:total: posted debits are kept as 25, its transfers say 24",
                "account payable:openai:1: posted credits are kept as 25, its transfers say 24",
            ]
        ),
    ),
    (
        "a date is changed",
        lambda books: books.tamper(3, event_us=99),
        snapshot(["transfer 3 of chain 1 does not have the hash of what it says and of what came before"]),
    ),
    (
        "an amount is changed and hashed anew",
        forge(3),
        snapshot(
            [
                "transfer 4 of chain 1 does not have the hash of what it says and of what came before",
                "account budget:b:total: posted debits are kept as 25, its transfers say 26",
                "account payable:openai:1: posted credits are kept as 25, its transfers say 26",
            ]
        ),
    ),
    (
        "a transfer is deleted",
        drop(5),
        snapshot(
            [
                "transfer 6 of chain 1 follows number 4",
                "transfer 6 of chain 1 does not have the hash of what it says and of what came before",
                "account budget:b:total: pending debits are kept as 40, its transfers say 70",
                "account payable:openai:1: pending credits are kept as 40, its transfers say 70",
            ]
        ),
    ),
    (
        "the last transfer is deleted",
        drop(8),
        snapshot(
            [
                "chain 1 ends with number 7, and its head says 8",
                "account budget:b:total: pending debits are kept as 40, its transfers say 0",
                "account payable:openai:1: pending credits are kept as 40, its transfers say 0",
            ]
        ),
    ),
    (
        "the head has another hash",
        lambda books: books.heads.__setitem__(0, (8, GENESIS)),
        snapshot(["chain 1 ends with another hash than its head says"]),
    ),
    (
        "a balance is changed",
        lambda books: books.set_account(PAYABLE, sums=(0, 0, 40, 24)),
        snapshot(
            [
                "account payable:openai:1: posted credits are kept as 24, its transfers say 25",
                "unit 1: posted debits are 125 and credits 124",
            ]
        ),
    ),
    (
        "an account is deleted",
        lambda books: books.accounts.pop(PAYABLE) and None,
        snapshot(
            [
                "transfer 2 of chain 1 names account 3, which does not exist",
                "transfer 3 of chain 1 names account 3, which does not exist",
                "transfer 4 of chain 1 names account 3, which does not exist",
                "transfer 5 of chain 1 names account 3, which does not exist",
                "transfer 6 of chain 1 names account 3, which does not exist",
                "transfer 7 of chain 1 names account 3, which does not exist",
                "transfer 8 of chain 1 names account 3, which does not exist",
                "account budget:b:total: pending debits are kept as 40, its transfers say 0",
                "account budget:b:total: posted debits are kept as 25, its transfers say 0",
                "unit 1: pending debits are 40 and credits 0",
                "unit 1: posted debits are 125 and credits 100",
            ]
        ),
    ),
    (
        "an account changes its unit",
        lambda books: books.set_account(PAYABLE, unit=2),
        snapshot(
            [
                "transfer 2 of chain 1 moves 60 from budget:b:total to payable:openai:1",
                "transfer 3 of chain 1 moves 25 from budget:b:total to payable:openai:1",
                "transfer 4 of chain 1 moves 30 from budget:b:total to payable:openai:1",
                "transfer 5 of chain 1 moves 0 from budget:b:total to payable:openai:1",
                "transfer 6 of chain 1 moves 10 from budget:b:total to payable:openai:1",
                "transfer 7 of chain 1 moves 0 from budget:b:total to payable:openai:1",
                "transfer 8 of chain 1 moves 40 from budget:b:total to payable:openai:1",
                "account budget:b:total: pending debits are kept as 40, its transfers say 0",
                "account budget:b:total: posted debits are kept as 25, its transfers say 0",
                "account payable:openai:1: pending credits are kept as 40, its transfers say 0",
                "account payable:openai:1: posted credits are kept as 25, its transfers say 0",
                "unit 1: pending debits are 40 and credits 0",
                "unit 1: posted debits are 125 and credits 100",
                "unit 2: pending debits are 0 and credits 40",
                "unit 2: posted debits are 0 and credits 25",
            ]
        ),
    ),
]


@pytest.mark.parametrize(("name", "tamper", "findings"), TAMPERINGS, ids=[name for name, _, _ in TAMPERINGS])
def test_tampering_is_found(name: str, tamper: Callable[[Kept], None], findings: list[str]) -> None:
    books = kept(STORY)
    tamper(books)
    assert books.check() == findings


# Chains that are whole, of transfers that a sound ledger would have refused.
UNSOUND: list[tuple[str, tuple[Transfer, ...], list[str]]] = [
    (
        "a hold ends twice",
        (*STORY, move(9, BUDGET, PAYABLE, 1, Kind.post_hold, 2, 0)),
        snapshot(["hold 02 ends twice"]),
    ),
    (
        "a hold ends and never began",
        (*STORY, move(9, BUDGET, PAYABLE, 1, Kind.post_hold, 99, 1)),
        snapshot(["hold 63 ends and never began"]),
    ),
    (
        "a hold ends for another account",
        (*STORY, move(9, BUDGET, GRANTS, 1, Kind.post_hold, 8, 40)),
        snapshot(["hold 08 ends with other accounts or another amount than it began with"]),
    ),
    (
        "a hold ends with another amount",
        (*STORY, move(9, BUDGET, PAYABLE, 1, Kind.post_hold, 8, 39)),
        snapshot(["hold 08 ends with other accounts or another amount than it began with"]),
    ),
    (
        "a hold is exceeded",
        (*STORY, move(9, BUDGET, PAYABLE, 41, Kind.post_hold, 8, 40)),
        snapshot(["hold 08 of 40 was posted with 41"]),
    ),
    (
        "a released hold moves money",
        (*STORY, move(9, BUDGET, PAYABLE, 5, Kind.void_hold, 8, 40)),
        snapshot(["hold 08 was released, and yet 5 of it moved"]),
    ),
    ("a budget owes", (*STORY, move(9, BUDGET, PAYABLE, 36)), snapshot(["account budget:b:total owes 1, and may not"])),
    (
        "a budget owes what it holds",
        (*STORY, move(9, BUDGET, PAYABLE, 36, Kind.hold)),
        snapshot(["account budget:b:total owes 1, and may not"]),
    ),
    (
        "an amount is negative",
        (*STORY, move(9, PAYABLE, BUDGET, -1)),
        snapshot(
            [
                "transfer 9 of chain 1 moves -1 from payable:openai:1 to budget:b:total",
                "account budget:b:total: posted credits are kept as 99, its transfers say 100",
                "account payable:openai:1: posted debits are kept as -1, its transfers say 0",
            ]
        ),
    ),
    (
        "an account pays itself",
        (*STORY, move(9, PAYABLE, PAYABLE, 1)),
        snapshot(
            [
                "transfer 9 of chain 1 moves 1 from payable:openai:1 to payable:openai:1",
                "account payable:openai:1: posted debits are kept as 1, its transfers say 0",
                "account payable:openai:1: posted credits are kept as 26, its transfers say 25",
            ]
        ),
    ),
    (
        "an account does not exist",
        (*STORY, move(9, BUDGET, 77, 1)),
        snapshot(
            [
                "transfer 9 of chain 1 names account 77, which does not exist",
                "account budget:b:total: posted debits are kept as 26, its transfers say 25",
                "unit 1: posted debits are 126 and credits 125",
            ]
        ),
    ),
]


@pytest.mark.parametrize(("name", "transfers", "findings"), UNSOUND, ids=[name for name, _, _ in UNSOUND])
def test_what_breaks_a_rule_is_found(name: str, transfers: tuple[Transfer, ...], findings: list[str]) -> None:
    assert kept(transfers).check() == findings


def test_sums_that_do_not_meet_are_found_for_each_unit() -> None:
    books = kept(STORY)
    for name in NAMES:
        books.set_account(name, sums=(0, 0, 0, 0))
    books.set_account(GRANTS, sums=(3, 5, 0, 0))
    assert books.check()[-2:] == snapshot(
        ["unit 1: pending debits are 3 and credits 0", "unit 1: posted debits are 5 and credits 0"]
    )


def test_chains_are_checked_apart_and_holds_across_them() -> None:
    books = kept(STORY[:2], STORY[2:])
    books.chains[1][0] = (1, GENESIS, books.chains[1][0][2])
    assert books.check() == snapshot(
        [
            "transfer 1 of chain 2 does not have the hash of what it says and of what came before",
            "transfer 2 of chain 2 does not have the hash of what it says and of what came before",
        ]
    )
