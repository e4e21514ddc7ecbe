"""Add what the catalogue cannot say of DeepSeek's hours: from a day on, weekends and holidays have no peak.

api-docs.deepseek.com, "Models & Pricing", as its readers quote it, checked 2026-11-22: peak hours are 01:00-04:00 and
06:00-10:00 UTC, Monday to Friday, and from 00:00 Beijing time on 23 August 2026 on neither Saturdays nor Sundays; since
September 2026 nor on Chinese public holidays. The hours lie within one day of UTC and of Beijing alike, so days are
those of UTC. Holidays are those of the State Council's notice of 4 November 2025 for 2026; of later ones the peak price
is an upper bound.
"""

from datetime import date
from typing import Final

import msgspec

from bursar.core.times import DAY_US, day_start_us, moment_from_text
from bursar.prices.book import Provider
from bursar.prices.price import Price, Version, When

_PEAKS: Final = frozenset(((3_600, 14_400), (21_600, 36_000)))
"""Seconds of the UTC day of those hours, by which prices of that kind are known."""

_FROM_US: Final = moment_from_text("2026-08-22T16:00Z")
_WEEKEND: Final = (5, 6)
_HOLIDAYS: Final = tuple(
    day_start_us(each) // DAY_US for each in (date(2026, 9, 25), *(date(2026, 10, day) for day in (1, 2, 5, 6, 7)))
)
"""Those that are no Saturday and no Sunday, as days since 1970."""


def with_quiet_days(provider: Provider) -> Provider:
    """Return a provider whose prices have their off-peak rates on those days."""
    return msgspec.structs.replace(provider, prices=tuple(_quiet(price) for price in provider.prices))


def _quiet(price: Price) -> Price:
    if not any(version.when.daily_s in _PEAKS for version in price.versions):
        return price
    usual = [version for version in price.versions if version.when.daily_s is None]
    quiet = [
        Version(version.rates, When(max(_FROM_US, version.when.from_us or 0), None, **days))
        for version in usual
        for days in ({"weekdays": _WEEKEND}, {"days": _HOLIDAYS})
    ]
    return msgspec.structs.replace(price, versions=(*price.versions, *quiet))
