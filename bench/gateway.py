"""Measure the gateway: how fast it is with the books on, beside others, what it adds to a call, and what it keeps.

    python -m bench.gateway [--json] [--only json,...] [--rounds 5] [--seconds 3] [--soak-minutes 2]
    python -m bench.gateway --peers

The worker runs on the first core; PostgreSQL, the provider (bench.mock) and the load (bench.load) on the last. A call
has a key with a budget, is priced, held, posted and journaled; after each part the books are checked. Parts:

json      `gateway.rps_json_1core`: closed loop, a chat request of 657 bytes; median of the rounds, with 32 connections
          or with 128, whichever is more.
          `gateway.rps_direct`: the provider and the load alone, in alternation: the ceiling of the instruments.
embeddings `gateway.embeddings_rps_1core`: the same with requests for the vector of a text of 12 words, 1,536 numbers in
          base64; `gateway.embeddings_direct`: the provider and the load alone.
strict    `gateway.rps_strict_1core`: 128 connections, each answer after its commit.
budgets   `gateway.rps_leased_ratio`: a budget of a minute that is nearly used up in each, so that leases are small and
          renewed all the time, over the plain figure of the same minutes. `gateway.rps_tree_ratio`: a key in a tree:
          budgets of an organisation, a team and the key, requests and tokens a minute.
          `ledger.round_trips_per_1000`: round trips to the database for 1,000 calls with small leases, those of the
          journal left out.
peers     `gateway.x_*`: our calls a second over theirs, each alone on the first core in turn, ours before and after.
latency   `gateway.added_*_ms`: one call at a time; each round's percentile less that of the same load sent straight to
          the provider; median of the rounds. `gateway.added_100k_tokens_ms`: the median with a long prompt.
streams   `gateway.streams_1core`: the most streams of 20 tokens a second without 200 ms of silence in any of them, from
          the request to the end: doubled until they do not hold, then narrowed down.
          `gateway.stream_added_ttft_*_ms`: time to the first token with 300 streams open.
soak      `gateway.worker_rss_mb`, `gateway.rss_slope_mb_per_100k`: memory of a worker under faults, hang-ups and
          streams; the books must be exact at the end.
sse       `gateway.sse_mb_per_s`: the parser of streams.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from bench.comparison import Row, side_by_side, table
from bench.figures import Figure, arguments, show
from bench.soak import soak
from bench.speed import added_latency, added_long, embeddings, strict, throughput, under_budgets
from bench.sse import sse_rate
from bench.streams import stream_ttft, streams_at_once

PARTS = ("json", "embeddings", "strict", "budgets", "peers", "latency", "streams", "soak", "sse")


def chosen(only: str) -> list[str]:
    """Read which parts are wanted. Raises `ValueError` that names an unknown one."""
    names = [name.strip() for name in only.split(",")]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(f"--only: expected some of {','.join(PARTS)}, got {unknown[0]!r}")
    return names


def with_anchors(figures: list[Figure], rows: list[Row]) -> list[Figure]:
    """Put what the peers did in the same run beside our calls a second."""
    anchors = {f"{row.name} {row.version}": row.rps for row in rows[1:] if row.rps}
    return [
        msgspec.structs.replace(figure, anchors=anchors) if figure.id == "gateway.rps_json_1core" else figure
        for figure in figures
    ]


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, peers=False, only=",".join(PARTS), rounds=5, seconds=3.0, soak_minutes=2.0)
    rounds, seconds = options.rounds, options.seconds
    rows: list[Row] = []

    def compare() -> list[Figure]:
        figures, found = side_by_side(min(rounds, 3), min(seconds, 2))
        rows.extend(found)
        return figures

    parts: dict[str, Callable[[], list[Figure]]] = {
        "json": lambda: throughput(rounds, seconds),
        "embeddings": lambda: embeddings(rounds, seconds),
        "strict": lambda: strict(rounds, seconds),
        "budgets": lambda: under_budgets(rounds, min(seconds, 2)),
        "peers": compare,
        "latency": lambda: added_latency(rounds, min(seconds, 2)) + added_long(rounds, min(seconds, 2)),
        "streams": lambda: stream_ttft(min(rounds, 5), min(seconds, 3)) + streams_at_once(max(seconds, 4)),
        "soak": lambda: soak(options.soak_minutes),
        "sse": lambda: sse_rate(rounds),
    }
    try:
        names = ["peers"] if options.peers else chosen(options.only)
    except ValueError as error:
        sys.exit(str(error))
    began, load_before = datetime.now(UTC), os.getloadavg()[0]
    figures: list[Figure] = []
    for name in names:
        print(f"{datetime.now(UTC):%H:%M:%S} {name} ...", file=sys.stderr)
        figures += parts[name]()
    extra = {
        "began": began.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - began).total_seconds() / 60, 1),
        "load_before": round(load_before, 2),
        "command": " ".join(["python -m bench.gateway", *sys.argv[1:]]),
        "peers": msgspec.to_builtins(rows),
    }
    show("gateway", with_anchors(figures, rows), as_json=options.json, extra=extra)
    if rows and not options.json:
        print("", *table(rows), sep="\n")


if __name__ == "__main__":
    main()
