"""Run one PostgreSQL for a test process, and lend out databases that are migrated and empty."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg

from bursar.store.database import SCHEMA, Connection, connect, ensure_database, migrate
from bursar.store.postgres import DataFolder, Postgres

T = TypeVar("T")

GROWN_BYTES_MAX: Final = 4_000_000
"""A database that has grown by more is not worth emptying: what was deleted would slow whoever comes next."""

_OTHERS: Final = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""

_SHAPE: Final = """
with room as (select oid from pg_namespace where nspname not in ('pg_catalog', 'pg_toast', 'information_schema'))
select string_agg(oid || ' ' || version, ',' order by oid, version) from (
    select oid, xmin::text as version from pg_namespace
    union all select oid, xmin::text from pg_class where relnamespace in (select oid from room)
    union all select oid, xmin::text from pg_proc where pronamespace in (select oid from room)
    union all select oid, xmin::text from pg_constraint where connamespace in (select oid from room)
    union all select oid, xmin::text from pg_trigger
    union all select attrelid, attnum || '=' || pg_attribute.xmin::text from pg_attribute
        join pg_class on attrelid = pg_class.oid where relnamespace in (select oid from room)
    union all select setdatabase, xmin || array_to_string(setconfig, ' ') from pg_db_role_setting
    union all select defaclrole, xmin::text from pg_default_acl
    union all select oid, xmin::text from pg_database where datname = current_database()
) as parts
"""
"""What tells any change of tables, columns, rules, rights or settings; rows of tables are not in it."""


class Cluster:
    """Run a PostgreSQL in a loop of its own; a database that comes back is emptied and lent again.

    To make one costs a third of a second of the processor, to empty one a twentieth of that.
    """

    def __init__(self, path: Path) -> None:
        self.folder = DataFolder(path)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._made = 0
        self._spare: list[str] = []
        self._shapes: dict[str, str] = {}
        self.folder.create()
        assert self.folder.try_lock()
        self._postgres = Postgres(self.folder, {"fsync": "off", "synchronous_commit": "off"})
        self._empty, self._bytes_max = self._run(self._start())

    def url(self, database: str) -> str:
        return self.folder.url.replace("/bursar?", f"/{database}?")

    def lend(self) -> str:
        """Return the address of a database nobody uses."""
        return self._spare.pop() if self._spare else self._run(self._make())

    def take_back(self, url: str) -> None:
        """End what still uses a database; keep it if nothing but rows changed in it."""
        if self._run(self._emptied(url)):
            self._spare.append(url)
        else:
            name = url.split("?")[0].rsplit("/", 1)[1]
            self._run(self._execute(f"drop database {name} with (force)"))

    def stop(self) -> None:
        self._run(self._postgres.stop())
        self.folder.unlock()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> tuple[str, int]:
        await self._postgres.start()
        await ensure_database(self.folder.url)
        connection = await connect(self.folder.url)
        await migrate(connection, 1)
        await connection.execute("reset role")
        try:
            size = await connection.fetchval("select pg_database_size(current_database())")
            return await _emptying(connection), size + GROWN_BYTES_MAX
        finally:
            await connection.close()

    async def _make(self) -> str:
        self._made += 1
        url = self.url(f"test_{self._made}")
        await self._execute(f"create database test_{self._made} template bursar strategy wal_log")
        connection = await asyncpg.connect(url)
        self._shapes[url] = await connection.fetchval(_SHAPE)
        await connection.close()
        return url

    async def _emptied(self, url: str) -> bool:
        """Bring a database back to what it was when it was made. Tells whether that can be done."""
        try:
            connection = await asyncpg.connect(url)
        except asyncpg.PostgresError:  # it was dropped, or nobody may connect to it
            return False
        try:
            await connection.execute(_OTHERS)
            row = await connection.fetchrow(f"select ({_SHAPE}) as shape, pg_database_size(current_database()) as size")
            assert row is not None
            if row["shape"] != self._shapes[url] or row["size"] > self._bytes_max:
                return False
            await connection.execute(self._empty)
            return True
        finally:
            await connection.close()

    async def _execute(self, text: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute(text)
        await connection.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


async def _emptying(connection: Connection) -> str:
    """Write the statements that bring every table and sequence of a migrated database back to what they are now."""
    names = f"select format('%I.%I', schemaname, {{}}) from {{}} where schemaname = '{SCHEMA}' order by 1"
    tables = [row[0] for row in await connection.fetch(names.format("tablename", "pg_tables"))]
    sequences = [row[0] for row in await connection.fetch(names.format("sequencename", "pg_sequences"))]
    # Rules and references are for those who keep books: what is append-only goes as well.
    statements = ["set session_replication_role = replica", *(f"delete from {table}" for table in tables)]
    for table in tables:
        rows = await connection.fetch(f"select format('(%L::{table}).*', each::text) from {table} as each")
        statements += [f"insert into {table} overriding system value select {row[0]}" for row in rows]
    for sequence in sequences:
        restart = f"select format('select setval(%L, %s, %L)', '{sequence}', last_value, is_called) from {sequence}"
        statements.append(await connection.fetchval(restart))
    return ";\n".join(statements)
