"""Measure the gateway: calls a second on one core with the books on, and the time it adds to a call.

    python -m bench.gateway [--json] [--rounds 5] [--seconds 4]

The worker runs on core 0; PostgreSQL, the provider (bench.mock) and the load (bench.load) on core 1. Every call has a
key with a budget, is priced, held, posted and journaled; at the end the books are checked.

`gateway.rps_json_1core`: closed loop, 32 connections, a 640-byte chat request; median of the rounds.
`gateway.rps_leased_ratio`: the same with a budget of a minute that is nearly used up in each of them, so that leases
are small, renewed and returned all the time, over the plain figure of the same minutes; rounds alternate.
`gateway.rps_tree_ratio`: the same for a key in a tree: budgets of an organisation, a team and the key, requests and
tokens a minute; over the plain figure.
`ledger.round_trips_per_1000`: round trips to the database for 1,000 calls, those of the journal left out, in the
rounds with small leases.
`gateway.added_*_ms`: open loop, 500 requests a second, a provider that takes 20 ms; each round's percentile less that
of the same load sent straight to the provider; median of the rounds.
"""

import contextlib
import os
import statistics
import time
import urllib.request
from collections.abc import Iterator

from bench.figures import Figure, arguments, show
from bench.harness import LocalBursar, free_port, serving
from bench.load import Load, Outcome, run
from bursar.core.money import nano_to_usd

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


def round_trips(local: LocalBursar) -> int:
    """Return how often the database was asked, but for the journal."""
    with urllib.request.urlopen(f"{local.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return round(float(next(line for line in lines if line.startswith("bursar_database_round_trips_total")).split()[1]))


def under_budgets(rounds: int, seconds: float) -> list[Figure]:
    """Measure calls a second with small leases and in a tree of budgets, against the plain figure in alternation."""
    with mock(0) as port, gateway(port) as (local, plain):

        def load(message: bytes) -> Load:
            return Load(port=local.port, request=message, connections=32, seconds=seconds, core=OTHER_CORE)

        warm = run(load(plain))
        cost = local.query("select max(cost_nano) as cost, max(held_nano) as held from calls")[0]
        a_minute = round(warm.answers / warm.seconds * 60) * cost["cost"] * 5 // 4
        small = request(local.create_key("small", f"{nano_to_usd(a_minute)}/minute"), local.port)
        local.command("budget", "create", "acme", "1000000/month", "--kind", "organisation")
        local.command("budget", "create", "blue", "100000/day", "9000000 requests/minute", "--parent", "acme")
        limits = ("100000/day", "9000000000 tokens/minute", "5000 concurrent")
        tree = request(local.create_key("tree", *limits, parent="blue"), local.port)
        rates: dict[bytes, list[float]] = {plain: [], small: [], tree: []}
        asked = calls = 0
        for message in (small, tree):
            run(load(message))
        for _ in range(rounds):
            for message, found in rates.items():
                before = round_trips(local)
                outcome = run(load(message))
                assert not outcome.failures, outcome
                found.append(outcome.answers / outcome.seconds)
                if message is small:
                    time.sleep(1.1)  # the counter is read once a second
                    asked, calls = asked + round_trips(local) - before, calls + outcome.answers
    figures = []
    for name, message in (("leased", small), ("tree", tree)):
        ratios = sorted(one / other for one, other in zip(rates[message], rates[plain], strict=True))
        note = f"{statistics.median(rates[message]):,.0f} against {statistics.median(rates[plain]):,.0f} req/s;"
        note += f" rounds {ratios[0]:.2f} to {ratios[-1]:.2f}"
        figures.append(Figure(f"gateway.rps_{name}_ratio", round(statistics.median(ratios), 3), "", note=note))
    note = f"{asked:,} for {calls:,} calls, with what a gateway asks every second whatever it does"
    return [*figures, Figure("ledger.round_trips_per_1000", round(asked / calls * 1000, 2), "", note=note)]


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
    rounds, seconds = options.rounds, options.seconds
    figures = [throughput(rounds, seconds), *under_budgets(rounds, seconds), *added_latency(rounds, seconds)]
    show("gateway", figures, as_json=options.json)


if __name__ == "__main__":
    main()
