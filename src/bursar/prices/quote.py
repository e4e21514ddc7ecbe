"""Quote a call before it is made: the most it can cost."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.core.records import Traits
from bursar.prices.price import Rate, RateCard
from bursar.prices.units import MILLION, UNITS, divisor

SEARCHES_MAX: Final = 10
"""Searches held for when a call lets the provider search; what goes beyond is booked as overage."""

_OWN: Final = ("input_audio_tokens", "output_audio_tokens")


class Ceiling(msgspec.Struct, frozen=True):
    """Hold the dearest rates that can apply to calls of the same traits, in nano-USD per million.

    `steps` are (input tokens above which they can apply, input rate, output rate), ascending.
    """

    steps: tuple[tuple[int, Money, Money], ...]
    fee_millionths: int  # what each call costs besides its tokens, in nano-USD per million calls

    def cost(self, input_max: int, output_max: int) -> Money:
        """Return the most a call of so many tokens can cost, rounded up."""
        steps = self.steps
        _, input_rate, output_rate = steps[0]
        if len(steps) > 1:
            for above, step_input, step_output in steps:
                if input_max > above:
                    input_rate, output_rate = step_input, step_output
        return -(-(input_max * input_rate + output_max * output_rate + self.fee_millionths) // MILLION)

    def beside(self, counts: Sequence[tuple[str, int]], card: RateCard) -> "Ceiling":
        """Return what a call can cost that uses so many of other leaves beside; those without a rate are not charged.

        That some way of metering the call is priced whole is for `missing_rate` to say.
        """
        fee = self.fee_millionths
        for leaf, most in counts:
            rate = card.rates.get(leaf)
            if rate is not None:
                fee += -(-most * rate.dearest(MILLION) // UNITS[leaf].size) + MILLION // 2
        return msgspec.structs.replace(self, fee_millionths=fee)


def ceiling(card: RateCard, traits: Traits) -> Ceiling:
    """Find the dearest rates that can apply to calls of these traits.

    Volume discounts and free allowances are left out: they can only make a call cheaper.
    """
    rates = card.rates
    inputs = ["input_tokens", "cache_read_tokens"]
    if traits.writes_cache_5m:
        inputs.append("cache_write_5m_tokens")
    if traits.writes_cache_1h:
        inputs.append("cache_write_1h_tokens")
    if traits.media:
        inputs = [leaf for leaf in rates if UNITS[leaf].side == "input"]
    outputs = [leaf for leaf in rates if UNITS[leaf].side == "output"]
    bounds = sorted({0} | {above for rate in rates.values() for above, _ in rate.tiers})

    def dearest(leaves: list[str], above: int) -> Money:
        return max((rates[leaf].dearest(above + 1) for leaf in leaves if leaf in rates), default=0)

    fee = rates["requests"].dearest(MILLION) if "requests" in rates else 0
    if traits.searches_web and "web_searches" in rates:
        fee += SEARCHES_MAX * rates["web_searches"].dearest(MILLION)
    leaves = (leaf for leaf in (*inputs, *outputs, "requests", "web_searches") if leaf in rates)
    fee += sum(MILLION // 2 for leaf in leaves if _rounds(leaf, rates[leaf]))
    return Ceiling(tuple((above, dearest(inputs, above), dearest(outputs, above)) for above in bounds), fee)


def _rounds(leaf: str, rate: Rate) -> bool:
    """Tell whether a line of this rate may be rounded, which can add half a nano-dollar to it."""
    return any(rate_nano % divisor(leaf) for rate_nano in (rate.base_nano, *(tier for _, tier in rate.tiers)))


def missing_rate(card: RateCard, traits: Traits) -> str | None:
    """Name a leaf a call would consume and the card has no rate for; None when all have one.

    Of several ways to meter a call one is enough; the first is named where there is none. What sound costs a rate of
    text does not tell: it needs one of its own.
    """
    if traits.searches_web and "web_searches" not in card.rates:
        return "web_searches"
    lacking = [next((leaf for leaf in leaves if _lacks(card, leaf)), None) for leaves in traits.meters]
    return None if None in lacking else lacking[0]


def _lacks(card: RateCard, leaf: str) -> bool:
    return leaf not in card.rates or (leaf in _OWN and leaf in card.lent)
