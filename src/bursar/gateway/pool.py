"""Keep connections to one provider, and give the freest one to each call."""

import asyncio
import ssl
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from bursar.core.errors import ConfigError
from bursar.gateway.connection import Connection, Fault, Timeouts, UpstreamFault
from bursar.gateway.outbox import Outbox

IDLE_S: Final = 45.0
"""How long an unused connection is kept; servers commonly close theirs after 60 s or more."""

SWEEP_S: Final = 0.25
"""How often deadlines are looked at: they are kept to within this, without a timer for each call."""


class Pool:
    """Hold the connections to one base address (`http://`, `https://` or `unix:` and a path)."""

    def __init__(
        self, base_url: str, outbox: Outbox, *, connections_max: int = 1_000, timeouts: Timeouts | None = None
    ) -> None:
        self.outbox = outbox
        self.timeouts = timeouts or Timeouts()
        self._connections_max = connections_max
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ssl: ssl.SSLContext | None = None
        self._unix_path = ""
        self._host, self._port = "", 0
        if base_url.startswith("unix:"):
            self._unix_path, self.host_header, self.path = base_url.removeprefix("unix:"), b"bursar", ""
            return
        parts = urlsplit(base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ConfigError(f"expected an address such as https://api.example.com/v1, got {base_url!r}")
        self._host, self.path = parts.hostname, parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self.host_header = parts.netloc.encode()
        if parts.scheme == "https":
            self._ssl = ssl.create_default_context()
            self._ssl.minimum_version = ssl.TLSVersion.TLSv1_2

    @property
    def size(self) -> int:
        """Count the connections, idle ones too."""
        return len(self._all)

    def take_idle(self) -> Connection | None:
        """Return a connection that is open and free, the last used first; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def open(self, within_s: float | None = None) -> Connection:
        """Return a fresh connection, waiting for one to become free when there are too many.

        It takes no longer than the pool's connections may, or than `within_s`. Raises `UpstreamFault` when it cannot be
        opened in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.timeouts.connect_s if within_s is None else within_s)
        while len(self._all) + self._opening >= self._connections_max:
            future = loop.create_future()
            self._waiting.append(future)
            try:
                await asyncio.wait_for(future, deadline - loop.time())
            except TimeoutError:
                detail = f"all {self._connections_max} connections are busy"
                raise UpstreamFault(Fault.unreachable, detail, timed_out=True) from None
            if (connection := self.take_idle()) is not None:
                return connection
        self._opening += 1
        try:
            return await asyncio.wait_for(self._connect(loop), max(0.001, deadline - loop.time()))
        except TimeoutError:
            raise UpstreamFault(Fault.unreachable, "no connection in time", timed_out=True) from None
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
            raise UpstreamFault(Fault.unreachable, f"cannot connect: {reason}") from None
        finally:
            self._opening -= 1

    def release(self, connection: Connection, now: float) -> None:
        """Take a connection back after an exchange; `now` is the loop's time."""
        if connection.reusable:
            connection.idle_since = now
            self._idle.append(connection)
            self._let_one_in()
        else:
            connection.abort()

    @property
    def busy(self) -> int:
        """Count the exchanges under way, and the connections being opened for more."""
        return max(0, len(self._all) - len(self._idle)) + self._opening

    def forget(self, connection: Connection) -> None:
        """Drop a connection that has ended."""
        self._all.discard(connection)
        self._let_one_in()

    def sweep(self, now: float) -> None:
        """End exchanges beyond their deadline and connections that have been idle for long."""
        for connection in list(self._all):
            connection.sweep(now)
        fresh = [
            connection for connection in self._idle if now - connection.idle_since < IDLE_S and not connection.closed
        ]
        for connection in set(self._idle) - set(fresh):
            connection.abort()
        self._idle = fresh

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._all):
            connection.abort()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        connection = Connection(self, loop)
        if self._unix_path:
            await loop.create_unix_connection(lambda: connection, self._unix_path)
        else:
            host = self._host if self._ssl else None
            await loop.create_connection(
                lambda: connection, self._host, self._port, ssl=self._ssl, server_hostname=host
            )
        self._all.add(connection)
        return connection

    def _let_one_in(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
