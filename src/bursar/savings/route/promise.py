"""Set how much quality a dollar must buy so that a target is kept, and say with what confidence it is.

Exchanges are tried from the safest on, and the last before the first that fails is taken: so testing many costs no
confidence (fixed sequence testing, arXiv 2110.01052). One is kept when, with the stated confidence, the share of good
answers is no more than a point below the target, measured against every single model: which of them is the best is
not known, and the one that looks best on few labels may be it by luck.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bursar.savings.route.choice import Target
from bursar.savings.route.curve import prices, taken
from bursar.savings.route.predictor import Exchange

Floats: TypeAlias = npt.NDArray[np.float64]
CONFIDENCE: Final = 0.975
QUANTILE: Final = 1.96  # of the normal distribution, at that confidence
TOLERANCE: Final = 0.01  # of the share of good answers
ROWS_MIN: Final = 200
"""Fewer held-out labels than this bear no promise."""
LOSSES_ADDED: Final = 2.0
"""Labels that are added with the worst there can be, half the square of the quantile (Agresti and Coull 1998): where
good answers are rarely lost, the few losses that are seen say too little of those to come."""


def exchange(chances: Floats, scores: Floats, dollars: Floats, target: Target) -> Exchange:
    """Return the exchange that keeps a target most cheaply on labels no coefficient has seen.

    Rows are labels, columns models: what was expected of each answer, how good it was, and what it costs in dollars.
    """
    if target.quality_percent is None:
        return Exchange(0.0, promised=False, why="the best is taken of what a call may cost on average")
    wanted = target.quality_percent / 100 * scores
    rows, kept = np.arange(len(scores)), None
    for per_dollar in prices(chances, dollars).tolist():
        delivered = scores[rows, taken(chances, dollars, per_dollar)]
        if _lower(delivered[:, None] - wanted).min() < -TOLERANCE:
            break
        kept = (per_dollar, float(delivered.mean()))
    return _said(kept, target.quality_percent, len(scores))


def _lower(differences: Floats) -> Floats:
    """Return for each column, of numbers from -1 to 1, the lower end of its mean's one-sided interval."""
    rows = len(differences) + LOSSES_ADDED
    means = (differences.sum(axis=0) - LOSSES_ADDED) / rows
    squares = ((differences**2).sum(axis=0) + LOSSES_ADDED) / rows
    return means - QUANTILE * np.sqrt((squares - means**2) / rows)


def _said(kept: tuple[float, float] | None, percent: float, rows: int) -> Exchange:
    aim = f"{percent:g} % of the best model's quality"
    if kept is None:
        why = f"{aim} cannot be promised: {rows:,} labels are too few, or no choice of these models reaches it"
        return Exchange(0.0, promised=False, why=why)
    per_dollar, quality = kept
    if rows < ROWS_MIN:
        why = f"{aim} is aimed at and not promised: {rows} labels are fewer than {ROWS_MIN}"
        return Exchange(per_dollar, promised=False, why=why, quality=quality)
    why = f"{aim}, to a point, is kept with {CONFIDENCE:.1%} confidence on {rows:,} held-out labels"
    return Exchange(per_dollar, promised=True, why=why, quality=quality)
