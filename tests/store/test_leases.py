"""Money moves between budgets and leases: never more than there is, never twice, and all of it accounted for."""

import asyncio

import pytest
from bookkeeping import NOW_US, USD, set_budget
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.budgets.budget import Budget, Terms, Window, period_at
from bursar.budgets.purse import Ask
from bursar.core.errors import BooksError
from bursar.core.times import DAY_US, FOREVER_US, SECOND_US
from bursar.ledger.chart import Code
from bursar.ledger.transfer import EVENT_US_MAX, Kind, Reason, Status, Transfer
from bursar.store.accounts import Opening, book, lock_accounts, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection, connect
from bursar.store.holders import TENANT, BudgetState, budget_states
from bursar.store.keys import Scope, create_key
from bursar.store.leases import (
    CONTROL_CHAIN,
    Grant,
    OpenLease,
    id_of,
    open_lease,
    return_lease,
    set_aside,
)

GATEWAY = 1


async def make_budget(connection: Connection, limit_nano: int | None, window: Window = Window.total) -> Budget:
    key, _ = await create_key(connection, "app", Terms(limit_nano, window), Scope(), NOW_US)
    return key.budget


async def lease(
    connection: Connection, budget: Budget, want_nano: int, act: str, gateway: int = GATEWAY, at_us: int = NOW_US
) -> Grant:
    return await open_lease(connection, Ask(budget, want_nano, want_nano), gateway, id_of(act), at_us)


async def give_back(connection: Connection, grant: Grant, amount_nano: int, act: str) -> None:
    rest = OpenLease(TENANT, grant.lease_account, grant.budget_account, amount_nano)
    await return_lease(connection, rest, id_of(act), NOW_US)


async def spend(connection: Connection, grant: Grant, amount_nano: int, act: str, *, overage: bool = False) -> None:
    """Take money from a lease as a call would, or beyond it."""
    shop, _ = await open_account(connection, TENANT, Opening("shop", Code.grants), NOW_US)
    source, reason = (grant.overage_account, Reason.overage) if overage else (grant.lease_account, Reason.call)
    transfer = Transfer(id_of(act), source, shop, amount_nano, Kind.post, reason, NOW_US)
    async with connection.transaction():
        assert await book(connection, TENANT, CONTROL_CHAIN, [transfer]) == [Status.created]


async def state_of(connection: Connection, budget: Budget, at_us: int = NOW_US) -> BudgetState:
    return (await budget_states(connection, [budget], at_us))[0]


async def free_of(connection: Connection, account: int) -> int:
    async with connection.transaction():
        return (await lock_accounts(connection, TENANT, [account]))[account].available


async def balances(connection: Connection) -> bool:
    return (await audit(connection)).findings == []


async def test_a_lease_gets_its_wish_and_then_what_is_left_and_then_nothing(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    first, second, third = [await lease(connection, budget, want, f"{want}") for want in (6, 7, 8)]
    assert [(grant.granted_nano, grant.left_nano) for grant in (first, second, third)] == [(6, 4), (4, 0), (0, 0)]
    assert {grant.lease_account for grant in (first, second, third)} == {first.lease_account}
    assert await balances(connection)


async def test_asked_again_under_the_same_id_it_leases_once(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    first = await lease(connection, budget, 6, "once")
    again = await lease(connection, budget, 6, "once")
    assert again == first
    assert (await lease(connection, budget, 6, "twice")).granted_nano == 4


async def test_an_unlimited_budget_is_metered_and_never_refuses(connection: Connection) -> None:
    budget = await make_budget(connection, None)
    grant = await lease(connection, budget, 10**15, "much")
    await spend(connection, grant, 3 * USD, "call")
    state = await state_of(connection, budget)
    assert (grant.granted_nano, grant.most_nano) == (10**15, None)
    assert (state.spent_nano, state.leased_nano, state.left_nano) == (3 * USD, 10**15 - 3 * USD, None)
    assert await balances(connection)


async def test_what_comes_back_can_be_leased_again(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    grant = await lease(connection, budget, 10, "a")
    await spend(connection, grant, 3, "call")
    await give_back(connection, grant, 7, "back")
    await give_back(connection, grant, 7, "back")  # told twice, returned once
    assert (await lease(connection, budget, 10, "b")).granted_nano == 7
    assert await state_of(connection, budget) == BudgetState(budget, "total", FOREVER_US, 3, 0, 7, 0, 0)
    assert await balances(connection)


async def test_more_than_a_lease_has_cannot_come_back(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    grant = await lease(connection, budget, 4, "a")
    with pytest.raises(BooksError, match="exceeds_credits"):
        await give_back(connection, grant, 5, "back")
    assert await free_of(connection, grant.lease_account) == 4
    assert await balances(connection)


async def test_gateways_have_leases_of_their_own_on_one_budget(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    mine = await lease(connection, budget, 6, "a", gateway=1)
    theirs = await lease(connection, budget, 6, "b", gateway=2)
    assert (mine.granted_nano, theirs.granted_nano) == (6, 4)
    assert mine.lease_account != theirs.lease_account
    assert mine.budget_account == theirs.budget_account


@pytest.mark.parametrize("window", Window)
async def test_each_window_has_its_own_account_and_money(connection: Connection, window: Window) -> None:
    budget = await make_budget(connection, 10, window)
    period = period_at(budget.terms, NOW_US)
    first = await lease(connection, budget, 8, "first")
    last = await lease(connection, budget, 8, "last", at_us=min(period.end_us - 1, EVENT_US_MAX))
    assert (first.granted_nano, last.granted_nano, first.end_us) == (8, 2, period.end_us)
    if window is not Window.total:
        following = await lease(connection, budget, 8, "following", at_us=period.end_us)
        assert following.granted_nano == 8
        assert following.budget_account != first.budget_account
        assert (await state_of(connection, budget, period.end_us)).leased_nano == 8
    assert (await state_of(connection, budget)).leased_nano == 10


async def test_a_rolling_window_counts_what_a_clock_that_is_ahead_has_leased(connection: Connection) -> None:
    key, _ = await create_key(connection, "app", Terms(10, Window.minute, rolling=True), Scope(), NOW_US)
    ahead = await lease(connection, key.budget, 7, "ahead", at_us=NOW_US + 10 * SECOND_US)
    behind = await lease(connection, key.budget, 10, "behind", gateway=2)
    assert (ahead.granted_nano, behind.granted_nano) == (7, 3)


async def test_overage_is_shown_and_repaid_before_anything_is_leased(connection: Connection) -> None:
    budget = await make_budget(connection, 20)
    grant = await lease(connection, budget, 10, "a")
    await spend(connection, grant, 10, "call")
    await spend(connection, grant, 4, "beyond", overage=True)
    state = await state_of(connection, budget)
    assert (state.spent_nano, state.overage_nano, state.left_nano) == (14, 4, 6)
    assert (await lease(connection, budget, 10, "b")).granted_nano == 6
    state = await state_of(connection, budget)
    assert (state.spent_nano, state.overage_nano, state.left_nano, state.leased_nano) == (14, 0, 6, 6)
    assert await balances(connection)


async def test_overage_beyond_the_budget_is_repaid_as_far_as_it_goes_and_the_rest_later(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    grant = await lease(connection, budget, 7, "a")
    await spend(connection, grant, 7, "call")
    await spend(connection, grant, 5, "beyond", overage=True)
    assert (await lease(connection, budget, 1, "b")).granted_nano == 0
    state = await state_of(connection, budget)
    assert (state.spent_nano, state.overage_nano, state.left_nano) == (12, 2, -2)
    raised = await set_budget(connection, "app", Terms(20, Window.total), NOW_US + 1)
    assert (await lease(connection, raised, 50, "c")).granted_nano == 8
    assert (await state_of(connection, raised)).overage_nano == 0
    assert await balances(connection)


async def test_a_lease_set_aside_is_undecided_money_nobody_can_spend(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    grant = await lease(connection, budget, 6, "a")
    await spend(connection, grant, 2, "call")
    name = await connection.fetchval("select name from accounts where account_id = $1", grant.budget_account)
    await set_aside(connection, OpenLease(TENANT, grant.lease_account, grant.budget_account, 4, name), NOW_US)
    assert await state_of(connection, budget) == BudgetState(budget, "total", FOREVER_US, 2, 0, 0, 0, 4)
    assert (await state_of(connection, budget)).left_nano == 4
    assert (await lease(connection, budget, 10, "b")).granted_nano == 4
    assert await balances(connection)


@pytest.mark.parametrize(
    ("limit", "left", "leasable"),
    [
        (20, 16, 16),  # raised
        (11, 7, 7),
        (10, 6, 6),
        (9, 5, 5),  # lowered
        (4, 0, 0),  # to what was spent
        (1, -3, 0),  # below it: what was spent stays spent
        (None, None, 100),
    ],
)
async def test_a_new_limit_counts_what_was_granted_and_not_what_came_back(
    connection: Connection, limit: int | None, left: int | None, leasable: int
) -> None:
    budget = await make_budget(connection, 10)
    grant = await lease(connection, budget, 10, "a")
    await spend(connection, grant, 4, "call")
    await give_back(connection, grant, 6, "back")
    changed = await set_budget(connection, "app", Terms(limit, Window.total), NOW_US + 1)
    assert (await state_of(connection, changed)).left_nano == left
    assert (await lease(connection, changed, 100, "b")).granted_nano == leasable
    assert await balances(connection)


async def test_a_limit_lowered_while_its_money_is_leased_holds_once_the_lease_is_back(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    grant = await lease(connection, budget, 10, "a")
    await spend(connection, grant, 4, "call")
    lowered = await set_budget(connection, "app", Terms(6, Window.total), NOW_US + 1)
    assert (await state_of(connection, lowered)).left_nano == 2
    await give_back(connection, grant, 6, "back")
    assert (await lease(connection, lowered, 10, "b")).granted_nano == 2
    raised = await set_budget(connection, "app", Terms(12, Window.total), NOW_US + 2)
    assert (await lease(connection, raised, 10, "c")).granted_nano == 6
    assert await balances(connection)


async def test_a_gateway_that_has_not_heard_of_a_new_limit_takes_nothing_from_it(connection: Connection) -> None:
    budget = await make_budget(connection, 10)
    await lease(connection, budget, 1, "a")
    raised = await set_budget(connection, "app", Terms(20, Window.total), NOW_US + 1)
    await lease(connection, budget, 1, "b")
    assert (await lease(connection, raised, 100, "c")).granted_nano == 18
    assert await balances(connection)


async def test_an_unlimited_budget_that_gets_a_limit_counts_what_it_has_spent(connection: Connection) -> None:
    budget = await make_budget(connection, None)
    grant = await lease(connection, budget, 15, "a")
    await spend(connection, grant, 3, "call")
    limited = await set_budget(connection, "app", Terms(10, Window.total), NOW_US + 1)
    await give_back(connection, grant, 12, "back")
    assert (await state_of(connection, limited)).left_nano == 7
    assert (await lease(connection, limited, 100, "b")).granted_nano == 7
    assert await balances(connection)


async def test_a_limit_changed_in_one_window_is_that_of_the_next(connection: Connection) -> None:
    budget = await make_budget(connection, 10, Window.day)
    await lease(connection, budget, 10, "today")
    changed = await set_budget(connection, "app", Terms(3, Window.day), NOW_US)
    assert (await lease(connection, changed, 10, "tomorrow", at_us=NOW_US + DAY_US)).granted_nano == 3


async def test_many_who_ask_at_once_never_get_more_than_there_is(connection: Connection, database_url: str) -> None:
    budget = await make_budget(connection, 100)
    connections = [await connect(database_url) for _ in range(6)]

    async def ask(worker: int) -> int:
        granted = 0
        for round_ in range(8):
            grant = await lease(connections[worker], budget, 7, f"{worker} {round_}", gateway=worker + 1)
            granted += grant.granted_nano
            if grant.granted_nano and round_ % 3 == 0:
                await give_back(connections[worker], grant, grant.granted_nano, f"back {worker} {round_}")
                granted -= grant.granted_nano
        return granted

    granted = await asyncio.gather(*map(ask, range(6)))
    for other in connections:
        await other.close()
    assert 90 < sum(granted) <= 100
    assert (await state_of(connection, budget)).leased_nano == sum(granted)
    assert await balances(connection)


acts = st.one_of(
    st.tuples(st.just("lease"), st.integers(0, 30)),
    st.tuples(st.just("spend"), st.integers(0, 10)),
    st.tuples(st.just("overrun"), st.integers(1, 5)),
    st.tuples(st.just("return"), st.integers(1, 4)),
    st.tuples(st.just("limit"), st.integers(0, 60)),
    st.tuples(st.just("unlimited"), st.just(0)),
    st.tuples(st.just("limit"), st.integers(0, 60)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(acts, max_size=12))
async def test_whatever_is_done_a_budget_that_rests_has_its_limit_less_what_was_spent(
    connection: Connection, steps: list[tuple[str, int]]
) -> None:
    number = await connection.fetchval("select count(*) from keys")
    key, _ = await create_key(connection, f"key {number}", Terms(40, Window.total), Scope(), NOW_US)
    budget, spent, grant = key.budget, 0, None
    for step, (what, amount) in enumerate(steps, 1):
        act = f"{number} {step}"
        if what == "lease":
            grant = await lease(connection, budget, amount, act)
        elif what in ("limit", "unlimited"):
            limit = amount if what == "limit" else None
            budget = await set_budget(connection, key.name, Terms(limit, Window.total), NOW_US + step)
        elif grant is not None:
            free = await free_of(connection, grant.lease_account)
            if what == "spend":
                await spend(connection, grant, min(amount, free), act)
                spent += min(amount, free)
            elif what == "overrun" and not free:
                await spend(connection, grant, amount, act, overage=True)
                spent += amount
            elif what == "return" and free:
                await give_back(connection, grant, -(-free // amount), act)
        state = await state_of(connection, budget)
        assert state.spent_nano == spent
        assert state.left_nano == (None if budget.terms.limit_nano is None else budget.terms.limit_nano - spent)
    if grant is not None and (free := await free_of(connection, grant.lease_account)):
        await give_back(connection, grant, free, f"{number} back")
    granted = (await lease(connection, budget, 1_000, f"{number} last")).granted_nano
    assert granted == (1_000 if budget.terms.limit_nano is None else max(0, budget.terms.limit_nano - spent))
    assert await balances(connection)
