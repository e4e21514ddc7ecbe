"""Say how long a step takes, in the two forms that the engine asks for."""

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
