"""Count what the gateway does, for /metrics. Plain integers: nothing on the hot path knows of Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bursar.core.money import NANO_PER_USD
from bursar.core.records import Record


class Stats:
    """Hold the counters of one worker."""

    def __init__(self) -> None:
        self.under_way = 0
        self.refused: dict[str, int] = {}
        self.calls: dict[tuple[str, str], int] = {}  # by provider and status
        self.cost_nano: dict[str, int] = {}  # by provider
        self.tokens: dict[str, int] = {"input": 0, "output": 0}
        self.overage_nano = 0

    def count(self, record: Record) -> None:
        """Count a settled call."""
        last = record.attempts[-1]
        key = (last.provider, record.status.name)
        self.calls[key] = self.calls.get(key, 0) + 1
        self.cost_nano[last.provider] = self.cost_nano.get(last.provider, 0) + record.cost_nano
        self.tokens["input"] += last.usage.input_total
        self.tokens["output"] += last.usage.output_total
        self.overage_nano += record.overage_nano

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a Prometheus collector does."""
        calls = CounterMetricFamily("bursar_calls", "Calls settled", labels=["provider", "status"])
        for (provider, status), count in self.calls.items():
            calls.add_metric([provider, status], count)
        yield calls
        cost = CounterMetricFamily("bursar_cost_usd", "Cost of settled calls in USD", labels=["provider"])
        for provider, nano in self.cost_nano.items():
            cost.add_metric([provider], nano / NANO_PER_USD)
        yield cost
        tokens = CounterMetricFamily("bursar_tokens", "Tokens of settled calls", labels=["side"])
        for side, count in self.tokens.items():
            tokens.add_metric([side], count)
        yield tokens
        refused = CounterMetricFamily("bursar_refused", "Calls refused before anything was held", labels=["code"])
        for code, count in self.refused.items():
            refused.add_metric([code], count)
        yield refused
        yield CounterMetricFamily("bursar_overage_usd", "Cost beyond what was held", value=self.overage_nano / NANO_PER_USD)
        yield GaugeMetricFamily("bursar_calls_under_way", "Calls under way", value=self.under_way)
