"""Say how long one step of a serving engine takes: a calibrated roofline over the work of the step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bursar.physics.deployment import Batch, Deployment
from bursar.physics.work import Kind, Work, work_of


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Hold which share of a chip's peaks a kind of work reaches, and what each piece costs however small it is."""

    memory: float
    compute: float
    piece_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Hold what was fitted for one engine on one chip. Seconds are added to what the roofline says.

    `layer_s` a layer, `sequence_s` a sequence in the batch, `step_s` a step. `error` is the half width of the 90 %
    interval of ln(measured / predicted) on model families that were left out of the fit.
    """

    engine: str
    chip: str
    efficiency: Mapping[Kind, Efficiency]
    layer_s: float
    sequence_s: float
    step_s: float
    error: float
    source: str


@dataclass(frozen=True, slots=True)
class Step:
    """Hold how long a step takes, by part, with its 90 % interval and where it leaves the calibration."""

    seconds: float
    parts_s: Mapping[str, float]
    low_s: float
    high_s: float
    extrapolates: tuple[str, ...] = ()


ROOFLINE: Final = Calibration(
    engine="any",
    chip="any",
    efficiency={kind: Efficiency(0.8, 0.7) for kind in Kind},
    layer_s=20e-6,
    sequence_s=5e-6,
    step_s=200e-6,
    error=1.0,
    source="memory 0.8, compute 0.7 of the peaks: medians of aiconfigurator's kernel tables",
)
"""What is used for a chip nobody measured."""


def step(deployment: Deployment, batch: Batch, calibration: Calibration) -> Step:
    """Predict one step of a replica."""
    parts: dict[str, float] = {}
    for work in work_of(deployment, batch):
        parts[work.kind] = parts.get(work.kind, 0.0) + work.count * piece_s(deployment, work, calibration)
    parts["layers"] = calibration.layer_s * deployment.shape.layer_count
    parts["sequences"] = calibration.sequence_s * (batch.decodes + batch.chunks)
    parts["step"] = calibration.step_s
    seconds = sum(parts.values())
    spread = 2.718281828459045**calibration.error
    return Step(seconds, parts, seconds / spread, seconds * spread)


def piece_s(deployment: Deployment, work: Work, calibration: Calibration) -> float:
    """Predict one piece of work: the longer of moving, computing and sending, and what every piece costs."""
    efficiency, chip = calibration.efficiency[work.kind], deployment.chip
    moving = work.moved / (chip.memory_bytes_per_s * efficiency.memory)
    computing = work.flops / (chip.peak_flops_per_s(work.precision) * efficiency.compute)
    sending = work.sent / (chip.link_bytes_per_s * efficiency.memory)
    return max(moving, computing, sending) + efficiency.piece_s
