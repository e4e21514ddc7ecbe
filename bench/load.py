"""Load an HTTP server with one request over and over, from a process of its own.

python -m bench.load     reads a load as JSON from its input, prints the outcome as JSON

Closed loop: `connections` each send their next request when the last one is answered. Open loop: a request every
1/`rate` seconds whatever the answers do, and its time counts from the moment it was due. A connection that is closed
before its answer is whole counts as a failure and is opened again.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
import uvloop

from bench.harness import ROOT
from bursar.store.descriptors import allow_descriptors

T = TypeVar("T")

_FAILURES_MAX = 1_000
_FIRST_S = 30.0


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
        return percentile(self.latencies_ms, share)

    @property
    def rate(self) -> float:
        """Return the answers of a second."""
        return self.answers / self.seconds


def run(load: Load) -> Outcome:
    """Run a load in another process."""
    command = [sys.executable, "-m", "bench.load"]
    done = subprocess.run(command, input=msgspec.json.encode(load), stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return msgspec.json.decode(done.stdout, type=Outcome)


def answer_end(data: bytes) -> int:
    """Return where the HTTP answer at the start of some bytes ends; -1 while it is not whole."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return -1
    at = data.find(b"content-length: ", 0, head)
    if at < 0:
        return _unusual_end(data, head)
    end = head + 4 + int(data[at + 16 : data.find(b"\r", at)])
    return end if len(data) >= end else -1


def _unusual_end(data: bytes, head: int) -> int:
    """Find the end of an answer that is chunked, or whose header is written otherwise."""
    fields = data[:head].lower().split(b"\r\n")
    length = next((field[15:] for field in fields if field.startswith(b"content-length:")), None)
    if length is not None:
        end = head + 4 + int(length)
        return end if len(data) >= end else -1
    at = head + 4
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end], 16)
        at = line_end + 2 + size + 2
        if not size:
            return at if len(data) >= at else -1
    return -1


def percentile(values: Iterable[float], share: float) -> float:
    """Return a percentile, such as 0.99: one of the values, none between two."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


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
        if answer_end(data) < 0:
            self._rest = data
            return
        self._rest = b""
        self._runner.answered(self, self._due, ok=data.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's
        self._runner.lost(self)


class _Runner:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.ended = False
        self._idle: deque[_Client] = deque()
        self._waiting: deque[float] = deque()
        self._outcome = Outcome(0, 0, 0.0, [])
        self._until = 0.0
        self._answered = asyncio.Event()
        self._opening = set[asyncio.Task[None]]()

    async def run(self) -> Outcome:
        """Connect, load, and return what came back."""
        load = self.load
        for _ in range(load.connections):
            await self._open()
        began = time.perf_counter()
        self._until = began + load.seconds
        if load.rate:
            await self._send_at_rate(began)
        else:
            while self._idle:
                self._idle.popleft().send(time.perf_counter())
            await asyncio.sleep(load.seconds)
            await self._wait_first()
        self._outcome.seconds = time.perf_counter() - began
        self.ended = True
        return self._outcome

    async def _wait_first(self) -> None:
        """Give a slow server its time for one answer."""
        try:
            await asyncio.wait_for(self._answered.wait(), _FIRST_S)
        except TimeoutError:
            raise SystemExit(f"no answer within {_FIRST_S:.0f} s") from None

    async def _open(self) -> _Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.load.port)
        self._idle.append(client)
        return client

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
        if now < self._until or not self._answered.is_set():
            self._answered.set()
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

    def lost(self, client: _Client) -> None:
        """Count a connection that was closed under way, and open another in its place."""
        if self.ended:
            return
        if client in self._idle:
            self._idle.remove(client)
        self._outcome.failures += 1
        if self._outcome.failures > _FAILURES_MAX:
            raise SystemExit(f"more than {_FAILURES_MAX} connections were closed: the server failed")
        task = asyncio.get_running_loop().create_task(self._replace())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _replace(self) -> None:
        client = await self._open()
        if not self.load.rate:
            self._idle.remove(client)
            client.send(time.perf_counter())


def serve_parent(kind: type[T], work: Callable[[T], Coroutine[Any, Any, Any]]) -> None:
    """Read what a parent process wants, do it on the core it names, and write the outcome."""
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
    allow_descriptors()
    core = getattr(given, "core", None)
    if core is not None:
        os.sched_setaffinity(0, {core})
    outcome = msgspec.json.encode(uvloop.run(work(given)))
    with open(1, "wb", closefd=False) as output:  # print() to a full pipe drops the rest under PYTHONUNBUFFERED
        output.write(outcome)


if __name__ == "__main__":
    serve_parent(Load, lambda load: _Runner(load).run())
