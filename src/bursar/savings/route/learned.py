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
from bursar.savings.route.arrays import unpacked
from bursar.savings.route.choice import Asked, Option, Target
from bursar.savings.route.features import BUCKETS, Look, look
from bursar.savings.route.likeness import FIGURE_WIDTH, FIGURES, TOPIC_WIDTH, Seen, alike, marked, measured, standard
from bursar.savings.route.policy import Policy
from bursar.savings.route.predictor import Exchange
from bursar.savings.route.promise import exchange as calibrated
from bursar.savings.route.router import Router, read_router

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
    marks: Floats

    @property
    def chances(self) -> Floats:
        """Return the sum as chances."""
        return np.clip(self.biases + self.figures + self.topics + self.marks, 0.0, 1.0)


class Coefficients:
    """Hold a router's arrays, ready to be used. Raises `ConfigError` for another embedder's or a broken file."""

    def __init__(self, router: Router, embedder: Embedder) -> None:
        if router.embedder != embedder.name:
            raise ConfigError(
                f"the router was trained on vectors of {router.embedder}, here are those of {embedder.name}; "
                "train it again with `bursar route train`"
            )
        models, figures = len(router.models), len(FIGURES)
        landmarks, topics = router.landmarks.shape[0], router.topics.shape[0]
        self.means = unpacked(router.means, (figures,), "means")
        self.spreads = unpacked(router.spreads, (figures,), "spreads")
        self.landmarks = unpacked(router.landmarks, (landmarks, figures), "landmarks")
        self.topics = unpacked(router.topics, (topics, embedder.dimensions), "topics").astype(np.float32)
        self.landmark_weights = unpacked(router.landmark_weights, (landmarks, models), "landmark weights")
        self.topic_weights = unpacked(router.topic_weights, (topics, models), "topic weights")
        self.mark_weights = unpacked(router.mark_weights, (BUCKETS, models), "mark weights")
        self.biases = unpacked(router.biases, (models,), "biases")
        self._embedder = embedder
        self._landmark_squares = (self.landmarks**2).sum(axis=1)
        self._topic_squares = (self.topics**2).sum(axis=1)

    @property
    def usual_topic(self) -> Floats:
        """Return what the topics say of themselves on average."""
        distances = self._topic_squares[:, None] + self._topic_squares - 2 * self.topics @ self.topics.T
        return (np.exp(-TOPIC_WIDTH * np.maximum(distances, 0)) @ self.topic_weights).mean(axis=0)

    def parts(self, seen: Look) -> Parts:
        """Return what each kind of evidence says of a text."""
        buckets, signs = marked(seen.marks)
        measures, question = measured(seen, self._embedder)
        figures = standard(measures, self.means, self.spreads)
        vector = question.astype(np.float32)
        distances = self._topic_squares + float(vector @ vector) - 2 * (self.topics @ vector)
        likeness = np.exp(-TOPIC_WIDTH * np.maximum(distances, 0)).astype(np.float64)
        return Parts(
            self.biases,
            figures,
            self.by_figures(figures),
            likeness @ self.topic_weights,
            signs @ self.mark_weights[buckets],
        )

    def many(self, seen: Seen) -> Floats:
        """Return the chances of many texts at once, (rows, models)."""
        figures = alike(standard(seen.figures, self.means, self.spreads), self.landmarks, FIGURE_WIDTH / len(FIGURES))
        topics = alike(seen.vectors, self.topics.astype(np.float64), TOPIC_WIDTH)
        raw = self.biases + figures @ self.landmark_weights + topics @ self.topic_weights
        return np.clip(raw + seen.marks @ self.mark_weights, 0.0, 1.0)

    def by_figures(self, figures: Floats) -> Floats:
        """Return what standardised figures say."""
        distances = self._landmark_squares + figures @ figures - 2 * (self.landmarks @ figures)
        return np.exp(-FIGURE_WIDTH / len(figures) * np.maximum(distances, 0)) @ self.landmark_weights


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
        self._coefficients = Coefficients(router, embedder)

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
