"""Find the likely cause of a difference between an invoice and the books.

Causes are tried in the order of their numbers, and the first that applies is given: what is plain from the line
itself, then what another group explains, then calls that only one side has, then tokens, then prices.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

from bursar.core.money import NANO_PER_USD, Money, nano_to_usd
from bursar.ledger.invoices import Counts, LineKind
from bursar.prices.near import near_names
from bursar.prices.price import Rate, Rates
from bursar.prices.units import MILLION

_PARTS: Final = 10_000


class Cause(IntEnum):
    """Name the likely cause of a difference, in order of precedence; up to `rounding` it counts as none."""

    none = 0
    rounding = 1  # within the tolerance, or within what the invoice's printed decimals can hide
    superseded = 2  # an earlier invoice was corrected for, and this one does not have its line
    credit = 3  # a credit, a discount, money back
    tax = 4
    other_line = 5  # no model's tokens: searches, storage, sessions; we book these with their calls
    day_boundary = 6  # cancels with the neighbouring day, or with calls that ended after midnight
    unknown_model = 7  # billed under a name that served none of our calls
    missing_here = 8  # the provider has calls that did not come through here
    held = 9  # we charged whole holds, since nobody reported what the calls used
    missing_there = 10  # we booked calls the provider does not bill
    cache_differs = 11  # the same tokens in all, but not the same from and into the cache
    estimated = 12  # we counted tokens ourselves: the answer was cut, or came without usage
    tokens_differ = 13
    price_differs = 14  # the same tokens at another price
    unexplained = 15


class Part(msgspec.Struct, frozen=True):
    """Hold what is billed for one leaf of usage."""

    leaf: str
    tokens: int
    cost_nano: Money


class Sides(msgspec.Struct, frozen=True):
    """Hold both sides of a group. `theirs_nano` is None when the export only counts; `lines` is how many it has."""

    ours: Counts
    ours_nano: Money
    corrected_nano: Money
    theirs: Counts
    theirs_nano: Money | None
    lines: int = 0
    held: int = 0
    held_nano: Money = 0
    estimated: int = 0
    estimated_nano: Money = 0
    price_ids: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()  # of what is billed, where the lines tell

    @property
    def amount_nano(self) -> Money:
        """Return what is billed beyond what is booked; 0 when nothing is said about money."""
        return 0 if self.theirs_nano is None else self.theirs_nano - self.ours_nano - self.corrected_nano


class Surroundings(msgspec.Struct, frozen=True):
    """Hold what else the invoice and the books say, as far as it can explain a group."""

    kind: LineKind
    name: str
    allowed_nano: Money = 0
    our_names: tuple[str, ...] = ()
    their_names: tuple[str, ...] = ()
    neighbours: tuple[tuple[str, int], ...] = ()  # the days before and after, and what differs there
    rates: tuple[Rates, ...] = ()  # of the prices our calls were charged by
    moved_nano: Money = 0  # of calls that ended on this day and began before, less those that began and ended later


def measure(sides: Sides) -> int:
    """Return what differs: money, or tokens where the export only counts."""
    if sides.theirs_nano is None:
        return sides.theirs.tokens - sides.ours.tokens
    return sides.amount_nano


def find_cause(sides: Sides, around: Surroundings) -> tuple[Cause, str]:
    """Return the first cause that applies, and what speaks for it in one line."""
    return next(_causes(sides, around))


def _causes(sides: Sides, around: Surroundings) -> Iterator[tuple[Cause, str]]:
    """Give the causes that apply, in order; the last always does."""
    unequal = _unequal(sides)
    off = abs(measure(sides))
    if sides.theirs_nano is None:
        if not unequal and sides.theirs.requests in (None, sides.ours.requests):
            yield Cause.none, ""
    elif off <= around.allowed_nano:
        yield (Cause.rounding, f"within {nano_to_usd(around.allowed_nano)} USD") if off else (Cause.none, "")
    yield from _of_the_line(sides, around)
    yield from _of_the_days(sides, around)
    yield from _of_the_calls(sides, around)
    yield from _of_the_tokens(sides, unequal)
    if sides.lines and any(count is not None for count in sides.theirs.values()[1:]) and not unequal:
        yield Cause.price_differs, _rates_off(sides, around) or _prices(sides)
    yield Cause.unexplained, "no counts to tell by: give the usage export as well"


def _of_the_line(sides: Sides, around: Surroundings) -> Iterator[tuple[Cause, str]]:
    if sides.corrected_nano and not sides.lines and not sides.ours_nano:
        yield Cause.superseded, f"corrected by {nano_to_usd(sides.corrected_nano)} USD before, and no longer billed"
    match around.kind:
        case LineKind.credit:
            yield Cause.credit, "no usage; the books have calls at their price"
        case LineKind.tax:
            yield Cause.tax, "no usage; the books have calls at their price"
        case LineKind.other:
            yield Cause.other_line, "no model's tokens; the books have such use with its calls"
        case LineKind.usage:
            pass


def _of_the_days(sides: Sides, around: Surroundings) -> Iterator[tuple[Cause, str]]:
    off = measure(sides)
    for day, beside in around.neighbours:
        if off * beside < 0 and abs(off + beside) <= around.allowed_nano:
            yield Cause.day_boundary, f"cancels with {day}"
    if sides.theirs_nano is not None and around.moved_nano and abs(off - around.moved_nano) <= around.allowed_nano:
        yield Cause.day_boundary, f"calls that ended after midnight cost {nano_to_usd(abs(around.moved_nano))} USD"


def _of_the_calls(sides: Sides, around: Surroundings) -> Iterator[tuple[Cause, str]]:
    """Find calls that only one side has."""
    off, ours, theirs = measure(sides), sides.ours.requests or 0, sides.theirs.requests
    if sides.lines and around.name and around.name not in around.our_names:
        unmatched = [name for name in around.our_names if name not in around.their_names]
        near = near_names(around.name, unmatched)
        hint = f"; near: {', '.join(near)}" if near else ""
        yield Cause.unknown_model, f"none of our calls was served by {around.name}{hint}"
    if off >= 0 and theirs is not None and theirs > ours:
        yield Cause.missing_here, f"requests that did not come through here: {theirs - ours} of {theirs}"
    if off > 0 and not ours:
        yield Cause.missing_here, "no call came through here"
    if -sides.held_nano <= sides.amount_nano < 0:
        yield Cause.held, f"calls charged their whole hold: {sides.held}, {nano_to_usd(sides.held_nano)} USD"
    if off <= 0 and theirs is not None and theirs < ours:
        yield Cause.missing_there, f"calls not billed: {ours - theirs} of {ours}"
    if off < 0 and not sides.lines:
        yield Cause.missing_there, f"calls not billed: all {ours}"


def _of_the_tokens(sides: Sides, unequal: dict[str, tuple[int, int]]) -> Iterator[tuple[Cause, str]]:
    told = "; ".join(f"{name}: {theirs} billed, {ours} here" for name, (ours, theirs) in unequal.items())
    if unequal and "input" not in unequal and "output" not in unequal and sides.theirs.input_tokens is not None:
        yield Cause.cache_differs, told
    known = any(count is not None for count in sides.theirs.values()[1:])
    if sides.estimated and abs(sides.amount_nano) <= sides.estimated_nano and (unequal or not known):
        counted = f"calls counted here: {sides.estimated}, {nano_to_usd(sides.estimated_nano)} USD"
        yield Cause.estimated, f"{counted}; {told}" if told else counted
    if unequal:
        yield Cause.tokens_differ, told


def _unequal(sides: Sides) -> dict[str, tuple[int, int]]:
    """Return the counts of tokens that both sides know and that differ: ours, theirs."""
    names = ("input", "cached", "cache written", "output")
    pairs = zip(names, sides.ours.values()[1:], sides.theirs.values()[1:], strict=True)
    return {name: (ours or 0, theirs) for name, ours, theirs in pairs if theirs is not None and theirs != (ours or 0)}


def _rates_off(sides: Sides, around: Surroundings) -> str:
    """Name the rates that are billed otherwise than on any card our calls were charged by; empty where none shows."""
    found: list[str] = []
    for part in sides.parts:
        cards = [rates[part.leaf] for rates in around.rates if part.leaf in rates]
        if cards and not any(_explains(rate, part, around.allowed_nano) for rate in cards):
            on_card = nano_to_usd(cards[0].base_nano)
            billed = nano_to_usd(_per_million(part.cost_nano, part.tokens))
            found.append(f"{part.leaf} {billed} USD a million, {on_card} on the card")
    return "; ".join([*found, _charged_by(sides)]) if found else ""


def _explains(rate: Rate, part: Part, allowed_nano: Money) -> bool:
    """Tell whether a rate, or one of its tiers, comes to what is billed."""
    every = (rate.base_nano, *(tier for _, tier in rate.tiers))
    return any(abs(part.cost_nano - part.tokens * nano // MILLION) <= allowed_nano + 1 for nano in every)


def _per_million(amount_nano: Money, tokens: int) -> Money:
    """Return what a million tokens come to, in millionths of a USD."""
    return amount_nano * MILLION // tokens // 1_000 * 1_000


def _prices(sides: Sides) -> str:
    """Compare what a million tokens came to on both sides, with the names of the prices we charged by."""
    booked, billed = sides.ours_nano + sides.corrected_nano, sides.theirs_nano or 0
    tokens = sides.ours.tokens
    if not tokens or booked <= 0:
        return f"the tokens agree; {_charged_by(sides)}"
    theirs, ours = (nano_to_usd(_per_million(amount, tokens)) for amount in (billed, booked))
    times = nano_to_usd(billed * _PARTS // booked * (NANO_PER_USD // _PARTS))
    return f"the tokens agree; {theirs} USD a million billed, {ours} here, {times} times; {_charged_by(sides)}"


def _charged_by(sides: Sides) -> str:
    """Name the prices our calls were charged by."""
    more = " ..." if len(sides.price_ids) > 3 else ""
    return f"by {', '.join(sides.price_ids[:3])}{more}"
