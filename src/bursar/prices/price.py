"""Hold a model's price with its history, and resolve it to the rates in force at a moment.

Prices are data, appended and never overwritten: a model has versions by day and by hour of the day, and variants
by service tier, speed or processing (batch). `Price.at` answers with a `RateCard`, the rates one call is charged by.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.core.times import DAY_US, FOREVER_US, day_text
from bursar.prices.units import MILLION, UNITS


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """Hold nano-USD per million units. A tier's rate holds for the whole request once its input exceeds `above`."""

    base_nano: Money
    tiers: tuple[tuple[int, Money], ...] = ()  # (input tokens above which it applies, rate), ascending

    def at(self, input_total: int) -> Money:
        """Return the rate for a request of `input_total` input tokens; the tier begins above its bound, not at it."""
        rate = self.base_nano
        for above, tier_nano in self.tiers:
            if input_total > above:
                rate = tier_nano
        return rate

    def dearest(self, input_total: int) -> Money:
        """Return the dearest rate any request of up to `input_total` input tokens can get."""
        return max((self.base_nano, *(rate for above, rate in self.tiers if input_total > above)))


Rates = dict[str, Rate]
"""Rates by leaf of usage."""


_THURSDAY: Final = 3
"""The weekday of 1 January 1970."""


class When(msgspec.Struct, frozen=True, array_like=True):
    """Say when rates hold: from a day on, and between two seconds of the UTC day (the end excluded, may wrap).

    `weekdays` are those of UTC, Monday being 0, and `days` are counted from 1970; where either is empty, all are meant.
    """

    from_us: int | None = None
    daily_s: tuple[int, int] | None = None
    weekdays: tuple[int, ...] = ()
    days: tuple[int, ...] = ()

    def holds(self, at_us: int) -> bool:
        """Tell whether the rates hold at a moment."""
        if self.from_us is not None and at_us < self.from_us:
            return False
        day = at_us // DAY_US
        if (self.weekdays and (day + _THURSDAY) % 7 not in self.weekdays) or (self.days and day not in self.days):
            return False
        if self.daily_s is None:
            return True
        start, end = (second * 1_000_000 for second in self.daily_s)
        now = at_us % DAY_US
        return start <= now < end if start <= end else now >= start or now < end

    def next_change_us(self, at_us: int) -> int:
        """Return the first moment after `at_us` at which `holds` may answer otherwise."""
        if self.from_us is not None and at_us < self.from_us:
            return self.from_us
        by_day = bool(self.weekdays or self.days)
        if self.daily_s is None and not by_day:
            return FOREVER_US
        midnight = at_us - at_us % DAY_US
        edges = [midnight + second * 1_000_000 + day for second in self.daily_s or () for day in (0, DAY_US)]
        edges += [midnight + DAY_US] if by_day else []
        return min(edge for edge in edges if edge > at_us)


ALWAYS: Final = When()


class Version(msgspec.Struct, frozen=True, array_like=True):
    """Hold the rates of one period; of several that hold, the last in the list counts."""

    rates: Rates
    when: When = ALWAYS


class Variant(msgspec.Struct, frozen=True, array_like=True):
    """Hold rates that replace the standard ones when the call's context matches, such as service_tier = flex."""

    context: dict[str, str]
    rates: Rates
    when: When = ALWAYS


class Volume(msgspec.Struct, frozen=True, array_like=True):
    """Hold what depends on the tokens used before within a `period` (day, month or total).

    `free` is how many of a leaf cost nothing; `discounts` are (tokens from which on, parts per million off).
    """

    period: str
    free: dict[str, int] = {}
    discounts: tuple[tuple[int, int], ...] = ()


class Match(msgspec.Struct, frozen=True, array_like=True):
    """Say which names mean a model: equals, starts_with, ends_with, contains, regex, or, and."""

    kind: str
    text: str = ""
    parts: tuple["Match", ...] = ()


class Source(msgspec.Struct, frozen=True, array_like=True):
    """Say where a price comes from and when it was last checked (ISO date, empty when not known)."""

    url: str
    checked: str
    note: str = ""


class RateCard(msgspec.Struct, frozen=True):
    """Hold the rates one call is charged by. Every leaf with a rate of its own or of a parent is in `rates`.

    `lent` names those whose rate is a parent's.
    """

    price_id: str
    rates: Rates
    valid_until_us: int
    source: Source
    volume: Volume | None = None
    lent: frozenset[str] = frozenset()

    def rate(self, leaf: str) -> Rate | None:
        """Return the rate of a leaf; None when it has none."""
        return self.rates.get(leaf)


class Price(msgspec.Struct, frozen=True, array_like=True):
    """Hold all that is known of what one provider charges for one model."""

    provider: str
    model: str
    match: Match
    versions: tuple[Version, ...]
    source: Source
    variants: tuple[Variant, ...] = ()
    context_window: int | None = None
    volume: Volume | None = None
    free: bool = False  # the operator has said in words that this model costs nothing

    def at(self, at_us: int, context: Mapping[str, str] | None = None) -> RateCard:
        """Resolve the rates in force at a moment (Unix microseconds) for a call's context.

        A context value no variant knows leaves the standard rates: ask `knows` first where that matters.
        """
        version = self.versions[0]
        for candidate in self.versions:
            if candidate.when.holds(at_us):
                version = candidate
        changes = [candidate.when for candidate in self.versions]
        rates = dict(version.rates)
        applied: dict[str, str] = {}
        replaced: set[str] = set()
        for variant in self.variants if context else ():
            changes.append(variant.when)
            if variant.when.holds(at_us) and all(context and context.get(k) == v for k, v in variant.context.items()):
                applied.update(variant.context)
                rates.update((leaf, rate) for leaf, rate in variant.rates.items() if leaf not in replaced)
                replaced.update(variant.rates)
        until = min((when.next_change_us(at_us) for when in changes), default=FOREVER_US)
        full = with_parents(rates)
        lent = frozenset(full.keys() - rates.keys())
        return RateCard(_price_id(self, version, applied, rates), full, until, self.source, self.volume, lent)

    def knows(self, name: str, value: str) -> bool:
        """Tell whether some variant is priced for a context value, such as service_tier = flex."""
        return any(variant.context.get(name) == value for variant in self.variants)


def with_parents(rates: Rates) -> Rates:
    """Add to each leaf without a rate that of its nearest parent that has one."""
    full = dict(rates)
    for leaf, unit in UNITS.items():
        if leaf not in rates:
            parent = next((parent for parent in unit.parents if parent in rates), None)
            if parent is not None:
                full[leaf] = rates[parent]
    return full


def discounted(rate_nano: Money, off_ppm: int) -> Money:
    """Take parts per million off a rate. Raises `ValueError` when the result is no integer of nano-USD."""
    rate, remainder = divmod(rate_nano * (MILLION - off_ppm), MILLION)
    if remainder:
        raise ValueError(f"{off_ppm} parts per million off {rate_nano} nano-USD per million units is not exact")
    return rate


def _price_id(price: Price, version: Version, context: Mapping[str, str], rates: Rates) -> str:
    """Name a card so that the same name always means the same rates: model, day, context and a digest."""
    digest = hashlib.sha256(msgspec.json.encode(sorted(rates.items()), order="deterministic")).hexdigest()[:8]
    words = [f"{price.provider}/{price.model}"]
    if version.when.from_us is not None:
        words.append(day_text(version.when.from_us))
    if version.when.daily_s is not None:
        words.append("-".join(f"{second // 3600:02d}{second // 60 % 60:02d}" for second in version.when.daily_s))
    words.extend(f"{name}={value}" for name, value in context.items())
    return f"{'@'.join(words[:2]) if len(words) > 1 else words[0]}{''.join(';' + word for word in words[2:])}#{digest}"
