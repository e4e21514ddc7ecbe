"""Report what a router would have delivered and cost on labels, beside what trivial rules would have."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.savings.route.choice import Option
from bursar.savings.route.curve import Gap, Point, cheapest, curve, delivered, gap
from bursar.savings.route.labels import Labels

Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]

QUALITIES: Final = (95, 98, 100)
_FOLDS: Final = 5


class Report(msgspec.Struct, frozen=True):
    """Hold what was found. Costs are mean dollars a call; qualities the share of good answers.

    `savings` are by percent of the best single model's quality, None where the router does not reach it. `gap` stands
    where there are two models, and where the labels leave something between them.
    """

    labels: int
    single: dict[str, Point]
    best: str
    router: tuple[Point, ...]
    oracle: Point
    by_task: Point | None
    savings: dict[int, float | None]
    gap: Gap | None = None
    longest_first: Gap | None = None


def evaluate(labels: Labels, chances: Floats, dollars: Floats, task: str = "") -> Report:
    """Report on expectations that no fit has had these labels for; `task` is a tag to tell tasks apart by.

    `dollars` are what each answer cost, (labels, models).
    """
    rows = len(labels)
    single = {
        model: delivered(labels.scores, dollars, np.full(rows, column)) for column, model in enumerate(labels.models)
    }
    best = max(single, key=lambda model: (single[model].quality, -single[model].dollars))
    points = _frontier([*curve(chances, labels.scores, dollars), *single.values()])
    gaps = _gaps(labels, chances, [single[model] for model in labels.models])
    return Report(
        rows,
        single,
        best,
        tuple(points),
        delivered(labels.scores, dollars, _oracle(labels.scores, dollars)),
        _by_task(labels, dollars, task) if task else None,
        {percent: _saving(points, single[best], percent) for percent in QUALITIES},
        *gaps,
    )


def dollars_of(labels: Labels, options: Sequence[Option]) -> Floats:
    """Return what each label's answers cost at the options' rates, by the tokens that were counted."""
    rates = np.array([(option.input_rate_nano or 0, option.output_rate_nano or 0) for option in options], np.float64)
    return (labels.prompt_tokens[:, None] * rates[:, 0] + labels.tokens * rates[:, 1]) / 1e15


def _frontier(points: list[Point]) -> list[Point]:
    """Return the points that no cheaper one is as good as, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda each: (each.dollars, -each.quality)):
        if not kept or point.quality > kept[-1].quality:
            kept.append(point)
    return kept


def _saving(points: list[Point], best: Point, percent: int) -> float | None:
    least = cheapest(points, best.quality * percent / 100)
    return None if least is None or best.dollars <= 0 else 1 - least / best.dollars


def _oracle(scores: Floats, dollars: Floats) -> Places:
    """Return for each row the cheapest of the models that answer best."""
    best = scores.max(axis=1, keepdims=True)
    return np.where(scores >= best, dollars, np.inf).argmin(axis=1)


def _by_task(labels: Labels, dollars: Floats, task: str) -> Point:
    """Return what a table of each task's best model delivers, learned on four fifths and tried on the fifth."""
    names = np.array([tags.get(task, "") for tags in labels.tags])
    folds = np.random.default_rng(0).permutation(np.arange(len(labels)) % _FOLDS)
    picks = np.zeros(len(labels), np.int64)
    for fold in range(_FOLDS):
        held, everywhere = folds == fold, int(labels.scores[folds != fold].mean(axis=0).argmax())
        for name in np.unique(names[held]):
            taught = (folds != fold) & (names == name)
            picks[held & (names == name)] = labels.scores[taught].mean(axis=0).argmax() if taught.any() else everywhere
    return delivered(labels.scores, dollars, picks)


def _gaps(labels: Labels, chances: Floats, single: list[Point]) -> tuple[Gap | None, Gap | None]:
    """Return how the router and the rule "longest first" close the gap between two models."""
    if len(single) != 2 or single[0].quality == single[1].quality:
        return None, None
    weak, strong = (0, 1) if single[0].quality < single[1].quality else (1, 0)
    scores = labels.scores[:, weak], labels.scores[:, strong]
    lengths = np.array([len(prompt) for prompt in labels.prompts], np.float64)
    return gap(chances[:, strong] - chances[:, weak], *scores), gap(lengths, *scores)
