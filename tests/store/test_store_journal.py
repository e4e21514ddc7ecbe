"""The spool reaches the books exactly once: whole groups, in any order of crashes, and nothing twice."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bookkeeping import NOW_US, USD, Proxy, Shop, attempt, drain, open_shop, until, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import BooksError
from bursar.core.records import AttemptStatus, CallStatus
from bursar.core.times import SECOND_US
from bursar.ledger.journal import CardUsed, Closed, Entry
from bursar.ledger.transfer import Kind
from bursar.store import journal as journal_module
from bursar.store import spool as spool_module
from bursar.store.audit import audit
from bursar.store.database import Connection
from bursar.store.gateways import take_place
from bursar.store.journal import GROUP_MAX, Fenced, Journal, next_wait_s, part_of
from bursar.store.leases import expire_holds
from bursar.store.spool import Position, Spool

LATER_US = NOW_US + 2 * SECOND_US


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


@asynccontextmanager
async def opened(shop: Shop, folder: Path, url: str) -> AsyncIterator[tuple[Spool, Journal]]:
    """Open a spool and its journal, as a gateway does at its start."""
    spool = Spool(folder)
    journal = shop.journal(spool, url)
    try:
        await journal.open()
        yield spool, journal
    finally:
        await journal.close()
        spool.close()


async def balances_of(connection: Connection) -> dict[str, list[int]]:
    """Return pending and posted debits and credits by account, the budget's id left out of the names."""
    rows = await connection.fetch(
        "select name, debits_pending, debits_posted, credits_pending, credits_posted from accounts order by account_id"
    )
    return {":".join(row["name"].split(":")[:2]).split("bud_")[0]: list(row.values())[1:] for row in rows}


async def transfers_of(connection: Connection) -> list[tuple[str, int, str]]:
    """Return the gateway's transfers: kind, amount and the name of the account they go to."""
    rows = await connection.fetch(
        "select kind, amount_nano, accounts.name from transfers join accounts on account_id = credit_account"
        " where chain > 0 order by seq"
    )
    return [(Kind(row["kind"]).name, row["amount_nano"], row["name"].split(":")[1]) for row in rows]


async def everything(connection: Connection) -> list[Any]:
    """Read all that a journal writes."""
    tables = ("accounts", "transfers", "chains", "calls", "rate_cards")
    return [
        [tuple(row) for row in await connection.fetch(f"select * from {table} order by 1, 2, 3")] for table in tables
    ]


async def is_sound(connection: Connection) -> bool:
    return (await audit(connection)).findings == []


async def test_a_commit_writes_record_transfers_balances_and_position_together(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    entries = [CardUsed("p", b"{}", "somewhere", "2026-11-01", NOW_US), *shop.call(3 * USD, 9 * USD)]
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        for entry in entries:
            spool.append(entry)
        await drain(journal, spool)
    assert await transfers_of(connection) == snapshot([("post", 3000000000, "openai")])
    assert await balances_of(connection) == snapshot(
        {
            "budget:": [0, 50000000000, 0, 100000000000],
            "grants": [0, 100000000000, 0, 0],
            "lease:1": [0, 3000000000, 0, 50000000000],
            "used:usd": [0, 0, 0, 0],
            "overage:budget": [0, 0, 0, 0],
            "payable:openai": [0, 0, 0, 3000000000],
            "payable:anthropic": [0, 0, 0, 0],
        }
    )
    call = await connection.fetchrow("select * from calls")
    assert call is not None
    assert (call["cost_nano"], call["held_nano"], call["key_id"]) == (3 * USD, 9 * USD, shop.key.key_id)
    assert await connection.fetchval("select rates from rate_cards where price_id = 'p'") == "{}"
    assert await is_sound(connection)


CASES = {
    "a hold of a second ago is shown": snapshot([("hold", 10, "openai")]),
    "a shown hold is posted": snapshot([("hold", 10, "openai"), ("post_hold", 4, "openai")]),
    "a shown hold is voided when nothing is owed": snapshot([("hold", 10, "openai"), ("void_hold", 0, "openai")]),
    "a shown hold is posted in full and more beside it": snapshot(
        [("hold", 10, "openai"), ("post_hold", 10, "openai"), ("post", 3, "openai")]
    ),
    "a fallback owes another provider than the hold was for": snapshot(
        [("hold", 10, "openai"), ("void_hold", 0, "openai"), ("post", 5, "anthropic")]
    ),
    "what the lease cannot pay is overage": snapshot(
        [("hold", 10, "openai"), ("post_hold", 10, "openai"), ("post", 15, "openai")]
    ),
    "a call that cost nothing leaves no transfer": snapshot([]),
}


@pytest.mark.parametrize("case", CASES)
async def test_calls_become_transfers(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path, case: str
) -> None:
    intent = shop.intent(10)
    lost = attempt(0, provider="openai", status=AttemptStatus.failed, http_status=500)
    endings: dict[str, list[Entry]] = {
        "a hold of a second ago is shown": [],
        "a shown hold is posted": [shop.settled(intent, attempt(4))],
        "a shown hold is voided when nothing is owed": [shop.settled(intent, lost, status=CallStatus.failed)],
        "a shown hold is posted in full and more beside it": [shop.settled(intent, attempt(13))],
        "a fallback owes another provider than the hold was for": [
            shop.settled(intent, lost, attempt(5, provider="anthropic"))
        ],
        "what the lease cannot pay is overage": [shop.settled(intent, attempt(25), overage_nano=15)],
        "a call that cost nothing leaves no transfer": shop.call(0, 5),
    }
    shown = "nothing" not in case or "voided" in case
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        if shown:
            spool.append(intent)
            await drain(journal, spool, LATER_US)
        for entry in endings[case]:
            spool.append(entry)
        await drain(journal, spool, LATER_US)
    assert await transfers_of(connection) == CASES[case]
    assert await connection.fetchval("select count(*) from calls") == (1 if endings[case] else 0)
    assert await is_sound(connection)


def busy_day(shop: Shop) -> list[tuple[Entry, int]]:
    """Return entries of every kind, each with the moment at which it is committed if it is committed alone."""
    long, longer, fallback = shop.intent(40), shop.intent(50, provider="anthropic"), shop.intent(60)
    lost = attempt(7, status=AttemptStatus.lost, http_status=0)
    return [
        (CardUsed("p", b"{}", "", "", NOW_US), NOW_US),
        *((entry, NOW_US) for entry in shop.call(5, 9)),
        (long, LATER_US),
        (longer, LATER_US),
        *((entry, NOW_US) for entry in shop.call(0, 9)),
        (shop.settled(longer, attempt(50, provider="anthropic")), LATER_US),
        (fallback, LATER_US),
        (shop.settled(fallback, lost, attempt(8, provider="anthropic")), LATER_US),
        (shop.settled(long, attempt(90), overage_nano=20), LATER_US),
        *((entry, LATER_US) for entry in shop.call(6, 6, LATER_US)),
        (Closed(LATER_US), LATER_US),
    ]


async def test_a_crash_after_every_entry_changes_nothing(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "GROUP_MAX", 1)
    day = busy_day(shop)
    spool = Spool(tmp_path)
    for entry, _ in day:
        spool.append(entry)
    spool.close()
    for _, at_us in day:
        async with opened(shop, tmp_path, database_url) as (spool, journal):
            assert await journal.commit_group(at_us) == 1
        # Opened again, the books stand where the last commit has left them.
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        assert journal.position == spool.end
        assert journal.under_way() == []
        before = await everything(connection)
        assert await journal.commit_group(LATER_US) == 0
        assert await everything(connection) == before
    assert await connection.fetchval("select sum(cost_nano) from calls") == 5 + 0 + 50 + 15 + 90 + 6
    assert await connection.fetchval("select count(*) from calls") == 6
    assert (await balances_of(connection))["lease:1"][:2] == [0, 5 + 50 + 15 + 70 + 6]
    assert await is_sound(connection)


async def test_what_comes_during_a_commit_waits_until_a_group_has_gathered(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_s, loop = 0.03, asyncio.get_running_loop()
    began_s: list[float] = []
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        journal._group_wait_s = wait_s
        commit_group = journal.commit_group

        async def commit(now_us: int) -> int:
            began_s.append(loop.time())
            count = await commit_group(now_us)
            if len(began_s) < 5:
                for entry in shop.call(7, 9):
                    spool.append(entry)
            return count

        monkeypatch.setattr(journal, "commit_group", commit)
        running = asyncio.create_task(journal.run(lambda: NOW_US))
        for entry in shop.call(7, 9):
            spool.append(entry)
        journal.wake()
        deadline_s = loop.time() + 10
        while journal.commits < 5:
            assert loop.time() < deadline_s
            await asyncio.sleep(0.005)
        running.cancel()
    assert all(later - earlier >= next_wait_s(2, wait_s) for earlier, later in itertools.pairwise(began_s))
    assert await connection.fetchval("select count(*) from calls") == 5
    assert await is_sound(connection)


def test_groups_of_a_busy_gateway_gather_for_longer() -> None:
    waits_s = [next_wait_s(count, 0.025) for count in (0, 50, 100, 200, 2_000)]
    assert waits_s == pytest.approx([0.005, 0.005, 0.010, 0.020, 0.025])
    assert next_wait_s(2_000, 0.0) == 0.0  # strict: somebody waits


def test_a_large_group_lets_calls_through_no_more_often_than_a_small_one() -> None:
    counts = (1, 64, 200, 384, 385, GROUP_MAX)
    assert [part_of(count) for count in counts] == [64, 64, 64, 64, 65, 334]
    assert all(-(-count // part_of(count)) <= 6 for count in range(1, GROUP_MAX + 1))


async def test_a_commit_that_was_not_heard_of_is_not_made_again(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    async with Proxy(database_url) as proxy, opened(shop, tmp_path, proxy.url) as (spool, journal):
        await journal.commit_group(NOW_US)
        # The answer to the first commit, a row and that there may be more, is lost on its way back.
        proxy.cut_reply = lambda data: b"s\0\0\0\4" in data and proxy.cuts == 0
        running = asyncio.create_task(journal.run(lambda: NOW_US))
        for _ in range(20):
            for entry in shop.call(7, 9):
                spool.append(entry)
        await asyncio.wait_for(journal.committed(), 10)
        assert proxy.cuts == 1
        assert journal.commits == 1  # that another had happened was read from the books
        for entry in shop.call(7, 9):
            spool.append(entry)
        await asyncio.wait_for(journal.committed(), 10)
        running.cancel()
    assert await connection.fetchval("select count(*) from calls") == 21
    assert (await balances_of(connection))["payable:openai"][3] == 21 * 7
    assert await is_sound(connection)


@pytest.mark.parametrize("cut_at", [1, 2, 3, 4, 5, 6, 8, 10, 12])
async def test_a_line_cut_at_any_reply_loses_nothing(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path, cut_at: int
) -> None:
    async with Proxy(database_url) as proxy, opened(shop, tmp_path, proxy.url) as (spool, journal):
        running = asyncio.create_task(journal.run(lambda: NOW_US))
        before = proxy.replies
        # Cut once while it commits, and once more while it comes back.
        proxy.cut_reply = lambda data: proxy.cuts < 2 and proxy.replies - before >= cut_at * (proxy.cuts + 1)
        count = 0
        while proxy.cuts < 2:
            count += 1
            for entry in (CardUsed(f"p{count}", b"{}", "", "", NOW_US), *shop.call(7, 9)):
                spool.append(entry)
            await asyncio.wait_for(journal.committed(), 10)
        assert not running.done()
        running.cancel()
    assert await connection.fetchval("select count(*) from calls") == count
    assert await is_sound(connection)


async def test_a_replaced_gateway_is_fenced_and_writes_nothing(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        await take_place(connection, "gw_test", NOW_US, spool_is_new=False)
        for entry in shop.call(5):
            spool.append(entry)
        before = await everything(connection)
        with pytest.raises(Fenced, match="replaced"):
            await drain(journal, spool)
        assert await everything(connection) == before
        with pytest.raises(Fenced):
            await shop.journal(spool, database_url).open()


async def test_a_group_is_written_whole_or_not_at_all(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    intent = shop.intent(5)
    stray = shop.settled(intent, attempt(5))
    stray = type(stray)(stray.record, 999, stray.budget_account, stray.overage_account, 999, stray.debts)
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        for entry in (*shop.call(3), intent, stray):
            spool.append(entry)
        before = await everything(connection)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="not in the books"):
            await drain(journal, spool)
    assert await everything(connection) == before


async def test_a_lease_cannot_be_overspent_whatever_a_spool_says(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="limited_account_never_owes"):
        await write(shop, tmp_path, database_url, *shop.call(50 * USD + 1))
    assert await connection.fetchval("select count(*) from calls") == 0
    assert await is_sound(connection)


async def test_calls_without_an_end_are_under_way(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    first, second, third = shop.intent(1), shop.intent(2), shop.intent(3)
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        for entry in (first, second, shop.settled(first, attempt(1)), third):
            spool.append(entry)
        assert journal.under_way() == [second, third]
        await drain(journal, spool)
    async with opened(shop, tmp_path, database_url) as (_, journal):
        assert journal.under_way() == [second, third]


async def test_segments_go_once_they_are_in_the_books_and_nothing_in_them_is_under_way(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 2_048)
    long = shop.intent(5)
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        for entry in (*shop.call(1), long, *(entry for _ in range(20) for entry in shop.call(1))):
            spool.append(entry)
        assert spool.segment > 2
        await drain(journal, spool)
        assert spool.start == Position(1, 0)  # where the long call began
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        spool.append(shop.settled(long, attempt(5)))
        await drain(journal, spool)
        assert spool.start == Position(spool.segment, 0) > Position(2, 0)


async def test_whoever_waits_is_told_once_it_is_in_the_books(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        for entry in shop.call(5):
            spool.append(entry)
        told = journal.committed()
        running = asyncio.create_task(journal.run(lambda: NOW_US))
        await asyncio.wait_for(told, 10)
        assert await connection.fetchval("select count(*) from calls") == 1
        running.cancel()


async def test_a_hold_is_shown_when_its_second_has_passed_without_any_news(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    now_us = NOW_US
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        running = asyncio.create_task(journal.run(lambda: now_us))
        spool.append(shop.intent(5))
        await asyncio.wait_for(journal.committed(), 10)
        assert await transfers_of(connection) == []
        now_us = LATER_US
        commits = journal.commits
        journal.wake()
        await until(lambda: journal.commits > commits)
        assert await transfers_of(connection) == [("hold", 5, "openai")]
        running.cancel()
    assert (await balances_of(connection))["lease:1"][0] == 5
    assert await is_sound(connection)


async def test_a_gateway_that_stopped_in_order_is_closed_until_it_writes_again(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    await write(shop, tmp_path, database_url, *shop.call(5), Closed(LATER_US))
    assert await connection.fetchval("select closed_us from gateways") == LATER_US
    await write(shop, tmp_path, database_url, *shop.call(5))
    assert await connection.fetchval("select closed_us from gateways") is None


async def test_a_database_that_is_away_is_an_error_of_the_books(shop: Shop, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    journal = shop.journal(spool, f"postgresql://bursar@/bursar?host={tmp_path}")
    with pytest.raises(BooksError, match="cannot reach the database"):
        await journal.open()
    assert journal.away
    spool.close()


class PowerLoss:
    """Take a spool's files back to what they were: what is written and not synced may be gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = {path.name: path.read_bytes() for path in folder.iterdir()}

    def strike(self) -> None:
        for path in self._folder.iterdir():
            if path.name not in self._kept:
                path.unlink()
        for name, data in self._kept.items():
            (self._folder / name).write_bytes(data)


@pytest.mark.parametrize("calls_more", [1, 60])
async def test_calls_after_a_power_loss_reach_the_books_although_the_spool_lost_its_end(
    connection: Connection,
    database_url: str,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls_more: int,
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 4_096)
    await write(shop, tmp_path, database_url, *shop.call(1))
    power = PowerLoss(tmp_path)
    # The database syncs its commits, the spool does so once a second: the books are ahead of it.
    await write(shop, tmp_path, database_url, *(entry for _ in range(calls_more) for entry in shop.call(1)))
    power.strike()
    for count in range(1, 5):
        async with opened(shop, tmp_path, database_url) as (spool, journal):
            for entry in shop.call(1):
                spool.append(entry)
            await drain(journal, spool)
        assert await connection.fetchval("select count(*) from calls") == 1 + calls_more + count
    assert await is_sound(connection)


async def test_a_call_the_books_know_is_not_under_way_although_the_spool_lost_its_end(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    known, unknown = shop.intent(5), shop.intent(6)
    await write(shop, tmp_path, database_url, known, unknown)
    power = PowerLoss(tmp_path)
    await write(shop, tmp_path, database_url, shop.settled(known, attempt(5)))
    power.strike()
    async with opened(shop, tmp_path, database_url) as (spool, journal):
        assert journal.under_way() == [unknown]
        spool.append(shop.settled(unknown, attempt(6)))
        await drain(journal, spool)
    assert await connection.fetchval("select sum(cost_nano) from calls") == 11
    assert await is_sound(connection)


plans = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "quick", "fallback", "overrun", "commit", "crash", "pass"]),
        st.integers(0, 50),
        st.sampled_from(["openai", "anthropic"]),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans)
async def test_whatever_happens_the_books_are_the_sum_of_the_calls(
    connection: Connection,
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    plan: list[tuple[str, int, str]],
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    number = await connection.fetchval("select count(*) from gateways")
    shop = await open_shop(connection, name=f"app {number}", gateway=f"gw_{number}")
    now_us, paid, overrun = NOW_US, {"openai": 0, "anthropic": 0}, 0
    begun: list[tuple[Any, str]] = []
    async with opened(shop, folder, database_url) as (spool, journal):
        for what, amount, provider in plan:
            now_us += 100_000
            match what:
                case "begin":
                    begun.append((shop.intent(amount, now_us, provider), provider))
                    spool.append(begun[-1][0])
                case "end" | "fallback" | "overrun" if begun:
                    intent, first = begun.pop(amount % len(begun))
                    attempts = [attempt(amount, now_us, first)]
                    if what == "fallback":
                        attempts.append(attempt(amount, now_us, provider))
                    over = amount // 2 if what == "overrun" else 0
                    spool.append(shop.settled(intent, *attempts, overage_nano=over))
                    for each in attempts:
                        paid[each.provider] += each.cost_nano
                    overrun += over
                case "quick":
                    for entry in shop.call(amount, 50, now_us, provider="openai"):
                        spool.append(entry)
                    paid["openai"] += amount
                case "commit":
                    await journal.commit_group(now_us)
                case "crash":
                    await journal.close()
                    spool.close()
                    spool = Spool(folder)
                    journal = shop.journal(spool, database_url)
                    await journal.open()
                case "pass":
                    now_us += amount * 50_000
        for intent, provider in begun:
            spool.append(shop.settled(intent, attempt(0, now_us, provider)))
        await drain(journal, spool, now_us)
        await journal.close()
        spool.close()
    rows = await connection.fetch("select account_id, debits_pending, debits_posted, credits_posted from accounts")
    sums = {row["account_id"]: list(row.values())[1:] for row in rows}
    for provider, payable in shop.payables.items():
        assert sums[payable] == [0, 0, paid[provider]]
    assert sums[shop.grant.lease_account][:2] == [0, sum(paid.values()) - overrun]
    assert sums[shop.grant.overage_account][1] == overrun
    assert await is_sound(connection)


async def test_holds_of_calls_the_spool_has_forgotten_expire_once(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    forgotten, ended = shop.intent(40), shop.intent(50)
    await write(shop, tmp_path, database_url, forgotten, ended, now_us=LATER_US)
    await write(shop, tmp_path, database_url, shop.settled(ended, attempt(30)))
    assert await connection.fetchval("select sum(debits_pending) from accounts") == 40
    assert await expire_holds(connection, shop.place.gateway, LATER_US) == 1
    assert await expire_holds(connection, shop.place.gateway, LATER_US + 1) == 0
    assert await connection.fetchval("select sum(debits_pending + credits_pending) from accounts") == 0
    assert await is_sound(connection)
