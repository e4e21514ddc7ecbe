"""Learn from the usage a provider reports how many tokens its vocabulary makes of a text, and how sure that is.

Tokens are a weighted sum of what a text is made of (`features`). The weights of one model are those that fit its last
calls best, held near what published vocabularies have: ridge regression, each call weighed by how far its count can be
off. Calls that fit badly, because more was in them than their text, weigh less and less (Huber's weights). The error
told is the one that nine of ten calls keep when each is estimated by the others alone: the conformal quantile of the
leave-one-out errors. The state is the last calls' counts, so it is bounded, holds no text, and forgets.
"""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import median
from typing import Final

import msgspec

from bursar.tokens.features import FEATURES, NOT_TOKENS, PLACES, Counts

CALLS_MAX: Final = 400
"""The calls a model's estimate is learned from: its last."""

UNCALIBRATED_ERROR_PCT: Final = 28.0
"""What nine of ten texts keep on a vocabulary nothing is known of (`python -m bench.tokens --choose`)."""

_COVERED: Final = 0.9
_PRIOR_SD: Final = 1.0  # of a weight, in tokens; chosen by cross-validation on vocabularies other than Mistral's
_FRAME_SD: Final = 8.0  # of what a chat template adds
_NOISE: Final = 1.0  # variance of a count, in tokens for each token
_NOISE_SQUARED: Final = 0.0005  # and in tokens² for each token²: what is the same share of any size
_ROUNDS: Final = 4
_SCALE_MIN: Final = 0.01
_HUBER: Final = 2.0

_PRIOR: Final = tuple(0.0 if name in NOT_TOKENS else 1.0 for name in FEATURES)
_FRAME: Final = (PLACES["call"], PLACES["texts"])

_Matrix = list[list[float]]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """Hold what one call's texts were made of and the input tokens its provider reported."""

    counts: Counts
    tokens: int


class Estimate(msgspec.Struct, frozen=True):
    """Hold an estimate, learned from so many `calls`: nine of ten such texts are within `error_pct` of it."""

    tokens: int
    error_pct: float
    calls: int


class Meter(msgspec.Struct, frozen=True):
    """Estimate the tokens of one model."""

    weights: tuple[float, ...] = _PRIOR
    error_pct: float = UNCALIBRATED_ERROR_PCT
    calls: int = 0

    def estimate(self, counts: Counts) -> Estimate:
        """Estimate the tokens of a text, or of a call with its frame."""
        found = sum(weight * count for weight, count in zip(self.weights, counts, strict=True))
        return Estimate(max(1 if any(counts) else 0, round(found)), round(self.error_pct, 1), self.calls)


UNCALIBRATED: Final = Meter()


def learn(samples: Sequence[Sample]) -> Meter:
    """Learn a model's meter from its last calls, oldest first; the same calls give the same meter.

    Samples of another set of features, or without tokens, teach nothing.
    """
    known = [each for each in samples if len(each.counts) == len(FEATURES) and each.tokens > 0][-CALLS_MAX:]
    if not known:
        return UNCALIBRATED
    trust = [1.0] * len(known)
    weights, errors = _PRIOR, [0.0]
    for _ in range(_ROUNDS):
        weights, errors = _fit(known, trust)
        scale = max(_SCALE_MIN, 1.4826 * median(abs(error) for error in errors))
        trust = [min(1.0, _HUBER * scale / abs(error)) if error else 1.0 for error in errors]
    return Meter(tuple(weights), _covered_pct(errors), len(known))


def _covered_pct(errors: Sequence[float]) -> float:
    """Return the error that nine of ten keep; with too few to tell, what is kept without any."""
    place = ceil((len(errors) + 1) * _COVERED)
    if place > len(errors):
        return UNCALIBRATED_ERROR_PCT
    return 100 * sorted(abs(error) for error in errors)[place - 1]


def _fit(samples: Sequence[Sample], trust: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the weights that fit, and each sample's share by which the fit of all others misses it."""
    size = len(FEATURES)
    normal = [[0.0] * size for _ in range(size)]
    aim = [0.0] * size
    sparse = [[(place, float(count)) for place, count in enumerate(each.counts) if count] for each in samples]
    left = [
        each.tokens - sum(_PRIOR[place] * count for place, count in row)
        for each, row in zip(samples, sparse, strict=True)
    ]
    weighing = [
        share / (_NOISE * each.tokens + _NOISE_SQUARED * each.tokens**2)
        for each, share in zip(samples, trust, strict=True)
    ]
    for row, missing, weigh in zip(sparse, left, weighing, strict=True):
        for place, count in row:
            aim[place] += weigh * count * missing
            line, factor = normal[place], weigh * count
            for other, more in row:
                line[other] += factor * more
    for place in range(size):
        normal[place][place] += 1 / (_FRAME_SD if place in _FRAME else _PRIOR_SD) ** 2
    lower = _cholesky(normal)
    change = _backward(lower, _forward(lower, aim))
    errors: list[float] = []
    for each, row, missing, weigh in zip(samples, sparse, left, weighing, strict=True):
        dense = [0.0] * size
        for place, count in row:
            dense[place] = count
        own = weigh * sum(value * value for value in _forward(lower, dense))  # how far the fit follows this sample
        fitted = sum(change[place] * count for place, count in row)
        errors.append((missing - fitted) / (1 - own) / each.tokens)
    return [before + more for before, more in zip(_PRIOR, change, strict=True)], errors


def _cholesky(matrix: _Matrix) -> _Matrix:
    """Return the lower triangle whose square a positive matrix is."""
    size = len(matrix)
    lower = [[0.0] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            above = sum(map(float.__mul__, lower[row][:column], lower[column][:column]))
            rest = matrix[row][column] - above
            lower[row][column] = sqrt(rest) if row == column else rest / lower[column][column]
    return lower


def _forward(lower: _Matrix, aim: Sequence[float]) -> list[float]:
    """Solve for what the lower triangle turns into the aim."""
    found: list[float] = []
    for row, value in zip(lower, aim, strict=True):
        above = sum(map(float.__mul__, row[: len(found)], found))
        found.append((value - above) / row[len(found)])
    return found


def _backward(lower: _Matrix, aim: Sequence[float]) -> list[float]:
    """Solve for what the triangle, turned over, turns into the aim."""
    size = len(lower)
    found = [0.0] * size
    for row in range(size - 1, -1, -1):
        below = sum(lower[other][row] * found[other] for other in range(row + 1, size))
        found[row] = (aim[row] - below) / lower[row][row]
    return found
