"""Tell how a price came to be what it is: its dated entries, what each changed, and what it depends on."""

from collections.abc import Mapping
from typing import Final

import msgspec

from bursar.core.money import Money, div_half_even
from bursar.core.times import DAY_US, FOREVER_US
from bursar.prices.price import Price, Rates, Version, When, with_parents
from bursar.prices.units import UNITS

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Step(msgspec.Struct, frozen=True):
    """Hold the usual rates from a moment on; None from before anything is known.

    `changes_tenths` are tenths of a percent by leaf, against the step before; a leaf that is new has none.
    """

    from_us: int | None
    rates: Rates
    changes_tenths: dict[str, int]


class Condition(msgspec.Struct, frozen=True):
    """Say in words when other rates hold, and give those that are then others than the usual; none: the usual do."""

    words: str
    rates: Mapping[str, Money]


def history(price: Price) -> list[Step]:
    """Return the dated entries of a price, the oldest first; one that changes nothing is none.

    Hours and days of the week are no history: `conditions` tells of them.
    """
    steps: list[Step] = []
    for version in price.versions:
        if not _is_usual(version.when):
            continue
        before = steps[-1].rates if steps else None
        if before != version.rates:
            steps.append(Step(version.when.from_us, version.rates, _changes(before or {}, version.rates)))
    return steps


def conditions(price: Price, at_us: int) -> list[Condition]:
    """Say what the price depends on at a moment: long prompts, hours and days, tiers and processing."""
    usual = _usual(price, at_us)
    found = _tiers(usual)
    for version in _latest(price, at_us):
        found.append(Condition(when_words(version.when), _other(usual, with_parents(version.rates))))
    variants: list[Condition] = []
    contexts = [each.context for each in price.variants if each.when.from_us is None or each.when.from_us <= at_us]
    standard = price.at(at_us).rates
    for context in {tuple(each.items()): each for each in contexts}.values():
        words = " and ".join(f"{name.replace('_', ' ')} {value}" for name, value in context.items())
        variants.append(Condition(words, _other(standard, price.at(at_us, context).rates)))
    return found + [each for each in variants if each.rates]


def when_words(when: When) -> str:
    """Say when rates hold: 01:00 to 04:00 UTC; on Saturday and Sunday; on 6 single days."""
    words: list[str] = []
    if when.daily_s is not None:
        words.append(" to ".join(f"{second // 3600:02d}:{second // 60 % 60:02d}" for second in when.daily_s) + " UTC")
    if when.weekdays:
        words.append("on " + " and ".join(_WEEKDAYS[day] for day in when.weekdays))
    if when.days:
        words.append(f"on {len(when.days)} single days")
    return ", ".join(words)


def _is_usual(when: When) -> bool:
    return when.daily_s is None and not when.weekdays and not when.days


def _usual(price: Price, at_us: int) -> Rates:
    """Return the rates that hold but for hours and days; the first where none has begun."""
    plain = [each for each in price.versions if _is_usual(each.when)] or list(price.versions)
    begun = [each for each in plain if each.when.from_us is None or each.when.from_us <= at_us]
    return with_parents((begun or plain[:1])[-1].rates)


def _latest(price: Price, at_us: int) -> list[Version]:
    """Return of the versions for the same hours or days the one that counts."""
    latest: dict[str, Version] = {}
    for version in price.versions:
        ended = bool(version.when.days) and max(version.when.days) < at_us // DAY_US
        if not _is_usual(version.when) and not ended and (version.when.from_us or 0) <= at_us < FOREVER_US:
            latest[when_words(version.when)] = version
    return list(latest.values())


def _tiers(rates: Rates) -> list[Condition]:
    bounds = sorted({above for rate in rates.values() for above, _ in rate.tiers})
    return [
        Condition(
            f"more than {above:,} input tokens, for the whole call",
            {
                leaf: rate.at(above + 1)
                for leaf, rate in rates.items()
                if rate.at(above + 1) != rate.base_nano and not _follows(leaf, rates)
            },
        )
        for above in bounds
    ]


def _other(usual: Rates, rates: Rates) -> dict[str, Money]:
    return {
        leaf: rate.base_nano
        for leaf, rate in rates.items()
        if (leaf not in usual or usual[leaf].base_nano != rate.base_nano) and not _follows(leaf, rates)
    }


def _follows(leaf: str, rates: Rates) -> bool:
    """Tell whether a leaf costs what its parent costs, which says it already."""
    parent = next((parent for parent in UNITS[leaf].parents if parent in rates), None)
    return parent is not None and rates[parent] == rates[leaf]


def _changes(before: Rates, after: Rates) -> dict[str, int]:
    """Return changes in tenths of a percent; from nothing there is no percentage."""
    pairs = {leaf: (before[leaf].base_nano, rate.base_nano) for leaf, rate in after.items() if leaf in before}
    return {
        leaf: div_half_even(abs(new - old) * 1_000, old) * (1 if new > old else -1)
        for leaf, (old, new) in pairs.items()
        if old
    }
