"""Every status of a transfer, their order, and what no sequence of transfers can break."""

from itertools import combinations
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.money import MONEY_MAX
from bursar.ledger.books import Account, Books, Closing, judge_closing
from bursar.ledger.chain import GENESIS, link
from bursar.ledger.chart import Code, Unit
from bursar.ledger.check import AccountFacts, Checker
from bursar.ledger.transfer import EVENT_AHEAD_US_MAX, NO_ID, Kind, Linked, Reason, Status, Transfer

PURSE, PROVIDER, OTHER = 1, 2, 3
HOLD_ID = b"hold"
NOW_US = 1_000
ORDER = list(Status)
"""Precedence is the order of the list, not of the numbers."""


def transfer(
    transfer_id: bytes = b"t",
    amount: int = 50,
    kind: Kind = Kind.post,
    debit: int = PURSE,
    credit: int = PROVIDER,
    hold_id: bytes = NO_ID,
    held: int = 0,
    event: int = 0,
) -> Transfer:
    return Transfer(transfer_id, debit, credit, amount, kind, Reason.call, event, hold_id, held)


def post_hold(transfer_id: bytes = b"t", amount: int = 50, kind: Kind = Kind.post_hold, **more: Any) -> Transfer:
    return transfer(transfer_id, amount, kind, **({"hold_id": HOLD_ID, "held": 60} | more))


def open_books(credits_posted: int = 100) -> Books:
    """Make books with a limited purse that holds 100, a provider and one more account."""
    books = Books([Account(PURSE, limited=True), Account(PROVIDER), Account(OTHER)], NOW_US)
    books.accounts[PURSE].credits_posted = credits_posted
    return books


# What makes a plain transfer refused: fields of the transfer, or the state of the books, set to something else.
PLAIN_FAULTS: list[tuple[Status, dict[str, Any]]] = [
    (Status.id_already_failed, {"failed_before": True}),
    (Status.exists_with_different_content, {"other_content": True}),
    (Status.linked_transfer_failed, {"after_a_refusal": True}),
    (Status.amount_is_negative, {"amount": -1}),
    (Status.amount_exceeds_int64, {"amount": MONEY_MAX + 1}),
    (Status.held_amount_out_of_range, {"held": -1}),
    (Status.held_amount_out_of_range, {"held": MONEY_MAX + 1}),
    (Status.event_time_out_of_range, {"event": -1}),
    (Status.event_time_out_of_range, {"event": NOW_US + EVENT_AHEAD_US_MAX + 1}),
    (Status.event_time_out_of_range, {"event": MONEY_MAX + 1}),
    (Status.hold_not_expected, {"hold_id": HOLD_ID}),
    (Status.accounts_are_the_same, {"debit": PURSE, "credit": PURSE}),
    (Status.debit_account_not_found, {"debit": 98}),
    (Status.credit_account_not_found, {"credit": 99}),
    (Status.units_differ, {"unit": 2}),
    (Status.debit_account_closed, {"debit_closed": True}),
    (Status.credit_account_closed, {"credit_closed": True}),
    (Status.exceeds_credits, {"amount": 101}),
    (Status.exceeds_debits, {"credits_limited": True}),
    (Status.balance_exceeds_int64, {"credits_posted": MONEY_MAX}),
]
# The same for the end of a hold of 60.
HOLD_FAULTS: list[tuple[Status, dict[str, Any]]] = [
    (Status.amount_is_negative, {"amount": -1}),
    (Status.held_amount_out_of_range, {"held": -1}),
    (Status.event_time_out_of_range, {"event": NOW_US + EVENT_AHEAD_US_MAX + 1}),
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
    provider.credits_limited = fields.pop("credits_limited", False)
    if fields.pop("failed_before", False):
        books.failures[b"t"] = Status.exceeds_credits
    if fields.pop("other_content", False):
        books.transfers[b"t"] = transfer(amount=1)
    return fields


def pairs(faults: list[tuple[Status, dict[str, Any]]]) -> list[tuple[Status, dict[str, Any]]]:
    """Combine each two faults that can go together; the first status by precedence is expected."""
    found = [
        (min(one, two, key=ORDER.index), left | right)
        for (one, left), (two, right) in combinations(faults, 2)
        if not left.keys() & right.keys() and {one, two} != {Status(2), Status(3)}
    ]
    return faults + found


def judge(books: Books, wrong: Transfer, after_a_refusal: bool) -> Status:
    """Apply a transfer by itself, or in a chain of which another link is refused first."""
    if not after_a_refusal:
        return books.apply(wrong)
    refused, status = books.apply_linked(Linked((transfer(b"bad", debit=97), wrong)))
    assert refused is Status.debit_account_not_found
    return status


def named(case: object) -> str | None:
    return case.name if isinstance(case, Status) else ",".join(cast("dict[str, Any]", case))


@pytest.mark.parametrize(("status", "faults"), pairs(PLAIN_FAULTS), ids=named)
def test_a_transfer_is_refused_with_the_first_status_that_applies(status: Status, faults: dict[str, Any]) -> None:
    books = open_books()
    fields = spoil(books, faults)
    after_a_refusal = fields.pop("after_a_refusal", False)
    wrong = transfer(**fields)
    before = {name: account.sums() for name, account in books.accounts.items()}
    assert judge(books, wrong, after_a_refusal) is status
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
    assert [status for status, _ in PLAIN_FAULTS] == sorted((status for status, _ in PLAIN_FAULTS), key=ORDER.index)


@pytest.mark.parametrize(("status", "faults"), PLAIN_FAULTS[2:], ids=named)
def test_a_refused_id_stays_refused_whatever_has_changed_since(status: Status, faults: dict[str, Any]) -> None:
    books = open_books()
    fields = spoil(books, faults)
    after_a_refusal = fields.pop("after_a_refusal", False)
    wrong = transfer(**fields)
    assert judge(books, wrong, after_a_refusal) is status
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
accounts = st.integers(1, 8)
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
    st.just(NO_ID) | names,
    amounts | st.just(0),
    st.sampled_from([Unit.usd, Unit.usd, Unit.token]),
)
# Most random endings fit no hold; these are fitted to one: (id, which hold, amount, how).
ending = st.tuples(
    names, names, st.integers(0, 40), st.sampled_from([Kind.post_hold, Kind.void_hold, Kind.expire_hold])
)
# Most random transfers fail; these move a little between accounts that are there.
small_move = st.builds(
    Transfer,
    names,
    st.sampled_from([1, 2, 3, 4]),
    st.sampled_from([1, 2, 3, 4]),
    st.integers(0, 9),
    st.sampled_from([Kind.post, Kind.post, Kind.hold]),
    st.just(Reason.call),
    st.just(0),
)
single = any_transfer | ending | small_move
closing = st.integers(1, 8)
steps_of_all_kinds = st.lists(single | st.lists(small_move | ending, min_size=1, max_size=4) | closing, max_size=30)


def some_accounts() -> list[Account]:
    """Make accounts: 1 and 2 may not owe, 4 may not be owed, 5 is closed, 6 is missing, 7 and 8 count tokens."""
    return [
        Account(
            number,
            limited=number < 3,
            credits_limited=number == 4,
            closed=number == 5,
            unit=Unit.token if number > 6 else Unit.usd,
        )
        for number in (1, 2, 3, 4, 5, 7, 8)
    ]


def fitted(books: Books, step: Any) -> Transfer:
    if isinstance(step, Transfer):
        return step
    transfer_id, hold_id, amount, kind = step
    hold = books.transfers.get(hold_id, transfer(hold_id))
    moved = min(amount, hold.amount_nano) if kind is Kind.post_hold else 0
    accounts_of_hold = hold.debit_account, hold.credit_account
    return Transfer(transfer_id, *accounts_of_hold, moved, kind, Reason.call, 1, hold_id, hold.amount_nano, hold.unit)


def sums_of(books: Books) -> dict[int, tuple[int, int, int, int]]:
    return {name: account.sums() for name, account in books.accounts.items()}


def close(books: Books, number: int) -> None:
    account = books.accounts.get(number)
    status = judge_closing(account, Code.budget)
    if account is None:
        assert status is Closing.account_not_found
    elif status is Closing.closed:
        pending, posted, credits_pending, credits_posted = account.sums()
        assert (pending, credits_pending, posted) == (0, 0, credits_posted)
        account.closed = True


def assert_sound(books: Books) -> None:
    """Check what holds after every step."""
    for account in books.accounts.values():
        pending, posted, credits_pending, credits_posted = account.sums()
        assert min(account.sums()) >= 0
        assert max(pending + posted, credits_pending + credits_posted) <= MONEY_MAX
        assert account.available >= 0 or not account.limited
        assert account.receivable >= 0 or not account.credits_limited
        assert (pending, credits_pending, posted) == (0, 0, credits_posted) or not account.closed
    for unit in Unit:
        kept = [account.sums() for account in books.accounts.values() if account.unit is unit]
        columns = list(zip(*kept, strict=True)) or [(0,)] * 4
        assert sum(columns[0]) == sum(columns[2])
        assert sum(columns[1]) == sum(columns[3])
        open_holds = [
            hold.amount_nano
            for name, hold in books.transfers.items()
            if hold.kind is Kind.hold and hold.unit is unit and name not in books.resolutions
        ]
        assert sum(columns[0]) == sum(open_holds)


def take(books: Books, step: Any) -> list[tuple[Transfer, Status]]:
    """Apply one step of any kind and check that a chain stands whole or not at all."""
    if isinstance(step, int):
        close(books, step)
        return []
    if not isinstance(step, list):
        each = fitted(books, step)
        return [(each, books.apply(each))]
    chain = Linked(tuple(fitted(books, link) for link in cast("list[Any]", step)))
    stood = set(books.transfers)
    statuses = books.apply_linked(chain)
    if not all(status.ok for status in statuses):
        assert set(books.transfers) == stood
        assert Status.created not in statuses
        refused = [status for status in statuses if not status.ok]
        assert [status for status in refused if status is not Status.linked_transfer_failed]
    return list(zip(chain.transfers, statuses, strict=True))


@settings(max_examples=300)
@given(steps_of_all_kinds)
def test_no_sequence_of_transfers_breaks_the_books(steps: list[Any]) -> None:
    books = Books(some_accounts())
    judged: list[tuple[Transfer, Status]] = []
    for step in steps:
        before = sums_of(books)
        taken = take(books, step)
        judged += taken
        assert (sums_of(books) != before) <= any(status is Status.created for _, status in taken)
        assert_sound(books)

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
        AccountFacts(
            number,
            f"account {number}",
            account.unit,
            account.limited,
            account.sums(),
            account.credits_limited,
            account.closed,
        )
        for number, account in books.accounts.items()
    )
    digest = GENESIS
    for seq, each in enumerate(accepted, 1):
        digest = link(digest, seq, each)
        checker.add(each, seq, digest, 1)
    checker.end_chain(len(accepted), digest, 1)
    return checker.finish()
