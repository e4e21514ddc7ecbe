"""Book what many submit at once: one writer gathers it into groups, each one transaction.

While a group is being booked, the next one gathers. So the more callers there are, the more a commit carries, and a
hot account is locked once a group, not once a transfer. The rules are those of `bursar.ledger.books`, in the order of
submission; callers of a group see each other's transfers.

A group's commit does not wait for the disk: its locks are free at once, and the next is booked while a second
connection waits for everything before it to be written. Nobody is answered before that.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg
import msgspec

from bursar.core.errors import BooksError
from bursar.ledger.transfer import Status, Step, flatten
from bursar.store.accounts import book
from bursar.store.database import AWAY, Connection, connect, load_statements

GROUP_MAX: Final = 1_000
"""Transfers a group carries at most; a submission is never divided."""

PATIENCE_S: Final = 30.0
"""How long a submission waits for a database that is away."""

_RETRY_S: Final = 0.1

_SQL: Final = load_statements("ledger")


class _Submission(msgspec.Struct, eq=False):
    """Hold what one caller waits for."""

    steps: Sequence[Step]
    count: int
    deadline_s: float
    answer: asyncio.Future[list[Status]]
    statuses: list[Status] = []


class Ledger:
    """Write transfers of one tenant into one chain of the books."""

    def __init__(
        self, url: str, tenant: int, chain: int, clock_us: Callable[[], int], *, patience_s: float = PATIENCE_S
    ) -> None:
        self._tenant = tenant
        self._chain = chain
        self._clock_us = clock_us
        self._patience_s = patience_s
        # Every question is for rows by their key, also while the tables are too small for the planner to see it.
        self._writer = _Line(url, "set enable_seqscan = off; set synchronous_commit = off")
        self._flusher = _Line(url, "reset synchronous_commit")
        self._queue: deque[_Submission] = deque()
        self._booked: list[_Submission] = []  # and not yet known to be on disk
        self._work = asyncio.Event()
        self._flush = asyncio.Event()
        self._begun: Connection | None = None  # where the next transaction has begun already
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.groups = 0

    async def open(self) -> None:
        """Connect and begin to write. Raises `BooksError` when the database cannot be reached."""
        await self._writer.connection()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._make_durable())]

    async def submit(self, steps: Sequence[Step]) -> list[Status]:
        """Book transfers and linked transfers and return the status of each transfer, once they are committed.

        Submitting again is safe: what stands is answered with `exists`, also where the answer to the first attempt was
        lost. Raises `BooksError` when the database stays away, and it is not known whether they were booked;
        `ValueError` for an id that is not of 16 bytes.
        """
        transfers = flatten(steps)
        for transfer in transfers:
            if len(transfer.transfer_id) != 16 or len(transfer.hold_id) not in (0, 16):
                raise ValueError(f"expected ids of 16 bytes, got {transfer.transfer_id!r} and {transfer.hold_id!r}")
        if self._closing or not self._tasks:
            raise BooksError("the ledger is closed")
        loop = asyncio.get_running_loop()
        submission = _Submission(steps, len(transfers), loop.time() + self._patience_s, loop.create_future())
        self._queue.append(submission)
        self._work.set()
        return await submission.answer

    async def close(self) -> None:
        """Write what was submitted, then stop."""
        self._closing = True
        self._work.set()
        if self._tasks:
            writer, flusher = self._tasks
            await writer
            flusher.cancel()
            await asyncio.gather(flusher, return_exceptions=True)
        for line in (self._writer, self._flusher):
            await line.close()

    async def _write(self) -> None:
        group: list[_Submission] = []
        try:
            while self._queue or self._booked or not self._closing:
                if not self._queue:
                    self._work.clear()
                    await self._work.wait()
                    continue
                group = self._gather()
                if group:
                    await self._answer(group)
        finally:  # in order, nobody waits any more; else nobody is left waiting for a writer that is gone
            self._closing = True
            for submission in (*group, *self._queue, *self._booked):
                _fail(submission, BooksError("the ledger ended before these transfers were booked, or said to be"))

    async def _make_durable(self) -> None:
        """Wait for the disk, once for all groups that were booked meanwhile, and answer who submitted them."""
        try:
            while True:
                await self._flush.wait()
                self._flush.clear()
                booked = list(self._booked)
                await self._answer_when_durable(booked)
                del self._booked[: len(booked)]
                self._work.set()
        finally:  # without it nobody is answered: the writer ends, and says so to all who wait
            self._closing = True
            for submission in self._booked:
                _fail(submission, BooksError("the ledger ended before these transfers were said to be on disk"))
            self._booked.clear()
            self._work.set()

    async def _answer_when_durable(self, booked: list[_Submission]) -> None:
        try:
            connection = await self._flusher.connection()
            await connection.execute(_SQL["flush"])
        except (*AWAY, BooksError) as error:
            await self._wait_for_database(booked, error, self._flusher)
            return
        for submission in booked:
            if not submission.answer.done():
                submission.answer.set_result(submission.statuses)

    def _gather(self) -> list[_Submission]:
        group: list[_Submission] = []
        count = 0
        while self._queue and (not group or count + self._queue[0].count <= GROUP_MAX):
            submission = self._queue.popleft()
            if not submission.answer.cancelled():
                group.append(submission)
                count += submission.count
        return group

    async def _answer(self, group: list[_Submission]) -> None:
        """Book a group and have each who submitted told what became of it. One that cannot be booked fails alone."""
        try:
            statuses = await self._book(group)
        except (*AWAY, BooksError) as error:  # BooksError: it could not be reached again
            await self._wait_for_database(group, error, self._writer)
        except asyncpg.PostgresError as error:
            if len(group) == 1:
                _fail(group[0], BooksError(f"the books refused a transfer: {error}"))
                return
            for submission in group:
                await self._answer([submission])
        else:
            self.groups += 1
            place = 0
            for submission in group:
                submission.statuses = statuses[place : place + submission.count]
                place += submission.count
            self._booked += group
            self._flush.set()

    async def _book(self, group: list[_Submission]) -> list[Status]:
        connection = await self._writer.connection()
        steps = [step for submission in group for step in submission.steps]
        begun, self._begun = self._begun, None
        if begun is not connection:
            await connection.execute("begin")
        try:
            statuses = await book(connection, self._tenant, self._chain, steps, self._clock_us())
        except asyncpg.PostgresError:
            if not connection.is_closed():
                await connection.execute("rollback")
            raise
        # With more to do, the next transaction begins in the same round trip; without, none is left open.
        more = bool(self._queue)
        await connection.execute("commit; begin" if more else "commit")
        self._begun = connection if more else None
        return statuses

    async def _wait_for_database(self, group: list[_Submission], error: BaseException, line: "_Line") -> None:
        """Put a group back to be tried again, save those whose patience is at its end."""
        line.drop()
        await asyncio.sleep(_RETRY_S)
        now_s = asyncio.get_running_loop().time()
        for submission in reversed(group):
            if now_s < submission.deadline_s:
                self._queue.appendleft(submission)
            else:
                _fail(submission, BooksError(f"the database is away: {error or type(error).__name__}"))


class _Line:
    """Hold a connection that is made anew when it was lost."""

    def __init__(self, url: str, setting: str) -> None:
        self._url = url
        self._setting = setting
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        """Return the connection. Raises `BooksError` when the database cannot be reached."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
            await self._connection.execute(self._setting)
        return self._connection

    def drop(self) -> None:
        """Forget a connection that has failed."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection in order."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()


def _fail(submission: _Submission, error: BooksError) -> None:
    if not submission.answer.done():
        submission.answer.set_exception(error)
