"""Write to sockets at the end of a turn of the event loop, all at once.

The first write to a process that sleeps wakes it, which costs more than the write itself. Written together, the
answers of one turn wake their readers once. While turns have one write only, there is nothing to wait for.
"""

import asyncio
from typing import Final

_AT_ONCE: Final = 32
"""Writes that go out at once after a turn that had a single one."""


class Outbox:
    """Collect writes, and make them in the loop's next turn; at once while there is little to do."""

    __slots__ = ("_at_once", "_loop", "_pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: list[tuple[asyncio.Transport, bytes]] = []
        self._at_once = 0

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write soon, in order for each transport. No bytes at all close it after what came before."""
        if self._at_once:
            self._at_once -= 1
            _write(transport, data)
            return
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append((transport, data))

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for transport, data in pending:
            _write(transport, data)
        if len(pending) == 1:
            self._at_once = _AT_ONCE


def _write(transport: asyncio.Transport, data: bytes) -> None:
    if transport.is_closing():  # its reader is gone; what waits for others must still go out
        return
    if data:
        transport.write(data)
    else:
        transport.close()
