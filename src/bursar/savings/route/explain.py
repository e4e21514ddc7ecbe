"""Say in words which things in a prompt spoke for which model."""

from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.savings.route.features import effort, look, named_marks
from bursar.savings.route.learned import LearnedPredictor
from bursar.savings.route.likeness import FIGURES, marked

Floats: TypeAlias = npt.NDArray[np.float64]

SHOWN: Final = 8
NOTICED: Final = 0.5
"""Spreads from the mean from where on a figure is worth a word."""

TREES: Final = "figures and topic together, by trees"


class Reason(msgspec.Struct, frozen=True):
    """Hold what one thing in a text adds to the chance of each of a router's models, in the router's order.

    `away` is how far a figure is from the labels' mean, in spreads; None for what is no figure.
    """

    what: str
    adds: tuple[float, ...]
    away: float | None = None


class Explanation(msgspec.Struct, frozen=True):
    """Hold each router model's chance and what spoke for and against them, what tells them apart most first."""

    models: tuple[str, ...]
    chances: tuple[float, ...]
    effort: float  # how much work the text asks for: 0 is usual, 1 a spread more
    reasons: tuple[Reason, ...]


def explain(text: str, predictor: LearnedPredictor) -> Explanation:
    """Explain a text's chances.

    A figure is set back to the labels' mean and what changes is its part; parts need not add up, since figures act
    together. A word's part is its own weight; the topic's is all that vectors of the question and of the whole text
    say by likeness; trees, which ask of figures and topic together, are one part.
    """
    coefficients, seen = predictor.coefficients, look(text)
    parts = coefficients.parts(seen)
    figures = parts.measures
    usual = coefficients.by_topics.usual + coefficients.by_fields.usual
    reasons = [Reason("the topic", _told(parts.topics + parts.fields - usual)), Reason(TREES, _told(parts.trees))]
    for place, name in enumerate(FIGURES):
        if abs(figures[place]) >= NOTICED:
            without = figures.copy()
            without[place] = 0.0
            part = parts.figures - coefficients.by_figures.of(without)
            reasons.append(Reason(name.replace("_", " "), _told(part), float(figures[place])))
    weight = 1 / max(1, len(seen.marks)) ** 0.5
    for words, mark in named_marks(seen.question):
        buckets, signs = marked([mark])
        reasons.append(Reason(f'"{words}"', _told(signs[0] * weight * coefficients.mark_weights[buckets[0]])))
    reasons.sort(key=lambda each: max(each.adds) - min(each.adds), reverse=True)
    return Explanation(predictor.router.models, _told(parts.chances), round(effort(seen), 3), tuple(reasons[:SHOWN]))


def said(reason: Reason, models: tuple[str, ...]) -> str:
    """Say a reason in a line: what it is, how far from usual, and for which model it speaks most."""
    best, worst = int(np.argmax(reason.adds)), int(np.argmin(reason.adds))
    much = ""
    if reason.away is not None:
        much = f" (figure, {abs(reason.away):.1f} spreads {'above' if reason.away > 0 else 'below'} the labels' mean)"
    apart = (reason.adds[best] - reason.adds[worst]) * 100
    return f"{reason.what}{much}: {apart:+.1f} points for {models[best]} over {models[worst]}"


def _told(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
