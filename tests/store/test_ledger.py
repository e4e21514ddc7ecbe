"""Many submit at once and are written in groups; each hears what became of its own, whatever happens to the line."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from bookkeeping import NOW_US, Proxy

from bursar.core.errors import BooksError
from bursar.ledger.chart import Code
from bursar.ledger.transfer import EVENT_AHEAD_US_MAX, Kind, Linked, Reason, Status, Transfer
from bursar.store import ledger as module
from bursar.store.accounts import Opening, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection
from bursar.store.leases import id_of
from bursar.store.ledger import Ledger


def clock_us() -> int:
    return NOW_US


@pytest.fixture
async def accounts(connection: Connection) -> list[int]:
    """Open an account that may owe and three that may not."""
    openings = [Opening(f"{number}", Code.grants, limited=number > 0) for number in range(4)]
    return [(await open_account(connection, 1, opening, NOW_US))[0] for opening in openings]


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(database_url, 1, 0, clock_us)
    await ledger.open()
    yield ledger
    await ledger.close()


def move(name: object, debit: int, credit: int, amount: int = 1, kind: Kind = Kind.post, hold: object = "") -> Transfer:
    hold_id, held = (id_of(hold), amount) if hold else (b"", 0)
    return Transfer(id_of(name), debit, credit, amount, kind, Reason.correction, NOW_US, hold_id, held)


async def transfers_of(connection: Connection) -> int:
    return await connection.fetchval("select count(*) from transfers")


async def test_many_callers_share_few_commits(connection: Connection, accounts: list[int], ledger: Ledger) -> None:
    source, *purses = accounts

    async def caller(number: int) -> None:
        purse = purses[number % 3]
        assert await ledger.submit([move(f"in {number}", source, purse, 5)]) == [Status.created]
        assert await ledger.submit([move(f"hold {number}", purse, source, 5, Kind.hold)]) == [Status.created]
        post = move(f"post {number}", purse, source, 5, Kind.post_hold, f"hold {number}")
        assert await ledger.submit([post, post]) == [Status.created, Status.exists]

    await asyncio.gather(*(caller(number) for number in range(60)))
    assert await transfers_of(connection) == 180
    assert ledger.groups <= 12
    assert (await audit(connection)).findings == []


async def test_no_interleaving_overdraws_an_account(
    connection: Connection, accounts: list[int], ledger: Ledger
) -> None:
    source, purse, *_ = accounts
    await ledger.submit([move("in", source, purse, 50)])
    statuses = await asyncio.gather(*(ledger.submit([move(n, purse, source)]) for n in range(80)))
    assert [each for (each,) in statuses].count(Status.created) == 50
    assert [each for (each,) in statuses].count(Status.exceeds_credits) == 30
    assert (await audit(connection)).findings == []


async def test_chains_and_the_clock_are_judged_as_everywhere(
    connection: Connection, accounts: list[int], ledger: Ledger
) -> None:
    source, purse, *_ = accounts
    chain = Linked((move("a", source, purse, 5), move("b", purse, source, 6)))
    late = Transfer(id_of("late"), source, purse, 1, Kind.post, Reason.correction, NOW_US + EVENT_AHEAD_US_MAX + 1)
    statuses = await asyncio.gather(ledger.submit([chain, late]), ledger.submit([move("c", source, purse)]))
    assert statuses == [
        [Status.linked_transfer_failed, Status.exceeds_credits, Status.event_time_out_of_range],
        [Status.created],
    ]
    assert await transfers_of(connection) == 1
    assert await ledger.submit([]) == []


async def test_a_fault_is_its_submitters_alone(connection: Connection, accounts: list[int], ledger: Ledger) -> None:
    source, purse, *_ = accounts
    with pytest.raises(ValueError, match="ids of 16 bytes"):
        await ledger.submit([Transfer(b"short", source, purse, 1, Kind.post, Reason.correction, NOW_US)])
    await connection.execute("reset role")
    await connection.execute("alter table transfers add constraint no_sevens check (amount_nano <> 7)")
    outcomes = await asyncio.gather(
        *(ledger.submit([move(n, source, purse, n)]) for n in (6, 7, 8)), return_exceptions=True
    )
    assert outcomes[0] == outcomes[2] == [Status.created]
    assert isinstance(outcomes[1], BooksError)
    assert "no_sevens" in str(outcomes[1])
    assert (await audit(connection)).findings == []


@pytest.mark.parametrize("reply", range(1, 9))
async def test_a_line_cut_at_any_reply_books_everything_once(
    connection: Connection, database_url: str, accounts: list[int], reply: int
) -> None:
    source, purse, *_ = accounts
    replies = 0

    def cut(_data: bytes) -> bool:
        nonlocal replies
        replies += 1
        return replies == reply

    async with Proxy(database_url) as proxy:
        ledger = Ledger(proxy.url, 1, 0, clock_us)
        await ledger.open()
        proxy.cut_reply = cut
        chain = Linked((move("in", source, purse, 9), move("out", purse, source, 4)))
        outcomes = await asyncio.gather(
            ledger.submit([chain]), *(ledger.submit([move(n, source, purse)]) for n in range(5))
        )
        await ledger.close()
    assert proxy.cuts == 1
    assert all(status.ok for statuses in outcomes for status in statuses)
    assert await transfers_of(connection) == 7
    assert (await audit(connection)).findings == []


async def test_a_database_that_stays_away_is_said_so(database_url: str, accounts: list[int]) -> None:
    source, purse, *_ = accounts
    async with Proxy(database_url) as proxy:
        ledger = Ledger(proxy.url, 1, 0, clock_us, patience_s=0.2)
        await ledger.open()
        proxy.cut_reply = lambda _data: True
        with pytest.raises(BooksError, match="the database is away"):
            await ledger.submit([move("in", source, purse)])
        proxy.cut_reply = lambda _data: False
        assert (await ledger.submit([move("in", source, purse)]))[0].ok
        await ledger.close()


async def test_what_was_submitted_is_written_before_closing(
    connection: Connection, accounts: list[int], database_url: str
) -> None:
    source, purse, *_ = accounts
    ledger = Ledger(database_url, 1, 0, clock_us)
    with pytest.raises(BooksError, match="closed"):
        await ledger.submit([])
    await ledger.open()
    waiting = [asyncio.create_task(ledger.submit([move(n, source, purse)])) for n in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    assert await asyncio.gather(*waiting) == [[Status.created]] * 20
    with pytest.raises(BooksError, match="closed"):
        await ledger.submit([move("late", source, purse)])
    assert await transfers_of(connection) == 20


async def test_who_gives_up_waiting_disturbs_nobody(
    connection: Connection, accounts: list[int], ledger: Ledger
) -> None:
    source, purse, *_ = accounts
    tasks = [asyncio.create_task(ledger.submit([move(n, source, purse)])) for n in range(9)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, BaseException)] == [[Status.created]] * 6
    assert await transfers_of(connection) == 6


async def test_two_ledgers_of_one_chain_take_turns(
    connection: Connection, accounts: list[int], ledger: Ledger, database_url: str
) -> None:
    other = Ledger(database_url, 1, 0, clock_us)
    await other.open()
    dice = random.Random(3)
    source, *purses = accounts
    await ledger.submit([move(f"in {purse}", source, purse, 1_000) for purse in purses])
    both = (ledger, other)
    moves = [move(n, *dice.sample(purses, 2), dice.randint(0, 9)) for n in range(100)]
    outcomes = await asyncio.gather(*(dice.choice(both).submit([each]) for each in moves for _ in range(2)))
    assert [status for (status,) in outcomes].count(Status.created) == 100
    await other.close()
    assert (await audit(connection)).findings == []


async def test_a_group_has_its_bounds(
    connection: Connection, accounts: list[int], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_MAX", 10)
    source, purse, *_ = accounts
    large = [move(("large", n), source, purse) for n in range(25)]
    outcomes = await asyncio.gather(ledger.submit(large), *(ledger.submit([move(n, source, purse)]) for n in range(20)))
    assert {status for statuses in outcomes for status in statuses} == {Status.created}
    assert ledger.groups >= 3
    assert await transfers_of(connection) == 45


async def test_a_server_that_is_told_to_end_the_connection_is_asked_again(
    connection: Connection, accounts: list[int], ledger: Ledger
) -> None:
    source, purse, *_ = accounts
    assert await ledger.submit([move("before", source, purse)]) == [Status.created]
    await connection.execute("reset role")
    others = "datname = current_database() and pid <> pg_backend_pid()"
    await connection.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}")
    assert await ledger.submit([move("after", source, purse)]) == [Status.created]
