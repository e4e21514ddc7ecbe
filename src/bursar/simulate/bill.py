"""Say what a simulated fleet drew and cost: joules at the meter, dollars, and both for each token."""

from dataclasses import dataclass

from bursar.core.money import Money
from bursar.physics.calibration import Calibration
from bursar.physics.cost import JOULES_PER_KWH, dollars, nano_per_million
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.energy import EnergyCalibration, Site, energy, idle_w
from bursar.physics.step import step
from bursar.simulate.report import Report


@dataclass(frozen=True, slots=True)
class Bill:
    """Hold what the fleet drew and cost from the first arrival to the last answer, idle time included.

    A token is one that a request brought or got: what is read again, or found in the cache, changes none of them.
    Without a token of output there is no figure for one. `energy_low_kwh` and `energy_high_kwh` bound the 90 % interval
    of what work took, with idle power as it is.
    """

    energy_kwh: float
    energy_low_kwh: float
    energy_high_kwh: float
    energy_j_per_output_token: float | None
    chip_hours: float
    dollars: float
    million_tokens_nano: Money
    million_output_tokens_nano: Money | None


@dataclass(frozen=True, slots=True)
class Rate:
    """Hold what a chip-hour costs, power in it, and what stands around the chips."""

    hour_nano: Money
    site: Site


def bill(found: Report, replicas: int, deployment: Deployment, calibration: EnergyCalibration, rate: Rate) -> Bill:
    """Price a run: every chip is paid for all the time; a step's energy is that of the mean step."""
    work = found.work
    output = found.output_tokens
    taken = energy(deployment, mean_step(found), work.busy_s / work.steps, calibration, rate.site)
    busy_j = taken.total_j * work.steps
    waiting_j = idle_w(deployment, rate.site) * max(replicas * found.seconds - work.busy_s, 0.0)
    chip_hours = replicas * deployment.chips * found.seconds / 3600
    paid = chip_hours * dollars(rate.hour_nano)
    return Bill(
        energy_kwh=(busy_j + waiting_j) / JOULES_PER_KWH,
        energy_low_kwh=(busy_j * taken.low + waiting_j) / JOULES_PER_KWH,
        energy_high_kwh=(busy_j * taken.high + waiting_j) / JOULES_PER_KWH,
        energy_j_per_output_token=(busy_j + waiting_j) / output if output else None,
        chip_hours=chip_hours,
        dollars=paid,
        million_tokens_nano=nano_per_million(paid / (found.input_tokens + output)),
        million_output_tokens_nano=nano_per_million(paid / output) if output else None,
    )


def mean_step(found: Report) -> Batch:
    """Give the batch of the mean step of a run."""
    work = found.work
    return Batch(
        decodes=work.decode_tokens / work.steps,
        context=work.context_tokens / max(work.decode_tokens, 1),
        prefill=work.prefill_tokens / work.steps,
        chunks=found.requests / work.steps,
        past=max(work.prefill_pairs / work.prefill_tokens - work.prefill_tokens / found.requests / 2, 0.0),
    )


def extrapolates(
    found: Report, deployment: Deployment, times: Calibration, joules: EnergyCalibration
) -> tuple[str, ...]:
    """Say where the mean step of a run lies outside of what times and energy were fitted on."""
    mean = mean_step(found)
    timed = step(deployment, mean, times).extrapolates
    drawn = energy(deployment, mean, found.work.busy_s / found.work.steps, joules).extrapolates
    return (*(f"time: {each}" for each in timed), *(f"energy: {each}" for each in drawn))
