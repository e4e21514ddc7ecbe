"""Rank sentences by what was learned from questions with known answers. The weights ship with the package."""

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bursar.embed.embedder import Embedder
from bursar.embed.embedder import Floats as Vectors
from bursar.savings.compress.coverage import coverage
from bursar.savings.compress.evidence import Floats, Likeness, Text, evidence
from bursar.savings.compress.hits import Bools, Ints
from bursar.savings.compress.words import Question

ROWS_AT_ONCE: Final = 4_096  # what a long text takes stays within 20 MB

UNKNOWN: Final = "*"
"""Under which the table holds the rarity of words it does not have."""


class Trees(NamedTuple):
    """Hold trees that ask one question a level: column and threshold by tree and level, values by tree and leaf."""

    columns: Ints
    thresholds: npt.NDArray[np.float32]
    values: Floats
    bias: float

    def score(self, rows: Floats) -> Floats:
        """Return the log odds of each row, the sum over all trees."""
        held = range(0, len(rows), ROWS_AT_ONCE)
        return np.concatenate([np.zeros(0), *(self._score(rows[start : start + ROWS_AT_ONCE]) for start in held)])

    def _score(self, rows: Floats) -> Floats:
        """Go down all trees for all rows a level at a time."""
        values = np.ascontiguousarray(rows.T, np.float32)
        leaf: Ints = np.zeros((len(self.columns), len(rows)), np.int64)
        for level in range(self.columns.shape[1]):
            above: Bools = values[self.columns[:, level]] > self.thresholds[:, level, None]
            leaf = leaf * 2 + above
        return self.bias + self.values[np.arange(len(self.values))[:, None], leaf].sum(axis=0)


class Ranker(NamedTuple):
    """Hold the trees that know words alone, those that know vectors too, and how rare words are in all English."""

    by_words: Trees
    by_both: Trees
    rarity: dict[str, float]

    def log_odds(self, text: Text, question: Question, likeness: Likeness | None = None) -> Floats:
        """Return for each sentence how likely it holds the answer, as log odds."""
        if question.foreign:
            return coverage(text, question)
        rows = evidence(text, question, rarities(self.rarity, question), likeness)
        return (self.by_words if likeness is None else self.by_both).score(rows)


def rarities(known: Mapping[str, float], question: Question) -> Floats:
    """Return how rare each of a question's terms is."""
    return np.array([known.get(term, known[UNKNOWN]) for term in question.terms])


def likeness_of(text: Text, asked: str, embedder: Embedder) -> Likeness:
    """Return how near sentences, passages and titles are to what is asked. A passage is its sentences and its title."""
    vectors = embedder.vectors([asked, *text.sentences, *text.titles])
    question, sentences, titles = vectors[0], vectors[1 : len(text.sentences) + 1], vectors[len(text.sentences) + 1 :]
    starts = np.flatnonzero(np.diff(text.passage, prepend=-1))
    passages = titles.copy()
    passages[text.passage[starts]] += np.add.reduceat(sentences, starts, axis=0)
    return Likeness(
        (sentences @ question).astype(float),
        _cosines(sentences + titles[text.passage], question),
        _cosines(passages, question),
        (titles @ question).astype(float),
    )


def _cosines(rows: Vectors, question: Vectors) -> Floats:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return ((rows @ question) / np.where(lengths > 0, lengths, 1)).astype(float)


@lru_cache(maxsize=1)
def load() -> Ranker:
    """Read the package's weights."""
    found = json.loads((files("bursar.savings.compress") / "data" / "ranker.json").read_bytes())
    return Ranker(_trees(found["by_words"]), _trees(found["by_both"]), found["rarity"])


def _trees(found: Mapping[str, Any]) -> Trees:
    return Trees(
        np.array(found["columns"], np.int64),
        np.array(found["thresholds"], np.float32),
        np.array(found["values"], np.float64),
        found["bias"],
    )
