"""`bursar demo`: replay a slice of a real trace through a gateway, and print a statement whose books balance."""

import asyncio
import contextlib
import csv
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from bursar.budgets.budget import UNLIMITED, read_limit
from bursar.cli.child import set_up_logging
from bursar.cli.common import now_us, print_table
from bursar.cli.statement import print_statement
from bursar.cli.supervisor import Supervisor
from bursar.core.errors import OperatorError
from bursar.core.kinds import By
from bursar.core.money import nano_to_usd
from bursar.core.times import HOUR_US, day_text
from bursar.gateway.config import read_config
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool
from bursar.sandbox.play import TOKEN_BYTES
from bursar.store.audit import Audit, audit
from bursar.store.database import Connection, connect, database_url
from bursar.store.holders import budget_states
from bursar.store.keys import Key, Scope, all_keys, create_key
from bursar.store.postgres import DataFolder
from bursar.store.reports import statement, totals

_CALLS: Final = 1_500
_AT_ONCE: Final = 48
_MARK: Final = "demo.txt"
_SHARED_TOKENS: Final = 1_100  # a system prompt every call of a team begins with: providers cache it
_OWN_TOKENS: Final = 40  # what a call says beyond it, at least
_WORDS: Final = ("ledger of what was asked and what it cost ", "please sum the page below and say what is owed ")

# Who calls, with which budget, how many in ten calls, and the models they take in turn.
_TEAMS: Final = (
    ("search", "2.00/day", 5, ("gpt-4o-mini", "gpt-5-mini", "gpt-4o-mini")),
    ("support", None, 4, ("claude-haiku-4-5", "gpt-4o-mini", "claude-sonnet-4-5")),
    ("intern", "0.15", 1, ("claude-haiku-4-5",)),
)
_TURNS: Final = tuple(team for team in _TEAMS for _ in range(team[2]))
_FAULTS: Final = {40: "429", 90: "500", 140: "cut"}


class Row(msgspec.Struct, frozen=True):
    """Hold one request of the trace; tokens."""

    number: int
    context_tokens: int
    generated_tokens: int


class Client:
    """Call the gateway the way an application does, in either protocol."""

    def __init__(self, port: int, secrets: dict[str, str]) -> None:
        self._pool = Pool(f"http://127.0.0.1:{port}", Outbox(asyncio.get_running_loop()), connections_max=_AT_ONCE)
        self._secrets = secrets
        self.answers: Counter[int] = Counter()

    async def call(self, row: Row) -> None:
        """Make the call of one row of the trace."""
        team, _, _, models = _TURNS[row.number * 3 % len(_TURNS)]  # 3: so that teams alternate
        model = models[row.number // len(_TURNS) % len(models)]
        anthropic = model.startswith("claude")
        body = msgspec.json.encode(_request(row, model, anthropic=anthropic))
        path = "/v1/messages" if anthropic else "/v1/chat/completions"
        lines = (
            f"POST {path} HTTP/1.1",
            "host: localhost",
            "content-type: application/json",
            "anthropic-version: 2023-06-01",
            f"authorization: Bearer {self._secrets[team]}",
            f"x-bursar-tags: team={team}",
            f"content-length: {len(body)}",
        )
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        connection = self._pool.take_idle() or await self._pool.open()
        response = await connection.exchange((head, body), self._pool.timeouts)
        if response.stream is not None:
            while await response.stream.chunk():
                pass
        self.answers[response.status] += 1

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def demo(
    *,
    data: Annotated[Path, Parameter(help="Data folder of the demo; it is made anew each time.")] = Path(".demo"),
    calls: Annotated[int, Parameter(help="Requests of the trace to replay.")] = _CALLS,
    keep: Annotated[bool, Parameter(negative="", help="Go on serving on port 4000 afterwards.")] = False,
) -> None:
    """Replay a slice of a real trace through a gateway and print the statement. Exit 0 only if the books balance."""
    rows = _rows(calls)
    folder = DataFolder(data.absolute())
    _prepare(folder)
    set_up_logging(quiet=True)
    sys.exit(0 if asyncio.run(_demo(folder, rows, keep=keep)) else 1)


async def _demo(folder: DataFolder, rows: list[Row], *, keep: bool) -> bool:
    """Run the demo; true if every call was answered as planned and the books balance."""
    started, this = time.monotonic(), asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    supervisor = Supervisor(folder, read_config(None), None, ("127.0.0.1", 4000 if keep else 0))
    try:
        await supervisor.start()
        print(f"Started PostgreSQL, sandbox and gateway in {time.monotonic() - started:.1f} s ({folder.path})")
        async with _books(folder) as connection:
            keys = await _create_keys(connection)
            client = Client(supervisor.port, {key.name: secret for key, secret in keys})
            began = time.monotonic()
            await _replay(client, rows)
            seconds = time.monotonic() - began
            client.close()
            refused = client.answers[402]
            print(
                f"Replayed {len(rows):,} requests of Azure's conversation trace (2023, CC BY 4.0) in {seconds:.1f} s,\n"
                f"as OpenAI chat and Anthropic messages, half of them streams; {refused:,} refused: no budget.\n"
            )
            failed = len(rows) - client.answers[200] - refused
            planned = sum(row.number in _FAULTS for row in rows)
            if failed > planned:
                print(f"{failed:,} calls failed, and only {planned} were meant to: {dict(client.answers)}\n")
            await _wait_journaled(connection, len(rows) - refused)
            result = await _report(connection, [key for key, _ in keys])
        if keep:
            print(f"\nServing on http://127.0.0.1:{supervisor.port} until interrupted")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return failed <= planned and not result.findings
    finally:
        await supervisor.stop()


async def _replay(client: Client, rows: list[Row]) -> None:
    """Make the calls, a bounded number at once."""
    waiting = iter(rows)

    async def work() -> None:
        for row in waiting:
            await client.call(row)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _report(connection: Connection, keys: list[Key]) -> Audit:
    """Print statements, budgets and the check of the books."""
    now = now_us()
    from_us, until_us = now - HOUR_US, now + HOUR_US
    total = await totals(connection, from_us, until_us)
    for by in (By.model, By.key):
        print_statement(by, await statement(connection, by, from_us, until_us), total, day_text(now))
        print()
    states = await budget_states(connection, [key.budget for key in keys], now)
    rows = [
        [
            key.name,
            nano_to_usd(state.budget.terms.limit_nano),
            nano_to_usd(state.spent_nano),
            nano_to_usd(state.left_nano),
        ]
        for key, state in zip(keys, states, strict=True)
        if state.budget.terms.limit_nano is not None and state.left_nano is not None
    ]
    print_table(["budget", "limit USD", "spent", "left"], rows, right=(1, 2, 3))
    result = await audit(connection)
    if result.findings:
        print(f"\nThe books do not balance: {result.findings[0]}")
    else:
        print(
            f"\nThe books balance to the nano-dollar: {result.calls:,} calls, {result.transfers:,} transfers, "
            f"{result.accounts} accounts."
        )
    return result


async def _create_keys(connection: Connection) -> list[tuple[Key, str]]:
    limits = [(name, read_limit(limit) if limit else UNLIMITED) for name, limit, *_ in _TEAMS]
    return [await create_key(connection, name, limit, Scope(), now_us()) for name, limit in limits]


async def _wait_journaled(connection: Connection, calls: int) -> None:
    """Wait until the journal has carried every call into the books."""
    for _ in range(500):
        if (await totals(connection, 0, now_us() + HOUR_US)).calls >= calls:
            return
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _books(folder: DataFolder) -> AsyncIterator[Connection]:
    connection = await connect(database_url(folder.url)[0])
    try:
        if await all_keys(connection):
            raise OperatorError("the demo wants a database of its own: unset BURSAR_DATABASE_URL, or name an empty one")
        yield connection
    finally:
        await connection.close()


def _request(row: Row, model: str, *, anthropic: bool) -> dict[str, object]:
    """Word a request with the trace's number of tokens; the sandbox counts four bytes as one."""
    shared = min(_SHARED_TOKENS, max(0, row.context_tokens - _OWN_TOKENS))
    fault = f" fault={_FAULTS[row.number]}" if row.number in _FAULTS else ""
    reasoning = row.generated_tokens // 3 if model.startswith("gpt-5") else 0
    direction = f"[[output={row.generated_tokens - reasoning} reasoning={reasoning}{fault}]] {row.number} "
    system = _text(_WORDS[0], shared * TOKEN_BYTES)
    user = direction + _text(_WORDS[1], max(0, (row.context_tokens - shared) * TOKEN_BYTES - len(direction)))
    stream = row.number % 2 == 1
    turn = {"role": "user", "content": user}
    if anthropic:
        cached = {"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}
        return {"model": model, "system": [cached], "messages": [turn], "max_tokens": 2_048, "stream": stream}
    return {"model": model, "messages": [{"role": "system", "content": system}, turn], "stream": stream}


def _text(words: str, size: int) -> str:
    return (words * (size // len(words) + 1))[:size]


def _rows(count: int) -> list[Row]:
    text = files("bursar.cli").joinpath("data", "azure_conv_2023.csv").read_text()
    rows = [
        Row(number, int(row["context_tokens"]), int(row["generated_tokens"]))
        for number, row in enumerate(csv.DictReader(text.splitlines()))
    ]
    if not 1 <= count <= len(rows):
        raise OperatorError(f"--calls: expected 1 to {len(rows)}, the length of the slice; got {count}")
    return rows[:count]


def _prepare(folder: DataFolder) -> None:
    """Empty the folder of an earlier demo; a folder that is not one is left alone."""
    path = folder.path
    if path.exists() and any(path.iterdir()):
        if not (path / _MARK).exists():
            raise OperatorError(f"{path} is not empty and not of a demo: choose another with --data")
        if not folder.try_lock():
            raise OperatorError(f"a demo runs in {path}: stop it, or choose another with --data")
        folder.unlock()
        shutil.rmtree(path)
    folder.create()
    (path / _MARK).write_text("Made by `bursar demo`, which empties this folder whenever it starts.\n")
