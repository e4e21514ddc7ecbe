"""A call whose model was chosen keeps by what and why, from the spool to what the API shows."""

from pathlib import Path

import pytest
from bookkeeping import USD, Shop, attempt, open_shop, write
from inline_snapshot import snapshot

from bursar.core.ids import call_name
from bursar.core.records import Call, Route
from bursar.ledger.journal import Intent
from bursar.store.database import Connection
from bursar.store.reports import one_call, recent_calls
from bursar.store.spool import Spool

ROUTE = Route("auto", "small", "learned", "94 % of such questions", 936_500, 12_000, 950_000, True, "big")


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


async def shown(connection: Connection, shop: Shop, folder: Path, url: str, route: Route | None) -> object:
    intent = shop.intent(USD, route=route)
    await write(shop, folder, url, intent, shop.settled(intent, attempt(USD // 2)))
    found = await one_call(connection, call_name(intent.call.call_id))
    assert found is not None
    assert found["route"] == (await recent_calls(connection))[0]["route"]
    return found["route"]


async def test_what_was_expected_of_the_chosen_model_is_in_the_books(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    assert await shown(connection, shop, tmp_path, database_url, ROUTE) == snapshot(
        {
            "policy": "auto",
            "model": "small",
            "how": "learned",
            "why": "94 % of such questions",
            "expected_quality": 0.9365,
            "expected_cost_usd": "0.000012",
            "promised": True,
            "reference": "big",
        }
    )


async def test_what_nobody_could_say_is_null_and_no_zero(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    route = Route("auto", "small", "rule", "the prompt is short")
    assert await shown(connection, shop, tmp_path, database_url, route) == snapshot(
        {
            "policy": "auto",
            "model": "small",
            "how": "rule",
            "why": "the prompt is short",
            "expected_quality": None,
            "expected_cost_usd": None,
            "promised": False,
            "reference": None,
        }
    )


async def test_a_call_that_named_its_model_has_no_route(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    assert await shown(connection, shop, tmp_path, database_url, None) is None


async def test_a_crash_leaves_the_choice_in_the_spool(shop: Shop, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(shop.intent(USD, route=ROUTE))
    spool.close()
    again = Spool(tmp_path)
    found = [entry for entry, _ in again.scan(again.start)]
    again.close()
    assert isinstance(found[0], Intent)
    assert found[0].call.route == ROUTE
    assert isinstance(found[0].call, Call)
