"""Report what each lever has saved: what its two arms cost and how they went, and what the difference is worth."""

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
_LEFT_OUT: Final = "left out"  # of what is in neither arm

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
    """Hold what is known of one lever in one experiment at one share of hold-out: its arms, and how units differ.

    `cost` is in nano-USD a unit. The shares in `measures` are of a unit's calls; there, less is better.
    """

    lever: str
    experiment: str
    share_ppm: int
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
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in await connection.fetch(_SQL["by_arm"], *span):
        found.setdefault((row["lever"], row["experiment"], row["share_ppm"]), {})[row["arm"]] = row
    return [_report(experiment, rows, confidence) for experiment, rows in found.items()]


def _report(experiment: tuple[str, str, int], rows: Mapping[str, Any], confidence: float) -> LeverReport:
    arms = rows.get(Arm.treatment), rows.get(Arm.holdout)

    def compared(name: str) -> Difference | TooFew:
        counted = "short_units" if name == "short" else "units"  # of most nobody says what became of them
        names = counted, f"{name}_mean", f"{name}_variance"
        treatment, holdout = (Sample(*(row[each] for each in names)) if row is not None else _NOBODY for row in arms)
        return difference(treatment, holdout, confidence)

    measures = {name: compared(name) for name in MEASURES}
    treatment, holdout, left_out = map(_totals, (*arms, rows.get(_LEFT_OUT)))
    return LeverReport(*experiment, treatment, holdout, left_out.units, compared("cost"), measures)


def _totals(row: Mapping[str, Any] | None) -> ArmTotals:
    if row is None:
        return ArmTotals()
    return ArmTotals(*(row[name] for name in ArmTotals.__struct_fields__))
