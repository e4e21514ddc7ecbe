"""Holds that grow while their call is under way: all of them or none, and settled by what was announced last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.purse import raise_in_all
from bursar.budgets.settlement import settle_lost
from bursar.core.records import Attempt, AttemptStatus, Call, Protocol, Segments, UsageSource
from bursar.core.times import FOREVER_US
from bursar.ledger.following import UnderWay
from bursar.ledger.journal import Debt, Intent, settlement_transfers
from bursar.ledger.lease import Grant, Slice

CALL = Call(b"c" * 16, 1, "key", Protocol.openai_chat, "m", False, 1_000, Segments())
FIRST, SECOND = 70, 71
"""Accounts of what two providers are owed."""


def leases(*amounts: int) -> list[Slice]:
    found = [
        Slice(Grant(number, 1, 2, 3, amount, 0, None, FOREVER_US), amount) for number, amount in enumerate(amounts)
    ]
    for lease in found:
        lease.hold(CALL.call_id, 10, FOREVER_US)
    return found


@given(st.lists(st.integers(10, 100), min_size=1, max_size=4), st.lists(st.integers(0, 100), min_size=4, max_size=4))
def test_what_a_call_holds_grows_in_all_its_leases_or_in_none(granted: list[int], more: list[int]) -> None:
    found, wanted = leases(*granted), more[: len(granted)]
    fits = all(amount <= lease.available_nano for lease, amount in zip(found, wanted, strict=True))
    assert raise_in_all(found, CALL.call_id, wanted) is fits
    for lease, amount, whole in zip(found, wanted, granted, strict=True):
        assert lease.held_nano == 10 + amount * fits == lease.holds[CALL.call_id][0]
        assert lease.available_nano + lease.held_nano == whole
        assert lease.settle(CALL.call_id, 0) == 0
        assert (lease.available_nano, lease.held_nano) == (whole, 0)


def attempt(provider: str, cost: int, status: AttemptStatus = AttemptStatus.lost) -> Attempt:
    return Attempt(provider, "m", status, 0, 1_000, 0, 2_000, usage_source=UsageSource.held, cost_nano=cost)


def intent(held: int, provider: str, *earlier: Attempt, owed_account: int = 0, owed: tuple[Debt, ...] = ()) -> Intent:
    return Intent(CALL, provider, 5, 6, FIRST, held, FOREVER_US, (), owed_account, earlier, owed)


@pytest.mark.parametrize(
    ("announced", "cost", "debts"),
    [
        (intent(100, "a"), 100, {FIRST: 100}),
        (intent(600, "b", attempt("a", 0), owed_account=SECOND), 600, {SECOND: 600}),
        (
            intent(600, "b", attempt("a", 100), owed_account=SECOND, owed=(Debt(FIRST, 100),)),
            600,
            {FIRST: 100, SECOND: 500},
        ),
        (intent(200, "a", attempt("a", 100), owed_account=FIRST, owed=(Debt(FIRST, 100),)), 200, {FIRST: 200}),
    ],
)
def test_a_lost_call_owes_each_provider_for_its_attempts_and_no_more_than_it_held(
    announced: Intent, cost: int, debts: dict[int, int]
) -> None:
    settled = settle_lost(announced, attempt(announced.provider, 10_000))
    assert settled.record.cost_nano == cost == sum(each.cost_nano for each in settled.record.attempts)
    assert {debt.payable_account: debt.amount_nano for debt in settled.debts} == debts
    for shown in (None, 100):  # whether the books show the hold as it was at first
        transfers = settlement_transfers(settled, shown)
        assert sum(transfer.amount_nano for transfer in transfers) == cost
        assert {transfer.debit_account for transfer in transfers} == {5}
        paid: dict[int, int] = {}
        for transfer in transfers:
            paid[transfer.credit_account] = paid.get(transfer.credit_account, 0) + transfer.amount_nano
        assert {account: amount for account, amount in paid.items() if amount} == debts
        assert sum(transfer.held_nano for transfer in transfers if shown) == (shown or 0)


def test_the_last_announcement_of_a_call_counts_and_its_hold_is_shown_once() -> None:
    under_way = UnderWay()
    first, second = intent(100, "a"), intent(600, "b", attempt("a", 0), owed_account=SECOND)
    postings = under_way.gather([first, second], lambda *_: b"", 10**9, more=False)
    assert [transfer.amount_nano for _, transfer in postings.transfers] == [600]
    under_way.committed(postings, 1)
    again = under_way.gather([intent(900, "c", owed_account=SECOND)], lambda *_: b"", 10**9, more=False)
    assert again.transfers == []
