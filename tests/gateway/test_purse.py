"""Purses on a real database: hold and spend inside leases, ask for more, give back, never overspend."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bursar.budgets.budget import Budget, Terms, Window, overdraft_line
from bursar.budgets.purse import DRY_US, IDLE_US
from bursar.core.errors import NoMoney, Unavailable
from bursar.core.ids import IdSource
from bursar.core.money import NANO_PER_USD
from bursar.core.times import DAY_US, FOREVER_US, SECOND_US
from bursar.gateway.control import Control
from bursar.gateway.purse import Purses
from bursar.store.database import Connection
from bursar.store.keys import Scope, create_key
from tests.store.bookkeeping import set_budget, until

NOON = 20_000 * DAY_US + DAY_US // 2
CENT = NANO_PER_USD // 100


class Till:
    """Hold purses with a clock that stands where a test puts it."""

    def __init__(self, control: Control, connection: Connection) -> None:
        self.now_us = NOON
        self.connection = connection
        assert control.place is not None
        self.purses = Purses(control, control.place.gateway, lambda: self.now_us)
        self._ids = IdSource(7)

    async def hold(self, budget: Budget, amount_nano: int, expires_us: int = FOREVER_US) -> tuple[Any, bytes]:
        call_id = self._ids.next(self.now_us // 1_000)
        return (await self.purses.hold([budget], call_id, [amount_nano], expires_us))[0], call_id

    async def free_in_budget(self, budget: Budget) -> int:
        """Return what the database says can still be leased, over all windows."""
        return await self.connection.fetchval(
            "select sum(credits_posted - debits_posted - debits_pending)::bigint from accounts where name like $1",
            f"budget:{budget.budget_id}:%",
        )

    async def settled_down(self) -> None:
        """Wait until every return that was begun is done."""
        while self.purses._tasks:
            await asyncio.gather(*self.purses._tasks)


@pytest.fixture
async def till(database_url: str, connection: Connection) -> AsyncIterator[Till]:
    control = Control(database_url, "gw_test", spool_is_new=True)
    await control.open(NOON)
    till = Till(control, connection)
    yield till
    await till.purses.close()
    await control.close()


def budget(limit_nano: int | None, window: Window = Window.total, name: str = "bud_1") -> Budget:
    return Budget(name, 1, Terms(limit_nano, window))


async def test_a_hold_takes_a_slice_and_the_next_needs_no_database(till: Till) -> None:
    purse = budget(100 * CENT)
    first, _ = await till.hold(purse, CENT // 100)
    asked = till.purses.top_ups
    second, _ = await till.hold(purse, CENT // 100)
    assert first is second
    assert till.purses.top_ups == asked == 1
    assert await till.free_in_budget(purse) < 100 * CENT


async def test_a_hold_beyond_the_limit_is_refused_with_what_is_spent_held_and_needed(till: Till) -> None:
    purse = budget(10 * CENT, Window.day)
    lease, call_id = await till.hold(purse, 6 * CENT)
    lease.settle(call_id, 2 * CENT)
    await till.hold(purse, 5 * CENT)
    with pytest.raises(NoMoney) as caught:
        await till.hold(purse, 4 * CENT)
    assert caught.value.details == {
        "spent_usd": "0.02",
        "held_usd": "0.05",
        "limit_usd": "0.10",
        "needed_usd": "0.04",
        "budget": "",
        "resets_at": "2024-10-05T00:00:00+00:00",
    }
    await till.hold(purse, 3 * CENT)  # exactly what is left


async def test_of_many_at_once_exactly_as_many_are_held_as_fit(till: Till) -> None:
    purse = budget(100 * CENT)
    results = await asyncio.gather(*(till.hold(purse, CENT) for _ in range(500)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, NoMoney)]
    assert len(results) - len(refused) == 100
    assert len(refused) == 400


async def test_a_budget_of_nothing_allows_nothing_and_one_without_limit_everything(till: Till) -> None:
    with pytest.raises(NoMoney):
        await till.hold(budget(0), 1)
    for _ in range(3):
        await till.hold(budget(None, name="bud_2"), 10**15)


async def test_a_settled_call_makes_room_at_once(till: Till) -> None:
    purse = budget(10 * CENT)
    lease, call_id = await till.hold(purse, 10 * CENT)
    with pytest.raises(NoMoney):
        await till.hold(purse, CENT)
    assert lease.settle(call_id, 4 * CENT) == 4 * CENT
    await till.hold(purse, 6 * CENT)


async def test_a_dry_budget_is_not_asked_again_for_a_while(till: Till) -> None:
    purse = budget(CENT)
    for _ in range(5):
        with pytest.raises(NoMoney):
            await till.hold(purse, 2 * CENT)
    assert till.purses.top_ups == 1
    till.now_us += DRY_US
    with pytest.raises(NoMoney):
        await till.hold(purse, 2 * CENT)
    assert till.purses.top_ups == 2


async def test_a_raised_limit_is_lent_at_once_and_a_lowered_one_keeps_what_is_spent(till: Till) -> None:
    key, _ = await create_key(till.connection, "ana", Terms(CENT, Window.total), Scope(), NOON)
    lease, call_id = await till.hold(key.budget, CENT)
    with pytest.raises(NoMoney):
        await till.hold(key.budget, CENT)
    raised = await set_budget(till.connection, "ana", Terms(10 * CENT, Window.total), NOON + 1)
    till.purses.changed(raised)
    await till.hold(raised, 9 * CENT)
    lease.settle(call_id, CENT)
    lowered = await set_budget(till.connection, "ana", Terms(5 * CENT, Window.total), NOON + 2)
    till.purses.changed(lowered)
    with pytest.raises(NoMoney):
        await till.hold(lowered, 1)


async def test_each_window_has_its_own_money_and_a_call_settles_where_it_began(till: Till) -> None:
    purse = budget(10 * CENT, Window.day)
    yesterday, call_id = await till.hold(purse, 8 * CENT)
    till.now_us += DAY_US
    today, _ = await till.hold(purse, 8 * CENT)
    assert today.account_id != yesterday.account_id
    assert yesterday.settle(call_id, 5 * CENT) == 5 * CENT
    assert today.available_nano + today.held_nano == 10 * CENT


async def test_an_idle_lease_goes_back(till: Till) -> None:
    purse = budget(100 * CENT)
    lease, call_id = await till.hold(purse, CENT)
    lease.settle(call_id, 0)
    assert await till.free_in_budget(purse) < 100 * CENT
    till.now_us += IDLE_US + SECOND_US
    till.purses.sweep(till.now_us)
    await till.settled_down()
    assert await till.free_in_budget(purse) == 100 * CENT


async def test_a_hold_that_outlives_its_call_expires_and_its_money_returns(till: Till) -> None:
    purse = budget(10 * CENT)
    lease, call_id = await till.hold(purse, 10 * CENT, till.now_us + SECOND_US)
    till.purses.sweep(till.now_us)
    assert lease.held_nano == 10 * CENT
    till.now_us += SECOND_US
    till.purses.sweep(till.now_us)
    assert (lease.held_nano, lease.available_nano) == (0, 10 * CENT)
    assert lease.settle(call_id, 3 * CENT) == 3 * CENT  # charged all the same


async def test_a_call_under_way_keeps_its_hold_however_long_it_takes(till: Till) -> None:
    purse = budget(10 * CENT, Window.day)
    lease, call_id = await till.hold(purse, 10 * CENT, till.now_us + SECOND_US)
    for _ in range(2):  # in the lease at hand, then in one of a past window
        till.now_us += DAY_US
        till.purses.sweep(till.now_us, {call_id})
        assert lease.held_nano == 10 * CENT
    assert lease.settle(call_id, 9 * CENT) == 9 * CENT


async def test_at_the_end_every_lease_is_given_back(till: Till) -> None:
    budgets = [budget(50 * CENT, name=f"bud_{number}") for number in range(5)]
    for each in budgets:
        lease, call_id = await till.hold(each, CENT)
        lease.settle(call_id, 0)
    await till.purses.close()
    assert [await till.free_in_budget(each) for each in budgets] == [50 * CENT] * 5


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_order_spending_and_holds_never_exceed_the_limit(till: Till, seed: int) -> None:
    rng, limit_nano = random.Random(seed), 40 * CENT
    purse, spent, refused = budget(limit_nano), 0, 0

    async def call() -> None:
        nonlocal spent, refused
        most = rng.randrange(1, 3 * CENT)
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        try:
            lease, call_id = await till.hold(purse, most)
        except NoMoney:
            refused += 1
            return
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        spent += lease.settle(call_id, rng.randrange(most + 1))
        assert spent <= limit_nano

    for _ in range(4):
        await asyncio.gather(*(call() for _ in range(40)))
        till.now_us += DRY_US
    await till.purses.close()
    assert refused > 0
    assert limit_nano * 3 // 4 < spent
    # What was spent is still in the lease, for the journal to move on; all else is back in the budget.
    assert await till.free_in_budget(purse) == limit_nano - spent


async def test_calls_that_read_the_same_budget_apart_all_get_their_money(till: Till) -> None:
    """A key's first calls each look it up: the same budget, read several times."""
    asked = asyncio.gather(*(till.hold(budget(100 * CENT), CENT // 100) for _ in range(12)))
    held = await asyncio.wait_for(asked, 5)
    assert len({lease for lease, _ in held}) == 1
    assert held[0][0].held_nano == 12 * (CENT // 100)
    assert till.purses.top_ups <= 2


async def test_what_is_granted_while_the_purses_close_goes_back_as_well(till: Till) -> None:
    purse = budget(100 * CENT)
    asking = asyncio.create_task(till.hold(purse, CENT))
    await until(lambda: bool(till.purses._topping))
    asking.cancel()
    await till.purses.close()
    assert await till.free_in_budget(purse) == 100 * CENT


async def test_a_line_behind_a_budget_follows_it_to_another_window(till: Till) -> None:
    daily = Terms(10 * CENT, Window.day, overdraft_nano=5 * CENT)
    key, _ = await create_key(till.connection, "ana", daily, Scope(), NOON)
    await till.hold(overdraft_line(key.budget), 5 * CENT)
    monthly = msgspec.structs.replace(daily, window=Window.month)
    changed = await set_budget(till.connection, "ana", monthly, NOON + 1)
    till.purses.changed(changed)
    await till.hold(overdraft_line(changed), 5 * CENT)
    till.now_us += DAY_US
    with pytest.raises(NoMoney):  # a new day is no new month
        await till.hold(overdraft_line(changed), CENT)


async def test_a_budget_of_a_run_changes_with_the_budget_it_is_made_from(till: Till) -> None:
    base = budget(10 * CENT)
    runs = [msgspec.structs.replace(base, budget_id=f"bud_1/{run}") for run in "ab"]
    for run in runs:
        await till.hold(run, 8 * CENT)
    till.purses.changed(budget(20 * CENT))
    for run in runs:
        await till.hold(run, 12 * CENT)
        with pytest.raises(NoMoney):
            await till.hold(run, CENT)


async def test_a_call_holds_in_all_its_budgets_or_in_none(till: Till) -> None:
    wide, narrow = budget(100 * CENT, name="wide"), budget(3 * CENT, name="narrow")
    calls = [IdSource(8).next(NOON // 1_000 + number) for number in range(40)]

    async def hold(call_id: bytes) -> list[Any]:
        return await till.purses.hold([wide, narrow], call_id, [CENT, CENT], FOREVER_US)

    results = await asyncio.gather(*map(hold, calls), return_exceptions=True)
    held = [slices for slices in results if isinstance(slices, list)]
    assert len(held) == 3
    assert all(isinstance(result, NoMoney) for result in results if not isinstance(result, list))
    assert [lease.held_nano for lease in held[0]] == [3 * CENT, 3 * CENT]
    for call_id, slices in zip(calls, results, strict=True):
        for lease in slices if isinstance(slices, list) else []:
            lease.release(call_id)
    await till.purses.close()
    assert [await till.free_in_budget(each) for each in (wide, narrow)] == [100 * CENT, 3 * CENT]


async def test_what_other_gateways_have_free_comes_back_to_a_call_that_needs_it(till: Till, database_url: str) -> None:
    purse = budget(10 * CENT)
    other = Control(database_url, "gw_other", spool_is_new=True)
    await other.open(NOON)
    assert other.place is not None
    theirs = Purses(other, other.place.gateway, lambda: till.now_us)
    call_id = IdSource(9).next(NOON // 1_000)
    (lease,) = await theirs.hold([purse], call_id, [CENT], FOREVER_US)
    asked = asyncio.create_task(till.hold(purse, 9 * CENT))
    await asyncio.sleep(0.01)
    theirs.recall(purse.budget_id)
    await asyncio.wait_for(asked, 5)
    lease.release(call_id)
    await theirs.close()
    await other.close()


async def test_what_a_call_released_goes_back_once_the_books_know_that_it_has_ended(till: Till) -> None:
    known, purse = asyncio.Event(), budget(10 * CENT)

    async def booked() -> None:
        await known.wait()

    till.purses._booked = booked
    lease, call_id = await till.hold(purse, 6 * CENT)
    lease.settle(call_id, 2 * CENT)
    till.purses.recall(purse.budget_id)
    await asyncio.sleep(0.05)
    assert await till.free_in_budget(purse) == 0
    known.set()
    await till.settled_down()
    assert await till.free_in_budget(purse) == 8 * CENT


async def test_a_budget_that_cannot_be_asked_in_time_refuses_and_leaves_no_error_behind(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context["message"]))
    monkeypatch.setattr("bursar.gateway.purse.ASK_S", 0.05)
    assert till.purses._control._connection is not None
    await till.purses._control._connection.close()
    with pytest.raises(Unavailable, match="the database is away"):
        await till.hold(budget(100 * CENT), CENT)
    tasks = list(till.purses._tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gc.collect()
    assert unheard == []


async def test_what_a_call_leaves_in_a_lease_of_earlier_terms_goes_back_at_a_stop(till: Till) -> None:
    purse = budget(100 * CENT)
    lease, call_id = await till.hold(purse, CENT)
    till.purses.changed(budget(200 * CENT))
    lease.release(call_id)
    await till.purses.close()
    assert await till.free_in_budget(purse) == 100 * CENT
