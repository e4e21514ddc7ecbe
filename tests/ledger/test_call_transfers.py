"""A finished call's transfers: all of its cost and no more, whether its hold was written down before or not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.ids import EXTRA, HOLD, OVERAGE, POST, VOID, IdSource, call_of_transfer, transfer_id
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol, Record, Segments
from bursar.ledger.books import Account, Books
from bursar.ledger.journal import Debt, Intent, Settled, hold_transfer, settlement_transfers
from bursar.ledger.transfer import NO_ID, Kind, Reason, Status

LEASE, BUDGET, OVERAGE_ACCOUNT, FIRST, SECOND, THIRD = 1, 2, 3, 4, 5, 6
CALL = Call(IdSource(5).next(1_700_000_000_000), 1, "k", Protocol.openai_chat, "m", False, 77, Segments())
ATTEMPT = Attempt("openai", "m", AttemptStatus.ok, 200, 77, 80, 90)


def intent(held: int) -> Intent:
    return Intent(CALL, "openai", LEASE, BUDGET, FIRST, held, 999)


def settled(debts: dict[int, int], held: int = 60, overage: int = 0) -> Settled:
    cost = sum(debts.values()) + overage
    record = Record(CALL, CallStatus.ok, (ATTEMPT,), held, cost, overage, cost, 90)
    owed = tuple(Debt(account, amount) for account, amount in debts.items())
    return Settled(record, LEASE, BUDGET, OVERAGE_ACCOUNT, FIRST, owed)


def summary(entry: Settled, hold_written: int | None) -> list[tuple[Any, ...]]:
    """Write each transfer as (number, from, to, amount, kind, held)."""
    return [
        (t.transfer_id[15] & 31, t.debit_account, t.credit_account, t.amount_nano, t.kind.name, t.held_nano)
        for t in settlement_transfers(entry, hold_written)
    ]


@pytest.mark.parametrize(
    ("debts", "overage", "hold_written", "transfers"),
    [
        # Opened and resolved between two commits: one transfer, which keeps what was held.
        ({FIRST: 25}, 0, None, [(POST, LEASE, FIRST, 25, "post", 60)]),
        ({FIRST: 25}, 0, 60, [(POST, LEASE, FIRST, 25, "post_hold", 60)]),
        # A call that cost nothing leaves nothing, or gives its hold back.
        ({}, 0, None, []),
        ({}, 0, 60, [(VOID, LEASE, FIRST, 0, "void_hold", 60)]),
        # Dearer than its hold, within the lease.
        ({FIRST: 75}, 0, None, [(POST, LEASE, FIRST, 75, "post", 60)]),
        (
            {FIRST: 75},
            0,
            60,
            [(POST, LEASE, FIRST, 60, "post_hold", 60), (EXTRA, LEASE, FIRST, 15, "post", 0)],
        ),
        # Dearer than hold and lease.
        (
            {FIRST: 75},
            9,
            60,
            [
                (POST, LEASE, FIRST, 60, "post_hold", 60),
                (EXTRA, LEASE, FIRST, 15, "post", 0),
                (OVERAGE, OVERAGE_ACCOUNT, FIRST, 9, "post", 0),
            ],
        ),
        (
            {FIRST: 75},
            9,
            None,
            [(POST, LEASE, FIRST, 75, "post", 60), (OVERAGE, OVERAGE_ACCOUNT, FIRST, 9, "post", 0)],
        ),
        # The lease could pay nothing at all.
        ({}, 9, None, [(OVERAGE, OVERAGE_ACCOUNT, FIRST, 9, "post", 0)]),
        (
            {},
            9,
            60,
            [(VOID, LEASE, FIRST, 0, "void_hold", 60), (OVERAGE, OVERAGE_ACCOUNT, FIRST, 9, "post", 0)],
        ),
        # A fallback: both providers bill.
        (
            {FIRST: 10, SECOND: 20},
            0,
            None,
            [(POST, LEASE, FIRST, 10, "post", 60), (POST + 1, LEASE, SECOND, 20, "post", 0)],
        ),
        (
            {FIRST: 10, SECOND: 20, THIRD: 5},
            0,
            60,
            [
                (POST, LEASE, FIRST, 10, "post_hold", 60),
                (POST + 1, LEASE, SECOND, 20, "post", 0),
                (POST + 2, LEASE, THIRD, 5, "post", 0),
            ],
        ),
        # The provider the hold was for bills nothing; the one that answered does, and its overage too.
        (
            {SECOND: 20},
            3,
            60,
            [
                (VOID, LEASE, FIRST, 0, "void_hold", 60),
                (POST + 1, LEASE, SECOND, 20, "post", 0),
                (OVERAGE, OVERAGE_ACCOUNT, SECOND, 3, "post", 0),
            ],
        ),
    ],
)
def test_a_finished_call_becomes_these_transfers(
    debts: dict[int, int], overage: int, hold_written: int | None, transfers: list[tuple[Any, ...]]
) -> None:
    assert summary(settled(debts, 60, overage), hold_written) == transfers


def test_transfers_say_why_when_and_of_which_hold() -> None:
    posted, extra, over = settlement_transfers(settled({FIRST: 75}, 60, 9), 60)
    assert [t.reason for t in (posted, extra, over)] == [Reason.call, Reason.call, Reason.overage]
    assert {t.event_us for t in (posted, extra, over)} == {90}
    assert (posted.hold_id, extra.hold_id, over.hold_id) == (transfer_id(CALL.call_id, HOLD), NO_ID, NO_ID)


def test_an_intent_shows_the_hold_from_when_the_call_began() -> None:
    hold = hold_transfer(intent(60))
    assert (hold.transfer_id, hold.kind) == (transfer_id(CALL.call_id, HOLD), Kind.hold)
    assert (hold.debit_account, hold.credit_account, hold.amount_nano, hold.event_us) == (LEASE, FIRST, 60, 77)


amounts = st.integers(0, 200)
debts = st.dictionaries(st.sampled_from([FIRST, SECOND, THIRD]), st.integers(1, 200))


def books_after(entry: Settled, hold_written: int | None) -> Books:
    """Apply a call's transfers to a lease that can pay exactly what the call takes from it."""
    books = Books([Account(LEASE, limited=True), *map(Account, (OVERAGE_ACCOUNT, FIRST, SECOND, THIRD))])
    owed = sum(debt.amount_nano for debt in entry.debts)
    books.accounts[LEASE].credits_posted = max(owed, hold_written or 0)
    if hold_written is not None:
        assert books.apply(hold_transfer(intent(hold_written))) is Status.created
    for each in settlement_transfers(entry, hold_written):
        assert call_of_transfer(each.transfer_id) == CALL.call_id
        assert books.apply(each) is Status.created
    return books


@given(debts, amounts, amounts, st.booleans())
def test_settling_cannot_fail_and_moves_exactly_the_cost(
    debts: dict[int, int], held: int, overage: int, is_written: bool
) -> None:
    entry = settled(debts, held, overage)
    # A hold that was written leaves room for itself; what is owed to others comes from what is free besides.
    books = books_after(entry, min(held, debts.get(FIRST, 0)) if is_written else None)
    lease, over = books.accounts[LEASE], books.accounts[OVERAGE_ACCOUNT]
    assert lease.debits_posted == sum(debts.values())
    assert over.debits_posted == overage
    assert sum(books.accounts[name].credits_posted for name in (FIRST, SECOND, THIRD)) == entry.record.cost_nano
    assert {account.debits_pending + account.credits_pending for account in books.accounts.values()} == {0}


@given(debts, amounts, amounts)
def test_a_hold_in_the_books_changes_nothing_of_what_is_posted(debts: dict[int, int], held: int, overage: int) -> None:
    entry = settled(debts, held, overage)
    written = min(held, debts.get(FIRST, 0))
    one, two = books_after(entry, written), books_after(entry, None)
    assert [account.sums() for account in one.accounts.values()] == [
        account.sums() for account in two.accounts.values()
    ]


def test_settling_twice_is_settling_once() -> None:
    books = books_after(settled({FIRST: 75}, 60, 9), 60)
    before = [account.sums() for account in books.accounts.values()]
    again = settlement_transfers(settled({FIRST: 75}, 60, 9), 60)
    assert {books.apply(each) for each in again} == {Status.exists}
    assert [account.sums() for account in books.accounts.values()] == before
