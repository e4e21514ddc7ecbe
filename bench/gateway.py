"""Measure the gateway: calls a second on one core with the books on, and the time it adds to a call.

    python -m bench.gateway [--json] [--rounds 5] [--seconds 4]

The worker runs on core 0; PostgreSQL, the provider (bench.mock) and the load (bench.load) on core 1. Every call has a
key with a budget, is priced, held, posted and journaled; at the end the books are checked.

`gateway.rps_json_1core`: closed loop, 32 connections, a 640-byte chat request; median of the rounds.
`gateway.added_*_ms`: open loop, 500 requests a second, a provider that takes 20 ms; each round's percentile less that
of the same load sent straight to the provider; median of the rounds.
"""

import contextlib
import os
import statistics
from collections.abc import Iterator

from bench.figures import Figure, arguments, show
from bench.harness import LocalBursar, free_port, serving
from bench.load import Load, Outcome, run

WORKER_CORE, OTHER_CORE = 0, 1
CONFIG = """
[providers.mock]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
prices = "openai"

[models."gpt-4o-mini"]
targets = ["mock/gpt-4o-mini"]
"""
_SYSTEM = "You are a helpful assistant. " * 6
_USER = "Tell me about the weather in Paris, please. " * 8
BODY = (
    f'{{"model":"gpt-4o-mini","messages":[{{"role":"system","content":"{_SYSTEM}"}},{{"role":"user","content":"{_USER}"}}],'
    '"temperature":0.2,"max_tokens":100}'
).encode()
# Peers measured one core each, on another 2-core x86-64 machine; see docs/internals/lab.md.
ANCHORS = {"TensorZero 2026.6.0, no keys, budgets or log": 14_048.0, "Portkey 1.15.2": 1_449.0, "LiteLLM proxy": 163.0}


def request(secret: str, port: int) -> bytes:
    """Return the bytes of a chat request."""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {secret}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY


@contextlib.contextmanager
def mock(delay_ms: int) -> Iterator[int]:
    """Run the provider on the other core, and yield its port."""
    port = free_port()
    with serving(["bench.mock", str(port), str(delay_ms)], port, core=OTHER_CORE):
        yield port


@contextlib.contextmanager
def gateway(mock_port: int) -> Iterator[tuple[LocalBursar, bytes]]:
    """Run a gateway before a provider; yield it and a request to it."""
    local = LocalBursar(CONFIG.format(port=mock_port), core=OTHER_CORE)
    try:
        local.start()
        os.sched_setaffinity(local.child_pids("worker")[0], {WORKER_CORE})
        yield local, request(local.create_key("bench", "1000000"), local.port)
        found = local.audit()
        assert not found.findings, found.findings[0]
        assert local.stop() == 0, local.last_words()
    finally:
        if local.process is not None and local.process.poll() is None:
            local.kill_all()
        local.remove()


def throughput(rounds: int, seconds: float) -> Figure:
    """Measure calls a second, in a closed loop."""
    with mock(0) as port, gateway(port) as (local, message):
        load = Load(port=local.port, request=message, connections=32, seconds=seconds, core=OTHER_CORE)
        run(load)  # warms up
        outcomes = [run(load) for _ in range(rounds)]
    assert not any(outcome.failures for outcome in outcomes)
    rates = [outcome.answers / outcome.seconds for outcome in outcomes]
    note = f"p50 {middle(outcomes, 0.5):.2f} ms, p99 {middle(outcomes, 0.99):.2f} ms; "
    note += f"rounds {min(rates):,.0f} to {max(rates):,.0f}"
    return Figure("gateway.rps_json_1core", round(statistics.median(rates)), "req/s", ANCHORS, note)


def added_latency(rounds: int, seconds: float) -> list[Figure]:
    """Measure the time a call takes more through the gateway than straight to the provider."""
    with mock(20) as port, gateway(port) as (local, message):
        through = Load(port=local.port, request=message, connections=64, seconds=seconds, rate=500.0, core=OTHER_CORE)
        straight = Load(port=port, request=message, connections=64, seconds=seconds, rate=500.0, core=OTHER_CORE)
        run(through)
        pairs = [(run(straight), run(through)) for _ in range(rounds)]
    assert not any(outcome.failures for pair in pairs for outcome in pair)
    figures = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        added = [after.latency_ms(share) - before.latency_ms(share) for before, after in pairs]
        straight_ms = statistics.median(before.latency_ms(share) for before, _ in pairs)
        note = f"straight {straight_ms:.2f} ms; rounds {min(added):.2f} to {max(added):.2f}"
        figures.append(Figure(f"gateway.added_{name}_ms", round(statistics.median(added), 3), "ms", note=note))
    return figures


def middle(outcomes: list[Outcome], share: float) -> float:
    """Return the median over rounds of a percentile."""
    return statistics.median(outcome.latency_ms(share) for outcome in outcomes)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, rounds=5, seconds=4)
    figures = [throughput(options.rounds, options.seconds), *added_latency(options.rounds, options.seconds)]
    show("gateway", figures, as_json=options.json)


if __name__ == "__main__":
    main()
