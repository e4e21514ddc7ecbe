"""Shape and answer what levers have saved. Money is a decimal string of USD; shares are of 1."""

from typing import Final

from bursar.api.shapes.saving import (
    ArmView,
    CostView,
    MeasureView,
    SavingsView,
    ShareView,
    TooFewView,
    UsdView,
)
from bursar.core.money import nano_to_usd
from bursar.savings.proof import Difference, Interval, TooFew
from bursar.store.savings import ArmTotals, LeverReport

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
