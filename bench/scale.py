"""Measure how far one PostgreSQL goes: what it spends on a call and on a lease, whichever gateways ask.

    python -m bench.scale [--json] [--writers 4] [--seconds 6]

Writers are processes that carry calls into the books as gateways do, each with its own spool, journal and lease, with
no gateway before them; PostgreSQL has core 1 to itself, they share core 0. What PostgreSQL spends is read from the
processor time of its processes, so it holds for machines with more cores as well.

`scale.database_us_per_call`: its processor time for one call: record, transfer, balances, history.
`scale.calls_per_database_core`: a second of it over that: calls a second that keep one of its cores busy.
`scale.wal_bytes_per_call`: what a replica or an archive has to take.
`scale.leases_per_s`: leases of one tenant taken and given back a second, by as many askers, one after another as the
chain of leases demands; each lease serves all calls of seconds.
"""

import asyncio
import contextlib
import multiprocessing
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import Figure, arguments, show
from bench.harness import LocalBursar, database
from bursar.budgets.budget import UNLIMITED, Terms
from bursar.budgets.purse import Ask
from bursar.core.ids import IdSource
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol, Record, Segments, UsageSource
from bursar.core.usage import Usage
from bursar.ledger.journal import Debt, Intent, Settled
from bursar.store.gateways import gateway_name, take_place
from bursar.store.holders import TENANT
from bursar.store.journal import Journal
from bursar.store.keys import Scope, create_key
from bursar.store.leases import OpenLease, open_lease, payable_account, return_lease
from bursar.store.spool import Spool

DATABASE_CORE, OTHER_CORE = 1, 0
COST_NANO = 73_800
BATCH = 250


def now_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


class Writer:
    """Carry calls into the books as one gateway does."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._ids = IdSource(secrets.randbits(47))

    async def write(self, until: float) -> int:
        """Write calls until a moment of the monotonic clock; returns how many."""
        name, spool = gateway_name(self._folder), Spool(self._folder)
        async with database(self._url) as connection:
            place = await take_place(connection, name, now_us(), spool_is_new=True)
            key, _ = await create_key(connection, name, UNLIMITED, Scope(), now_us())
            ask = Ask(key.budget, 10**12, 10**15)
            grant = await open_lease(connection, ask, place.gateway, secrets.token_bytes(16), now_us())
            payable = await payable_account(connection, TENANT, "openai", place.gateway, now_us())
            journal = Journal(spool, self._url, place.gateway, place.epoch, group_wait_s=0)
            await journal.open()
            count = 0
            while time.monotonic() < until:
                for _ in range(BATCH):
                    for entry in self._call(key.key_id, grant.lease_account, grant.budget_account, payable):
                        spool.append(entry)
                while journal.position < spool.end:
                    await journal.commit_group(now_us())
                count += BATCH
            await journal.close()
        spool.close()
        return count

    def _call(self, key_id: str, lease: int, budget: int, payable: int) -> tuple[Intent, Settled]:
        at_us = now_us()
        call_id, segments = self._ids.next(at_us // 1_000), Segments(174, 0, 0, 0, 352)
        call = Call(call_id, TENANT, key_id, Protocol.openai_chat, "gpt-4o-mini", False, at_us, segments)  # noqa: FBT003
        usage, source = Usage(132, 0, output_tokens=90), UsageSource.provider
        times = (at_us, at_us + 300, at_us + 400)
        attempt = Attempt(
            "openai", "gpt-4o-mini", AttemptStatus.ok, 200, *times, usage, source, "openai/gpt-4o-mini#0", (), COST_NANO
        )
        record = Record(call, CallStatus.ok, (attempt,), COST_NANO, COST_NANO, 0, COST_NANO, at_us + 400)
        debts = (Debt(payable, COST_NANO),)
        intent = Intent(call, "openai", lease, budget, payable, COST_NANO, at_us + 10**9)
        return intent, Settled(record, lease, budget, 0, payable, debts)


def _write(url: str, folder: str, until: float, counts: Any) -> None:
    os.sched_setaffinity(0, {OTHER_CORE})
    counts.put(asyncio.run(Writer(url, Path(folder)).write(until)))


def database_seconds(local: LocalBursar) -> float:
    """Return the processor time of the database's processes so far, those that have ended included."""
    server, *children = local.database_pids()
    ticks = 0
    for pid in (*children, server):  # the server last: it has the time of those that have ended by then
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15] if pid == server else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_calls(local: LocalBursar, writers: int, seconds: int) -> list[Figure]:
    """Let writers write, and see what it costs the database."""
    counts: Any = multiprocessing.Queue()
    wal = "select (pg_current_wal_insert_lsn() - '0/0')::bigint as bytes"
    with tempfile.TemporaryDirectory() as folder:
        before, bytes_before = database_seconds(local), local.query(wal)[0]["bytes"]
        began = time.monotonic()
        until = began + seconds
        processes = [
            multiprocessing.Process(target=_write, args=(local.database_url, f"{folder}/{n}", until, counts))
            for n in range(writers)
        ]
        for process in processes:
            process.start()
        calls = sum(counts.get(timeout=seconds + 60) for _ in processes)
        for process in processes:
            process.join(30)
        took, spent = time.monotonic() - began, database_seconds(local) - before
    written = local.query(wal)[0]["bytes"] - bytes_before
    note = f"{writers} writers, {calls:,} calls in {took:.1f} s, commits of about {BATCH} calls"
    return [
        Figure("scale.database_us_per_call", round(spent / calls * 1e6, 1), "us", note=note),
        Figure("scale.calls_per_database_core", round(calls / spent), "calls/s", note="a second over the figure above"),
        Figure("scale.wal_bytes_per_call", round(written / calls), "bytes"),
    ]


async def _lease(url: str, until: float, number: int) -> int:
    async with database(url) as connection:
        key, _ = await create_key(connection, f"leases {number}", Terms(10**12), Scope(), now_us())
        count = 0
        while time.monotonic() < until:
            ask, act = Ask(key.budget, 10**6, 10**8), secrets.token_bytes(16)
            grant = await open_lease(connection, ask, 10_000 + number, act, now_us())
            lease = OpenLease(TENANT, grant.lease_account, grant.budget_account, grant.granted_nano)
            await return_lease(connection, lease, secrets.token_bytes(16), now_us())
            count += 1
    return count


async def measure_leases(local: LocalBursar, askers: int, seconds: int) -> Figure:
    """Let askers take leases and give them back."""
    before, until = database_seconds(local), time.monotonic() + seconds
    counts = await asyncio.gather(*(_lease(local.database_url, until, number) for number in range(askers)))
    spent = (database_seconds(local) - before) / sum(counts)
    note = f"{askers} askers; {spent * 1e3:.1f} ms of the database's time each, with its return"
    return Figure("scale.leases_per_s", round(sum(counts) / seconds), "leases/s", note=note)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, writers=4, seconds=6)
    local = LocalBursar(core=DATABASE_CORE)
    try:
        local.start()
        os.sched_setaffinity(0, {OTHER_CORE})
        figures = measure_calls(local, options.writers, options.seconds)
        figures.append(asyncio.run(measure_leases(local, options.writers, options.seconds)))
        found = local.audit()
        assert not found.findings, found.findings[0]
    finally:
        local.stop()
        local.remove()
    show("scale", figures, as_json=options.json)


if __name__ == "__main__":
    main()
