"""Why a transfer is refused that names a hold of other accounts is what one process alone would have said."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from bookkeeping import NOW_US, open_shop, write

from bursar.core.times import SECOND_US
from bursar.ledger.chart import Code
from bursar.ledger.transfer import Kind, Linked, Reason, Status, Step, Transfer
from bursar.store.accounts import Opening, book, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection, connect
from bursar.store.leases import id_of

WAITING = """
select count(*) from pg_locks join pg_database on pg_database.oid = database
where datname = current_database() and locktype = 'advisory' and not granted
"""


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    other = await connect(database_url)
    yield other
    await other.close()


@pytest.fixture
async def ways(connection: Connection) -> list[tuple[int, int]]:
    """Open four accounts, of which two ways lead between two each."""
    ids = [(await open_account(connection, 1, Opening(f"{n}", Code.grants), NOW_US))[0] for n in range(4)]
    return [(ids[0], ids[1]), (ids[2], ids[3])]


def hold(name: str, way: tuple[int, int]) -> Transfer:
    return Transfer(id_of(name), *way, 5, Kind.hold, Reason.call, NOW_US)


def void(name: str, way: tuple[int, int], held: str) -> Transfer:
    return Transfer(id_of(name), *way, 0, Kind.void_hold, Reason.call, NOW_US, id_of(held), 5)


async def do(connection: Connection, chain: int, *steps: Step) -> list[Status]:
    async with connection.transaction():
        return await book(connection, 1, chain, steps)


async def must_wait(connection: Connection, booking: Awaitable[list[Status]]) -> "asyncio.Future[list[Status]]":
    """Begin a booking, and return it once it waits for another's transaction."""
    begun = asyncio.ensure_future(booking)
    while not await connection.fetchval(WAITING):
        assert not begun.done(), f"it did not wait, and was told {await begun}"
        await asyncio.sleep(0.005)
    return begun


@pytest.mark.parametrize(
    ("made", "told"), [(True, Status.hold_has_other_accounts), (False, Status.hold_not_found)], ids=["made", "not made"]
)
async def test_a_hold_that_is_being_made_is_waited_for(
    connection: Connection, other: Connection, ways: list[tuple[int, int]], *, made: bool, told: Status
) -> None:
    first, second = ways
    transaction = connection.transaction()
    await transaction.start()
    assert await book(connection, 1, 1, [hold("h", first)]) == [Status.created]
    voiding = await must_wait(connection, do(other, 2, void("v", second, "h")))
    await (transaction.commit() if made else transaction.rollback())
    assert await voiding == [told]
    assert await do(other, 2, void("v", second, "h")) == [Status.id_already_failed]
    assert (await audit(connection)).findings == []


async def test_a_hold_that_is_being_ended_is_waited_for(
    connection: Connection, other: Connection, ways: list[tuple[int, int]]
) -> None:
    first, second = ways
    assert await do(connection, 1, hold("h", first)) == [Status.created]
    async with connection.transaction():
        assert await book(connection, 1, 1, [void("end", first, "h")]) == [Status.created]
        voiding = await must_wait(connection, do(other, 2, void("v", second, "h")))
    assert await voiding == [Status.hold_already_voided]
    assert (await audit(connection)).findings == []


@pytest.mark.parametrize("linked", [False, True])
async def test_of_two_that_name_the_hold_the_other_makes_one_is_told_of_it(
    connection: Connection, other: Connection, ways: list[tuple[int, int]], *, linked: bool
) -> None:
    first, second = ways
    one = [hold("h 1", first), void("v 1", first, "h 2")]
    two = [hold("h 2", second), void("v 2", second, "h 1")]
    async with connection.transaction():
        told = await book(connection, 1, 1, [Linked(tuple(one))] if linked else one)
        after = await must_wait(connection, do(other, 2, *two))
    assert told[1] is Status.hold_not_found
    # A chain that was refused has made no hold.
    assert await after == [Status.created, Status.hold_not_found if linked else Status.hold_has_other_accounts]
    assert (await audit(connection)).findings == []


async def test_who_ends_holds_of_its_own_accounts_waits_for_nobody(
    connection: Connection, other: Connection, ways: list[tuple[int, int]]
) -> None:
    first, second = ways
    assert await do(other, 2, hold("old", second)) == [Status.created]
    async with connection.transaction():
        assert await book(connection, 1, 1, [hold("h", first)]) == [Status.created]
        own = [hold("new", second), void("new end", second, "new"), void("old end", second, "old")]
        assert await asyncio.wait_for(do(other, 2, *own), 5) == [Status.created] * 3
        again = [*own, void("late", second, "new")]
        assert await asyncio.wait_for(do(other, 2, *again), 5) == [*[Status.exists] * 3, Status.hold_already_voided]
    assert (await audit(connection)).findings == []


async def test_who_asks_again_about_a_refusal_waits_for_nobody(
    connection: Connection, other: Connection, ways: list[tuple[int, int]]
) -> None:
    first, second = ways
    refused = Transfer(id_of("none"), *second, -1, Kind.hold, Reason.call, NOW_US)
    stray = void("stray", second, "nowhere")
    assert await do(other, 2, refused, stray) == [Status.amount_is_negative, Status.hold_not_found]
    async with connection.transaction():
        assert await book(connection, 1, 1, [hold("h", first)]) == [Status.created]
        told = await asyncio.wait_for(do(other, 2, stray, void("v", second, "none")), 5)
    assert told == [Status.id_already_failed, Status.hold_not_found]


async def test_a_gateway_makes_no_hold_beside_one_who_knows_that_there_is_none(
    connection: Connection, other: Connection, ways: list[tuple[int, int]], database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(other)
    call = shop.intent(40)
    writing = write(shop, tmp_path, database_url, call, now_us=NOW_US + 5 * SECOND_US)
    async with connection.transaction():
        assert await book(connection, 1, 7, [void("v", ways[0], "nowhere")]) == [Status.hold_not_found]
        begun = asyncio.ensure_future(writing)
        while not await connection.fetchval(WAITING):
            assert not begun.done(), "the journal did not wait"
            await asyncio.sleep(0.005)
        assert await other.fetchval("select count(*) from transfers where kind = 2") == 0
    await begun
    assert await other.fetchval("select count(*) from transfers where kind = 2") == 1
    assert (await audit(connection)).findings == []
