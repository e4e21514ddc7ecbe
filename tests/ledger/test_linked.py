"""Linked transfers share one fate; accounts have limits on both sides, and close when they are empty."""

from itertools import combinations
from typing import Any

import pytest

from bursar.ledger.books import Account, Books, Closing, judge_closing
from bursar.ledger.chart import WRITTEN_UNASKED, Code
from bursar.ledger.transfer import Kind, Linked, Reason, Status, Transfer, flatten

BANK, PURSE, SHOP = 1, 2, 3


def move(name: str, debit: int, credit: int, amount: int, kind: Kind = Kind.post, hold: str = "") -> Transfer:
    held = 10 if hold else 0
    return Transfer(name.encode(), debit, credit, amount, kind, Reason.call, 0, hold.encode(), held)


def books() -> Books:
    return Books([Account(BANK), Account(PURSE, limited=True), Account(SHOP)])


def chain(*transfers: Transfer) -> Linked:
    return Linked(transfers)


def test_later_links_see_what_earlier_ones_did() -> None:
    kept = books()
    steps = chain(move("in", BANK, PURSE, 10), move("hold", PURSE, SHOP, 10, Kind.hold))
    assert kept.apply_linked(steps) == [Status.created] * 2
    assert (
        kept.apply_linked(chain(move("post", PURSE, SHOP, 4, Kind.post_hold, "hold"), move("out", PURSE, BANK, 6)))
        == [Status.created] * 2
    )
    assert kept.accounts[PURSE].sums() == (0, 10, 0, 10)
    assert kept.apply_linked(steps) == [Status.exists] * 2


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_chain_that_fails_anywhere_leaves_nothing(refused: int) -> None:
    kept = books()
    assert kept.apply(move("hold", BANK, SHOP, 10, Kind.hold)) is Status.created
    before = {name: account.sums() for name, account in kept.accounts.items()}
    links = [move("a", BANK, PURSE, 5), move("b", BANK, SHOP, 3, Kind.post_hold, "hold"), move("c", PURSE, SHOP, 5)]
    links[refused] = move("bad", PURSE, SHOP, 6)
    statuses = kept.apply_linked(Linked(tuple(links)))
    assert statuses == [
        Status.exceeds_credits if number == refused else Status.linked_transfer_failed for number in range(3)
    ]
    assert {name: account.sums() for name, account in kept.accounts.items()} == before
    assert kept.apply_linked(Linked(tuple(links))) == [Status.id_already_failed] * 3
    assert [kept.apply(link) for link in links] == [Status.id_already_failed] * 3
    assert kept.apply(move("post", BANK, SHOP, 3, Kind.post_hold, "hold")) is Status.created


def test_what_stood_before_stays_when_its_new_chain_fails() -> None:
    kept = books()
    first, bad = move("in", BANK, PURSE, 10), move("bad", PURSE, SHOP, 11)
    assert kept.apply(first) is Status.created
    assert kept.apply_linked(chain(first, move("more", BANK, SHOP, 1), bad)) == [
        Status.exists,
        Status.linked_transfer_failed,
        Status.exceeds_credits,
    ]
    assert kept.apply(first) is Status.exists
    assert kept.accounts[SHOP].sums() == (0, 0, 0, 0)


def test_an_id_twice_in_a_chain_is_one_transfer_or_a_conflict() -> None:
    kept = books()
    once = move("in", BANK, PURSE, 10)
    assert kept.apply_linked(chain(once, once)) == [Status.created, Status.exists]
    other = move("b", BANK, PURSE, 1)
    assert kept.apply_linked(chain(other, move("b", BANK, PURSE, 2))) == [
        Status.linked_transfer_failed,
        Status.exists_with_different_content,
    ]
    assert kept.apply(other) is Status.id_already_failed
    assert kept.accounts[PURSE].sums() == (0, 0, 0, 10)


def test_chains_and_single_transfers_are_judged_in_order() -> None:
    kept = books()
    steps = [
        chain(move("a", BANK, PURSE, 5), move("b", PURSE, SHOP, 6)),
        move("c", BANK, PURSE, 5),
        chain(move("d", PURSE, SHOP, 5)),
        chain(),
    ]
    assert [step.transfer_id for step in flatten(steps)] == [b"a", b"b", b"c", b"d"]
    assert kept.apply_all(steps) == [
        Status.linked_transfer_failed,
        Status.exceeds_credits,
        Status.created,
        Status.created,
    ]


def test_an_account_whose_credits_are_limited_is_never_owed() -> None:
    kept = Books([Account(BANK), Account(SHOP, credits_limited=True)])
    assert kept.apply(move("early", BANK, SHOP, 1)) is Status.exceeds_debits
    assert kept.apply(move("debt", SHOP, BANK, 10)) is Status.created
    assert kept.apply(move("hold", BANK, SHOP, 10, Kind.hold)) is Status.created
    assert kept.accounts[SHOP].receivable == 0
    assert kept.apply(move("late", BANK, SHOP, 1)) is Status.exceeds_debits
    assert kept.apply(move("post", BANK, SHOP, 4, Kind.post_hold, "hold")) is Status.created
    assert kept.accounts[SHOP].receivable == 6


def account(**fields: Any) -> Account:
    made = Account(BANK, closed=fields.pop("closed", False))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


HINDRANCES: list[tuple[Closing, dict[str, Any]]] = [
    (Closing.exists, {"closed": True}),
    (Closing.written_by_gateways, {"code": Code.lease}),
    (Closing.has_pending, {"debits_pending": 1}),
    (Closing.has_pending, {"credits_pending": 1}),
    (Closing.has_balance, {"debits_posted": 1}),
    (Closing.has_balance, {"credits_posted": 1}),
    (Closing.child_has_balance, {"children_hold": True}),
]


@pytest.mark.parametrize(
    ("status", "fields"),
    HINDRANCES
    + [
        (min(one, two), left | right)
        for (one, left), (two, right) in combinations(HINDRANCES, 2)
        if {*left, *right} != {"debits_posted", "credits_posted"}
    ],
)
def test_an_account_is_not_closed_for_the_first_reason_that_applies(status: Closing, fields: dict[str, Any]) -> None:
    code = fields.get("code", Code.grants)
    children = fields.get("children_hold", False)
    rest = {name: value for name, value in fields.items() if name not in ("code", "children_hold")}
    assert judge_closing(account(**rest), code, children_hold=children) is status
    assert status.ok == (status is Closing.exists)


def test_an_empty_account_closes_whatever_went_through_it() -> None:
    assert judge_closing(account(debits_posted=7, credits_posted=7), Code.grants) is Closing.closed
    assert judge_closing(None, Code.grants) is Closing.account_not_found
    assert {status for status, _ in HINDRANCES} == set(Closing) - {Closing.closed, Closing.account_not_found}
    assert {Code.lease, Code.payable, Code.overage} <= WRITTEN_UNASKED
