"""Fit the joules of a step and the power of a chip on ML.ENERGY's runs, and write the coefficients as package data.

    python -m bench.calibrate.energy [--data DIR]

What ships: a coefficient for each part of a step's demand, for H100, for B200 and for chips nobody measured; the
interval that holds 90 % of what was measured on families left out; how power follows use. Prints what it chose.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from bench.calibrate.energy_fit import (
    CHOICES,
    COLUMNS,
    FLOPS_BY_FORMAT,
    PRIORS,
    Choice,
    Fitted,
    Table,
    fit,
    residuals_of,
    table_of,
)
from bench.calibrate.mlenergy import Run, runs
from bench.figures import arguments
from bursar.physics.demand import Demand, demand_of
from bursar.physics.facts import load

TARGET: Final = Path(__file__).parents[2] / "src/bursar/physics/data/energy.json"
CHECKED: Final = "2026-11-22"
SOURCE: Final = "ML.ENERGY benchmark v3 (Apache-2.0), llm_runs_flat.csv"
KIN: Final = {"H200": "H100", "GB200": "B200"}
CHIPS: Final = ("B200", "H100")


def tables(found: Sequence[Run]) -> dict[float, Table]:
    """Turn runs into numbers once for each skew that may be chosen."""
    return {skew: table_of(found, CHIPS, skew) for skew in sorted({skew for skew, _ in CHOICES})}


def chosen(by_skew: Mapping[float, Table], families: list[str]) -> tuple[Choice, npt.NDArray[np.float64]]:
    """Choose what errs least on families left out, and give its ln(measured / predicted) on them."""
    tried = [Choice(*each) for each in CHOICES]
    off = [residuals_of(by_skew[choice.skew], len(CHIPS), choice, families) for choice in tried]
    best = min(range(len(tried)), key=lambda i: float(np.abs(off[i]).mean()))
    return tried[best], off[best]


def elsewhere(table: Table, choice: Choice) -> float:
    """Give how far off a chip is, in the median, that neither was fitted nor had its families fitted elsewhere."""
    off: list[float] = []
    for chip in range(len(CHIPS)):
        for family in sorted(set(table.families)):
            seen = [i for i, each in enumerate(table.families) if each != family and table.chip[i] != chip]
            unseen = [i for i, each in enumerate(table.families) if each == family and table.chip[i] == chip]
            fitted = fit(table.part(seen), len(CHIPS), choice)
            unfitted = Fitted(fitted.shared, 0 * fitted.deviations, fitted.spread)
            rows = table.part(unseen)
            off += np.abs(rows.logs - np.log(unfitted.joules(rows) / rows.limits_w)).tolist() if unseen else []
    return float(np.median(off))


def coefficients(fitted: Fitted, chip: int | None) -> dict[str, float]:
    """Multiply the parameters into a coefficient for each part of a demand."""
    found = fitted.parameters(chip)
    return {each.name: _digits(math.prod(found[name] for name in COLUMNS[each.name])) for each in fields(Demand)}


def power_fit(found: Sequence[Run], skew: float) -> dict[str, Any]:
    """Fit how power follows use, and how far off it is on families left out."""
    uses = np.array([[1.0, *_use(run, skew)] for run in found])
    above = np.array([_above_idle(run) for run in found])
    idle = np.array([run.deployment.chip.power_idle_w for run in found])
    span = np.array([run.deployment.chip.power_limit_w for run in found]) - idle
    families = np.array([run.family for run in found])
    off = np.zeros(len(found))
    for family in sorted(set(families.tolist())):
        kept = families != family
        predicted = np.minimum(1, uses[~kept] @ nnls(uses[kept], above[kept])[0])
        off[~kept] = np.abs(np.log((idle + span * above)[~kept] / (idle[~kept] + span[~kept] * predicted)))
    base, memory, compute = nnls(uses, above)[0]
    return {
        "base": _digits(base),
        "memory": _digits(memory),
        "compute": _digits(compute),
        "error": _digits(float(np.quantile(off, 0.9))),
        "source": SOURCE,
    }


def _use(run: Run, skew: float) -> tuple[float, float]:
    """Give the shares of peak memory traffic and arithmetic of a run's average step."""
    moving = computing = 0.0
    for batch, share in ((run.decode, 1 - run.mixed_share), (run.mixed, run.mixed_share)):
        demand = demand_of(run.deployment, batch, skew)
        moved = demand.linear_bytes_s + demand.expert_bytes_s + demand.cache_bytes_s + demand.state_s
        moving += share * (moved + demand.prompt_bytes_s)
        computing += share * (
            demand.linear_flops_s + demand.expert_flops_s + demand.cache_flops_s + demand.prompt_flops_s
        )
    return min(1.0, moving / run.step_s), min(1.0, computing / run.step_s)


def _above_idle(run: Run) -> float:
    chip = run.deployment.chip
    return (run.step_j / run.step_s - chip.power_idle_w) / (chip.power_limit_w - chip.power_idle_w)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> None:
    """Fit, write and print."""
    found, digest = runs(arguments(__doc__).data, load())
    by_skew = tables(found)
    families = sorted({run.family for run in found})
    choice, off = chosen(by_skew, families)
    table = by_skew[choice.skew]
    fitted = fit(table, len(CHIPS), choice)
    low, high = np.quantile(off, [0.05, 0.95])
    # Residuals come family by family, in the order of `families`.
    order = [i for family in families for i, each in enumerate(table.families) if each == family]
    steady = np.array(table.steady)[order]
    floor_low, floor_high = np.quantile(off[steady], [0.05, 0.95])
    known = fitted.parameters(None)
    contexts = [run.decode.context for run in found]
    batches = [run.decode.decodes / run.deployment.chips for run in found]
    written: dict[str, Any] = {
        "engine": "vllm",
        "chips": {chip: coefficients(fitted, i) for i, chip in enumerate(CHIPS)},
        "shared": coefficients(fitted, None),
        "flops_by_format": FLOPS_BY_FORMAT,
        "expert_bytes_by_format": {"bf16": 1.0, "fp8": 1.0, "fp8_block": _digits(known["block_bytes"])},
        "skew": choice.skew,
        "low": _digits(float(low)),
        "high": _digits(float(high)),
        "floor_low": _digits(float(floor_low)),
        "floor_high": _digits(float(floor_high)),
        "elsewhere": _digits(elsewhere(table, choice)),
        "kin": KIN,
        "batch_range": [_digits(min(batches)), _digits(max(batches))],
        "context_range": [_digits(min(contexts)), _digits(max(contexts))],
        "source": f"{SOURCE}, {len(found)} runs, SHA-256 {digest}",
        "checked": CHECKED,
        "power": power_fit(found, choice.skew),
        "fit": {
            "choice": asdict(choice),
            "parameters": {name: _digits(value) for name, value in known.items()},
            "relative_spread": {name: _digits(value) for name, value in zip(PRIORS, fitted.spread, strict=True)},
        },
    }
    TARGET.write_text(json.dumps(written, indent=1) + "\n")
    print(f"{len(found)} runs, SHA-256 {digest}, {choice}, interval {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
