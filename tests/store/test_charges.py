"""Work that is no call is charged once, to every budget it counts against, and always in full."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from bookkeeping import NOW_US, USD, Shop, open_shop, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.budgets.budget import UNLIMITED, Enforcement, Terms, Window
from bursar.budgets.purse import Ask
from bursar.core.errors import BadRequest, BooksError, Conflict, Forbidden, NotFound
from bursar.core.ids import call_name
from bursar.core.kinds import By, ChargeKind
from bursar.core.times import DAY_US, SECOND_US
from bursar.ledger.chart import Unit
from bursar.store.audit import audit
from bursar.store.charges import (
    COST_MAX_NANO,
    DESCRIPTION_CHARS_MAX,
    ID_CHARS_MAX,
    Charged,
    NewCharge,
    charge,
)
from bursar.store.database import Connection, connect
from bursar.store.holders import Place, budget_states, create_holder, find_holder
from bursar.store.keys import Key, Scope, all_keys, create_key
from bursar.store.leases import id_of, open_lease
from bursar.store.reports import statement, totals


async def new_key(connection: Connection, *terms: Terms, parent: str | None = None, name: str = "app") -> Key:
    return (await create_key(connection, name, terms or UNLIMITED, Scope(), NOW_US, parent))[0]


async def holder(connection: Connection, name: str, *terms: Terms, **place: Any) -> None:
    async with connection.transaction():
        await create_holder(connection, name, Place("team", **place), terms, NOW_US)


async def reread(connection: Connection, key: Key) -> Key:
    """Read a key again, with what has been put above it since."""
    return next(each for each in await all_keys(connection) if each.key_id == key.key_id)


def tool(charge_id: str, cost_nano: int, **fields: Any) -> NewCharge:
    return NewCharge(charge_id, ChargeKind.tool, cost_nano, **fields)


async def spent(connection: Connection, name: str, at_us: int = NOW_US) -> list[tuple[int, int, int | None]]:
    """Return what each budget of a holder has spent, how much of it as overage, and what is left."""
    states = await budget_states(connection, (await find_holder(connection, name)).budgets, at_us)
    return [(state.spent_nano, state.overage_nano, state.left_nano) for state in states]


async def owed(connection: Connection) -> dict[str, int]:
    """Return what is owed for services, and counted against further budgets."""
    rows = await connection.fetch(
        "select name, credits_posted - debits_posted as nano from accounts where code in (2320, 2700) order by name"
    )
    return {row["name"]: row["nano"] for row in rows if row["nano"]}


async def assert_sound(connection: Connection) -> None:
    assert (await audit(connection)).findings == []


async def test_a_charge_is_spent_by_its_budget_and_owed_to_its_supplier(connection: Connection) -> None:
    key = await new_key(connection, Terms(10 * USD))
    new = tool("1", 3 * USD, supplier="brave", description="web search", quantity="3 searches", tags={"team": "a"})
    assert await charge(connection, key, new, NOW_US) == Charged("1", 3 * USD, 0, ("app",))
    assert await charge(connection, key, tool("2", 1 * USD), NOW_US) == Charged("2", 1 * USD, 0, ("app",))
    assert await spent(connection, "app") == [(4 * USD, 0, 6 * USD)]
    assert await owed(connection) == {"services:brave": 3 * USD, "services:tool": 1 * USD}
    row = await connection.fetchrow("select * from charges where charge_id = '1'")
    assert row is not None
    assert (row["key_id"], row["kind"], row["supplier"], row["quantity"]) == (key.key_id, "tool", "brave", "3 searches")
    assert (msgspec.json.decode(row["tags"]), row["event_us"], row["overage_nano"]) == ({"team": "a"}, NOW_US, 0)
    await assert_sound(connection)


async def test_the_same_id_is_charged_once_and_with_other_content_is_a_conflict(connection: Connection) -> None:
    key, other = await new_key(connection, Terms(10 * USD)), await new_key(connection, name="other")
    new = tool("once", 3 * USD, tags={"a": "1", "b": "2"})
    first = await charge(connection, key, new, NOW_US)
    turned = msgspec.structs.replace(new, tags={"b": "2", "a": "1"})
    for again in (new, turned):
        later = await charge(connection, key, again, NOW_US + DAY_US)
        assert later == msgspec.structs.replace(first, again=True)
    changes: list[dict[str, Any]] = [
        {"cost_nano": 2 * USD},
        {"kind": ChargeKind.person},
        {"run": "r"},
        {"supplier": "s"},
        {"description": "d"},
        {"quantity": "q"},
        {"tags": {}},
    ]
    for change in changes:
        with pytest.raises(Conflict, match="other content") as caught:
            await charge(connection, key, msgspec.structs.replace(new, **change), NOW_US)
        assert caught.value.code == "charge_conflict"
    with pytest.raises(Conflict):
        await charge(connection, other, new, NOW_US)
    assert await spent(connection, "app") == [(3 * USD, 0, 7 * USD)]
    await assert_sound(connection)


async def test_every_budget_it_counts_against_has_spent_it_and_it_is_owed_once(connection: Connection) -> None:
    await holder(connection, "house", Terms(100 * USD, Window.month))
    await holder(connection, "team", Terms(20 * USD, Window.day), Terms(None), parent="house")
    key = await new_key(connection, Terms(10 * USD), Terms(5, Window.minute, Unit.request), parent="team")
    await holder(connection, "runs", Terms(2 * USD), parent="team", each="run")
    await holder(connection, "searches", Terms(4 * USD), parent="house", match={"feature": "search"})
    await holder(connection, "models", Terms(4 * USD), parent="house", match={"model": "gpt-4o"})
    key = await reread(connection, key)
    new = tool("1", 1 * USD, run="run 1", tags={"feature": "search"})
    charged = await charge(connection, key, new, NOW_US)
    assert sorted(charged.budgets) == ["app", "house", "runs/run%201", "searches", "team"]
    assert await spent(connection, "house") == [(1 * USD, 0, 99 * USD)]
    assert await spent(connection, "team") == [(1 * USD, 0, 19 * USD), (1 * USD, 0, None)]
    assert await spent(connection, "app") == [(1 * USD, 0, 9 * USD), (0, 0, 5)]  # requests are of calls
    assert await spent(connection, "searches") == [(1 * USD, 0, 3 * USD)]
    assert await spent(connection, "models") == [(0, 0, 4 * USD)]
    assert await owed(connection) == {"services:tool": 1 * USD, "used:usd:0": 5 * USD}
    await assert_sound(connection)


@pytest.mark.parametrize("window", [Window.total, Window.hour, Window.day, Window.month])
async def test_what_the_budget_cannot_pay_is_overage_that_the_next_lease_repays(
    connection: Connection, window: Window
) -> None:
    key = await new_key(connection, Terms(10, window))
    assert (await charge(connection, key, tool("1", 7), NOW_US)).overage_nano == 0
    assert (await charge(connection, key, tool("2", 7), NOW_US)).overage_nano == 4
    assert await spent(connection, "app") == [(14, 4, -4)]
    assert (await charge(connection, key, tool("3", 1), NOW_US)).overage_nano == 1
    raised = msgspec.structs.replace(key.budget, terms=Terms(20, window))
    await connection.execute("update budgets set limit_nano = 20")
    grant = await open_lease(connection, Ask(raised, 1, 100), 1, id_of("lease"), NOW_US)
    assert grant.granted_nano == 5
    assert (await budget_states(connection, [raised], NOW_US))[0].overage_nano == 0
    await assert_sound(connection)


async def test_what_gateways_have_leased_is_not_taken_and_what_falls_short_is_overage(connection: Connection) -> None:
    key = await new_key(connection, Terms(10))
    await open_lease(connection, Ask(key.budget, 8, 8), 1, id_of("lease"), NOW_US)
    assert (await charge(connection, key, tool("1", 5), NOW_US)).overage_nano == 3
    assert await spent(connection, "app") == [(5, 3, 5)]
    await assert_sound(connection)


@pytest.mark.parametrize(
    "terms",
    [
        UNLIMITED,
        Terms(None, Window.day),
        Terms(3, enforcement=Enforcement.soft),
        Terms(3, Window.month, enforcement=Enforcement.soft),
        Terms(3, enforcement=Enforcement.grace, grace_nano=10),
    ],
)
async def test_a_budget_that_refuses_nothing_pays_it_all(connection: Connection, terms: Terms) -> None:
    key = await new_key(connection, terms)
    for number in range(3):
        assert (await charge(connection, key, tool(f"{number}", 4), NOW_US)).overage_nano == 0
    (state,) = await budget_states(connection, [key.budget], NOW_US)
    assert (state.spent_nano, state.overage_nano) == (12, 0)
    await assert_sound(connection)


@pytest.mark.parametrize("window", [Window.minute, Window.hour, Window.day])
async def test_a_rolling_budget_counts_it_until_it_has_rolled_out(connection: Connection, window: Window) -> None:
    key = await new_key(connection, Terms(10, window, rolling=True))
    await charge(connection, key, tool("1", 6), NOW_US)
    assert (await charge(connection, key, tool("2", 6), NOW_US + SECOND_US)).overage_nano == 2
    later = NOW_US + 2 * DAY_US
    assert (await charge(connection, key, tool("3", 9), later)).overage_nano == 0
    assert (await budget_states(connection, [key.budget], later))[0].spent_nano == 9
    await assert_sound(connection)


async def test_each_window_pays_for_what_is_charged_in_it(connection: Connection) -> None:
    key = await new_key(connection, Terms(10, Window.day))
    await charge(connection, key, tool("1", 8), NOW_US)
    assert (await charge(connection, key, tool("2", 8), NOW_US + DAY_US)).overage_nano == 0
    assert await spent(connection, "app") == [(8, 0, 2)]


async def test_work_that_cost_nothing_is_written_down_and_moves_nothing(connection: Connection) -> None:
    key = await new_key(connection, Terms(10))
    assert (await charge(connection, key, tool("1", 0), NOW_US)).cost_nano == 0
    assert (await charge(connection, key, tool("1", 0), NOW_US)).again
    assert await spent(connection, "app") == [(0, 0, 10)]
    assert await owed(connection) == {}
    await assert_sound(connection)


async def test_a_frozen_budget_is_charged_for_what_has_happened(connection: Connection) -> None:
    key = await new_key(connection, Terms(10))
    await connection.execute("update holders set frozen_us = 1")
    await charge(connection, await reread(connection, key), tool("1", 4), NOW_US)
    assert await spent(connection, "app") == [(4, 0, 6)]


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection, want_nano=10 * USD)


async def test_a_charge_to_a_call_takes_its_run_and_its_tags(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    made = shop.call(1 * USD, run="run_1", tags={"team": "a", "step": "1"})
    call_id = made[0].call.call_id
    await write(shop, tmp_path, database_url, *made)
    await charge(connection, shop.key, tool("1", 5, call=call_name(call_id), tags={"step": "2"}), NOW_US)
    row = await connection.fetchrow("select run, call_id, tags from charges")
    assert row is not None
    assert (row["run"], row["call_id"]) == ("run_1", call_id)
    assert msgspec.json.decode(row["tags"]) == {"team": "a", "step": "2"}
    await charge(connection, shop.key, tool("2", 5, call=call_name(call_id), run="run_1"), NOW_US)
    with pytest.raises(BadRequest, match="is of run 'run_1'"):
        await charge(connection, shop.key, tool("3", 5, call=call_name(call_id), run="run_2"), NOW_US)
    other = await new_key(connection, name="other")
    with pytest.raises(Forbidden, match="another key"):
        await charge(connection, other, tool("4", 5, call=call_name(call_id)), NOW_US)
    with pytest.raises(NotFound, match="no call"):
        await charge(connection, shop.key, tool("5", 5, call="call_" + "0" * 32), NOW_US)
    assert await connection.fetchval("select count(*) from charges") == 2
    await assert_sound(connection)


async def test_statements_have_charges_where_they_belong(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    made = shop.call(100, run="run_1", tags={"team": "a"})
    await write(shop, tmp_path, database_url, *made)
    await charge(connection, shop.key, tool("1", 5, call=call_name(made[0].call.call_id)), NOW_US)
    await charge(connection, shop.key, tool("2", 7, run="run_2", tags={"team": "b"}), NOW_US + DAY_US)
    await charge(connection, shop.key, NewCharge("3", ChargeKind.person, 200), NOW_US)

    async def lines(by: By) -> list[tuple[str, int, int, int]]:
        found = await statement(connection, by, NOW_US - DAY_US, NOW_US + 2 * DAY_US)
        return [(line.name, line.calls, line.charges, line.cost_nano) for line in found]

    assert await lines(By.model) == [("work that is no call", 0, 3, 212), ("openai/gpt-4o-mini", 1, 0, 100)]
    assert await lines(By.charge) == [("person", 0, 1, 200), ("model calls", 1, 0, 100), ("tool", 0, 2, 12)]
    assert await lines(By.key) == [("app", 1, 3, 312)]
    assert await lines(By.run) == [("run_1", 1, 1, 105), ("run_2", 0, 1, 7)]
    assert await lines(By.tag) == [("team=a", 1, 1, 105), ("team=b", 0, 1, 7)]
    assert await lines(By.day) == [("2026-11-21", 1, 2, 305), ("2026-11-22", 0, 1, 7)]
    assert await lines(By.hour) == [("2026-11-21T16", 1, 2, 305), ("2026-11-22T16", 0, 1, 7)]
    whole = await totals(connection, NOW_US - DAY_US, NOW_US + DAY_US)
    assert (whole.calls, whole.cost_nano, whole.charges, whole.charges_nano) == (1, 305, 2, 205)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"charge_id": ""}, "id"),
        ({"charge_id": "x" * (ID_CHARS_MAX + 1)}, "id"),
        ({"charge_id": "a\x00"}, "id"),
        ({"cost_nano": -1}, "amount_usd"),
        ({"cost_nano": COST_MAX_NANO + 1}, "amount_usd"),
        ({"cost_nano": 2**63}, "amount_usd"),
        ({"run": "a\nb"}, "run"),
        ({"call": "nonsense"}, "call"),
        ({"supplier": "\x00"}, "supplier"),
        ({"description": "d" * (DESCRIPTION_CHARS_MAX + 1)}, "description"),
        ({"quantity": "\ud800"}, "quantity"),
        ({"tags": {"": "x"}}, "tags"),
    ],
)
async def test_what_cannot_be_is_a_bad_request_that_names_the_field(
    connection: Connection, change: dict[str, Any], param: str
) -> None:
    key = await new_key(connection)
    with pytest.raises(BadRequest) as caught:
        await charge(connection, key, msgspec.structs.replace(tool("1", 1), **change), NOW_US)
    assert caught.value.param == param
    assert str(caught.value).startswith(f"{param}: ")


async def test_the_dearest_charge_and_the_longest_texts_fit(connection: Connection) -> None:
    key = await new_key(connection, Terms(1))
    texts = {"supplier": "ü" * 128, "quantity": "q" * 128, "description": "d" * DESCRIPTION_CHARS_MAX}
    tags = {f"{number:0128}": "v" * 128 for number in range(16)}
    new = NewCharge("i" * ID_CHARS_MAX, ChargeKind.other, COST_MAX_NANO, run="r" * 128, tags=tags, **texts)
    assert (await charge(connection, key, new, NOW_US)).overage_nano == COST_MAX_NANO - 1
    await assert_sound(connection)


async def test_what_the_books_cannot_hold_is_an_error_and_leaves_nothing(connection: Connection) -> None:
    key = await new_key(connection)
    await charge(connection, key, tool("1", 5), NOW_US)
    await connection.execute("update accounts set credits_posted = 9223372036854775807 where name = 'services:tool'")
    with pytest.raises(BooksError, match="refused"):
        await charge(connection, key, tool("2", 5), NOW_US)
    assert await connection.fetchval("select count(*) from charges") == 1
    assert await spent(connection, "app") == [(5, 0, None)]


async def test_a_charge_that_is_rolled_back_leaves_nothing(connection: Connection) -> None:
    key = await new_key(connection, Terms(10))
    crash = connection.transaction()
    await crash.start()
    await charge(connection, key, tool("1", 4), NOW_US)
    await crash.rollback()
    assert await spent(connection, "app") == [(0, 0, 10)]
    assert await connection.fetchval("select count(*) from transfers") == 0
    assert not (await charge(connection, key, tool("1", 4), NOW_US)).again
    await assert_sound(connection)


async def test_many_at_once_are_each_charged_once(connection: Connection, database_url: str) -> None:
    await holder(connection, "team", Terms(15))
    key = await new_key(connection, Terms(100), parent="team")
    connections = [await connect(database_url) for _ in range(8)]

    async def work(number: int) -> list[Charged]:
        each = connections[number % 8]
        return [await charge(each, key, tool(f"{own}", 1), NOW_US) for own in range(number // 2, 20, 4)]

    found = [charged for part in await asyncio.gather(*map(work, range(8))) for charged in part]
    for each in connections:
        await each.close()
    assert sum(not charged.again for charged in found) == 20
    assert len(found) == 40
    assert await spent(connection, "app") == [(20, 0, 80)]
    assert await spent(connection, "team") == [(20, 5, -5)]
    await assert_sound(connection)


async def meet(connection: Connection, other: Connection, key: Key, number: int) -> bool:
    """Charge while another transaction locks the same accounts the other way; say whether the charge was begun anew.

    PostgreSQL ends the one that waited first. Where the machine lets more than its second pass in between, that one has
    looked for a circle already, and the other is ended instead.
    """
    names = [f"overage:budget:{budget.budget_id}:total" for budget in key.path.claim.budgets]
    lock = "select account_id from accounts where name = $1 for update"
    transaction = other.transaction()
    await transaction.start()
    await other.fetch(lock, names[1])
    charging = asyncio.create_task(charge(connection, key, tool(f"{number}", 1), NOW_US))
    for _ in range(1_000):
        if await other.fetchval("select exists (select from pg_locks where not granted)"):
            break
        await asyncio.sleep(0.01)
    try:
        await other.fetch(lock, names[0])
    except asyncpg.DeadlockDetectedError:
        await transaction.rollback()
        met = False
    else:
        await transaction.commit()
        met = True
    assert (await charging).cost_nano == 1
    return met


async def test_calls_that_are_being_booked_beside_it_only_delay_it(connection: Connection, database_url: str) -> None:
    await holder(connection, "team", Terms(100))
    key = await new_key(connection, Terms(100), parent="team")
    await charge(connection, key, tool("1", 1), NOW_US)  # opens the accounts
    other = await connect(database_url)
    charged = 1
    for _ in range(5):
        charged += 1
        if await meet(connection, other, key, charged):
            break
    else:
        pytest.fail("the charge never met the other transaction in time")
    await other.close()
    assert await spent(connection, "team") == [(charged, 0, 100 - charged)]
    await assert_sound(connection)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("update charges set cost_nano = 6 where charge_id = '2'", "charge 2: recorded as 6 nano-USD"),
        ("update charges set overage_nano = 1 where charge_id = '1'", "charge 1: recorded as 5 nano-USD, 1 of it"),
        ("update charges set charge_id = '3' where charge_id = '1'", "charge 3: recorded as 5 nano-USD"),
        ("delete from charges where charge_id = '1'", "services: 14 nano-USD are owed, the charges say 9"),
        (
            "update transfers set amount_nano = 4 where reason = 12 and credit_account in"
            " (select account_id from accounts where code = 2700)",
            "charge 1: recorded as 5 nano-USD, 0 of it overage; its transfers say 4",
        ),
    ],
)
async def test_a_charge_changed_behind_the_books_is_found(connection: Connection, text: str, finding: str) -> None:
    await holder(connection, "team", Terms(100))
    key = await new_key(connection, Terms(7), parent="team")
    await charge(connection, key, tool("1", 5), NOW_US)
    assert (await charge(connection, key, tool("2", 9), NOW_US)).overage_nano == 7
    await assert_sound(connection)
    async with connection.transaction():
        await connection.execute("set local role none")
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(text)
    assert any(each.startswith(finding) for each in (await audit(connection)).findings)


async def test_a_charge_is_never_changed(connection: Connection) -> None:
    key = await new_key(connection)
    await charge(connection, key, tool("1", 5), NOW_US)
    for text in ("update charges set cost_nano = 1", "delete from charges"):
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute(text)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    costs=st.lists(st.integers(0, 40), max_size=6),
    limits=st.tuples(*[st.one_of(st.none(), st.integers(0, 60))] * 3),
    wants=st.lists(st.integers(0, 30), max_size=6),
)
async def test_whatever_is_charged_every_budget_has_spent_all_of_it(
    connection: Connection, costs: list[int], limits: tuple[int | None, ...], wants: list[int]
) -> None:
    number = await connection.fetchval("select count(*) from keys")
    await holder(connection, f"house {number}", Terms(limits[0]))
    await holder(connection, f"team {number}", Terms(limits[1], Window.day), parent=f"house {number}")
    key = await new_key(connection, Terms(limits[2], Window.month), parent=f"team {number}", name=f"app {number}")
    for place, cost in enumerate(costs):
        await charge(connection, key, tool(f"{number} {place}", cost), NOW_US)
        if place < len(wants):
            for budget in key.path.claim.budgets:
                act = id_of(number, place, budget.budget_id)
                await open_lease(connection, Ask(budget, wants[place], wants[place]), 1, act, NOW_US)
    for state in await budget_states(connection, key.path.claim.budgets, NOW_US):
        most = state.budget.terms.most_nano
        assert state.spent_nano == sum(costs)
        assert state.left_nano == (None if most is None else most - sum(costs))
    await assert_sound(connection)
