"""Hold many streams open at once against a server, from a process of its own, and time what they say.

    python -m bench.streams     reads `Streams` as JSON from its input, prints the outcome as JSON

A stream that ends is followed by the next on the same connection, until the time is over; those under way then end as
they do. Every stream must be whole: so many tokens, and the end mark.
"""

import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.figures import Figure
from bench.harness import ROOT
from bench.load import percentile, serve_parent
from bench.stage import OTHER_CORE, bearer, chat_body, cpu_s, gateway, mock, request

GAP_MS = 200.0
STEP, BEGIN, MOST = 250, 1_000, 8_000
INTERVAL_MS = 50
LATE_S = 10.0
"""How long streams may take beyond their time: those that have not ended by then are failures."""

_TOKEN = b'" token"'
_END = b"\r\n0\r\n\r\n"
_TAIL = max(len(_TOKEN), len(_END)) - 1


class Streams(msgspec.Struct, kw_only=True):
    """Say what to ask for, how many at once, how long. They begin evenly over the first `ramp_s`."""

    port: int
    request: bytes
    tokens: int
    streams: int
    seconds: float
    ramp_s: float = 1.0
    core: int | None = None


class StreamOutcome(msgspec.Struct):
    """Count whole streams and those that failed, and time the first bytes of each. Milliseconds."""

    whole: int
    failures: int
    gaps: int
    longest_gap_ms: float
    ttft_ms: list[float]


def run_streams(streams: Streams) -> StreamOutcome:
    """Run streams in another process."""
    command = [sys.executable, "-m", "bench.streams"]
    done = subprocess.run(command, input=msgspec.json.encode(streams), stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return msgspec.json.decode(done.stdout, type=StreamOutcome)


class _Listener(asyncio.Protocol):
    """Hold one connection: ask for a stream, time what comes, ask again."""

    def __init__(self, runner: "_Runner") -> None:
        self._runner = runner
        self._transport: Any = None
        self._asked_s = self._last_s = 0.0
        self._heard = 0
        self._tokens = 0
        self._ok = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self) -> None:
        """Ask for the next stream."""
        self._heard = self._tokens = 0
        self._tail = b""
        self._asked_s = self._last_s = time.perf_counter()
        self._transport.write(self._runner.streams.request)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        runner = self._runner
        if not self._heard:
            self._ok = data.startswith(b"HTTP/1.1 200")
            runner.outcome.ttft_ms.append((now_s - self._asked_s) * 1000)
        self._heard += 1
        runner.waited((now_s - self._last_s) * 1000)
        self._last_s = now_s
        recent = self._tail + data
        self._tokens += recent.count(_TOKEN)
        self._tail = recent[-_TAIL:]
        if recent.endswith(_END):
            runner.ended(self, whole=self._ok and self._tokens == runner.streams.tokens)
        elif not self._ok:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's
        self._runner.lost()


class _Runner:
    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.outcome = StreamOutcome(0, 0, 0, 0.0, [])
        self._open = 0
        self._until_s = 0.0
        self._done = asyncio.Event()

    async def run(self) -> StreamOutcome:
        """Open the streams one after the other, and wait until the last has ended."""
        loop, streams = asyncio.get_running_loop(), self.streams
        listeners: list[_Listener] = []
        for _ in range(streams.streams):
            _, listener = await loop.create_connection(lambda: _Listener(self), "127.0.0.1", streams.port)
            listeners.append(listener)
        self._open = len(listeners)
        gc.freeze()
        began_s = time.perf_counter()
        self._until_s = began_s + streams.seconds
        for number, listener in enumerate(listeners):
            due_s = began_s + streams.ramp_s * number / len(listeners)
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            listener.ask()
        patience_s = self._until_s - time.perf_counter() + streams.tokens * INTERVAL_MS / 1000 + LATE_S
        try:
            await asyncio.wait_for(self._done.wait(), patience_s)
        except TimeoutError:
            self._done.set()
            self.outcome.failures += self._open
        return self.outcome

    def waited(self, gap_ms: float) -> None:
        """Count a wait for the next bytes."""
        self.outcome.gaps += gap_ms > GAP_MS
        self.outcome.longest_gap_ms = max(self.outcome.longest_gap_ms, gap_ms)

    def ended(self, listener: _Listener, *, whole: bool) -> None:
        """Count a stream, and go on."""
        self.outcome.whole += whole
        self.outcome.failures += not whole
        if time.perf_counter() < self._until_s:
            listener.ask()
        else:
            self._close_one()

    def lost(self) -> None:
        """Count a connection that was closed before its stream ended."""
        if not self._done.is_set():
            self.outcome.failures += 1
            self._close_one()

    def _close_one(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()


def most(holds: Callable[[int], bool], step: int = STEP, begin: int = BEGIN, limit: int = MOST) -> int:
    """Return the largest multiple of a step, up to a limit, that holds, if all below it do; 0 when none does.

    The number doubles until it does not hold, and is then narrowed down: many are tried only where fewer hold.
    """
    low, high = 0, begin
    while high <= limit and holds(high):
        low, high = high, high * 2
    least, greatest = low // step, min(high - step, limit) // step
    while least < greatest:
        middle = (least + greatest + 1) // 2
        least, greatest = (middle, greatest) if holds(middle * step) else (least, middle - 1)
    return least * step


def _held(streams: Streams) -> StreamOutcome | None:
    """Return the outcome of streams without a gap. After a failure once more: the machine may have paused."""
    for _ in range(2):
        outcome = run_streams(streams)
        if not outcome.gaps and not outcome.failures:
            return outcome
    return None


def streams_at_once(seconds: float) -> list[Figure]:
    """Measure how many streams of 20 tokens a second run without a gap, on one core."""
    tokens, costs_us = 40, dict[int, float]()
    with mock(interval_ms=INTERVAL_MS) as port, gateway(port) as (local, secret):
        body = chat_body(cap=tokens, stream=True)
        through, straight = request(local.port, body, bearer(secret)), request(port, body)
        worker = local.child_pids("worker")[0]

        def streams(number: int, at: int, message: bytes) -> Streams:
            terms = {"tokens": tokens, "streams": number, "seconds": seconds, "ramp_s": seconds / 2}
            return Streams(port=at, request=message, core=OTHER_CORE, **terms)

        def holds(number: int) -> bool:
            before_s = cpu_s(worker)
            outcome = _held(streams(number, local.port, through))
            if outcome is not None:
                costs_us[number] = (cpu_s(worker) - before_s) / (outcome.whole * tokens) * 1e6
            return outcome is not None

        run_streams(streams(STEP, local.port, through))  # warms up
        found = most(holds)
        begin = max(BEGIN, found // BEGIN * BEGIN)
        ceiling = most(lambda number: _held(streams(number, port, straight)) is not None, BEGIN, begin, 2 * begin)
    note = f"steps of {STEP}; {costs_us.get(found, 0):.0f} µs of the worker's time a token, calls included; "
    note += f"provider and client alone: {ceiling:,}, of {2 * begin:,} tried"
    return [Figure("gateway.streams_1core", found, "streams", note=note)]


def stream_ttft(rounds: int, seconds: float) -> list[Figure]:
    """Measure what a gateway adds to the time to the first token, with 300 streams open."""
    tokens = 20
    with mock(interval_ms=INTERVAL_MS) as port, gateway(port) as (local, secret):
        body = chat_body(cap=tokens, stream=True)
        terms = {"tokens": tokens, "streams": 300, "seconds": seconds, "core": OTHER_CORE}
        through = Streams(port=local.port, request=request(local.port, body, bearer(secret)), **terms)
        straight = Streams(port=port, request=request(port, body), **terms)
        run_streams(through)  # warms up
        pairs = [(run_streams(straight), run_streams(through)) for _ in range(rounds)]
    assert not any(outcome.failures for pair in pairs for outcome in pair)
    figures = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        added = [percentile(after.ttft_ms, share) - percentile(before.ttft_ms, share) for before, after in pairs]
        straight_ms = statistics.median(percentile(before.ttft_ms, share) for before, _ in pairs)
        note = f"straight {straight_ms:.2f} ms; rounds {min(added):.2f} to {max(added):.2f}"
        figures.append(
            Figure(f"gateway.stream_added_ttft_{name}_ms", round(statistics.median(added), 3), "ms", note=note)
        )
    return figures


if __name__ == "__main__":
    serve_parent(Streams, lambda streams: _Runner(streams).run())
