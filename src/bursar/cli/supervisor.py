"""Start everything on one machine, keep it running, and stop it in order, from the database to the gateway."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import structlog

from bursar import __version__
from bursar.cli.child import ENVIRONMENT, Options
from bursar.core.errors import ConfigError, OperatorError
from bursar.gateway.config import Config, read_config
from bursar.gateway.reload import at_next_start, check_config, live_settings
from bursar.store.database import connect, database_url, ensure_database, migrate
from bursar.store.postgres import DataFolder, Postgres
from bursar.store.running import Running

log = structlog.get_logger()

WORKERS_MAX: Final = 256
_LOCK_WAIT_S: Final = 15.0
_READY_WAIT_S: Final = 60.0
_STOP_WAIT_S: Final = 20.0
_RESTART_S: Final = 0.2
_RESTART_MAX_S: Final = 10.0
_BLAS_THREADS: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""What says how many threads NumPy multiplies with; it is read once, when NumPy is loaded."""


class Child:
    """Keep one child process running: start it again when it ends, with growing pauses when it ends at once."""

    def __init__(self, role: str, options: Options, inherited: tuple[int, ...]) -> None:
        self.role = role
        self._options = options
        self._inherited = inherited
        self._stopping = False
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process."""
        options = msgspec.structs.replace(self._options, parent=os.getpid())
        environment = environment_for(self.role, os.environ)
        environment[ENVIRONMENT] = msgspec.json.encode(options).decode()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bursar.cli.child", self.role, env=environment, pass_fds=self._inherited
        )

    async def keep_running(self) -> None:
        """Start the process again whenever it ends, until it is stopped."""
        pause = _RESTART_S
        while True:
            assert self.process is not None
            began = time.monotonic()
            code = await self.process.wait()
            if self._stopping:
                return
            pause = _RESTART_S if time.monotonic() - began > _RESTART_MAX_S else min(pause * 2, _RESTART_MAX_S)
            log.warning("child.ended", role=self.role, code=code, again_in_s=pause)
            await asyncio.sleep(pause)
            if not self._stopping:
                await self.start()

    async def stop(self, wait_s: float = _STOP_WAIT_S) -> None:
        """Ask the process to end, and wait until it has."""
        self._stopping = True
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), wait_s)
        except TimeoutError:
            process.kill()
            await process.wait()


def environment_for(role: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return what a child of this role finds in its environment, made of the supervisor's own."""
    environment = {name: value for name, value in given.items() if name != "BURSAR_DATABASE_URL"}
    if role == "worker" and not any(name in given for name in _BLAS_THREADS):
        # A worker's matrices are small and its core is shared: a pool of threads would only make calls wait.
        environment |= dict.fromkeys(_BLAS_THREADS, "1")
    return environment


class InMemory:
    """Be a file that children can read and no disk holds: a copy of a configuration is one of its secrets."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("bursar.toml")
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")

    def write(self, content: bytes) -> None:
        """Fill it."""
        os.write(self._descriptor, content)

    def become(self, other: "InMemory") -> None:
        """Hold from now on what another holds, under the same path."""
        os.dup2(other._descriptor, self._descriptor, inheritable=False)

    def close(self) -> None:
        """Forget its content."""
        os.close(self._descriptor)


class Supervisor:
    """Run Bursar for one data folder."""

    def __init__(
        self, folder: DataFolder, config: Config, config_path: Path | None, address: tuple[str, int], workers: int = 1
    ) -> None:
        self._folder = folder
        self._config = config
        self._config_path = config_path
        self._kept = InMemory() if config_path is not None else None
        self._used_config = str(self._kept.path) if self._kept is not None else ""
        self._host, self.port = address
        self._workers = workers
        self._listener: socket.socket | None = None
        self._running: Running | None = None
        self._postgres: Postgres | None = None
        self._children: list[Child] = []
        self._sockets: list[socket.socket] = []  # kept open across restarts of the children that serve them
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start everything; returns once calls are served. Raises `OperatorError`."""
        folder = self._folder
        self._config.alerts.secret()  # said now, if there is none, rather than when something is to be told
        folder.create()
        await _take(folder)
        self._listener = listen(self._host, self.port)
        self.port = self._listener.getsockname()[1]
        url, own = database_url(folder.url)
        prices = asyncio.create_task(self._compile_prices())
        if own:
            self._postgres = Postgres(folder)
            await self._postgres.start()
            await ensure_database(folder.url)
            self._tasks.append(asyncio.create_task(self._postgres.keep_running()))
        connection = await connect(url)
        try:
            for name in await migrate(connection, time.time_ns() // 1_000):
                log.info("database.migrated", migration=name)
        finally:
            await connection.close()
        await prices
        self._take_config()
        await self._start_children(url, self._listener)
        await self._wait_ready()
        config = self._used_config
        keeper = Child("keeper", Options(folder=str(folder.prices), database_url=url, config=config), ())
        self._children.append(keeper)
        await keeper.start()
        # Only from now on: a worker that cannot start at all is not tried again and again.
        self._tasks += [asyncio.create_task(child.keep_running()) for child in self._children]

    async def _start_children(self, url: str, listener: socket.socket) -> None:
        folder = self._folder
        sandbox_url = ""
        if self._config.needs_sandbox:
            sandbox = listen("127.0.0.1", 0)
            sandbox_url = f"http://127.0.0.1:{sandbox.getsockname()[1]}/v1"
            await self._start("sandbox", Options(listener=sandbox.fileno()), sandbox)
        if importlib.util.find_spec("litestar") is not None:
            control = _listen_unix(folder.control_socket)
            told = Options(
                folder=str(folder.prices), database_url=url, config=self._used_config, listener=control.fileno()
            )
            await self._start("control", told, control)
        options = Options(
            folder=str(folder.path),
            database_url=url,
            config=self._used_config,
            control_socket=str(folder.control_socket),
            sandbox_url=sandbox_url,
        )
        for number in folder.spools_left(self._workers):
            await self._recover(msgspec.structs.replace(options, spool=str(folder.spool_of(number))))
        # A worker writes its spool: should this process die first, the folder is not free before the worker is gone.
        for number in range(self._workers):
            own = msgspec.structs.replace(options, spool=str(folder.spool_of(number)), listener=listener.fileno())
            await self._start("worker", own, listener, folder.lock)

    async def _start(self, role: str, options: Options, listener: socket.socket, *inherited: int) -> None:
        child = Child(role, options, (listener.fileno(), *inherited))
        self._sockets.append(listener)
        self._children.append(child)
        await child.start()

    async def _recover(self, options: Options) -> None:
        """Carry the spool of a worker there used to be into the books."""
        child = Child("recover", options, (self._folder.lock,))
        await child.start()
        assert child.process is not None
        if await child.process.wait() != 0:
            raise OperatorError(f"{options.spool} could not be carried into the books: see the messages above")

    def _take_config(self) -> Config:
        """Check the configuration file as it is now, and keep a copy to go by. Raises `OperatorError`."""
        path, kept = self._config_path, self._kept
        if path is None or kept is None:
            return self._config
        fresh = InMemory()
        try:
            fresh.write(path.read_bytes())
            config = read_config(fresh.path)
            check_config(config, self._folder.prices)
            kept.become(fresh)
        except ConfigError as error:
            raise ConfigError(f"{path}: {str(error).removeprefix(f'{fresh.path}: ')}") from None
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        finally:
            fresh.close()
        return config

    def reload(self) -> None:
        """Have workers go by the configuration as it is now; one that is wrong is refused, and all stays as it was."""
        old = self._config
        try:
            if self._config_path is None:
                raise ConfigError("there is no bursar.toml to read: it was started without one")
            if read_config(self._config_path).needs_sandbox and not old.needs_sandbox:
                raise ConfigError("the sandbox starts with bursar up alone: start it again, or give the address of one")
            self._config = self._take_config()
        except ConfigError as error:
            log.error("config.refused", error=str(error))
            self._say(error=str(error))
            return
        later = at_next_start(old, self._config)
        self._config = msgspec.structs.replace(
            self._config, gateway=live_settings(old.gateway, self._config.gateway)
        )  # as each worker does
        for child in self._children:
            if child.process is None or child.process.returncode is not None:
                continue
            if child.role == "worker":
                child.process.send_signal(signal.SIGHUP)
            elif child.role == "keeper" and old.alerts != self._config.alerts:
                child.process.terminate()  # it is started again, and reads the copy
        self._say(at_next_start=later)

    def show(self) -> None:
        """Let `bursar reload` find this process, which hears its signal from now on."""
        self._running = Running(self._folder.path)

    def _say(self, *, error: str = "", at_next_start: list[str] | None = None) -> None:
        """Tell whoever has asked for a reload what came of it."""
        if self._running is not None:
            self._running.looked(error, at_next_start)

    async def stop(self) -> None:
        """Stop everything, the gateway first: it carries what it has into the books."""
        if self._running is not None:
            self._running.end()
            self._running = None
        workers = [child for child in self._children if child.role == "worker"]
        if self._listener is not None:
            self._listener.close()  # so that nobody can wait at a socket that none of the workers serves any more
        wait_s = _STOP_WAIT_S + self._config.gateway.drain_s
        await asyncio.gather(*(child.stop(wait_s) for child in workers))
        for child in reversed(self._children):
            await child.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._postgres is not None:
            await self._postgres.stop()
        self._folder.unlock()

    async def _compile_prices(self) -> None:
        """Compile the price book unless this folder has it for these versions already."""
        stamp = self._folder.path / "prices.version"
        wanted = f"{__version__} {version('genai-prices')}\n"
        if self._folder.prices.exists() and stamp.exists() and stamp.read_text() == wanted:
            return
        child = Child("prices", Options(folder=str(self._folder.prices)), ())
        await child.start()
        assert child.process is not None
        if await child.process.wait() != 0:
            raise OperatorError("the price book could not be compiled: see the messages above")
        stamp.write_text(wanted)

    async def _wait_ready(self) -> None:
        """Wait until the gateway answers that it is ready."""
        workers = [child for child in self._children if child.role == "worker"]
        deadline = time.monotonic() + _READY_WAIT_S
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::", "") else self._host  # noqa: S104 - asked for by the user
        while time.monotonic() < deadline:
            if any(worker.process is None or worker.process.returncode is not None for worker in workers):
                raise OperatorError("the gateway did not start: see the messages above")
            with contextlib.suppress(OSError, TimeoutError):
                if await asyncio.wait_for(_is_ready(host, self.port), 2.0):
                    return
            await asyncio.sleep(0.02)
        raise OperatorError(f"the gateway was not ready within {_READY_WAIT_S:.0f} s")


async def run_until_signal(supervisor: Supervisor, started: "asyncio.Future[None] | None" = None) -> None:
    """Start, tell whoever waits, run until SIGINT or SIGTERM, and stop."""
    loop, ended, terminal = asyncio.get_running_loop(), asyncio.Event(), _on_terminal()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        starting = asyncio.create_task(supervisor.start())
        stopped = asyncio.create_task(ended.wait())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            # From a terminal that was closed it means to end; from anybody else, to read the configuration again.
            hung_up = lambda: ended.set() if terminal and not _on_terminal() else supervisor.reload()  # noqa: E731
            loop.add_signal_handler(signal.SIGHUP, hung_up)
            supervisor.show()
            if started is not None:
                started.set_result(None)
            await stopped
        else:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        stopped.cancel()
    finally:
        await supervisor.stop()


def _on_terminal() -> bool:
    """Tell whether it runs in a terminal, and that is still there."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


async def _take(folder: DataFolder) -> None:
    """Take the folder's lock, waiting for a command that uses its database for a moment."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while not folder.try_lock():
        if time.monotonic() > deadline:
            raise OperatorError(f"another Bursar runs in {folder.path}: stop it, or choose another folder with --data")
        await asyncio.sleep(0.1)


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen. The supervisor keeps the socket, so that clients can wait while a worker restarts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OperatorError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port") from None
    listener.listen(4_096)
    listener.settimeout(0)
    return listener


def _listen_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(128)
    listener.settimeout(0)
    return listener


async def _is_ready(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
