"""Train a router on labels: ridge regression on what texts are like, its strength chosen by cross-validation."""

from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.savings.route.likeness import FIGURE_WIDTH, TOPIC_WIDTH, Seen, alike, centres, standard

Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]

LANDMARKS: Final = 300
TOPICS: Final = 1_500
FOLDS: Final = 5
SAMPLE_MAX: Final = 1_500
"""Rows that settings are chosen on; more take long and change little."""
_JITTER: Final = 1e-6


class Mix(msgspec.Struct, frozen=True):
    """Say how much figures, marks of words and topics may each explain, in variances of what is left unexplained."""

    figures: float
    marks: float
    topics: float


MIXES: Final = tuple(
    Mix(figures * strength, marks * strength, topics * strength)
    for strength in (0.3, 1.0, 3.0)
    for figures, marks, topics in ((0.15, 0.1, 0.3), (0.3, 0.05, 0.1), (0.1, 0.2, 0.5))
)
"""What cross-validation chooses from."""


class Bases(msgspec.Struct, frozen=True):
    """Hold what rows are compared with, from the rows' texts alone."""

    means: Floats
    spreads: Floats
    landmarks: Floats
    topics: Floats

    def figures(self, seen: Seen) -> Floats:
        """Return how alike the figures of rows are with each landmark."""
        rows = standard(seen.figures, self.means, self.spreads)
        return alike(rows, self.landmarks, FIGURE_WIDTH / self.landmarks.shape[1])

    def of_topics(self, seen: Seen) -> Floats:
        """Return how alike the questions of rows are with each topic."""
        return alike(seen.vectors, self.topics, TOPIC_WIDTH)

    def figures_with_themselves(self) -> Floats:
        """Return how alike landmarks are with each other."""
        return alike(self.landmarks, self.landmarks, FIGURE_WIDTH / self.landmarks.shape[1])

    def topics_with_themselves(self) -> Floats:
        """Return how alike topics are with each other."""
        return alike(self.topics, self.topics, TOPIC_WIDTH)


class Products(msgspec.Struct, frozen=True):
    """Hold how alike rows are with each other, (rows, rows), by figures, marks and topics."""

    figures: Floats
    marks: Floats
    topics: Floats

    def mixed(self, mix: Mix) -> Floats:
        """Return the likenesses added up in a mix."""
        return mix.figures * self.figures + mix.marks * self.marks + mix.topics * self.topics


class Fitted(msgspec.Struct, frozen=True):
    """Hold the weights of a fit, each (what, models), with what they belong to."""

    bases: Bases
    mix: Mix
    landmark_weights: Floats
    topic_weights: Floats
    mark_weights: Floats
    biases: Floats

    def chances(self, seen: Seen) -> Floats:
        """Return what is expected of each model's answer, (rows, models), 0 to 1."""
        raw = (
            self.biases
            + self.bases.figures(seen) @ self.landmark_weights
            + self.bases.of_topics(seen) @ self.topic_weights
            + seen.marks @ self.mark_weights
        )
        return np.clip(raw, 0.0, 1.0)


def fit(seen: Seen, scores: Floats, seed: int = 0, mix: Mix | None = None) -> Fitted:
    """Fit what was seen to scores, (rows, models); the mix is chosen by cross-validation where none is given."""
    bases = bases_of(seen, seed)
    chosen = best_mix(seen, scores, bases, seed) if mix is None else mix
    duals, biases = _ridge(products(seen, bases).mixed(chosen), scores)
    figures, topics = bases.figures(seen), bases.of_topics(seen)
    return Fitted(
        bases,
        chosen,
        chosen.figures * _through(bases.figures_with_themselves(), figures, duals),
        chosen.topics * _through(bases.topics_with_themselves(), topics, duals),
        chosen.marks * (seen.marks.T @ duals),
        biases,
    )


def crossed(seen: Seen, scores: Floats, fitted: Fitted, seed: int = 0, folds: int = FOLDS) -> Floats:
    """Return what a fit of the same mix expects of each row that it was not given, (rows, models)."""
    likeness = products(seen, fitted.bases).mixed(fitted.mix)
    return np.clip(_crossed(likeness, scores, _fold(len(seen), seed, folds)), 0.0, 1.0)


def bases_of(seen: Seen, seed: int) -> Bases:
    """Choose what texts are compared with."""
    generator = np.random.default_rng(seed)
    means = seen.figures.mean(axis=0)
    spreads = np.maximum(seen.figures.std(axis=0), 0.05)
    landmarks = centres(standard(seen.figures, means, spreads), LANDMARKS, generator)
    return Bases(means, spreads, landmarks, centres(seen.vectors, TOPICS, generator))


def products(seen: Seen, bases: Bases) -> Products:
    """Return how alike rows are with each other, through the landmarks and topics that a router keeps."""
    figures, topics = bases.figures(seen), bases.of_topics(seen)
    return Products(
        figures @ _through(bases.figures_with_themselves(), figures, np.eye(len(seen))),
        np.asarray(seen.marks @ seen.marks.T, np.float64),
        topics @ _through(bases.topics_with_themselves(), topics, np.eye(len(seen))),
    )


def best_mix(seen: Seen, scores: Floats, bases: Bases, seed: int) -> Mix:
    """Return the mix that tells best, on rows left out, by how much models differ: that is what routing goes by."""
    places = np.random.default_rng(seed).permutation(len(seen))[:SAMPLE_MAX]
    alikes, truth = products(seen.rows(places), bases), scores[places]
    folds = _fold(len(places), seed, FOLDS)
    return min(MIXES, key=lambda mix: _missed(_crossed(alikes.mixed(mix), truth, folds), truth))


def _missed(expected: Floats, scores: Floats) -> float:
    """Return the mean square by which differences between models are missed."""
    apart = expected - scores
    return float(((apart - apart.mean(axis=1, keepdims=True)) ** 2).mean())


def _crossed(likeness: Floats, scores: Floats, folds: Places) -> Floats:
    expected = np.zeros_like(scores)
    for fold in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == fold)
        kept = np.flatnonzero(folds != fold)
        duals, biases = _ridge(likeness[np.ix_(kept, kept)], scores[kept])
        expected[held] = likeness[np.ix_(held, kept)] @ duals + biases
    return expected


def _fold(rows: int, seed: int, folds: int) -> Places:
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)


def _ridge(likeness: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return the weights of rows in the ridge of penalty 1, and its bias, a model each (generalised least squares)."""
    ones = np.ones((len(likeness), 1))
    solved = np.asarray(np.linalg.solve(likeness + np.eye(len(likeness)), np.concatenate([scores, ones], axis=1)))
    of_scores, of_ones = solved[:, :-1], solved[:, -1:]
    biases: Floats = of_scores.sum(axis=0) / of_ones.sum()
    return of_scores - of_ones * biases, biases


def _through(likeness: Floats, rows: Floats, duals: Floats) -> Floats:
    """Return the weights of landmarks that stand for those of rows (Nystroem's approximation)."""
    values, vectors = np.linalg.eigh(likeness)
    kept = values > _JITTER * values.max()
    return (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ (rows.T @ duals))
