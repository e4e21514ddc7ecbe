"""The budget tree in the books: who stands below whom, on which terms, and where the money of each budget is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from bookkeeping import NOW_US, USD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.budgets.budget import UNLIMITED, Budget, Enforcement, Terms, Window, period_at, read_limit
from bursar.budgets.purse import Ask
from bursar.budgets.tree import RUN, Exhausted, Holder, Holds
from bursar.core.errors import OperatorError
from bursar.core.times import DAY_US, FOREVER_US, HOUR_US, MINUTE_US, SECOND_US
from bursar.ledger.chart import Code, Unit, used_name
from bursar.ledger.transfer import Kind, Reason, Status, Transfer
from bursar.store.accounts import Opening, book, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection, connect
from bursar.store.holders import (
    NAME_CHARS_MAX,
    TENANT,
    BudgetState,
    Place,
    Policies,
    budget_states,
    create_holder,
    find_holder,
    move_money,
    read_tree,
    set_budgets,
    set_frozen,
    set_policies,
)
from bursar.store.keys import Scope, all_keys, create_key
from bursar.store.leases import CONTROL_CHAIN, Grant, OpenLease, id_of, open_lease, return_lease

TEAM = Place("team")
TEN = Terms(10)
GATEWAY = 1


@pytest.fixture
async def books(connection: Connection) -> AsyncIterator[Connection]:
    """Give a connection, and expect the books to balance after whatever was done."""
    yield connection
    assert (await audit(connection)).findings == []


async def make(connection: Connection, name: str, *terms: Terms | str, **place: Any) -> Holder:
    wanted = [read_limit(each) if isinstance(each, str) else each for each in terms]
    async with connection.transaction():
        return await create_holder(connection, name, Place(place.pop("kind", "team"), **place), wanted, NOW_US)


async def lease(
    connection: Connection, budget: Budget, want: int, act: str, at_us: int = NOW_US, gateway: int = GATEWAY
) -> Grant:
    return await open_lease(connection, Ask(budget, want, want), gateway, id_of(act), at_us)


async def spend(connection: Connection, grant: Grant, amount: int, act: str, at_us: int = NOW_US) -> None:
    """Use of a lease what a call uses."""
    used, _ = await open_account(
        connection, TENANT, Opening(used_name(grant.unit, GATEWAY), Code.used, unit=grant.unit), at_us
    )
    transfer = Transfer(id_of(act), grant.lease_account, used, amount, Kind.post, Reason.call, at_us, unit=grant.unit)
    async with connection.transaction():
        assert await book(connection, TENANT, CONTROL_CHAIN, [transfer]) == [Status.created]


async def give_back(connection: Connection, grant: Grant, amount: int, act: str, at_us: int = NOW_US) -> None:
    rest = OpenLease(TENANT, grant.lease_account, grant.budget_account, amount, unit=grant.unit)
    await return_lease(connection, rest, id_of(act), at_us)


async def state_of(connection: Connection, budget: Budget, at_us: int = NOW_US) -> BudgetState:
    return (await budget_states(connection, [budget], at_us))[0]


async def test_a_holder_is_read_back_as_it_was_created(books: Connection) -> None:
    org = await make(books, "org", "100.00/month", kind="organisation")
    policies = Policies(Exhausted.smaller, Holds.soft, 4, 9, [50, 100])
    terms = [
        Terms(5 * USD, Window.day, zone="Asia/Kolkata", enforcement=Enforcement.grace, grace_nano=3, overdraft_nano=2),
        Terms(600, Window.minute, Unit.request, rolling=True),
    ]
    made = await make(books, "team", *terms, parent="org", match={"f": "s"}, each="user", policies=policies)
    assert made == Holder(
        *(made.holder_id, TENANT, "team", "team"),
        (
            Budget(made.holder_id, TENANT, terms[0], "team"),
            Budget(made.budgets[1].budget_id, TENANT, terms[1], "team"),
        ),
        *(org.holder_id, {"f": "s"}, "user", False, Exhausted.smaller, Holds.soft, 4, 9, (50, 100)),
    )
    tree = await read_tree(books, TENANT)
    assert [holder.name for holder in tree.in_order()] == ["org", "team"]
    assert tree.holders[made.holder_id] == made
    assert (await read_tree(books, TENANT + 1)).holders == {}


async def test_holders_nest_as_deep_as_is_wanted(books: Connection) -> None:
    await make(books, "0", TEN)
    for depth in range(1, 30):
        await make(books, f"{depth}", TEN, parent=f"{depth - 1}")
    key, _ = await create_key(books, "key", TEN, Scope(), NOW_US, "29")
    assert [holder.name for holder in key.path.holders] == ["key", *map(str, reversed(range(30)))]
    assert len(key.path.claim.budgets) == 31


async def test_a_name_is_given_once_among_keys_and_budgets(books: Connection) -> None:
    await make(books, "a", TEN)
    await create_key(books, "b", TEN, Scope(), NOW_US)
    for name in ("a", "b"):
        with pytest.raises(OperatorError, match=f"'{name}' exists already: choose another name"):
            await make(books, name, TEN)
        with pytest.raises(OperatorError, match=f"'{name}' exists already"):
            await create_key(books, name, TEN, Scope(), NOW_US)
    counts = [await books.fetchval(f"select count(*) from {table}") for table in ("holders", "budgets", "keys")]
    assert counts == [2, 2, 1]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x07", "x" * (NAME_CHARS_MAX + 1)])
async def test_what_is_no_name_is_refused(books: Connection, name: str) -> None:
    with pytest.raises(OperatorError, match="a name has 1 to 128 printable characters"):
        await make(books, name, TEN)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        (Terms(1, Window.day, zone="Mars/Base"), "no time zone 'Mars/Base': expected a name such as Europe/Berlin"),
        (Terms(1, rolling=True), "no window that could roll"),
        (Terms(1, grace_nano=1), "a grace needs a limit that is enforced with grace"),
    ],
)
async def test_terms_that_cannot_be_are_refused_and_leave_nothing(
    books: Connection, terms: Terms, complaint: str
) -> None:
    with pytest.raises(OperatorError, match=complaint):
        await make(books, "a", TEN, terms)
    await make(books, "b", TEN)
    with pytest.raises(OperatorError, match=complaint):
        await set_budgets(books, "b", [TEN, terms], NOW_US)
    assert [each.name for each in (await read_tree(books)).holders.values()] == ["b"]
    assert [budget.terms for budget in (await find_holder(books, "b")).budgets] == [TEN]


async def test_nobody_stands_below_whoever_is_not_there_or_below_a_part(books: Connection) -> None:
    with pytest.raises(OperatorError, match="no budget or key named 'nobody': see `bursar budget show`"):
        await make(books, "a", TEN, parent="nobody")
    await make(books, "part", TEN, each=RUN)
    await make(books, "part of part", TEN, parent="part", each="user")
    with pytest.raises(OperatorError, match="'part' is of some calls only: nobody stands below it but parts of it"):
        await make(books, "a", TEN, parent="part")
    with pytest.raises(OperatorError, match="'part' is of some calls only"):
        await create_key(books, "a", TEN, Scope(), NOW_US, "part")
    assert await books.fetchval("select count(*) from holders") == 2


async def test_a_holder_is_found_by_name_by_id_and_by_its_keys_id(books: Connection) -> None:
    team = await make(books, "team", TEN)
    key, _ = await create_key(books, "app", TEN, Scope(), NOW_US, "team")
    assert await find_holder(books, "team") == await find_holder(books, team.holder_id) == team
    assert await find_holder(books, "app") == await find_holder(books, key.key_id) == key.holder
    for name in ("", "key_0000000000000000", "Team"):
        with pytest.raises(OperatorError, match="no budget or key named"):
            await find_holder(books, name)


async def test_what_is_rolled_back_leaves_nothing(books: Connection) -> None:
    """A process that ends in the middle of a transaction has done nothing."""
    team = await make(books, "team", TEN, Terms(5, Window.day))
    before = await books.fetch("select * from budgets order by budget_id")
    change = books.transaction()
    await change.start()
    await create_holder(books, "other", TEAM, [TEN], NOW_US)
    await set_budgets(books, "team", [Terms(99)], NOW_US)
    await move_money(books, ("team", "other"), 5, id_of("move"), NOW_US)
    await lease(books, team.budgets[0], 5, "a")
    await change.rollback()
    assert (await read_tree(books)).holders == {team.holder_id: team}
    assert await books.fetch("select * from budgets order by budget_id") == before
    assert await books.fetchval("select (select count(*) from transfers) + (select count(*) from accounts)") == 0


DAY, MONTH, ROLLING = Terms(1, Window.day), Terms(2, Window.month), Terms(3, Window.day, rolling=True)
REQUESTS, TOKENS = Terms(4, Window.minute, Unit.request), Terms(5, Window.minute, Unit.token)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ([DAY], [Terms(9, Window.day)], [0]),
        ([DAY], [MONTH], [0]),  # another window, the same money
        ([DAY, MONTH], [MONTH, DAY], [1, 0]),
        ([DAY, MONTH], [Terms(9, Window.month)], [1]),
        ([DAY, MONTH], [Terms(9, Window.week)], [0]),
        ([DAY, ROLLING], [ROLLING], [1]),
        ([DAY], [Terms(1, Window.day, zone="Europe/Berlin"), DAY], [None, 0]),
        ([DAY], [DAY, MONTH], [0, None]),
        ([DAY, REQUESTS], [TOKENS, REQUESTS], [None, 1]),
        ([REQUESTS], [DAY], [None]),
        ([DAY, REQUESTS], [], []),
        ([DAY], [DAY, DAY], [0, None]),
    ],
)
async def test_new_limits_go_on_where_the_like_of_them_were(
    books: Connection, before: list[Terms], after: list[Terms], kept: list[int | None]
) -> None:
    old = [budget.budget_id for budget in (await make(books, "team", *before)).budgets]
    new = (await set_budgets(books, "team", after, NOW_US + 1)).budgets
    found = {budget.terms: budget.budget_id for budget in new}
    assert len(new) == len(after)
    assert len({budget.budget_id for budget in new}) == len(after)
    if len(found) == len(after):
        assert [old.index(found[each]) if found[each] in old else None for each in after] == kept
    assert await books.fetchval("select count(*) from budgets") == len(after)


async def test_what_a_key_costs_stays_counted_whatever_its_limits(books: Connection) -> None:
    key, _ = await create_key(books, "app", TEN, Scope(), NOW_US)
    await set_budgets(books, "app", [REQUESTS], NOW_US + 1)
    (now,) = await all_keys(books)
    assert [budget.terms for budget in now.holder.budgets] == [UNLIMITED, REQUESTS]
    assert now.budget.budget_id == key.budget.budget_id


async def test_budgets_of_whoever_is_not_there_cannot_be_set(books: Connection) -> None:
    for act in (
        set_budgets(books, "nobody", [TEN], NOW_US),
        set_policies(books, "nobody", Policies()),
        set_frozen(books, "nobody", NOW_US, frozen=True),
        move_money(books, ("nobody", "nobody"), 1, id_of("m"), NOW_US),
    ):
        with pytest.raises(OperatorError, match="no budget or key named 'nobody'"):
            await act


async def test_policies_change_one_by_one(books: Connection) -> None:
    await make(books, "team", TEN)
    await set_policies(books, "team", Policies(exhausted=Exhausted.smaller, alerts_percent=[80]))
    team = await set_policies(books, "team", Policies(holds=Holds.expected, depth_max=3))
    assert (team.exhausted, team.holds, team.depth_max, team.repeats_max) == ("smaller", "expected", 3, None)
    assert team.alerts_percent == (80,)
    assert (await set_policies(books, "team", Policies(alerts_percent=[]))).alerts_percent == ()


async def test_whoever_is_frozen_is_so_until_thawed(books: Connection) -> None:
    await make(books, "team", TEN)
    await create_key(books, "app", TEN, Scope(), NOW_US, "team")
    for frozen in (True, True, False, False):
        assert (await set_frozen(books, "team", NOW_US, frozen=frozen)).frozen is frozen
        assert (await all_keys(books))[0].path.claim.frozen == ("team" if frozen else "")


async def test_every_change_is_announced_once_it_is_made(books: Connection, database_url: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await connect(database_url)
    await listener.add_listener("bursar_changed", lambda *args: heard.put_nowait(str(args[3])))
    team = await make(books, "team", TEN)
    await make(books, "other", TEN)
    name = f"holder:{team.holder_id}"
    assert await asyncio.wait_for(heard.get(), 5) == name
    assert (await asyncio.wait_for(heard.get(), 5)).startswith("holder:")
    for act in (
        set_frozen(books, "team", NOW_US, frozen=True),
        set_frozen(books, "team", NOW_US, frozen=False),
        set_policies(books, "team", Policies(depth_max=1)),
        set_budgets(books, "team", [DAY], NOW_US),
    ):
        await act
        assert await asyncio.wait_for(heard.get(), 5) == name
    await set_budgets(books, "team", [TEN], NOW_US)
    assert await asyncio.wait_for(heard.get(), 5) == name
    await move_money(books, ("team", "other"), 1, id_of("m"), NOW_US)
    assert await asyncio.wait_for(heard.get(), 5) == "holder:"
    await listener.close()


async def test_money_moves_from_one_window_to_another_and_nothing_is_lost(books: Connection) -> None:
    source, target = await make(books, "a", Terms(10, Window.day)), await make(books, "b", Terms(5, Window.month))
    await move_money(books, ("a", "b"), 4, id_of("m"), NOW_US)
    await move_money(books, ("a", "b"), 4, id_of("m"), NOW_US)  # told twice, moved once
    await move_money(books, ("b", "a"), 1, id_of("back"), NOW_US)
    a, b = [await state_of(books, each.budgets[0]) for each in (source, target)]
    assert [(state.moved_nano, state.left_nano, state.spent_nano) for state in (a, b)] == [(-3, 7, 0), (3, 8, 0)]
    grants = [await lease(books, each.budgets[0], 100, each.name) for each in (source, target)]
    assert [grant.granted_nano for grant in grants] == [7, 8]
    await spend(books, grants[1], 8, "spent")
    after = await state_of(books, target.budgets[0])
    assert (after.spent_nano, after.left_nano, after.leased_nano) == (8, 0, 0)
    tomorrow = await state_of(books, source.budgets[0], NOW_US + DAY_US)
    assert (tomorrow.moved_nano, tomorrow.left_nano) == (0, 10)


@pytest.mark.parametrize(
    ("names", "amount", "complaint"),
    [
        (("a", "b"), 11, "'a' cannot give so much: exceeds credits"),
        (("leased", "b"), 3, "'leased' cannot give so much: exceeds credits"),
        (("free", "b"), 1, "'free' has no limited budget in USD of a calendar window: nothing can be moved"),
        (("a", "free"), 1, "'free' has no limited budget"),
        (("a", "rolling"), 1, "'rolling' has no limited budget in USD"),
        (("counted", "b"), 1, "'counted' has no limited budget in USD"),
        (("soft", "b"), 1, "'soft' has no limited budget"),
        (("a", "runs"), 1, "'runs' has a budget for each run or value: nothing can be moved"),
        (("a", "a"), 1, "cannot give so much: accounts are the same"),
    ],
)
async def test_what_cannot_be_moved_is_refused_and_stays(
    books: Connection, names: tuple[str, str], amount: int, complaint: str
) -> None:
    for name, terms in {
        "a": TEN,
        "b": TEN,
        "leased": TEN,
        "free": UNLIMITED,
        "rolling": ROLLING,
        "counted": REQUESTS,
        "soft": Terms(5, enforcement=Enforcement.soft),
    }.items():
        await make(books, name, terms)
    await make(books, "runs", TEN, each=RUN)
    await lease(books, (await find_holder(books, "leased")).budgets[0], 8, "l")
    with pytest.raises(OperatorError, match=complaint):
        await move_money(books, names, amount, id_of("m"), NOW_US)
    for name in names:
        assert (await state_of(books, (await find_holder(books, name)).budgets[0])).moved_nano == 0


async def test_a_limit_is_changed_after_money_has_moved(books: Connection) -> None:
    source = (await make(books, "a", TEN)).budgets[0]
    await make(books, "b", TEN)
    await move_money(books, ("a", "b"), 4, id_of("m"), NOW_US)
    for limit, left in ((20, 16), (5, 1), (4, 0), (10, 6)):
        source = (await set_budgets(books, "a", [Terms(limit)], NOW_US + limit)).budgets[0]
        assert (await state_of(books, source)).left_nano == left
    grant = await lease(books, source, 100, "l")
    assert grant.granted_nano == 6
    received = (await set_budgets(books, "b", [Terms(1)], NOW_US)).budgets[0]
    assert (await lease(books, received, 100, "l2")).granted_nano == 5


@pytest.mark.parametrize(
    ("terms", "unit"),
    [(Terms(10, Window.minute, Unit.request), Unit.request), (Terms(10, Window.day, Unit.token), Unit.token)],
)
async def test_counted_units_are_kept_apart_from_money(books: Connection, terms: Terms, unit: Unit) -> None:
    holder = await make(books, "team", TEN, terms)
    first, second = [await lease(books, budget, 6, budget.budget_id) for budget in holder.budgets]
    assert (first.unit, second.unit) == (Unit.usd, unit)
    await spend(books, second, 4, "used")
    states = await budget_states(books, holder.budgets, NOW_US)
    assert [(state.spent_nano, state.leased_nano, state.left_nano) for state in states] == [(0, 6, 10), (4, 2, 6)]
    period = period_at(terms, NOW_US)
    assert (states[1].period, states[1].end_us) == (period.name, period.end_us)
    again = await lease(books, holder.budgets[1], 10, "next", period.end_us)
    assert again.granted_nano == 10


ROLLS = [
    (Window.minute, MINUTE_US, 10 * SECOND_US),
    (Window.hour, HOUR_US, MINUTE_US),
    (Window.day, DAY_US, DAY_US // 48),
    (Window.week, 7 * DAY_US, 4 * HOUR_US),
    (Window.month, 30 * DAY_US, 12 * HOUR_US),
]


@pytest.mark.parametrize(("window", "whole_us", "piece_us"), ROLLS)
@pytest.mark.parametrize("unit", [Unit.usd, Unit.request])
async def test_a_rolling_limit_counts_what_it_has_seen_last(
    books: Connection, window: Window, whole_us: int, piece_us: int, unit: Unit
) -> None:
    budget = (await make(books, "team", Terms(10, window, unit, rolling=True))).budgets[0]
    first = await lease(books, budget, 7, "1")
    await spend(books, first, 5, "5")
    await give_back(books, first, 2, "2")
    half = NOW_US + whole_us // 2
    second = await lease(books, budget, 9, "half", half)
    assert second.granted_nano == 5
    await spend(books, second, 5, "half spent", half)
    for at_us in (half, half + piece_us, NOW_US + whole_us):
        state = await state_of(books, budget, at_us)
        assert (state.spent_nano, state.left_nano, state.leased_nano) == (10, 0, 0)
        assert (await lease(books, budget, 1, f"none {at_us}", at_us)).granted_nano == 0
    later = NOW_US + whole_us + piece_us  # the first five are out of sight, the second five are not
    assert (await state_of(books, budget, later)).left_nano == 5
    assert (await lease(books, budget, 9, "room", later)).granted_nano == 5
    assert (await state_of(books, budget, later)).left_nano == 5
    last = later + whole_us + piece_us
    assert (await lease(books, budget, 99, "all", last)).granted_nano == 10


async def test_what_a_past_piece_gets_back_is_there_again_at_once(books: Connection) -> None:
    budget = (await make(books, "team", "0.00000001/minute rolling")).budgets[0]
    grant = await lease(books, budget, 10, "1")
    later = NOW_US + 20 * SECOND_US
    assert (await lease(books, budget, 10, "2", later)).granted_nano == 0
    await give_back(books, grant, 6, "back", later)
    assert (await lease(books, budget, 10, "3", later)).granted_nano == 6
    assert (await state_of(books, budget, later)).left_nano == 10


async def test_a_rolling_limit_that_was_lowered_and_raised_is_what_it_says(books: Connection) -> None:
    budget = (await make(books, "team", Terms(10, Window.minute, rolling=True))).budgets[0]
    grant = await lease(books, budget, 8, "1")
    await spend(books, grant, 1, "spent")
    await give_back(books, grant, 7, "back")
    lowered = (await set_budgets(books, "team", [Terms(4, Window.minute, rolling=True)], NOW_US + 1)).budgets[0]
    assert (await state_of(books, lowered)).left_nano == 3
    later = NOW_US + 20 * SECOND_US
    assert (await state_of(books, lowered, later)).left_nano == 3
    assert (await lease(books, lowered, 10, "2", later)).granted_nano == 3


acts = st.lists(
    st.tuples(st.sampled_from(["spend", "wait", "lease"]), st.integers(0, 14), st.sampled_from([1, 2, 5, 8])),
    max_size=14,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=acts)
async def test_no_span_of_a_window_sees_more_than_a_rolling_limit(
    connection: Connection, steps: list[tuple[str, int, int]]
) -> None:
    number = await connection.fetchval("select count(*) from holders")
    budget = (await make(connection, f"team {number}", Terms(10, Window.minute, rolling=True))).budgets[0]
    now_us, spent = NOW_US, list[tuple[int, int]]()
    for step, (what, amount, pieces) in enumerate(steps):
        if what == "wait":
            now_us += pieces * 10 * SECOND_US - amount
            continue
        grant = await lease(connection, budget, amount, f"{number} {step}", now_us)
        seen = sum(cost for at_us, cost in spent if at_us > now_us - MINUTE_US)
        assert grant.granted_nano <= 10 - seen
        long_ago = all(at_us < now_us - MINUTE_US - 10 * SECOND_US for at_us, _ in spent)
        assert not long_ago or grant.granted_nano == min(amount, 10)
        used = grant.granted_nano if what == "spend" else 0
        if used:
            await spend(connection, grant, used, f"{number} {step} s", now_us)
            spent.append((now_us, used))
        if grant.granted_nano - used:
            await give_back(connection, grant, grant.granted_nano - used, f"{number} {step} b", now_us)
    assert (await audit(connection)).findings == []


async def test_a_soft_limit_refuses_nothing_and_is_counted(books: Connection) -> None:
    budget = (await make(books, "team", Terms(5, enforcement=Enforcement.soft))).budgets[0]
    grant = await lease(books, budget, 100, "1")
    assert (grant.granted_nano, grant.most_nano) == (100, None)
    await spend(books, grant, 9, "spent")
    state = await state_of(books, budget)
    assert (state.spent_nano, state.left_nano, state.leased_nano) == (9, None, 91)


async def test_a_grace_is_room_beyond_the_limit(books: Connection) -> None:
    budget = (await make(books, "team", Terms(5, enforcement=Enforcement.grace, grace_nano=2))).budgets[0]
    grant = await lease(books, budget, 100, "1")
    assert (grant.granted_nano, grant.most_nano) == (7, 7)
    hard = (await set_budgets(books, "team", [Terms(5)], NOW_US + 1)).budgets[0]
    assert (await state_of(books, hard)).left_nano == 5
    await spend(books, grant, 6, "spent")
    await give_back(books, grant, 1, "back")
    assert (await state_of(books, hard)).left_nano == -1
    assert (await lease(books, hard, 1, "2")).granted_nano == 0


async def test_whatever_the_limit_becomes_while_money_is_out_what_was_spent_counts(books: Connection) -> None:
    budget = (await make(books, "team", UNLIMITED)).budgets[0]
    grant = await lease(books, budget, 50, "1")
    await spend(books, grant, 12, "spent")
    budget = (await set_budgets(books, "team", [Terms(20)], NOW_US + 1)).budgets[0]
    assert (await state_of(books, budget)).left_nano == 8
    assert (await lease(books, budget, 1, "2")).granted_nano == 0  # 38 are out
    await give_back(books, grant, 38, "back")
    assert (await lease(books, budget, 99, "3")).granted_nano == 8
    budget = (await set_budgets(books, "team", [UNLIMITED], NOW_US + 2)).budgets[0]
    assert (await lease(books, budget, 99, "4")).granted_nano == 99
    assert (await state_of(books, budget)).spent_nano == 12


async def test_every_run_has_its_own_money_on_the_terms_in_force(books: Connection) -> None:
    team = await make(books, "runs", TEN, each=RUN)
    (base,) = team.budgets
    one, other = (msgspec.structs.replace(base, budget_id=f"{base.budget_id}/r{n}") for n in (1, 2))
    assert (await lease(books, one, 8, "1")).granted_nano == 8
    assert (await lease(books, other, 99, "2")).granted_nano == 10
    await set_budgets(books, "runs", [Terms(15)], NOW_US + 1)  # gateways that have not heard of it ask as before
    assert (await lease(books, one, 99, "3")).granted_nano == 7
    states = await budget_states(books, [one, other, base], NOW_US)
    assert [(state.leased_nano, state.left_nano) for state in states] == [(15, 10), (10, 10), (0, 10)]


async def test_states_of_many_budgets_are_told_in_the_order_asked(books: Connection) -> None:
    made = [await make(books, f"team {n}", Terms(10 + n), Terms(5, Window.day)) for n in range(4)]
    budgets = [budget for holder in reversed(made) for budget in holder.budgets]
    await lease(books, made[2].budgets[1], 3, "1")
    states = await budget_states(books, budgets, NOW_US)
    assert [state.budget for state in states] == budgets
    assert [state.leased_nano for state in states] == [0, 0, 0, 3, 0, 0, 0, 0]
    assert states[0].end_us == FOREVER_US
