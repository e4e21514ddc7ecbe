"""Say what stands between a text and a choice: who expects how good each model's answer will be."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from bursar.savings.route.choice import Asked, Option, Target
from bursar.savings.route.policy import Policy


class Exchange(msgspec.Struct, frozen=True):
    """Say how much quality a dollar must buy for a dearer model to be taken, and what that keeps.

    `promised` tells whether the target is kept with the stated confidence on the labels it was set on, and `why` says
    what is known of that. `quality` is the share of good answers it delivered there.
    """

    per_dollar: float
    promised: bool
    why: str
    quality: float | None = None


class Predictor(Protocol):
    """Expect how good answers will be. Whoever keeps coefficients or labels stands behind it."""

    def chances(self, asked: Asked, options: Sequence[Option]) -> tuple[float, ...]:
        """Return for each option the chance that its answer is good enough."""
        ...

    def exchange(self, options: Sequence[Option], target: Target) -> Exchange:
        """Return what a dollar must buy so that the target is kept at the options' prices."""
        ...

    def knows(self, models: Sequence[str]) -> tuple[str, ...]:
        """Name those of the models that it was not taught and cannot place."""
        ...


class Teaching(Protocol):
    """Hold what was learned, and say it of any models: loaded once, used by many routes."""

    def predictor(self, policy: Policy, options: Sequence[Option]) -> Predictor:
        """Return what is expected of a policy's models."""
        ...

    def look_ahead(self, text: str) -> None:
        """Do beforehand what takes long of a text, wherever there is time for it."""
        ...


Corrections = Mapping[str, tuple[float, float]]
"""By model: what to add to the log-odds of a chance, and what to multiply them with first; from outcomes."""
