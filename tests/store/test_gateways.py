"""Gateways at their database: found again by their spools, fenced by epoch, honest about what they may have lost."""

import asyncio
from pathlib import Path

import pytest
from bookkeeping import NOW_US, USD, open_shop, write

from bursar.core.errors import OperatorError
from bursar.ledger.journal import Closed
from bursar.store import gateways
from bursar.store.database import Connection, connect
from bursar.store.gateways import (
    Place,
    gateway_name,
    give_up_dead,
    open_leases,
    settle_dead,
    still_has_place,
    take_place,
)
from bursar.store.journal import Fenced, Journal
from bursar.store.leases import OpenLease
from bursar.store.spool import Spool


async def place_of(connection: Connection, name: str = "gw_a") -> Place:
    return await take_place(connection, name, NOW_US, spool_is_new=False)


def test_a_spool_names_its_gateway_once_and_for_all(tmp_path: Path) -> None:
    name = gateway_name(tmp_path / "spool")
    assert name.startswith("gw_")
    assert gateway_name(tmp_path / "spool") == name
    assert gateway_name(tmp_path / "other") != name
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


async def test_a_gateways_name_is_refused_for_as_long_as_another_has_it(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "_LOCK_WAIT_S", 0.3)
    await place_of(connection)
    other = await connect(database_url)
    with pytest.raises(OperatorError, match="gateway gw_a runs already: was its data folder copied"):
        await place_of(other, "gw_a")
    assert (await place_of(other, "gw_b")).gateway == 2
    await connection.close()
    assert await place_of(other, "gw_a") == Place(1, 2, False)
    await other.close()


async def test_a_place_that_becomes_free_while_waiting_is_taken(connection: Connection, database_url: str) -> None:
    await place_of(connection)
    other = await connect(database_url)
    waiting = asyncio.create_task(place_of(other))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await connection.close()
    assert await asyncio.wait_for(waiting, 5) == Place(1, 2, False)
    await other.close()


async def test_the_same_gateway_begins_a_new_epoch_each_time(connection: Connection, database_url: str) -> None:
    first = await place_of(connection)
    assert first == Place(1, 1, False)
    assert await place_of(connection) == Place(1, 2, False)
    assert await still_has_place(connection, "gw_a", Place(1, 2, False))
    assert not await still_has_place(connection, "gw_a", first)


async def test_a_lost_session_that_somebody_else_has_taken_is_not_had_any_more(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "_LOCK_WAIT_S", 0.3)
    place = await place_of(connection)
    other = await connect(database_url)
    assert not await still_has_place(other, "gw_a", place)
    await other.close()


@pytest.mark.parametrize(
    ("closed", "rebooted", "spool_is_new", "lost"),
    [
        (False, False, False, False),  # killed: the spool has everything
        (False, True, False, True),  # power was lost
        (False, False, True, True),  # its spool is gone
        (True, True, False, False),  # stopped in order, then booted again
        (True, False, True, False),
        (True, True, True, False),
    ],
)
async def test_what_may_have_been_lost_is_known_from_boot_and_spool(
    connection: Connection,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    closed: bool,
    rebooted: bool,
    spool_is_new: bool,
    lost: bool,
) -> None:
    shop = await open_shop(connection)
    await write(shop, tmp_path, database_url, *shop.call(5), *([Closed(NOW_US)] if closed else []))
    if rebooted:
        monkeypatch.setattr(gateways, "boot_id", lambda: "another boot")
    place = await take_place(connection, "gw_test", NOW_US, spool_is_new=spool_is_new)
    assert place == Place(1, 2, lost)


async def test_a_gateway_that_has_begun_is_not_closed_before_it_has_written(
    connection: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(connection)
    await write(shop, tmp_path, database_url, Closed(NOW_US))
    await place_of(connection, "gw_test")
    monkeypatch.setattr(gateways, "boot_id", lambda: "another boot")
    assert (await place_of(connection, "gw_test")).may_have_lost


async def test_what_may_be_lost_stays_so_until_it_is_recovered(
    connection: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(connection)
    await write(shop, tmp_path, database_url, *shop.call(5))
    monkeypatch.setattr(gateways, "boot_id", lambda: "another boot")
    assert (await place_of(connection, "gw_test")).may_have_lost
    # Killed before it could set its leases aside, it begins again in the same boot.
    again = await place_of(connection, "gw_test")
    assert again.may_have_lost
    await gateways.recovered(connection, again)
    assert not (await place_of(connection, "gw_test")).may_have_lost


async def test_leases_that_hold_money_are_found_without_what_is_held(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(connection)
    await write(shop, tmp_path, database_url, *shop.call(3 * USD), shop.intent(2 * USD), now_us=NOW_US + 2_000_000)
    name = f"budget:{shop.budget.budget_id}:total"
    lease = OpenLease(1, shop.grant.lease_account, shop.grant.budget_account, 45 * USD, name)
    assert await open_leases(connection, shop.place.gateway) == [lease]
    assert await open_leases(connection, shop.place.gateway + 10) == []


async def test_the_end_of_an_earlier_life_closes_nobody_who_has_begun_since(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(connection)
    await write(shop, tmp_path, database_url, *shop.call(5), Closed(NOW_US - 1))
    assert await connection.fetchval("select closed_us from gateways") is None


async def test_a_gateway_on_its_way_back_begins_anew_when_its_leases_are_decided(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    shop, spool = await open_shop(connection), Spool(tmp_path / "spool")
    assert await give_up_dead(connection, -1, NOW_US)
    back = await take_place(connection, "gw_test", NOW_US, spool_is_new=False)
    assert back.given_up
    journal = Journal(spool, database_url, back.gateway, back.epoch)
    await journal.open()
    assert [lease.available_nano for lease in await settle_dead(connection, "gw_test", NOW_US, spent=True)] == [
        50 * USD
    ]
    for entry in shop.call(USD):
        spool.append(entry)
    with pytest.raises(Fenced):
        await journal.commit_group(NOW_US)
    await journal.close()
    spool.close()
    again = await take_place(connection, "gw_test", NOW_US, spool_is_new=False)
    assert (again.epoch, again.given_up) == (back.epoch + 2, True)
