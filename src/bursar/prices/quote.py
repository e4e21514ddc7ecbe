"""Quote a call before it is made: the most it can cost."""

import msgspec

from bursar.core.money import Money, div_ceil
from bursar.prices.price import RateCard
from bursar.prices.units import MILLION, UNITS

SEARCHES_MAX = 10
"""Searches held for when a call lets the provider search; what goes beyond is booked as overage."""


class Request(msgspec.Struct, frozen=True):
    """Bound what a call may consume; tokens."""

    input_max: int
    output_max: int  # over all choices
    writes_cache_5m: bool = False
    writes_cache_1h: bool = False
    media: bool = False
    searches_web: bool = False


def quote(request: Request, card: RateCard) -> Money:
    """Return the most a call can cost: each token at the dearest rate that can apply, rounded up.

    Volume discounts and free allowances are left out: they can only make it cheaper.
    """
    cost = div_ceil(request.input_max * _input_rate(request, card), MILLION)
    cost += div_ceil(request.output_max * _dearest(card, "output", request.input_max), MILLION)
    if "requests" in card.rates:
        cost += div_ceil(card.rates["requests"].dearest(request.input_max), MILLION)
    if request.searches_web and "web_searches" in card.rates:
        cost += div_ceil(SEARCHES_MAX * card.rates["web_searches"].dearest(request.input_max), MILLION)
    return cost


def missing_rate(request: Request, card: RateCard) -> str | None:
    """Name a leaf the call would consume and the card has no rate for; None when all have one."""
    needed = ["input_tokens"]
    if request.output_max:
        needed.append("output_tokens")
    if request.searches_web:
        needed.append("web_searches")
    return next((leaf for leaf in needed if leaf not in card.rates), None)


def _input_rate(request: Request, card: RateCard) -> Money:
    if request.media:
        return _dearest(card, "input", request.input_max)
    leaves = ["input_tokens", "cache_read_tokens"]
    if request.writes_cache_5m:
        leaves.append("cache_write_5m_tokens")
    if request.writes_cache_1h:
        leaves.append("cache_write_1h_tokens")
    return max((card.rates[leaf].dearest(request.input_max) for leaf in leaves if leaf in card.rates), default=0)


def _dearest(card: RateCard, side: str, input_max: int) -> Money:
    rates = [rate.dearest(input_max) for leaf, rate in card.rates.items() if UNITS[leaf].side == side]
    return max(rates, default=0)
