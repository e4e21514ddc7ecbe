"""Say what machine time costs: chips owned or rented, power, and the time nothing is done in.

What is published or billed is money: integers of nano-USD, named `_nano`. What physics makes of it is an estimate:
floats of dollars, named `dollars`. `nano_per_million` is where an estimate becomes a price, rounded up once, so that a
floor is never understated.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from bursar.core.errors import ConfigError
from bursar.core.money import NANO_PER_USD, Money

HOURS_PER_YEAR: Final = 8_760
JOULES_PER_KWH: Final = 3_600_000
LEAST_USE: Final = 0.001
"""The least share of bought time that is still a service; below it a price says nothing but that nobody came."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Hold what owning one chip takes, its share of the server with it.

    `capex_nano` is paid back over `life_years` at `interest` a year; `upkeep` is a share of it spent each year on
    repair, staff and space. Power is paid on top.
    """

    capex_nano: Money
    life_years: float = 5.0
    interest: float = 0.08
    upkeep: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _at_least("capex", self.capex_nano, 0, "USD a chip")
        _within("life_years", self.life_years, (0.01, 100), "years")
        _within("interest", self.interest, (0, 10), "a share a year, such as 0.08")
        _within("upkeep", self.upkeep, (0, 10), "a share of the purchase a year, such as 0.05")

    @property
    def dollars_per_hour(self) -> float:
        """Give what an hour costs, power apart."""
        yearly = capital_recovery(self.interest, self.life_years) + self.upkeep
        return dollars(self.capex_nano) * yearly / HOURS_PER_YEAR

    @property
    def pays_power(self) -> bool:
        """Say that power comes on top."""
        return True


@dataclass(frozen=True, slots=True)
class Rented:
    """Hold what renting one chip takes an hour; power is in it unless `pays_power` says that it comes on top."""

    nano_per_hour: Money
    pays_power: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _at_least("chip_usd_per_hour", self.nano_per_hour, 0, "USD an hour")

    @property
    def dollars_per_hour(self) -> float:
        """Give what an hour costs."""
        return dollars(self.nano_per_hour)


Holding = Owned | Rented


@dataclass(frozen=True, slots=True)
class Terms:
    """Hold the terms machine time is bought and used on.

    `power_nano_per_kwh` is paid for what the site draws: the machines' power times `pue`. `utilisation` is the share of
    bought time in which work is done at the working point; of the capacity `reserve` is kept free for peaks. `waste` is
    the share of work that is thrown away: answers nobody waits for, steps done again after a preemption.
    """

    holding: Holding
    power_nano_per_kwh: Money
    pue: float
    utilisation: float
    reserve: float = 0.0
    waste: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _at_least("power_usd_per_kwh", self.power_nano_per_kwh, 0, "USD a kWh")
        _within("pue", self.pue, (1, 10), "the site's power over the machines', such as 1.15")
        if not LEAST_USE <= self.utilisation <= 1:
            said = "it is a share above 0 and up to 1, such as 0.4"
            raise ConfigError(f"utilisation is {self.utilisation}; {said}; the least is {LEAST_USE}")
        _share("reserve", self.reserve)
        _share("waste", self.waste)

    @property
    def busy(self) -> float:
        """Give the share of bought time in which work is done."""
        return self.utilisation * (1 - self.reserve)

    def dollars_of_time(self, chips: int, seconds: float) -> float:
        """Give what `seconds` of work on `chips` cost, their share of idle time and of wasted work with them."""
        return self.holding.dollars_per_hour / 3_600 * chips * seconds / self.busy / (1 - self.waste)

    def dollars_of_power(self, joules: float, idle_w: float, seconds: float) -> float:
        """Give what power costs: `joules` of the machines at work for `seconds`, and `idle_w` while they wait."""
        if not self.holding.pays_power:
            return 0.0
        return self.site_joules(joules, idle_w, seconds) / JOULES_PER_KWH * dollars(self.power_nano_per_kwh)

    def site_joules(self, joules: float, idle_w: float, seconds: float) -> float:
        """Give the joules the site draws for work of `joules` and `seconds`: idle time, waste and cooling with it."""
        return (joules + idle_w * seconds * (1 / self.busy - 1)) * self.pue / (1 - self.waste)


def capital_recovery(interest: float, life_years: float) -> float:
    """Give the share of a purchase paid each year so that it is paid back with interest over its life.

    r / (1 - (1 + r) ** -n), and 1 / n without interest (the capital recovery factor of engineering economics).
    """
    return interest / -math.expm1(-life_years * math.log1p(interest)) if interest else 1 / life_years


def electricity(power_w: float, pue: float, hours: float, power_nano_per_kwh: Money) -> tuple[float, Money]:
    """Give the kWh a site draws for a machine of `power_w`, and what they cost, rounded half-even once."""
    kwh = power_w / 1_000 * pue * hours
    return kwh, round(Fraction(kwh) * power_nano_per_kwh)


def dollars(nano: Money) -> float:
    """Turn money into an estimate's unit."""
    return nano / NANO_PER_USD  # an estimate is a float


def nano_per_million(dollars_per_token: float) -> Money:
    """Turn an estimate into a price: nano-USD per million tokens, rounded up once."""
    return math.ceil(Fraction(dollars_per_token) * 1_000_000 * NANO_PER_USD)


def _at_least(name: str, value: float, least: float, kind: str) -> None:
    if not least <= value < math.inf:
        raise ConfigError(f"{name} is {value}; it must be at least {least} ({kind})")


def _within(name: str, value: float, ends: tuple[float, float], kind: str) -> None:
    least, most = ends
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value}; it must be at least {least} and at most {most} ({kind})")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1 - LEAST_USE:
        most = 1 - LEAST_USE
        raise ConfigError(
            f"{name} is {value}; it is a share of at least 0 and below 1, such as 0.1; the most is {most}"
        )
