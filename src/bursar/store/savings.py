"""Report what each lever has saved: what its two arms cost and how they went, and what the difference is worth."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bursar.core.ids import first_id_at
from bursar.core.money import Money
from bursar.savings.proof import Arm, Difference, Sample, TooFew, difference
from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT

_SQL: Final = load_statements("savings")

_NOBODY: Final = Sample(0, 0.0, 0.0)

MEASURES: Final = ("short", "failed", "again")
"""What tells of quality: how far outcomes fall short of 1, calls that failed, calls that took more than one attempt."""


class ArmTotals(msgspec.Struct, frozen=True):
    """Hold what one arm came to. `estimated_nano` is what its calls are estimated to have saved."""

    units: int = 0
    calls: int = 0
    cost_nano: Money = 0
    estimated_nano: Money = 0
    removed_bytes: int = 0


class LeverReport(msgspec.Struct, frozen=True):
    """Hold what is known of one lever in one experiment: its arms, and the differences between them by unit.

    `cost` is in nano-USD a unit. The shares in `measures` are of a unit's calls; there, less is better.
    """

    lever: str
    experiment: str
    treatment: ArmTotals
    holdout: ArmTotals
    left_out_units: int
    cost: Difference | TooFew
    measures: dict[str, Difference | TooFew]


async def savings(
    connection: Connection, from_us: int, until_us: int, confidence: float = 0.95, tenant: int = TENANT
) -> list[LeverReport]:
    """Report on every experiment of every lever in calls between two moments. Raises `ValueError` for no confidence."""
    span = tenant, first_id_at(from_us // 1_000), first_id_at(until_us // 1_000)
    rows = {(*_experiment(row), row["arm"]): row for row in await connection.fetch(_SQL["by_arm"], *span)}
    left_out = Counter(_experiment(row) for row in await connection.fetch(_SQL["left_out"], *span))
    experiments = sorted({(lever, experiment) for lever, experiment, _ in rows} | left_out.keys())
    return [_report(each, rows, left_out[each], confidence) for each in experiments]


def _experiment(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["lever"], row["experiment"]


def _report(
    experiment: tuple[str, str], rows: Mapping[tuple[str, str, str], Any], left_out_units: int, confidence: float
) -> LeverReport:
    arms = rows.get((*experiment, Arm.treatment)), rows.get((*experiment, Arm.holdout))

    def compared(name: str) -> Difference | TooFew:
        counted = "short_units" if name == "short" else "units"  # of most nobody says what became of them
        names = counted, f"{name}_mean", f"{name}_variance"
        treatment, holdout = (Sample(*(row[each] for each in names)) if row is not None else _NOBODY for row in arms)
        return difference(treatment, holdout, confidence)

    measures = {name: compared(name) for name in MEASURES}
    totals = _totals(arms[0]), _totals(arms[1])
    return LeverReport(*experiment, *totals, left_out_units, compared("cost"), measures)


def _totals(row: Mapping[str, Any] | None) -> ArmTotals:
    if row is None:
        return ArmTotals()
    return ArmTotals(*(row[name] for name in ArmTotals.__struct_fields__))
