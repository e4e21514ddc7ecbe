"""Spread what training cost over the tokens a model serves, and say what training must cost."""

from typing import Final

from bursar.core.errors import ConfigError
from bursar.core.money import Money, div_ceil
from bursar.physics.chip import Chip
from bursar.physics.shape import Shape
from bursar.prices.units import MILLION

FLOPS_PER_WEIGHT: Final = 6
"""Operations a token costs for each weight that works on it, forward and back (Kaplan et al., arXiv 2001.08361)."""
EFFICIENCY: Final = 0.4
"""Share of a chip's bf16 peak that large training runs reach: 0.38 to 0.43 for Llama 3.1 (arXiv 2407.21783)."""


def amortised_nano_per_million(training_nano: Money, tokens_served: int) -> Money:
    """Give what each million tokens served must carry of a training's cost, rounded up."""
    if tokens_served < 1:
        raise ConfigError(f"tokens_served is {tokens_served}; it is how many tokens a model serves in its life")
    return div_ceil(training_nano * MILLION, tokens_served)


def training_chip_hours(shape: Shape, tokens: float, chip: Chip, efficiency: float = EFFICIENCY) -> float:
    """Give the chip-hours of training a model on `tokens`; attention over the context is left out, below 10 %."""
    if not 0 < efficiency <= 1:
        raise ConfigError(f"efficiency is {efficiency}; it is a share above 0 and up to 1, such as 0.4")
    flops = FLOPS_PER_WEIGHT * shape.active_weights * tokens
    return flops / (chip.flops_per_s["bf16"] * efficiency) / 3_600
