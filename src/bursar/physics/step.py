"""Say how long one step of a serving engine takes: a calibrated roofline over the work of the step."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bursar.physics.calibration import Calibration, Rates, leaves
from bursar.physics.chip import Chip
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.shape import Latent, Recurrent, Shape
from bursar.physics.work import ACTIVATION_BYTES, Kind, Work, work_of

_SHARPNESS: Final = 4.0
_FORMATS: Final = ("fp8", "fp4")
_NARROW: Final[Mapping[str, str]] = {"fp8_block": "fp8", "int8": "fp8", "int4": "fp4"}


@dataclass(frozen=True, slots=True)
class Step:
    """Hold how long a step takes, by part, with its 90 % interval and where it leaves the calibration."""

    seconds: float
    parts_s: Mapping[str, float]
    low_s: float
    high_s: float
    extrapolates: tuple[str, ...] = ()


def step(deployment: Deployment, batch: Batch, calibration: Calibration) -> Step:
    """Predict one step of a replica; one without tokens takes no time."""
    parts = _parts(deployment, batch, calibration.rates)
    seconds = sum(parts.values())
    spread = math.exp(calibration.error_on(deployment.chip))
    outside = leaves(deployment, batch.decodes, max(batch.context, batch.past), calibration)
    return Step(seconds, parts, seconds / spread, seconds * spread, outside)


def seconds_of(deployment: Deployment, batch: Batch, rates: Rates) -> float:
    """Predict the seconds of one step alone."""
    return sum(_parts(deployment, batch, rates).values())


def _parts(deployment: Deployment, batch: Batch, rates: Rates) -> dict[str, float]:
    if not batch.tokens:
        return {}
    parts: dict[str, float] = {}
    for work in work_of(deployment, batch, rates.experts_skew):
        parts[work.kind] = parts.get(work.kind, 0.0) + work.count * piece_s(deployment.chip, work, rates)
    return parts | dict(overheads(deployment, batch, rates))


def overheads(deployment: Deployment, batch: Batch, rates: Rates) -> Iterator[tuple[str, float]]:
    """Give what a step takes beside its work, by part."""
    layers = deployment.shape.layer_count
    reading = min(1.0, batch.chunks)
    yield "layers", _layers_s(deployment, rates)
    yield "sequences", rates.sequence_s * batch.decodes / deployment.groups
    yield "chunks", reading * (rates.chunk_s + rates.chunk_layer_s * layers) + rates.prompt_token_s * batch.prefill
    yield "drafts", batch.draft * (rates.draft_s + head_s(deployment))
    yield "step", rates.step_s


def _layers_s(deployment: Deployment, rates: Rates) -> float:
    shape = deployment.shape
    routed = shape.expert_layer_count
    seconds = rates.layer_s * shape.layer_count + rates.expert_layer_s * routed
    seconds += rates.latent_layer_s * _count(shape, lambda mixer: isinstance(mixer, Latent))
    seconds += rates.index_layer_s * _count(shape, lambda mixer: isinstance(mixer, Latent) and bool(mixer.selected))
    seconds += rates.state_layer_s * _count(shape, lambda mixer: isinstance(mixer, Recurrent))
    if deployment.weights in ("fp8", "fp8_block"):
        return seconds + 2 * rates.fp8_layer_s * shape.layer_count + rates.fp8_expert_layer_s * routed
    if deployment.weights == "fp4":
        return seconds + 2 * rates.fp4_layer_s * (shape.layer_count - routed) + rates.fp4_expert_layer_s * routed
    return seconds


def _count(shape: Shape, chosen: Callable[[object], bool]) -> int:
    return sum(layer.count for layer in shape.layers if chosen(layer.mixer))


def head_s(deployment: Deployment) -> float:
    """Give the time to read the head once, as each drafted token does."""
    held = deployment.shape.head_weights / deployment.tensor * ACTIVATION_BYTES
    return held / deployment.chip.memory_bytes_per_s


def piece_s(chip: Chip, work: Work, rates: Rates) -> float:
    """Predict one piece of work: moving and computing, the longer with a rounded corner, or sending; and its start.

    Time is (moving ** 4 + computing ** 4) ** (1 / 4): both are near their peaks together only where they are equal.
    """
    if work.kind is Kind.ALL_REDUCE:
        sending = work.sent / (chip.link_bytes_per_s * rates.all_reduce_link)
        return sending + rates.all_reduce_s + rates.all_reduce_peer_s * work.peers
    if work.kind is Kind.ALL_TO_ALL:
        return work.sent / (chip.link_bytes_per_s * rates.all_to_all_link) + rates.all_to_all_s
    memory, compute, rows, start = _shares(chip, work, rates)
    moving = work.moved / (chip.memory_bytes_per_s * memory)
    computing = work.flops / (chip.peak_flops_per_s(work.precision) * compute) * (1 + rows / max(work.rows, 1e-9))
    return math.hypot(moving * moving, computing * computing) ** (2 / _SHARPNESS) + start


def _shares(chip: Chip, work: Work, rates: Rates) -> tuple[float, float, float, float]:
    """Give the share of the memory's and of the units' peak, the rows that cost nothing more, and the start."""
    if work.kind is Kind.LINEAR:
        by_format = {"fp8": rates.linear_fp8, "fp4": rates.linear_fp4}
        share = by_format.get(format_of(chip, work.precision), rates.linear_bf16)
        return rates.linear_memory, share, rates.linear_rows, rates.linear_s
    if work.kind is Kind.EXPERTS:
        by_format = {"fp8": rates.experts_fp8, "fp4": rates.experts_fp4}
        share = by_format.get(format_of(chip, work.precision), rates.experts_bf16)
        return rates.experts_memory, share, rates.experts_rows, rates.experts_s
    if work.kind is Kind.DECODE:
        return rates.decode_memory, rates.decode_compute, 0.0, rates.decode_s
    if work.kind is Kind.PREFILL:
        return rates.prefill_memory, rates.prefill_compute, 0.0, rates.prefill_s
    return rates.state_memory, rates.state_compute, 0.0, rates.state_s


def format_of(chip: Chip, precision: str) -> str:
    """Say in which format a chip computes what is asked for in another: bf16 where it has no units for it."""
    narrow = _NARROW.get(precision, precision)
    return narrow if narrow in _FORMATS and precision.removesuffix("_block") in chip.flops_per_s else "bf16"
