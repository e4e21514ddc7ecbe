"""Read what a provider itself says a call cost, wherever it says so in its usage report.

OpenRouter and others: `cost`, in USD; of a call on the user's own key there, what the provider behind it charges comes
on top (`cost_details.upstream_inference_cost`). Perplexity: `cost.total_cost`. DeepInfra: `estimated_cost`. Some
gateways: `total_cost`. xAI: `cost_in_usd_ticks`, 10^10 a dollar.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

import msgspec

from bursar.core.money import NANO_PER_USD, Money
from bursar.wires.wire import UNREADABLE, UsageReport, is_report

NOT_STATED: Final = -1

STATED_FIELDS: Final = (
    *("cost", "total_cost", "estimated_cost", "cost_in_usd_ticks"),
    *("cost.total_cost", "cost_details.upstream_inference_cost"),
)
"""Names that are no counts of anything."""

_NANO_MAX: Final = 1_000_000_000 * NANO_PER_USD
"""A provider that states more for one call is not believed."""
_NANO_PER_TICK: Final = Decimal("0.1")


_decode = msgspec.json.Decoder(UsageReport, float_hook=Decimal).decode


def stated_nano(report: bytes) -> Money:
    """Return what a usage report states in nano-USD, rounded half-even; -1 where it is none the books could hold."""
    if b"cost" not in report:
        return NOT_STATED
    try:
        return stated_in(_decode(report))
    except UNREADABLE:
        return NOT_STATED


def stated_in(report: UsageReport) -> Money:
    """Return what a usage report that was read already states, as `stated_nano` does."""
    cost = report.get("cost")
    whole = cost.get("total_cost") if is_report(cost) else cost
    for usd in (whole, report.get("total_cost"), report.get("estimated_cost")):
        if (nano := _rounded(usd, Decimal(NANO_PER_USD))) != NOT_STATED:
            return nano + _upstream(report)
    return _rounded(report.get("cost_in_usd_ticks"), _NANO_PER_TICK)


def _upstream(report: UsageReport) -> Money:
    """Return what the provider behind a broker charges to the user's own key there."""
    details = report.get("cost_details")
    if report.get("is_byok") is not True or not is_report(details):
        return 0
    return max(0, _rounded(details.get("upstream_inference_cost"), Decimal(NANO_PER_USD)))


def _rounded(value: Any, scale: Decimal) -> Money:
    """Scale a number of JSON; -1 for what is no number, is negative, or more than a call can cost."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return NOT_STATED
    try:
        nano = Decimal(repr(value) if isinstance(value, float) else value) * scale
    except ArithmeticError:  # a text that is no number
        return NOT_STATED
    if not nano.is_finite() or not 0 <= nano < _NANO_MAX:
        return NOT_STATED
    return int(nano.to_integral_value(ROUND_HALF_EVEN))
