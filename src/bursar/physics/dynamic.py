"""Price by load and by effort: published functions, exact in integers.

By load, the factor is 1 at the reference utilisation, falls to `least` on an idle machine and rises to `most` on a full
one, along u ** 2 below the reference and ((u - reference) / (1 - reference)) ** 2 above it:

    below:  least + (1 - least) * (u / reference) ** 2
    above:  1 + (most - 1) * ((u - reference) / (1 - reference)) ** 2

It never falls as utilisation rises and never leaves its bounds. It is flat where a machine is idle, since one more
request costs little there, and steep where it is full, since one more makes all others wait.
"""

from dataclasses import dataclass

from bursar.core.errors import ConfigError
from bursar.core.money import Money, div_half_even
from bursar.physics.floor import Plan, floor
from bursar.prices.units import MILLION


@dataclass(frozen=True, slots=True)
class Curve:
    """Hold the bounds of a price that moves with load, all in parts per million.

    The bounds are about what DeepSeek asked by the hour in 2025: half of the day's price at night.
    """

    reference_ppm: int = 600_000
    least_ppm: int = 500_000
    most_ppm: int = 2_000_000

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 < self.reference_ppm < MILLION:
            raise ConfigError(f"reference_ppm is {self.reference_ppm}; it lies between 0 and {MILLION}")
        if not 0 <= self.least_ppm <= MILLION <= self.most_ppm:
            raise ConfigError(
                f"least_ppm is {self.least_ppm} and most_ppm {self.most_ppm}; {MILLION} lies between them, and 0 below"
            )


def factor_ppm(utilisation_ppm: int, curve: Curve) -> int:
    """Give the factor at a utilisation, both in parts per million, rounded half-even once."""
    if not 0 <= utilisation_ppm <= MILLION:
        raise ConfigError(f"utilisation_ppm is {utilisation_ppm}; it lies between 0 and {MILLION}")
    reference = curve.reference_ppm
    if utilisation_ppm <= reference:
        rise = (MILLION - curve.least_ppm) * utilisation_ppm**2
        return curve.least_ppm + div_half_even(rise, reference**2)
    over, room = utilisation_ppm - reference, MILLION - reference
    return MILLION + div_half_even((curve.most_ppm - MILLION) * over**2, room**2)


def moved_nano(list_nano: Money, utilisation_ppm: int, curve: Curve) -> Money:
    """Give a list price moved by load, rounded half-even once."""
    return div_half_even(list_nano * factor_ppm(utilisation_ppm, curve), MILLION)


def visible_nano(output_nano: Money, output_tokens: int, reasoning_tokens: int) -> Money:
    """Give what a million tokens that are seen cost, when the unseen ones of reasoning are paid by them."""
    if output_tokens < 1:
        raise ConfigError(f"output_tokens is {output_tokens}; an answer that is seen has at least 1")
    return div_half_even(output_nano * (output_tokens + reasoning_tokens), output_tokens)


def effort_ppm(plan: Plan, reference: Plan) -> int:
    """Give a model's effort for an output token against a reference's, in parts per million of its floor.

    A flat price times this is what the work says: of a mixture of experts the experts a step touches count, not all.
    """
    nano, against_nano = floor(plan).output.nano, floor(reference).output.nano
    return div_half_even(nano * MILLION, against_nano)
