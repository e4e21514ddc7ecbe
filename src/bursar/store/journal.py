"""Carry the spool into PostgreSQL: records, attempts and transfers, in groups, each exactly once.

A commit writes its rows together with the position in the spool it has reached. After a crash or a lost connection
that position says what is in the books, so nothing is written twice and nothing is left out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from bursar.budgets.slices import id_of
from bursar.core.errors import BooksError
from bursar.core.ids import call_of_transfer
from bursar.core.money import Money
from bursar.ledger.chain import GENESIS, link
from bursar.ledger.following import Postings, UnderWay, calls_without_end, lease_needs
from bursar.ledger.journal import CardUsed, Closed, Entry, Intent, Settled
from bursar.ledger.transfer import Kind, Transfer
from bursar.store.accounts import TRANSFER_DEFAULTS, TransferRow, open_holds, transfer_row
from bursar.store.calls import CallRow, call_row
from bursar.store.database import AWAY, Connection, connect, load_statements
from bursar.store.rows import defaults_json, rows_json
from bursar.store.spool import Position, Spool

log = structlog.get_logger()

GROUP_MAX: Final = 2_000
"""Entries a commit carries at most."""

GROUP_WAIT_S: Final = 0.025
"""How long `fast` lets a group gather before it commits, at most."""

_WAIT_SHARE: Final = 5
_ENTRY_WAIT_S: Final = 0.000_1
"""How long for each entry of the group before, and a fifth of the longest at least: a commit of many entries keeps the
database from whatever else its core has to do, and many commits cost more than few."""

_PART: Final = 64
"""Entries of which rows are made, at least, before calls that came meanwhile are let through."""

_PARTS_MAX: Final = 6
"""How often calls are let through in one group: a turn of a busy loop makes more entries than a part has, and a journal
that waited a turn for each part would fall ever further behind."""

_RETRY_S: Final = 0.25
_SQL: Final = load_statements("journal")
_CALL_DEFAULTS: Final = defaults_json(CallRow)


class Fenced(BooksError):
    """Say that another gateway has taken this one's place: it must stop."""


class _Group(msgspec.Struct):
    """Hold what one commit writes, and what it changes in memory once it has."""

    end: Position
    count: int
    postings: Postings
    calls: list[CallRow] = []
    cards: list[CardUsed] = []
    closed_us: int | None = None


class Journal:
    """Tail one gateway's spool and write it to the books."""

    def __init__(self, spool: Spool, url: str, gateway: int, epoch: int, *, group_wait_s: float = GROUP_WAIT_S) -> None:
        self._spool = spool
        self._url = url
        self._gateway = gateway
        self._epoch = epoch
        self._group_wait_s = group_wait_s
        self._connection: Connection | None = None
        self._heads: dict[int, tuple[int, bytes]] = {}
        self._under_way = UnderWay()
        self._waiting: deque[tuple[Position, asyncio.Future[None]]] = deque()
        self._work = asyncio.Event()
        self.position = Position()
        self.away = True
        self.commits = 0

    async def open(self) -> None:
        """Connect and find out where the books stand. Raises `BooksError` when the database cannot be reached."""
        connection = await connect(self._url)
        try:
            await self._read_books(connection)
        except (*AWAY, Fenced) as error:
            connection.terminate()
            if isinstance(error, Fenced):
                raise
            raise BooksError(f"the database went away: {error or type(error).__name__}") from error
        self._connection = connection
        self.away = False

    async def _read_books(self, connection: Connection) -> None:
        """Read how far the books are, and which calls are under way there."""
        row = await connection.fetchrow(_SQL["position"], self._gateway, self._epoch)
        if row is None:
            raise Fenced(f"gateway {self._gateway} has been replaced by a newer one")
        heads = await connection.fetch(_SQL["chain_heads"], self._gateway)
        holds = await open_holds(connection, self._gateway)
        self.position = Position(row["segment"], row["segment_offset"])
        self._heads = {row["tenant"]: (row["seq"], row["hash"]) for row in heads}
        under_way = UnderWay({call_of_transfer(row["transfer_id"]): row["amount_nano"] for row in holds})
        tenants: dict[bytes, int] = {}
        for entry, after in self._spool.scan(self._spool.start):
            if after > self.position:
                break
            under_way.follow(entry, after.segment)
            if isinstance(entry, Intent):
                tenants[entry.call.call_id] = entry.call.tenant
        if self._spool.end < self.position:  # power was lost, and with it the spool's end, but not the books
            self._spool.begin_after(self.position)
        open_calls = [(tenants[call_id], call_id) for call_id in under_way.open_since]
        for row in await connection.fetch(_SQL["recorded"], *_arrays(open_calls, 2)):
            under_way.forget(row["call_id"])
        self._under_way = under_way

    def under_way(self) -> list[Intent]:
        """Return the calls of which the spool knows the beginning, and neither it nor the books the end."""
        entries = ((entry, after <= self.position) for entry, after in self._spool.scan(self._spool.start))
        return calls_without_end(entries, self._under_way.open_since)

    def needs(self) -> dict[int, Money]:
        """Sum what ended calls that are not in the books yet take from each lease beyond what they hold there."""
        entries = (entry for entry, after in self._spool.scan(self._spool.start) if after > self.position)
        return lease_needs(entries, self._under_way.holds_written)

    def wake(self) -> None:
        """Say that something was appended, or that time has passed."""
        if not self._work.is_set():
            self._work.set()

    @property
    def is_level(self) -> bool:
        """Tell whether everything appended so far is in the books."""
        return self._spool.end <= self.position

    def committed(self) -> asyncio.Future[None]:
        """Return a future that is done once everything appended so far is in the books."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._spool.end, future))
        self.wake()
        return future

    async def run(self, clock_us: Callable[[], int]) -> None:
        """Commit whatever is appended, until cancelled. Raises `Fenced` when another gateway has taken over."""
        most_s = self._group_wait_s
        wait_s = next_wait_s(0, most_s)
        while True:
            await self._work.wait()
            if most_s:
                await asyncio.sleep(wait_s)
            self._work.clear()
            while self._spool.end > self.position or self._under_way.hold_is_due(clock_us()):
                try:
                    count = await self.commit_group(clock_us())
                except AWAY as error:
                    await self._reconnect(error)
                    continue
                wait_s = next_wait_s(count, most_s)
                if most_s and count < GROUP_MAX:  # what came meanwhile is the beginning of the next group
                    self._work.set()
                    break
            self._answer_waiting()

    async def commit_group(self, now_us: int) -> int:
        """Commit one group; returns how many entries it carried."""
        entries, group = self._gather(now_us)
        part = part_of(len(entries))
        for start in range(0, len(entries), part):
            await self._let_calls_go_on()
            self._sort_out(group, entries[start : start + part])
        await self._let_calls_go_on()
        heads = await self._write(group)
        self._heads.update(heads)
        self._under_way.committed(group.postings, self.position.segment)
        self.position = group.end
        self.commits += 1
        self._answer_waiting()
        self._spool.drop_before(Position(min(self._under_way.open_since.values(), default=self.position.segment)))
        return group.count

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()

    def _sort_out(self, group: _Group, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Settled):
                group.calls.append(call_row(entry.record, entry.budget_account, self._gateway))
            elif isinstance(entry, CardUsed):
                group.cards.append(entry)
            elif isinstance(entry, Closed):
                group.closed_us = entry.at_us

    async def _let_calls_go_on(self) -> None:
        """Let calls that came meanwhile not wait for a whole group, where no call waits for the group."""
        if self._group_wait_s:
            await asyncio.sleep(0)

    def _gather(self, now_us: int) -> tuple[Sequence[Entry], _Group]:
        entries, end = self._spool.read(self.position, GROUP_MAX)
        at = self.position  # of which each commit has another

        def name(tenant: int, account: int, reason: int) -> bytes:
            return id_of("uses", self._gateway, at.segment, at.offset, tenant, account, reason)

        more = end < self._spool.end
        return entries, _Group(end, len(entries), self._under_way.gather(entries, name, now_us, more=more))

    async def _write(self, group: _Group) -> dict[int, tuple[int, bytes]]:
        connection = self._connection
        if connection is None or connection.is_closed():
            raise asyncpg.InterfaceError("the journal's connection is closed")
        heads, rows = self._chain(group.postings.transfers)
        await self._let_calls_go_on()
        for card in group.cards:
            values = (card.price_id, card.rates.decode(), card.source, card.checked, card.at_us)
            await connection.execute(_SQL["insert_card"], *values)
        position = (group.end.segment, group.end.offset, group.closed_us)
        changes = _changes(group.postings.transfers)
        chained = [(tenant, *head) for tenant, head in heads.items()]
        arrays = (*_arrays(changes, 6), *_arrays(chained, 3))
        await self._let_calls_go_on()
        written = (TRANSFER_DEFAULTS, rows_json(rows), _CALL_DEFAULTS, rows_json(group.calls))
        try:
            await connection.fetchrow(_SQL["commit"], self._gateway, self._epoch, *position, *arrays, *written)
        except asyncpg.IntegrityConstraintViolationError as error:
            if str(error) == "fenced":
                raise Fenced(f"gateway {self._gateway} has been replaced by a newer one") from None
            raise
        return heads

    def _chain(self, transfers: list[tuple[int, Transfer]]) -> tuple[dict[int, tuple[int, bytes]], list[TransferRow]]:
        """Put numbers and hashes to the transfers, each tenant's in a chain of this gateway."""
        heads: dict[int, tuple[int, bytes]] = {}
        rows: list[TransferRow] = []
        for tenant, transfer in transfers:
            seq, digest = heads.get(tenant) or self._heads.get(tenant) or (0, GENESIS)
            seq += 1
            digest = link(digest, seq, transfer)
            heads[tenant] = (seq, digest)
            rows.append(transfer_row(tenant, self._gateway, seq, transfer, digest))
        return heads, rows

    async def _reconnect(self, error: BaseException) -> None:
        """Wait for the database and read again where the books stand: the last commit may have reached them."""
        if not self.away:
            log.warning("journal.database_away", error=f"{type(error).__name__}: {error}")
        self.away = True
        if self._connection is not None:
            self._connection.terminate()
        while self.away:
            await asyncio.sleep(_RETRY_S)
            try:
                await self.open()
            except Fenced:
                raise
            except BooksError:
                continue
        log.info("journal.database_back")

    def _answer_waiting(self) -> None:
        """Wake those who wait for a commit that has now happened."""
        while self._waiting and self._waiting[0][0] <= self.position:
            future = self._waiting.popleft()[1]
            if not future.done():
                future.set_result(None)


def part_of(count: int) -> int:
    """Return of how many entries of a group rows are made at a time."""
    return max(_PART, -(-count // _PARTS_MAX))


def next_wait_s(count: int, most_s: float) -> float:
    """Return how long a group gathers that follows one of so many entries: the longer, the more there is to do."""
    return min(most_s, max(most_s / _WAIT_SHARE, count * _ENTRY_WAIT_S))


def _changes(transfers: list[tuple[int, Transfer]]) -> list[tuple[int, ...]]:
    """Sum changes as (tenant, account, debits pending, debits posted, credits pending, credits posted)."""
    changes: dict[int, list[int]] = {}  # account ids are unique across tenants
    for tenant, transfer in transfers:
        debit, credit = changes.get(transfer.debit_account), changes.get(transfer.credit_account)
        if debit is None:
            debit = changes[transfer.debit_account] = [tenant, 0, 0, 0, 0]
        if credit is None:
            credit = changes[transfer.credit_account] = [tenant, 0, 0, 0, 0]
        if transfer.kind is Kind.hold:
            debit[1] += transfer.amount_nano
            credit[3] += transfer.amount_nano
        else:
            debit[2] += transfer.amount_nano
            credit[4] += transfer.amount_nano
            if transfer.kind is not Kind.post:
                debit[1] -= transfer.held_nano
                credit[3] -= transfer.held_nano
    return [(sums[0], account, *sums[1:]) for account, sums in changes.items()]


def _arrays(rows: list[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Turn rows into the arrays `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
