"""The database is reached or the error says why; migrations are applied once, in order, and never rewritten."""

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bookkeeping import NOW_US, Proxy

from bursar.core.errors import BooksError, OperatorError
from bursar.store.database import (
    AWAY,
    Connection,
    borrow,
    connect,
    database_url,
    ensure_database,
    load_statements,
    migrate,
    open_pool,
)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    """Connect with the rights a migration has."""
    owner = await connect(database_url, owner=True)
    yield owner
    await owner.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bursar@127.0.0.1:1/bursar",
        "postgresql://bursar@/bursar?host=/nowhere",
        "postgresql://bursar@no-such-host.invalid/bursar",
        "mysql://localhost/bursar",
        "not a url",
        "postgresql://bursar@localhost:port/bursar",
    ],
)
async def test_a_database_that_cannot_be_reached_is_an_error_of_the_books(url: str) -> None:
    with pytest.raises(BooksError, match=r"cannot reach the database: \S"):
        await connect(url)


async def test_a_database_that_does_not_exist_is_an_error_of_the_books(cluster: Any) -> None:
    with pytest.raises(BooksError, match='database "nowhere" does not exist'):
        await connect(cluster.url("nowhere"))


async def test_migrations_are_applied_once_and_in_order(owner: Connection) -> None:
    assert await migrate(owner, NOW_US) == []
    await owner.execute("reset role")
    await owner.execute("drop schema bursar cascade")
    applied = await migrate(owner, NOW_US)
    assert applied == sorted(applied)
    assert applied[0] == "001_books.sql"
    rows = await owner.fetch("select number, name, applied_us from migrations order by number")
    assert [(row["number"], row["name"], row["applied_us"]) for row in rows] == [
        (int(name[:3]), name, NOW_US) for name in applied
    ]
    assert await migrate(owner, NOW_US + 1) == []
    assert await owner.fetchval("select name from tenants") == "default"


async def test_two_who_migrate_at_once_do_it_once(owner: Connection, database_url: str) -> None:
    await owner.execute("drop schema bursar cascade")
    other = await connect(database_url)
    first, second = await asyncio.gather(migrate(owner, NOW_US), migrate(other, NOW_US))
    await other.close()
    assert sorted((first, second))[0] == []
    assert sorted((first, second))[1][0] == "001_books.sql"


async def test_a_migration_that_has_changed_is_refused(owner: Connection) -> None:
    await owner.execute("update migrations set sha256 = 'other'")
    with pytest.raises(OperatorError, match=r"001_books\.sql has changed since it was applied: restore its file"):
        await migrate(owner, NOW_US)


async def test_a_schema_of_a_newer_version_is_refused(owner: Connection) -> None:
    await owner.execute("insert into migrations values (900, '900_later.sql', '', 0)")
    with pytest.raises(OperatorError, match=r"of a newer Bursar \(migration 900\): upgrade Bursar"):
        await migrate(owner, NOW_US)


async def test_a_server_older_than_15_is_refused(connection: Connection, database_url: str) -> None:
    major = connection.get_server_version().major
    async with Proxy(database_url) as proxy:
        proxy.replace = (f"server_version\0{major}.".encode(), b"server_version\x0014.")
        old = await connect(proxy.url)
        with pytest.raises(OperatorError, match="PostgreSQL 14 is too old: Bursar needs 15 or newer"):
            await migrate(old, NOW_US)
        await old.close()


async def test_the_embedded_servers_database_is_made_where_it_is_missing(cluster: Any) -> None:
    await ensure_database(cluster.url("bursar"))
    await ensure_database(cluster.url("bursar"))
    connection = await connect(cluster.url("bursar"))
    assert await connection.fetchval("select current_database()") == "bursar"
    await connection.close()


async def test_connections_and_pools_see_the_schema(connection: Connection, database_url: str) -> None:
    assert await connection.fetchval("show search_path") == "bursar"
    pool = await open_pool(database_url, 2)
    async with borrow(pool) as borrowed:
        assert await borrowed.fetchval("select count(*) from tenants") == 1
    await pool.close()


def test_the_environment_overrules_the_folders_own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    assert database_url("own") == ("own", True)
    monkeypatch.setenv("BURSAR_DATABASE_URL", "given")
    assert database_url("own") == ("given", False)


async def test_every_statement_can_be_prepared(connection: Connection) -> None:
    names = sorted(Path(file.name).stem for file in files("bursar.store").joinpath("sql").iterdir())
    assert {"calls", "gateways", "journal", "keys", "leases", "ledger", "writer"} <= set(names)
    for name in names:
        statements = load_statements(name)
        pieces = {piece for piece in statements if any(f"{{{piece}}}" in text for text in statements.values())}
        for statement, text in statements.items():
            if statement not in pieces and "{" not in text.replace("'{}'", ""):
                assert await connection.prepare(text), statement


async def test_what_the_tables_refuse_is_no_reason_to_try_again(connection: Connection) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await connection.execute("insert into tenants (name, created_us) values ('default', 0)")
    assert not isinstance(caught.value, AWAY)
