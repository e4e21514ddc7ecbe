"""Measure the ledger: holds and posts through its batching front, one hot account, balances of the past.

The anchor is the design of pgledger, written here in PL/pgSQL: one transfer a call, both accounts locked in order, a
balance guard, an entry for each side with the balance before and after and the account's version. Both run on one
PostgreSQL with Bursar's own settings, by one driver, in alternating rounds. Seeded.
"""

import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from bisect import bisect
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import uvloop

from bench.figures import Figure, arguments, show
from bursar.ledger.chain import GENESIS, link
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import NO_ID, Kind, Reason, Status, Transfer
from bursar.store.accounts import Opening, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection, connect, ensure_database, migrate
from bursar.store.history import balance_at
from bursar.store.ledger import Ledger
from bursar.store.postgres import DataFolder, Postgres

SEED = 20261122
TENANT, CHAIN = 1, 0
CALLERS = 64
CONNECTIONS = 16
FUNDS = 10**12
COMMIT = 500

ROW_LOCKS = """
create schema rowlocks;
create table rowlocks.accounts (
    id bigint primary key, balance bigint not null, version bigint not null default 0,
    allow_negative boolean not null default false
);
create table rowlocks.transfers (
    id bytea primary key, from_account bigint not null, to_account bigint not null, amount bigint not null,
    created_at timestamptz not null default now(), check (amount > 0), check (from_account <> to_account)
);
create table rowlocks.entries (
    id bigint generated always as identity primary key, account_id bigint not null, transfer_id bytea not null,
    amount bigint not null, previous_balance bigint not null, current_balance bigint not null,
    account_version bigint not null, created_at timestamptz not null default now()
);
create index on rowlocks.entries (account_id);
create index on rowlocks.entries (transfer_id);
create function rowlocks.move(name bytea, source bigint, target bigint, amount bigint) returns void
language plpgsql as $$
declare
    account rowlocks.accounts;
begin
    perform from rowlocks.accounts where id in (source, target) order by id for update;
    insert into rowlocks.transfers values (name, source, target, amount);
    update rowlocks.accounts set balance = balance - amount, version = version + 1 where id = source
    returning * into account;
    if account.balance < 0 and not account.allow_negative then
        raise exception 'account % would owe', source;
    end if;
    insert into rowlocks.entries (account_id, transfer_id, amount, previous_balance, current_balance, account_version)
    values (source, name, -amount, account.balance + amount, account.balance, account.version);
    update rowlocks.accounts set balance = balance + amount, version = version + 1 where id = target
    returning * into account;
    insert into rowlocks.entries (account_id, transfer_id, amount, previous_balance, current_balance, account_version)
    values (target, name, amount, account.balance - amount, account.balance, account.version);
end $$;
"""


def clock_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


class Zipf:
    """Draw pairs of different accounts, each by its rank to the power of -1."""

    def __init__(self, ids: list[int], seed: int) -> None:
        self._ids = ids
        self._dice = random.Random(seed)
        self._sums = list(accumulate(1 / rank for rank in range(1, len(ids) + 1)))

    def draw(self) -> int:
        """Draw one account."""
        return self._ids[bisect(self._sums, self._dice.random() * self._sums[-1])]

    def pair(self) -> tuple[int, int]:
        """Draw two."""
        one, other = self.draw(), self.draw()
        while one == other:
            other = self.draw()
        return one, other


@contextlib.asynccontextmanager
async def postgres(**settings: str) -> AsyncIterator[tuple[str, Connection]]:
    """Run a PostgreSQL of our own with migrated, empty books; yield its address and a connection of the owner."""
    with tempfile.TemporaryDirectory(prefix="bursar-") as path:
        folder = DataFolder(Path(path))
        folder.create()
        server = Postgres(folder, settings)
        await server.start()
        try:
            await ensure_database(folder.url)
            connection = await connect(folder.url, owner=True)
            await migrate(connection, clock_us())
            await connection.execute("reset role")
            yield folder.url, connection
            await connection.close()
        finally:
            await server.stop()


async def fund(connection: Connection, ledger: Ledger, accounts: int) -> list[int]:
    """Open accounts that may not owe and give each the same, by transfers as everything else."""
    source, _ = await open_account(connection, TENANT, Opening("source", Code.grants), clock_us())
    await connection.execute(
        "with opened as (insert into accounts (tenant, account_id, name, code, limited, opened_us, changed_us)"
        " select 1, nextval('account_ids'), 'purse:' || n, 2100, true, 0, clock_us() from generate_series(1, $1) as n"
        " returning tenant, account_id, changed_us)"
        " insert into account_history select tenant, account_id, changed_us, 0, 0, 0, 0 from opened",
        accounts,
    )
    ids = [row[0] for row in await connection.fetch("select account_id from accounts where code = 2100 order by 1")]
    for some in (ids[start : start + 1_000] for start in range(0, len(ids), 1_000)):
        grants = [_move(number.to_bytes(16, "big"), source, number, FUNDS, Kind.post) for number in some]
        assert set(await ledger.submit(grants)) == {Status.created}
    await connection.execute("vacuum analyze")
    return ids


def _move(name: bytes, debit: int, credit: int, amount: int, kind: Kind, hold: bytes = NO_ID) -> Transfer:
    held = amount if hold else 0
    return Transfer(name, debit, credit, amount, kind, Reason.call, clock_us(), hold, held)


async def for_a_while(seconds: float, pair: Callable[[], Awaitable[None]]) -> float:
    """Let all callers make pairs, one after another each; return pairs a second."""
    began = time.perf_counter()
    made = 0

    async def caller() -> None:
        nonlocal made
        while time.perf_counter() - began < seconds:
            await pair()
            made += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return made / (time.perf_counter() - began)


async def measure_pairs(rounds: int, seconds: int, accounts: int) -> list[Figure]:
    """Measure pairs of hold and post against pairs of the function's transfers, and against one hot account."""
    async with postgres(max_connections=str(CONNECTIONS + 16)) as (url, connection):
        ledger = Ledger(url, TENANT, CHAIN, clock_us)
        await ledger.open()
        ids = await fund(connection, ledger, accounts)
        before = await audit(connection)
        assert not before.findings, before.findings[0]
        zipf, numbers, hot = Zipf(ids, SEED), count(1), ids[0]
        pool = await _row_locks(connection, url, ids)

        async def hold_and_post(debit: int, credit: int) -> None:
            number = next(numbers)
            hold, post = (10**12 + 2 * number).to_bytes(16, "big"), (10**12 + 2 * number + 1).to_bytes(16, "big")
            assert await ledger.submit([_move(hold, debit, credit, 7, Kind.hold)]) == [Status.created]
            assert await ledger.submit([_move(post, debit, credit, 7, Kind.post_hold, hold)]) == [Status.created]

        async def by_function() -> None:
            for _ in range(2):
                name = next(numbers).to_bytes(16, "big")
                await pool.execute("select rowlocks.move($1, $2, $3, $4)", name, *zipf.pair(), 7)

        async def against_hot() -> None:
            debit = zipf.draw()
            await hold_and_post(debit if debit != hot else ids[1], hot)

        ours, theirs, hottest = list[float](), list[float](), list[float]()
        for _ in range(rounds):
            ours.append(await for_a_while(seconds, lambda: hold_and_post(*zipf.pair())))
            theirs.append(await for_a_while(seconds, by_function))
            hottest.append(await for_a_while(seconds, against_hot))
        await ledger.close()
        await pool.close()
        after = await audit(connection)
        assert not after.findings, after.findings[0]
        how = await connection.fetchval("select 'fsync ' || current_setting('fsync')")
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    note = f"{how}, {CALLERS} callers, {accounts:,} accounts, Zipf 1.0; ours {_span(ours)}, the function's "
    note += f"{_span(theirs)} pairs/s over {CONNECTIONS} connections; rounds {min(ratios):.2f} to {max(ratios):.2f}; "
    note += f"{after.transfers:,} transfers, the check finds nothing"
    hot_note = f"{how}, {CALLERS} callers, rounds {_span(hottest)}"
    return [
        Figure("ledger.pairs_vs_function", round(statistics.median(ratios), 2), "times", note=note),
        Figure("ledger.hot_account_pairs", round(statistics.median(hottest)), "pairs/s", note=hot_note),
    ]


def _span(values: list[float]) -> str:
    return f"{min(values):,.0f} to {max(values):,.0f}"


async def _row_locks(connection: Connection, url: str, ids: list[int]) -> asyncpg.Pool:
    """Make the function's own accounts, with the same money."""
    await connection.execute(ROW_LOCKS)
    await connection.execute(
        "insert into rowlocks.accounts (id, balance) select id, $2 from unnest($1::bigint[]) as id", ids, FUNDS
    )
    await connection.execute("vacuum analyze")
    return await asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS)


class Past:
    """Make transfers in commits as the ledger writes them, and remember enough to fold them again."""

    def __init__(self, transfers: int, accounts: int) -> None:
        dice = np.random.default_rng(SEED)
        weights = 1 / np.arange(1, accounts + 1)
        sums = np.cumsum(weights) / weights.sum()
        self.debit = np.searchsorted(sums, dice.random(transfers)) + 1
        self.credit = np.searchsorted(sums, dice.random(transfers)) + 1
        same = self.debit == self.credit
        self.credit[same] = self.debit[same] % accounts + 1
        self.amount = dice.integers(1, 10**9, transfers)
        self.began_us = 1_700_000_000_000_000
        self.accounts = accounts
        self.transfers = transfers

    def at_us(self, transfer: int) -> int:
        """Return the moment of the commit a transfer is in."""
        return self.began_us + (transfer // COMMIT + 1) * 10_000

    def fold(self, account: int, at_us: int) -> tuple[int, int]:
        """Sum an account's debits and credits up to a moment, from the transfers alone."""
        end = max(0, (at_us - self.began_us) // 10_000) * COMMIT
        debits = self.amount[:end][self.debit[:end] == account].sum()
        return int(debits), int(self.amount[:end][self.credit[:end] == account].sum())

    async def load(self, connection: Connection) -> None:
        """Write accounts, transfers, chain and history by COPY."""
        sums = np.zeros((self.accounts + 1, 2), dtype=np.int64)
        digest, seq = GENESIS, 0
        for start in range(0, self.transfers, 100 * COMMIT):
            rows, history = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
            for begin in range(start, min(start + 100 * COMMIT, self.transfers), COMMIT):
                end, at_us = min(begin + COMMIT, self.transfers), self.at_us(begin)
                parts = (self.debit[begin:end], self.credit[begin:end], self.amount[begin:end])
                for debit, credit, amount in zip(*(part.tolist() for part in parts), strict=True):
                    seq += 1
                    name = seq.to_bytes(16, "big")
                    made = Transfer(name, debit, credit, amount, Kind.post, Reason.correction, at_us)
                    digest = link(digest, seq, made)
                    rows.append((1, 0, seq, name, debit, credit, amount, 1, 7, at_us, NO_ID, 0, int(Unit.usd), digest))
                np.add.at(sums[:, 0], parts[0], parts[2])
                np.add.at(sums[:, 1], parts[1], parts[2])
                changed = np.unique(np.concatenate(parts[:2])).tolist()
                history += [(1, number, at_us, 0, int(sums[number, 0]), 0, int(sums[number, 1])) for number in changed]
            await connection.copy_records_to_table("transfers", records=rows, schema_name="bursar")
            await connection.copy_records_to_table("account_history", records=history, schema_name="bursar")
        await connection.execute(
            "insert into accounts (tenant, account_id, name, code, limited, debits_posted, credits_posted, opened_us,"
            " changed_us) select 1, n, 'account:' || n, 3100, false, debits, credits, 0, (select max(at_us) from"
            " account_history where tenant = 1 and account_id = n)"
            " from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as sums (n, debits, credits)"
            " where debits + credits > 0",
            list(range(1, self.accounts + 1)),
            sums[1:, 0].tolist(),
            sums[1:, 1].tolist(),
        )
        await connection.execute("insert into chains values (1, 0, $1, $2)", seq, digest)
        await connection.execute("vacuum analyze")


async def measure_past(transfers: int, accounts: int, questions: int) -> Figure:
    """Ask for balances of random accounts at random moments, with so many transfers in the books."""
    past = Past(transfers, accounts)
    async with postgres(fsync="off", synchronous_commit="off", max_wal_size="8GB") as (url, connection):
        began = time.perf_counter()
        await past.load(connection)
        loaded_s = time.perf_counter() - began
        rows = await connection.fetchval("select count(*) from account_history")
        if transfers <= 1_000_000:
            checked = await audit(connection)
            assert not checked.findings, checked.findings[0]
        reader = await connect(url)
        dice, times_ms = random.Random(SEED), list[float]()
        for number in range(questions):
            account = dice.randint(1, accounts)
            at_us = dice.randint(past.began_us, past.at_us(transfers))
            asked = time.perf_counter()
            then = await balance_at(reader, TENANT, account, at_us)
            times_ms.append((time.perf_counter() - asked) * 1_000)
            if number < 200:
                found = (0, 0) if then is None else (then.debits_posted, then.credits_posted)
                assert found == past.fold(account, at_us), (account, at_us)
        await reader.close()
    p99 = sorted(times_ms)[int(len(times_ms) * 0.99)]
    note = f"{transfers:,} transfers, {rows:,} rows of history, {accounts:,} accounts, {questions:,} questions, "
    note += f"p99 {p99:.2f} ms, 200 answers folded again; loaded in {loaded_s:.0f} s"
    return Figure("ledger.past_balance_ms", round(statistics.median(times_ms), 3), "ms", note=note)


def main() -> None:
    """Measure and show."""
    options = arguments(
        __doc__, rounds=5, seconds=5, accounts=100_000, transfers=10_000_000, past_accounts=10_000, questions=5_000
    )
    figures = uvloop.run(measure_pairs(options.rounds, options.seconds, options.accounts)) if options.rounds else []
    if options.transfers:
        figures.append(uvloop.run(measure_past(options.transfers, options.past_accounts, options.questions)))
    show("ledger", figures, as_json=options.json)


if __name__ == "__main__":
    main()
