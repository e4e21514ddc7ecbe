"""The embedded server starts, survives what is done to it, and is its folder's alone."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bookkeeping import until

from bursar.core.errors import BooksError, OperatorError
from bursar.store.database import AWAY, connect, ensure_database
from bursar.store.postgres import DataFolder, Postgres

SETTINGS = {"fsync": "off"}


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[DataFolder]:
    folder = DataFolder(tmp_path / "data")
    folder.create()
    assert folder.try_lock()
    yield folder
    folder.unlock()


async def note(folder: DataFolder, text: str) -> list[str]:
    """Write a line into the database and return all there are."""
    await ensure_database(folder.url)
    connection = await connect(folder.url)
    await connection.execute("create schema if not exists bursar; create table if not exists notes (line text)")
    await connection.execute("insert into notes values ($1)", text)
    lines = [row["line"] for row in await connection.fetch("select line from notes order by line")]
    await connection.close()
    return lines


async def test_what_was_written_outlives_stop_kill_and_a_stale_pid_file(folder: DataFolder) -> None:
    postgres = Postgres(folder, SETTINGS)
    await postgres.start()
    assert await note(folder, "1") == ["1"]
    await postgres.stop()
    await postgres.stop()  # again does nothing
    with pytest.raises(BooksError):
        await connect(folder.url)

    await postgres.start()
    assert await note(folder, "2") == ["1", "2"]
    assert postgres.process is not None
    os.kill(postgres.process.pid, signal.SIGKILL)
    await postgres.process.wait()
    assert (folder.postgres / "postmaster.pid").exists()  # the dead server could not remove it

    await postgres.start()  # at once, while its children may still be ending
    assert await note(folder, "3") == ["1", "2", "3"]

    watching = asyncio.create_task(postgres.keep_running())
    first = postgres.process
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: postgres.process is not first and (folder.postgres / "postmaster.pid").exists(), 30)

    async def answers() -> bool:
        try:
            return await note(folder, "4") != []
        except (*AWAY, BooksError):
            return False

    while not await answers():
        assert not watching.done()
        await asyncio.sleep(0.05)
    assert (await note(folder, "5"))[:4] == ["1", "2", "3", "4"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await postgres.stop()


async def test_an_interrupted_initialisation_is_begun_anew(folder: DataFolder) -> None:
    half_made = folder.path / "postgres.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    postgres = Postgres(folder, SETTINGS)
    await postgres.start()
    assert not half_made.exists()
    assert await note(folder, "1") == ["1"]
    await postgres.stop()


async def test_a_server_that_cannot_start_says_why_and_where_to_look(folder: DataFolder) -> None:
    postgres = Postgres(folder, {"shared_buffers": "nonsense"})
    with pytest.raises(OperatorError, match=r"PostgreSQL did not start: .*shared_buffers.*postgres\.log"):
        await postgres.start()


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    assert first.try_lock()
    assert not second.try_lock()
    first.unlock()
    first.unlock()  # again does nothing
    assert second.try_lock()
    second.unlock()


def test_a_child_that_has_the_lock_keeps_the_folder_when_its_parent_is_gone(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    assert first.try_lock()
    inherited = os.dup(first.lock)
    first.unlock()
    assert not second.try_lock()
    os.close(inherited)
    assert second.try_lock()
    second.unlock()


def test_a_folder_is_its_owners_alone_and_one_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "b")
    folder.create()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match=r"cannot make the data folder .*; choose another with --data"):
        DataFolder(tmp_path / "file" / "data").create()


def test_a_path_too_long_for_a_socket_gets_one_elsewhere(tmp_path: Path) -> None:
    short, long = DataFolder(tmp_path / "x"), DataFolder(tmp_path / ("x" * 90))
    assert short.socket_folder == (tmp_path / "x").resolve()
    assert len(str(long.socket_folder)) < 60
    assert long.socket_folder != DataFolder(tmp_path / ("y" * 90)).socket_folder
    assert str(long.socket_folder) in long.url
