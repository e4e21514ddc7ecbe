"""Say what a route may wish for before it decides: a side question to a model, or an attempt at the call itself."""

from collections.abc import Generator
from typing import TypeAlias

import msgspec

from bursar.savings.route.choice import Choice, Nobody


class Ask(msgspec.Struct, frozen=True):
    """Wish for a model's answer to a question of the route's own, charged to the call."""

    model: str
    prompt: str
    output_cap: int


class Attempt(msgspec.Struct, frozen=True):
    """Wish for a model's answer to the call itself. Nothing of it may reach the client before it is kept."""

    model: str


class Answer(msgspec.Struct, frozen=True):
    """Hold what came of a wish. `logprob` is the mean of its tokens' log-probabilities, None where none were given."""

    text: str
    cut_off: bool = False  # it ended at its cap
    calls_tools: bool = False
    logprob: float | None = None


Wish: TypeAlias = Ask | Attempt
Flow: TypeAlias = Generator[Wish, Answer | None, Choice | Nobody]
"""Send None where a wish failed: no answer, no money for it, no time."""
