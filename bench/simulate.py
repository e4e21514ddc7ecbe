"""Measure the simulator: its errors against two real vLLM runs, and how fast it is.

    python -m bench.simulate [--json] [--data DIR] [--only errors,rps,sweep]

Errors (shared/data/llmservingsim): Llama-3.1-8B under vLLM 0.19, 300 requests each on an RTX 4090 and an RTX PRO 6000.
Step times come from tables of measured parts (`bench.profiled`); nothing is fitted on either run. Of a run, the error
of a metric is the mean of the absolute errors, in percent, of its mean, median, P90 and P99 over the 300 requests, all
times from a request's arrival. The figure is that of the worse run; the note has both, and the medians over requests of
each one's own error. The anchor is the same of what the data's own simulator said of each request. Blocks: 2,588 as the
RTX 4090's engine logged, less the one vLLM never gives out; of the RTX PRO 6000, whose log lacks them, those beside the
weights in 0.9 of 96 GB, where they do not bind.

Speed: `simulate.rps_1core` replays Azure's hour of conversations, ten times its requests, on H100s running
Llama-3.1-8B, so that the cache is at least 70 % in use: the mean while replicas work, over their blocks. It is the best
of several rounds on one core, with the trace in memory; the first round fills the tables of step times.
`simulate.sweep_s` is 16 fleets of 100,000 requests each, the busiest stretch of the same, on 2 processes.
"""

import csv
import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Final

import numpy as np

from bench.figures import Figure, arguments, show
from bench.profiled import Profiled
from bursar.physics.deployment import Deployment
from bursar.physics.facts import load as load_facts
from bursar.simulate.engine import Engine
from bursar.simulate.fleet import Fleet, simulate
from bursar.simulate.load import Stretch, multiplied
from bursar.simulate.modelled import Modelled, blocks_beside
from bursar.simulate.report import Promise, report
from bursar.simulate.trace import Trace
from bursar.simulate.traces import load

MODEL: Final = "Llama-3.1-8B"
WEIGHT_BYTES: Final = 8_030_261_248 * 2
BLOCK_BYTES: Final = 16 * 131_072
ENGINES: Final = {
    "RTX4090": Engine(blocks=2_588 - 1, sequences=256, step_tokens=2_048),
    "RTXPRO6000": Engine(blocks=int((96e9 * 0.9 - WEIGHT_BYTES) / BLOCK_BYTES), sequences=128, step_tokens=2_048),
}
ORIGIN: Final = {"tpot": "TPOT", "latency": "latency", "ttft": "TTFT"}


@dataclass(frozen=True)
class Real:
    """Hold one real run: its requests, and each one's first and last token, in seconds from the first arrival."""

    trace: Trace
    first_s: np.ndarray
    end_s: np.ndarray
    sha256: str


def real(path: Path) -> Real:
    """Read a run; its two clocks are aligned so that no request is queued before it arrives."""
    data = path.read_bytes()
    rows = [json.loads(line) for line in data.split(b"\n") if line]
    queued, arrived, first, last = (
        np.array([row[name] for row in rows])
        for name in ("queued_ts", "arrival_time", "first_token_ts", "last_token_ts")
    )
    arrived += (queued - arrived).min()
    began = arrived[0]
    trace = Trace(
        list(arrived - began), [row["input_toks"] for row in rows], [row["output_toks"] for row in rows], name=str(path)
    )
    return Real(trace, first - began, last - began, hashlib.sha256(data).hexdigest())


def times(trace: Trace, first_s: np.ndarray, end_s: np.ndarray) -> Mapping[str, np.ndarray]:
    """Give each request's metrics in seconds."""
    arrival_s, made = np.array(trace.arrival_s), np.array(trace.output_tokens)
    return {"tpot": (end_s - first_s) / (made - 1), "latency": end_s - arrival_s, "ttft": first_s - arrival_s}


def error_pct(said: np.ndarray, was: np.ndarray) -> float:
    """Give the mean of the absolute errors of mean, median, P90 and P99."""
    sums = [(each.mean(), *np.percentile(each, (50, 90, 99))) for each in (said, was)]
    return mean(abs(one / other - 1) * 100 for one, other in zip(*sums, strict=True))


def origin(path: Path, trace: Trace) -> Mapping[str, np.ndarray]:
    """Give what the data's own simulator said of each request."""
    with path.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["request id"]))
    assert [int(row["input"]) for row in rows] == list(trace.input_tokens), "its requests are others"
    return {name: np.array([float(row[column]) for row in rows]) / 1e9 for name, column in ORIGIN.items()}


def errors(data: Path) -> list[Figure]:
    """Replay both runs and compare."""
    folder = data / "llmservingsim"
    found: dict[str, list[tuple[str, float, float, float]]] = {name: [] for name in ORIGIN}
    sums = []
    for gpu, engine in ENGINES.items():
        run = real(folder / f"bench/examples/{gpu}/{MODEL}/vllm/requests.jsonl")
        timer = Profiled(folder / f"profiler/perf/{gpu}/meta-llama/{MODEL}/bf16/tp1")
        journal = simulate(Fleet(engine, timer), run.trace).journal
        said = times(run.trace, np.array(journal.first_s), np.array(journal.end_s))
        was = times(run.trace, run.first_s, run.end_s)
        others = origin(folder / f"bench/examples/{gpu}/{MODEL}/outputs/sim_scalars.csv", run.trace)
        sums.append(f"{gpu} n {len(run.trace)} sha256 {run.sha256[:12]}")
        for name in ORIGIN:
            own = float(np.median(np.abs(said[name] / was[name] - 1)) * 100)
            found[name].append((gpu, error_pct(said[name], was[name]), own, error_pct(others[name], was[name])))
    figures = []
    for name, rows in found.items():
        note = "; ".join(f"{gpu} {error:.2f}, median request {own:.2f}" for gpu, error, own, _ in rows)
        worst, others_worst = (round(max(row[column] for row in rows), 2) for column in (1, 3))
        anchors = {"LLMServingSim": others_worst}
        figures.append(Figure(f"simulate.{name}_pct", worst, "%", anchors, f"{note}; {', '.join(sums)}"))
    return figures


def fleet(chip: str, replicas: int) -> Fleet:
    """Describe replicas of Llama-3.1-8B on one chip each, as vLLM serves it there by default."""
    facts = load_facts()
    deployment = Deployment(facts.shape("Meta-Llama-3.1-8B"), facts.chip(chip))
    engine = Engine(blocks=blocks_beside(deployment), sequences=1_024, step_tokens=8_192)
    return Fleet(engine, Modelled(deployment, facts.times.of(deployment)), replicas)


def speed(rounds: int) -> Figure:
    """Measure simulated requests a second on one core, with the cache in use."""
    trace, work = multiplied(load("azure-conv"), 10), fleet("H100", 2)
    taken = []
    for _ in range(rounds):
        before = time.perf_counter()
        run = simulate(work, trace)
        taken.append(time.perf_counter() - before)
    found = report(run, Promise())
    note = f"{len(trace):,} requests on 2 H100 at 10x; KV use {found.kv_use:.0%} while working, "
    rates = [len(trace) / each for each in taken]
    note += (
        f"{found.preemptions} preemptions; rounds {min(rates):,.0f} to {max(rates):,.0f}, median {median(rates):,.0f}"
    )
    assert found.kv_use >= 0.7, found.kv_use
    return Figure("simulate.rps_1core", round(len(trace) / min(taken)), "req/s", note=note)


def _one(case: tuple[str, int, int]) -> tuple[int, float]:
    chip, replicas, count = case
    run = simulate(fleet(chip, replicas), multiplied(load("azure-conv"), 10, Stretch(count)))
    return len(run.trace), report(run, Promise()).kv_use


def sweep(processes: int, count: int) -> Figure:
    """Measure how long 16 fleets take."""
    cases = [(chip, replicas, count) for chip in ("A100", "H100", "H200", "B200") for replicas in (1, 2, 3, 4)]
    before = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(_one, cases))
    seconds = time.perf_counter() - before
    requests = sum(each for each, _ in found)
    note = f"16 fleets, {requests:,} requests on {processes} processes, KV use {min(use for _, use in found):.0%} to "
    note += f"{max(use for _, use in found):.0%}; {requests / seconds:,.0f} req/s"
    return Figure("simulate.sweep_s", round(seconds, 1), "s", note=note)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, only="errors,rps,sweep", rounds=5, processes=2, requests=100_000)
    only = options.only.split(",")
    figures = errors(options.data) if "errors" in only and (options.data / "llmservingsim").exists() else []
    if "rps" in only:
        figures.append(speed(options.rounds))
    if "sweep" in only:
        figures.append(sweep(options.processes, options.requests))
    show("simulate", figures, as_json=options.json)


if __name__ == "__main__":
    main()
