"""Measure routing between two models on RouteLLM's questions: some labels to learn from, the rest to be judged on."""

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bench.figures import Figure
from bench.routing import sets
from bench.routing.baselines import gain_by_group
from bursar.embed.embedder import Embedder
from bursar.savings.route.choice import Target
from bursar.savings.route.curve import Gap, gap, taken
from bursar.savings.route.features import effort, look
from bursar.savings.route.fit import crossed, fit
from bursar.savings.route.likeness import Seen, see
from bursar.savings.route.promise import CONFIDENCE, TOLERANCE, exchange

Floats = npt.NDArray[np.float64]

LABELS = 1_500
DRAWS = tuple(range(1, 11))
"""Seeds of the draws that are scored; seed 0 is the draw that settings were made on."""
WORLDS = 40
TARGETS = (90, 95, 98)
USD_A_CALL = (0.0003, 0.01)
"""What a call of the weak and of the strong model is taken to cost: the set has no tokens; only the order matters."""

MMLU_ANCHORS = {"RouteLLM's best": 0.603, "longest first": 0.583, "subject table": 0.639, "random": 0.5}
GSM8K_ANCHORS = {"RouteLLM's best": 0.622, "longest first": 0.598, "random": 0.5}


class Draw(msgspec.Struct, frozen=True):
    """Hold one draw: what was expected of labels and of the rest, and where these lie."""

    taught: npt.NDArray[np.int64]
    rest: npt.NDArray[np.int64]
    held: Floats
    chances: Floats


def mmlu(data: Path, embedder: Embedder) -> tuple[list[Figure], list[Figure]]:
    """Measure the ranking and the promises on MMLU; return the figures of each."""
    held = sets.mmlu(data)
    seen = see(held.prompts, embedder)
    draws = [_drawn(seen, held.scores, seed) for seed in DRAWS]
    gaps = [_gap(draw.chances, held.scores[draw.rest]) for draw in draws]
    tables = [_by_subject(held, draw) for draw in draws]
    lengths = np.array([float(len(prompt)) for prompt in held.prompts])
    longest = [gap(lengths[draw.rest], *held.scores[draw.rest].T) for draw in draws]
    apgr = [each.apgr for each in gaps]
    dropped = _with_dropped(data, held, draws[0], embedder)
    note = (
        f"mean of seeds {DRAWS[0]} to {DRAWS[-1]}, {min(apgr):.3f} to {max(apgr):.3f}; {LABELS:,} labels, "
        f"{len(held.prompts) - LABELS:,} tested; CPT50 {_mean(gaps, 'cpt50')}, CPT80 {_mean(gaps, 'cpt80')}; "
        f"subject table on the same draws {np.mean([each.apgr for each in tables]):.3f}, longest first "
        f"{np.mean([each.apgr for each in longest]):.3f}; with the 5 contaminated rows, seed {DRAWS[0]}: "
        f"{dropped:.3f} for {apgr[0]:.3f}; SHA-256 {sets.sha256(data / sets.MMLU)}"
    )
    calls = [each.calls_at_95 * 100 for each in gaps]
    figures = [
        Figure("route.mmlu_apgr", round(float(np.mean(apgr)), 3), "", MMLU_ANCHORS, note),
        Figure(
            "route.mmlu_calls_at_95",
            round(float(np.mean(calls)), 1),
            "%",
            {"random": round(_random_calls(held.scores), 1), "longest first": _mean(longest, "calls_at_95")},
            "strong calls for 95 % of the strong model's quality; nothing is published for it",
        ),
    ]
    return figures, _promises(held.scores, draws)


def gsm8k(data: Path) -> list[Figure]:
    """Measure the effort of a text, which needs no labels, on GSM8K."""
    held, whole = sets.gsm8k(data), sets.gsm8k(data, all_rows=True)
    found, all_rows = (_effort_gap(each) for each in (held, whole))
    longest = gap(np.array([float(len(prompt)) for prompt in held.prompts]), *held.scores.T)
    note = (
        f"no labels at all; n {len(held.prompts):,}, with the contaminated rows {len(whole.prompts):,}: "
        f"{all_rows.apgr:.3f}; CPT50 {found.cpt50 * 100:.1f}, CPT80 {found.cpt80 * 100:.1f}; longest first "
        f"{longest.apgr:.3f}; SHA-256 {sets.sha256(data / sets.GSM8K)}"
    )
    return [
        Figure("route.gsm8k_apgr", round(found.apgr, 3), "", GSM8K_ANCHORS, note),
        Figure(
            "route.gsm8k_calls_at_95",
            round(found.calls_at_95 * 100, 1),
            "%",
            {
                "random": round(_random_calls(held.scores), 1),
                "longest first": round(longest.calls_at_95 * 100, 1),
            },
            "strong calls for 95 % of the strong model's quality; nothing is published for it",
        ),
    ]


def _drawn(seen: Seen, scores: Floats, seed: int) -> Draw:
    places = np.random.default_rng(seed).permutation(len(seen))
    taught, rest = places[:LABELS], places[LABELS:]
    labels = seen.rows(taught)
    fitted = fit(labels, scores[taught], seed)
    chances = np.concatenate([fitted.chances(seen.rows(part)) for part in np.array_split(rest, 8)])
    return Draw(taught, rest, crossed(labels, scores[taught], fitted, seed), chances)


def _gap(chances: Floats, scores: Floats) -> Gap:
    return gap(chances[:, 1] - chances[:, 0], *scores.T)


def _by_subject(held: sets.Set, draw: Draw) -> Gap:
    gains = held.scores[draw.taught, 1] - held.scores[draw.taught, 0]
    ranking = gain_by_group(held.groups[draw.taught], gains, held.groups[draw.rest])
    return gap(ranking, *held.scores[draw.rest].T)


def _with_dropped(data: Path, held: sets.Set, draw: Draw, embedder: Embedder) -> float:
    """Return a draw's APGR when the rows that RouteLLM drops are tested too."""
    whole = sets.mmlu(data, all_rows=True)
    known = set(held.prompts)
    more = np.array([row for row, prompt in enumerate(whole.prompts) if prompt not in known])
    seen = see([held.prompts[row] for row in draw.taught], embedder)
    fitted = fit(seen, held.scores[draw.taught], DRAWS[0])
    chances = fitted.chances(see([whole.prompts[row] for row in more], embedder))
    scores = np.concatenate([held.scores[draw.rest], whole.scores[more]])
    return _gap(np.concatenate([draw.chances, chances]), scores).apgr


def _effort_gap(held: sets.Set) -> Gap:
    return gap(np.array([effort(look(prompt)) for prompt in held.prompts]), *held.scores.T)


def _random_calls(scores: Floats) -> float:
    """Return the share of strong calls at which a random router reaches 95 % of the strong model's quality."""
    weak, strong = scores.mean(axis=0)
    return float(max(0.0, (0.95 * strong - weak) / (strong - weak)) * 100)


def _promises(scores: Floats, draws: list[Draw]) -> list[Figure]:
    """Measure how often a promise is kept in worlds drawn from the rows no router of a draw was taught."""
    kept: dict[int, list[bool]] = {target: [] for target in TARGETS}
    calls: dict[int, list[float]] = {target: [] for target in TARGETS}
    made = 0
    for seed, draw in zip(DRAWS, draws, strict=True):
        costs = np.tile(USD_A_CALL, (len(draw.taught), 1))
        for target in TARGETS:
            found = exchange(draw.held, scores[draw.taught], costs, Target(quality_percent=target))
            made += found.promised
            picks = taken(draw.chances, np.tile(USD_A_CALL, (len(draw.rest), 1)), found.per_dollar)
            calls[target].append(float(picks.mean()))
            kept[target] += _worlds(scores[draw.rest], picks, target, seed)
    every = [each for worlds in kept.values() for each in worlds]
    told = "; ".join(
        f"{target} %: {np.mean(kept[target]) * 100:.1f} with {np.mean(calls[target]) * 100:.0f} % strong calls"
        for target in TARGETS
    )
    note = (
        f"{len(every):,} worlds: {len(DRAWS)} draws of {LABELS:,} labels, {WORLDS} resamples of the rest for each; "
        f"{told}; {made} of {len(DRAWS) * len(TARGETS)} were promised, at {CONFIDENCE:.1%} confidence to "
        f"{TOLERANCE * 100:g} point"
    )
    return [Figure("route.promise_kept_pct", round(float(np.mean(every)) * 100, 1), "%", {}, note)]


def _worlds(scores: Floats, picks: npt.NDArray[np.int64], target: int, seed: int) -> list[bool]:
    generator = np.random.default_rng(seed)
    short = target / 100 * scores[:, 1] - scores[np.arange(len(picks)), picks]
    return [bool(short[generator.integers(0, len(short), len(short))].mean() <= TOLERANCE) for _ in range(WORLDS)]


def _mean(gaps: list[Gap], name: str) -> float:
    return round(float(np.mean([getattr(each, name) for each in gaps])) * 100, 1)
