"""Count what the gateway does, for /metrics. Plain integers: nothing on the hot path knows of Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bursar.core.money import NANO_PER_USD
from bursar.core.records import CallStatus, Record


class Stats:
    """Hold the counters of one worker."""

    def __init__(self) -> None:
        self.under_way = 0
        self.refused: dict[str, int] = {}
        # Calls, nano-USD, input and output tokens, by provider and status.
        self._settled: dict[tuple[str, CallStatus], list[int]] = {}
        self.overage_nano = 0

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

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a Prometheus collector does."""
        calls = CounterMetricFamily("bursar_calls", "Calls settled", labels=["provider", "status"])
        cost = CounterMetricFamily("bursar_cost_usd", "Cost of settled calls in USD", labels=["provider", "status"])
        tokens = CounterMetricFamily("bursar_tokens", "Tokens of settled calls", labels=["provider", "status", "side"])
        for (provider, status), (count, nano, input_tokens, output_tokens) in self._settled.items():
            calls.add_metric([provider, status.name], count)
            cost.add_metric([provider, status.name], nano / NANO_PER_USD)  # Prometheus knows floats only
            tokens.add_metric([provider, status.name, "input"], input_tokens)
            tokens.add_metric([provider, status.name, "output"], output_tokens)
        yield calls
        yield cost
        yield tokens
        refused = CounterMetricFamily("bursar_refused", "Calls refused before anything was held", labels=["code"])
        for code, count in self.refused.items():
            refused.add_metric([code], count)
        yield refused
        overage_usd = self.overage_nano / NANO_PER_USD  # a float, as Prometheus wants it
        yield CounterMetricFamily("bursar_overage_usd", "Cost beyond what was held", value=overage_usd)
        yield GaugeMetricFamily("bursar_calls_under_way", "Calls under way", value=self.under_way)
