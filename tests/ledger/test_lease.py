"""A lease never spends more than it was given, whatever the order of calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.ledger.lease import HoldStatus, Lease


def lease_of(amount: int) -> Lease:
    return Lease(7, 1, amount)


def test_a_hold_reserves_and_a_settlement_releases_the_rest() -> None:
    lease = lease_of(100)
    assert lease.hold(b"a", 60, 10) is HoldStatus.held
    assert (lease.available_nano, lease.held_nano) == (40, 60)
    assert lease.settle(b"a", 25) == 25
    assert (lease.available_nano, lease.held_nano, lease.spent_nano) == (75, 0, 25)


@pytest.mark.parametrize(
    ("amount", "status"), [(0, HoldStatus.held), (40, HoldStatus.held), (41, HoldStatus.exceeds_lease)]
)
def test_a_hold_fits_what_is_neither_held_nor_spent(amount: int, status: HoldStatus) -> None:
    lease = lease_of(100)
    lease.hold(b"a", 60, 10)
    assert lease.hold(b"b", amount, 10) is status
    assert lease.available_nano == (40 - amount if status is HoldStatus.held else 40)


@pytest.mark.parametrize("amount", [1, 60, 41, 10_000])
def test_a_call_that_holds_already_is_told_so_before_anything_else(amount: int) -> None:
    lease = lease_of(100)
    lease.hold(b"a", 60, 10)
    assert lease.hold(b"a", amount, 99) is HoldStatus.exists
    assert (lease.available_nano, lease.held_nano, lease.holds) == (40, 60, {b"a": (60, 10)})


@pytest.mark.parametrize(
    ("cost", "paid", "available"),
    [
        (60, 60, 40),
        (61, 61, 39),  # beyond the hold: from what the lease has free
        (100, 100, 0),
        (101, 100, 0),  # beyond that: overage, which the caller books
    ],
)
def test_a_bill_beyond_its_hold_is_paid_as_far_as_the_lease_reaches(cost: int, paid: int, available: int) -> None:
    lease = lease_of(100)
    lease.hold(b"a", 60, 10)
    assert lease.settle(b"a", cost) == paid
    assert (lease.available_nano, lease.held_nano, lease.spent_nano) == (available, 0, paid)


def test_a_bill_never_takes_what_another_call_holds() -> None:
    lease = lease_of(100)
    lease.hold(b"a", 60, 10)
    lease.hold(b"b", 30, 10)
    assert lease.settle(b"a", 1_000) == 70
    assert lease.settle(b"b", 30) == 30


def test_holds_expire_at_their_time_and_are_charged_all_the_same() -> None:
    lease = lease_of(100)
    lease.hold(b"a", 60, 10)
    lease.hold(b"b", 20, 11)
    assert lease.expire(9) == []
    assert lease.expire(10) == [b"a"]
    assert (lease.available_nano, lease.held_nano) == (80, 20)
    assert lease.settle(b"a", 50) == 50
    assert lease.expire(11) == [b"b"]
    assert (lease.available_nano, lease.held_nano, lease.spent_nano) == (50, 0, 50)


def test_a_lease_gives_back_what_is_free_and_keeps_what_it_was_asked_to() -> None:
    lease = lease_of(100)
    lease.hold(b"a", 60, 10)
    assert lease.shrink(keep_nano=50) == 0
    assert lease.shrink(keep_nano=15) == 25
    assert lease.shrink() == 15
    assert lease.shrink() == 0
    lease.grow(5)
    assert (lease.available_nano, lease.held_nano) == (5, 60)


calls = st.sampled_from([b"a", b"b", b"c", b"d"])
amounts = st.integers(0, 120)
steps = st.lists(
    st.tuples(st.just("hold"), calls, amounts, st.integers(0, 20))
    | st.tuples(st.just("settle"), calls, amounts)
    | st.tuples(st.just("expire"), st.integers(0, 20))
    | st.tuples(st.just("grow"), amounts)
    | st.tuples(st.just("shrink"), amounts),
    max_size=40,
)


@given(amounts, steps)
def test_what_was_given_is_free_held_spent_or_given_back(granted: int, steps: list[tuple]) -> None:
    lease = lease_of(granted)
    returned = paid = 0
    for name, *arguments in steps:
        outcome = getattr(lease, name)(*arguments)
        granted += arguments[0] if name == "grow" else 0
        returned += outcome if name == "shrink" else 0
        paid += outcome if name == "settle" else 0
        assert granted - returned == lease.available_nano + lease.held_nano + lease.spent_nano
        assert lease.spent_nano == paid
        assert lease.held_nano == sum(amount for amount, _ in lease.holds.values())
        assert min(lease.available_nano, lease.held_nano, lease.spent_nano) >= 0
        if name == "settle":
            assert outcome <= arguments[1]
            assert outcome == arguments[1] or lease.available_nano == 0
