"""Show counters as Prometheus wants them: every metric by name, with what it says and its labels."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

import bursar
from bursar.core.money import NANO_PER_USD
from bursar.core.records import AttemptStatus, CallStatus, Protocol
from bursar.core.times import SECOND_US
from bursar.gateway.stats import ADDED_BOUNDS_US, LATENCY_BOUNDS_US, Counts, Histogram, Series, Stats

_TARGET: Final = ("provider", "model")


class Shown(msgspec.Struct, frozen=True):
    """Describe a metric. A gauge of several workers is their sum, or the highest of them."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str
    highest: bool = False


METRICS: Final = (
    Shown("bursar_calls", "counter", ("protocol", *_TARGET, "stream", "status"), "Calls settled, by who answered last"),
    Shown("bursar_attempts", "counter", (*_TARGET, "status"), "Attempts at providers"),
    Shown("bursar_retries", "counter", ("provider",), "Attempts made again at the same target, by who failed"),
    Shown("bursar_fallbacks", "counter", ("provider",), "Attempts made at another target, by who failed"),
    Shown("bursar_other_models", "counter", ("provider",), "Answers of another model than the one that is charged for"),
    Shown("bursar_breaker_trips", "counter", _TARGET, "Times a worker began to keep away from a target that fails"),
    Shown(
        "bursar_affinity_strayed", "counter", _TARGET, "Calls whose prompt may be cached here, and that went elsewhere"
    ),
    Shown("bursar_cost_usd", "counter", _TARGET, "Cost of attempts in USD"),
    Shown("bursar_tokens", "counter", (*_TARGET, "kind"), "Tokens of attempts; kinds never overlap"),
    Shown("bursar_first_byte_seconds", "histogram", _TARGET, "From a call's arrival to its answer's first byte"),
    Shown("bursar_call_seconds", "histogram", _TARGET, "From a call's arrival to its answer's end"),
    Shown("bursar_added_seconds", "histogram", (), "Of a call, the time that was the gateway's own"),
    Shown("bursar_refused", "counter", ("code",), "Calls refused before anything was held"),
    Shown("bursar_overage_usd", "counter", (), "Cost that a lease could not pay, beyond the hold and what it had free"),
    Shown("bursar_expected_holds", "counter", (), "Calls held for by expectation"),
    Shown("bursar_expected_exceeded", "counter", (), "Of these, those that took more"),
    Shown("bursar_compressed", "counter", (), "Calls whose prompt was sent shorter than it came"),
    Shown("bursar_compressed_bytes", "counter", (), "Bytes of their bodies that were not sent"),
    Shown("bursar_compress_failed", "counter", (), "Calls sent as they came because compressing them went wrong"),
    Shown("bursar_database_round_trips", "counter", (), "Round trips to the database, those of the journal left out"),
    Shown("bursar_calls_under_way", "gauge", (), "Calls under way"),
    Shown("bursar_streams_under_way", "gauge", (), "Of these, those whose answer is streaming"),
    Shown("bursar_workers", "gauge", (), "Workers that run in this data folder"),
    Shown("bursar_breaker_open", "gauge", _TARGET, "Workers that keep away from a target because it fails"),
    Shown("bursar_breaker_half_open", "gauge", _TARGET, "Workers that are about to find out whether it is back"),
    Shown("bursar_target_rests", "gauge", _TARGET, "Workers that leave a target the rest it has asked for"),
    Shown("bursar_upstream_connections", "gauge", ("provider",), "Connections to providers"),
    Shown(
        "bursar_upstream_busy", "gauge", ("provider",), "Of the connections to providers, those with a call under way"
    ),
    Shown("bursar_lease_free_usd", "gauge", (), "What calls may still take from leases without asking the database"),
    Shown("bursar_lease_held_usd", "gauge", (), "What calls under way hold of leases"),
    Shown("bursar_journal_lag_bytes", "gauge", (), "Bytes of the spool that the database does not have yet"),
    Shown("bursar_journal_lag_seconds", "gauge", (), "How long the oldest of them has been waiting", highest=True),
    Shown("bursar_spool_bytes", "gauge", (), "Bytes the spool takes on disk"),
    Shown("bursar_database_away", "gauge", (), "1 while the journal cannot reach the database", highest=True),
    Shown("bursar_price_age_seconds", "gauge", (), "Age of the price book's newest check", highest=True),
    Shown("bursar_spans_dropped", "gauge", (), "Spans that were never exported, since the workers started"),
    Shown("bursar_build_info", "gauge", ("version",), "1, with the version that runs"),
)
_BY_NAME: Final = {shown.name: shown for shown in METRICS}
_NAMES: Final = {
    "overage_nano": "bursar_overage_usd",
    "predicted": "bursar_expected_holds",
    "exceeded": "bursar_expected_exceeded",
    "round_trips": "bursar_database_round_trips",
    "compressed": "bursar_compressed",
    "compressed_bytes": "bursar_compressed_bytes",
    "compress_failed": "bursar_compress_failed",
}
_DIVISORS: Final = {"overage_nano": NANO_PER_USD}
_KINDS: Final = ("input", "cache_read", "cache_write", "output", "reasoning", "other")


class Collector:
    """Be a Prometheus collector over the counters of all workers."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        return families(self._stats.all_workers())


def families(workers: Sequence[Counts]) -> Iterator[Metric]:
    """Turn the counters of some workers into metrics."""
    series = _merged(workers)
    yield from _of_calls(series)
    yield from _of_targets(series)
    for name in ("refused", "retries", "fallbacks", "other_models"):
        counted = [pair for each in workers for pair in getattr(each, name).items()]
        yield _counter(f"bursar_{name}", (((label,), count) for label, count in counted))
    for name, field in (("bursar_breaker_trips", "trips"), ("bursar_affinity_strayed", "strayed")):
        targets = [pair for each in workers for pair in getattr(each, field).items()]
        yield _counter(name, ((target.partition("/")[::2], count) for target, count in targets))
    for name, shown in _NAMES.items():
        number = sum(each.numbers.get(name, 0) for each in workers)
        yield _counter(shown, [((), number / _DIVISORS.get(name, 1))])
    added = Histogram([0] * (len(ADDED_BOUNDS_US) + 1))
    for each in workers:
        added.add(each.added)
    yield _histogram("bursar_added_seconds", ADDED_BOUNDS_US, {(): added})
    yield from _gauges(workers)


def _merged(workers: Iterable[Counts]) -> list[Series]:
    """Add up the series of workers, which stay as they are."""
    merged: dict[object, Series] = {}
    for counts in workers:
        for series in counts.series:
            if (found := merged.get(series.key)) is None:
                found = merged[series.key] = Series(*series.key)
            found.add(series)
    return list(merged.values())


def _of_calls(series: Iterable[Series]) -> Iterator[Metric]:
    """Yield what is counted by call: those without a protocol are attempts alone."""
    calls = [each for each in series if each.protocol]
    yield _counter("bursar_calls", ((_call_labels(each), each.count) for each in calls))
    for name, field in (("bursar_first_byte_seconds", "first_byte"), ("bursar_call_seconds", "whole")):
        found: dict[tuple[str, ...], Histogram] = {}
        for each in calls:
            target = (each.provider, each.model)
            if target not in found:
                found[target] = Histogram([0] * (len(LATENCY_BOUNDS_US) + 1))
            found[target].add(getattr(each, field))
        yield _histogram(name, LATENCY_BOUNDS_US, found)


def _call_labels(series: Series) -> tuple[str, ...]:
    stream = "true" if series.stream else "false"
    return (Protocol(series.protocol).name, series.provider, series.model, stream, CallStatus(series.status).name)


def _of_targets(series: Iterable[Series]) -> Iterator[Metric]:
    """Yield what is counted by attempt."""
    every = list(series)
    targets = [((each.provider, each.model), each) for each in every]
    attempts = (((*target, AttemptStatus(each.attempt_status).name), each.count) for target, each in targets)
    yield _counter("bursar_attempts", attempts)
    costs = [(target, each.cost_nano / NANO_PER_USD) for target, each in targets]  # Prometheus knows floats only
    yield _counter("bursar_cost_usd", costs)
    tokens = [((*target, kind), getattr(each, f"{kind}_tokens")) for target, each in targets for kind in _KINDS]
    yield _counter("bursar_tokens", tokens)


def _counter(name: str, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    shown = _BY_NAME[name]
    family = CounterMetricFamily(name, shown.about, labels=shown.labels)
    for labels, value in _sums(samples).items():
        family.add_metric(labels, value)
    return family


def _sums(samples: Iterable[tuple[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
    sums: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        sums[labels] = sums.get(labels, 0) + value
    return sums


def _histogram(name: str, bounds_us: Sequence[int], found: dict[tuple[str, ...], Histogram]) -> Metric:
    shown = _BY_NAME[name]
    family = HistogramMetricFamily(name, shown.about, labels=shown.labels)
    bounds = [*(f"{bound / SECOND_US:g}" for bound in bounds_us), "+Inf"]
    for labels, histogram in found.items():
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric(labels, buckets, histogram.sum_us / SECOND_US)
    return family


def _gauges(workers: Sequence[Counts]) -> Iterator[Metric]:
    """Yield the gauges of all workers; one that nobody reads has no samples."""
    shown: dict[str, dict[tuple[str, ...], float]] = {each.name: {} for each in METRICS if each.kind == "gauge"}
    shown["bursar_build_info"] = {(bursar.__version__,): 1}
    for reading in (reading for each in workers for reading in each.gauges):
        values, before = shown[reading.name], shown[reading.name].get(reading.labels, 0)
        highest = _BY_NAME[reading.name].highest
        values[reading.labels] = max(before, reading.value) if highest else before + reading.value
    for name, values in shown.items():
        family = GaugeMetricFamily(name, _BY_NAME[name].about, labels=_BY_NAME[name].labels)
        for labels, value in values.items():
            family.add_metric(labels, value)
        yield family
