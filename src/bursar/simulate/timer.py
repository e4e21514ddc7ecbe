"""Say how long a step takes, in the two forms that the engine asks for."""

from dataclasses import dataclass
from typing import Protocol

Line = tuple[float, float, float]
"""Seconds of a step without context, seconds more for each token of context, and up to which context that holds."""


class Timer(Protocol):
    """Time the steps of one replica."""

    def decode(self, decodes: int, context: int) -> Line:
        """Give the line on which steps of `decodes` sequences lie that hold `context` tokens in the cache together."""
        ...

    def mixed(self, decodes: int, context: int, prefill: int, chunks: int, past: float) -> float:
        """Give the seconds of a step that also reads `prefill` tokens of `chunks` prompts.

        `past` tokens lie before a chunk's own, on average over its tokens.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scaled:
    """Take another timer's times, all longer or shorter by a factor: the bounds of an interval."""

    timer: Timer
    factor: float

    def decode(self, decodes: int, context: int) -> Line:
        """Give the other's line, scaled."""
        base, slope, until = self.timer.decode(decodes, context)
        return base * self.factor, slope * self.factor, until

    def mixed(self, decodes: int, context: int, prefill: int, chunks: int, past: float) -> float:
        """Give the other's seconds, scaled."""
        return self.factor * self.timer.mixed(decodes, context, prefill, chunks, past)
