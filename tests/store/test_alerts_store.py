"""Alerts on a real database: each is made once, whoever looks; what was made is told, whatever dies in between."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from bursar.budgets.alerts import Alert
from bursar.budgets.budget import Budget, Enforcement, Terms, Window, read_limit
from bursar.budgets.purse import Ask
from bursar.budgets.tree import Tree
from bursar.core.times import DAY_US, FOREVER_US, HOUR_US, SECOND_US
from bursar.store.alerts import (
    become_keeper,
    claim_deliveries,
    forecasts,
    make_alerts,
    readdress,
    recent_alerts,
    settle_delivery,
)
from bursar.store.database import Connection, connect
from bursar.store.gateways import open_leases
from bursar.store.holders import Place, Policies, budget_states, find_holder, read_tree, set_budgets, set_policies
from bursar.store.keys import Scope, create_key
from bursar.store.leases import id_of, open_lease, write_off
from tests.store.bookkeeping import NOW_US, USD, Shop, make_holder, open_shop, write

URL = b"u" * 32


async def look(connection: Connection, now_us: int = NOW_US, before: Tree | None = None) -> list[str]:
    """Look once and return what was told."""
    _, made = await make_alerts(connection, now_us, before, URL)
    return [alert.text for alert in made]


async def spend(connection: Connection, budget: Budget, amount_nano: int, at_us: int = NOW_US) -> None:
    """Spend an amount of a budget, as a gateway does whose lease is written off."""
    transfer_id = id_of("spend", budget.budget_id, amount_nano, at_us)
    await open_lease(connection, Ask(budget, amount_nano, amount_nano), 1, transfer_id, at_us)
    for lease in await open_leases(connection, 1):
        await write_off(connection, lease, id_of("off", transfer_id.hex(), lease.account_id), at_us)


@pytest.fixture
async def team(connection: Connection) -> Budget:
    place = Place("team", policies=Policies(alerts_percent=(50, 80)))
    return (await make_holder(connection, "blue", place, [read_limit("20.00/month")], NOW_US)).budgets[0]


async def test_calls_that_cross_a_threshold_are_told_once(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    shop: Shop = await open_shop(connection, 10 * USD, 9 * USD)
    await set_policies(connection, "app", Policies(alerts_percent=(50, 80)))
    assert await look(connection) == []
    await write(shop, tmp_path / "spool", database_url, *shop.call(6 * USD))
    told = ["key app: 50 % of 10.00 used (6.00 USD)"]
    assert await look(connection) == told
    assert await look(connection) == []
    listed = await recent_alerts(connection, 10)
    assert [each.alert.text for each in listed] == told
    alert = listed[0].alert
    assert (alert.type, alert.budget, alert.kind, alert.unit) == ("budget.threshold", "app", "key", "USD")
    assert (alert.limit, alert.spent, alert.percent, alert.window) == ("10.00", "6.00", 50, "total")
    assert (alert.runs_out_at, alert.at) == (None, "2026-11-21T16:30:00+00:00")


async def test_four_that_look_at_once_make_each_alert_once(
    connection: Connection, team: Budget, database_url: str
) -> None:
    await spend(connection, team, 17 * USD)
    others = [await connect(database_url) for _ in range(4)]
    found = await asyncio.gather(*(look(each) for each in others))
    assert sorted(text for each in found for text in each) == [
        "team blue: 50 % of 20.00/month used (17.00 USD)",
        "team blue: 80 % of 20.00/month used (17.00 USD)",
    ]
    assert await connection.fetchval("select count(*) from deliveries") == 2
    for each in others:
        await each.close()


async def test_one_of_many_is_the_keeper_until_it_is_gone(connection: Connection, database_url: str) -> None:
    first, second = await connect(database_url), await connect(database_url)
    assert (await become_keeper(first), await become_keeper(second)) == (True, False)
    await first.close()
    for _ in range(500):
        if await become_keeper(second):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("nobody keeps watch")
    await second.close()


async def test_a_window_begins_anew(connection: Connection, team: Budget) -> None:
    await spend(connection, team, 11 * USD)
    assert len(await look(connection)) == 1
    december = NOW_US + 20 * DAY_US
    await spend(connection, team, 12 * USD, december)
    assert await look(connection, december) == ["team blue: 50 % of 20.00/month used (12.00 USD)"]


async def test_what_is_spent_at_the_end_of_a_window_is_told_after_it(connection: Connection) -> None:
    place = Place("team", policies=Policies(alerts_percent=(50,)))
    holder = await make_holder(connection, "night", place, [read_limit("5.00/day")], NOW_US)
    midnight = NOW_US - NOW_US % DAY_US + DAY_US
    await look(connection, midnight - 2)
    await spend(connection, holder.budgets[0], 3 * USD, midnight - 1)
    _, made = await make_alerts(connection, midnight + SECOND_US, await read_tree(connection), URL)
    assert [(alert.period, alert.text) for alert in made] == [
        ("2026-11-21", "team night: 50 % of 5.00/day used (3.00 USD)")
    ]


@pytest.mark.parametrize("limit", ["5.00/day rolling", "600 requests/day", "7.00/week"])
async def test_every_kind_of_limit_is_told(connection: Connection, limit: str) -> None:
    place = Place("team", policies=Policies(alerts_percent=(50,)))
    budget = (await make_holder(connection, "kind", place, [read_limit(limit)], NOW_US)).budgets[0]
    assert budget.terms.limit_nano is not None
    await spend(connection, budget, budget.terms.limit_nano // 2 + 1)
    assert len(await look(connection)) == 1
    assert await look(connection, NOW_US + HOUR_US) == []


async def test_a_soft_limit_is_told_beyond_it(connection: Connection) -> None:
    place = Place("team", policies=Policies(alerts_percent=(100, 150)))
    soft = Terms(2 * USD, Window.day, enforcement=Enforcement.soft)
    budget = (await make_holder(connection, "soft", place, [soft], NOW_US)).budgets[0]
    await spend(connection, budget, 3 * USD)
    assert await look(connection) == [
        "team soft: 100 % of 2.00/day used (3.00 USD)",
        "team soft: 150 % of 2.00/day used (3.00 USD)",
    ]


async def test_each_run_is_told_by_its_own_name(connection: Connection, team: Budget) -> None:
    place = Place("run", "blue", each="run")
    await make_holder(connection, "runs", place, [read_limit("2.00")], NOW_US)
    key, _ = await create_key(connection, "app", [read_limit("9")], Scope(), NOW_US, "blue")
    await look(connection)
    tree = await read_tree(connection)
    for run, amount in (("a b", 17 * USD // 10), ("c", USD)):
        claim = tree.path(key.holder.holder_id).find(run, "gpt-4o-mini", {})
        await spend(connection, next(each for each in claim.budgets if each.holder.startswith("runs")), amount)
    assert sorted(await look(connection, NOW_US, await read_tree(connection))) == [
        "run runs/a b: 50 % of 2.00 used (1.70 USD)",
        "run runs/a b: 80 % of 2.00 used (1.70 USD)",
        "run runs/c: 50 % of 2.00 used (1.00 USD)",
    ]


async def test_new_percentages_and_limits_are_looked_at_without_a_new_call(connection: Connection) -> None:
    budget = (await make_holder(connection, "late", Place("team"), [read_limit("20/month")], NOW_US)).budgets[0]
    await spend(connection, budget, 5 * USD)
    tree, made = await make_alerts(connection, NOW_US, None, URL)
    assert made == []
    await set_policies(connection, "late", Policies(alerts_percent=(20, 80)))
    tree, made = await make_alerts(connection, NOW_US, tree, URL)
    assert [alert.number for alert in made] == [20]
    await set_budgets(connection, "late", [read_limit("6/month")], NOW_US)
    tree, made = await make_alerts(connection, NOW_US, tree, URL)
    assert [alert.number for alert in made] == [80]


async def test_a_months_even_spending_is_forecast_once(connection: Connection, team: Budget) -> None:
    start = now = NOW_US - 20 * DAY_US
    told: list[Alert] = []
    tree: Tree | None = None
    for step in range(14 * 4):
        now = start + step * 6 * HOUR_US
        await spend(connection, team, USD // 4, now)
        tree, made = await make_alerts(connection, now, tree, URL)
        told += made
    assert [(alert.kind.value, alert.number) for alert in told] == [("forecast", 1), ("threshold", 50)]
    assert "at this pace it runs out on 21 November" in told[0].text
    assert (await find_holder(connection, "blue")).budgets == (team,)
    states = await budget_states(connection, [team], now)
    found = (await forecasts(connection, states, now))[team.budget_id]
    assert found.earliest_us <= found.runs_out_us <= (found.latest_us or FOREVER_US)
    assert abs(found.runs_out_us - (told[-1].runs_out_us or 0)) < 3 * DAY_US
    assert await forecasts(connection, [msgspec.structs.replace(states[0], spent_nano=0)], now) == {}


async def test_of_a_budget_nobody_is_told_of_no_date_is_known(connection: Connection) -> None:
    budget = (await make_holder(connection, "quiet", Place("team"), [read_limit("20/month")], NOW_US)).budgets[0]
    await spend(connection, budget, 5 * USD)
    await make_alerts(connection, NOW_US, None, URL)
    assert await forecasts(connection, await budget_states(connection, [budget], NOW_US), NOW_US) == {}


async def due(connection: Connection, now_us: int) -> list[int]:
    found = await claim_deliveries(connection, URL, now_us, now_us + 30 * SECOND_US, 8)
    return [each.attempts for each in found]


async def test_a_delivery_is_taken_by_one_and_again_when_that_one_dies(
    connection: Connection, team: Budget, database_url: str
) -> None:
    await spend(connection, team, 11 * USD)
    await look(connection)
    other = await connect(database_url)
    assert sorted([*await due(connection, NOW_US), *await due(other, NOW_US)]) == [1]
    assert await due(other, NOW_US + 29 * SECOND_US) == []
    assert await due(other, NOW_US + 30 * SECOND_US) == [2]
    await other.close()


async def test_how_a_delivery_ends_is_shown(connection: Connection, team: Budget) -> None:
    await spend(connection, team, 17 * USD)
    await look(connection)
    first, second = await claim_deliveries(connection, URL, NOW_US, NOW_US + 1, 8)
    await settle_delivery(connection, first, "", None, NOW_US)
    await settle_delivery(connection, second, "status_500", NOW_US + HOUR_US, NOW_US)
    shown = {each.alert.id: each.delivery for each in await recent_alerts(connection, 10)}
    one, two = shown[first.alert_id], shown[second.alert_id]
    assert one is not None
    assert two is not None
    assert (one.status, one.attempts, one.next_at, one.last_error) == ("delivered", 1, None, "")
    assert (two.status, two.next_at, two.last_error) == ("waiting", "2026-11-21T17:30:00+00:00", "status_500")
    assert await due(connection, NOW_US + HOUR_US - 1) == []
    again = await claim_deliveries(connection, URL, NOW_US + HOUR_US, NOW_US + HOUR_US, 8)
    await settle_delivery(connection, second, "", None, NOW_US)  # an answer that comes too late changes nothing
    await settle_delivery(connection, again[0], "status_410", None, NOW_US + HOUR_US)
    shown = {each.alert.id: each.delivery for each in await recent_alerts(connection, 10)}
    two = shown[second.alert_id]
    assert two is not None
    assert (two.status, two.attempts, two.last_error) == ("given_up", 2, "status_410")


async def test_what_waits_goes_to_the_address_there_is(connection: Connection, team: Budget) -> None:
    await spend(connection, team, 11 * USD)
    await make_alerts(connection, NOW_US, None, b"o" * 32)
    assert await due(connection, NOW_US) == []
    await readdress(connection, URL, NOW_US)
    assert await due(connection, NOW_US) == [1]


async def test_without_an_address_nothing_waits(connection: Connection, team: Budget) -> None:
    await spend(connection, team, 11 * USD)
    _, made = await make_alerts(connection, NOW_US, None, None)
    assert len(made) == 1
    assert [each.delivery for each in await recent_alerts(connection, 10)] == [None]
