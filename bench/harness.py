"""Run a real Bursar as a child process, find its parts, end it in order or not: for benchmarks and tests."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bursar.budgets.budget import UNLIMITED, read_limit
from bursar.store.audit import Audit, audit
from bursar.store.database import Connection, connect
from bursar.store.keys import Scope, create_key
from bursar.store.postgres import DataFolder

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LocalBursar:
    """Hold one `bursar up` with a data folder of its own."""

    def __init__(
        self, config: str = "", *, data: Path | None = None, core: int | None = None, port: int = 0, workers: int = 1
    ) -> None:
        self._made = data is None
        self.data = data or Path(tempfile.mkdtemp(prefix="bursar-"))
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.data / "up.log"
        self.environment: dict[str, str] = {}
        self._config = config
        self._core = core
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 60.0) -> None:
        """Start it and wait until it serves. Raises `RuntimeError` with its last words when it does not."""
        command = [sys.executable, "-m", "bursar", "up", "--port", str(self.port), "--data", str(self.data)]
        command += ["--workers", str(self.workers)]
        if self._config:
            file = self.data / "bursar.toml"
            file.write_text(self._config)
            command += ["--config", str(file)]
        environment = {name: value for name, value in os.environ.items() if name != "BURSAR_DATABASE_URL"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment | self.environment,
                cwd=self.data,
                preexec_fn=pinned(self._core),
            )
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"bursar up ended with {self.process.returncode}: {self.last_words()}")
            if self.ready():
                return
            time.sleep(0.02)
        raise RuntimeError(f"bursar up was not ready in {timeout_s} s: {self.last_words()}")

    def ready(self) -> bool:
        """Tell whether calls are served."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as client:
                client.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                return b" 200 " in client.recv(256)
        except OSError:
            return False

    def stop(self) -> int:
        """Stop it in order and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill_all()
        return self.process.returncode

    def child_pids(self, role: str) -> list[int]:
        """Return the processes of a role: worker, sandbox, control, or postgres."""
        assert self.process is not None
        marks = {"postgres": b"postgres\0-D\0"}
        mark = marks.get(role, b"bursar.cli.child\0" + role.encode())
        found: list[int] = []
        for pid in children_of(self.process.pid):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def database_pids(self) -> list[int]:
        """Return the processes of its own database."""
        server = self.child_pids("postgres")[0]
        return [server, *children_of(server)]

    def kill(self, role: str, number: int = 0) -> int:
        """Kill a process of a role, as kill -9 does; returns its number."""
        pids = self.child_pids(role)
        if not pids:
            raise LookupError(f"no {role} runs: {self.last_words()}")
        pid = pids[number % len(pids)]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_all(self) -> None:
        """Kill the supervisor and all it started."""
        assert self.process is not None
        pids = [*children_of(self.process.pid), self.process.pid]
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def remove(self) -> None:
        """Remove the data folder if it was made here."""
        if self._made:
            shutil.rmtree(self.data, ignore_errors=True)

    def last_words(self) -> str:
        """Return the end of its log."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-2_000:]
        return ""

    @property
    def database_url(self) -> str:
        """Return the address of its database."""
        return self.environment.get("BURSAR_DATABASE_URL") or DataFolder(self.data).url

    def create_key(self, name: str, *limits: str | None, parent: str | None = None, **scope: Any) -> str:
        """Create a key and return its secret."""

        async def work() -> str:
            async with database(self.database_url) as connection:
                terms = [read_limit(each) for each in limits if each] or UNLIMITED
                return (await create_key(connection, name, terms, Scope(**scope), time.time_ns() // 1000, parent))[1]

        return asyncio.run(work())

    def command(self, *words: str) -> str:
        """Run a command of Bursar's on its books and return what it prints."""
        command = [sys.executable, "-m", "bursar", *words, "--data", str(self.data)]
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def audit(self) -> Audit:
        """Check the books."""

        async def work() -> Audit:
            async with database(self.database_url) as connection:
                return await audit(connection)

        return asyncio.run(work())

    def query(self, text: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the database."""

        async def work() -> list[dict[str, Any]]:
            async with database(self.database_url) as connection:
                return [dict(row) for row in await connection.fetch(text, *values)]

        return asyncio.run(work())

    def wait_journaled(self, calls: int, timeout_s: float = 10.0) -> None:
        """Wait until so many calls are in the books."""
        deadline = time.monotonic() + timeout_s
        while (count := self.query("select count(*) as n from calls")[0]["n"]) < calls:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{count} of {calls} calls are in the books after {timeout_s} s")
            time.sleep(0.02)


@contextlib.contextmanager
def serving(module: list[str], port: int, *, core: int | None = None) -> Iterator[None]:
    """Run a module that serves on a port, for a while, on one core if that is named."""
    process = subprocess.Popen(
        [sys.executable, "-m", *module], cwd=ROOT, stdout=subprocess.DEVNULL, preexec_fn=pinned(core)
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{module[0]} does not serve on port {port}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def pinned(core: int | None) -> Callable[[], None] | None:
    """Return what keeps a process that is started on one core, for `preexec_fn`."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


@contextlib.asynccontextmanager
async def database(url: str) -> Any:
    """Open a connection for a moment."""
    connection: Connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.contextmanager
def bursar(config: str = "", **options: Any) -> Iterator[LocalBursar]:
    """Run a Bursar for a while."""
    local = LocalBursar(config, **options)
    try:
        local.start()
        yield local
    finally:
        if local.process is not None and local.process.poll() is None:
            local.stop()
        local.remove()


def children_of(pid: int) -> list[int]:
    """Return all descendants of a process, parents first."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found.append(int(child))
                found += children_of(int(child))
    return found


def decode_json(data: bytes) -> Any:
    """Read JSON."""
    return msgspec.json.decode(data)
