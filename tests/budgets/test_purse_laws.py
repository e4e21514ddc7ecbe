"""A purse hands out what was granted and no more, whatever happens to it and whenever."""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from bursar.budgets.budget import Budget, Terms
from bursar.budgets.purse import DRY_US, IDLE_US, LOW_SHARE, SLICE_CALLS, SLICE_MIN_NANO, Ask, Purse
from bursar.core.times import DAY_US, FOREVER_US, SECOND_US
from bursar.ledger.chart import Unit
from bursar.ledger.lease import Grant, Slice

NOW = 1_000 * DAY_US
BUDGET = Budget("bud", 1, Terms(1_000), "ana")


def grant(amount: int, account: int = 1, end_us: int = FOREVER_US, left: int = 0) -> Grant:
    """Grant from a budget account; the lease on it has the number after it."""
    return Grant(account + 1, account, 3, 4, amount, left, 1_000, end_us)


def purse_with(amount: int, **fields: Any) -> Purse:
    purse = Purse(BUDGET)
    purse.granted(Ask(BUDGET, 0, amount), grant(amount, **fields), NOW)
    return purse


def returned(purse: Purse) -> int:
    return sum(each.amount_nano for each in purse.take_returns())


def test_an_empty_purse_holds_nothing() -> None:
    purse = Purse(BUDGET)
    assert purse.hold(b"a", 0, NOW, FOREVER_US) is None
    assert purse.is_empty
    assert not purse.is_low(NOW)
    assert not purse.is_dry(NOW)


@pytest.mark.parametrize(("amount", "fits"), [(0, True), (99, True), (100, True), (101, False)])
def test_a_hold_fits_what_was_granted(amount: int, fits: bool) -> None:
    assert (purse_with(100).hold(b"a", amount, NOW, FOREVER_US) is not None) is fits


def test_nothing_is_held_in_a_window_that_has_ended() -> None:
    purse = purse_with(100, end_us=NOW + 1)
    assert purse.hold(b"a", 1, NOW, FOREVER_US) is not None
    assert purse.hold(b"b", 1, NOW + 1, FOREVER_US) is None


def test_a_slice_covers_many_calls_like_the_one_that_asks() -> None:
    assert Purse(BUDGET).ask(10**9, NOW) == Ask(BUDGET, 10**9, SLICE_CALLS * 10**9)
    assert Purse(BUDGET).ask(1, NOW).want_nano == SLICE_MIN_NANO
    counted = msgspec.structs.replace(BUDGET, terms=Terms(5, unit=Unit.request))
    assert Purse(counted).ask(1, NOW).want_nano == SLICE_CALLS
    assert Purse(counted).ask(0, NOW).want_nano == 1


def test_a_slice_lasts_for_seconds_at_the_rate_of_spending() -> None:
    purse = purse_with(10**12)
    purse.ask(1, NOW)
    lease = purse.hold(b"a", 10**11, NOW, FOREVER_US)
    assert lease is not None
    lease.settle(b"a", 6 * 10**10)
    assert purse.ask(1, NOW + 2 * SECOND_US).want_nano == 3 * 10**11  # 30 a second, for ten
    assert purse.ask(1, NOW + 3 * SECOND_US).want_nano == SLICE_MIN_NANO  # since then nothing


def test_more_is_leased_before_it_is_needed() -> None:
    purse = purse_with(100)
    assert not purse.is_low(NOW)
    purse.hold(b"a", 100 - 100 // LOW_SHARE, NOW, FOREVER_US)
    assert not purse.is_low(NOW)
    purse.hold(b"b", 1, NOW, FOREVER_US)
    assert purse.is_low(NOW)


def test_a_budget_that_gave_less_than_was_needed_is_dry_for_a_while_or_until_it_changes() -> None:
    purse = Purse(BUDGET)
    purse.granted(Ask(BUDGET, 10, 640), grant(9), NOW)
    assert purse.is_dry(NOW)
    assert not purse.is_low(NOW + DRY_US - 1)
    assert not purse.is_dry(NOW + DRY_US)
    purse.granted(Ask(BUDGET, 10, 640), grant(0), NOW)
    assert purse.is_dry(NOW)
    purse.changed(msgspec.structs.replace(BUDGET, terms=Terms(2_000)))
    assert not purse.is_dry(NOW)


def test_a_dry_budget_is_asked_anew_when_its_window_ends() -> None:
    purse = Purse(BUDGET)
    purse.granted(Ask(BUDGET, 10, 640), grant(0, end_us=NOW + 5), NOW)
    assert purse.is_dry(NOW + 4)
    assert not purse.is_dry(NOW + 5)


def test_what_was_asked_under_other_terms_goes_back_at_once() -> None:
    purse = Purse(BUDGET)
    ask = purse.ask(10, NOW)
    purse.changed(msgspec.structs.replace(BUDGET, terms=Terms(5)))
    purse.granted(ask, grant(640), NOW)
    assert purse.hold(b"a", 1, NOW, FOREVER_US) is None
    assert returned(purse) == 640
    purse.sweep(NOW)
    assert purse.is_empty


def test_the_same_terms_read_anew_change_nothing() -> None:
    purse = purse_with(100)
    lease = purse.lease
    purse.changed(msgspec.structs.replace(BUDGET))
    assert purse.lease is lease
    assert returned(purse) == 0


def test_what_is_recalled_goes_back_but_for_what_is_held() -> None:
    purse = purse_with(100)
    lease = purse.hold(b"a", 30, NOW, FOREVER_US)
    purse.recall()
    assert returned(purse) == 70
    assert lease is purse.lease
    assert lease is not None
    lease.settle(b"a", 10)
    assert purse.hold(b"b", 20, NOW, FOREVER_US) is lease  # what a call leaves is handed out again


def test_a_call_of_a_past_window_settles_there_and_its_rest_goes_back() -> None:
    purse = purse_with(100, end_us=NOW + 10)
    before = purse.hold(b"a", 60, NOW, FOREVER_US)
    assert before is not None
    purse.granted(Ask(BUDGET, 5, 50), grant(50, account=11, end_us=NOW + 20), NOW + 10)
    assert purse.hold(b"b", 5, NOW + 10, FOREVER_US) is not before
    assert returned(purse) == 40
    before.settle(b"a", 20)
    purse.sweep(NOW + 11)
    (rest,) = purse.take_returns()
    assert (rest.amount_nano, rest.grant.budget_account) == (40, 1)
    assert purse.old == []


def test_an_idle_lease_goes_back_and_one_in_use_stays() -> None:
    purse = purse_with(100)
    purse.sweep(NOW + IDLE_US)
    assert returned(purse) == 0
    purse.hold(b"a", 1, NOW + IDLE_US, FOREVER_US)
    purse.sweep(NOW + 3 * IDLE_US)
    assert returned(purse) == 0
    assert purse.lease is not None
    purse.lease.settle(b"a", 1)
    purse.sweep(NOW + 3 * IDLE_US)
    assert returned(purse) == 99
    purse.sweep(NOW + 3 * IDLE_US)
    assert purse.is_empty


class Counter(RuleBasedStateMachine):
    """Do anything with a purse: what was granted is returned, held, spent or free, in each account and at all times."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now_us = NOW
        self.purse = Purse(BUDGET)
        self.ask: Ask | None = None
        self.number = 0
        self.granted: dict[int, int] = {}  # by lease account
        self.given_back: dict[int, int] = {}
        self.spent: dict[int, int] = {}
        self.leases: list[Slice] = []

    @property
    def account(self) -> int:
        """Number the budget account of the day that it is."""
        return 10 * (self.now_us // DAY_US)

    @rule(target=calls, amount=st.integers(0, 400), lasts_us=st.sampled_from([1, DAY_US, FOREVER_US]))
    def hold(self, amount: int, lasts_us: int) -> Any:
        self.number += 1
        call_id = self.number.to_bytes(4, "big")
        free = self.purse.lease.available_nano if self.purse.lease is not None else 0
        lease = self.purse.hold(call_id, amount, self.now_us, self.now_us + lasts_us)
        if lease is None:
            assert self.purse.lease is None or amount > free or self.now_us >= self.purse.end_us
            return multiple()
        assert amount <= free
        assert lease.grant.budget_account == self.account  # never in another day's money
        return lease, call_id, amount

    @rule(call=consumes(calls), cost=st.integers(0, 500))
    def settle(self, call: Any, cost: int) -> None:
        lease, call_id, amount = call
        free = lease.available_nano + (amount if call_id in lease.holds else 0)
        paid = lease.settle(call_id, cost)
        assert paid == min(cost, free)
        account = lease.grant.lease_account
        self.spent[account] = self.spent.get(account, 0) + paid

    @rule(call=consumes(calls))
    def release(self, call: Any) -> None:
        lease, call_id, _ = call
        if call_id in lease.holds:
            lease.release(call_id)

    @precondition(lambda self: self.ask is None)
    @rule(need=st.integers(0, 50))
    def ask_for_more(self, need: int) -> None:
        self.ask = self.purse.ask(need, self.now_us)
        assert self.ask.want_nano >= need

    @precondition(lambda self: self.ask is not None)
    @rule(share=st.integers(0, 4))
    def grant(self, share: int) -> None:
        ask, self.ask = self.ask, None
        assert ask is not None
        given = grant(ask.need_nano * share, self.account, (self.now_us // DAY_US + 1) * DAY_US)
        self.granted[given.lease_account] = self.granted.get(given.lease_account, 0) + given.granted_nano
        self.purse.granted(ask, given, self.now_us)

    @rule(limit=st.integers(0, 3))
    def change(self, limit: int) -> None:
        self.purse.changed(msgspec.structs.replace(self.purse.budget, terms=Terms(limit)))

    @rule()
    def recall(self) -> None:
        self.purse.recall()
        assert self.purse.lease is None or self.purse.lease.available_nano == 0

    @rule()
    def retire(self) -> None:
        self.purse.retire()
        assert self.purse.lease is None

    @rule(passed_us=st.sampled_from([0, 1, SECOND_US, 2 * IDLE_US, DAY_US]))
    def wait(self, passed_us: int) -> None:
        self.now_us += passed_us

    @rule()
    def sweep(self) -> None:
        self.purse.sweep(self.now_us)
        assert not any(lease.available_nano for lease in self.purse.old)

    @rule()
    def drive(self) -> None:
        for each in self.purse.take_returns():
            account = each.grant.lease_account
            assert each.amount_nano > 0
            self.given_back[account] = self.given_back.get(account, 0) + each.amount_nano

    @invariant()
    def everything_is_somewhere(self) -> None:
        purse = self.purse
        leases = [*purse.old, *([purse.lease] if purse.lease is not None else [])]
        self.leases += [lease for lease in leases if all(lease is not known for known in self.leases)]
        somewhere = {account: -amount for account, amount in self.granted.items()}
        for amounts in (self.spent, self.given_back):
            for account, amount in amounts.items():
                somewhere[account] += amount
        for each in purse.returns:
            somewhere[each.grant.lease_account] += each.amount_nano
        for lease in self.leases:
            assert min(lease.available_nano, lease.held_nano, lease.spent_nano) >= 0
            assert lease.held_nano == sum(amount for amount, _ in lease.holds.values())
            somewhere[lease.grant.lease_account] += lease.available_nano + lease.held_nano
            # A lease that the purse has let go of has nothing left that anybody could miss.
            if all(lease is not known for known in leases):
                assert not lease.holds
        assert set(somewhere.values()) <= {0}

    def teardown(self) -> None:
        """At the end, when every call is over, all that was not spent goes back."""
        for lease in self.leases:
            for call_id in list(lease.holds):
                lease.release(call_id)
        self.purse.retire()
        self.purse.sweep(self.now_us)
        self.drive()
        assert not any(lease.available_nano for lease in self.leases)
        for account, granted in self.granted.items():
            assert granted == self.spent.get(account, 0) + self.given_back.get(account, 0)


TestCounter = Counter.TestCase
TestCounter.settings = settings(
    max_examples=150, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
