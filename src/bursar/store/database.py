"""Reach the database: connections, named statements, migrations."""

import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final, TypeAlias, cast

import asyncpg

from bursar.core.errors import BooksError, OperatorError

SCHEMA: Final = "bursar"
CHANNEL: Final = "bursar_changed"
"""Where gateways hear of changes: `key:ID`, `holder:ID`, or `recall:BUDGET` when one is short of a budget."""

_SETTINGS: Final = {
    "search_path": SCHEMA,
    "application_name": "bursar",
    # A machine that vanishes leaves its session, and the locks in it, until the server has noticed: in half a minute.
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
VERSION_MIN: Final = 150_000
_MIGRATION: Final = re.compile(r"(\d{3})_(\w+)\.sql")
_STATEMENT: Final = re.compile(r"^-- name: (\w+)\n((?:--.*\n)*)", re.MULTILINE)

Connection: TypeAlias = asyncpg.Connection
Pool: TypeAlias = asyncpg.Pool

AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # a server that died in the middle leaves a connection in a state it cannot leave
    asyncpg.OperatorInterventionError,  # shutting down, restarting, recovering
    asyncpg.InsufficientResourcesError,  # disk or connections full
    asyncpg.TransactionRollbackError,  # deadlock or serialisation: nothing was written
)
"""What is raised when the database cannot take something now, as against refusing it: try again."""


def load_statements(name: str) -> dict[str, str]:
    """Read the statements of one SQL file by name. A statement begins with `-- name: x` and comments saying why."""
    text = files("bursar.store").joinpath("sql", f"{name}.sql").read_text()
    parts = _STATEMENT.split(text)
    return {parts[index]: parts[index + 2].strip().rstrip(";") for index in range(1, len(parts), 3)}


_WRITER: Final = load_statements("writer")


async def connect(url: str, timeout_s: int = 10, *, owner: bool = False) -> Connection:
    """Open one connection, as the role that may add to the books and change nothing in them, unless as the owner.

    Raises `BooksError` when the database cannot be reached.
    """
    try:
        connection = await asyncpg.connect(url, timeout=timeout_s, server_settings=_SETTINGS)
        if not owner:
            await become_writer(connection)
    except (*AWAY, asyncpg.PostgresError, ValueError) as error:  # ValueError: an address that is none
        raise BooksError(f"cannot reach the database: {error or type(error).__name__}") from error
    return connection


async def become_writer(connection: Connection) -> None:
    """Give up the owner's rights for this session, where the database has a role for it."""
    await connection.execute(_WRITER["become"])


async def is_writer(connection: Connection) -> bool:
    """Tell whether the database would refuse this connection a change of what is append-only, by its rights alone."""
    return await connection.fetchval(_WRITER["is_writer"]) is True


async def announce(connection: Connection, news: str) -> None:
    """Tell all gateways, once the caller's transaction is committed."""
    await connection.execute("select pg_notify($1, $2)", CHANNEL, news)


async def open_pool(url: str, size_max: int) -> Pool:
    """Open a pool of connections."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size_max,
        server_settings=_SETTINGS,
        init=become_writer,
    )


@asynccontextmanager
async def borrow(pool: Pool) -> AsyncIterator[Connection]:
    """Borrow a connection of a pool."""
    async with pool.acquire() as connection:
        yield cast(Connection, connection)  # a proxy with the same methods


async def ensure_database(url: str) -> None:
    """Make the embedded server's database where it does not exist yet."""
    base, _, options = url.partition("?")
    connection = await asyncpg.connect(f"{base.rsplit('/', 1)[0]}/postgres?{options}")
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = 'bursar'"):
            await connection.execute("create database bursar")
    finally:
        await connection.close()


async def migrate(connection: Connection, now_us: int) -> list[str]:
    """Bring the schema up to date as its owner, in one transaction, and name the migrations that were applied.

    Afterwards the connection is the writer's, as any other.

    Raises `OperatorError` for a server that is too old, a schema that is newer than this version, or a migration
    whose text has changed since it was applied.
    """
    if connection.get_server_version().major * 10_000 < VERSION_MIN:
        raise OperatorError(f"PostgreSQL {connection.get_server_version().major} is too old: Bursar needs 15 or newer")
    # Locked before the transaction begins: one that waited inside it could not see yet what the other has made.
    await connection.execute("reset role")
    await connection.execute("select pg_advisory_lock(hashtext('bursar.migrate'))")
    try:
        applied = await _apply(connection, now_us)
    finally:
        await connection.execute("select pg_advisory_unlock(hashtext('bursar.migrate'))")
    await become_writer(connection)
    return applied


async def _apply(connection: Connection, now_us: int) -> list[str]:
    applied: list[str] = []
    async with connection.transaction():
        await connection.execute(f"create schema if not exists {SCHEMA}")
        await connection.execute(
            "create table if not exists migrations"
            " (number int primary key, name text not null, sha256 text not null, applied_us bigint not null)"
        )
        done = {row["number"]: row["sha256"] for row in await connection.fetch("select number, sha256 from migrations")}
        known = dict(_migrations())
        if unknown := set(done) - set(known):
            raise OperatorError(f"the database is of a newer Bursar (migration {max(unknown)}): upgrade Bursar")
        for number, (name, text) in known.items():
            digest = hashlib.sha256(text.encode()).hexdigest()
            if number not in done:
                await connection.execute(text)
                await connection.execute("insert into migrations values ($1, $2, $3, $4)", number, name, digest, now_us)
                applied.append(name)
            elif done[number] != digest:
                raise OperatorError(f"migration {name} has changed since it was applied: restore its file")
        await connection.execute(_WRITER["make"])
        await connection.execute(_WRITER["grant"])
    return applied


async def is_migrated(connection: Connection) -> bool:
    """Tell whether any migration was applied yet."""
    return await connection.fetchval(f"select to_regclass('{SCHEMA}.migrations')") is not None


def known_migrations() -> list[int]:
    """Return the numbers of the migrations this version has."""
    return [number for number, _ in _migrations()]


def _migrations() -> list[tuple[int, tuple[str, str]]]:
    matched = [
        (file, _MIGRATION.fullmatch(file.name)) for file in files("bursar.store").joinpath("migrations").iterdir()
    ]
    return sorted((int(match[1]), (file.name, file.read_text())) for file, match in matched if match)


def database_url(folder_url: str) -> tuple[str, bool]:
    """Return the database to use, and whether it is the data folder's own: BURSAR_DATABASE_URL overrules."""
    given = os.environ.get("BURSAR_DATABASE_URL", "")
    return (given, False) if given else (folder_url, True)
