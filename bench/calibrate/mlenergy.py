"""Read ML.ENERGY's runs: what was served, on which chips, and the joules and seconds of a step."""

import csv
import hashlib
import heapq
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from bursar.physics.deployment import Batch, Deployment
from bursar.physics.facts import Facts

FAMILIES: Final[Mapping[str, str]] = {
    "480B": "Qwen3-Coder 480B",
    "235B": "Qwen3 235B",
    "30B-A3B": "Qwen3 30B-A3B",
    "Qwen/Qwen3-": "Qwen3 dense",
    "deepseek": "DeepSeek",
    "gemma": "Gemma 3",
    "Llama-4": "Llama 4",
    "Nemotron": "Nemotron Nano",
}
"""What a model's name holds, in order, and the family it says."""

SHAPES: Final[Mapping[str, str]] = {
    "Qwen3-235B-A22B-Instruct-2507": "Qwen3-235B-A22B",
    "Qwen3-235B-A22B-Thinking-2507": "Qwen3-235B-A22B",
    "Qwen3-235B-A22B-Instruct-2507-FP8": "Qwen3-235B-A22B-FP8",
    "Qwen3-235B-A22B-Thinking-2507-FP8": "Qwen3-235B-A22B-FP8",
    "Qwen3-30B-A3B-Instruct-2507": "Qwen3-30B-A3B",
    "Qwen3-30B-A3B-Thinking-2507": "Qwen3-30B-A3B",
    "Qwen3-Coder-30B-A3B-Instruct": "Qwen3-30B-A3B",
    "Qwen3-Coder-480B-A35B-Instruct-FP8": "Qwen3-Coder-480B-A35B-Instruct",
    "DeepSeek-R1-0528": "DeepSeek-R1",
    "DeepSeek-V3.1": "DeepSeek-V3",
    "Llama-4-Maverick-17B-128E-Instruct-FP8": "Llama-4-Maverick-17B-128E-Instruct",
}

INPUT_TOKENS: Final[Mapping[str, float]] = {"lm-arena-chat": 250, "gpqa": 250, "sourcegraph-fim": 800}
"""Assumed: the set has no input lengths. The fit scales them, within their prior."""

REQUESTS: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    "gpqa": ((128, 198), (256, 396), (384, 594), (512, 792), (4096, 990)),
    "lm-arena-chat": ((256, 1024), (1024, 2048), (2048, 3072), (3072, 4096), (4096, 6144)),
    "sourcegraph-fim": ((256, 1024), (1024, 2048), (2048, 3072)),
}
"""How many requests a run had, up to a number of slots: github.com/ml-energy/benchmark, configs/vllm."""

SEED: Final = 5


@dataclass(frozen=True, slots=True)
class Run:
    """Hold one run in its steady part: the step without prompts, the step with them and how often that comes.

    `step_j` is what one chip takes for a step, `step_s` how long one lasts, both on average. `slots` is the most
    sequences the engine ran at once.
    """

    family: str
    model: str
    task: str
    slots: int
    deployment: Deployment
    decode: Batch
    mixed: Batch
    mixed_share: float
    output_tokens: float
    step_j: float
    step_s: float
    median_itl_s: float
    token_j: float
    active_billions: float

    @property
    def chip(self) -> str:
        """Give the chip's name."""
        return self.deployment.chip.name


def runs(folder: Path, facts: Facts) -> tuple[list[Run], str]:
    """Read all runs, and the SHA-256 of the file they are in."""
    path = folder / "mlenergy_v3" / "llm_runs_flat.csv"
    text = path.read_bytes()
    found = [_run(row, path.parent, facts) for row in csv.DictReader(text.decode().splitlines())]
    return found, hashlib.sha256(text).hexdigest()


def out_of_balance(run: Run) -> bool:
    """Say that a run's mean step is over twice its median one: a software cliff, not what a chip can do.

    The rule looks at two measurements of the run and at no prediction.
    """
    return run.step_s > 2 * run.median_itl_s


def held_up(found: list[Run]) -> set[int]:
    """Give the rows whose step time leaps by 1.6 or more from the next smaller batch of the same sweep, or sinks."""
    order = sorted(range(len(found)), key=lambda i: (_sweep(found[i]), found[i].slots))
    pairs = [(a, b) for a, b in pairwise(order) if _sweep(found[a]) == _sweep(found[b])]
    return {b for a, b in pairs if _leaps(found[a], found[b])}


def _sweep(run: Run) -> tuple[str, str, str, int]:
    return run.chip, run.model, run.task, run.deployment.chips


def _leaps(before: Run, after: Run) -> bool:
    ratio = after.median_itl_s / before.median_itl_s
    return after.slots > before.slots and (ratio > 1.6 or ratio < 1 / 1.1)


def _run(row: Mapping[str, str], folder: Path, facts: Facts) -> Run:
    name, task = row["model_id"], row["task"]
    short = name.rsplit("/", 1)[-1]
    family = next(family for word, family in FAMILIES.items() if word in name)
    chips, parts = int(row["num_gpus"]), int(row["data_parallel"])
    # Qwen and DeepSeek publish fp8 with a scale for each block, Meta one for each channel: their config.json says so.
    narrow = "fp8" if family == "Llama 4" else "fp8_block"
    weights = narrow if row["weight_precision"] == "fp8" else "bf16"
    deployment = Deployment(
        shape=facts.shape(SHAPES.get(short, name)),
        chip=facts.chip(row["gpu_model"]),
        chips=chips,
        tensor=chips // parts,
        expert=int(row["expert_parallel"]),
        weights=weights,
        compute=weights,
    )
    batch, slots = float(row["avg_batch_size"]), int(row["max_num_seqs"])
    lengths = _lengths(folder / "models" / f"{name.replace('/', '__')}__{task}.json")
    context, begins = steady(lengths, _requests(task, slots), round(batch))
    context += INPUT_TOKENS[task]
    share = 1 - math.exp(-begins)
    token_j = float(row["energy_per_token_joules"])
    return Run(
        family=family,
        model=short,
        task=task,
        slots=slots,
        deployment=deployment,
        decode=Batch(batch, context),
        mixed=Batch(batch, context, begins * INPUT_TOKENS[task] / share, begins / share),
        mixed_share=share,
        output_tokens=float(row["avg_output_len"]),
        step_j=token_j * batch / chips,
        step_s=batch / float(row["output_throughput_tokens_per_sec"]),
        median_itl_s=float(row["median_itl_ms"]) / 1e3,
        token_j=token_j,
        active_billions=float(row["activated_params_billions"]),
    )


def _requests(task: str, slots: int) -> int:
    return next(count for most, count in REQUESTS[task] if slots <= most)


@lru_cache(maxsize=64)
def _lengths(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    found = json.loads(path.read_bytes())["output_length_distribution"]
    return tuple(found["bins"]), tuple(found["counts"])


@lru_cache(maxsize=1024)
def steady(
    lengths: tuple[tuple[float, ...], tuple[float, ...]], requests: int, slots: int, repeats: int = 8
) -> tuple[float, float]:
    """Give how many tokens a running sequence has written on average, and how many begin in a step, while some wait.

    A run has so few requests that it never forgets its start: they all begin at once, so contexts are shorter than in
    the long run. Every sequence advances by a token a step; lengths are drawn from the run's own histogram.
    """
    bins, counts = np.array(lengths[0]), np.array(lengths[1], float)
    chance = np.random.default_rng(SEED)
    written, begun = [], []
    for _ in range(repeats):
        place = chance.choice(len(counts), max(requests, slots + 1), p=counts / counts.sum())
        width = bins[place + 1] - bins[place]
        drawn = np.maximum(1, bins[place] + chance.random(len(place)) * width).astype(int).tolist()
        area, last = _area(drawn, slots)
        written.append(area / (last * slots))
        begun.append((len(drawn) - slots) / last)
    return float(np.mean(written)), float(np.mean(begun))


def _area(lengths: list[int], slots: int) -> tuple[float, int]:
    """Add up the tokens written by all running sequences over all steps until none waits."""
    running = [(length, 0) for length in lengths[:slots]]
    heapq.heapify(running)
    area, last = 0.0, 0
    for length in lengths[slots:]:
        last, begun = heapq.heappop(running)
        area += (last - begun) ** 2 / 2
        heapq.heappush(running, (last + length, last))
    return area + sum((last - begun) ** 2 / 2 for _, begun in running), last
