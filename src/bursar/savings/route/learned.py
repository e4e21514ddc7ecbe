"""Expect how good answers will be by a trained router: its coefficients on what is seen in a text."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import log
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.core.errors import ConfigError
from bursar.core.money import NANO_PER_USD
from bursar.embed.embedder import Embedder
from bursar.savings.route.arrays import Packed, unpacked
from bursar.savings.route.choice import Asked, Option, Target
from bursar.savings.route.features import BUCKETS, Look, look
from bursar.savings.route.fields import FIELDS
from bursar.savings.route.fields import load as load_fields
from bursar.savings.route.likeness import (
    COMPONENTS,
    FIELD_WIDTH,
    FIGURE_WIDTH,
    FIGURES,
    TOPIC_WIDTH,
    Likeness,
    Seen,
    marked,
    measured,
    standard,
)
from bursar.savings.route.policy import Policy
from bursar.savings.route.predictor import Exchange
from bursar.savings.route.promise import exchange as calibrated
from bursar.savings.route.router import Router, read_router
from bursar.savings.route.trees import DEPTH, LEAVES, TREES, Trees

Floats: TypeAlias = npt.NDArray[np.float64]
Placing: TypeAlias = Mapping[str, Floats]
"""By model, how much of each of the router's models it is."""

USUAL_PROMPT_TOKENS: Final = 1_000
"""The prompt at which prices are compared to place models."""


class Parts(msgspec.Struct, frozen=True):
    """Hold what each kind of evidence adds to the chances of the router's models; `measures` are figures in spreads."""

    biases: Floats
    measures: Floats
    figures: Floats
    topics: Floats
    fields: Floats
    marks: Floats
    trees: Floats

    @property
    def chances(self) -> Floats:
        """Return the sum as chances."""
        return np.clip(self.biases + self.figures + self.topics + self.fields + self.marks + self.trees, 0.0, 1.0)


class Coefficients:
    """Hold a router's arrays, ready to be used. Raises `ConfigError` for another embedder's or a broken file."""

    def __init__(self, router: Router, embedder: Embedder) -> None:
        if router.embedder != embedder.name:
            raise ConfigError(
                f"the router was trained on vectors of {router.embedder}, here are those of {embedder.name}; "
                "train it again with `bursar route train`"
            )
        models, figures = len(router.models), len(FIGURES)
        self.means = unpacked(router.means, (figures,), "means")
        self.spreads = unpacked(router.spreads, (figures,), "spreads")
        self.mark_weights = unpacked(router.mark_weights, (BUCKETS, models), "mark weights")
        self.biases = unpacked(router.biases, (models,), "biases")
        self.by_figures = _likeness(
            router.landmarks, router.landmark_weights, (figures, models), FIGURE_WIDTH / figures, "landmarks"
        )
        self.by_topics = _likeness(
            router.topics, router.topic_weights, (embedder.dimensions, models), TOPIC_WIDTH, "topics"
        )
        self.by_fields = _likeness(router.fields, router.field_weights, (FIELDS, models), FIELD_WIDTH, "fields")
        self._field_spread = router.field_spread
        self._components = unpacked(router.components, (embedder.dimensions, COMPONENTS), "components")
        self._trees = _trees(router)
        self._embedder = embedder

    def parts(self, seen: Look) -> Parts:
        """Return what each kind of evidence says of a text."""
        buckets, signs = marked(seen.marks)
        found = measured(seen, self._embedder)
        figures = standard(found.figures, self.means, self.spreads)
        lies = load_fields().located(found.whole, self._embedder.name) / self._field_spread
        asked = np.concatenate([found.figures, found.whole @ self._components])
        return Parts(
            self.biases,
            figures,
            self.by_figures.of(figures),
            self.by_topics.of(found.question),
            self.by_fields.of(lies),
            signs @ self.mark_weights.take(buckets, axis=0),
            self._trees.differences(asked[None])[0],
        )

    def many(self, seen: Seen) -> Floats:
        """Return the chances of many texts at once, (rows, models)."""
        asked = np.concatenate([seen.figures, seen.wholes @ self._components], axis=1)
        raw = (
            self.biases
            + self.by_figures.of_many(standard(seen.figures, self.means, self.spreads))
            + self.by_topics.of_many(seen.vectors)
            + self.by_fields.of_many(seen.fields / self._field_spread)
            + seen.marks @ self.mark_weights
            + self._trees.differences(asked)
        )
        return np.clip(raw, 0.0, 1.0)


class LearnedPredictor:
    """Be a `Predictor` for a policy's models."""

    def __init__(self, router: Router, coefficients: Coefficients, placing: Placing) -> None:
        self.router = router
        self.coefficients = coefficients
        self._placing = placing

    def chances(self, asked: Asked, options: Sequence[Option]) -> tuple[float, ...]:
        """Return for each option the chance that its answer is good enough."""
        found = self.coefficients.parts(look(asked.text)).chances
        return tuple(float(self._placing[option.model] @ found) for option in options)

    def exchange(self, options: Sequence[Option], target: Target) -> Exchange:
        """Return what a dollar must buy so that the target is kept at the options' prices."""
        held, models = self.router.held, len(self.router.models)
        rows = held.chances.shape[0]
        weights = np.array([self._placing[option.model] for option in options]).T
        found = calibrated(
            unpacked(held.chances, (rows, models), "held-out chances") @ weights,
            unpacked(held.scores, (rows, models), "held-out scores") @ weights,
            _dollars(unpacked(held.prompt_tokens, (rows,), "held-out prompts"), options),
            target,
        )
        if not self.router.placed:
            return found
        why = "nothing is promised: the router that ships was taught other models; train one with `bursar route train`"
        return Exchange(found.per_dollar, promised=False, why=why)

    def knows(self, models: Sequence[str]) -> tuple[str, ...]:
        """Name those of the models that it was not taught and cannot place."""
        return tuple(model for model in models if model not in self._placing)


class Learned:
    """Hold a router ready for any policy's models: a `Teaching`."""

    def __init__(self, router: Router, embedder: Embedder) -> None:
        self.router = router
        self._embedder = embedder
        self._coefficients = Coefficients(router, embedder)

    def look_ahead(self, text: str) -> None:
        """Make a text's vectors; an embedder that remembers has them at hand when the text is looked at again."""
        measured(look(text), self._embedder)

    def expected(self, seen: Seen) -> Floats:
        """Return what is expected of the answers of the router's own models, (rows, models)."""
        return self._coefficients.many(seen)

    def predictor(self, policy: Policy, options: Sequence[Option]) -> LearnedPredictor:
        """Return what the router expects of a policy's models.

        A router of strengths places them between its weak and its strong one: as the policy says, else by the logarithm
        of what a usual answer costs. One without a price is never chosen, wherever it stands.
        """
        router, coefficients = self.router, self._coefficients
        if not router.placed:
            places = np.eye(len(router.models))
            return LearnedPredictor(router, coefficients, dict(zip(router.models, places, strict=True)))
        strengths = policy.strengths or _placed_by_rates(options)
        places = {model: np.array([1 - each, each]) for model, each in strengths.items()}
        return LearnedPredictor(router, coefficients, places)


def load() -> Router:
    """Read the router that ships with the package."""
    return read_router((files("bursar.savings.route") / "data" / "router.json").read_bytes(), "the router that ships")


def _likeness(kept: Packed, weights: Packed, shape: tuple[int, int], width: float, what: str) -> Likeness:
    """Unpack rows and their weights; `shape` is how wide each row of either is."""
    rows = kept.shape[0]
    return Likeness(
        unpacked(kept, (rows, shape[0]), what), unpacked(weights, (rows, shape[1]), f"{what}' weights"), width
    )


def _trees(router: Router) -> Trees:
    columns = unpacked(router.tree_columns, (TREES, DEPTH), "trees").astype(np.int64)
    if columns.min() < 0 or columns.max() >= len(FIGURES) + COMPONENTS:
        raise ConfigError("the router's trees ask of what is not seen in a text; train it again")
    return Trees(
        columns,
        unpacked(router.tree_thresholds, (TREES, DEPTH), "trees' thresholds"),
        unpacked(router.tree_values, (TREES, LEAVES, len(router.models)), "trees' values"),
    )


def _placed_by_rates(options: Sequence[Option]) -> dict[str, float]:
    costs = {each.model: log(1 + each.cost_nano(USUAL_PROMPT_TOKENS)) for each in options if each.priced}
    least, most = min(costs.values(), default=0.0), max(costs.values(), default=0.0)
    placed = {model: (each - least) / (most - least) if most > least else 1.0 for model, each in costs.items()}
    return {option.model: placed.get(option.model, 0.0) for option in options}


def _dollars(prompt_tokens: Floats, options: Sequence[Option]) -> Floats:
    """Return what each option's answers to prompts of these lengths cost, (rows, options)."""
    counts: list[int] = np.rint(prompt_tokens).astype(np.int64).tolist()
    nano = [[option.cost_nano(count) for option in options] for count in counts]
    return np.array(nano) / NANO_PER_USD  # a float weighs; nothing is booked from it
