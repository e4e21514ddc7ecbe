"""Say what a chip draws at a level of use, and how long work takes when it may not draw that much."""

from dataclasses import dataclass

from bursar.core.errors import ConfigError
from bursar.physics.chip import Chip


@dataclass(frozen=True, slots=True)
class PowerCalibration:
    """Hold how power follows use: idle + (limit - idle) x min(1, base + memory x share + compute x share).

    `base` is what being awake takes. `error` is half the width of the 90 % interval of ln(measured / predicted) on
    model families that were left out.
    """

    base: float
    memory: float
    compute: float
    error: float
    source: str


@dataclass(frozen=True, slots=True)
class Power:
    """Hold what one chip draws, and by how much its work is stretched: 1 where nothing holds it back."""

    watts: float
    low_w: float
    high_w: float
    stretch: float


def power(
    chip: Chip, memory: float, compute: float, calibration: PowerCalibration, cap_w: float | None = None
) -> Power:
    """Predict the power of a chip that reaches these shares of its peak memory traffic and arithmetic.

    A cap below what the work would draw slows it: idle power runs on for longer, the work's own joules stay. Raises
    `ConfigError` for shares outside 0 to 1 and for a cap that leaves nothing above idle power.
    """
    for name, share in (("memory", memory), ("compute", compute)):
        if not 0 <= share <= 1:
            raise ConfigError(f"{name} is {share!r}; give the share of the chip's peak, from 0 to 1")
    limit = chip.power_limit_w if cap_w is None else min(cap_w, chip.power_limit_w)
    if limit <= chip.power_idle_w:
        raise ConfigError(f"cap_w is {limit} W; {chip.name} draws {chip.power_idle_w} W idle, so set it above that")
    busy = memory > 0 or compute > 0
    above = calibration.base + calibration.memory * memory + calibration.compute * compute if busy else 0.0
    wanted = (chip.power_limit_w - chip.power_idle_w) * above
    allowed = limit - chip.power_idle_w
    watts = chip.power_idle_w + min(wanted, allowed)
    spread = 1 + calibration.error if busy else 1.0
    low = max(chip.power_idle_w, watts / spread)
    return Power(watts, low, min(limit, watts * spread), max(1.0, wanted / allowed))
