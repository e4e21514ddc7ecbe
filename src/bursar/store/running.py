"""Say in the data folder which process runs there, and what came of its last look at its configuration.

The file is locked for as long as the process lives, so that nobody takes another that has its number for it.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

import msgspec

_BYTES_MAX: Final = 1024 * 1024
_HALF_WRITTEN_S: Final = 0.001
_encode: Final = msgspec.json.Encoder().encode


class Reloads(msgspec.Struct, frozen=True):
    """Say who runs, how often it has looked at its configuration again, and what came of the last time."""

    pid: int
    looks: int = 0
    error: str = ""  # why it was refused
    at_next_start: list[str] = []  # what has changed and cannot before


class Running:
    """Be the mark of the process that runs in a data folder."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(_place(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # whoever looks holds it for a moment
        self._said = Reloads(os.getpid())
        self._write()

    def looked(self, error: str = "", at_next_start: list[str] | None = None) -> None:
        """Say what came of a look at the configuration."""
        self._said = Reloads(self._said.pid, self._said.looks + 1, error, at_next_start or [])
        self._write()

    def end(self) -> None:
        """Take the mark away."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def _write(self) -> None:
        """Write it in place: what is half written cannot be read, and is read again."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, _encode(self._said), 0)


def read_running(folder: Path) -> Reloads | None:
    """Return what the process that runs in a folder says; None where there is none. Raises `OSError`."""
    try:
        file = os.open(_place(folder), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        while True:
            with contextlib.suppress(msgspec.MsgspecError):
                return msgspec.json.decode(os.pread(file, _BYTES_MAX, 0), type=Reloads)
            time.sleep(_HALF_WRITTEN_S)
    finally:
        os.close(file)


def _place(folder: Path) -> Path:
    return folder / "running.json"
