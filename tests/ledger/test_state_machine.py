"""Every status of a transfer, their order, and what no sequence of transfers can break."""

from itertools import combinations
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.money import MONEY_MAX
from bursar.ledger.books import Account, Books
from bursar.ledger.chain import GENESIS, link
from bursar.ledger.chart import Unit
from bursar.ledger.check import AccountFacts, Checker
from bursar.ledger.transfer import NO_ID, Kind, Reason, Status, Transfer

PURSE, PROVIDER, OTHER = 1, 2, 3
HOLD_ID = b"hold"


def transfer(
    transfer_id: bytes = b"t",
    amount: int = 50,
    kind: Kind = Kind.post,
    debit: int = PURSE,
    credit: int = PROVIDER,
    hold_id: bytes = NO_ID,
    held: int = 0,
) -> Transfer:
    return Transfer(transfer_id, debit, credit, amount, kind, Reason.call, 0, hold_id, held)


def post_hold(transfer_id: bytes = b"t", amount: int = 50, kind: Kind = Kind.post_hold, **more: Any) -> Transfer:
    return transfer(transfer_id, amount, kind, **({"hold_id": HOLD_ID, "held": 60} | more))


def open_books(credits_posted: int = 100) -> Books:
    """Make books with a limited purse that holds 100, a provider and one more account."""
    books = Books([Account(PURSE, limited=True), Account(PROVIDER), Account(OTHER)])
    books.accounts[PURSE].credits_posted = credits_posted
    return books


# What makes a plain transfer refused: fields of the transfer, or the state of the books, set to something else.
PLAIN_FAULTS: list[tuple[Status, dict[str, Any]]] = [
    (Status.id_already_failed, {"failed_before": True}),
    (Status.exists_with_different_content, {"other_content": True}),
    (Status.amount_is_negative, {"amount": -1}),
    (Status.amount_exceeds_int64, {"amount": MONEY_MAX + 1}),
    (Status.accounts_are_the_same, {"debit": PURSE, "credit": PURSE}),
    (Status.debit_account_not_found, {"debit": 98}),
    (Status.credit_account_not_found, {"credit": 99}),
    (Status.units_differ, {"unit": 2}),
    (Status.debit_account_closed, {"debit_closed": True}),
    (Status.credit_account_closed, {"credit_closed": True}),
    (Status.exceeds_credits, {"amount": 101}),
    (Status.balance_exceeds_int64, {"credits_posted": MONEY_MAX}),
]
# The same for the end of a hold of 60.
HOLD_FAULTS: list[tuple[Status, dict[str, Any]]] = [
    (Status.amount_is_negative, {"amount": -1}),
    (Status.accounts_are_the_same, {"credit": PURSE}),
    (Status.units_differ, {"unit": 2}),
    (Status.hold_not_found, {"hold_id": b"nobody's"}),
    (Status.hold_not_found, {"hold_id": b"plain"}),
    (Status.hold_already_posted, {"ended": Kind.post_hold}),
    (Status.hold_already_voided, {"ended": Kind.void_hold}),
    (Status.hold_expired, {"ended": Kind.expire_hold}),
    (Status.hold_has_other_accounts, {"credit": OTHER}),
    (Status.hold_has_other_amount, {"held": 59}),
    (Status.exceeds_hold, {"amount": 61}),
    (Status.exceeds_hold, {"kind": Kind.void_hold}),
    (Status.exceeds_hold, {"kind": Kind.expire_hold}),
]


def spoil(books: Books, faults: dict[str, Any]) -> dict[str, Any]:
    """Bring the books into the state of these faults and return what remains: fields of the transfer."""
    fields = dict(faults)
    purse, provider = books.accounts[PURSE], books.accounts[PROVIDER]
    if "ended" in fields:
        ended = fields.pop("ended")
        books.apply(post_hold(b"end", 0, ended))
    purse.unit = cast(Unit, fields.pop("unit", Unit.usd))
    purse.closed = fields.pop("debit_closed", False)
    provider.closed = fields.pop("credit_closed", False)
    provider.credits_posted = fields.pop("credits_posted", provider.credits_posted)
    if fields.pop("failed_before", False):
        books.failures[b"t"] = Status.exceeds_credits
    if fields.pop("other_content", False):
        books.transfers[b"t"] = transfer(amount=1)
    return fields


def pairs(faults: list[tuple[Status, dict[str, Any]]]) -> list[tuple[Status, dict[str, Any]]]:
    """Combine each two faults that can go together; the first status by precedence is expected."""
    found = [
        (min(one, two), left | right)
        for (one, left), (two, right) in combinations(faults, 2)
        if not left.keys() & right.keys() and {one, two} != {Status(2), Status(3)}
    ]
    return faults + found


def named(case: object) -> str | None:
    return case.name if isinstance(case, Status) else ",".join(cast("dict[str, Any]", case))


@pytest.mark.parametrize(("status", "faults"), pairs(PLAIN_FAULTS), ids=named)
def test_a_transfer_is_refused_with_the_first_status_that_applies(status: Status, faults: dict[str, Any]) -> None:
    books = open_books()
    wrong = transfer(**spoil(books, faults))
    before = {name: account.sums() for name, account in books.accounts.items()}
    assert books.apply(wrong) is status
    assert not status.ok
    assert {name: account.sums() for name, account in books.accounts.items()} == before


@pytest.mark.parametrize(("status", "faults"), pairs(HOLD_FAULTS), ids=named)
def test_a_hold_ends_with_the_first_status_that_applies(status: Status, faults: dict[str, Any]) -> None:
    books = open_books()
    assert books.apply(transfer(HOLD_ID, 60, Kind.hold)) is Status.created
    assert books.apply(transfer(b"plain", 0)) is Status.created
    wrong = post_hold(**spoil(books, faults))
    before = {name: account.sums() for name, account in books.accounts.items()}
    assert books.apply(wrong) is status
    assert {name: account.sums() for name, account in books.accounts.items()} == before


def test_every_status_is_in_the_tables() -> None:
    tested = {status for status, _ in (*PLAIN_FAULTS, *HOLD_FAULTS)}
    assert tested == set(Status) - {Status.created, Status.exists}
    assert [status for status, _ in PLAIN_FAULTS] == sorted(status for status, _ in PLAIN_FAULTS)


@pytest.mark.parametrize(("status", "faults"), PLAIN_FAULTS[2:], ids=named)
def test_a_refused_id_stays_refused_whatever_has_changed_since(status: Status, faults: dict[str, Any]) -> None:
    books = open_books()
    wrong = transfer(**spoil(books, faults))
    assert books.apply(wrong) is status
    healed = open_books(credits_posted=1_000)
    healed.failures = books.failures
    assert healed.apply(wrong) is Status.id_already_failed
    assert healed.apply(transfer()) is Status.id_already_failed
    assert healed.apply(transfer(b"another")) is Status.created


def test_the_same_transfer_again_exists_even_when_it_would_no_longer_fit() -> None:
    books = open_books()
    assert books.apply(transfer(amount=100)) is Status.created
    books.accounts[PURSE].closed = True
    sums = books.accounts[PURSE].sums()
    assert books.apply(transfer(amount=100)) is Status.exists
    assert books.apply(transfer(amount=99)) is Status.exists_with_different_content
    assert books.apply(transfer(amount=100)) is Status.exists
    assert books.accounts[PURSE].sums() == sums


def test_a_hold_counts_against_what_is_available_until_it_ends() -> None:
    books = open_books()
    purse = books.accounts[PURSE]
    assert books.apply(transfer(HOLD_ID, 60, Kind.hold)) is Status.created
    assert (purse.available, purse.sums()) == (40, (60, 0, 0, 100))
    assert books.apply(transfer(b"2", 41)) is Status.exceeds_credits
    assert books.apply(post_hold(b"3", 25)) is Status.created
    assert (purse.available, purse.sums()) == (75, (0, 25, 0, 100))
    assert books.apply(post_hold(b"4", 25)) is Status.hold_already_posted


@pytest.mark.parametrize("kind", [Kind.void_hold, Kind.expire_hold])
def test_a_hold_that_is_voided_or_expires_gives_everything_back(kind: Kind) -> None:
    books = open_books()
    assert books.apply(transfer(HOLD_ID, 100, Kind.hold)) is Status.created
    assert books.apply(post_hold(b"2", 0, kind, held=100)) is Status.created
    assert books.accounts[PURSE].sums() == (0, 0, 0, 100)


def test_posting_cannot_fail_once_the_hold_stands() -> None:
    books = open_books()
    assert books.apply(transfer(HOLD_ID, 60, Kind.hold)) is Status.created
    assert books.apply(transfer(b"rest", 40)) is Status.created
    books.accounts[PURSE].closed = books.accounts[PROVIDER].closed = True
    assert books.apply(post_hold(amount=60)) is Status.created
    assert books.accounts[PURSE].available == 0


def test_holds_leave_room_for_all_of_them_to_be_posted() -> None:
    books = open_books()
    half = MONEY_MAX // 2 + 1
    assert books.apply(transfer(b"1", half, Kind.hold, OTHER)) is Status.created
    assert books.apply(post_hold(b"2", half, debit=OTHER, hold_id=b"1", held=half)) is Status.created
    assert books.apply(transfer(b"3", half, Kind.hold, OTHER)) is Status.balance_exceeds_int64
    assert books.apply(transfer(b"4", half - 1, Kind.hold, OTHER)) is Status.created
    assert books.apply(transfer(b"5", 1, Kind.hold, OTHER)) is Status.balance_exceeds_int64
    assert books.apply(post_hold(b"6", half - 1, debit=OTHER, hold_id=b"4", held=half - 1)) is Status.created
    assert books.accounts[PROVIDER].credits_posted == MONEY_MAX


names = st.sampled_from([bytes((number,)) for number in range(12)])
accounts = st.integers(1, 6)
amounts = st.integers(-1, 40) | st.sampled_from([MONEY_MAX // 2, MONEY_MAX])
any_transfer = st.builds(
    Transfer,
    names,
    accounts,
    accounts,
    amounts,
    st.sampled_from(Kind),
    st.just(Reason.call),
    st.just(0),
    names,
    amounts,
)
# Most random endings fit no hold; these are fitted to one: (id, which hold, amount, how).
ending = st.tuples(
    names, names, st.integers(0, 40), st.sampled_from([Kind.post_hold, Kind.void_hold, Kind.expire_hold])
)


def some_accounts() -> list[Account]:
    return [Account(number, limited=number < 3, closed=number == 5) for number in range(1, 6)]


def fitted(books: Books, transfer_id: bytes, hold_id: bytes, amount: int, kind: Kind) -> Transfer:
    hold = books.transfers.get(hold_id, transfer(hold_id))
    moved = min(amount, hold.amount_nano) if kind is Kind.post_hold else 0
    return Transfer(
        transfer_id, hold.debit_account, hold.credit_account, moved, kind, Reason.call, 1, hold_id, hold.amount_nano
    )


def sums_of(books: Books) -> dict[int, tuple[int, int, int, int]]:
    return {name: account.sums() for name, account in books.accounts.items()}


@settings(max_examples=300)
@given(st.lists(any_transfer | ending, max_size=30))
def test_no_sequence_of_transfers_breaks_the_books(steps: list[Any]) -> None:
    books = Books(some_accounts())
    judged: list[tuple[Transfer, Status]] = []
    for step in steps:
        each = step if isinstance(step, Transfer) else fitted(books, *step)
        before = sums_of(books)
        status = books.apply(each)
        judged.append((each, status))
        assert (sums_of(books) != before) <= (status is Status.created)

        for account in books.accounts.values():
            pending, posted, credits_pending, credits_posted = account.sums()
            assert min(account.sums()) >= 0
            assert max(pending + posted, credits_pending + credits_posted) <= MONEY_MAX
            assert account.available >= 0 or not account.limited
        columns = list(zip(*sums_of(books).values(), strict=True))
        assert sum(columns[0]) == sum(columns[2])
        assert sum(columns[1]) == sum(columns[3])
        open_holds = [
            hold.amount_nano
            for name, hold in books.transfers.items()
            if hold.kind is Kind.hold and name not in books.resolutions
        ]
        assert sum(columns[0]) == sum(open_holds)

    accepted = list(books.transfers.values())
    replayed = Books(some_accounts())
    assert {replayed.apply(each) for each in accepted} <= {Status.created}
    assert sums_of(replayed) == sums_of(books)
    for each, status in judged:
        assert books.apply(each).ok == status.ok
    assert sums_of(replayed) == sums_of(books)
    assert findings_of(accepted, books) == []


def findings_of(accepted: list[Transfer], books: Books) -> list[str]:
    """Chain transfers and let the checker compare them with the accounts: two writings of one set of rules."""
    checker = Checker(
        AccountFacts(number, f"account {number}", account.unit, account.limited, account.sums())
        for number, account in books.accounts.items()
    )
    digest = GENESIS
    for seq, each in enumerate(accepted, 1):
        digest = link(digest, seq, each)
        checker.add(each, seq, digest, 1)
    checker.end_chain(len(accepted), digest, 1)
    return checker.finish()
