"""Score step time on models left out: each model once, with nothing chosen on it.

For a model, every scheme of priors is fitted without it and without one further model at a time; the scheme that errs
least on those further models counts, and the errors it makes on them are the interval. Then it is fitted without the
model alone and predicts it by the product's own `physics.loop`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.calibrate.silicon import FILE, Apart, Sample, sample
from bench.calibrate.time_fit import QUEUED_S, Names, answer, fit, rates, rates_for
from bench.calibrate.time_priors import SCHEMES, Scheme
from bench.calibrate.time_table import Array, Flags, Table, table_of
from bench.figures import Figure
from bursar.physics.apart import Pool, loop_apart
from bursar.physics.calibration import BARE, Calibration, Rates, generation_of
from bursar.physics.deployment import Deployment
from bursar.physics.loop import loop

COVERED: Final = 0.9
# aiconfigurator 0.12.0 on every third aggregated row of the same sample: it answers 414 of 598, 163 of them on H100.
AICONFIGURATOR: Final = {"tpot": 21.0, "h100": 12.8, "ttft": 48.4}


@dataclass(frozen=True)
class Scored:
    """Hold what was predicted of each run with its model left out, and the interval stated for it."""

    table: Table
    tpot_s: Array
    ttft_s: Array
    error: Array
    chosen: Mapping[str, str]
    apart_tpot: Array
    apart_ttft: Array
    sample: Sample

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Say of each run whether its interval held it."""
        return np.asarray(np.abs(np.log(self.table.tpot_s / self.tpot_s)) <= self.error)


def scores(data: Path) -> Scored:
    """Leave out each model once."""
    found = sample(data)
    table = table_of(found.runs)
    models = sorted(set(table.model.tolist()))
    tpot_s, ttft_s, error = np.zeros(len(found.runs)), np.zeros(len(found.runs)), np.zeros(len(found.runs))
    chosen: dict[str, str] = {}
    apart = np.full((len(found.apart), 2), np.nan)

    @cache
    def off(scheme: int, one: str, other: str) -> Array:
        """Give ln(measured / predicted) of a fit without two models, on all runs."""
        names, point = fit(table, SCHEMES[scheme], table.fits & (table.model != one) & (table.model != other))
        return np.log(table.tpot_s / answer(table, names, point).tpot_s)

    def on_others(scheme: int, away: str) -> Array:
        found = np.full(len(table.runs), np.nan)
        for other in models:
            if other != away:
                mine = table.model == other
                found[mine] = off(scheme, *sorted((away, other)))[mine]
        return found[~np.isnan(found)]

    for model in models:
        mine = table.model == model
        best = min(range(len(SCHEMES)), key=lambda each: float(np.median(np.abs(on_others(each, model)))))
        error[mine] = half_width(on_others(best, model), table.model[~mine])
        names, point = fit(table, SCHEMES[best], table.fits & ~mine)
        tpot_s[mine], ttft_s[mine] = predicted(table, names, point, mine)
        chosen[model] = SCHEMES[best].name
        for place, run in enumerate(found.apart):
            if run.model == model:
                apart[place] = _apart_errors(run, names, point)
    return Scored(table, tpot_s, ttft_s, error, chosen, apart[:, 0], apart[:, 1], found)


def half_width(off: Array, model: npt.NDArray[np.str_]) -> float:
    """Give the half width that holds 90 % of errors; a model of n rows counts as the root of n."""
    _, place, sizes = np.unique(model, return_inverse=True, return_counts=True)
    order = np.argsort(np.abs(off))
    held = np.cumsum(sizes[place[order]] ** -0.5)
    return float(np.interp(COVERED, held / held[-1], np.abs(off)[order]))


def predicted(table: Table, names: Names, point: Array, mine: Flags) -> tuple[Array, Array]:
    """Predict runs by the product's own function."""
    by_run = rates(names, point, len(table.runs))
    told = []
    for index in np.flatnonzero(mine):
        run = table.runs[index]
        values = {name: float(by_run[place, index]) for name, place in names.base.items()}
        calibration = replace(BARE, rates=Rates(**values))
        told.append(loop(run.deployment, run.traffic, run.clients, calibration, run.guess))
    return np.array([each.tpot_s for each in told]), np.array([each.ttft_s for each in told])


def _apart_errors(run: Apart, names: Names, point: Array) -> tuple[float, float]:
    """Give the errors of both times of a run of two pools."""
    pools = [
        Pool(held, replace(BARE, rates=rates_of(names, point, held, lab=run.clients.equal)), replicas)
        for held, replicas in (run.readers, run.writers)
    ]
    told = loop_apart(pools[0], pools[1], run.traffic, run.clients)
    return abs(told.tpot_s / run.tpot_s - 1), abs(told.ttft_s / run.ttft_s - 1)


def rates_of(names: Names, point: Array, deployment: Deployment, *, lab: bool) -> Rates:
    """Give the rates of a deployment's engine on its chip."""
    generation = generation_of(deployment.chip).lower()
    return Rates(**rates_for(names, point, (deployment.engine, generation, *(["lab"] if lab else []))))


def plain(table: Table, calibration: Calibration) -> tuple[Array, Array]:
    """Predict all runs with one calibration."""
    told = [loop(run.deployment, run.traffic, run.clients, calibration, run.guess) for run in table.runs]
    return np.array([each.tpot_s for each in told]), np.array([each.ttft_s for each in told])


def half_widths(table: Table, scheme: Scheme) -> tuple[float, float]:
    """Give the half width for a model nobody has seen, and for one on a generation of chips nobody has seen.

    From each model's errors in a fit without it, or without it and without all chips of the runs' generation.
    """
    off = np.zeros((2, len(table.runs)))
    everywhere = np.ones_like(table.blackwell)
    for model in set(table.model.tolist()):
        for row, away in ((0, ~everywhere), (1, table.blackwell), (1, ~table.blackwell)):
            mine = (table.model == model) & (away if row else everywhere)
            names, point = fit(table, scheme, table.fits & (table.model != model) & ~away)
            off[row, mine] = np.log(table.tpot_s / answer(table, names, point).tpot_s)[mine]
    return half_width(off[0], table.model), half_width(off[1], table.model)


def figures(scored: Scored) -> list[Figure]:
    """Give the figures of step time."""
    table = scored.table
    h100 = np.array([run.deployment.chip.name == "H100" for run in table.runs])
    unqueued = table.ttft_s < QUEUED_S
    tpot, ttft = _errors(scored.tpot_s, table.tpot_s), _errors(scored.ttft_s, table.ttft_s)
    bare_tpot, bare_ttft = plain(table, BARE)
    bare, bare_first = _errors(bare_tpot, table.tpot_s), _errors(bare_ttft, table.ttft_s)
    note = f"{len(table.runs)} rows, 7 models left out in turn, {FILE} {scored.sample.sha256[:12]}"
    return [
        Figure("physics.tpot_median_pct", _median(tpot), "%",
               {"plain roofline": _median(bare), "aiconfigurator 0.12, 414 rows": AICONFIGURATOR["tpot"]},
               f"{note}; {_sides(table, tpot)}"),
        Figure("physics.tpot_h100_median_pct", _median(tpot[h100]), "%",
               {"plain roofline": _median(bare[h100]), "aiconfigurator 0.12, 163 rows": AICONFIGURATOR["h100"]},
               f"{int(h100.sum())} rows"),
        Figure("physics.ttft_median_pct", _median(ttft[unqueued]), "%",
               {"plain roofline": _median(bare_first[unqueued]), "aiconfigurator 0.12": AICONFIGURATOR["ttft"]},
               f"{int(unqueued.sum())} rows below {QUEUED_S:.0f} s; with the others {_median(ttft)} %"),
        Figure("physics.tpot_apart_median_pct", _median(scored.apart_tpot), "%", {},
               f"{len(scored.apart_tpot)} rows of two pools, apart from those above; with those above "
               f"{_median(np.concatenate([tpot, scored.apart_tpot]))} %; cannot be predicted: {_left_out(scored)}"),
        Figure("physics.ttft_apart_median_pct", _median(scored.apart_ttft), "%", {},
               f"the same rows; with those above {_median(np.concatenate([ttft, scored.apart_ttft]))} %"),
        Figure("physics.tpot_coverage_pct", round(100 * float(np.mean(scored.inside)), 1), "%", {},
               f"half widths {', '.join(_widths(scored))}; chosen {_chosen(scored)}"),
        Figure("physics.tpot_mean_pct", round(100 * float(np.mean(tpot)), 1), "%", {}, "the mean, beside the median"),
    ]  # fmt: skip


def _errors(told: Array, measured: Array) -> Array:
    return np.asarray(np.abs(told / measured - 1))


def _median(errors: Array) -> float:
    return round(100 * float(np.median(errors)), 1)


def _sides(table: Table, errors: Array) -> str:
    """Say the median by model, and without the rows no fit may use."""
    by_model = [f"{model} {_median(errors[table.model == model])}" for model in sorted(set(table.model.tolist()))]
    doubtful = np.array([bool(run.doubtful) for run in table.runs])
    return f"without {int(doubtful.sum())} doubtful rows {_median(errors[~doubtful])}; {', '.join(by_model)}"


def _widths(scored: Scored) -> list[str]:
    by_model = {model: scored.error[scored.table.model == model][0] for model in scored.chosen}
    return [f"{model} {width:.2f}" for model, width in by_model.items()]


def _left_out(scored: Scored) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in scored.sample.left_out.items())


def _chosen(scored: Scored) -> str:
    return ", ".join(f"{model} {name}" for model, name in scored.chosen.items())
