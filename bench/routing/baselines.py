"""Route by what everybody would try first: a table of tasks, neighbours, a small network."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 40
HIDDEN = 64
EPOCHS = 60
BATCH = 64
STEP = 1e-3
DECAY = 1e-3


def gain_by_group(groups: npt.NDArray[np.str_], gains: Floats, asked: npt.NDArray[np.str_]) -> Floats:
    """Return each asked group's mean gain; of a group never seen that of all."""
    means = {group: float(gains[groups == group].mean()) for group in np.unique(groups)}
    return np.array([means.get(group, float(gains.mean())) for group in asked])


def best_by_group(groups: npt.NDArray[np.str_], scores: Floats, asked: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Return for each asked group the model that was best on it; of a group never seen the best of all."""
    best = {group: int(scores[groups == group].mean(axis=0).argmax()) for group in np.unique(groups)}
    return np.array([best.get(group, int(scores.mean(axis=0).argmax())) for group in asked])


def neighbours(vectors: Floats, scores: Floats, asked: Floats) -> Floats:
    """Return the mean scores of the nearest questions, (asked, models)."""
    nearest = np.argpartition(-(asked @ vectors.T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return scores[nearest].mean(axis=1)


def network(vectors: Floats, scores: Floats, asked: Floats, seed: int) -> Floats:
    """Return what a network of one hidden layer expects, (asked, models), trained by Adam on squared errors."""
    generator = np.random.default_rng(seed)
    sizes = (vectors.shape[1], HIDDEN), (HIDDEN,), (HIDDEN, scores.shape[1]), (scores.shape[1],)
    weights = [generator.normal(0, 1 / np.sqrt(size[0]), size) if len(size) == 2 else np.zeros(size) for size in sizes]
    moments = [(np.zeros(size), np.zeros(size)) for size in sizes]
    centre = scores.mean(axis=0)
    step = 0
    for _ in range(EPOCHS):
        order = generator.permutation(len(vectors))
        for batch in np.array_split(order, max(1, len(order) // BATCH)):
            step += 1
            slopes = _slopes(weights, vectors[batch], scores[batch] - centre)
            for place, slope in enumerate(slopes):
                first, second = moments[place]
                first = 0.9 * first + 0.1 * slope
                second = 0.999 * second + 0.001 * slope * slope
                moments[place] = (first, second)
                moved = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
                weights[place] = weights[place] - STEP * (moved + DECAY * weights[place])
    hidden = np.maximum(asked @ weights[0] + weights[1], 0)
    return hidden @ weights[2] + weights[3] + centre


def _slopes(weights: list[Floats], rows: Floats, wanted: Floats) -> list[Floats]:
    hidden = np.maximum(rows @ weights[0] + weights[1], 0)
    missed = 2 * (hidden @ weights[2] + weights[3] - wanted) / len(rows)
    back = (missed @ weights[2].T) * (hidden > 0)
    return [rows.T @ back, back.sum(axis=0), hidden.T @ missed, missed.sum(axis=0)]
