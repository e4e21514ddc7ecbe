"""Open a small shop in an empty database: a key with money, a lease to spend from, a provider to owe."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from bursar.budgets.budget import Budget, Terms
from bursar.budgets.purse import Ask
from bursar.budgets.tree import Holder
from bursar.core.ids import IdSource
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol, Record, Segments, UsageSource
from bursar.core.times import SECOND_US, from_datetime
from bursar.core.usage import Usage
from bursar.ledger.journal import Debt, Intent, Settled
from bursar.store.database import Connection
from bursar.store.gateways import Place, take_place
from bursar.store.holders import TENANT, create_holder, set_budgets
from bursar.store.holders import Place as HolderPlace
from bursar.store.journal import Journal
from bursar.store.keys import Key, Scope, create_key
from bursar.store.leases import Grant, id_of, open_lease, payable_account
from bursar.store.spool import Spool

NOW_US = from_datetime(datetime(2026, 11, 21, 16, 30, tzinfo=UTC))
USD = 1_000_000_000
PROVIDERS = ("openai", "anthropic")
SEGMENTS = Segments(8, 21, 30, 6, 3)

_ids = IdSource(7)


class Shop(msgspec.Struct, frozen=True):
    """Hold what calls are made with."""

    place: Place
    key: Key
    grant: Grant
    payables: dict[str, int]

    @property
    def budget(self) -> Budget:
        return self.key.budget

    def intent(self, held_nano: int, at_us: int = NOW_US, provider: str = "openai", **fields: Any) -> Intent:
        """Announce a call."""
        call = Call(
            _ids.next(at_us // 1_000),
            TENANT,
            fields.pop("key_id", self.key.key_id),
            Protocol.openai_chat,
            "gpt-4o-mini",
            False,
            at_us,
            SEGMENTS,
            **fields,
        )
        grant, payable = self.grant, self.payables[provider]
        expires_us = at_us + 1_800 * SECOND_US
        return Intent(call, provider, grant.lease_account, grant.budget_account, payable, held_nano, expires_us)

    def settled(self, intent: Intent, *attempts: Attempt, overage_nano: int = 0, **fields: Any) -> Settled:
        """Finish a call: the lease pays each attempt's provider, what is beyond it is overage of the last."""
        cost = sum(attempt.cost_nano for attempt in attempts)
        ended_us = attempts[-1].ended_us
        record = Record(
            intent.call,
            fields.pop("status", CallStatus.ok),
            attempts,
            intent.held_nano,
            cost,
            overage_nano,
            cost,
            ended_us,
            **fields,
        )
        owed: dict[int, int] = {}
        paid = cost - overage_nano
        for attempt in attempts:
            amount = min(attempt.cost_nano, paid)
            if amount:
                payable = self.payables[attempt.provider]
                owed[payable] = owed.get(payable, 0) + amount
                paid -= amount
        grant = self.grant
        return Settled(
            record,
            grant.lease_account,
            grant.budget_account,
            grant.overage_account,
            intent.payable_account,
            tuple(Debt(payable, amount) for payable, amount in owed.items()),
        )

    def call(self, cost_nano: int, held_nano: int | None = None, at_us: int = NOW_US, **fields: Any) -> list[Any]:
        """Make a call of one attempt that ends within the second: its intent and its settlement."""
        intent = self.intent(cost_nano if held_nano is None else held_nano, at_us, **fields)
        return [intent, self.settled(intent, attempt(cost_nano, at_us))]

    def journal(self, spool: Spool, url: str) -> Journal:
        """Make a journal in this shop's place."""
        return Journal(spool, url, self.place.gateway, self.place.epoch, group_wait_s=0)


def attempt(cost_nano: int, at_us: int = NOW_US, provider: str = "openai", **fields: Any) -> Attempt:
    """Describe an attempt that took 200 ms."""
    values: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "status": AttemptStatus.ok,
        "http_status": 200,
        "started_us": at_us,
        "first_byte_us": at_us + 50_000,
        "ended_us": at_us + 200_000,
        "usage": Usage(100, 20, output_tokens=30, reasoning_tokens=5),
        "usage_source": UsageSource.provider,
        "price_id": "openai/gpt-4o-mini#12345678",
        "cost_nano": cost_nano,
    }
    return Attempt(provider, **(values | fields))


async def open_shop(
    connection: Connection,
    limit_nano: int | None = 100 * USD,
    want_nano: int = 50 * USD,
    name: str = "app",
    gateway: str = "gw_test",
) -> Shop:
    """Take the gateway's place and lease money for a new key."""
    place = await take_place(connection, gateway, NOW_US, spool_is_new=False)
    key, _ = await create_key(connection, name, Terms(limit_nano), Scope(), NOW_US)
    grant = await open_lease(connection, Ask(key.budget, want_nano, want_nano), place.gateway, id_of(name), NOW_US)
    payables = {
        provider: await payable_account(connection, TENANT, provider, place.gateway, NOW_US) for provider in PROVIDERS
    }
    return Shop(place, key, grant, payables)


async def make_holder(
    connection: Connection, name: str, place: HolderPlace, terms: Sequence[Terms], now_us: int = NOW_US
) -> Holder:
    """Create a holder of budgets, as a command does."""
    async with connection.transaction():
        return await create_holder(connection, name, place, terms, now_us)


async def set_budget(connection: Connection, name: str, terms: Terms, now_us: int) -> Budget:
    """Give a holder one budget in place of what it has."""
    return (await set_budgets(connection, name, [terms], now_us)).budgets[0]


async def write(shop: Shop, folder: Path, url: str, *entries: Any, now_us: int = NOW_US) -> None:
    """Append entries to a spool and journal them."""
    spool = Spool(folder)
    journal = shop.journal(spool, url)
    await journal.open()
    for entry in entries:
        spool.append(entry)
    try:
        await drain(journal, spool, now_us)
    finally:
        await journal.close()
        spool.close()


async def drain(journal: Journal, spool: Spool, now_us: int = NOW_US) -> None:
    """Carry everything into the books."""
    while journal.position < spool.end:
        await journal.commit_group(now_us)


class Proxy:
    """Stand between a client and PostgreSQL, to cut the line at a chosen reply or to change what the server says."""

    def __init__(self, url: str) -> None:
        self._socket = url.split("host=")[1] + "/.s.PGSQL.5432"
        self._path = url.split("?")[0].rsplit("/", 1)[1]
        self._lines: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut_reply: Callable[[bytes], bool] = lambda _data: False
        self.replace: tuple[bytes, bytes] = (b"", b"")
        self.replies = 0
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"postgresql://bursar@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{self._path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for line in self._lines:
            self._cut(line)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
        line = (writer, server_writer)
        self._lines.append(line)
        for work in (self._forward(reader, server_writer, line), self._answer(server_reader, writer, line)):
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Any) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        self._cut(line)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Any) -> None:
        while data := await reader.read(65_536):
            self.replies += 1
            if self.cut_reply(data):
                self.cuts += 1
                break
            writer.write(data.replace(*self.replace) if self.replace[0] else data)
        self._cut(line)

    def _cut(self, line: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        for writer in line:
            writer.transport.abort()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for something to become true."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
