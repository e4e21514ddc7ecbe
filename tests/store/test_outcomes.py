"""Outcomes are written down once, shown where they belong, and teach routes the same whoever reads them."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write
from inline_snapshot import snapshot

from bursar.budgets.alerts import AlertKind
from bursar.budgets.budget import UNLIMITED
from bursar.core.errors import BadRequest, Conflict, Forbidden, NotFound
from bursar.core.ids import call_name
from bursar.core.kinds import OutcomeKind
from bursar.core.records import AttemptStatus, Route
from bursar.savings.route.online import EVENTS_MIN
from bursar.store.alerts import recent_alerts
from bursar.store.database import Connection
from bursar.store.keys import Scope, create_key
from bursar.store.outcomes import (
    Manners,
    NewOutcome,
    add_outcome,
    last_outcome,
    learned_states,
    outcomes_of_call,
    outcomes_of_run,
    recent_manners,
    recent_outcomes,
)
from bursar.store.price_alerts import PriceTerms, make_price_alerts

ROUTE = Route("auto", "small", "learned", "why", 700_000, 5_000, 800_000)


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


class Calls:
    """Make calls that are in the books."""

    def __init__(self, shop: Shop, folder: Path, url: str) -> None:
        self._shop, self._folder, self._url = shop, folder, url
        self._number = 0

    async def make(self, count: int = 1, attempts: int = 1, **fields: Any) -> list[str]:
        self._number += 1
        intents = [self._shop.intent(USD // 1_000, **fields) for _ in range(count)]
        failed = [attempt(0, status=AttemptStatus.failed)] * (attempts - 1)
        made = [each for intent in intents for each in (intent, self._shop.settled(intent, *failed, attempt(500)))]
        await write(self._shop, self._folder, self._url, *made)
        return [call_name(intent.call.call_id) for intent in intents]


@pytest.fixture
def calls(shop: Shop, tmp_path: Path, database_url: str) -> Calls:
    return Calls(shop, tmp_path / "spool", database_url)


def thumbs(outcome_id: str, value: float = 1.0, **fields: Any) -> NewOutcome:
    return NewOutcome(outcome_id, OutcomeKind.thumbs, value, **fields)


async def test_an_outcome_counts_once_and_its_id_says_one_thing(
    connection: Connection, shop: Shop, calls: Calls
) -> None:
    (name,) = await calls.make()
    assert not await add_outcome(connection, shop.key, thumbs("1", call=name), NOW_US)
    assert await add_outcome(connection, shop.key, thumbs("1", call=name), NOW_US + 5)
    with pytest.raises(Conflict, match="'1' was told with other content"):
        await add_outcome(connection, shop.key, thumbs("1", 0.0, call=name), NOW_US)
    assert len(await recent_outcomes(connection)) == 1


async def test_an_outcome_is_shown_with_its_call_and_that_of_a_run_with_the_run(
    connection: Connection, shop: Shop, calls: Calls
) -> None:
    (name,) = await calls.make(run="r1")
    await add_outcome(connection, shop.key, thumbs("c", 0.25, call=name, source="desk"), NOW_US)
    await add_outcome(connection, shop.key, NewOutcome("r", OutcomeKind.resolved, 1.0, run="r1"), NOW_US)
    row = await connection.fetchrow("select call_id from calls")
    assert row is not None
    assert await outcomes_of_call(connection, row["call_id"]) == snapshot(
        [{"id": "c", "kind": "thumbs", "value": 0.25, "source": "desk", "at": "2026-11-21T16:30:00+00:00"}]
    )
    assert [each["id"] for each in await outcomes_of_run(connection, "r1")] == ["r"]
    assert [(each["id"], each["call"], each["run"]) for each in await recent_outcomes(connection, run="r1")] == [
        ("r", None, "r1"),
        ("c", name, "r1"),
    ]


async def test_what_cannot_be_is_refused_with_its_field(connection: Connection, shop: Shop, calls: Calls) -> None:
    (name,) = await calls.make(run="r1")
    other, _ = await create_key(connection, "other", UNLIMITED, Scope(), NOW_US)
    for new, param in [
        (thumbs("1"), "call"),
        (thumbs("", call=name), "id"),
        (thumbs("1", 1.5, call=name), "value"),
        (thumbs("1", float("nan"), call=name), "value"),
        (thumbs("1", call="call_x"), "call"),
        (thumbs("1", call=name, run="r2"), "run"),
        (thumbs("1", run="r\n1"), "run"),
        (thumbs("1", call=name, source="x" * 129), "source"),
    ]:
        with pytest.raises(BadRequest) as caught:
            await add_outcome(connection, shop.key, new, NOW_US)
        assert caught.value.param == param
    with pytest.raises(NotFound):
        await add_outcome(connection, shop.key, thumbs("1", call="call_" + "0" * 32), NOW_US)
    with pytest.raises(NotFound):
        await add_outcome(connection, other, thumbs("1", run="r1"), NOW_US)
    with pytest.raises(Forbidden):
        await add_outcome(connection, other, thumbs("1", call=name), NOW_US)
    assert await last_outcome(connection) == 0


async def test_outcomes_are_append_only(connection: Connection, shop: Shop, calls: Calls) -> None:
    (name,) = await calls.make()
    await add_outcome(connection, shop.key, thumbs("1", call=name), NOW_US)
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute("update outcomes set value_ppm = 0")
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute("delete from outcomes")


async def test_a_route_learns_from_the_outcomes_of_what_it_expected(
    connection: Connection, shop: Shop, calls: Calls
) -> None:
    names = await calls.make(EVENTS_MIN, route=ROUTE)
    for number, name in enumerate(names):
        await add_outcome(connection, shop.key, thumbs(str(number), 0.0, call=name), NOW_US)
    states = await learned_states(connection)
    shift, _ = states["auto"].corrections()["small"]
    assert shift < -0.3  # it was expected in 80 % of the answers, and none was good
    assert states == await learned_states(connection)


async def test_what_no_router_expected_and_what_another_model_answered_teaches_nothing(
    connection: Connection, shop: Shop, calls: Calls
) -> None:
    by_rule = await calls.make(route=Route("auto", "small", "rule", "why"))
    again = await calls.make(attempts=2, route=ROUTE)
    plain = await calls.make()
    for name in (*by_rule, *again, *plain):
        await add_outcome(connection, shop.key, thumbs(name, call=name), NOW_US)
    assert await learned_states(connection) == {}


async def test_a_run_is_one_event_a_model_however_many_calls_it_has(
    connection: Connection, shop: Shop, calls: Calls
) -> None:
    await calls.make(7, run="r1", route=ROUTE)
    await add_outcome(connection, shop.key, thumbs("1", run="r1"), NOW_US)
    assert (await learned_states(connection))["auto"].learned["small"].events == 1


async def test_a_call_teaches_once_by_what_was_said_of_it_last(
    connection: Connection, shop: Shop, calls: Calls
) -> None:
    (name,) = await calls.make(run="r1", route=ROUTE)
    for number in range(EVENTS_MIN):
        await add_outcome(connection, shop.key, thumbs(str(number), 0.0, call=name), NOW_US)
        await add_outcome(connection, shop.key, thumbs(f"run {number}", 0.0, run="r1"), NOW_US)
    small = (await learned_states(connection))["auto"].learned["small"]
    assert small.events == 2  # the call, and the run as a whole
    assert small.shift < 0
    await add_outcome(connection, shop.key, thumbs("last", 1.0, call=name), NOW_US)
    await add_outcome(connection, shop.key, thumbs("last of the run", 1.0, run="r1"), NOW_US)
    assert (await learned_states(connection))["auto"].learned["small"].shift > 0


async def test_a_key_alone_teaches_within_bounds_and_beside_others_as_much_as_they(
    connection: Connection, shop: Shop, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bursar.store.outcomes.ALONE_MAX", 3)
    other, _ = await create_key(connection, "other", UNLIMITED, Scope(), NOW_US)
    for name in await calls.make(8, route=ROUTE):
        await add_outcome(connection, shop.key, thumbs(name, 0.0, call=name), NOW_US)
    assert (await learned_states(connection))["auto"].learned["small"].events == 3
    for name in await calls.make(5, route=ROUTE, key_id=other.key_id):
        await add_outcome(connection, other, thumbs(name, 1.0, call=name), NOW_US)
    assert (await learned_states(connection))["auto"].learned["small"].events == 5 + 5


async def test_ids_are_a_keys_own(connection: Connection, shop: Shop, calls: Calls) -> None:
    other, _ = await create_key(connection, "other", UNLIMITED, Scope(), NOW_US)
    (mine,), (theirs,) = await calls.make(), await calls.make(key_id=other.key_id)
    assert not await add_outcome(connection, shop.key, thumbs("1", call=mine), NOW_US)
    assert not await add_outcome(connection, other, thumbs("1", 0.0, call=theirs), NOW_US)
    assert len(await recent_outcomes(connection)) == 2


async def test_a_drift_is_told_once_by_an_alert(connection: Connection, shop: Shop, calls: Calls) -> None:
    for number, name in enumerate(await calls.make(30, route=ROUTE)):
        await add_outcome(connection, shop.key, thumbs(str(number), 0.0, call=name), NOW_US)
    terms = PriceTerms(0, 0)
    (alert,) = await make_price_alerts(connection, terms, NOW_US, None)
    assert alert.text.startswith(
        "the answers of small for auto have come out otherwise than expected, by 30 outcomes: "
    )
    assert await make_price_alerts(connection, terms, NOW_US + 1, None) == []
    assert [each.alert.type for each in await recent_alerts(connection, 5)] == ["route.drift"]
    assert alert.kind is AlertKind.route_drift


async def test_how_targets_answer_is_known_from_twenty_answers_on(
    connection: Connection, calls: Calls, shop: Shop
) -> None:
    await calls.make(19)
    assert await recent_manners(connection, NOW_US) == []
    await calls.make(1)
    assert await recent_manners(connection, NOW_US) == [Manners("openai/gpt-4o-mini", 35, 0.2)]
