"""Share one real PostgreSQL a test process, and one real Bursar."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
from hypothesis import settings

from bench.harness import LocalBursar
from bursar.store.database import Connection, connect, ensure_database, migrate
from bursar.store.postgres import DataFolder, Postgres

T = TypeVar("T")

# The same examples in every run, however slow the machine.
settings.register_profile("bursar", derandomize=True, deadline=None, database=None)
settings.load_profile("bursar")

os.environ.pop("BURSAR_DATABASE_URL", None)
os.environ.pop("BURSAR_DATA", None)


class Cluster:
    """Run a PostgreSQL in a loop of its own; give out databases that are migrated and empty."""

    def __init__(self, path: Path) -> None:
        self.folder = DataFolder(path)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._count = 0
        self.folder.create()
        assert self.folder.try_lock()
        self._postgres = Postgres(self.folder, {"fsync": "off", "synchronous_commit": "off"})
        self._run(self._start())

    def url(self, database: str) -> str:
        return self.folder.url.replace("/bursar?", f"/{database}?")

    def fresh(self) -> str:
        """Make a database and return its address."""
        self._count += 1
        name = f"test_{self._count}"
        self._run(self._execute(f"create database {name} template bursar strategy wal_log"))
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.split("?")[0].rsplit("/", 1)[1]
        self._run(self._execute(f"drop database {name} with (force)"))

    def stop(self) -> None:
        self._run(self._postgres.stop())
        self.folder.unlock()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        await self._postgres.start()
        await ensure_database(self.folder.url)
        connection = await connect(self.folder.url)
        await migrate(connection, 1)
        await connection.close()

    async def _execute(self, text: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute(text)
        await connection.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    yield cluster
    cluster.stop()


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    url = cluster.fresh()
    yield url
    cluster.drop(url)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def shared_bursar() -> Iterator[LocalBursar]:
    """Run a Bursar with the sandbox, for tests that leave it as they found it."""
    local = LocalBursar()
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()
