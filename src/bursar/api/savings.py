"""Shape and answer what levers have saved. Money is a decimal string of USD; shares are of 1."""

from typing import Final

import msgspec

from bursar.core.money import nano_to_usd
from bursar.savings.proof import Difference, Interval, TooFew
from bursar.store.savings import ArmTotals, LeverReport


class ArmView(msgspec.Struct, frozen=True):
    """Be one arm: its units (runs and conversations), their calls, and what these cost.

    `estimated_saved_usd` is what the calls are estimated to have saved, one by one; the claim is the difference.
    """

    units: int
    calls: int
    cost_usd: str
    estimated_saved_usd: str
    removed_bytes: int


class ShareView(msgspec.Struct, frozen=True):
    """Be an estimate between two bounds."""

    value: float
    low: float
    high: float


class UsdView(msgspec.Struct, frozen=True):
    """Be an estimate between two bounds, in USD."""

    value: str
    low: str
    high: str


class TooFewView(msgspec.Struct, frozen=True):
    """Say how many units there are and about how many are needed before anything can be told."""

    treatment_units: int
    holdout_units: int
    treatment_needed: int
    holdout_needed: int


class CostView(msgspec.Struct, frozen=True):
    """Say how much less a unit in treatment costs; `too_few` where that cannot be told yet."""

    usd_less: UsdView | None
    share_less: ShareView | None
    too_few: TooFewView | None


class MeasureView(msgspec.Struct, frozen=True):
    """Say how much less of a unit's calls in treatment something happened to; above 0 is better."""

    less: ShareView | None
    too_few: TooFewView | None


class SavingsView(msgspec.Struct, frozen=True):
    """Be what is known of one lever in one experiment, which holds out `share_ppm` units in a million.

    `left_out_units` were in both arms, explored, or sent to a cheaper model by a budget, and count in neither.
    `verdict` says in words what the differences come to.
    """

    lever: str
    experiment: str
    share_ppm: int
    treatment: ArmView
    holdout: ArmView
    left_out_units: int
    cost: CostView
    quality: dict[str, MeasureView]
    verdict: str


_SHOWN: Final = {"short": "outcomes short of good", "failed": "failed calls", "again": "calls of several attempts"}


def savings_view(report: LeverReport) -> SavingsView:
    """Shape a lever's report."""
    quality = {_SHOWN[name]: _measure(found) for name, found in report.measures.items()}
    experiment = report.lever, report.experiment, report.share_ppm
    arms = _arm(report.treatment), _arm(report.holdout)
    verdict = _verdict(report.cost, quality)
    return SavingsView(*experiment, *arms, report.left_out_units, _cost(report.cost), quality, verdict)


def _verdict(cost: Difference | TooFew, quality: dict[str, MeasureView]) -> str:
    """Say in words what is known: of the cost first, then of what has got worse or better with it."""
    if isinstance(cost, TooFew):
        treatment = f"{cost.treatment_units:,} in treatment of about {cost.treatment_needed:,} needed"
        return f"nothing can be told yet: {treatment}, {cost.holdout_units:,} held out of about {cost.holdout_needed:,}"
    if not cost.less.excludes_zero:
        first = "no difference in cost that could not be chance"
    else:
        share = f" {abs(cost.share.value):.1%}" if cost.share is not None else ""
        first = f"saves{share}" if cost.less.low > 0 else f"costs{share} more"
    told = {name: each.less for name, each in quality.items() if each.less is not None}
    worse = [f"more {name}" for name, less in told.items() if less.high < 0]
    better = [f"fewer {name}" for name, less in told.items() if less.low > 0]
    return "; ".join((first, *worse, *better))


def _arm(totals: ArmTotals) -> ArmView:
    amounts = nano_to_usd(totals.cost_nano), nano_to_usd(totals.estimated_nano)
    return ArmView(totals.units, totals.calls, *amounts, totals.removed_bytes)


def _cost(found: Difference | TooFew) -> CostView:
    if isinstance(found, TooFew):
        return CostView(None, None, _few(found))
    less = found.less
    amounts = UsdView(*(nano_to_usd(round(value)) for value in (less.value, less.low, less.high)))
    return CostView(amounts, _share(found.share) if found.share is not None else None, None)


def _measure(found: Difference | TooFew) -> MeasureView:
    return MeasureView(None, _few(found)) if isinstance(found, TooFew) else MeasureView(_share(found.less), None)


def _share(interval: Interval) -> ShareView:
    return ShareView(interval.value, interval.low, interval.high)


def _few(found: TooFew) -> TooFewView:
    return TooFewView(found.treatment_units, found.holdout_units, found.treatment_needed, found.holdout_needed)
