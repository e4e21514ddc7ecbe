"""Export finished calls to an OpenTelemetry collector, from a thread of its own. Loaded only where one is configured.

A call leaves its record in a queue and goes on. What the collector does not take is dropped and counted: it can slow
no call, and it can lose none.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

import bursar
from bursar.core.money import NANO_PER_USD
from bursar.core.records import Attempt, Record
from bursar.gateway.config import Otel
from bursar.gateway.stats import Reading
from bursar.gateway.telemetry import (
    Attributes,
    Context,
    attempt_attributes,
    call_attributes,
    context_of,
    is_known,
    span_id,
)

log = structlog.get_logger()

QUEUE_MAX: Final = 20_000
"""Calls that may wait to be exported; more are dropped."""

BATCH: Final = 500
TIMEOUT_S: Final = 10.0
CLOSE_S: Final = 5.0
AWAY_S: Final = 0.5

# As the conventions advise.
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = tuple(4**power for power in range(14))

_Finished: TypeAlias = tuple[Record, bytes]


class Exporter:
    """Hold the queue, the thread and the exporters."""

    def __init__(self, settings: Otel, instance: str, providers: Mapping[str, str]) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what it has to say is said once, below
        self._every_s = settings.every_s
        self._providers = providers
        about: dict[str, str] = {"service.name": settings.service_name, "service.version": bursar.__version__}
        self._resource = Resource.create({**about, "service.instance.id": instance})
        self._scope = InstrumentationScope("bursar", bursar.__version__)
        base, headers = settings.endpoint.rstrip("/"), settings.headers()
        self._spans = OTLPSpanExporter(f"{base}/v1/traces", headers=headers, timeout=TIMEOUT_S)
        exporter = OTLPMetricExporter(f"{base}/v1/metrics", headers=headers, timeout=TIMEOUT_S)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=settings.every_s * 1_000)
        self._meters = MeterProvider([reader], self._resource, shutdown_on_exit=False)
        self._instruments = Instruments(self._meters.get_meter("bursar", bursar.__version__))
        self._queue: deque[_Finished] = deque()
        self._ended = threading.Event()
        self._away = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="otel", daemon=True)
        self._thread.start()

    def take(self, record: Record, traceparent: bytes) -> None:
        """Take a finished call in, to be exported. Never waits."""
        if len(self._queue) >= QUEUE_MAX:
            self.dropped += 1
            return
        self._queue.append((record, traceparent))

    def read(self) -> Iterator[Reading]:
        """Read how many spans were dropped, for the gauges."""
        yield Reading("bursar_spans_dropped", self.dropped)

    def close(self) -> None:
        """Export what waits, for a few seconds at most; a collector that is away is not waited for. Blocks."""
        self._ended.set()
        deadline = time.monotonic() + (AWAY_S if self._away else CLOSE_S)
        # Threads that do not keep the process: an exporter may be in the middle of its own attempts and pauses.
        ending = threading.Thread(target=self._shut_down, name="otel-end", daemon=True)
        self._thread.join(deadline - time.monotonic())
        ending.start()
        ending.join(max(0.0, deadline - time.monotonic()))

    def _shut_down(self) -> None:
        self._spans.shutdown()
        self._meters.shutdown(CLOSE_S * 1_000)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._export_all()
        self._export_all()

    def _export_all(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            spans: list[ReadableSpan] = []
            for record, traceparent in batch:
                self._instruments.note(record, self._providers)
                context = context_of(record.call.call_id, traceparent)
                if context.sampled:
                    spans += self._spans_of(record, context)
            if spans and self._spans.export(spans) is not SpanExportResult.SUCCESS:
                self.dropped += len(spans)
                self._say(away=True)
            else:
                self._say(away=False)

    def _say(self, *, away: bool) -> None:
        """Log when the collector goes away or is back, and not each time."""
        if away != self._away:
            self._away = away
            log.warning("otel.away", dropped=self.dropped) if away else log.info("otel.back")

    def _spans_of(self, record: Record, context: Context) -> Iterator[ReadableSpan]:
        call = record.call
        own = _context(context, span_id(call.call_id))
        parent = _context(context, context.parent_id, remote=True) if context.parent_id else None
        attributes = call_attributes(record)
        times = (call.opened_us, record.ended_us)
        yield self._span(f"{attributes['gen_ai.operation.name']} {call.model}", own, parent, attributes, times)
        for number, attempt in enumerate(record.attempts, 1):
            attributes = attempt_attributes(record, attempt, self._providers)
            name = f"{attributes['gen_ai.operation.name']} {attempt.model}"
            below = _context(context, span_id(call.call_id, number))
            times = (attempt.started_us, attempt.ended_us)
            yield self._span(name, below, own, attributes, times)

    def _span(
        self, name: str, own: SpanContext, parent: SpanContext | None, attributes: Attributes, times: tuple[int, int]
    ) -> ReadableSpan:
        failed, client = "error.type" in attributes, "gen_ai.provider.name" in attributes
        return ReadableSpan(
            name,
            context=own,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.CLIENT if client else SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=times[0] * 1_000,
            end_time=times[1] * 1_000,
            instrumentation_scope=self._scope,
        )


class Instruments:
    """Hold the metrics of the conventions, and the cost, which they do not have."""

    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, unit: str, about: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=bounds)  # pyright: ignore[reportReturnType] - the SDK's own kind

        self._duration = histogram("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS)
        about = "Time to receive the first chunk."
        self._first = histogram("gen_ai.client.operation.time_to_first_chunk", "s", about, _SECONDS)
        about = "Number of input and output tokens used."
        self._tokens = histogram("gen_ai.client.token.usage", "{token}", about, _TOKENS)
        about = "Generative AI server request duration."
        self._served = histogram("gen_ai.server.request.duration", "s", about, _SECONDS)
        about = "Time to generate first token."
        self._served_first = histogram("gen_ai.server.time_to_first_token", "s", about, _SECONDS)
        self._cost = meter.create_counter("bursar.cost", "USD", "What attempts cost.")

    def note(self, record: Record, providers: Mapping[str, str]) -> None:
        """Note a call and its attempts."""
        for attempt in record.attempts:
            self._note_attempt(record, attempt, providers)
        last, call = record.last, record.call
        described = attempt_attributes(record, last, providers)
        served = {name: described[name] for name in ("gen_ai.operation.name", "gen_ai.provider.name")}
        served["gen_ai.request.model"] = call.model
        if error := call_attributes(record).get("error.type"):
            served["error.type"] = error
        self._served.record(max(0, record.ended_us - call.opened_us) / 1_000_000, served)
        if call.stream and last.first_byte_us and not error:
            self._served_first.record(max(0, last.first_byte_us - call.opened_us) / 1_000_000, served)

    def _note_attempt(self, record: Record, attempt: Attempt, providers: Mapping[str, str]) -> None:
        described = attempt_attributes(record, attempt, providers)
        names = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
        target = {name: described[name] for name in names}
        failed = target | {"error.type": described["error.type"]} if "error.type" in described else target
        self._duration.record(max(0, attempt.ended_us - attempt.started_us) / 1_000_000, failed)
        if "gen_ai.response.time_to_first_chunk" in described:
            self._first.record(max(0, attempt.first_byte_us - attempt.started_us) / 1_000_000, target)
        if is_known(attempt):
            self._tokens.record(attempt.usage.input_total, target | {"gen_ai.token.type": "input"})
            self._tokens.record(attempt.usage.output_total, target | {"gen_ai.token.type": "output"})
        self._cost.add(attempt.cost_nano / NANO_PER_USD, target)  # a float: OpenTelemetry knows no decimals


def _context(context: Context, own_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(context.trace_id, own_id, remote, TraceFlags(TraceFlags.SAMPLED))
