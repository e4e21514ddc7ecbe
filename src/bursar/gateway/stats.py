"""Count what the gateway does, for /metrics. Plain integers: nothing on the hot path knows of Prometheus.

Whichever worker is asked answers for all of them: each writes its counters to a file beside its spool once a second,
and goes on from there when it starts again, so that no counter ever falls.
"""

import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from bursar.core.records import Attempt, Record
from bursar.core.usage import INPUT_LEAVES, OUTPUT_LEAVES, Usage

LATENCY_BOUNDS_US: Final = (
    *(5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000),
    *(2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 120_000_000, 300_000_000),
)
ADDED_BOUNDS_US: Final = (
    *(50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000),
    *(25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000),
)

SERIES_MAX: Final = 1_000
"""Series a worker keeps apart: models beyond that are counted together, as `other`."""

_OTHER: Final = "other"
_FRESH_S: Final = 10.0
"""A file nobody has written to for so long is of a worker that has ended: its counters stay, its gauges do not."""

_OTHER_LEAVES: Final = (*INPUT_LEAVES[4:], *OUTPUT_LEAVES[2:])

_Key: TypeAlias = tuple[int, bool, str, str, int, int]


def clock_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


class Histogram(msgspec.Struct, array_like=True):
    """Hold how many durations fell between bounds, and their sum."""

    counts: list[int]
    sum_us: int = 0

    def observe(self, bounds_us: tuple[int, ...], took_us: int) -> None:
        """Count a duration; a clock that was set back makes none negative."""
        if took_us < 0:
            took_us = 0
        self.counts[bisect_left(bounds_us, took_us)] += 1
        self.sum_us += took_us

    def add(self, other: "Histogram") -> None:
        """Add another's counts; one with other bounds, of another version, is left out."""
        if len(self.counts) == len(other.counts):
            self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
            self.sum_us += other.sum_us


def _latencies() -> Histogram:
    return Histogram([0] * (len(LATENCY_BOUNDS_US) + 1))


def _added() -> Histogram:
    return Histogram([0] * (len(ADDED_BOUNDS_US) + 1))


class Series(msgspec.Struct, array_like=True):
    """Count the calls that are alike. One with protocol 0 counts attempts after which another was made."""

    protocol: int
    stream: bool
    provider: str
    model: str
    status: int
    attempt_status: int
    count: int = 0
    cost_nano: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    other_tokens: int = 0
    first_byte: Histogram = msgspec.field(default_factory=_latencies)
    whole: Histogram = msgspec.field(default_factory=_latencies)

    @property
    def key(self) -> _Key:
        """Return what it is kept under."""
        return (self.protocol, self.stream, self.provider, self.model, self.status, self.attempt_status)

    def add(self, other: "Series") -> None:
        """Add another worker's counts."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_byte.add(other.first_byte)
        self.whole.add(other.whole)

    def use(self, usage: Usage, cost_nano: int) -> None:
        """Count what an attempt used."""
        self.cost_nano += cost_nano
        self.input_tokens += usage.input_tokens
        self.cache_read_tokens += usage.cache_read_tokens
        self.cache_write_tokens += usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
        self.output_tokens += usage.output_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        if usage.other:
            self.other_tokens += sum(usage.other.get(name, 0) for name in _OTHER_LEAVES)


_COUNTED: Final = (
    *("overage_nano", "round_trips", "predicted", "exceeded"),
    *("compressed", "compressed_bytes", "compress_failed"),
)
_NUMBERS: Final = Series.__struct_fields__[6:14]


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """Be what a gauge shows now. Its name is one of `metrics.METRICS`, its labels are that metric's."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


class Counts(msgspec.Struct):
    """Hold what a worker has counted, and what its gauges show."""

    series: list[Series] = []
    refused: dict[str, int] = {}
    retries: dict[str, int] = {}  # by the provider whose attempt came to nothing
    fallbacks: dict[str, int] = {}
    added: Histogram = msgspec.field(default_factory=_added)
    numbers: dict[str, int] = {}
    gauges: list[Reading] = []
    other_models: dict[str, int] = {}  # by the provider that has answered
    trips: dict[str, int] = {}  # by target, as `provider/model`
    strayed: dict[str, int] = {}


class Stats:
    """Hold the counters of one worker. `file` is where the others find them, and where it finds those of its past."""

    def __init__(self, file: Path | None = None, clock_us: Callable[[], int] = clock_us) -> None:
        self._file = file
        self._clock_us = clock_us
        self._watched: list[Callable[[], Iterable[Reading]]] = []
        self.listener: Callable[[Record, bytes], None] | None = None  # is given each record, and must not wait
        self.under_way = 0
        self.streams = 0  # of those under way
        before = _fitting(_read(file) if file is not None else None)
        self.refused = before.refused
        self._retries, self._fallbacks, self._added = before.retries, before.fallbacks, before.added
        self._other_models, self._trips, self._strayed = before.other_models, before.trips, before.strayed
        self._series: dict[_Key, Series] = {series.key: series for series in before.series}
        self._before = before.numbers
        self.overage_nano = 0
        self.round_trips = 0  # to the database, those of the journal not counted
        self.predicted = 0  # calls held for by expectation
        self.exceeded = 0  # of these, those that needed more
        self.compressed = 0  # calls whose prompt was sent shorter
        self.compressed_bytes = 0  # by how much
        self.compress_failed = 0  # calls sent as they came because that went wrong

    def count(self, record: Record, traceparent: bytes = b"") -> None:
        """Count a settled call whose answer has left; `traceparent` says which trace it belongs to, if any."""
        call, attempts = record.call, record.attempts
        last = record.last
        key = (call.protocol, call.stream, last.provider, last.model, record.status, last.status)
        series = self._series.get(key) or self._begin(key)
        series.count += 1
        series.use(last.usage, last.cost_nano)
        opened_us = call.opened_us
        if last.first_byte_us:
            series.first_byte.observe(LATENCY_BOUNDS_US, last.first_byte_us - opened_us)
        series.whole.observe(LATENCY_BOUNDS_US, record.ended_us - opened_us)
        own_us = attempts[0].started_us - opened_us + self._clock_us() - last.ended_us
        self._added.observe(ADDED_BOUNDS_US, own_us)
        if record.overage_nano:
            self.overage_nano += record.overage_nano
        if last.is_other:
            self._other_models[last.provider] = self._other_models.get(last.provider, 0) + 1
        if len(attempts) > 1:
            self._count_earlier((*(each for each in attempts if each is not last), last))
        if self.listener is not None:
            self.listener(record, traceparent)

    def watch(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Have gauges read whenever they are shown: about once a second."""
        self._watched.append(read)

    def count_target(self, provider: str, model: str, trips: int, strayed: int) -> None:
        """Count how often a target's breaker has opened, and calls that affinity would have sent there."""
        for counts, more in ((self._trips, trips), (self._strayed, strayed)):
            target = f"{provider}/{model if len(counts) < SERIES_MAX else _OTHER}"
            if more:
                counts[target] = counts.get(target, 0) + more

    def _count_earlier(self, attempts: tuple[Attempt, ...]) -> None:
        """Count the attempts after which another was made: at the same target, or at another."""
        for attempt, following in pairwise(attempts):
            key = (0, False, attempt.provider, attempt.model, 0, attempt.status)
            series = self._series.get(key) or self._begin(key)
            series.count += 1
            series.use(attempt.usage, attempt.cost_nano)
            same = (attempt.provider, attempt.model) == (following.provider, following.model)
            counts = self._retries if same else self._fallbacks
            counts[attempt.provider] = counts.get(attempt.provider, 0) + 1

    def _begin(self, key: _Key) -> Series:
        """Begin a series, or name the one that stands for what is too much to be kept apart."""
        if len(self._series) >= SERIES_MAX:
            key = (*key[:3], _OTHER, *key[4:])
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(*key)
        return series

    def counts(self) -> Counts:
        """Return this worker's counters and gauges as they are now."""
        now = {name: getattr(self, name) for name in _COUNTED}
        numbers = {name: number + self._before.get(name, 0) for name, number in now.items()}
        gauges = [Reading("bursar_calls_under_way", self.under_way), Reading("bursar_streams_under_way", self.streams)]
        gauges.append(Reading("bursar_workers", 1))
        gauges += [reading for read in self._watched for reading in read()]
        refused, retries, fallbacks = dict(self.refused), dict(self._retries), dict(self._fallbacks)
        more = dict(self._other_models), dict(self._trips), dict(self._strayed)
        return Counts(list(self._series.values()), refused, retries, fallbacks, self._added, numbers, gauges, *more)

    def write(self) -> None:
        """Write the counters where the other workers find them."""
        if self._file is not None:
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(msgspec.msgpack.encode(self.counts()))
            fresh.rename(self._file)

    def all_workers(self) -> list[Counts]:
        """Return the counters of all workers that ever ran in this folder; of those that have ended, no gauges."""
        found = [self.counts()]
        others = sorted(self._file.parent.glob(f"*{self._file.suffix}")) if self._file is not None else []
        for file in others:
            counts = _read(file) if file != self._file else None
            if counts is not None:
                with contextlib.suppress(OSError):  # it is being replaced: then it is fresh
                    counts.gauges = counts.gauges if time.time() - file.stat().st_mtime < _FRESH_S else []
                found.append(counts)
        return found


def _read(file: Path) -> Counts | None:
    """Read a worker's file; None where there is none that can be read: it is being replaced, or of another version."""
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=Counts)
    except (OSError, msgspec.MsgspecError):
        return None


def _fitting(counts: Counts | None) -> Counts:
    """Return what a worker's past has counted, without histograms whose bounds are not those of this version."""
    counts = counts or Counts()
    if len(counts.added.counts) != len(_added().counts):
        counts.added = _added()
    for series in counts.series:
        for name in ("first_byte", "whole"):
            if len(getattr(series, name).counts) != len(_latencies().counts):
                setattr(series, name, _latencies())
    return counts
