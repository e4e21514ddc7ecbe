"""Write docs/reference/performance.md from what a run of the benchmarks of the gateway measured.

python -m bench.gateway --json > FILE
python -m bench.performance FILE ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.comparison import Row, table
from bench.figures import Figure
from bench.harness import ROOT

PAGE = ROOT / "docs" / "reference" / "performance.md"
WORDS = {
    "gateway.rps_json_1core": "calls a second, closed loop of 32 or 128",
    "gateway.rps_direct": "the same load straight to the provider: the ceiling of the instruments",
    "gateway.embeddings_rps_1core": "embeddings of 12 words a second, 1,536 numbers each; closed loop of 32 or 128",
    "gateway.embeddings_direct": "the same load straight to the provider",
    "gateway.rps_strict_1core": "calls a second in `strict`, each committed before it is answered; closed loop of 128",
    "gateway.rps_leased_ratio": "the same with budgets that are leased anew all the time, of the plain rate",
    "gateway.rps_tree_ratio": "the same in a tree of six budgets, of the plain rate",
    "ledger.round_trips_per_1000": "round trips to the database for 1,000 calls with small leases, journal left out",
    "gateway.x_tensorzero": "our calls a second over TensorZero's",
    "gateway.x_portkey": "our calls a second over Portkey's",
    "gateway.x_any_llm": "our calls a second over any-llm-gateway's",
    "gateway.x_litellm": "our calls a second over LiteLLM's",
    "gateway.added_p50_ms": "added to a call, median, one call at a time",
    "gateway.added_p99_ms": "added to a call, 99th percentile, one call at a time",
    "gateway.added_100k_tokens_ms": "added to a call with a prompt of 100,000 tokens, median",
    "gateway.streams_1core": "streams of 20 tokens a second at once, none silent for 200 ms",
    "gateway.stream_added_ttft_p50_ms": "added to the time to the first token with 300 streams open, median",
    "gateway.stream_added_ttft_p99_ms": "added to the time to the first token with 300 streams open, 99th percentile",
    "gateway.worker_rss_mb": "memory of a worker under faults, hang-ups and streams, at most",
    "gateway.rss_slope_mb_per_100k": "growth of that memory over 100,000 calls",
    "gateway.soak_imbalance_nano": "difference between calls, postings and balances after that",
    "gateway.sse_mb_per_s": "the parser of streams",
}
_HEAD = """# Performance

What a gateway with its books on costs, and how that was measured. This page is written by `python -m bench.performance`
from what was run; figures move from machine to machine and from minute to minute, ratios less so.

"""
_METHOD = """
## How it was measured

- One machine of two cores. The gateway has core 0 to itself: one worker of `bursar up`, or a peer. PostgreSQL, the
  provider and the load share core 1. One gateway runs at a time and is started anew for each part.
- The [provider](../../bench/mock.py) sends fixed bytes with `TCP_NODELAY`, head and body in one write. It and the
  [load generator](../../bench/load.py) are our own; what they do without a gateway is the ceiling in the table.
- A call is a chat request with a body of 657 bytes, answered with one of 843. It has a key with a budget, is priced,
  held, posted, written to the spool before and after, and journaled to PostgreSQL. After each part the books are
  checked, or the run fails.
- [Peers](../../bench/peers.py) are installed by pip and npm in pinned versions, started as their documentation says
  with one worker, and must give the provider's answer as JSON before they are measured. Their calls a second are
  medians of rounds with 32 connections and with 128, whichever is more, as ours are, from before and after theirs.
- Added time is one call at a time, in rounds that alternate with the same load straight to the provider: each round's
  percentile less the other's, and of those the median.
- A stream counts as silent when 200 ms pass without a byte, from the request to its end. The number is found by
  bisection in steps of 250; one that fails is tried once more, since the machine itself may pause.
- The soak makes 256 calls at once in both protocols against the sandbox, half of them streams; one in seven meets a
  fault and one in twelve hangs up.

## What it does not say

- Peers do less for each call than this gateway: the last column says what. Keys and budgets of LiteLLM need a database
  engine that does not come by pip, so its row has none.
- The load shares a core with PostgreSQL and the provider, and everything is on one machine without TLS: a network adds
  its own time to all rows alike.
- Gateways that come as containers or binaries only (Bifrost, Envoy AI Gateway, Kong, Helicone) are not here.
"""


class Run(msgspec.Struct):
    """Hold what `python -m bench.gateway --json` printed."""

    bench: str
    machine: dict[str, Any]
    figures: list[Figure]
    began: str
    minutes: float
    command: str
    load_before: float  # of the machine, the average of the minute before
    peers: list[Row] = []


def page(runs: Sequence[Run]) -> str:
    """Return the page: the same for the same runs, which measured different parts."""
    machine = runs[0].machine
    lines = [
        f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']},"
        f" Python {machine['python']}; in brackets the load average of the minute before:",
        "",
        *(f"- {run.began[:10]}, {run.minutes:g} minutes: `{run.command}` ({run.load_before:g})" for run in runs),
        "",
        "| figure | | id | how it came about |",
        "|---|---|---|---|",
    ]
    for figure in [figure for run in runs for figure in run.figures]:
        number = int(figure.value) if figure.value == int(figure.value) else figure.value
        value = f"{number:,} {figure.unit}".strip()
        lines.append(
            f"| {WORDS.get(figure.id, figure.id)} | {value} | `{figure.id}` | {figure.note.replace('|', '/')} |"
        )
    if peers := [row for run in runs for row in run.peers]:
        lines += ["", "## Beside others", "", *table(peers)]
    return _HEAD + "\n".join(lines) + "\n" + _METHOD


def main() -> None:
    """Read a run and write the page."""
    parser = argparse.ArgumentParser(description="Write docs/reference/performance.md from a run.")
    parser.add_argument("files", type=Path, nargs="+", help="what `python -m bench.gateway --json` printed, in parts")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    options.output.write_text(page([msgspec.json.decode(file.read_bytes(), type=Run) for file in options.files]))


if __name__ == "__main__":
    main()
