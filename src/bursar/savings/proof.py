"""Prove what a lever saves: divide its calls into two arms, and compare what they cost and how good they were.

What is divided is a unit, an agent run or a conversation, never the single call: its calls build on one another. A
unit counts once, however many calls it has. What an arm claims to have saved is the difference between the two, with
the interval it lies in; where too few units are there to tell, that is said instead.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from statistics import NormalDist
from typing import Final

import msgspec

PPM: Final = 1_000_000

UNITS_MIN: Final = 30
"""Units an arm must have, however alike they are."""

MEAN_ERROR_MAX: Final = 0.15
"""The most an arm's mean may be in doubt (its standard error over itself): of a few very unlike values the mean is
mostly that of those which did not turn up, and an interval around it holds less often than it says."""

_NORMAL: Final = NormalDist()
_DEGREES_MIN: Final = 3.0  # of freedom; below, the series for Student's t is off by more than 2 %


class Arm(StrEnum):
    """Say what is done with a unit."""

    treatment = "treatment"  # the lever works
    holdout = "holdout"  # the lever leaves it as it is, for comparison


def unit_of(key_id: str, run: str, conversation: bytes) -> str:
    """Name what a call is a part of: its run, else its key's conversation (a digest of how that begins)."""
    return f"run {run}" if run else f"talk {key_id} {conversation.hex()}"


def unit_digest(unit: str) -> bytes:
    """Return what a record keeps of a unit."""
    return sha256(unit.encode(errors="surrogatepass")).digest()[:8]


def arm(lever: str, experiment: str, unit: str, holdout_ppm: int) -> Arm:
    """Return a unit's arm: always the same one, and of all units so many in a million are held out.

    Another lever, or another name of the experiment, divides the units anew. Only units of one experiment at one share
    are compared: others cost more or less for reasons of their own.
    """
    digest = sha256("\0".join((lever, experiment, unit)).encode(errors="surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") * PPM >> 64
    return Arm.holdout if place < holdout_ppm else Arm.treatment


def percent_text(share_ppm: int) -> str:
    """Write a share of hold-out: `10 %`."""
    return f"{share_ppm / PPM * 100:.10g} %"


class Sample(msgspec.Struct, frozen=True):
    """Hold what one arm's units came to: how many, their mean, and the variance between them."""

    units: int
    mean: float
    variance: float

    @property
    def error_squared(self) -> float:
        """Return the square of the mean's standard error."""
        return self.variance / self.units

    @property
    def units_needed(self) -> int:
        """Return how many units so unlike ones must be before their mean says something."""
        if self.units < UNITS_MIN or self.mean <= 0:
            return UNITS_MIN
        return max(UNITS_MIN, math.ceil(self.variance / (self.mean * MEAN_ERROR_MAX) ** 2))


class Interval(msgspec.Struct, frozen=True):
    """Hold an estimate and the bounds it lies between, with the confidence asked for."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Tell whether there is a difference, as far as can be told."""
        return self.low > 0 or self.high < 0


class Difference(msgspec.Struct, frozen=True):
    """Hold what treatment has less than hold-out; `share` is that of the hold-out's mean, where it can be told."""

    less: Interval
    share: Interval | None


class TooFew(msgspec.Struct, frozen=True):
    """Say that nothing can be told yet: how many units there are, and about how many each arm needs."""

    treatment_units: int
    holdout_units: int
    treatment_needed: int
    holdout_needed: int


def sample_of(values: Iterable[float]) -> Sample:
    """Return the sample of one arm's values, one for each unit."""
    found = list(values)
    units = len(found)
    if units == 0:
        return Sample(0, 0.0, 0.0)
    mean = math.fsum(found) / units
    variance = math.fsum((value - mean) ** 2 for value in found) / (units - 1) if units > 1 else 0.0
    return Sample(units, mean, variance)


def difference(treatment: Sample, holdout: Sample, confidence: float = 0.95) -> Difference | TooFew:
    """Compare two arms.

    The difference of the means is Welch's (1947), their ratio Fieller's (1954), both with Student's t. Of the intervals
    of 95 % for lognormal costs with a logarithmic standard deviation of 1, nine units in treatment for one held out,
    91 to 94 in 100 hold; the more units, the more.
    Raises `ValueError` for a confidence that is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}")
    needed = treatment.units_needed, holdout.units_needed
    if treatment.units < needed[0] or holdout.units < needed[1]:
        return TooFew(treatment.units, holdout.units, *needed)
    reach = students_t((1.0 + confidence) / 2.0, _degrees(treatment, holdout))
    less, margin = holdout.mean - treatment.mean, reach * math.sqrt(treatment.error_squared + holdout.error_squared)
    return Difference(Interval(less, less - margin, less + margin), _share_less(treatment, holdout, reach))


def students_t(probability: float, degrees: float) -> float:
    """Return a quantile of Student's t.

    Source: Abramowitz and Stegun 26.7.5, four terms; within 0.1 % from 10 degrees on, 2 % from 3 on for the usual
    confidences.
    """
    z, v = _NORMAL.inv_cdf(probability), max(degrees, _DEGREES_MIN)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160
    return z + first / v + second / v**2 + third / v**3 + fourth / v**4


def _degrees(treatment: Sample, holdout: Sample) -> float:
    """Return Welch's degrees of freedom; without any variance no interval has a width, and any will do."""
    mine, theirs = treatment.error_squared, holdout.error_squared
    spread = mine**2 / (treatment.units - 1) + theirs**2 / (holdout.units - 1)
    return (mine + theirs) ** 2 / spread if spread > 0 else math.inf


def _share_less(treatment: Sample, holdout: Sample, reach: float) -> Interval | None:
    """Return how much less treatment has as a share of the hold-out's mean; None where that may be 0 or below.

    The bounds of the ratio are the roots of (treatment - ratio x holdout)^2 = reach^2 (error of their difference)^2.
    """
    above = holdout.mean**2 - reach**2 * holdout.error_squared
    if holdout.mean <= 0 or above <= 0:
        return None
    middle = treatment.mean * holdout.mean
    below = treatment.mean**2 - reach**2 * treatment.error_squared
    root = math.sqrt(max(0.0, middle**2 - above * below))
    value = 1.0 - treatment.mean / holdout.mean
    return Interval(value, 1.0 - (middle + root) / above, 1.0 - (middle - root) / above)
