"""Grow trees that tell how models differ: each asks one question a level, so that asking takes a few steps."""

from math import ceil
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]
_Bits: TypeAlias = npt.NDArray[np.float32]

TREES: Final = 100
DEPTH: Final = 3
RATE: Final = 0.04
PENALTY: Final = 20.0
"""Rows' worth of doubt in each leaf."""
ROWS: Final = 0.5
QUESTIONS: Final = 0.3
"""Shares of rows and of questions that a tree is grown with, drawn anew for each."""
CUTS: Final = 12
LEAVES: Final = 1 << DEPTH
_STEPS: Final = tuple(1 << level for level in reversed(range(DEPTH)))
"""What the answers of a tree's levels add to the number of the leaf."""
_PART: Final = 1_000
"""Rows that are asked at once, so that their answers fit in memory."""


class Trees(msgspec.Struct, frozen=True):
    """Hold trees: column and threshold of each question, (trees, depth), and values, (trees, leaves, models)."""

    columns: Places
    thresholds: Floats
    values: Floats

    def differences(self, rows: Floats) -> Floats:
        """Return how far each model is from the mean of all, (rows, models)."""
        flat, starts = self.values.reshape(-1, self.values.shape[2]), np.arange(len(self.columns)) * LEAVES
        found = np.zeros((len(rows), flat.shape[1]))
        for start in range(0, len(rows), _PART):
            part = rows[start : start + _PART]
            leaves = (part.take(self.columns, axis=1) > self.thresholds) @ _STEPS
            found[start : start + _PART] = flat.take(starts + leaves, axis=0).sum(axis=1)
        return found

    def times(self, share: float) -> "Trees":
        """Return trees whose values are so many times theirs."""
        return Trees(self.columns, self.thresholds, self.values * share)


def grow(rows: Floats, differences: Floats, seed: int) -> Trees:
    """Grow trees on rows and how far each model's score is from their mean, one after the other on what is left."""
    generator = np.random.default_rng(seed)
    columns, thresholds = _questions(rows)
    if not len(columns):  # rows are all alike, and there is nothing to ask
        return Trees(np.zeros((TREES, DEPTH), np.int64), np.zeros((TREES, DEPTH)), _nothing(differences))
    bits = (rows[:, columns] > thresholds).astype(np.float32)
    left = differences.copy()
    asked = np.zeros((TREES, DEPTH), np.int64)
    values = _nothing(differences)
    for tree in range(TREES):
        drawn = np.flatnonzero(generator.random(len(rows)) < ROWS)
        open_to = np.sort(generator.permutation(len(columns))[: ceil(QUESTIONS * len(columns))])
        asked[tree] = open_to[_asked(bits[np.ix_(drawn, open_to)], left[drawn].astype(np.float32))]
        leaves = bits[:, asked[tree]].astype(np.int64) @ _STEPS
        values[tree] = RATE * _leaf_values(leaves[drawn], left[drawn])
        left -= values[tree][leaves]
    return Trees(columns[asked], thresholds[asked], values)


def _nothing(differences: Floats) -> Floats:
    return np.zeros((TREES, LEAVES, differences.shape[1]))


def _questions(rows: Floats) -> tuple[Places, Floats]:
    """Return what may be asked: columns, and where they are cut."""
    cuts = [_cuts(column) for column in rows.T]
    columns = [place for place, each in enumerate(cuts) for _ in each]
    return np.array(columns, np.int64), np.concatenate(cuts)


def _cuts(column: Floats) -> Floats:
    """Return where a column is cut: at its quantiles, halfway to the next number that was seen.

    A file keeps half precision; rounded as it is there, a cut stays between the same two numbers unless they lie closer
    than that.
    """
    numbers = np.unique(column)
    quantiles = np.asarray(np.quantile(column, np.linspace(0, 1, CUTS + 1)[1:-1]), np.float64)
    below = np.unique(np.searchsorted(numbers, quantiles, side="right") - 1)
    below = below[below < len(numbers) - 1]
    return ((numbers[below] + numbers[below + 1]) / 2).astype(np.float16).astype(np.float64)


def _asked(bits: _Bits, left: _Bits) -> Places:
    """Return the questions, one a level, that explain most of what is left."""
    leaves, found = np.zeros(len(bits), np.int64), np.zeros(DEPTH, np.int64)
    for level in range(DEPTH):
        of_leaf = np.eye(1 << level, dtype=np.float32)[leaves]
        counts, of_ones = of_leaf.sum(axis=0)[:, None], of_leaf.T @ bits
        gain = np.zeros(bits.shape[1], np.float32)
        for model in left.T:
            sums = of_leaf * model[:, None]
            whole, ones = sums.sum(axis=0)[:, None], sums.T @ bits
            gain += (ones**2 / (of_ones + PENALTY) + (whole - ones) ** 2 / (counts - of_ones + PENALTY)).sum(axis=0)
        found[level] = gain.argmax()
        leaves = leaves * 2 + (bits[:, found[level]] > 0)
    return found


def _leaf_values(leaves: Places, left: Floats) -> Floats:
    counts = np.bincount(leaves, minlength=LEAVES) + PENALTY
    sums = [np.bincount(leaves, model, LEAVES) for model in left.T]
    return np.array(sums).T / counts[:, None]
