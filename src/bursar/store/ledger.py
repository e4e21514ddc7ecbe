"""Book what many submit at once: one writer gathers it into groups, each one transaction.

While a group is being committed, the next one gathers. So the more callers there are, the more a commit carries, and a
hot account is locked once a group, not once a transfer. The rules are those of `bursar.ledger.books`, in the order of
submission; callers of a group see each other's transfers.
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
from bursar.store.database import AWAY, Connection, connect

GROUP_MAX: Final = 1_000
"""Transfers a group carries at most; a submission is never divided."""

PATIENCE_S: Final = 30.0
"""How long a submission waits for a database that is away."""

_RETRY_S: Final = 0.1


class _Submission(msgspec.Struct, eq=False):
    """Hold what one caller waits for."""

    steps: Sequence[Step]
    count: int
    deadline_s: float
    answer: asyncio.Future[list[Status]]


class Ledger:
    """Write transfers of one tenant into one chain of the books."""

    def __init__(
        self, url: str, tenant: int, chain: int, clock_us: Callable[[], int], *, patience_s: float = PATIENCE_S
    ) -> None:
        self._url = url
        self._tenant = tenant
        self._chain = chain
        self._clock_us = clock_us
        self._patience_s = patience_s
        self._connection: Connection | None = None
        self._queue: deque[_Submission] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self.groups = 0

    async def open(self) -> None:
        """Connect and begin to write. Raises `BooksError` when the database cannot be reached."""
        self._connection = await self._connect()
        self._writer = asyncio.create_task(self._write())

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
        if self._closing or self._writer is None:
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
        if self._writer is not None:
            await self._writer
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()

    async def _connect(self) -> Connection:
        connection = await connect(self._url)
        # Every question here is for rows by their key, also while the tables are too small for the planner to see it.
        await connection.execute("set enable_seqscan = off")
        return connection

    async def _write(self) -> None:
        group: list[_Submission] = []
        try:
            while self._queue or not self._closing:
                if not self._queue:
                    self._work.clear()
                    await self._work.wait()
                    continue
                group = self._gather()
                if group:
                    await self._answer(group)
        finally:  # in order, nobody waits any more; else nobody is left waiting for a writer that is gone
            self._closing = True
            for submission in (*group, *self._queue):
                _fail(submission, BooksError("the ledger ended before these transfers were booked, or said to be"))

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
        """Book a group and tell each who submitted what became of it. One that cannot be booked fails alone."""
        try:
            statuses = await self._book(group)
        except (*AWAY, BooksError) as error:  # BooksError: it could not be reached again
            await self._wait_for_database(group, error)
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
                if not submission.answer.done():
                    submission.answer.set_result(statuses[place : place + submission.count])
                place += submission.count

    async def _book(self, group: list[_Submission]) -> list[Status]:
        connection = self._connection
        if connection is None or connection.is_closed():
            self._connection = connection = await self._connect()
        steps = [step for submission in group for step in submission.steps]
        async with connection.transaction():
            return await book(connection, self._tenant, self._chain, steps, self._clock_us())

    async def _wait_for_database(self, group: list[_Submission], error: BaseException) -> None:
        """Put a group back to be tried again, save those whose patience is at its end."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        now_s = asyncio.get_running_loop().time()
        for submission in reversed(group):
            if now_s < submission.deadline_s:
                self._queue.appendleft(submission)
            else:
                _fail(submission, BooksError(f"the database is away: {error or type(error).__name__}"))
        await asyncio.sleep(_RETRY_S)


def _fail(submission: _Submission, error: BooksError) -> None:
    if not submission.answer.done():
        submission.answer.set_exception(error)
