"""Turn texts into rows of numbers, and say how alike rows are."""

from array import array
from collections.abc import Sequence
from functools import cache
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.embed.embedder import Embedder
from bursar.savings.route.features import BUCKETS, NAMES, Look, look
from bursar.savings.route.fields import load as load_fields

Floats: TypeAlias = npt.NDArray[np.float64]

CLOSENESS: Final = (
    "options alike",
    "nearest options",
    "farthest options",
    "nearest option to the question",
    "options near the question",
    "lead of the nearest option",
)
"""What the vectors of a question and its lettered answers show: wrong answers near the right one make it hard."""
FIGURES: Final = (*NAMES, *CLOSENESS)
"""All that is measured of a text."""

FIGURE_WIDTH: Final = 0.25
"""How fast texts become unlike as their figures part: exp(-width x mean square distance in spreads)."""
TOPIC_WIDTH: Final = 5.0
"""The same for the vectors of questions, by square distance. Both are chosen by cross-validation on 1,500 labels."""
FIELD_WIDTH: Final = 3.0
"""The same for where whole texts lie among fields of knowledge, by square distance in spreads."""
COMPONENTS: Final = 20
"""Directions in which vectors of whole texts spread most, that trees ask of beside figures."""
FIGURE_MAX: Final = 3.0
"""Spreads from the mean at which a figure stops to count for more."""
_ROUNDS: Final = 8


class Seen(msgspec.Struct, frozen=True):
    """Hold what is seen in texts, a row each.

    Figures, vectors of the questions and of the whole texts, where these lie among fields, marks of words by bucket.
    """

    figures: Floats
    vectors: Floats
    wholes: Floats
    fields: Floats
    marks: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.figures)

    def rows(self, places: npt.NDArray[np.int64]) -> "Seen":
        """Return the rows at these places."""
        return Seen(
            self.figures[places],
            self.vectors[places],
            self.wholes[places],
            self.fields[places],
            self.marks[places],
        )


class Measured(msgspec.Struct, frozen=True):
    """Hold a text's figures, in the order of `FIGURES`, and the vectors of its question and of the whole of it."""

    figures: Floats
    question: Floats
    whole: Floats


def see(texts: Sequence[str], embedder: Embedder) -> Seen:
    """Look at texts."""
    looks = [look(text) for text in texts]
    marks = np.zeros((len(looks), BUCKETS), np.float32)
    figures, vectors = np.zeros((len(looks), len(FIGURES))), np.zeros((len(looks), embedder.dimensions))
    wholes = np.zeros_like(vectors)
    for row, each in enumerate(looks):
        buckets, signs = marked(each.marks)
        np.add.at(marks[row], buckets, signs)
        found = measured(each, embedder)
        figures[row], vectors[row], wholes[row] = found.figures, found.question, found.whole
    return Seen(figures, vectors, wholes, load_fields().located(wholes, embedder.name), marks)


def measured(seen: Look, embedder: Embedder) -> Measured:
    """Measure a text. One without lettered answers is all question."""
    texts = [seen.question, *seen.options]
    vectors = (embedder.with_whole(texts) if seen.options else embedder.vectors(texts)).astype(np.float64)
    return Measured(np.array([*seen.figures, *_closeness(vectors[0], vectors[1:-1])]), vectors[0], vectors[-1])


def _closeness(question: Floats, options: Floats) -> list[float]:
    if len(options) < 2:
        return [0.0] * len(CLOSENESS)
    pairs = (options @ options.T)[_above(len(options))]
    near = np.sort(options @ question)
    figures = (pairs.mean(), pairs.max(), pairs.min(), near[-1], near.mean(), near[-1] - near[-2])
    return [float(figure) for figure in figures]


@cache
def _above(rows: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the places above a square's diagonal: each pair once. There are never more than a few sizes."""
    return np.triu_indices(rows, 1)


def marked(marks: list[int]) -> tuple[npt.NDArray[np.uintc], Floats]:
    """Return the buckets of marks and what each counts, so that long and short questions weigh the same.

    Half of all marks count against: two that fall together cancel as often as they add up.
    """
    held = np.frombuffer(array("I", marks), np.uintc)  # a third of the time that `np.array` takes
    return held % BUCKETS, ((held >> 31) * 2.0 - 1.0) / max(1, len(held)) ** 0.5


def standard(figures: Floats, means: Floats, spreads: Floats) -> Floats:
    """Return figures in spreads from the mean, bounded."""
    return np.clip((figures - means) / spreads, -FIGURE_MAX, FIGURE_MAX)


def alike(rows: Floats, others: Floats, width: float) -> Floats:
    """Return how alike rows are with each of others, 0 to 1, (rows, others)."""
    distances = (rows * rows).sum(axis=1)[:, None] + (others * others).sum(axis=1) - 2 * rows @ others.T
    return np.exp(-width * np.maximum(distances, 0))


class Likeness:
    """Say of texts what kept rows tell by how alike they are: each has a weight a model."""

    def __init__(self, kept: Floats, weights: Floats, width: float) -> None:
        self._kept = kept.astype(np.float32)
        self._squares = (self._kept * self._kept).sum(axis=1)
        self._weights = weights
        self._width = width

    def of(self, row: Floats) -> Floats:
        """Return what is told of one text, (models,)."""
        held = row.astype(np.float32)
        distances = self._squares + float(held @ held) - 2 * (self._kept @ held)
        return np.exp(-self._width * np.maximum(distances, 0)).astype(np.float64) @ self._weights

    def of_many(self, rows: Floats) -> Floats:
        """Return what is told of texts, (rows, models)."""
        return alike(rows, self._kept.astype(np.float64), self._width) @ self._weights

    @property
    def usual(self) -> Floats:
        """Return what kept rows tell of themselves on average, (models,)."""
        return self.of_many(self._kept.astype(np.float64)).mean(axis=0)


def centres(rows: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Return the centres of so many groups of rows (k-means): what stands for all of them, and is none of them."""
    if len(rows) <= count:
        return rows.copy()
    found = rows[np.sort(generator.choice(len(rows), count, replace=False))]
    for _ in range(_ROUNDS):
        distances = (found * found).sum(axis=1) - 2 * rows @ found.T
        nearest = distances.argmin(axis=1)
        sizes = np.bincount(nearest, minlength=count)
        sums = np.zeros_like(found)
        np.add.at(sums, nearest, rows)
        found = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], found)
    return found
