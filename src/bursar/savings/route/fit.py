"""Fit what is seen in texts to how good answers were: ridge regression on how alike texts are."""

from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.savings.route.likeness import FIGURE_WIDTH, TOPIC_WIDTH, Seen, alike, centres, standard

Floats: TypeAlias = npt.NDArray[np.float64]

LANDMARKS: Final = 300
TOPICS: Final = 1_500
FOLDS: Final = 5
PARTS: Final = (0.15, 0.1, 0.3)
"""How much figures, marks of words and topics may each explain, in variances of what is left unexplained."""
STRENGTHS: Final = (0.15, 0.33, 0.75)
"""What the parts are multiplied with; the mean of the fits is taken. On labels this noisy the best of several is chosen
by luck, and the mean was as good as the best (docs/internals/lab.md)."""
STRETCH_MIN: Final = 0.5
STRETCH_MAX: Final = 2.0
FACTORS: Final = (1.0, 4.0, 16.0)
"""What strengths are multiplied with where labels bear it: the least that does as well as the best, but for chance."""
SAMPLE_MAX: Final = 1_200
"""Rows that the factor is chosen on."""
_JITTER: Final = 1e-6


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


class Fitted(msgspec.Struct, frozen=True):
    """Hold the weights of a fit, each (what, models), with what they belong to."""

    bases: Bases
    factor: float
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


def stretched(fitted: Fitted, means: Floats, stretch: float) -> Fitted:
    """Return a fit whose expectations lie so many times as far from each model's mean score."""
    return Fitted(
        fitted.bases,
        fitted.factor,
        fitted.landmark_weights * stretch,
        fitted.topic_weights * stretch,
        fitted.mark_weights * stretch,
        means + stretch * (fitted.biases - means),
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
    alikes = likeness(seen, bases)
    factor = factor_of(alikes, scores, seed)
    duals, biases = _ridges(alikes, scores, factor)
    return Fitted(
        bases,
        factor,
        PARTS[0] * _through(bases.figures_with_themselves(), bases.figures(seen), duals),
        PARTS[2] * _through(bases.topics_with_themselves(), bases.of_topics(seen), duals),
        PARTS[1] * (seen.marks.T @ duals),
        biases,
    )


def crossed(seen: Seen, scores: Floats, fitted: Fitted, seed: int = 0, folds: int = FOLDS) -> Floats:
    """Return what a fit expects of each row that it was not given, (rows, models)."""
    alikes = likeness(seen, fitted.bases)
    return np.clip(_left_out(alikes, scores, _folds(len(seen), seed, folds), fitted.factor), 0.0, 1.0)


def factor_of(alikes: Floats, scores: Floats, seed: int) -> float:
    """Return the least factor whose misses of how models differ are within a standard error of the best one's."""
    places = np.random.default_rng(seed).permutation(len(scores))[:SAMPLE_MAX]
    sample, truth = alikes[np.ix_(places, places)], scores[places]
    folds = _folds(len(places), seed, FOLDS)
    misses = [_missed(_left_out(sample, truth, folds, factor), truth) for factor in FACTORS]
    best = min(misses, key=lambda each: float(each.mean()))
    for factor, each in zip(FACTORS, misses, strict=True):
        worse = each - best
        if worse.mean() <= worse.std() / len(worse) ** 0.5:
            return factor
    return FACTORS[-1]


def _missed(expected: Floats, scores: Floats) -> Floats:
    """Return for each row the mean square by which differences between models are missed."""
    apart = expected - scores
    return ((apart - apart.mean(axis=1, keepdims=True)) ** 2).mean(axis=1)


def _folds(rows: int, seed: int, folds: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)


def _left_out(alikes: Floats, scores: Floats, fold_of: npt.NDArray[np.int64], factor: float) -> Floats:
    expected = np.zeros_like(scores)
    for fold in range(int(fold_of.max()) + 1):
        held, kept = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        duals, biases = _ridges(alikes[np.ix_(kept, kept)], scores[kept], factor)
        expected[held] = alikes[np.ix_(held, kept)] @ duals + biases
    return expected


def bases_of(seen: Seen, seed: int) -> Bases:
    """Choose what texts are compared with."""
    generator = np.random.default_rng(seed)
    means = seen.figures.mean(axis=0)
    spreads = np.maximum(seen.figures.std(axis=0), 0.05)
    landmarks = centres(standard(seen.figures, means, spreads), LANDMARKS, generator)
    return Bases(means, spreads, landmarks, centres(seen.vectors, TOPICS, generator))


def likeness(seen: Seen, bases: Bases) -> Floats:
    """Return how alike rows are with each other, (rows, rows), through the landmarks and topics that a router keeps."""
    figures, topics, whole = bases.figures(seen), bases.of_topics(seen), np.eye(len(seen))
    return (
        PARTS[0] * figures @ _through(bases.figures_with_themselves(), figures, whole)
        + PARTS[1] * np.asarray(seen.marks @ seen.marks.T, np.float64)
        + PARTS[2] * topics @ _through(bases.topics_with_themselves(), topics, whole)
    )


def _ridges(alikes: Floats, scores: Floats, factor: float) -> tuple[Floats, Floats]:
    """Return the weights of rows and the bias, a model each: the mean of ridges of all strengths."""
    strengths = [strength * factor for strength in STRENGTHS]
    fits = [_ridge(strength * alikes, scores) for strength in strengths]
    duals = sum(strength * each for strength, (each, _) in zip(strengths, fits, strict=True))
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
