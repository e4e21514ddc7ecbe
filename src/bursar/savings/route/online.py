"""Learn from outcomes while calls go on: correct what is expected of each model, and raise an alarm when it drifts.

All is a fold over events that carry figures alone: what was expected, of which model, and how it came out. A correction
is a shift and a slope on the log-odds of a chance, kept as a normal distribution around none at all and held within
bounds; an event moves it as a step of logistic regression would (Laplace's approximation).
"""

from collections.abc import Iterable
from math import exp, log
from typing import Final, TypeAlias

import msgspec

from bursar.savings.route.choose import corrected
from bursar.savings.route.predictor import Corrections

SHIFT_MAX: Final = 2.0
SLOPE_MIN: Final = 0.5
SLOPE_MAX: Final = 2.0
PRIOR: Final = (0.25, 0.04)
"""Variances of shift and slope before anything is known: a shift of half, a slope a fifth off are ordinary."""
VARIANCE_MIN: Final = (0.002, 0.002)
"""What certainty is bounded by, so that what changes slowly is followed."""
EVENTS_MIN: Final = 20
"""Fewer outcomes of a model than this correct nothing."""

SLACK: Final = 0.25
"""Standard deviations of an outcome that a mean may be off unnoticed."""
ALARM_AT: Final = 16.0
"""Where a sum of deviations raises the alarm. A model as expected raises one in some 10,000 to 20,000 outcomes: 61 in a
million simulated (docs/internals/lab.md). It watches the corrected chances, which soon hide what was off at first."""
START_CHECKS: Final = (50, 100, 200, 400)
"""Outcomes of a model after which the chances of the router alone are held against what came, each once."""
START_SLACK: Final = 0.05
"""Share of good answers that these may be off unnoticed: of models chosen for their chances a little less is good."""
START_AT: Final = 3.0
"""Standard deviations beyond the slack from where on a router is taken to be wrong from the start. It says so of one in
6,000 models that are as expected: 84 in 500,000 simulated (docs/internals/lab.md)."""
_CHANCE_MIN: Final = 0.05

_Variances: TypeAlias = tuple[float, float, float]


class Outcome(msgspec.Struct, frozen=True):
    """Hold how a call came out: the chance its model was given by the router alone, and how good the answer was."""

    model: str
    chance: float
    good: float  # 0 to 1
    bucket: str = ""  # a tag's value or whatever else calls are told apart by


class Learned(msgspec.Struct, frozen=True):
    """Hold what outcomes have taught about a model: the correction, how sure it is, and the sums of both alarms.

    `missed` is by how many more answers were good than the router alone expected, `spread` the variance of that number,
    both until the last check of the start; one check that fails ends it.
    """

    events: int = 0
    shift: float = 0.0
    slope: float = 1.0
    variances: _Variances = (PRIOR[0], PRIOR[1], 0.0)  # of shift, of slope, of both
    above: float = 0.0
    below: float = 0.0
    missed: float = 0.0
    spread: float = 0.0
    off_from_start: bool = False
    alarms: int = 0


class State(msgspec.Struct, frozen=True):
    """Hold what was learned, by `bucket`, a line feed and `model`; `model` alone is over all buckets."""

    learned: dict[str, Learned] = {}

    def corrections(self, bucket: str = "") -> Corrections:
        """Return the corrections for calls of a bucket; where it knows little of a model, those over all."""
        found = {name: each for name, each in self.learned.items() if each.events >= EVENTS_MIN}
        general = {name: (each.shift, each.slope) for name, each in found.items() if "\n" not in name}
        if not bucket:
            return general
        own = {
            name.partition("\n")[2]: (each.shift, each.slope)
            for name, each in found.items()
            if name.startswith(f"{bucket}\n")
        }
        return general | own

    def alarmed(self) -> tuple[str, ...]:
        """Name the models whose answers came out otherwise than expected, for long enough that it is no chance."""
        return tuple(name for name, each in self.learned.items() if each.alarms and "\n" not in name)


def learn(state: State, outcomes: Iterable[Outcome]) -> State:
    """Return the state after outcomes, in their order."""
    learned = dict(state.learned)
    for outcome in outcomes:
        for key in dict.fromkeys((outcome.model, f"{outcome.bucket}\n{outcome.model}" if outcome.bucket else "")):
            if key:
                learned[key] = after(learned.get(key, Learned()), outcome)
    return State(learned)


def after(before: Learned, outcome: Outcome) -> Learned:
    """Return what is known of a model after one more outcome."""
    good = min(max(outcome.good, 0.0), 1.0)
    held = min(max(outcome.chance, 0.01), 0.99)
    odds = log(held / (1 - held))
    expected = 1 / (1 + exp(-(before.shift + before.slope * odds)))
    shift, slope, variances = _moved(before, odds, good - expected, expected * (1 - expected))
    above, below, alarms = _watched(before, good, expected)
    missed, spread, off = _started(before, good, held)
    return Learned(
        before.events + 1,
        shift,
        slope,
        variances,
        above,
        below,
        missed,
        spread,
        before.off_from_start or off,
        before.alarms + alarms + off,
    )


def recalibrated(state: State, model: str, chance: float, bucket: str = "") -> float:
    """Return a chance as outcomes have shown it to be."""
    return corrected(chance, model, state.corrections(bucket))


def _moved(before: Learned, odds: float, residual: float, weight: float) -> tuple[float, float, _Variances]:
    """Take one step of logistic regression with the certainty reached so far; return shift, slope and variances."""
    of_shift, of_slope, of_both = before.variances
    gain_shift, gain_slope = of_shift + of_both * odds, of_both + of_slope * odds
    spread = 1 + weight * (gain_shift + gain_slope * odds)
    shift = before.shift + gain_shift * residual / spread
    slope = before.slope + gain_slope * residual / spread
    share = weight / spread
    variances = (
        max(of_shift - share * gain_shift * gain_shift, VARIANCE_MIN[0]),
        max(of_slope - share * gain_slope * gain_slope, VARIANCE_MIN[1]),
        of_both - share * gain_shift * gain_slope,
    )
    # What bounds the variances must bound what they share, or they are no longer those of two numbers.
    most = 0.99 * (variances[0] * variances[1]) ** 0.5
    held = (variances[0], variances[1], min(max(variances[2], -most), most))
    return min(max(shift, -SHIFT_MAX), SHIFT_MAX), min(max(slope, SLOPE_MIN), SLOPE_MAX), held


def _watched(before: Learned, good: float, expected: float) -> tuple[float, float, int]:
    """Add an outcome to the two sums of the alarm (CUSUM); one that reaches the bound raises it and begins anew."""
    held = min(max(expected, _CHANCE_MIN), 1 - _CHANCE_MIN)
    deviation = (good - held) / (held * (1 - held)) ** 0.5
    above = max(0.0, before.above + deviation - SLACK)
    below = max(0.0, before.below - deviation - SLACK)
    if max(above, below) >= ALARM_AT:
        return 0.0, 0.0, 1
    return above, below, 0


def _started(before: Learned, good: float, chance: float) -> tuple[float, float, bool]:
    """Add an outcome to the sums of the start, and tell whether they show now that the router was wrong from it."""
    events = before.events + 1
    if before.off_from_start or events > START_CHECKS[-1]:
        return before.missed, before.spread, False
    missed, spread = before.missed + good - chance, before.spread + chance * (1 - chance)
    off = events in START_CHECKS and abs(missed) - START_SLACK * events > START_AT * spread**0.5
    return missed, spread, off
