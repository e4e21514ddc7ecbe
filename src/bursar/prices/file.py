"""Read the operator's own prices from TOML, strictly: an unknown word is an error that names the nearest known one.

[[prices]]
provider = "openai"
model = "gpt-4o-mini"
from = 2026-01-01              # several entries of one model are its history
daily = "16:30-00:30"          # holds between these times only, UTC
source = "contract of 2026"
checked = 2026-11-01
input = "0.15"                 # USD per million; any unit of prices/units.py
output = "0.60"
above.200_000 = { input = "0.30", output = "1.20" }        # the whole request, once its input exceeds this
tier.flex = { input = "0.075", output = "0.30" }          # by service tier, speed or processing
volume = { period = "month", free = { input = 1_000_000 }, discounts = { 1_000_000_000 = "10" } }
"""

import re
from collections.abc import Mapping
from datetime import date
from itertools import product
from typing import Any, Final, TypeGuard

from bursar.core.errors import ConfigError
from bursar.core.money import usd_to_nano
from bursar.core.times import day_start_us
from bursar.prices.near import near_names
from bursar.prices.price import Match, Price, Rate, Rates, Source, Variant, Version, Volume, When, discounted
from bursar.prices.units import UNIT_BY_NAME

PERIODS: Final = ("day", "month", "total")
VARIANTS: Final = {"tier": "service_tier", "speed": "speed", "processing": "processing"}
_ENTRY_WORDS: Final = ("provider", "model", "from", "daily", "source", "checked", "above", "volume", *VARIANTS)
_COUNT: Final = re.compile(r"\d+(_\d+)*", re.ASCII)
_DAILY: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def is_table(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether a value of a TOML file is a table."""
    return isinstance(value, Mapping)


def read_prices(entries: list[Any], where: str = "prices") -> list[Price]:
    """Read a list of `[[prices]]` entries; entries of one model become its versions, ordered by day.

    Raises `ConfigError` naming the entry and the word.
    """
    read = [_entry(entry, f"{where}[{number}]") for number, entry in enumerate(entries)]
    grouped: dict[tuple[str, str], list[Price]] = {}
    for price in read:
        grouped.setdefault((price.provider, price.model), []).append(price)
    return [_joined(group) for group in grouped.values()]


def read_model_price(value: Any, provider: str, model: str, where: str) -> Price:
    """Read the `price` of one model: a table of rates, or the word "free"."""
    if value == "free":
        rates = {leaf: Rate(0) for leaf in ("input_tokens", "output_tokens")}
        version, free = Version(rates), True
    elif is_table(value):
        version, free = Version(_rates(value, {}, where)), False
    else:
        raise ConfigError(f'{where}: expected a table such as {{ input = "0.15", output = "0.60" }} or "free"')
    source = Source("bursar.toml", "")
    return Price(provider, model, Match("equals", model), (version,), source, free=free)


def _entry(entry: Any, where: str) -> Price:
    if not is_table(entry):
        raise ConfigError(f"{where}: expected a table")
    provider, model = _text(entry, "provider", where), _text(entry, "model", where)
    tiers = _tables(entry, "above", where)
    rates = _rates({word: value for word, value in entry.items() if word not in _ENTRY_WORDS}, tiers, where)
    when = When(_from_us(entry.get("from"), where), _daily_s(entry.get("daily"), where))
    variants = tuple(
        Variant({context: value}, _rates(_tables(named, value, f"{where}.{word}"), {}, f"{where}.{word}.{value}"), when)
        for word, context in VARIANTS.items()
        for named in (_tables(entry, word, where),)
        for value in named
    )
    checked = entry.get("checked")
    if checked is not None and type(checked) is not date:
        raise ConfigError(f"{where}.checked: expected a date, such as 2026-11-01")
    source = _text(entry, "source", where) if "source" in entry else "bursar.toml"
    return Price(
        provider,
        model,
        Match("equals", model),
        (Version(rates, when),),
        Source(source, checked.isoformat() if checked else ""),
        variants,
        volume=_volume(entry["volume"], f"{where}.volume") if "volume" in entry else None,
    )


def _joined(group: list[Price]) -> Price:
    """Make one price of a model's entries. The first version counts from ever; a daily one overrules a plain one.

    The volume is that of the newest entry that has one.
    """
    group.sort(key=lambda price: (price.versions[0].when.from_us or 0, price.versions[0].when.daily_s is not None))
    last = group[-1]
    where = f"prices of {last.provider}/{last.model}"
    if group[0].versions[0].when.daily_s is not None:
        raise ConfigError(f"{where}: expected an entry without daily, for the rest of the day")
    volume = next((price.volume for price in reversed(group) if price.volume is not None), None)
    if volume is not None:
        _check_exact(volume, group, where)
    return Price(
        last.provider,
        last.model,
        last.match,
        tuple(version for price in group for version in price.versions),
        last.source,
        tuple(variant for price in reversed(group) for variant in price.variants),
        volume=volume,
    )


def _rates(table: Mapping[str, Any], tiers: Mapping[str, Any], where: str) -> Rates:
    rates = {
        UNIT_BY_NAME[word].leaf: Rate(_rate_nano(value, f"{where}.{word}")) for word, value in _known(table, where)
    }
    if not rates:
        raise ConfigError(f'{where}: expected at least one rate, such as input = "0.15"')
    for above, table_above in tiers.items():
        if not _COUNT.fullmatch(above) or not is_table(table_above):
            raise ConfigError(
                f'{where}.above: expected a table by input tokens, such as above.200_000 = {{ input = "0.30" }}'
            )
        for word, value in _known(table_above, f"{where}.above.{above}"):
            leaf, rate_nano = UNIT_BY_NAME[word].leaf, _rate_nano(value, f"{where}.above.{above}.{word}")
            if leaf not in rates:
                raise ConfigError(f"{where}.above.{above}.{word}: there is no rate {word} below that bound")
            rates[leaf] = Rate(rates[leaf].base_nano, tuple(sorted((*rates[leaf].tiers, (int(above), rate_nano)))))
    return rates


def _known(table: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    for word in table:
        if word not in UNIT_BY_NAME:
            near = near_names(word, (*UNIT_BY_NAME, *_ENTRY_WORDS))
            raise ConfigError(f"{where}: unknown word {word!r}" + (f"; near: {', '.join(near)}" if near else ""))
    return list(table.items())


def _rate_nano(value: Any, where: str) -> int:
    """Read USD per million units from a string: a float has lost its digits before we see it."""
    if not isinstance(value, str):
        raise ConfigError(f'{where}: expected USD per million as a string, such as "0.15", got {type(value).__name__}')
    try:
        rate_nano = usd_to_nano(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if rate_nano < 0:
        raise ConfigError(f"{where}: a price cannot be negative")
    return rate_nano


def _volume(value: Any, where: str) -> Volume:
    if not is_table(value) or set(value) - {"period", "free", "discounts"} or value.get("period") not in PERIODS:
        raise ConfigError(f"{where}: expected period ({', '.join(PERIODS)}), free and discounts")
    free = dict(_tables(value, "free", where))
    if unknown := [word for word in free if word not in UNIT_BY_NAME or type(free[word]) is not int or free[word] < 0]:
        raise ConfigError(f"{where}.free: expected units and counts, such as input = 1_000_000; got {unknown[0]!r}")
    discounts = [
        (_text_int(start, where), _ppm(off, where)) for start, off in _tables(value, "discounts", where).items()
    ]
    units = {UNIT_BY_NAME[word]: count for word, count in free.items()}
    return Volume(
        value["period"], {unit.leaf: count * unit.size for unit, count in units.items()}, tuple(sorted(discounts))
    )


def _check_exact(volume: Volume, group: list[Price], where: str) -> None:
    """Check that every rate stays a whole number at every discount. Raises `ConfigError`."""
    tables = [table.rates for price in group for table in (*price.versions, *price.variants)]
    rates = [rate for table in tables for rate in table.values()]
    every_nano = [nano for rate in rates for nano in (rate.base_nano, *(tier for _, tier in rate.tiers))]
    for rate_nano, (_, off_ppm) in product(every_nano, volume.discounts):
        try:
            discounted(rate_nano, off_ppm)
        except ValueError as error:
            raise ConfigError(f"{where}: volume.discounts: {error}") from None


def _tables(entry: Mapping[str, Any], word: str, where: str) -> Mapping[str, Any]:
    value = entry.get(word, {})
    if not is_table(value):
        raise ConfigError(f"{where}.{word}: expected a table, got {type(value).__name__}")
    return value


def _text(entry: Mapping[str, Any], word: str, where: str) -> str:
    value = entry.get(word)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}.{word}: expected a text")
    return value


def _text_int(text: str, where: str) -> int:
    if not _COUNT.fullmatch(text):
        raise ConfigError(f'{where}.discounts: expected tokens = "percent", such as 1_000_000_000 = "10", got {text!r}')
    return int(text)


def _ppm(text: Any, where: str) -> int:
    """Read a percentage with up to four decimals as parts per million."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,2}(\.\d{1,4})?|100", text):
        raise ConfigError(f'{where}.discounts: expected a percentage as a string, such as "12.5"')
    whole, _, fraction = text.partition(".")
    return int(whole) * 10_000 + int(fraction.ljust(4, "0"))


def _from_us(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if type(value) is not date:
        raise ConfigError(f"{where}.from: expected a date, such as 2026-01-01")
    return day_start_us(value)


def _daily_s(value: Any, where: str) -> tuple[int, int] | None:
    if value is None:
        return None
    match = _DAILY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f'{where}.daily: expected times of day in UTC, such as "16:30-00:30"')
    start_h, start_m, end_h, end_m = (int(part) for part in match.groups())
    return start_h * 3600 + start_m * 60, end_h * 3600 + end_m * 60
