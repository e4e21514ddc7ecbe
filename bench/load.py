"""Load an HTTP server with one request over and over, from a process of its own.

python -m bench.load OPTIONS     the options as JSON; prints the outcome as JSON

Closed loop: `connections` each send their next request when the last one is answered. Open loop: a request every
1/`rate` seconds whatever the answers do, and its time counts from the moment it was due.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import deque
from typing import Any

import msgspec
import uvloop

from bench.harness import ROOT


class Load(msgspec.Struct, kw_only=True):
    """Say what to send, where, and for how long. Without a `rate` the loop is closed."""

    port: int
    request: bytes
    connections: int
    seconds: float
    rate: float = 0.0
    core: int | None = None


class Outcome(msgspec.Struct):
    """Hold what came back, in order of arrival. Milliseconds."""

    answers: int
    failures: int
    seconds: float
    latencies_ms: list[float]

    def latency_ms(self, share: float) -> float:
        """Return a percentile, such as 0.99."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(load: Load) -> Outcome:
    """Run a load in another process."""
    command = [sys.executable, "-m", "bench.load", msgspec.json.encode(load).decode()]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    return msgspec.json.decode(done.stdout, type=Outcome)


class _Client(asyncio.Protocol):
    """Hold one connection: send a request, wait for its whole answer, tell how long it took."""

    def __init__(self, runner: "_Runner") -> None:
        self._runner = runner
        self._transport: Any = None
        self._rest = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, due: float) -> None:
        """Send the request that was due at a moment."""
        self._due = due
        self._transport.write(self._runner.load.request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        head = data.find(b"\r\n\r\n")
        at = data.find(b"content-length: ", 0, head)
        if head < 0 or at < 0 or len(data) < head + 4 + int(data[at + 16 : data.find(b"\r", at)]):
            self._rest = data
            return
        self._rest = b""
        self._runner.answered(self, self._due, ok=data.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's
        if not self._runner.ended:
            raise SystemExit("a connection was closed: the server failed")


class _Runner:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.ended = False
        self._idle: deque[_Client] = deque()
        self._waiting: deque[float] = deque()
        self._outcome = Outcome(0, 0, 0.0, [])
        self._until = 0.0

    async def run(self) -> Outcome:
        """Connect, load, and return what came back."""
        loop, load = asyncio.get_running_loop(), self.load
        for _ in range(load.connections):
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", load.port)
            self._idle.append(client)
        began = time.perf_counter()
        self._until = began + load.seconds
        if load.rate:
            await self._send_at_rate(began)
        else:
            for client in list(self._idle):
                client.send(time.perf_counter())
            await asyncio.sleep(load.seconds)
        self._outcome.seconds = time.perf_counter() - began
        self.ended = True
        return self._outcome

    async def _send_at_rate(self, began: float) -> None:
        sent = 0
        while (now := time.perf_counter()) < self._until:
            while began + sent / self.load.rate <= now:
                due = began + sent / self.load.rate
                if self._idle:
                    self._idle.popleft().send(due)
                else:
                    self._waiting.append(due)
                sent += 1
            await asyncio.sleep(max(0.0, began + sent / self.load.rate - time.perf_counter()))

    def answered(self, client: _Client, due: float, *, ok: bool) -> None:
        """Count an answer, and go on."""
        now, outcome = time.perf_counter(), self._outcome
        if now < self._until:
            outcome.answers += ok
            outcome.failures += not ok
            outcome.latencies_ms.append((now - due) * 1000)
        if self.load.rate:
            if self._waiting:
                client.send(self._waiting.popleft())
            else:
                self._idle.append(client)
        elif now < self._until:
            client.send(now)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Load)
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    print(msgspec.json.encode(uvloop.run(_Runner(given).run())).decode())
