"""Say how many joules a step takes: chips idle and at work, host, fans and supplies, the building."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.demand import Demand, demand_of
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.shape import Experts

_PUE: Final = "a plain number, 1.0 or above; 1.15 is a building that spends 15 % on cooling and losses"


@dataclass(frozen=True, slots=True)
class EnergyCalibration:
    """Hold what was fitted on measured energy.

    A step of one chip takes `limit x sum(coefficient x demand)` joules: a coefficient of seconds is the share of the
    power limit that a second at the peak draws, one of counts is in seconds at the limit. `chips` has coefficients for
    the chips measured, `shared` for all others. `flops_by_format` says how much more of the limit arithmetic draws
    than in bf16, at each format's own peak, `expert_bytes_by_format` the same of reading experts. `skew` is that of
    `demand_of`. `low` and `high` bound ln(measured / predicted) for 90 % of the runs of model families that were left
    out, `floor_low` and `floor_high` for 90 % of those in balance; `elsewhere` is what a chip that was not measured
    adds to both. `kin` names the measured chip that has the same compute die as another. Batches per chip and contexts
    outside their ranges are extrapolated.
    """

    engine: str
    chips: Mapping[str, Demand]
    shared: Demand
    flops_by_format: Mapping[str, float]
    expert_bytes_by_format: Mapping[str, float]
    skew: float
    low: float
    high: float
    floor_low: float
    floor_high: float
    elsewhere: float
    kin: Mapping[str, str]
    batch_range: tuple[float, float]
    context_range: tuple[float, float]
    source: str
    checked: str

    def coefficients(self, chip: str) -> Demand:
        """Give the coefficients of a chip: its own, those of its kin, or what all chips share."""
        return self.chips.get(self.kin.get(chip, chip), self.shared)

    def knows(self, chip: str) -> bool:
        """Say whether this chip, or one with its compute die, was measured."""
        return self.kin.get(chip, chip) in self.chips

    def tuned(self) -> "EnergyCalibration":
        """Give the floor: what is left when software adds no launches, no bookkeeping and no waiting."""
        chips = {name: _hardware(each) for name, each in self.chips.items()}
        return replace(self, chips=chips, shared=_hardware(self.shared), low=self.floor_low, high=self.floor_high)


@dataclass(frozen=True, slots=True)
class Site:
    """Hold what stands around the chips.

    `host_w` is what the rest of the server draws for each chip whatever the chips do, `fans` the share of the chips'
    power that moves air, `supply` the efficiency of the power supplies, `pue` the building's power over the servers'.
    `cap_w` is a limit set on each chip, below its own.
    """

    host_w: float = 150.0
    fans: float = 0.08
    supply: float = 0.94
    pue: float = 1.0
    cap_w: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1 <= self.pue < math.inf:
            raise ConfigError(f"pue is {self.pue!r}; give {_PUE}")
        if not 0 < self.supply <= 1:
            raise ConfigError(f"supply is {self.supply!r}; give the efficiency as a share, such as 0.94")
        if not (self.host_w >= 0 and self.fans >= 0):
            raise ConfigError(f"host_w is {self.host_w!r} and fans {self.fans!r}; neither can be below 0")

    def at_wall(self, chips_w: float, chips: int) -> float:
        """Give what the meter of the building shows while `chips` chips draw `chips_w` together."""
        return self.pue * (chips_w * (1 + self.fans) + self.host_w * chips) / self.supply


@dataclass(frozen=True, slots=True)
class Energy:
    """Hold the joules of one step of a replica, by where they go.

    `seconds` is how long it takes, which a cap may have stretched. `idle_j` the chips would have drawn doing nothing,
    `dynamic_j` is their work. `host_j` is the rest of the server, `losses_j` fans and supplies, `building_j` cooling
    and losses beyond. `prompt_share` is the part of all of it that reading prompts caused. `decode_tokens` is one for
    each sequence that writes; where tokens are drafted, divide by those accepted in a step. `low` and `high` are
    factors: 90 % of what was measured lies between them. `extrapolates` says where the calibration ends.
    """

    seconds: float
    idle_j: float
    dynamic_j: float
    host_j: float
    losses_j: float
    building_j: float
    prompt_share: float
    decode_tokens: float
    prefill_tokens: float
    low: float
    high: float
    extrapolates: tuple[str, ...] = ()

    @property
    def chips_j(self) -> float:
        """Give what the chips took."""
        return self.idle_j + self.dynamic_j

    @property
    def total_j(self) -> float:
        """Give what the meter of the building shows."""
        return self.chips_j + self.host_j + self.losses_j + self.building_j

    @property
    def energy_j_per_token(self) -> float:
        """Give the joules of the step for each token that came out of it. Raises `ConfigError` where none did."""
        return _per(self.total_j, self.decode_tokens, "decodes")

    @property
    def energy_j_per_decode_token(self) -> float:
        """Give the joules a token that is written takes, prompts read beside it left out."""
        return _per(self.total_j * (1 - self.prompt_share), self.decode_tokens, "decodes")

    @property
    def energy_j_per_prefill_token(self) -> float:
        """Give the joules a token that is read takes."""
        return _per(self.total_j * self.prompt_share, self.prefill_tokens, "prefill")

    def request_j(self, input_tokens: float, output_tokens: float) -> float:
        """Give the joules of a request whose tokens are read and written in steps like this one."""
        read = self.energy_j_per_prefill_token * input_tokens if input_tokens else 0.0
        return read + (self.energy_j_per_decode_token * output_tokens if output_tokens else 0.0)


def chip_j(deployment: Deployment, batch: Batch, calibration: EnergyCalibration) -> float:
    """Predict the joules one chip takes for a step, without a cap: its work or a second of doing nothing, as it is."""
    demand = demand_of(deployment, batch, calibration.skew)
    scaled = _in_formats(demand, deployment, calibration)
    coefficients = astuple(calibration.coefficients(deployment.chip.name))
    limits_s = sum(each * share for each, share in zip(astuple(scaled), coefficients, strict=True))
    return deployment.chip.power_limit_w * limits_s


def energy(
    deployment: Deployment, batch: Batch, seconds: float, calibration: EnergyCalibration, site: Site | None = None
) -> Energy:
    """Predict the energy of one step that takes `seconds` where nothing caps the chips' power.

    Joules are conserved: shares of prompts and of new tokens add up to power x time. Chips never draw less than idle
    power, nor more than their limit or cap: work that needs more is stretched until it does not. Stretched work takes
    its dynamic joules and more idle ones; that slower clocks also need a lower voltage is not counted.
    Raises `ConfigError` for a cap that leaves nothing above idle power, and for seconds that are not above 0.
    """
    if not seconds > 0:
        raise ConfigError(f"seconds is {seconds!r}; give how long the step takes, above 0")
    site = site or Site()
    chip, chips = deployment.chip, deployment.chips
    work_j = chip_j(deployment, batch, calibration)
    dynamic_j = max(0.0, work_j - chip.power_idle_w * seconds)
    stretched_s = max(seconds, dynamic_j / (_cap(deployment, site) - chip.power_idle_w))
    chips_j = chips * (chip.power_idle_w * stretched_s + dynamic_j)
    host_j = chips * site.host_w * stretched_s
    losses_j = (chips_j * (1 + site.fans) + host_j) / site.supply - chips_j - host_j
    wider = 0.0 if calibration.knows(chip.name) else calibration.elsewhere
    return Energy(
        seconds=stretched_s,
        idle_j=chips * chip.power_idle_w * stretched_s,
        dynamic_j=chips * dynamic_j,
        host_j=host_j,
        losses_j=losses_j,
        building_j=(site.pue - 1) * (chips_j + host_j + losses_j),
        prompt_share=_prompt_share(deployment, batch, calibration, work_j),
        decode_tokens=batch.decodes,
        prefill_tokens=batch.prefill,
        low=math.exp(calibration.low - wider),
        high=math.exp(calibration.high + wider),
        extrapolates=_beyond(deployment, batch, calibration),
    )


def _prompt_share(deployment: Deployment, batch: Batch, calibration: EnergyCalibration, work_j: float) -> float:
    """Give the share of a chip's joules that reading prompts adds to what the new tokens would take alone."""
    if not batch.prefill:
        return 0.0
    if not batch.decodes:
        return 1.0
    alone = Batch(batch.decodes, batch.context, draft=batch.draft)
    return max(0.0, 1 - chip_j(deployment, alone, calibration) / work_j)


def idle_w(deployment: Deployment, site: Site | None = None) -> float:
    """Give what the meter of the building shows while a replica waits for work."""
    return (site or Site()).at_wall(deployment.chips * deployment.chip.power_idle_w, deployment.chips)


def _hardware(coefficients: Demand) -> Demand:
    return replace(coefficients, layers=0.0, sequences=0.0, waiting_s=0.0)


def _per(joules: float, tokens: float, field: str) -> float:
    if not tokens:
        raise ConfigError(f"{field} of the batch is 0, so there are no joules for each; give the tokens of the step")
    return joules / tokens


def _cap(deployment: Deployment, site: Site) -> float:
    chip = deployment.chip
    cap_w = min(chip.power_limit_w, site.cap_w if site.cap_w is not None else math.inf)
    if cap_w <= chip.power_idle_w:
        raise ConfigError(f"cap_w is {cap_w} W; {chip.name} draws {chip.power_idle_w} W idle, so set it above that")
    return cap_w


def _in_formats(demand: Demand, deployment: Deployment, calibration: EnergyCalibration) -> Demand:
    # A model published with a scale for each block is served so, though fp8 is all a deployment says.
    blocks = deployment.shape.blocks and deployment.weights == "fp8"
    flops = calibration.flops_by_format.get(deployment.compute, 1.0)
    experts = calibration.expert_bytes_by_format.get("fp8_block" if blocks else deployment.weights, 1.0)
    scale = {"linear_flops_s": flops, "expert_flops_s": flops, "expert_bytes_s": experts}
    return Demand(*(getattr(demand, each.name) * scale.get(each.name, 1.0) for each in fields(Demand)))


def _beyond(deployment: Deployment, batch: Batch, calibration: EnergyCalibration) -> tuple[str, ...]:
    """Name what of a step lies outside the calibration."""
    per_chip = batch.decodes / deployment.chips
    least, most = calibration.batch_range
    shortest, longest = calibration.context_range
    experts = any(isinstance(layer.feed, Experts) for layer in deployment.shape.layers)
    known = calibration.expert_bytes_by_format if experts else calibration.flops_by_format
    found = {
        f"chip {deployment.chip.name}": not calibration.knows(deployment.chip.name),
        f"engine {deployment.engine}": deployment.engine != calibration.engine,
        f"weights {deployment.weights}": deployment.weights not in known,
        f"batch of {per_chip:.3g} a chip": bool(batch.decodes) and not least <= per_chip <= most,
        f"context of {batch.context:.0f}": bool(batch.decodes) and not shortest <= batch.context <= longest,
        "no new tokens": not batch.decodes,
        "drafted tokens": batch.draft > 0,
    }
    return tuple(what for what, beyond in found.items() if beyond)
