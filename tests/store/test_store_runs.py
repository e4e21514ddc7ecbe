"""A run is read back as the tree of its calls, however deep it is and whatever its calls say of their parents."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.budget import Terms, Window
from bursar.core.ids import call_id_from_name, call_name, first_id_at
from bursar.core.kinds import ChargeKind
from bursar.core.times import DAY_US
from bursar.ledger.chart import Unit
from bursar.store.charges import NewCharge, charge
from bursar.store.database import Connection
from bursar.store.holders import Place, create_holder
from bursar.store.keys import Key, Scope, all_keys, create_key
from bursar.store.runs import depth_of, in_order, one_run, recent_runs


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


class Runs:
    """Make calls of runs, each below another."""

    def __init__(self, shop: Shop, folder: Path, url: str) -> None:
        self.shop = shop
        self.entries: list[Any] = []
        self._folder = folder
        self._url = url

    def call(self, parent: str = "", run: str = "r", cost_nano: int = 1, name: str = "") -> str:
        intent = self.shop.intent(cost_nano, run=run, parent=parent)
        if name:
            call = msgspec.structs.replace(intent.call, call_id=call_id_from_name(name))
            intent = msgspec.structs.replace(intent, call=call)
        self.entries += [intent, self.shop.settled(intent, attempt(cost_nano))]
        return call_name(intent.call.call_id)

    async def book(self, parents: dict[str, str] | None = None) -> None:
        """Book what was made, and calls that are given by their names and those of their parents."""
        for name, parent in (parents or {}).items():
            self.call(parent, name=name)
        await write(self.shop, self._folder, self._url, *self.entries)


@pytest.fixture
def runs(shop: Shop, tmp_path: Path, database_url: str) -> Runs:
    return Runs(shop, tmp_path, database_url)


def name_of(number: int) -> str:
    return call_name(first_id_at(NOW_US // 1_000 + number))


async def tree_of(connection: Connection, run: str = "r") -> list[tuple[str, int]]:
    found = await one_run(connection, run, NOW_US)
    assert found is not None
    return [(node["id"], node["depth"]) for node in found["tree"]]


async def test_calls_come_below_their_parents_before_what_is_beside_them(connection: Connection, runs: Runs) -> None:
    top = runs.call()
    first, second = runs.call(top), runs.call(top)
    below = runs.call(first)
    alone = runs.call()
    other = runs.call(top, run="another")
    await runs.book()
    assert await tree_of(connection) == [(top, 1), (first, 2), (below, 3), (second, 2), (alone, 1)]
    assert await tree_of(connection, "another") == [(other, 1)]  # its parent is of another run
    found = await one_run(connection, "r", NOW_US)
    assert found is not None
    assert (found["calls"], found["cost_usd"], found["whole"]) == (5, "0.000000005", True)
    assert [node["parent"] for node in found["tree"]] == [None, top, first, top, None]


@pytest.mark.parametrize("parent", ["step 3", "call_" + "0" * 32, "call_", "CALL_X", "call_" + "g" * 32])
async def test_a_call_whose_parent_nobody_knows_is_at_the_top(connection: Connection, runs: Runs, parent: str) -> None:
    orphan = runs.call(parent)
    below = runs.call(orphan)
    await runs.book()
    assert await tree_of(connection) == [(orphan, 1), (below, 2)]


async def test_calls_that_name_themselves_or_later_ones_are_all_shown(connection: Connection, runs: Runs) -> None:
    itself, one, two, three, below = (name_of(number) for number in range(5))
    await runs.book({itself: itself, one: two, two: three, three: one, below: two})
    shown = await tree_of(connection)
    assert shown == [(itself, 1), (one, 1), (three, 2), (two, 3), (below, 4)]
    for name in (itself, one, two, three, below):
        assert await depth_of(connection, "r", name, 10) in (10, 11)


async def test_a_call_that_names_a_later_one_lies_below_it(connection: Connection, runs: Runs) -> None:
    early, late = name_of(1), name_of(2)
    await runs.book({early: late, late: ""})
    assert await tree_of(connection) == [(late, 1), (early, 2)]
    assert await depth_of(connection, "r", early, 10) == 2


async def test_a_chain_of_two_thousand_calls_is_shown_and_can_be_written_down(
    connection: Connection, runs: Runs
) -> None:
    names = [name_of(number) for number in range(2_000)]
    await runs.book(dict(zip(names, ["", *names], strict=False)))
    assert await tree_of(connection) == [(name, depth) for depth, name in enumerate(names, 1)]
    assert len(json.dumps(await one_run(connection, "r", NOW_US))) > 2_000
    assert await depth_of(connection, "r", names[-1], 5_000) == 2_000
    assert await depth_of(connection, "r", names[-1], 10) in (10, 11)


@pytest.mark.parametrize("name", ["", "step", "call_", "call_" + "0" * 32, "call_" + "é" * 32])
async def test_how_deep_a_call_lies_that_nobody_knows_is_not_known(connection: Connection, name: str) -> None:
    assert await depth_of(connection, "r", name, 10) is None


async def test_a_call_below_one_that_is_not_in_the_books_lies_one_deeper(connection: Connection, runs: Runs) -> None:
    top, orphan = runs.call(), runs.call("step 3")
    below = runs.call(orphan)
    await runs.book()
    assert [await depth_of(connection, "r", name, 10) for name in (top, orphan, below)] == [1, 2, 3]
    assert await depth_of(connection, "another", below, 10) is None


async def test_charges_are_at_their_calls_and_others_beside(connection: Connection, runs: Runs) -> None:
    top = runs.call(cost_nano=10)
    below = runs.call(top, cost_nano=20)
    await runs.book()
    key = runs.shop.key
    for charge_id, fields in (
        ("1", {"call": below}),
        ("2", {"call": top}),
        ("3", {"call": below}),
        ("4", {"run": "r"}),
    ):
        await charge(connection, key, NewCharge(charge_id, ChargeKind.tool, 100, **fields), NOW_US)
    found = await one_run(connection, "r", NOW_US)
    assert found is not None
    assert [[each["id"] for each in node["charges"]] for node in found["tree"]] == [["2"], ["1", "3"]]
    assert [(each["id"], each["call"], each["cost_usd"]) for each in found["charges"]] == [("4", None, "0.0000001")]
    assert (found["calls_usd"], found["charges_usd"], found["cost_usd"]) == ("0.00000003", "0.0000004", "0.00000043")


async def test_a_run_of_charges_alone_is_a_run(connection: Connection, shop: Shop) -> None:
    await charge(connection, shop.key, NewCharge("1", ChargeKind.person, 7, run="r"), NOW_US)
    found = await one_run(connection, "r", NOW_US)
    assert found is not None
    assert (found["tree"], found["calls"], len(found["charges"])) == ([], 0, 1)
    assert await one_run(connection, "another", NOW_US) is None
    assert await one_run(connection, "", NOW_US) is None


async def test_the_budgets_of_a_run_are_its_own_and_no_others(connection: Connection) -> None:
    async def holder(name: str, *terms: Terms, **place: Any) -> None:
        async with connection.transaction():
            await create_holder(connection, name, Place("other", **place), terms, NOW_US)

    await holder("team", Terms(100 * USD))
    key = await new_key(connection, "app", "team")
    other = await new_key(connection, "other", None)
    await holder("runs", Terms(2 * USD), Terms(5, Window.minute, Unit.request), parent="team", each="run")
    await holder("search", Terms(50 * USD), parent="team", match={"feature": "search"})
    await holder("search runs", Terms(1 * USD), parent="search", each="run")
    await holder("users", Terms(9 * USD), parent="team", each="user")
    await holder("runs of users", Terms(None), parent="users", each="run")
    key, other = [next(each for each in await all_keys(connection) if each.name == name) for name in ("app", "other")]
    tags = {"user": "r", "feature": "search"}
    await charge(connection, key, NewCharge("1", ChargeKind.tool, 500_000_000, run="r", tags=tags), NOW_US)
    await charge(connection, other, NewCharge("2", ChargeKind.tool, 500_000_000, run="r"), NOW_US)
    found = await one_run(connection, "r", NOW_US)
    assert found is not None
    budgets = {(each["budget"], each["unit"]): (each["spent"], each["left"]) for each in found["budgets"]}
    assert budgets == {
        ("runs/r", "USD"): ("0.50", "1.50"),
        ("runs/r", "requests"): ("0", "5"),
        ("search runs/r", "USD"): ("0.50", "0.50"),
        ("runs of users/r/r", "USD"): ("0.50", None),
    }


async def new_key(connection: Connection, name: str, parent: str | None) -> Key:
    return (await create_key(connection, name, Terms(None), Scope(), NOW_US, parent))[0]


async def test_the_latest_runs_come_first_with_what_calls_and_charges_cost(connection: Connection, runs: Runs) -> None:
    runs.call(run="one", cost_nano=10)
    runs.call(run="two", cost_nano=20)
    runs.call(run="", cost_nano=40)
    await runs.book()
    other = await new_key(connection, "other", None)
    await charge(connection, runs.shop.key, NewCharge("1", ChargeKind.tool, 5, run="two"), NOW_US + DAY_US)
    await charge(connection, other, NewCharge("2", ChargeKind.tool, 5, run="two"), NOW_US - DAY_US)
    await charge(connection, other, NewCharge("3", ChargeKind.tool, 5), NOW_US)
    found = await recent_runs(connection, NOW_US - 2 * DAY_US, 10)
    assert [(each["run"], each["key"], each["calls"], each["charges"], each["cost_usd"]) for each in found] == [
        ("two", "app, other", 1, 2, "0.00000003"),
        ("one", "app", 1, 0, "0.00000001"),
    ]
    assert (found[0]["first_at"][:10], found[0]["last_at"][:10]) == ("2026-11-20", "2026-11-22")
    assert [each["run"] for each in await recent_runs(connection, NOW_US - 2 * DAY_US, 1)] == ["two"]
    assert [each["cost_usd"] for each in await recent_runs(connection, NOW_US + 1_000, 10)] == ["0.000000005"]


nodes = st.integers(0, 12).map(str)


@given(st.dictionaries(nodes, nodes))
def test_every_node_of_a_forest_comes_once_and_below_its_parent(parents: dict[str, str]) -> None:
    walked = list(in_order(parents))
    assert sorted(name for name, _ in walked) == sorted(parents)
    line: list[str] = []
    for name, depth in walked:
        del line[depth - 1 :]
        assert len(line) == depth - 1
        assert not line or parents[name] == line[-1]
        assert line or parents[name] not in parents or reaches(parents, name)
        line.append(name)


def reaches(parents: dict[str, str], name: str) -> bool:
    """Tell whether a node lies below itself."""
    at = parents[name]
    for _ in parents:
        if at == name:
            return True
        at = parents.get(at, "")
    return False
