"""Runtime connections add to the books and can change nothing in them, nor free themselves of what forbids it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bookkeeping import NOW_US, USD, open_shop, write

from bursar.store.audit import audit
from bursar.store.database import Connection, borrow, connect, is_writer, migrate, open_pool

APPEND_ONLY = ("transfers", "transfer_failures", "account_history", "calls", "rate_cards")
FORBIDDEN = ("update {} set {} = {}", "delete from {}", "delete from {} where false", "truncate {}")
COLUMNS = {"transfer_failures": "status", "rate_cards": "source"}


def changes(table: str) -> list[str]:
    column = COLUMNS.get(table, "tenant")
    return [text.format(table, column, column) for text in FORBIDDEN]


CHANGES = [change for table in APPEND_ONLY for change in changes(table)]


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    owner = await connect(database_url, owner=True)
    yield owner
    await owner.close()


@pytest.mark.parametrize("change", CHANGES)
async def test_the_writer_may_not_change_what_is_append_only(connection: Connection, change: str) -> None:
    assert await is_writer(connection)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(change)


@pytest.mark.parametrize("change", CHANGES)
async def test_the_owner_is_stopped_by_a_trigger(owner: Connection, change: str) -> None:
    assert not await is_writer(owner)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only: book a correction"):
        await owner.execute(change)


@pytest.mark.parametrize(
    "change",
    [
        "alter table transfers disable trigger transfers_are_append_only",
        "alter table transfers disable trigger all",
        "drop trigger transfers_are_append_only on transfers",
        "create or replace function refuse_change() returns trigger language plpgsql as $$ begin return null; end $$",
        "alter table transfers drop column hash",
        "alter table accounts drop constraint limited_account_never_owes",
        "drop table transfers",
        "set session_replication_role = replica",
        "create table more (line text)",
        "delete from accounts",
        "truncate accounts",
        "delete from chains",
        "delete from tenants",
        "update migrations set sha256 = ''",
        "update tenants set name = name",
        "alter role bursar_writer superuser",
        "create trigger mine before insert on transfers for each row execute function refuse_change()",
    ],
)
async def test_the_writer_may_not_free_itself(connection: Connection, change: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.execute(change)
    assert isinstance(caught.value, asyncpg.InsufficientPrivilegeError)


async def test_the_writer_cannot_give_itself_rights(connection: Connection) -> None:
    await connection.execute("grant update on transfers to bursar_writer")  # a warning, and no effect
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("update transfers set amount_nano = 1")


async def test_a_connection_of_a_pool_is_the_writers_however_often_it_is_lent(database_url: str) -> None:
    pool = await open_pool(database_url, 1)
    for _ in range(2):
        async with borrow(pool) as borrowed:
            assert await is_writer(borrowed)
    await pool.close()


async def test_a_migration_runs_as_the_owner_and_leaves_the_writer(owner: Connection) -> None:
    assert await migrate(owner, NOW_US) == []
    assert await is_writer(owner)


async def test_a_table_made_later_can_be_written(owner: Connection, connection: Connection) -> None:
    await owner.execute("create table later (line text); create table kept (line text)")
    await owner.execute("create trigger kept before update on kept for each statement execute function refuse_change()")
    await migrate(owner, NOW_US)
    for table in ("later", "kept"):
        await connection.execute(f"insert into {table} values ('a')")
    await connection.execute("update later set line = 'b'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("update kept set line = 'b'")


async def test_where_no_role_may_be_made_the_triggers_alone_refuse(
    cluster: Any, database_url: str, tmp_path: Path
) -> None:
    admin = await connect(database_url, owner=True)
    database = database_url.split("?")[0].rsplit("/", 1)[1]
    await admin.execute("drop schema bursar cascade")
    await admin.execute(f"create role {database} login; grant create on database {database} to {database}")
    own_url = database_url.replace("bursar@", f"{database}@")
    own = await connect(own_url)
    await migrate(own, NOW_US)
    try:
        assert not await is_writer(own)
        shop = await open_shop(own)
        await write(shop, tmp_path, own_url, *shop.call(USD))
        assert (await audit(own)).findings == []
        with pytest.raises(asyncpg.RestrictViolationError):
            await own.execute("delete from transfers")
    finally:
        await own.close()
        await admin.execute(f"drop owned by {database} cascade; drop role {database}")
        await admin.close()


async def test_a_role_that_may_be_taken_is_taken_on_a_server_of_ones_own(database_url: str) -> None:
    admin = await connect(database_url, owner=True)
    database = database_url.split("?")[0].rsplit("/", 1)[1]
    await admin.execute("drop schema bursar cascade")
    await admin.execute(f"create role {database} login; grant create on database {database} to {database}")
    await admin.execute(f"grant bursar_writer to {database}")
    own_url = database_url.replace("bursar@", f"{database}@")
    own = await connect(own_url)
    await migrate(own, NOW_US)
    try:
        assert await is_writer(own)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("delete from transfers")
    finally:
        await own.close()
        await admin.execute(f"drop owned by {database} cascade; drop role {database}")
        await admin.close()
