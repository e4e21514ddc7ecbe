"""Stand between clients and a PostgreSQL that listens on a socket, and cut, freeze or heal the line between them."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

Writers = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Line:
    """Forward connections from a port of this machine to a database's socket."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
        self._database = parts.path
        self._connections: set[Writers] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self.fuse: int | None = None  # pieces of talk until a line is cut in the middle of it
        self.cut_at = b""  # or what is never heard, since the line is cut before it
        self.cuts = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"postgresql://bursar@127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._database}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._flows.set()
        self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection and take no more."""
        self._refuses = True
        for writers in list(self._connections):
            _abort(writers)

    def freeze(self) -> None:
        """Let nothing through and say so to nobody: what is sent meanwhile arrives once the line is healed."""
        self._flows.clear()

    def heal(self) -> None:
        """Let everything through."""
        self._refuses = False
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refuses:
                raise ConnectionRefusedError
            there, back = await asyncio.open_unix_connection(self._socket)
        except OSError:  # no server is there
            writer.transport.abort()
            return
        writers = (writer, back)
        self._connections.add(writers)
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._carry(source, target, writers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, writers: Writers) -> None:
        try:
            while data := await source.read(65_536):
                await self._flows.wait()
                if self._blows(data):
                    break
                target.write(data)
                await target.drain()
        except OSError:  # the other end is gone
            pass
        finally:
            self._connections.discard(writers)
            _abort(writers)

    def _blows(self, data: bytes) -> bool:
        """Tell whether the line is cut before this piece of talk."""
        if self.fuse is not None:
            self.fuse -= 1
        if self.fuse == -1 or (self.cut_at and self.cut_at in data):
            self.spare()
            self.cuts += 1
            return True
        return False

    def spare(self) -> None:
        """Let the line be cut at nothing that is yet to come."""
        self.fuse, self.cut_at = None, b""


def _abort(writers: Writers) -> None:
    for writer in writers:
        writer.transport.abort()


class LineThread:
    """Run a line in a thread of its own, for who does not run a loop."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        ready = threading.Event()

        async def work() -> None:
            async with Line(url) as self._line:
                ready.set()
                await self._ended.wait()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(work()), daemon=True)
        self._thread.start()
        ready.wait()
        self.url = self._line.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(self._ended.set)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """End every connection and take no more."""
        self._tell(self._line.cut)

    def freeze(self) -> None:
        """Let nothing through and say so to nobody."""
        self._tell(self._line.freeze)

    def heal(self) -> None:
        """Let everything through."""
        self._tell(self._line.heal)

    def _tell(self, act: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(act)
