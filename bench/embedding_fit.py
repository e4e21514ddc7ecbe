"""Fit a table of word pieces and its layer, so that texts are as near each other as by the teacher.

A piece's row is its weight times the teacher's vector of the piece alone, turned by one matrix for all, plus what is
its own. The matrix and the weights are what a piece that no text holds gets too. A batch's loss is the squared error of
all its cosines, a text, and half the squared distance from the teacher's vectors; gradients by hand, steps by Adam
(Kingma and Ba, ICLR 2015) that fall to 0 in a straight line. The idea is tokenlearn's, by the authors of model2vec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from bursar.embed.embedder import Floats, unit
from bursar.embed.table import Layer
from bursar.embed.tokenize import WordPiece

PIECES_MAX: Final = 254  # the teacher reads no more of a text
COMMON_SHARE: Final = 1e-4  # a piece of this share of all text weighs half at first
SPREAD: Final = 0.05  # of the numbers of a row at first
LAYER_SPREAD: Final = 0.3
KEPT: Final = (0.9, 0.999)  # of the mean gradient and of its mean square, a step
TINY: Final = np.float32(1e-9)

Counts: TypeAlias = sparse.csr_matrix
Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold how it is fitted; they were chosen on training texts held out."""

    dimensions: int = 256
    width: int = 256
    epochs: int = 8
    batch: int = 1_024
    seed: int = 0
    row_rate: float = 0.002
    weight_rate: float = 0.01
    rate: float = 0.001  # of the matrix and the layer


class Adam:
    """Move an array by its gradients; of rows, only those that have one."""

    def __init__(self, values: Floats, rate: float) -> None:
        self.values = values
        self._rate = rate
        self._mean = np.zeros_like(values)
        self._square = np.zeros_like(values)
        self._steps = np.zeros((len(values), *[1] * (values.ndim - 1)), np.int64)

    def step(self, gradient: Floats, left: float, at: Places | slice = slice(None)) -> None:
        """Take a step at some rows; `left` is the share of the rate that is left."""
        self._steps[at] += 1
        steps = self._steps[at]
        mean = self._mean[at] * KEPT[0] + (1 - KEPT[0]) * gradient
        square = self._square[at] * KEPT[1] + (1 - KEPT[1]) * gradient * gradient
        self._mean[at], self._square[at] = mean, square
        mean_seen, square_seen = ((1 - kept**steps).astype(np.float32) for kept in KEPT)
        self.values[at] -= np.float32(self._rate * left) * (mean / mean_seen) / (np.sqrt(square / square_seen) + TINY)


class Fit:
    """Hold what is fitted: weights, the matrix, each piece's own part, and the layer."""

    def __init__(self, alone: Floats, directions: Floats, settings: Settings) -> None:
        pieces, dimensions = len(alone), settings.dimensions
        self._alone = alone
        self._settings = settings
        shares = 1 / (np.arange(pieces) + 1.0)  # Zipf: pieces stand in the vocabulary by how common they are
        common = np.log(COMMON_SHARE / (COMMON_SHARE + shares / shares.sum()))
        random = np.random.default_rng(settings.seed)
        widen = LAYER_SPREAD * random.standard_normal((dimensions, settings.width)).astype(np.float32)
        self.weights = Adam(common.astype(np.float32)[:, None], settings.weight_rate)
        self.matrix = Adam((SPREAD * directions).astype(np.float32), settings.rate)
        self.own = Adam(np.zeros((pieces, dimensions), np.float32), settings.row_rate)
        self.widen = Adam(widen, settings.rate)
        self.shift = Adam(np.zeros(settings.width, np.float32), settings.rate)
        self.narrow = Adam(np.zeros((settings.width, dimensions), np.float32), settings.rate)

    @property
    def rows(self) -> Floats:
        """Return a row a piece, (pieces, dimensions)."""
        return (np.exp(self.weights.values) * (self._alone @ self.matrix.values) + self.own.values).astype(np.float32)

    @property
    def layer(self) -> Layer:
        """Return the layer as it stands."""
        return Layer(self.widen.values, self.shift.values, self.narrow.values)

    def run(self, counts: Counts, wanted: Floats) -> None:
        """Fit to texts: their counts of pieces, (texts, pieces), and the teacher's vectors in as many directions."""
        random = np.random.default_rng(self._settings.seed)
        size, texts = self._settings.batch, len(wanted)
        starts = range(0, max(1, texts - size + 1), size)
        total = len(starts) * self._settings.epochs
        for epoch in range(self._settings.epochs):
            order = random.permutation(texts)
            for number, start in enumerate(starts):
                taken = order[start : start + size]
                done = epoch * len(starts) + number
                self.step(counts[taken], wanted[taken], 1 - done / total)

    def step(self, counts: Counts, wanted: Floats, left: float) -> None:
        """Move everything once by a batch."""
        held = np.unique(counts.indices)
        slopes = self.slopes(counts[:, held], wanted, held)
        for name, slope in slopes.items():
            moved: Adam = getattr(self, name)
            moved.step(slope, left, held if name in ("weights", "own") else slice(None))

    def slopes(self, here: Counts, wanted: Floats, held: Places) -> dict[str, Floats]:
        """Return the loss's slope by each part; `here` counts the pieces `held`, those two parts have rows for them."""
        weights, alone = np.exp(self.weights.values[held]), self._alone[held]
        turned = alone @ self.matrix.values
        sums = here @ (weights * turned + self.own.values[held])
        rows = unit(sums)
        inner = np.maximum(rows @ self.widen.values + self.shift.values, 0)
        bent = rows + inner @ self.narrow.values
        found = unit(bent)
        slope = _through_unit(_slope(found, wanted), found, bent)
        inner_slope = (slope @ self.narrow.values.T) * (inner > 0)
        row_slope = _through_unit(slope + inner_slope @ self.widen.values.T, rows, sums)
        piece_slope = np.asarray(here.T @ row_slope)
        return {
            "narrow": inner.T @ slope,
            "widen": rows.T @ inner_slope,
            "shift": inner_slope.sum(axis=0),
            "matrix": alone.T @ (weights * piece_slope),
            "weights": (piece_slope * turned * weights).sum(axis=1, keepdims=True),
            "own": piece_slope,
        }


def loss(found: Floats, wanted: Floats) -> float:
    """Return a batch's loss: squared errors of cosines, a text, and half the squared distances."""
    cosines = found @ found.T - wanted @ wanted.T
    np.fill_diagonal(cosines, 0)
    apart = found - wanted
    return float((cosines**2).sum() / len(found) + (apart**2).sum() / 2)


def _slope(found: Floats, wanted: Floats) -> Floats:
    """Return the loss's slope by the vectors."""
    errors = found @ found.T - wanted @ wanted.T
    np.fill_diagonal(errors, 0)
    return (4 / len(found)) * (errors @ found) + found - wanted


def _through_unit(slope: Floats, rows: Floats, before: Floats) -> Floats:
    """Return a slope by rows as one by what they were before they were brought to length 1."""
    lengths = np.linalg.norm(before, axis=1, keepdims=True) + TINY
    return (slope - (slope * rows).sum(axis=1, keepdims=True) * rows) / lengths


def count(texts: Sequence[str], pieces: Sequence[str]) -> Counts:
    """Return how often each piece stands in each text, (texts, pieces)."""
    cutter = WordPiece(pieces)
    found = [cutter.numbers(text)[:PIECES_MAX] for text in texts]
    starts = np.cumsum([0, *map(len, found)])
    numbers = np.concatenate([np.array(each, np.int64) for each in found])
    counted = sparse.csr_matrix((np.ones(len(numbers), np.float32), numbers, starts), shape=(len(texts), len(pieces)))
    counted.sum_duplicates()
    return counted


def main_directions(vectors: Sequence[Floats], dimensions: int) -> Floats:
    """Return the directions that hold most of sets of vectors, each set weighing the same, (width, dimensions)."""
    spread = sum(each.T @ each / len(each) for each in vectors)
    return np.linalg.eigh(spread)[1][:, ::-1][:, :dimensions].astype(np.float32)
