"""Measure how fast a gateway is: calls a second in closed loops, and the time it adds to a call."""

import statistics
import time
from collections.abc import Sequence

from bench.figures import Figure
from bench.harness import LocalBursar
from bench.load import Load, Outcome, run
from bench.stage import EMBEDDED, OTHER_CORE, SATURATING, bearer, chat_body, gateway, long_prompt, metric, mock, request
from bursar.core.money import nano_to_usd

LONG_TOKENS = 100_000


def closed(port: int, message: bytes, connections: int, seconds: float) -> Load:
    """Describe a closed loop from the other core."""
    return Load(port=port, request=message, connections=connections, seconds=seconds, core=OTHER_CORE)


def throughput(rounds: int, seconds: float) -> list[Figure]:
    """Measure calls a second, and those that the provider and the load do alone."""
    return _saturated(
        "gateway.rps_json_1core", "gateway.rps_direct", ("/v1/chat/completions", chat_body()), rounds, seconds
    )


def embeddings(rounds: int, seconds: float) -> list[Figure]:
    """Measure embeddings a second, and those that the provider and the load do alone."""
    asked = "/v1/embeddings", EMBEDDED
    return _saturated("gateway.embeddings_rps_1core", "gateway.embeddings_direct", asked, rounds, seconds)


def _saturated(name: str, direct: str, asked: tuple[str, bytes], rounds: int, seconds: float) -> list[Figure]:
    path, body = asked
    with mock() as port, gateway(port) as (local, secret):
        message, straight = request(local.port, body, bearer(secret), path), request(port, body, path=path)
        loads = [closed(local.port, message, connections, seconds) for connections in SATURATING]
        ceiling = closed(port, straight, SATURATING[0], seconds / 2)
        for load in loads:
            run(load)  # warms up
        rows = [(run(ceiling), *map(run, loads)) for _ in range(rounds)]
    ceilings, *each = zip(*rows, strict=True)
    rates = [statistics.median(outcome.rate for outcome in found) for found in each]
    note = "".join(
        f"{rate:,.0f} with {load.connections} connections; " for rate, load in zip(rates, loads, strict=True)
    )
    return [
        _rate(name, each[rates.index(max(rates))], note),
        _rate(direct, ceilings, "the provider and the load alone, on one core; "),
    ]


def strict(rounds: int, seconds: float) -> list[Figure]:
    """Measure calls a second that are committed before they are answered."""
    with mock() as port, gateway(port, "strict") as (local, secret):
        load = closed(local.port, request(local.port, chat_body(), bearer(secret)), 128, seconds)
        run(load)  # warms up
        return [_rate("gateway.rps_strict_1core", [run(load) for _ in range(rounds)])]


def _rate(name: str, outcomes: Sequence[Outcome], note: str = "") -> Figure:
    assert not any(outcome.failures for outcome in outcomes), outcomes
    rates = [outcome.rate for outcome in outcomes]
    note += f"p50 {_middle(outcomes, 0.5):.2f} ms, p99 {_middle(outcomes, 0.99):.2f} ms; "
    note += f"rounds {min(rates):,.0f} to {max(rates):,.0f}"
    return Figure(name, round(statistics.median(rates)), "req/s", note=note)


def _middle(outcomes: Sequence[Outcome], share: float) -> float:
    return statistics.median(outcome.latency_ms(share) for outcome in outcomes)


def added_latency(rounds: int, seconds: float) -> list[Figure]:
    """Measure the time a call takes more through the gateway than straight to the provider."""
    with mock() as port, gateway(port) as (local, secret):
        through = closed(local.port, request(local.port, chat_body(), bearer(secret)), 1, seconds)
        straight = closed(port, request(port, chat_body()), 1, seconds)
        pairs = alternate(straight, through, rounds)
    return [
        _added("gateway.added_p50_ms", pairs, 0.5),
        _added("gateway.added_p99_ms", pairs, 0.99),
    ]


def added_long(rounds: int, seconds: float) -> list[Figure]:
    """Measure the same for a prompt of 100,000 tokens."""
    body = chat_body(user=long_prompt(LONG_TOKENS))
    with mock() as port, gateway(port) as (local, secret):
        through = closed(local.port, request(local.port, body, bearer(secret)), 1, seconds)
        pairs = alternate(closed(port, request(port, body), 1, seconds), through, rounds)
    return [_added("gateway.added_100k_tokens_ms", pairs, 0.5)]


def alternate(straight: Load, through: Load, rounds: int) -> list[tuple[Outcome, Outcome]]:
    """Run two loads in turn, after one that warms up."""
    run(through)
    pairs = [(run(straight), run(through)) for _ in range(rounds)]
    assert not any(outcome.failures for pair in pairs for outcome in pair)
    return pairs


def added_ms(pairs: Sequence[tuple[Outcome, Outcome]], share: float) -> list[float]:
    """Return what each round's percentile has more than that of the same load sent straight to the provider."""
    return [after.latency_ms(share) - before.latency_ms(share) for before, after in pairs]


def _added(name: str, pairs: Sequence[tuple[Outcome, Outcome]], share: float) -> Figure:
    added = added_ms(pairs, share)
    straight_ms = _middle([before for before, _ in pairs], share)
    note = f"straight {straight_ms:.2f} ms; rounds {min(added):.2f} to {max(added):.2f}"
    return Figure(name, round(statistics.median(added), 3), "ms", note=note)


def under_budgets(rounds: int, seconds: float) -> list[Figure]:
    """Measure calls a second with small leases and in a tree of budgets, against the plain figure in alternation."""
    with mock() as port, gateway(port) as (local, secret):

        def load(secret: str) -> Load:
            return closed(local.port, request(local.port, chat_body(), bearer(secret)), 32, seconds)

        warm = run(load(secret))
        small, tree = _small_and_tree(local, warm)
        rates: dict[str, list[float]] = {secret: [], small: [], tree: []}
        asked = calls = 0
        for each in (small, tree):
            run(load(each))
        for _ in range(rounds):
            for each, found in rates.items():
                before = _round_trips(local)
                outcome = run(load(each))
                assert not outcome.failures, outcome
                found.append(outcome.rate)
                if each is small:
                    time.sleep(1.1)  # the counter is read once a second
                    asked, calls = asked + _round_trips(local) - before, calls + outcome.answers
    figures = []
    for name, found in (("leased", rates[small]), ("tree", rates[tree])):
        ratios = sorted(one / other for one, other in zip(found, rates[secret], strict=True))
        note = f"{statistics.median(found):,.0f} against {statistics.median(rates[secret]):,.0f} req/s;"
        note += f" rounds {ratios[0]:.2f} to {ratios[-1]:.2f}"
        figures.append(Figure(f"gateway.rps_{name}_ratio", round(statistics.median(ratios), 3), "", note=note))
    note = f"{asked:,} for {calls:,} calls, with what a gateway asks every second whatever it does"
    return [*figures, Figure("ledger.round_trips_per_1000", round(asked / calls * 1000, 2), "", note=note)]


def _small_and_tree(local: LocalBursar, warm: Outcome) -> tuple[str, str]:
    """Make a key whose budget of a minute is nearly used up in each, and one in a tree of budgets."""
    cost_nano = local.query("select max(cost_nano) as cost from calls")[0]["cost"]
    minute_nano = round(warm.rate * 60) * cost_nano * 5 // 4
    small = local.create_key("small", f"{nano_to_usd(minute_nano)}/minute")
    local.command("budget", "create", "acme", "1000000/month", "--kind", "organisation")
    local.command("budget", "create", "blue", "100000/day", "9000000 requests/minute", "--parent", "acme")
    limits = ("100000/day", "9000000000 tokens/minute", "5000 concurrent")
    return small, local.create_key("tree", *limits, parent="blue")


def _round_trips(local: LocalBursar) -> int:
    """Return how often the database was asked, but for the journal."""
    return round(metric(local, "bursar_database_round_trips_total"))
