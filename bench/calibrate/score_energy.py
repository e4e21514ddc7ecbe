"""Score predicted joules a token on ML.ENERGY's runs, each family left out of the fit that predicts it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.calibrate.energy import CHIPS, tables
from bench.calibrate.energy_fit import CHOICES, Choice, left_out, residuals_of
from bench.calibrate.mlenergy import Run, held_up, out_of_balance, runs
from bench.figures import Figure
from bursar.physics.facts import Facts

Array = npt.NDArray[np.float64]

WH_PER_TOKEN: Final = (1.1665e-6, -0.011206, 4.0529e-5)
"""EcoLogits 0.11: a exp(b batch) active + c, in Wh a token for each GPU, active parameters in billions."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Hold predictions of all runs, and whether each measurement lies in the interval stated for it."""

    found: list[Run]
    joules: Array
    inside: npt.NDArray[np.bool_]
    digest: str

    def on(self, chip: str) -> npt.NDArray[np.bool_]:
        """Pick the runs of a chip."""
        return np.array([run.chip == chip for run in self.found])

    @property
    def errors_pct(self) -> Array:
        """Give each run's error; that of a step is that of a token."""
        return np.abs(self.joules / np.array([run.step_j for run in self.found]) - 1) * 100


def scores(data: Path, facts: Facts) -> Scores:
    """Predict each family by a fit on the others, with an interval from families left out of those others' fits."""
    found, digest = runs(data, facts)
    by_skew = tables(found)
    joules, chosen = left_out(by_skew, len(CHIPS), [Choice(*each) for each in CHOICES])
    families = np.array([run.family for run in found])
    off = np.log(np.array([run.step_j for run in found]) / joules)
    inside = np.zeros(len(found), bool)
    for family, choice in chosen.items():
        others = [each for each in chosen if each != family]
        low, high = np.quantile(residuals_of(by_skew[choice.skew], len(CHIPS), choice, others), [0.05, 0.95])
        rows = families == family
        inside[rows] = (off[rows] >= low) & (off[rows] <= high)
    return Scores(found, joules, inside, digest)


def figures(scored: Scores) -> list[Figure]:
    """Give the figures of energy: errors on either chip, with EcoLogits beside."""
    shown: list[Figure] = []
    for chip in ("H100", "B200"):
        rows = scored.on(chip)
        errors = scored.errors_pct
        calm = rows & np.array([not out_of_balance(run) for run in scored.found])
        leapt = held_up(scored.found)
        level = rows & np.array([i not in leapt for i in range(len(scored.found))])
        eco = ecologits_errors_pct(scored.found)[rows]
        note = (
            f"n {rows.sum()}, mean {errors[rows].mean():.1f}; without {(rows & ~calm).sum()} out of balance"
            f" {np.median(errors[calm]):.1f}, without {(rows & ~level).sum()} leaps {np.median(errors[level]):.1f};"
            f" interval holds {scored.inside[rows].mean() * 100:.1f} %;"
            f" {by_family(scored, rows)}; SHA-256 {scored.digest[:12]}"
        )
        value = round(float(np.median(errors[rows])), 1)
        anchors = {"EcoLogits 0.11": round(float(np.median(eco)), 1)}
        shown.append(Figure(f"physics.energy_{chip.lower()}_median_pct", value, "%", anchors, note))
    return shown


def by_family(scored: Scores, rows: npt.NDArray[np.bool_]) -> str:
    """Tell the median error of each family."""
    families = np.array([run.family for run in scored.found])
    told = [
        f"{family} {np.median(scored.errors_pct[rows & (families == family)]):.0f}"
        for family in sorted(set(families[rows].tolist()))
    ]
    return ", ".join(told)


def ecologits_errors_pct(found: Sequence[Run]) -> Array:
    """Give the errors of EcoLogits' formula with the true batch and the true number of chips."""
    scale, decay, floor = WH_PER_TOKEN
    told = [
        3600
        * run.deployment.chips
        * (scale * math.exp(decay * run.decode.decodes) * run.active_billions + floor)
        / run.token_j
        for run in found
    ]
    return np.abs(np.array(told) - 1) * 100
