"""Share what commands have in common: the options, the data folder, the way to the books, the output."""

import asyncio
import json
import os
import pwd
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from cyclopts import Parameter, validators
from rich.console import Console
from rich.table import Table

from bursar.core.errors import BooksError, OperatorError
from bursar.store.audit_log import act_as
from bursar.store.database import Connection, connect, database_url, ensure_database, is_migrated, migrate
from bursar.store.postgres import DataFolder, Postgres

T = TypeVar("T")

Data: TypeAlias = Annotated[Path | None, Parameter(name="--data", help="Data folder (BURSAR_DATA, or the user's own).")]
Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON, for machines.")]

IS_PORT: Final = validators.Number(gte=0, lte=65_535)

_LOCK_WAIT_S: Final = 15.0


def data_folder(data: Path | None) -> DataFolder:
    """Return the data folder to use: the option, the environment, or the user's own."""
    if data is None:
        given = os.environ.get("BURSAR_DATA", "")
        data = Path(given) if given else _user_folder() / "bursar"
    return DataFolder(data.expanduser().absolute())


def _user_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def config_file(given: Path | None) -> Path | None:
    """Return the configuration to read: the option's, or the one in the current folder, if there is one."""
    found = Path("bursar.toml")
    return given if given is not None or not found.exists() else found


def now_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work."""
    return asyncio.run(work)


@asynccontextmanager
async def open_books(data: Path | None) -> AsyncIterator[Connection]:
    """Connect to the books, with the name of whoever runs the command for the audit log."""
    async with _opened(data) as connection:
        await act_as(connection, _user(), f"command on {socket.gethostname()}")
        yield connection


def _user() -> str:
    """Name the user of this process; the environment could name any."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


@asynccontextmanager
async def _opened(data: Path | None) -> AsyncIterator[Connection]:
    """Connect to the books: those of a running Bursar, or of a data folder whose database is started for the moment."""
    folder = data_folder(data)
    url, own = database_url(folder.url)
    connection = None if own and not _socket_there(folder) else await _try_connect(url, own=own)
    if connection is not None:
        try:
            yield connection
        finally:
            await connection.close()
        return
    async with _started(folder) as started:
        yield started


@asynccontextmanager
async def _started(folder: DataFolder) -> AsyncIterator[Connection]:
    """Start a data folder's database for one command."""
    folder.create()
    deadline = time.monotonic() + _LOCK_WAIT_S
    while not folder.try_lock():
        # A Bursar is starting or stopping in this folder: its database may be there in a moment.
        if (connection := await _try_connect(folder.url, own=True)) is not None:
            try:
                yield connection
            finally:
                await connection.close()
            return
        if time.monotonic() > deadline:
            raise OperatorError(f"{folder.path} is in use by another process, and its database does not answer")
        await asyncio.sleep(0.1)
    postgres = Postgres(folder)
    try:
        await postgres.start()
        await ensure_database(folder.url)
        connection = await connect(folder.url)
        await migrate(connection, now_us())
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await postgres.stop()
        folder.unlock()


def _socket_there(folder: DataFolder) -> bool:
    return (folder.socket_folder / ".s.PGSQL.5432").exists()


async def _try_connect(url: str, *, own: bool) -> Connection | None:
    """Connect if the database is there; one given by its address must be."""
    try:
        connection = await connect(url, timeout_s=5)
    except BooksError as error:
        if own:
            return None
        raise OperatorError(str(error)) from error
    if not own or not await is_migrated(connection):
        await migrate(connection, now_us())
    return connection


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    columns: list[str], rows: list[list[str]], *, right: tuple[int, ...] = (), title: str = "", width: int = 140
) -> None:
    """Print rows as a table; `right` are the columns aligned to the right, `width` what is taken without a terminal."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in right else "left", no_wrap=index in right)
    for row in rows:
        table.add_row(*row)
    console(width).print(table)


def console(width: int = 140) -> Console:
    """Return the console to print on; where no terminal is, it is `width` wide: enough not to fold a table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def revoke_named(
    revoke: Callable[[Connection, str, int], Coroutine[Any, Any, str]], name: str, data: Path | None, *, as_json: bool
) -> None:
    """Revoke what is known by a name or an id, and print the id of what was revoked."""

    async def work() -> str:
        async with open_books(data) as connection:
            return await revoke(connection, name, now_us())

    revoked_id = run(work())
    if as_json:
        print_json({"id": revoked_id, "revoked": True})
    else:
        print(f"{revoked_id} is revoked")
