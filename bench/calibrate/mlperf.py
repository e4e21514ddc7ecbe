"""Set the floor of energy beside MLPerf's runs with wall power. An unverified re-analysis of MLPerf results."""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import Figure
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.energy import Energy, EnergyCalibration, Site, chip_j, energy
from bursar.physics.facts import Facts


@dataclass(frozen=True, slots=True)
class Task:
    """Hold a benchmark's model and its requests: tokens read and, where no row says it, written; beams searched."""

    shape: str
    input_tokens: float
    output_tokens: float
    beams: int = 1


TASKS: Final[Mapping[str, Task]] = {
    "llama2-70b": Task("Llama-2-70b-chat-hf", 294, 294),
    "llama3.1-405b": Task("Meta-Llama-3.1-405B", 9_400, 680),
    "llama3.1-8b": Task("Meta-Llama-3.1-8B", 778, 128),
    "mixtral-8x7b": Task("Mixtral-8x7B-v0.1", 294, 146),
    "gptj": Task("gpt-j-6b", 778, 69, beams=4),
}
"""MLPerf's rules and reference data sets: OpenOrca, CNN/DailyMail (128 tokens at most), LongBench and others.

Mixtral reads OpenOrca for a third, GSM8K and MBXP for the rest, whose lengths are not published: OpenOrca's is taken.
"""

SITE: Final = Site()
FILES: Final = ("v5.1_llm_results.csv", "v4.1_llm_results_extracted.csv")
BATCHES: Final = tuple(2**i for i in range(3, 13))


@dataclass(frozen=True, slots=True)
class Metered:
    """Hold one run with a meter at the wall."""

    name: str
    task: Task
    chip: str
    weights: str
    output_tokens: float
    token_j: float


def metered(data: Path) -> tuple[list[Metered], str]:
    """Read the runs with wall power, and the SHA-256 of the two files."""
    digest = hashlib.sha256()
    found: list[Metered] = []
    for name in FILES:
        text = (data / "mlperf_inference" / name).read_bytes()
        digest.update(text)
        rows = csv.DictReader(text.decode().splitlines())
        found += [_metered(row) for row in rows if row.get("Power_Result") or row.get("avg_wall_watts")]
    return found, digest.hexdigest()


def floor(run: Metered, facts: Facts) -> Energy:
    """Give the energy at the wall of the batch and the split over chips that take least a token.

    Chips run at their power limit: nothing is served faster than its joules can be drawn.
    """
    return min(_ways(run, facts, facts.energy.tuned()), key=lambda each: each.total_j / each.decode_tokens)


def figure(data: Path, facts: Facts) -> Figure:
    """Give the share of runs inside the floor's interval."""
    found, digest = metered(data)
    told: list[str] = []
    inside = 0
    widest = 0.0
    for run in found:
        least = floor(run, facts)
        token_j = least.energy_j_per_token * run.task.beams
        inside += token_j * least.low <= run.token_j <= token_j * least.high
        widest = max(widest, least.high / least.low)
        told.append(f"{run.name} {run.token_j:.3g} in {token_j * least.low:.3g}..{token_j * least.high:.3g}")
    note = f"n {len(found)}, widest {widest:.2f}x: {'; '.join(dict.fromkeys(told))}; SHA-256 {digest[:12]}"
    return Figure("physics.mlperf_bracketed_pct", round(inside / len(found) * 100, 1), "%", note=note)


def _metered(row: Mapping[str, str]) -> Metered:
    model = row.get("Model") or row["model"]
    task = next(task for name, task in TASKS.items() if model.startswith(name))
    system = row.get("Accelerator") or row["accelerator"]
    scenario = row.get("Scenario") or row["scenario"]
    watts = float(row.get("Power_Result") or row["avg_wall_watts"])
    written = _written(row, task)
    return Metered(
        name=f"{model.removesuffix('.9').removesuffix('-99')} {scenario}",
        task=task,
        chip=next(chip for chip in ("B200", "H200") if chip in system),
        weights=row.get("weight_data_types") or "fp8",
        output_tokens=written,
        token_j=watts / _tokens_per_s(row, written),
    )


def _written(row: Mapping[str, str], task: Task) -> float:
    """Give the tokens an answer has: as the accuracy run says, or as tokens and samples a second say."""
    told = re.search(r"TOKENS_PER_SAMPLE: ([\d.]+)", row.get("Accuracy", ""))
    rate = row.get("tokens_per_s") or row.get("completed_tokens_per_s")
    samples = row.get("samples_per_s")
    if told:
        return float(told[1])
    return float(rate) / float(samples) if rate and samples else task.output_tokens


def _tokens_per_s(row: Mapping[str, str], written: float) -> float:
    rate = row.get("Performance_Result") or row.get("tokens_per_s") or row.get("completed_tokens_per_s")
    return float(rate) if rate else float(row["samples_per_s"]) * written


def _ways(run: Metered, facts: Facts, calibration: EnergyCalibration) -> Iterator[Energy]:
    shape, chip = facts.shape(run.task.shape), facts.chip(run.chip)
    for chips in (1, 2, 4, 8):
        deployment = Deployment(shape, chip, chips, chips, 1, run.weights, "fp8", run.weights)
        room = 0.9 * chip.memory_bytes * chips - shape.total_weights * deployment.weight_bytes
        for requests in BATCHES:
            batch = _batch(run, requests)
            held = shape.kv_elements(round(batch.context)) * deployment.cache_bytes * batch.decodes
            if held <= room:
                seconds = chip_j(deployment, batch, calibration) / chip.power_limit_w
                yield energy(deployment, batch, seconds, calibration, SITE)


def _batch(run: Metered, requests: int) -> Batch:
    """Give an average step: every answer half written, and as many begun as end."""
    task, written = run.task, run.output_tokens
    return Batch(
        decodes=requests * task.beams,
        context=task.input_tokens + written / 2,
        prefill=requests * task.input_tokens / written,
        chunks=requests / written,
    )
