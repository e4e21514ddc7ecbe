"""Measure a router: what quality it delivers at what cost, and what of the gap between two models it closes.

PGR = (quality - weak) / (strong - weak); CPT(x) is the smallest share of strong calls that reaches PGR x; APGR is the
area under PGR over that share, by trapezoids over 11 points (RouteLLM, arXiv 2406.18665; random gives 0.5).
"""

from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
POINTS: Final = 11


class Gap(msgspec.Struct, frozen=True):
    """Hold how a ranking closes the gap between a weak and a strong model. Shares are 0 to 1, of calls."""

    apgr: float
    cpt50: float
    cpt80: float
    calls_at_95: float  # share of strong calls that gives 95 % of the strong model's quality
    calls_at_98: float


class Point(msgspec.Struct, frozen=True):
    """Hold a point of a curve: mean cost of a call in dollars, and the share of good answers."""

    dollars: float
    quality: float


def gap(ranking: Floats, weak: Floats, strong: Floats) -> Gap:
    """Measure a ranking by which calls go to the strong model, the highest first; ties keep the order of rows."""
    gained = _gained(ranking, strong - weak)
    whole = gained[-1]
    if whole <= 0:
        raise ValueError("the strong model is no better than the weak one on these labels")
    share = gained / whole
    places = np.round(np.linspace(0, len(ranking), POINTS)).astype(int)
    at = share[places]
    quality = weak.mean() + gained / len(ranking)
    return Gap(
        apgr=float(((at[1:] + at[:-1]) / 2).mean()),
        cpt50=_first(share >= 0.5),
        cpt80=_first(share >= 0.8),
        calls_at_95=_first(quality >= 0.95 * strong.mean()),
        calls_at_98=_first(quality >= 0.98 * strong.mean()),
    )


def taken(chances: Floats, dollars: Floats, per_dollar: float) -> npt.NDArray[np.int64]:
    """Return for each row the model whose chance is most after its cost; of equals the cheaper."""
    worth = chances - per_dollar * dollars
    best = worth.max(axis=1, keepdims=True)
    return np.where(worth >= best - 1e-12, dollars, np.inf).argmin(axis=1)


def delivered(scores: Floats, dollars: Floats, picks: npt.NDArray[np.int64]) -> Point:
    """Return what picks cost and deliver on average."""
    rows = np.arange(len(picks))
    return Point(float(dollars[rows, picks].mean()), float(scores[rows, picks].mean()))


def prices(chances: Floats, dollars: Floats, count: int = 60) -> Floats:
    """Return exchanges of quality for dollars to try, from 0 to where only the cheapest is taken."""
    spread = float(np.ptp(chances)) or 1.0
    apart: Floats = dollars.max(axis=1) - dollars.min(axis=1)
    per_call = float(np.median(apart)) or 1e-9
    return np.concatenate([[0.0], np.geomspace(spread / per_call / 300, spread / per_call * 20, count)])


def curve(chances: Floats, scores: Floats, dollars: Floats) -> list[Point]:
    """Return what a router costs and delivers at each exchange, cheapest first."""
    return [
        delivered(scores, dollars, taken(chances, dollars, each))
        for each in reversed(prices(chances, dollars).tolist())
    ]


def cheapest(points: list[Point], quality: float) -> float | None:
    """Return the least that reaches a quality, None where nothing does."""
    reached = [point.dollars for point in points if point.quality >= quality]
    return min(reached) if reached else None


def quality_at(points: list[Point], dollars: float) -> float | None:
    """Return the best quality to be had for a mean cost, None where nothing is that cheap."""
    affordable = [point.quality for point in points if point.dollars <= dollars * (1 + 1e-9)]
    return max(affordable) if affordable else None


def _gained(ranking: Floats, gain: Floats) -> Floats:
    order = np.argsort(-ranking, kind="stable")
    return np.concatenate([[0.0], np.cumsum(gain[order])])


def _first(reached: npt.NDArray[np.bool_]) -> float:
    """Return the share of calls from where on something is reached first."""
    return float(np.argmax(reached)) / (len(reached) - 1)
