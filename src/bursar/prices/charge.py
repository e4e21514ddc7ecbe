"""Charge a call: usage times rates, line by line, each rounded half-even once."""

from collections.abc import Iterable, Mapping
from typing import Final

from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money, div_half_even
from bursar.core.records import Line
from bursar.core.usage import Usage
from bursar.prices.price import RateCard, Volume, discounted
from bursar.prices.units import UNITS, divisor

_DIVISORS: Final = {leaf: divisor(leaf) for leaf in UNITS}

UsedSoFar = Mapping[str, int]
"""What the account has used before in the price's period: by leaf, and all tokens under `tokens`."""

NOTHING_USED: Final[UsedSoFar] = {}


def charge(usage: Usage, card: RateCard, used_so_far: UsedSoFar = NOTHING_USED) -> tuple[Line, ...]:
    """Price a call's usage at a card's rates.

    A tier is chosen by the call's whole input and holds for the whole call. A request fee applies once, whatever the
    usage. Raises `UnpricedUsage` for a leaf without a rate: what has no price is never charged as $0.
    """
    leaves, rates = usage.leaves(), card.rates
    if "requests" in rates:
        leaves.setdefault("requests", 1)
    if card.volume is not None:
        uses = [(leaf, quantity, _rate_nano(card, leaf, usage.input_total)) for leaf, quantity in leaves.items()]
        return tuple(charge_by_volume(uses, card.volume, used_so_far))
    lines: list[Line] = []
    for leaf, quantity in leaves.items():
        rate = rates.get(leaf)
        if rate is None:
            raise UnpricedUsage(card.price_id, leaf)
        rate_nano = rate.at(usage.input_total) if rate.tiers else rate.base_nano
        per = _DIVISORS[leaf]
        lines.append(Line(leaf, quantity, rate_nano, per, div_half_even(quantity * rate_nano, per)))
    return tuple(lines)


def cost(usage: Usage, card: RateCard) -> Money:
    """Return what `charge` comes to, without its lines. Not for prices that depend on what was used before."""
    leaves, rates, amount = usage.leaves(), card.rates, 0
    if "requests" in rates:
        leaves.setdefault("requests", 1)
    for leaf, quantity in leaves.items():
        rate = rates.get(leaf)
        if rate is None:
            raise UnpricedUsage(card.price_id, leaf)
        rate_nano = rate.at(usage.input_total) if rate.tiers else rate.base_nano
        amount += div_half_even(quantity * rate_nano, _DIVISORS[leaf])
    return amount


def total(lines: tuple[Line, ...]) -> Money:
    """Sum the amounts of lines."""
    return sum(line.amount_nano for line in lines)


def rederive(line: Line) -> Money:
    """Derive a line's amount again from what the line itself keeps."""
    return div_half_even(line.quantity * line.rate_nano, line.divisor)


def used_after(usage: Usage, used_so_far: UsedSoFar) -> dict[str, int]:
    """Return what the account has used once this call is counted in."""
    used = dict(used_so_far)
    for leaf, quantity in usage.leaves().items():
        used[leaf] = used.get(leaf, 0) + quantity
        if UNITS[leaf].side != "count":
            used["tokens"] = used.get("tokens", 0) + quantity
    return used


def charge_by_volume(
    uses: Iterable[tuple[str, int, Money]], volume: Volume, used_so_far: UsedSoFar = NOTHING_USED
) -> list[Line]:
    """Price leaf by leaf (leaf, quantity, rate): the rest of the free allowance first, then each stretch's discount."""
    lines: list[Line] = []
    left, tokens_used = dict(volume.free), used_so_far.get("tokens", 0)
    for leaf, used in used_so_far.items():
        if leaf in left:
            left[leaf] = max(0, left[leaf] - used)
    for leaf, quantity, rate_nano in uses:
        per = _DIVISORS[leaf]
        counts = UNITS[leaf].side != "count"
        free = min(quantity, left.get(leaf, 0))
        if free:
            lines.append(Line(leaf, free, 0, per, 0))
            left[leaf] -= free
            tokens_used += free if counts else 0
        for stretch, off_ppm in _stretches(
            quantity - free, tokens_used if counts else 0, volume.discounts if counts else ()
        ):
            stretch_nano = discounted(rate_nano, off_ppm)
            lines.append(Line(leaf, stretch, stretch_nano, per, div_half_even(stretch * stretch_nano, per)))
            tokens_used += stretch if counts else 0
    return lines


def _rate_nano(card: RateCard, leaf: str, input_total: int) -> Money:
    rate = card.rates.get(leaf)
    if rate is None:
        raise UnpricedUsage(card.price_id, leaf)
    return rate.at(input_total)


def _stretches(quantity: int, used: int, discounts: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Cut a quantity at the bounds of the discounts: (quantity, parts per million off) for each stretch."""
    stretches: list[tuple[int, int]] = []
    bounds = [*(start for start, _ in discounts), None]
    offs = [0, *(off for _, off in discounts)]
    for bound, off_ppm in zip(bounds, offs, strict=True):
        room = quantity if bound is None else min(quantity, max(0, bound - used))
        if room:
            stretches.append((room, off_ppm))
            quantity -= room
            used += room
    return stretches
