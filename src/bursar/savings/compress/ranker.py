"""Rank sentences by what was learned from questions with known answers. The weights ship with the package."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bursar.savings.compress.evidence import Floats, Text, evidence
from bursar.savings.compress.words import Question

RARITY_MAX: Final = "*"
"""Under which the table holds the rarity of words it does not know."""


class Trees(NamedTuple):
    """Hold trees that ask one question a level: column and threshold by tree and level, values by tree and leaf."""

    columns: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.float32]
    values: npt.NDArray[np.float64]
    bias: float

    def score(self, rows: Floats) -> Floats:
        """Return the log odds of each row, the sum over all trees."""
        bits = rows.astype(np.float32)[:, self.columns] > self.thresholds
        leaf = bits @ (1 << np.arange(self.columns.shape[1])[::-1])
        return self.bias + self.values[np.arange(len(self.values)), leaf].sum(1)


class Ranker(NamedTuple):
    """Hold the trees and how rare words are in all English."""

    trees: Trees
    rarity: dict[str, float]

    def log_odds(self, text: Text, question: Question) -> Floats:
        """Return for each sentence how likely it holds the answer, as log odds."""
        unknown = self.rarity[RARITY_MAX]
        rarity = np.array([self.rarity.get(term, unknown) for term in question.terms])
        return self.trees.score(evidence(text, question, rarity))


@lru_cache(maxsize=1)
def load() -> Ranker:
    """Read the package's weights."""
    found = json.loads((files("bursar.savings.compress") / "data" / "ranker.json").read_bytes())
    trees = Trees(
        np.array(found["columns"], np.int64),
        np.array(found["thresholds"], np.float32),
        np.array(found["values"]),
        found["bias"],
    )
    return Ranker(trees, found["rarity"])
