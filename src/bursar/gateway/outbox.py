"""Write to sockets at the end of a turn of the event loop, all at once.

The first write to a process that sleeps wakes it, which costs more than the write itself. Written together, the
answers of one turn wake their readers once.
"""

import asyncio


class Outbox:
    """Collect writes, and make them in the loop's next turn."""

    __slots__ = ("_loop", "_pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write soon, in order for each transport. No bytes at all close it after what came before."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append((transport, data))

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for transport, data in pending:
            if transport.is_closing():  # its reader is gone; what waits for others must still go out
                continue
            if data:
                transport.write(data)
            else:
                transport.close()
