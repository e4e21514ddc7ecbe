"""Run a PostgreSQL for a benchmark alone: empty databases on it, and a server that may be killed."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from bursar.store.database import connect, ensure_database, migrate
from bursar.store.postgres import DataFolder, Postgres


class Databases:
    """Make empty databases on a PostgreSQL of our own, and kill it."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def make(self, name: str) -> str:
        """Make a database of a name and return its address."""
        url = self._postgres.folder.url
        connection = await asyncpg.connect(url.replace("/bursar?", "/postgres?"))
        await connection.execute(f"create database {name} template bursar")
        await connection.close()
        return url.replace("/bursar?", f"/{name}?")

    async def kill_twice(self, dice: random.Random) -> None:
        """Kill the server twice, as kill -9 does."""
        for _ in range(2):
            await asyncio.sleep(0.5 + 2 * dice.random())
            if self._postgres.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._postgres.process.kill()


@contextlib.asynccontextmanager
async def fresh_databases() -> AsyncIterator[Databases]:
    """Run a PostgreSQL of our own, which is started again whenever it ends."""
    with tempfile.TemporaryDirectory(prefix="bursar-") as path:
        folder = DataFolder(Path(path))
        folder.create()
        assert folder.try_lock()
        postgres = Postgres(folder)
        await postgres.start()
        await ensure_database(folder.url)
        connection = await connect(folder.url, owner=True)
        await migrate(connection, time.time_ns() // 1_000)
        await connection.close()

        kept = asyncio.create_task(postgres.keep_running())
        try:
            yield Databases(postgres)
        finally:
            kept.cancel()
            await asyncio.gather(kept, return_exceptions=True)
            await postgres.stop()
            folder.unlock()
