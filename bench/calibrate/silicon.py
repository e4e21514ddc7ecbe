"""Read the serving runs of aiconfigurator's silicon sample as deployments, traffic and clients.

What a row does not say is taken from the public recipes it was run with (SemiAnalysisAI/InferenceX, Apache-2.0:
`benchmarks/single_node/*.sh`, `.github/configs/nvidia-master.yaml`, read 2026-11-22); never from its times.
"""

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bursar.physics.deployment import Deployment
from bursar.physics.facts import Facts, load
from bursar.physics.loop import Clients
from bursar.physics.serving import Guess, Traffic, weight_bytes_per_chip

FILE: Final = "aiconfigurator/silicon_sample.csv"
CHIPS: Final = {
    "b200_sxm": "B200",
    "b300_sxm": "B300",
    "gb200": "GB200",
    "gb300": "GB300",
    "h100_sxm": "H100",
    "h200_sxm": "H200",
}
MODELS: Final = {
    "deepseek-ai/DeepSeek-R1": ("DeepSeek", "deepseek-ai/DeepSeek-R1"),
    "deepseek-ai/DeepSeek-V3": ("DeepSeek", "deepseek-ai/DeepSeek-R1"),
    "nvidia/DeepSeek-R1-NVFP4": ("DeepSeek", "deepseek-ai/DeepSeek-R1"),
    "nvidia/DeepSeek-V3.1-NVFP4": ("DeepSeek", "deepseek-ai/DeepSeek-R1"),
    "Qwen/Qwen3-32B": ("Qwen3-32B", "Qwen/Qwen3-32B"),
    "nvidia/Qwen3-32B-NVFP4": ("Qwen3-32B", "Qwen/Qwen3-32B"),
    "Qwen/Qwen3-235B-A22B-FP8": ("Qwen3-235B", "Qwen/Qwen3-235B-A22B-FP8"),
    "Qwen/Qwen3.5-397B-A17B": ("Qwen3.5-397B", "Qwen/Qwen3.5-397B-A17B"),
    "MiniMaxAI/MiniMax-M2.5": ("MiniMax-M2.5", "MiniMaxAI/MiniMax-M2.5"),
    "zhipuai/GLM-5": ("GLM-5", "zai-org/GLM-5"),
    "nvidia/Llama-3.1-8B-Instruct-FP8": ("Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
}
# Mean tokens a step by how many were drafted: DeepSeek-V4's multi-token prediction, thinking on (golden_al/dsv4_mtp).
ACCEPTED: Final = {0: 1.0, 1: 1.79, 2: 2.27, 3: 2.49}
# Lengths of InferenceX are drawn evenly from 0.8 to 1.0 of the length named.
DRAWN: Final = 0.9
NODE_CHIPS: Final = 8
# Dates from which vLLM's recipes keep the cache in fp8, sglang's no longer poll, and TensorRT-LLM's draft tokens.
FP8_CACHE_FROM: Final = "2026-03-20"
NO_POLLING_FROM: Final = "2026-04-10"
MTP_FROM: Final = "2026-01-14"
POLLED: Final = ("b200_sxm", "b300_sxm")
IMAGES: Final = ("lmsysorg/", "nvcr.io", "vllm/vllm-openai")
DOUBTFUL: Final = {"nvidia/Llama-3.1-8B-Instruct-FP8": "its concurrency is doubtful (SOURCE.md)"}


@dataclass(frozen=True, slots=True)
class Run:
    """Hold one measured run. `lab` says that the lengths were fixed; `doubtful` why no fit may use it."""

    id: str
    model: str
    deployment: Deployment
    traffic: Traffic
    clients: Clients
    guess: Guess
    lab: bool
    doubtful: str
    ttft_s: float
    tpot_s: float

    @property
    def cell(self) -> str:
        """Name the sweep it belongs to: rows of one are near copies."""
        held = self.deployment
        split = f"{held.chips}/{held.tensor}"
        return f"{self.model} {held.chip.name} {held.engine} {held.weights} {split}"


@dataclass(frozen=True, slots=True)
class Apart:
    """Hold one measured run of two pools: deployments, and replicas of each."""

    id: str
    model: str
    readers: tuple[Deployment, int]
    writers: tuple[Deployment, int]
    traffic: Traffic
    clients: Clients
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold the runs that can be predicted, how many cannot by reason, and the file's SHA-256."""

    runs: tuple[Run, ...]
    apart: tuple[Apart, ...]
    left_out: Mapping[str, int]
    sha256: str


def sample(data: Path) -> Sample:
    """Read the sample. A row is left out only where it does not say what ran."""
    path = data / FILE
    facts = load()
    with path.open(newline="") as file:
        rows = [_Row(row) for row in csv.DictReader(file)]
    left_out: dict[str, int] = {}
    imaged: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        if row.image and not row.dumped:
            imaged.setdefault(row.key, []).append(row)
    runs: list[Run] = []
    apart: list[Apart] = []
    for row in rows:
        reason = row.unknown()
        if not reason and row.row["mode"] == "disagg":
            apart.append(_apart(row, facts))
        elif reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            runs.append(_run(row, facts, imaged))
    return Sample(tuple(runs), tuple(apart), left_out, hashlib.sha256(path.read_bytes()).hexdigest())


class _Row:
    """Read the columns of one row."""

    def __init__(self, row: Mapping[str, str]) -> None:
        self.row = row
        source = row["silicon_data_source"]
        self.measured = next(iter(_after(source, "measured=")), "")[:10]
        self.dumped = source.startswith("db-dump")
        # Rows of InferenceX bear a date or are one of its files; the others are aiconfigurator's own measurements.
        self.lab = not (self.dumped or source.startswith(("source_file=2026", "source_file=qwen3.5-397b-gap")))
        found = (part.strip().removeprefix("image=") for part in source.split(";"))
        self.image = next((each for each in found if each.startswith(IMAGES)), "")
        self.model = MODELS[row["model_path"]][0]

    def number(self, name: str) -> float:
        """Give a column's number, 0 where it is empty."""
        return float(self.row[name] or 0)

    def same_times(self, other: "_Row") -> bool:
        """Say whether both times of another row are these, rounded."""
        names = ("silicon_ttft_ms", "silicon_tpot_ms")
        return all(math.isclose(self.number(name), other.number(name), rel_tol=2e-3) for name in names)

    @property
    def key(self) -> tuple[str, ...]:
        """Name the place a row takes in a sweep."""
        row = self.row
        return (self.model, *(row[name] for name in ("system", "backend", "precision", "gpus", "isl", "osl")),
                f"{self.number('concurrency'):g}")  # fmt: skip

    def unknown(self) -> str:
        """Say what keeps a row from being predicted."""
        if self.row["mode"] == "disagg":
            known = self.row["decode_num_workers"] and self.row["prefill_num_workers"] and self.row["concurrency"]
            return "" if known else "two pools, number of replicas or load unknown"
        if not self.row["gpus"]:
            return "aggregated, number of replicas unknown"
        if self.row["system"] == "gb200" and self.number("gpus") > NODE_CHIPS:
            return "gb200 of whole racks, filed as aggregated"
        return ""


def _after(source: str, word: str) -> Iterator[str]:
    for part in source.split(";"):
        if part.strip().startswith(word):
            yield part.strip()[len(word) :]


def _run(row: _Row, facts: Facts, imaged: Mapping[tuple[str, ...], list[_Row]]) -> Run:
    drawn = 1.0 if row.lab else DRAWN
    draft, deployment = _draft(row, imaged), _deployment(row, facts)
    return Run(
        id=row.row["id"],
        model=row.model,
        deployment=deployment,
        traffic=Traffic(round(row.number("isl") * drawn), round(row.number("osl") * drawn)),
        clients=Clients(row.number("concurrency"), row.lab, _wait_steps(row)),
        guess=Guess(draft, ACCEPTED[draft]),
        lab=row.lab,
        doubtful=_doubtful(row, deployment),
        ttft_s=row.number("silicon_ttft_ms") / 1_000,
        tpot_s=row.number("silicon_tpot_ms") / 1_000,
    )


def _deployment(row: _Row, facts: Facts) -> Deployment:
    chips = int(row.number("gpus"))
    weights = row.row["precision"] or "bf16"
    return Deployment(
        shape=facts.shape(MODELS[row.row["model_path"]][1]),
        chip=facts.chip(CHIPS[row.row["system"]]),
        chips=chips,
        tensor=_tensor(chips, int(row.number("tp_size")), max(1, int(row.number("attention_dp_size")))),
        expert=min(chips, max(1, int(row.number("moe_ep_size")))),
        weights=weights,
        cache=_cache(row, weights),
        compute=weights,
        engine=row.row["backend"],
    )


def _apart(row: _Row, facts: Facts) -> Apart:
    drawn = 1.0 if row.lab else DRAWN
    return Apart(
        id=row.row["id"],
        model=row.model,
        readers=_pool(row, facts, "prefill"),
        writers=_pool(row, facts, "decode"),
        traffic=Traffic(round(row.number("isl") * drawn), round(row.number("osl") * drawn)),
        clients=Clients(row.number("concurrency"), row.lab),
        ttft_s=row.number("silicon_ttft_ms") / 1_000,
        tpot_s=row.number("silicon_tpot_ms") / 1_000,
    )


def _pool(row: _Row, facts: Facts, which: str) -> tuple[Deployment, int]:
    tensor, groups, expert = (
        max(1, int(row.number(f"{which}_{name}"))) for name in ("tp_size", "attention_dp_size", "moe_ep_size")
    )
    weights = row.row["precision"] or "bf16"
    held = Deployment(
        shape=facts.shape(MODELS[row.row["model_path"]][1]),
        chip=facts.chip(CHIPS[row.row["system"]]),
        chips=tensor * groups,
        tensor=tensor,
        expert=math.gcd(expert, tensor * groups),
        weights=weights,
        cache=_cache(row, weights),
        compute=weights,
        engine=row.row["backend"],
    )
    return held, int(row.number(f"{which}_num_workers"))


def _tensor(chips: int, tensor: int, groups: int) -> int:
    """Say how many chips share a mixer: where the product is not the number of chips, tp x ep stands in for tp."""
    if tensor * groups == chips or tensor == chips:
        return tensor
    return 1 if tensor == 1 else chips


def _cache(row: _Row, weights: str) -> str:
    """Say the cache's format: TensorRT-LLM's and InferenceX's recipes keep it in fp8 where the weights are narrow."""
    engine = row.row["backend"]
    if weights == "bf16":
        return "bf16"
    recipe = not row.lab and (engine == "sglang" or row.measured >= FP8_CACHE_FROM)
    return "fp8" if engine == "trtllm" or recipe else "bf16"


def _draft(row: _Row, imaged: Mapping[tuple[str, ...], list["_Row"]]) -> int:
    """Say how many tokens are drafted a step: what the public recipe of a row's image does, whatever the model.

    The database dump holds runs without drafts alone, aiconfigurator's own runs have none. A row that names no image
    is the copy of one that does, with its times rounded.
    """
    if row.lab or row.dumped:
        return 0
    if not row.image:
        return next((_draft(each, imaged) for each in imaged.get(row.key, ()) if each.same_times(row)), 0)
    if row.row["backend"] == "trtllm":
        later = "1.1.0rc2.post2" in row.image and row.measured >= MTP_FROM
        apart = row.number("attention_dp_size") > 1
        return (1 if apart else 3) if "rc6.post3" in row.image or later else 0
    if row.row["backend"] == "sglang" and row.image.endswith("sglang:v0.5.9-cu130"):
        # The recipes of this image in fp8 draft where matrices are split over all chips, with whole experts on each.
        plain = row.row["precision"] == "fp8" and row.number("moe_ep_size") == 1
        return 3 if plain and row.row["system"] in POLLED else 0
    return 0


def _wait_steps(row: _Row) -> float:
    """Say how many steps a request waits to be looked at: sglang's recipes on B200 polled every 10th or 30th step."""
    polled = not row.lab and row.row["backend"] == "sglang" and row.row["system"] in POLLED
    if polled and row.measured < NO_POLLING_FROM:
        return 15.0 if row.number("concurrency") >= 16 else 5.0
    return 0.5


def _doubtful(row: _Row, deployment: Deployment) -> str:
    """Say why a row may not be fitted on; it is predicted and counted all the same."""
    if weight_bytes_per_chip(deployment) > deployment.chip.memory_bytes:
        return "more weights than the chips named can hold"
    return DOUBTFUL.get(row.row["model_path"], "")
