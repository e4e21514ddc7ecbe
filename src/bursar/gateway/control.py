"""Keep the gateway's one connection for everything that is not the journal: its place, leases, keys, news.

The session holds the gateway's place. When it is lost the gateway takes its place again, or stops if it was given up
for dead meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
import structlog

from bursar.core.errors import BooksError
from bursar.store.database import AWAY, CHANNEL, Connection, connect
from bursar.store.gateways import Place, still_has_place, take_place
from bursar.store.journal import Fenced

log = structlog.get_logger()

_RETRY_S: Final = 0.25
_ACT_S: Final = 15.0
"""How long the database may take for one act: a line that is dead and does not say so looks like that."""

T = TypeVar("T")


class Control:
    """Run short transactions one after another, and hear of changes."""

    def __init__(self, url: str, name: str, *, spool_is_new: bool) -> None:
        self._url = url
        self._name = name
        self._spool_is_new = spool_is_new
        self._connection: Connection | None = None
        self.round_trips = 0
        self._lock = asyncio.Lock()
        self._heard: Callable[[str], None] = lambda _payload: None
        self.place: Place | None = None
        self.reconnected = asyncio.Event()

    async def open(self, now_us: int) -> Place:
        """Connect and take the gateway's place. Raises `OperatorError` when another process has it."""
        connection = await self._connect()
        self.place = await take_place(connection, self._name, now_us, spool_is_new=self._spool_is_new)
        self._connection = connection
        return self.place

    async def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with each change that is announced."""
        self._heard = heard
        await self._listen()

    async def run(self, act: Callable[[Connection], Awaitable[T]]) -> T:
        """Run something on the connection. Raises `BooksError` when the database is away: it may have been done."""
        async with self._lock:
            connection = self._connection
            if connection is None or connection.is_closed():
                raise BooksError("the database is away")
            try:
                async with asyncio.timeout(_ACT_S):
                    return await act(connection)
            except AWAY as error:
                if isinstance(error, asyncpg.InternalClientError | TimeoutError):
                    connection.terminate()  # it does not know that it is closed
                raise BooksError(f"the database is away: {type(error).__name__}") from error

    async def run_until_done(self, act: Callable[[Connection], Awaitable[T]]) -> T:
        """Run something that is idempotent, again and again until the database has answered."""
        while True:
            try:
                return await self.run(act)
            except BooksError as error:
                if not isinstance(error.__cause__, AWAY) and self._is_open():
                    raise
                await asyncio.sleep(_RETRY_S)

    async def keep_open(self) -> None:
        """Reconnect whenever the session is lost, until cancelled. Raises `Fenced` when the place is gone."""
        while True:
            await asyncio.sleep(_RETRY_S)
            if self._is_open():
                continue
            try:
                connection = await self._connect()
            except BooksError:
                continue
            assert self.place is not None
            if not await still_has_place(connection, self._name, self.place):
                raise Fenced(f"gateway {self._name} has lost its place to another")
            async with self._lock:
                self._connection = connection
            await self._listen()
            self.reconnected.set()
            log.info("control.database_back")

    async def close(self) -> None:
        """Close the session, which gives up the place."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()

    async def _connect(self) -> Connection:
        connection = await connect(self._url)
        connection.add_query_logger(self._count)
        return connection

    def _count(self, _query: object) -> None:
        self.round_trips += 1

    def _is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def _listen(self) -> None:
        if self._connection is not None:
            await self._connection.add_listener(CHANNEL, lambda *args: self._heard(str(args[3])))
