"""Grow trees for a ranker: each asks one question a level, the same at every node, so that scoring is a few steps."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BINS: Final = 32

Floats = npt.NDArray[np.float64]


class Trees(NamedTuple):
    """Hold trees: (trees, depth) of column and threshold, (trees, 2**depth) of values, and where the sum starts."""

    columns: npt.NDArray[np.int64]
    thresholds: Floats
    values: Floats
    bias: float


class Growth(NamedTuple):
    """Say how trees are grown."""

    trees: int = 150
    depth: int = 4
    rate: float = 0.08
    l2: float = 20.0


def grow(rows: npt.NDArray[np.float32], wanted: npt.NDArray[np.bool_], weight: Floats, growth: Growth) -> Trees:
    """Grow trees whose sum is the log odds that a row is wanted, one after the other on what is left."""
    edges = [_edges(column) for column in rows.T]
    binned = np.stack([np.searchsorted(edge, column, "left") for edge, column in zip(edges, rows.T, strict=True)])
    binned = binned.astype(np.int64)
    share = float((wanted * weight).sum() / weight.sum())
    bias = float(np.log(share / (1 - share)))
    score = np.full(len(rows), bias)
    columns, thresholds, values = [], [], []
    for _ in range(growth.trees):
        chance = 1 / (1 + np.exp(-score))
        gradient, curve = weight * (wanted - chance), weight * chance * (1 - chance)
        leaf = np.zeros(len(rows), np.int64)
        asked: list[tuple[int, int]] = []
        for level in range(growth.depth):
            column, cut = _best(binned, leaf, 1 << level, gradient, curve, growth.l2)
            asked.append((column, cut))
            leaf = leaf * 2 + (binned[column] > cut)
        size = 1 << growth.depth
        value = growth.rate * np.bincount(leaf, gradient, size) / (np.bincount(leaf, curve, size) + growth.l2)
        score += value[leaf]
        columns.append([column for column, _ in asked])
        thresholds.append([float(edges[column][cut]) for column, cut in asked])
        values.append(value)
    return Trees(np.array(columns), np.array(thresholds), np.array(values), bias)


def _edges(column: npt.NDArray[np.float32]) -> Floats:
    """Return where a column may be cut: halfway between values that occur, so that rounding moves none across."""
    values = np.unique(column).astype(float)
    if len(values) == 1:
        return values
    halfway = (values[1:] + values[:-1]) / 2
    wanted = np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    return np.unique(halfway[np.minimum(np.searchsorted(values, wanted), len(halfway) - 1)])


def _best(
    binned: npt.NDArray[np.int64], leaf: npt.NDArray[np.int64], leaves: int, gradient: Floats, curve: Floats, l2: float
) -> tuple[int, int]:
    """Return the column and bin that part the rows best, the same in every leaf."""
    base = leaf * BINS
    best = (-1.0, 0, 0)
    for number, column in enumerate(binned):
        cell = base + column
        g = np.bincount(cell, gradient, leaves * BINS).reshape(leaves, BINS).cumsum(1)
        h = np.bincount(cell, curve, leaves * BINS).reshape(leaves, BINS).cumsum(1)
        left = g**2 / (h + l2)
        right = (g[:, -1:] - g) ** 2 / (h[:, -1:] - h + l2)
        gain = (left + right).sum(0)[: max(1, int(column.max()))]
        cut = int(gain.argmax())
        if gain[cut] > best[0]:
            best = (float(gain[cut]), number, cut)
    return best[1], best[2]


def score(trees: Trees, rows: npt.NDArray[np.float32]) -> Floats:
    """Return the log odds of each row."""
    bits = rows[:, trees.columns] > trees.thresholds.astype(np.float32)
    leaf = bits @ (1 << np.arange(trees.columns.shape[1])[::-1])
    return trees.bias + np.take_along_axis(trees.values.T, leaf, 0).sum(1)
