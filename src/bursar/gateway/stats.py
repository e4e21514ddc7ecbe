"""Count what the gateway does, for /metrics. Plain integers: nothing on the hot path knows of Prometheus.

Whichever worker is asked answers for all of them: each writes its counters to a file beside its spool once a second.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bursar.core.money import NANO_PER_USD
from bursar.core.records import CallStatus, Record

_FRESH_S: Final = 10.0
"""A file nobody has written to for so long is of a worker that has ended."""


class Counts(msgspec.Struct):
    """Hold counters: of settled calls by provider and status (calls, nano-USD, input and output tokens), and others."""

    settled: dict[str, list[int]] = {}
    refused: dict[str, int] = {}
    overage_nano: int = 0
    under_way: int = 0
    round_trips: int = 0  # to the database, those of the journal not counted
    predicted: int = 0  # calls held for by expectation
    exceeded: int = 0  # of these, those that needed more

    def add(self, other: "Counts") -> None:
        """Add another worker's counters."""
        for name, counts in other.settled.items():
            mine = self.settled.get(name, [0, 0, 0, 0])
            self.settled[name] = [a + b for a, b in zip(mine, counts, strict=True)]
        for code, count in other.refused.items():
            self.refused[code] = self.refused.get(code, 0) + count
        for name in ("overage_nano", "under_way", "round_trips", "predicted", "exceeded"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Stats:
    """Hold the counters of one worker. `file` is where the others find them."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.under_way = 0
        self.refused: dict[str, int] = {}
        self._settled: dict[tuple[str, CallStatus], list[int]] = {}
        self.overage_nano = 0
        self.round_trips = 0
        self.predicted = 0
        self.exceeded = 0

    def count(self, record: Record) -> None:
        """Count a settled call."""
        last = record.attempts[-1]
        usage = last.usage
        counts = self._settled.get((last.provider, record.status))
        if counts is None:
            counts = self._settled[last.provider, record.status] = [0, 0, 0, 0]
        counts[0] += 1
        counts[1] += record.cost_nano
        counts[2] += usage.input_total
        counts[3] += usage.output_tokens + usage.reasoning_tokens
        self.overage_nano += record.overage_nano

    def counts(self) -> Counts:
        """Return this worker's counters as they are now."""
        settled = {f"{provider}\n{status.name}": list(each) for (provider, status), each in self._settled.items()}
        numbers = (self.overage_nano, self.under_way, self.round_trips, self.predicted, self.exceeded)
        return Counts(settled, dict(self.refused), *numbers)

    def write(self) -> None:
        """Write the counters where the other workers find them."""
        if self._file is not None:
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(msgspec.msgpack.encode(self.counts()))
            fresh.rename(self._file)

    def all_workers(self) -> Counts:
        """Return the counters of all workers that run in this folder."""
        total = self.counts()
        others = self._file.parent.glob(f"*{self._file.suffix}") if self._file is not None else ()
        for file in others:
            with contextlib.suppress(OSError, msgspec.MsgspecError):  # it is being replaced, or of another version
                if file != self._file and time.time() - file.stat().st_mtime < _FRESH_S:
                    total.add(msgspec.msgpack.decode(file.read_bytes(), type=Counts))
        return total

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a Prometheus collector does."""
        all_ = self.all_workers()
        calls = CounterMetricFamily("bursar_calls", "Calls settled", labels=["provider", "status"])
        cost = CounterMetricFamily("bursar_cost_usd", "Cost of settled calls in USD", labels=["provider", "status"])
        tokens = CounterMetricFamily("bursar_tokens", "Tokens of settled calls", labels=["provider", "status", "side"])
        for name, (count, nano, input_tokens, output_tokens) in all_.settled.items():
            labels = name.split("\n")
            calls.add_metric(labels, count)
            cost.add_metric(labels, nano / NANO_PER_USD)  # Prometheus knows floats only
            tokens.add_metric([*labels, "input"], input_tokens)
            tokens.add_metric([*labels, "output"], output_tokens)
        yield calls
        yield cost
        yield tokens
        refused = CounterMetricFamily("bursar_refused", "Calls refused before anything was held", labels=["code"])
        for code, count in all_.refused.items():
            refused.add_metric([code], count)
        yield refused
        overage_usd = all_.overage_nano / NANO_PER_USD  # a float, as Prometheus wants it
        yield CounterMetricFamily("bursar_overage_usd", "Cost beyond what was held", value=overage_usd)
        trips = "Round trips to the database, those of the journal not counted"
        yield CounterMetricFamily("bursar_database_round_trips", trips, value=all_.round_trips)
        yield CounterMetricFamily("bursar_expected_holds", "Calls held for by expectation", value=all_.predicted)
        yield CounterMetricFamily("bursar_expected_exceeded", "Of these, those that took more", value=all_.exceeded)
        yield GaugeMetricFamily("bursar_calls_under_way", "Calls under way", value=all_.under_way)
