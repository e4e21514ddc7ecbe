"""A real collector gets spans and metrics of finished calls; one that is gone loses spans, and never calls."""

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.harness import LocalBursar, free_port
from bursar.core.errors import ConfigError
from bursar.core.ids import call_id_from_name
from bursar.gateway.config import Otel
from bursar.gateway.health import ROW_MAX
from bursar.gateway.otel import Exporter
from bursar.gateway.telemetry import span_id
from tests.asking import Answer, ask, fetch
from tests.gateway.conftest import ScriptedProvider
from tests.gateway.test_telemetry import ANSWERED, record

CANARY = "canary-in-the-telemetry"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEARD_S = 15.0


class Collector:
    """Be an OTLP collector over HTTP, which keeps all that it is sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests.append((self.path, {n.lower(): v for n, v in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self) -> list[Any]:
        found = []
        for path, _, body in list(self.requests):
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def metrics(self) -> dict[str, Any]:
        """Return the newest state of each metric by name."""
        found = {}
        for path, _, body in list(self.requests):
            if path == "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    found |= {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


CONFIG = """
[providers.sandbox]
kind = "sandbox"

[providers.dead]
kind = "openai"
base_url = "http://127.0.0.1:{dead}/v1"
prices = "openai"
connect_s = 1.0

[providers.scripted]
kind = "openai"
base_url = "{scripted}"
prices = "openai"

[models."gpt-4o-mini"]
targets = ["dead/gpt-4o-mini", "sandbox/gpt-4o-mini"]

[otel]
endpoint = "{endpoint}"
headers_env = "OTLP_HEADERS"
service_name = "treasury"
every_s = 0.1
propagate = true
"""


@pytest.fixture(scope="module")
def watched(collector: Collector, provider: ScriptedProvider) -> Iterator[LocalBursar]:
    local = LocalBursar(CONFIG.format(dead=free_port(), endpoint=collector.url, scripted=provider.url))
    local.environment["OTLP_HEADERS"] = "x-team=blue%20sky,authorization=Bearer otlp-secret-canary"
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    assert "otlp-secret-canary" not in local.log.read_text()
    local.remove()


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + HEARD_S
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def values(span: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def spans_of(collector: Collector, answer: Answer) -> list[Any]:
    """Wait for the spans of a call: its own first, then its attempts'."""
    own = span_id(call_id_from_name(answer.headers["x-bursar-call-id"])).to_bytes(8, "big")

    def found() -> list[Any]:
        spans = collector.spans()
        mine = [span for span in spans if span.span_id == own]
        return mine + [span for span in spans if span.parent_span_id == own] if mine else []

    return wait_for(found)


def test_a_call_is_a_servers_span_and_its_attempts_are_clients_below_it(
    collector: Collector, watched: LocalBursar
) -> None:
    secret = watched.create_key("traced", "1.00")
    answer = ask(watched, secret, f"[[output=10]] {CANARY}", traceparent=f"00-{TRACE}-{PARENT}-01")
    assert answer.status == 200
    own, dead, answered = spans_of(collector, answer)
    assert {span.trace_id.hex() for span in (own, dead, answered)} == {TRACE}
    assert own.parent_span_id.hex() == PARENT
    assert [span.kind for span in (own, dead, answered)] == [2, 3, 3]
    assert own.name == "chat gpt-4o-mini"
    assert values(dead)["error.type"] == "unreachable"
    assert (dead.status.code, answered.status.code) == (2, 0)
    told = values(answered)
    assert (told["gen_ai.provider.name"], told["gen_ai.usage.output_tokens"]) == ("sandbox", 10)
    assert told["gen_ai.usage.input_tokens"] > 0
    assert values(own)["bursar.cost_usd"] == answer.headers["x-bursar-cost-usd"]
    assert values(own)["bursar.cost_nano_usd"] == told["bursar.attempt.cost_nano_usd"]
    assert own.start_time_unix_nano <= dead.start_time_unix_nano <= answered.start_time_unix_nano
    assert answered.end_time_unix_nano <= own.end_time_unix_nano


def test_without_a_trace_of_the_clients_the_calls_id_is_the_traces(collector: Collector, watched: LocalBursar) -> None:
    answer = ask(watched, watched.create_key("traceless", "1.00"), stream=True)
    own, *_ = spans_of(collector, answer)
    assert own.trace_id == call_id_from_name(answer.headers["x-bursar-call-id"])
    assert own.parent_span_id == b""
    assert values(own)["gen_ai.request.stream"] is True


def test_what_a_client_does_not_sample_is_not_exported(collector: Collector, watched: LocalBursar) -> None:
    secret = watched.create_key("unsampled", "1.00")
    trace = TRACE[::-1]
    ask(watched, secret, traceparent=f"00-{trace}-{PARENT}-00")
    spans_of(collector, ask(watched, secret))  # those before it have gone out by then
    assert trace not in {span.trace_id.hex() for span in collector.spans()}


@pytest.mark.parametrize("given", [f"00-{TRACE}-{PARENT}-01", "nonsense"])
def test_a_provider_is_told_the_trace_and_below_which_span_of_ours_it_works(
    watched: LocalBursar, provider: ScriptedProvider, given: str
) -> None:
    provider.say("gpt-4o-mini", "200 OK", b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}')
    answer = ask(watched, watched.create_key(f"told {given}", "1.00"), model="scripted/gpt-4o-mini", traceparent=given)
    call_id = call_id_from_name(answer.headers["x-bursar-call-id"])
    trace = TRACE if given != "nonsense" else call_id.hex()
    line = f"traceparent: 00-{trace}-{span_id(call_id):016x}-01\r\n".encode()
    assert provider.requests[-1].count(b"traceparent") == provider.requests[-1].count(line) == 1


def test_metrics_have_the_conventions_names_and_the_collector_its_headers(
    collector: Collector, watched: LocalBursar
) -> None:
    ask(watched, watched.create_key("measured", "1.00"), "[[output=10]] hi")
    metrics = wait_for(lambda: found if "gen_ai.client.token.usage" in (found := collector.metrics()) else None)
    assert set(metrics) >= {"gen_ai.client.operation.duration", "gen_ai.server.request.duration", "bursar.cost"}
    kinds = {values(point)["gen_ai.token.type"] for point in metrics["gen_ai.client.token.usage"].histogram.data_points}
    assert kinds == {"input", "output"}
    for _, headers, _ in collector.requests:
        assert (headers["x-team"], headers["authorization"]) == ("blue sky", "Bearer otlp-secret-canary")


def test_no_prompt_is_ever_exported(collector: Collector, watched: LocalBursar) -> None:
    answer = ask(watched, watched.create_key("secretive", "1.00"), f"[[output=5]] {CANARY}")
    spans_of(collector, answer)
    assert CANARY.encode() not in b"".join(body for _, _, body in collector.requests)


def test_a_target_that_keeps_failing_is_seen_to_be_avoided(watched: LocalBursar) -> None:
    secret = watched.create_key("avoiding", "1.00")
    shown = 'bursar_breaker_open{model="gpt-4o-mini",provider="dead"} 1.0'
    for _ in range(ROW_MAX):
        assert ask(watched, secret).status == 200
    wait_for(lambda: ask(watched, secret).status == 200 and shown in fetch(watched, "GET", "/metrics").body.decode())


def test_a_collector_that_is_gone_loses_spans_and_no_call(collector: Collector, watched: LocalBursar) -> None:
    collector.close()
    secret = watched.create_key("unwatched", "1.00")
    assert [ask(watched, secret).status for _ in range(20)] == [200] * 20


def test_an_exporter_whose_collector_is_gone_drops_what_it_has_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bursar.gateway.otel.QUEUE_MAX", 3)
    monkeypatch.setattr("bursar.gateway.otel.CLOSE_S", 1.0)
    monkeypatch.setattr("bursar.gateway.otel.TIMEOUT_S", 0.2)
    exporter = Exporter(Otel(endpoint=f"http://127.0.0.1:{free_port()}", every_s=60), "gw_1", {})
    for _ in range(5):
        exporter.take(record(ANSWERED), b"")
    assert [reading.value for reading in exporter.read()] == [2]
    exporter.close()
    assert [reading.value for reading in exporter.read()] == [2 + 3 * 2]


def test_a_worker_without_a_collector_loads_nothing_of_opentelemetry() -> None:
    code = "import sys, bursar.gateway.worker; print(any('opentelemetry' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("text", ["", "no-equals", "=x", "a=b,c"])
def test_headers_that_cannot_be_read_are_refused_without_being_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_HEADERS", text)
    with pytest.raises(ConfigError, match="OTLP_HEADERS") as refused:
        Otel(endpoint="http://127.0.0.1:1", headers_env="OTLP_HEADERS").headers()
    assert not text or text not in str(refused.value)
