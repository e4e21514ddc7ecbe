"""Measure routing among nine models of two prices, five-fold, and on tasks never seen."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.figures import Figure
from bench.routing import sets
from bench.routing.baselines import best_by_group, neighbours, network
from bursar.embed.embedder import Embedder
from bursar.savings.route.curve import Point, cheapest, curve, delivered, quality_at
from bursar.savings.route.fit import fit
from bursar.savings.route.likeness import Seen, see
from bursar.savings.route.train import TAUGHT_MAX

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

FOLDS = 5
SEED = 6
UNSEEN_TAUGHT = 1_500
OUTPUT_TOKENS = 200
CHARACTERS_PER_TOKEN = 4


def nine(data: Path, embedder: Embedder) -> list[Figure]:
    """Measure the gain over the best single model, and the cost at its score."""
    held = sets.nine(data)
    seen, dollars = see(held.prompts, embedder), costs(data, held)
    folds = by_question(held.prompts)
    chances = expected(seen, held.scores, folds)
    single = [delivered(held.scores, dollars, np.full(len(folds), each)) for each in range(len(held.models))]
    best = max(single, key=lambda each: (each.quality, -each.dollars))
    points = curve(chances, held.scores, dollars)
    tasks = np.unique(held.groups, return_inverse=True)[1]
    unseen = curve(expected(seen, held.scores, tasks, UNSEEN_TAUGHT), held.scores, dollars)
    gain, ratio = _against(points, best)
    others = {
        "task table": delivered(held.scores, dollars, _by_task(held, folds)),
        "neighbours": curve(_by(seen, held.scores, folds, "neighbours"), held.scores, dollars),
        "network": curve(_by(seen, held.scores, folds, "network"), held.scores, dollars),
    }
    gains, ratios = {}, {}
    for name, found in others.items():
        pair = _against([found] if isinstance(found, Point) else found, best)
        gains[name], ratios[name] = round(pair[0], 1), round(pair[1], 2)
    oracle = held.scores.max(axis=1).mean() - best.quality
    far = _against(unseen, best)
    how = (
        f"n {len(folds):,}, {FOLDS} folds by question, {TAUGHT_MAX:,} rows taught, seed {SEED}; "
        f"best single {best.quality * 100:.1f} at "
        f"{best.dollars * 1e6:.0f} USD a million calls; cost is price x (characters / {CHARACTERS_PER_TOKEN} + "
        f"{OUTPUT_TOKENS} tokens), the same for all models; on tasks never seen {far[0]:+.1f} points, "
        f"cost {far[1]:.2f}; oracle {oracle * 100:+.1f} points; SHA-256 {sets.sha256(data / sets.ULAB)}"
    )
    return [
        Figure("route.nine_models_gain_points", round(gain, 2), "points", gains, how),
        Figure(
            "route.nine_models_cost_ratio", round(ratio, 3), "", ratios, "cost over the best single's, at its score"
        ),
    ]


def costs(data: Path, held: sets.Set) -> Floats:
    """Return what answers are estimated to cost, (rows, models): the set counts no tokens."""
    prices = sets.nine_prices(data)
    rates = np.array([prices[model] for model in held.models]) / 1e6
    lengths = np.array([len(prompt) / CHARACTERS_PER_TOKEN for prompt in held.prompts])
    return lengths[:, None] * rates[:, 0] + OUTPUT_TOKENS * rates[:, 1]


def by_question(prompts: list[str]) -> Places:
    """Return a fold for each row; rows of one question share theirs."""
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    fold_of = np.random.default_rng(SEED).permutation(np.arange(len(numbers)) % FOLDS)
    return np.array([fold_of[numbers[prompt]] for prompt in prompts])


def expected(seen: Seen, scores: Floats, folds: Places, taught_max: int = TAUGHT_MAX) -> Floats:
    """Return what is expected of each row by a router that was taught rows of the other folds."""
    found = np.zeros_like(scores)
    for fold in np.unique(folds):
        asked = np.flatnonzero(folds == fold)
        taught = np.random.default_rng(SEED).permutation(np.flatnonzero(folds != fold))[:taught_max]
        found[asked] = fit(seen.rows(taught), scores[taught], SEED).chances(seen.rows(asked))
    return found


def _by(seen: Seen, scores: Floats, folds: Places, way: str) -> Floats:
    found = np.zeros_like(scores)
    for fold in range(FOLDS):
        taught, asked = folds != fold, folds == fold
        given = seen.vectors[taught], scores[taught], seen.vectors[asked]
        found[asked] = neighbours(*given) if way == "neighbours" else network(*given, SEED)
    return found


def _by_task(held: sets.Set, folds: Places) -> Places:
    picks = np.zeros(len(folds), np.int64)
    for fold in range(FOLDS):
        taught, asked = folds != fold, folds == fold
        picks[asked] = best_by_group(held.groups[taught], held.scores[taught], held.groups[asked])
    return picks


def _against(points: list[Point], best: Point) -> tuple[float, float]:
    """Return points of score over the best single at no more cost, and cost over its cost at its score."""
    quality, least = quality_at(points, best.dollars), cheapest(points, best.quality)
    gain = float("nan") if quality is None else (quality - best.quality) * 100
    return gain, float("nan") if least is None else least / best.dollars
