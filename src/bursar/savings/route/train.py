"""Make a router of labels: look, fit, check on rows left out, and write down what it was made of."""

from hashlib import sha256
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.embed.embedder import Embedder
from bursar.savings.route.arrays import packed
from bursar.savings.route.fit import Fitted, crossed, fit, stretch_of, stretched
from bursar.savings.route.labels import Labels
from bursar.savings.route.likeness import see
from bursar.savings.route.router import VERSION, Card, Held, Router

Floats: TypeAlias = npt.NDArray[np.float64]

TAUGHT_MAX: Final = 3_000
"""Rows that coefficients are fitted to: time goes by their cube. Others are expected, and calibrate promises."""
_PART: Final = 2_000
HELD_MAX: Final = 3_000
"""Rows kept to calibrate promises on: an interval of them is a point wide at most."""


class Trained(msgspec.Struct, frozen=True):
    """Hold a router with what it expected of each label that it was not given, (labels, models)."""

    router: Router
    chances: Floats


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Say what a card cannot know by itself."""

    trained_on: str
    trained: str  # the day
    limits: str
    licence: str = ""
    placed: bool = False


def train(labels: Labels, embedder: Embedder, about: About, seed: int = 0) -> Trained:
    """Train a router. The same labels and seed give the same router."""
    order = np.random.default_rng(seed).permutation(len(labels))
    taught = np.sort(order[:TAUGHT_MAX])
    seen, scores = see(labels.rows(taught).prompts, embedder), labels.scores[taught]
    shrunk, means = fit(seen, scores, seed), scores.mean(axis=0)
    expected = np.zeros_like(labels.scores)
    expected[taught] = crossed(seen, scores, shrunk, seed)
    for part in _parts(np.sort(order[TAUGHT_MAX:])):
        expected[part] = shrunk.chances(see(labels.rows(part).prompts, embedder))
    stretch = stretch_of(expected[taught], scores)
    fitted = stretched(shrunk, means, stretch)
    chances = np.clip(means + stretch * (expected - means), 0.0, 1.0)
    card = Card(
        trained_on=about.trained_on,
        labels=len(labels),
        labels_sha256=labels_sha256(labels),
        trained=about.trained,
        figures=_figures(labels, chances),
        limits=about.limits,
        licence=about.licence,
    )
    return Trained(_router(labels, embedder, fitted, chances, card, placed=about.placed), chances)


def _router(labels: Labels, embedder: Embedder, fitted: Fitted, chances: Floats, card: Card, *, placed: bool) -> Router:
    bases = fitted.bases
    kept = np.linspace(0, len(labels) - 1, min(HELD_MAX, len(labels))).astype(np.int64)
    means: list[float] = labels.tokens.mean(axis=0).tolist()
    return Router(
        version=VERSION,
        embedder=embedder.name,
        models=labels.models,
        placed=placed,
        means=packed(bases.means),
        spreads=packed(bases.spreads),
        landmarks=packed(bases.landmarks),
        landmark_weights=packed(fitted.landmark_weights),
        topics=packed(bases.topics),
        topic_weights=packed(fitted.topic_weights),
        fields=packed(bases.fields),
        field_weights=packed(fitted.field_weights),
        field_spread=bases.field_spread,
        components=packed(bases.components),
        tree_columns=packed(fitted.trees.columns.astype(np.float64)),
        tree_thresholds=packed(fitted.trees.thresholds),
        tree_values=packed(fitted.trees.values),
        mark_weights=packed(fitted.mark_weights),
        biases=packed(fitted.biases),
        tokens=dict(zip(labels.models, means, strict=True)) if labels.counted else {},
        held=Held(
            packed(chances[kept]),
            packed(labels.scores[kept]),
            packed(labels.tokens[kept]),
            packed(labels.prompt_tokens[kept]),
        ),
        card=card,
    )


def _parts(places: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut places so that what is seen of a part fits in memory."""
    return [places[start : start + _PART] for start in range(0, len(places), _PART)]


def _figures(labels: Labels, chances: Floats) -> dict[str, float]:
    """Say how good the expectations are: mean score by model, and by it the mean square they missed by."""
    figures: dict[str, float] = {}
    for column, model in enumerate(labels.models):
        scores = labels.scores[:, column]
        figures[f"{model} mean score"] = round(float(scores.mean()), 4)
        figures[f"{model} variance explained"] = round(
            1 - float(((scores - chances[:, column]) ** 2).mean() / max(float(scores.var()), 1e-9)), 4
        )
    return figures


def labels_sha256(labels: Labels) -> str:
    """Return the SHA-256 of prompts, models and scores: two sets with the same one are the same."""
    held = msgspec.json.encode([labels.prompts, labels.models, labels.scores.tolist()])
    return sha256(held).hexdigest()
