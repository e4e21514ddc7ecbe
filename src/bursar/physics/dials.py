"""Turn the dials of a cost: how much each moves it, and what it would save at its best.

The elasticity is d ln cost / d ln dial at the working point, by central difference. The dollars available are the cost
now less the cost with that one dial at the better end of its feasible range, all others left; dials are ordered by it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError

STEP: Final = 1e-3
"""By what share a dial is turned each way for its elasticity."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Hold a dial: its value now, and the range within which it can be turned. `why` says where the range is from."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    why: str

    def __post_init__(self) -> None:
        """Refuse a range that is none, or that does not hold the value."""
        if not self.low < self.high:
            raise ConfigError(f"dial {self.name} has the range {self.low} to {self.high}; the first must be smaller")
        if not self.low <= self.value <= self.high:
            raise ConfigError(f"dial {self.name} is {self.value}; its range is {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Turn:
    """Hold what a dial does: elasticity, its best value, and the dollars that are available by turning it there."""

    dial: Dial
    elasticity: float
    best: float
    dollars: float


def board(dials: Sequence[Dial], dollars_at: Callable[[Mapping[str, float]], float]) -> tuple[Turn, ...]:
    """Turn each dial of a board; the one with the most dollars available comes first.

    `dollars_at` gives the cost at values by name, in any unit; the dollars available are in the same. Raises
    `ConfigError` where the cost is 0.
    """
    now = {dial.name: dial.value for dial in dials}
    cost_now = dollars_at(now)
    if not cost_now > 0:
        raise ConfigError("the cost is 0, so no dial moves it; give a rent, a purchase or a power price above 0")

    def turn(dial: Dial) -> Turn:
        ends = {value: dollars_at({**now, dial.name: value}) for value in (dial.low, dial.high, dial.value)}
        best = min(ends, key=lambda value: ends[value])
        return Turn(dial, _elasticity(dial, now, dollars_at), best, cost_now - ends[best])

    return tuple(sorted((turn(dial) for dial in dials), key=lambda each: -each.dollars))


def _elasticity(dial: Dial, now: Mapping[str, float], dollars_at: Callable[[Mapping[str, float]], float]) -> float:
    # A dial at 0 cannot be turned by a share of itself: d ln dial has no meaning there, and its share of cost is 0.
    if not dial.value:
        return 0.0
    # At an end of its range a dial is turned one way: past a full machine or a building without losses is nothing.
    up, down = min(dial.value * (1 + STEP), dial.high), max(dial.value * (1 - STEP), dial.low)
    rise = math.log(dollars_at({**now, dial.name: up})) - math.log(dollars_at({**now, dial.name: down}))
    return rise / (math.log(up) - math.log(down))
