"""Fit what is seen in texts to how good answers were: ridge regression on how alike texts are."""

from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.savings.route.likeness import (
    COMPONENTS,
    FIELD_WIDTH,
    FIGURE_WIDTH,
    TOPIC_WIDTH,
    Seen,
    alike,
    centres,
    standard,
)
from bursar.savings.route.trees import Trees, grow

Floats: TypeAlias = npt.NDArray[np.float64]

LANDMARKS: Final = 300
TOPICS: Final = 1_500
FOLDS: Final = 5
PARTS: Final = (0.15, 0.1, 0.3, 0.1)
"""How much figures, marks of words, topics and fields may each explain, in variances of what is left unexplained."""
STRENGTHS: Final = (0.15, 0.45, 1.35, 4.0, 12.0)
"""What the parts are multiplied with; the mean of the fits is taken. On labels this noisy the best of several is chosen
by luck, and the mean was as good as the best (docs/internals/lab.md)."""
STRETCH_MIN: Final = 0.5
STRETCH_MAX: Final = 2.0
TREE_SHARE: Final = 0.25
"""What part of how models differ is told by trees."""
_JITTER: Final = 1e-6


class Bases(msgspec.Struct, frozen=True):
    """Hold what rows are compared with, from the rows' texts alone."""

    means: Floats
    spreads: Floats
    landmarks: Floats
    topics: Floats
    fields: Floats  # in spreads
    field_spread: float
    components: Floats  # directions in which vectors of whole texts spread most

    def figures(self, seen: Seen) -> Floats:
        """Return how alike the figures of rows are with each landmark."""
        rows = standard(seen.figures, self.means, self.spreads)
        return alike(rows, self.landmarks, FIGURE_WIDTH / self.landmarks.shape[1])

    def of_topics(self, seen: Seen) -> Floats:
        """Return how alike the questions of rows are with each topic."""
        return alike(seen.vectors, self.topics, TOPIC_WIDTH)

    def of_fields(self, seen: Seen) -> Floats:
        """Return how alike the fields of rows are with each kept."""
        return alike(seen.fields / self.field_spread, self.fields, FIELD_WIDTH)

    def asked(self, seen: Seen) -> Floats:
        """Return what trees ask of: figures, and where whole texts lie."""
        return np.concatenate([seen.figures, seen.wholes @ self.components], axis=1)

    def fields_with_themselves(self) -> Floats:
        """Return how alike fields are with each other."""
        return alike(self.fields, self.fields, FIELD_WIDTH)

    def figures_with_themselves(self) -> Floats:
        """Return how alike landmarks are with each other."""
        return alike(self.landmarks, self.landmarks, FIGURE_WIDTH / self.landmarks.shape[1])

    def topics_with_themselves(self) -> Floats:
        """Return how alike topics are with each other."""
        return alike(self.topics, self.topics, TOPIC_WIDTH)


class Fitted(msgspec.Struct, frozen=True):
    """Hold the weights of a fit, each (what, models), with what they belong to."""

    bases: Bases
    landmark_weights: Floats
    topic_weights: Floats
    field_weights: Floats
    mark_weights: Floats
    biases: Floats
    trees: Trees

    def chances(self, seen: Seen) -> Floats:
        """Return what is expected of each model's answer, (rows, models), 0 to 1."""
        raw = (
            self.biases
            + self.bases.figures(seen) @ self.landmark_weights
            + self.bases.of_topics(seen) @ self.topic_weights
            + self.bases.of_fields(seen) @ self.field_weights
            + seen.marks @ self.mark_weights
            + self.trees.differences(self.bases.asked(seen))
        )
        return np.clip(raw, 0.0, 1.0)


def stretched(fitted: Fitted, means: Floats, stretch: float) -> Fitted:
    """Return a fit whose expectations lie so many times as far from each model's mean score."""
    return Fitted(
        fitted.bases,
        fitted.landmark_weights * stretch,
        fitted.topic_weights * stretch,
        fitted.field_weights * stretch,
        fitted.mark_weights * stretch,
        means + stretch * (fitted.biases - means),
        fitted.trees.times(stretch),
    )


def stretch_of(expected: Floats, scores: Floats) -> float:
    """Return by how much expectations of rows left out fall short of telling rows apart: ridges shrink them."""
    means = scores.mean(axis=0)
    away = expected - means
    slope = float((away * (scores - means)).sum() / max(float((away * away).sum()), 1e-12))
    return min(max(slope, STRETCH_MIN), STRETCH_MAX)


def fit(seen: Seen, scores: Floats, seed: int = 0) -> Fitted:
    """Fit what was seen to scores, (rows, models)."""
    bases = bases_of(seen, seed)
    duals, biases = _ridges(likeness(seen, bases), scores)
    duals, biases = _less_apart(duals), _less_apart(biases[None], scores.mean(axis=0))[0]
    return Fitted(
        bases,
        PARTS[0] * _through(bases.figures_with_themselves(), bases.figures(seen), duals),
        PARTS[2] * _through(bases.topics_with_themselves(), bases.of_topics(seen), duals),
        PARTS[3] * _through(bases.fields_with_themselves(), bases.of_fields(seen), duals),
        PARTS[1] * (seen.marks.T @ duals),
        biases,
        _grown(bases.asked(seen), scores, seed),
    )


def _grown(asked: Floats, scores: Floats, seed: int) -> Trees:
    """Grow trees that have their share in how models differ, around the mean difference."""
    return grow(asked, _apart(scores - scores.mean(axis=0)), seed).times(TREE_SHARE)


def _apart(values: Floats) -> Floats:
    """Return how far each model's value is from the mean of all models', row by row."""
    return values - values.mean(axis=1, keepdims=True)


def _less_apart(values: Floats, around: Floats | float = 0.0) -> Floats:
    """Leave room for trees in how models differ; what they have in common stays as it is."""
    return values - TREE_SHARE * _apart(values - around)


def crossed(seen: Seen, scores: Floats, fitted: Fitted, seed: int = 0, folds: int = FOLDS) -> Floats:
    """Return what a fit expects of each row that it was not given, (rows, models)."""
    fold_of, asked = _folds(len(seen), seed, folds), fitted.bases.asked(seen)
    expected = _left_out(likeness(seen, fitted.bases), scores, fold_of)
    for fold in range(folds):
        held = fold_of == fold
        trees = _grown(asked[~held], scores[~held], seed)
        expected[held] = _less_apart(expected[held], scores[~held].mean(axis=0)) + trees.differences(asked[held])
    return np.clip(expected, 0.0, 1.0)


def _folds(rows: int, seed: int, folds: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)


def _left_out(alikes: Floats, scores: Floats, fold_of: npt.NDArray[np.int64]) -> Floats:
    expected = np.zeros_like(scores)
    for fold in range(int(fold_of.max()) + 1):
        held, kept = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        duals, biases = _ridges(alikes[np.ix_(kept, kept)], scores[kept])
        expected[held] = alikes[np.ix_(held, kept)] @ duals + biases
    return expected


def bases_of(seen: Seen, seed: int) -> Bases:
    """Choose what texts are compared with."""
    generator = np.random.default_rng(seed)
    means = seen.figures.mean(axis=0)
    spreads = np.maximum(seen.figures.std(axis=0), 0.05)
    landmarks = centres(standard(seen.figures, means, spreads), LANDMARKS, generator)
    away = seen.fields - seen.fields.mean(axis=0)
    spread = max(float((away * away).sum(axis=1).mean()) ** 0.5, _JITTER)
    return Bases(
        means,
        spreads,
        landmarks,
        centres(seen.vectors, TOPICS, generator),
        centres(seen.fields / spread, TOPICS, generator),
        spread,
        _components(seen.wholes),
    )


def _components(vectors: Floats) -> Floats:
    """Return the directions in which vectors spread most, (dimensions, components); 0 where there are no more."""
    away = vectors - vectors.mean(axis=0)
    found = np.linalg.eigh(away.T @ away)[1][:, ::-1][:, :COMPONENTS]
    directions = np.pad(found, ((0, 0), (0, COMPONENTS - found.shape[1])))
    # Rounded as a router's file keeps them, so that trees ask a text what they asked the labels.
    return directions.astype(np.float16).astype(np.float64)


def likeness(seen: Seen, bases: Bases) -> Floats:
    """Return how alike rows are with each other, (rows, rows), through the landmarks and topics that a router keeps."""
    figures, topics, fields = bases.figures(seen), bases.of_topics(seen), bases.of_fields(seen)
    whole = np.eye(len(seen))
    return (
        PARTS[0] * figures @ _through(bases.figures_with_themselves(), figures, whole)
        + PARTS[1] * np.asarray(seen.marks @ seen.marks.T, np.float64)
        + PARTS[2] * topics @ _through(bases.topics_with_themselves(), topics, whole)
        + PARTS[3] * fields @ _through(bases.fields_with_themselves(), fields, whole)
    )


def _ridges(alikes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return the weights of rows and the bias, a model each: the mean of ridges of all strengths."""
    fits = [_ridge(strength * alikes, scores) for strength in STRENGTHS]
    duals = sum(strength * each for strength, (each, _) in zip(STRENGTHS, fits, strict=True))
    return np.asarray(duals / len(fits)), np.mean([bias for _, bias in fits], axis=0)


def _ridge(alikes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Solve the ridge of penalty 1 by generalised least squares."""
    ones = np.ones((len(alikes), 1))
    solved = np.asarray(np.linalg.solve(alikes + np.eye(len(alikes)), np.concatenate([scores, ones], axis=1)))
    of_scores, of_ones = solved[:, :-1], solved[:, -1:]
    biases: Floats = of_scores.sum(axis=0) / of_ones.sum()
    return of_scores - of_ones * biases, biases


def _through(likeness: Floats, rows: Floats, duals: Floats) -> Floats:
    """Return the weights of landmarks that stand for those of rows (Nystroem's approximation)."""
    values, vectors = np.linalg.eigh(likeness)
    kept = values > _JITTER * values.max()
    return (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ (rows.T @ duals))
