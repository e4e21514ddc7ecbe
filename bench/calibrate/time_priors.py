"""Say where each rate starts before a run is seen, and how firmly it is held there.

Starts come from aiconfigurator's kernel tables (h100, h200 and b200; vLLM 0.22 and 0.24) and from what launches cost.
`held` is the standard deviation of the logarithm: 0.1 means that a tenth off costs as much as a run a tenth off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ENGINES: Final = ("vllm", "sglang", "trtllm")


@dataclass(frozen=True)
class Prior:
    """Hold a start and how firmly it is held."""

    start: float
    held: float


@dataclass(frozen=True)
class Scheme:
    """Hold the priors of all bases and factors. A factor is named `rate@who`."""

    name: str
    bases: Mapping[str, Prior]
    factors: Mapping[str, Prior]


# Shares of peaks: medians of the kernel tables for large matrices. Seconds a piece: two launches of a matrix product
# (3.6 us each), one of attention (10), routing and two products of experts (30). A latent layer's kernels take 90 us
# in the tables, of which its matrices and its attention are counted; with an index and an fp8 cache 75 us more.
BASES: Final[Mapping[str, Prior]] = {
    "linear_memory": Prior(0.82, 0.05),
    "linear_bf16": Prior(0.7, 0.1),
    "linear_fp8": Prior(0.5, 0.2),
    "linear_fp4": Prior(0.35, 0.3),
    "linear_rows": Prior(30.0, 0.4),
    "linear_s": Prior(7.2e-6, 0.15),
    "experts_memory": Prior(0.8, 0.07),
    "experts_bf16": Prior(0.4, 0.3),
    "experts_fp8": Prior(0.2, 0.2),
    "experts_fp4": Prior(0.2, 0.3),
    "experts_rows": Prior(24.0, 0.2),
    "experts_skew": Prior(0.7, 0.05),
    "experts_s": Prior(30e-6, 0.2),
    "decode_memory": Prior(0.8, 0.15),
    "decode_compute": Prior(0.3, 0.3),
    "decode_s": Prior(10e-6, 0.3),
    "prefill_memory": Prior(0.5, 0.3),
    "prefill_compute": Prior(0.55, 0.2),
    "prefill_s": Prior(15e-6, 0.4),
    "state_memory": Prior(0.5, 0.4),
    "state_compute": Prior(0.1, 0.5),
    "state_s": Prior(10e-6, 0.5),
    "all_reduce_link": Prior(0.62, 0.1),
    "all_reduce_s": Prior(4.4e-6, 0.15),
    "all_reduce_peer_s": Prior(0.1e-6, 0.3),
    "all_to_all_link": Prior(0.4, 0.4),
    "all_to_all_s": Prior(15e-6, 0.5),
    "layer_s": Prior(10e-6, 0.5),
    "expert_layer_s": Prior(10e-6, 0.5),
    "latent_layer_s": Prior(50e-6, 0.25),
    "index_layer_s": Prior(75e-6, 0.25),
    "state_layer_s": Prior(20e-6, 0.5),
    "fp8_layer_s": Prior(3e-6, 0.3),
    "fp8_expert_layer_s": Prior(3e-6, 0.5),
    "fp4_layer_s": Prior(2e-6, 0.5),
    "fp4_expert_layer_s": Prior(8e-6, 0.5),
    "sequence_s": Prior(10e-6, 0.7),
    "step_s": Prior(0.5e-3, 0.7),
    "chunk_s": Prior(1e-3, 0.8),
    "chunk_layer_s": Prior(20e-6, 0.8),
    "prompt_token_s": Prior(0.1e-6, 1.0),
    "draft_s": Prior(0.5e-3, 0.5),
    "wave": Prior(0.12, 0.1),
    "wave_spread": Prior(0.06, 0.1),
    "first_token_s": Prior(30e-3, 0.8),
    "first_token_share": Prior(1.2, 0.3),
}
BY_ENGINE: Final = (
    *("layer_s", "expert_layer_s", "sequence_s", "step_s", "first_token_s", "first_token_share", "chunk_s"),
    *("chunk_layer_s", "experts_memory", "experts_fp8", "prompt_token_s", "all_reduce_s", "latent_layer_s"),
    *("experts_s", "wave", "wave_spread", "experts_skew"),
)
BY_GENERATION: Final = (
    *("experts_memory", "experts_bf16", "experts_fp8", "linear_fp8", "linear_s", "experts_s", "layer_s"),
    *("expert_layer_s", "step_s", "linear_memory", "decode_memory", "linear_bf16", "prefill_compute"),
    *("latent_layer_s", "all_reduce_s", "all_reduce_link"),
)
BY_LAB: Final = ("sequence_s", "step_s", "chunk_s", "first_token_s")


def scheme(name: str, engine: float, generation: float, changes: Mapping[str, Prior]) -> Scheme:
    """Build a scheme: how firmly engines and generations are held to the pooled value, and what differs from above."""
    factors = {f"{rate}@{who}": Prior(1.0, engine) for rate in BY_ENGINE for who in ENGINES}
    factors |= {f"{rate}@blackwell": Prior(1.0, generation) for rate in BY_GENERATION}
    factors |= {f"{rate}@lab": Prior(1.0, engine) for rate in BY_LAB}
    factors |= _KNOWN
    bases = {each: changes.get(each, prior) for each, prior in BASES.items()}
    return Scheme(name, bases, {each: changes.get(each, prior) for each, prior in factors.items()})


def _each(rate: str, held: float) -> dict[str, Prior]:
    return {f"{rate}@{engine}": Prior(1.0, held) for engine in ENGINES}


# From the tables of collectives: TensorRT-LLM's start is a quarter shorter, Blackwell's half longer, and of its link
# 0.43 is reached where Hopper's reaches 0.62. sglang reads all prompts before it goes on writing: of prompts of equal
# length one waits for half of the others.
_KNOWN: Final[Mapping[str, Prior]] = {
    **_each("all_reduce_s", 0.15),
    "all_reduce_s@trtllm": Prior(0.75, 0.15),
    "all_reduce_s@blackwell": Prior(1.5, 0.15),
    "all_reduce_link@blackwell": Prior(0.7, 0.1),
    **_each("wave", 0.3),
    "wave@sglang": Prior(4.0, 0.08),
    **_each("wave_spread", 0.4),
    **_each("experts_s", 0.1),
    **_each("experts_skew", 0.07),
    **_each("experts_memory", 0.07),
    **_each("latent_layer_s", 0.3),
}
_FREE_FIRST: Final = {**_each("first_token_s", 0.5), "first_token_s@lab": Prior(1.0, 0.7)}

SCHEMES: Final = (
    scheme("A", 0.1, 0.05, {}),
    scheme("B", 0.1, 0.05, _FREE_FIRST),
    scheme("C", 0.1, 0.05, {**_FREE_FIRST, "step_s": Prior(1e-3, 0.5)}),
    scheme("D", 0.1, 0.1, {**_FREE_FIRST, "step_s": Prior(1e-3, 0.5)}),
    scheme("E", 0.05, 0.05, {**_FREE_FIRST, "step_s": Prior(1e-3, 0.5)}),
    scheme("F", 0.2, 0.1, {**_FREE_FIRST, "step_s": Prior(1e-3, 0.5)}),
)
"""What is tried. Which one counts for a model is chosen without it: see `score_time`."""
