"""Fit the joules of a step: coefficients near what physics expects, the same on all chips but for small deviations."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from bench.calibrate.mlenergy import Run, out_of_balance
from bursar.physics.demand import Demand, demand_of

Array = npt.NDArray[np.float64]

PRIORS: Final[Mapping[str, tuple[float, float]]] = {
    "bytes": (0.9, 0.3),
    "flops": (1.4, 0.2),
    "expert_bytes": (1.2, 0.3),
    "expert_flops": (1.5, 0.5),
    "block_bytes": (1.3, 0.5),
    "cache_bytes": (1.3, 0.3),
    "state_bytes": (1.0, 0.3),
    "link": (1.0, 0.8),
    "exchange": (1.0, 1.0),
    "waiting": (0.4, 0.5),
    "layer": (40e-6, 0.5),
    "sequence": (5e-6, 0.7),
    "lm-arena-chat": (2.0, 0.7),
    "gpqa": (2.0, 0.7),
    "sourcegraph-fim": (2.0, 0.7),
}
"""Centre and relative deviation of each parameter before any run is seen.

`bytes` and `flops`: matrix products on H200 and B200 draw 0.8 to 1.0 of the limit for each second at the peak of
memory, 1.35 to 1.5 at the peak of bf16 arithmetic (kernel tables with power). `expert_`, `block_`, `cache_` and
`state_` are ratios to them. What waits draws about 0.4 of the limit. A layer takes 100 us of launches, at 0.4. The
last three are how much longer inputs are than assumed.
"""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "linear_bytes_s": ("bytes",),
    "linear_flops_s": ("flops",),
    "expert_bytes_s": ("bytes", "expert_bytes"),
    "expert_flops_s": ("flops", "expert_flops"),
    "cache_bytes_s": ("bytes", "cache_bytes"),
    "cache_flops_s": ("flops",),
    "prompt_bytes_s": ("bytes", "cache_bytes"),
    "prompt_flops_s": ("flops",),
    "state_s": ("bytes", "cache_bytes", "state_bytes"),
    "link_s": ("link",),
    "exchange_s": ("exchange",),
    "waiting_s": ("waiting",),
    "layers": ("layer",),
    "sequences": ("sequence",),
}
"""The parameters whose product is a coefficient."""

FLOPS_BY_FORMAT: Final[Mapping[str, float]] = {
    "bf16": 1.0, "fp8": 1.25, "fp8_block": 1.25, "int8": 1.25, "fp4": 1.5, "int4": 1.0
}  # fmt: skip
"""How much more of the limit arithmetic draws at a format's own peak than in bf16.

Matrix products of 2,048 rows and more: fp8 1.2 (H200) and 1.35 (B200), fp4 1.5 (B200). Four-bit integers are
multiplied in bf16.
"""

NOISE: Final = 0.2
"""Deviation of ln(measured / predicted) that the fit expects; beyond it rows count less and less."""

CHOICES: Final = tuple((skew, deviation) for skew in (0.0, 0.5, 1.0, 1.5, 2.0) for deviation in (0.05, 0.1, 0.2))

TASKS: Final = ("lm-arena-chat", "gpqa", "sourcegraph-fim")


@dataclass(frozen=True, slots=True)
class Choice:
    """Hold what is chosen by leaving families of the training runs out: the skew of routing, the chips' deviation."""

    skew: float
    chips: float


@dataclass(frozen=True, slots=True)
class Table:
    """Hold runs as numbers: demands by column, the chip and family of each row, and ln of the limits it drew.

    `steady` says which rows a fit may learn from.
    """

    demands: Array
    chip: npt.NDArray[np.int64]
    families: tuple[str, ...]
    logs: Array
    limits_w: Array
    steady: tuple[bool, ...]

    def part(self, rows: Sequence[int]) -> "Table":
        """Keep some rows."""
        kept = list(rows)
        return Table(
            self.demands[kept],
            self.chip[kept],
            tuple(self.families[i] for i in kept),
            self.logs[kept],
            self.limits_w[kept],
            tuple(self.steady[i] for i in kept),
        )


def table_of(found: Sequence[Run], chips: Sequence[str], skew: float) -> Table:
    """Turn runs into numbers."""
    limits = np.array([run.deployment.chip.power_limit_w for run in found])
    return Table(
        np.array([_row(run, skew) for run in found]),
        np.array([chips.index(run.chip) for run in found]),
        tuple(run.family for run in found),
        np.log(np.array([run.step_j for run in found]) / limits),
        limits,
        tuple(not out_of_balance(run) for run in found),
    )


def columns() -> list[tuple[str, ...]]:
    """List the parameters of each column of a table: demands, experts in blocks, then a task's prompts three times."""
    shared = [COLUMNS[each.name] for each in fields(Demand)]
    block = ("bytes", "expert_bytes", "block_bytes")
    # Attention over a prompt grows with the square of its length.
    prompts = [(task, *kind) for task in TASKS for kind in (("flops",), ("flops", "expert_flops"), (task, "flops"))]
    return [*shared, block, *prompts]


def _row(run: Run, skew: float) -> list[float]:
    names = [each.name for each in fields(Demand)]
    compute = FLOPS_BY_FORMAT[run.deployment.compute]
    total = dict.fromkeys(names, 0.0)
    prompts = [0.0, 0.0, 0.0]
    for batch, share in ((run.decode, 1 - run.mixed_share), (run.mixed, run.mixed_share)):
        demand = demand_of(run.deployment, batch, skew)
        read = batch.prefill / batch.tokens
        for name in names:
            total[name] += share * getattr(demand, name)
        prompts[0] += share * read * demand.linear_flops_s * compute
        prompts[1] += share * read * demand.expert_flops_s * compute
        prompts[2] += share * demand.prompt_flops_s
    total["linear_flops_s"] = total["linear_flops_s"] * compute - prompts[0]
    total["expert_flops_s"] = total["expert_flops_s"] * compute - prompts[1]
    total["prompt_flops_s"] = 0.0
    block = total["expert_bytes_s"] if run.deployment.weights == "fp8_block" else 0.0
    total["expert_bytes_s"] -= block
    by_task = [value * (task == run.task) for task in TASKS for value in prompts]
    return [*total.values(), block, *by_task]


class Fitted:
    """Hold the parameters that a table made most likely: shared ones, and each chip's deviation from them."""

    def __init__(self, shared: Array, deviations: Array, spread: Array) -> None:
        self.shared = shared
        self.deviations = deviations
        self.spread = spread

    def parameters(self, chip: int | None) -> dict[str, float]:
        """Give the parameters on a chip, or on one nobody measured."""
        logs = self.shared if chip is None else self.shared + self.deviations[chip]
        return dict(zip(PRIORS, np.exp(logs).tolist(), strict=True))

    def joules(self, table: Table) -> Array:
        """Predict what one chip takes for a step."""
        logs = (self.shared + self.deviations)[table.chip] @ _powers().T
        return (np.exp(logs) * table.demands).sum(axis=1) * table.limits_w


def fit(table: Table, chips: int, choice: Choice) -> Fitted:
    """Find the most likely parameters: a robust loss on ln(measured / predicted), lognormal priors.

    Rows are weighted between counting alike and letting each family on each chip count alike. Rows out of balance are
    not learnt from.
    """
    table = table.part([i for i, steady in enumerate(table.steady) if steady])
    powers, count = _powers(), len(PRIORS)
    centres = np.log([centre for centre, _ in PRIORS.values()])
    widths = np.array([width for _, width in PRIORS.values()])
    groups = list(zip(table.families, table.chip.tolist(), strict=True))
    sizes = Counter(groups)
    weights = np.array([(len(groups) / len(sizes) / sizes[group]) ** 0.25 for group in groups]) / NOISE

    def step(values: Array) -> tuple[Array, Array]:
        logs = values[:count] + values[count:].reshape(chips, count)
        parts = np.exp(logs[table.chip] @ powers.T) * table.demands
        total = parts.sum(axis=1)
        return weights * (np.log(total) - table.logs), (parts / total[:, None]) @ powers * weights[:, None]

    def residuals(values: Array) -> Array:
        return np.r_[_soft(step(values)[0]), (values[:count] - centres) / widths, values[count:] / choice.chips]

    def slopes(values: Array) -> Array:
        off, slope = step(values)
        slope = slope * _soft_slope(off)[:, None]
        by_chip = [slope * (table.chip == chip)[:, None] for chip in range(chips)]
        top = np.hstack([slope, *by_chip])
        scale = np.r_[1 / widths, np.full(chips * count, 1 / choice.chips)]
        return np.vstack([top, np.diag(scale)])

    found = least_squares(residuals, np.r_[centres, np.zeros(chips * count)], slopes, max_nfev=200)
    spread = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)))[:count]
    return Fitted(found.x[:count], found.x[count:].reshape(chips, count), spread)


def _soft(off: Array) -> Array:
    """Bend large residuals: the squares of what this returns are 2 (sqrt(1 + x^2) - 1)."""
    return np.sign(off) * np.sqrt(2 * (np.sqrt(1 + off * off) - 1))


def _soft_slope(off: Array) -> Array:
    bent = np.abs(_soft(off))
    return np.where(bent < 1e-6, 1.0, np.abs(off) / np.sqrt(1 + off * off) / np.maximum(bent, 1e-12))


def _powers() -> Array:
    names = list(PRIORS)
    return np.array([[column.count(name) for name in names] for column in columns()], float)


def left_out(tables: Mapping[float, Table], chips: int, choices: Sequence[Choice]) -> tuple[Array, dict[str, Choice]]:
    """Predict each family by a fit on the others, whose choice is made by leaving each of those out in turn."""
    families = sorted(set(next(iter(tables.values())).families))
    joules = np.full(len(next(iter(tables.values())).families), math.nan)
    chosen: dict[str, Choice] = {}
    for family in families:
        others = [each for each in families if each != family]
        chosen[family] = min(choices, key=lambda choice: _error(tables[choice.skew], chips, choice, others))
        table = tables[chosen[family].skew]
        joules[_rows(table, [family])] = without(table, chips, chosen[family], [family], others)
    return joules, chosen


def without(table: Table, chips: int, choice: Choice, family: list[str], others: list[str]) -> Array:
    """Predict a family's rows by a fit on the rows of others."""
    fitted = fit(table.part(_rows(table, [each for each in others if each not in family])), chips, choice)
    return fitted.joules(table.part(_rows(table, family)))


def residuals_of(table: Table, chips: int, choice: Choice, families: list[str]) -> Array:
    """Give ln(measured / predicted) of each of these families by a fit on the rest of them."""
    found = []
    for family in families:
        rows = table.part(_rows(table, [family]))
        found.append(rows.logs - np.log(without(table, chips, choice, [family], families) / rows.limits_w))
    return np.concatenate(found)


def _error(table: Table, chips: int, choice: Choice, families: list[str]) -> float:
    return float(np.abs(residuals_of(table, chips, choice, families)).mean())


def _rows(table: Table, families: Sequence[str]) -> list[int]:
    return [i for i, family in enumerate(table.families) if family in families]
