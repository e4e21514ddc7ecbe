"""Hold what was fitted of step time: the rates of one engine on one generation of chips, and what they rest on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.chip import Chip
from bursar.physics.deployment import Deployment
from bursar.physics.shape import Compressed

HOPPER: Final = "Hopper"
BLACKWELL: Final = "Blackwell"
ELSEWHERE: Final = 2.0
"""How much wider an interval is on a chip that was not measured: the best published simulator errs 1.3 to 2.6 times as
much on chips that it was not fitted on (BLIS: A100 and L40S against H100)."""
ACCELERATOR_FLOPS_PER_BYTE: Final = 50.0
"""What every accelerator of the facts computes for each byte it can read, by far; processors compute about 10."""

_WEIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    HOPPER: ("bf16", "fp8", "fp8_block"),
    BLACKWELL: ("bf16", "fp8", "fp8_block", "fp4"),
}
_CACHES: Final = ("bf16", "fp8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Hold the coefficients of a step.

    Those of `*_memory`, `*_link` and of a kind and a format are shares of a chip's peaks. Of those in seconds,
    `linear_s` to `state_s` are what a piece of work costs however small it is, `*layer_s` what a layer adds (all of
    them, those with experts, with latent attention, with an index, with a state; those in fp8 or fp4 for turning
    numbers into it), `sequence_s` what a sequence of the busiest chip adds, `step_s` a step, `chunk_s` and
    `chunk_layer_s` a step that reads a prompt, `prompt_token_s` a token of it, `draft_s` a drafted token.

    `*_rows` is how many rows take as long as no row at all would: the smaller the piece, the less of the peak is
    reached. `experts_skew` is the share of tokens that behave as if they chose experts at random. `wave` is the share
    of all prompts in flight that a new one waits for, for prompts of equal length, `wave_spread` for lengths that
    vary. `first_token_s` is what the first token takes beside computing, `first_token_share` of reading its prompt.
    """

    linear_memory: float
    linear_bf16: float
    linear_fp8: float
    linear_fp4: float
    linear_rows: float
    linear_s: float
    experts_memory: float
    experts_bf16: float
    experts_fp8: float
    experts_fp4: float
    experts_rows: float
    experts_skew: float
    experts_s: float
    decode_memory: float
    decode_compute: float
    decode_s: float
    prefill_memory: float
    prefill_compute: float
    prefill_s: float
    state_memory: float
    state_compute: float
    state_s: float
    all_reduce_link: float
    all_reduce_s: float
    all_reduce_peer_s: float
    all_to_all_link: float
    all_to_all_s: float
    layer_s: float
    expert_layer_s: float
    latent_layer_s: float
    index_layer_s: float
    state_layer_s: float
    fp8_layer_s: float
    fp8_expert_layer_s: float
    fp4_layer_s: float
    fp4_expert_layer_s: float
    sequence_s: float
    step_s: float
    chunk_s: float
    chunk_layer_s: float
    prompt_token_s: float
    draft_s: float
    wave: float
    wave_spread: float
    first_token_s: float
    first_token_share: float


@dataclass(frozen=True, slots=True)
class Range:
    """Hold what was measured: chips, the most sequences and the longest context, by name where it has one."""

    chips: tuple[str, ...]
    sequences: float
    context: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Hold what was fitted for one engine on one generation of chips.

    `error` is the half width of the 90 % interval of ln(measured / predicted) on model families that were left out of
    the fit. `range` is None where nothing was measured.
    """

    engine: str
    chip: str
    rates: Rates
    error: float
    source: str
    range: Range | None = None

    def error_on(self, chip: Chip) -> float:
        """Give the half width on a chip: wider on one that was not measured, where others were."""
        measured = self.range is None or chip.name in self.range.chips
        return self.error if measured else ELSEWHERE * self.error


def generation_of(chip: Chip) -> str:
    """Say whose rates a chip takes: Blackwell's where it computes in fp4, else Hopper's."""
    return BLACKWELL if "fp4" in chip.flops_per_s else HOPPER


@dataclass(frozen=True, slots=True)
class Calibrations:
    """Hold all calibrations, by engine and generation of chips."""

    by: Mapping[tuple[str, str], Calibration]

    def of(self, deployment: Deployment) -> Calibration:
        """Give the calibration of a deployment's engine on its chip, the plain roofline for what is no accelerator.

        Raises `ConfigError` for an unknown engine.
        """
        chip = deployment.chip
        if chip.flops_per_s["bf16"] < ACCELERATOR_FLOPS_PER_BYTE * chip.memory_bytes_per_s:
            return ROOFLINE
        found = self.by.get((deployment.engine, generation_of(deployment.chip)))
        if found is None:
            engines = ", ".join(sorted({engine for engine, _ in self.by}))
            raise ConfigError(f"engine is {deployment.engine!r}; step times are known of {engines}")
        return found


def leaves(deployment: Deployment, sequences: float, context: float, calibration: Calibration) -> tuple[str, ...]:
    """Say in words where a step lies outside of what was measured."""
    measured = calibration.range
    found: list[str] = []
    if not deployment.shape.known:
        found.append(f"model kind: {deployment.shape.family} is not known, it is read as a plain decoder")
    if measured is None:
        return (*found, f"step time on {deployment.chip.name}: a plain roofline, nothing was measured")
    if deployment.chip.name not in measured.chips:
        found.append(f"chip: {deployment.chip.name} was not measured, rates of {', '.join(measured.chips)} are used")
    found.extend(_formats_beyond(deployment))
    if deployment.nodes > 1:
        found.append(
            f"split: {deployment.chips} chips take {deployment.nodes} nodes of {deployment.chip.chips_per_node}, "
            "links between nodes are taken to be as fast as within"
        )
    if any(isinstance(layer.mixer, Compressed) for layer in deployment.shape.layers):
        found.append("model kind: attention over compressed tokens was not measured")
    if sequences > measured.sequences:
        found.append(f"batch: {sequences:,.0f} sequences are above the {measured.sequences:,.0f} measured")
    if context > measured.context:
        found.append(f"context: {context:,.0f} tokens are above the {measured.context:,.0f} measured")
    return tuple(found)


def _formats_beyond(deployment: Deployment) -> Iterator[str]:
    generation = generation_of(deployment.chip)
    if deployment.weights not in _WEIGHTS[generation]:
        yield f"format: weights in {deployment.weights} were not measured on {generation}"
    if deployment.cache not in _CACHES:
        yield f"format: a cache in {deployment.cache} was not measured"


_PLAIN: Final = Rates(
    linear_memory=0.8,
    linear_bf16=0.7,
    linear_fp8=0.7,
    linear_fp4=0.7,
    linear_rows=0.0,
    linear_s=0.0,
    experts_memory=0.8,
    experts_bf16=0.7,
    experts_fp8=0.7,
    experts_fp4=0.7,
    experts_rows=0.0,
    experts_skew=1.0,
    experts_s=0.0,
    decode_memory=0.8,
    decode_compute=0.7,
    decode_s=0.0,
    prefill_memory=0.8,
    prefill_compute=0.7,
    prefill_s=0.0,
    state_memory=0.8,
    state_compute=0.7,
    state_s=0.0,
    all_reduce_link=0.8,
    all_reduce_s=0.0,
    all_reduce_peer_s=0.0,
    all_to_all_link=0.8,
    all_to_all_s=0.0,
    layer_s=20e-6,
    expert_layer_s=0.0,
    latent_layer_s=0.0,
    index_layer_s=0.0,
    state_layer_s=0.0,
    fp8_layer_s=0.0,
    fp8_expert_layer_s=0.0,
    fp4_layer_s=0.0,
    fp4_expert_layer_s=0.0,
    sequence_s=5e-6,
    step_s=200e-6,
    chunk_s=0.0,
    chunk_layer_s=0.0,
    prompt_token_s=0.0,
    draft_s=0.0,
    wave=0.0,
    wave_spread=0.0,
    first_token_s=0.0,
    first_token_share=1.0,
)

ROOFLINE: Final = Calibration(
    engine="any",
    chip="any",
    rates=_PLAIN,
    error=1.0,
    source="memory 0.8, compute 0.7 of the peaks: medians of aiconfigurator's kernel tables",
)
"""What a chip's data sheet and two shares of its peaks say; fitted on no run."""

BARE: Final = replace(ROOFLINE, rates=replace(_PLAIN, layer_s=0.0, sequence_s=0.0, step_s=0.0))
"""The roofline without any overhead, to measure others against."""
