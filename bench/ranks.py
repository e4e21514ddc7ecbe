"""Compare two measures by the order they put pairs in."""

import numpy as np
import numpy.typing as npt

from bursar.embed.embedder import Floats


def spearman(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def pairs(texts: int, count: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw pairs of two different texts each."""
    random = np.random.default_rng(seed)
    first = random.integers(0, texts, count)
    return first, (first + random.integers(1, texts, count)) % texts


def cosines_of_pairs(one: Floats, other: Floats, count: int, seed: int) -> tuple[Floats, Floats]:
    """Return the cosines of the same drawn pairs by two embeddings of unit rows."""
    first, second = pairs(len(one), count, seed)
    return (one[first] * one[second]).sum(axis=1), (other[first] * other[second]).sum(axis=1)


def _ranks(values: Floats) -> npt.NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
