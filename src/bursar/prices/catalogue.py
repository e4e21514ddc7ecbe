"""Compile the price book from the genai-prices package: facts of 47 providers, dated, under the MIT licence."""

import re
from datetime import date, time
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, cast

from bursar.core.times import day_start_us
from bursar.prices.book import Book, Provider
from bursar.prices.off_peak import with_quiet_days
from bursar.prices.price import ALWAYS, Match, Price, Rate, Rates, Source, Variant, Version, When
from bursar.prices.units import NANO_PER_USD_PER_MILLION

# The catalogue's price keys, the leaf each one prices, and how many units it is for (`mtok` a million, `kcount` a
# thousand). A key that is missing here stops the compilation: a price that is not understood is not used.
PRICE_KEYS: Final = {
    "input_mtok": ("input_tokens", 1_000_000),
    "cache_read_mtok": ("cache_read_tokens", 1_000_000),
    "cache_write_mtok": ("cache_write_5m_tokens", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h_tokens", 1_000_000),
    "input_audio_mtok": ("input_audio_tokens", 1_000_000),
    "input_image_mtok": ("input_image_tokens", 1_000_000),
    "input_video_mtok": ("input_video_tokens", 1_000_000),
    "cache_audio_read_mtok": ("cache_read_audio_tokens", 1_000_000),
    "cache_image_read_mtok": ("cache_read_image_tokens", 1_000_000),
    "cache_video_read_mtok": ("cache_read_video_tokens", 1_000_000),
    "output_mtok": ("output_tokens", 1_000_000),
    "output_reasoning_mtok": ("reasoning_tokens", 1_000_000),
    "output_audio_mtok": ("output_audio_tokens", 1_000_000),
    "output_image_mtok": ("output_image_tokens", 1_000_000),
    "output_video_mtok": ("output_video_tokens", 1_000_000),
    "output_citation_mtok": ("citation_tokens", 1_000_000),
    "requests_kcount": ("requests", 1_000),
    "web_searches_kcount": ("web_searches", 1_000),
    "social_searches_kcount": ("social_searches", 1_000),
    "storage_searches_kcount": ("storage_searches", 1_000),
    "code_executions_kcount": ("code_executions", 1_000),
    "rerank_searches_kcount": ("rerank_searches", 1_000),
    "input_mchars": ("input_characters", 1_000_000),
    "input_text_messages_kcount": ("input_text_messages", 1_000),
    "audio_hours": ("audio_seconds", 1),
    "input_audio_hours": ("input_audio_seconds", 1),
    "output_audio_hours": ("output_audio_seconds", 1),
    "input_gpixels": ("input_pixels", 1),
    "input_document_kpages": ("input_document_pages", 1_000),
    "input_annotated_document_kpages": ("input_annotated_document_pages", 1_000),
}

_CHECKED: Final = re.compile(r"(?:verified|checked|as of)\D{0,12}(20\d\d-\d\d-\d\d)")


def compile_catalogue(providers: list[Any], release: str) -> Book:
    """Turn the package's providers into a book. Raises `ValueError` for a price it does not understand."""
    notes = [entry.price_comments or "" for provider in providers for entry in (provider, *provider.models)]
    checked = max((found for note in notes for found in _CHECKED.findall(note)), default="")
    compiled = {provider.id: _provider(provider, checked) for provider in providers}
    if "deepseek" in compiled:
        compiled["deepseek"] = with_quiet_days(compiled["deepseek"])
    return Book(compiled, f"genai-prices {release}", checked)


def usd_to_rate_nano(usd: Decimal, per: int) -> int:
    """Turn USD per `per` units into nano-USD per million units.

    Some prices of the catalogue carry the noise of a float (0.18000000000000002); they are rounded to the nearest
    integer. Raises `ValueError` when rounding would change the price by more than a ten-millionth of it.
    """
    exact = usd * NANO_PER_USD_PER_MILLION * (1_000_000 // per)
    nano = int(exact.to_integral_value(ROUND_HALF_EVEN))
    if nano < 0 or abs(exact - nano) * 10_000_000 > exact:
        raise ValueError(f"{usd} USD per {per} units is no whole number of nano-USD per million units")
    return nano


def _provider(provider: Any, checked: str) -> Provider:
    url = (provider.pricing_urls or [""])[0]
    return Provider(
        name=provider.id,
        prices=tuple(_price(provider.id, model, url, checked) for model in provider.models),
        url_pattern=provider.api_pattern,
        model_match=_match(provider.model_match) if provider.model_match is not None else None,
        lends_from=tuple(provider.fallback_model_providers or ()),
    )


def _price(provider: str, model: Any, url: str, checked: str) -> Price:
    dated: Any = model.prices
    if isinstance(dated, list):
        entries = cast("list[Any]", dated)
        versions = [Version(_rates(entry.prices), _when(entry.constraint)) for entry in entries]
    else:
        versions = [Version(_rates(model.prices))]
    note = model.price_comments or ""
    own_check = max(_CHECKED.findall(note), default="")
    return Price(
        provider=provider,
        model=model.id,
        match=_match(model.match),
        versions=tuple(versions),
        source=Source(url, own_check or checked, note),
        variants=tuple(
            Variant(dict(v.when), _rates(v.prices), _when(v.constraint)) for v in model.price_variants or ()
        ),
        context_window=model.context_window,
    )


def _rates(prices: Any) -> Rates:
    rates: Rates = {}
    for key, value in cast("dict[str, Any]", vars(prices)).items():
        if value is None or key.startswith("_"):
            continue
        if key not in PRICE_KEYS:
            raise ValueError(f"the catalogue has a price key this version does not know: {key}")
        leaf, per = PRICE_KEYS[key]
        if isinstance(value, Decimal):
            rates[leaf] = Rate(usd_to_rate_nano(value, per))
        else:
            tiered: Any = value
            bounds = cast("list[Any]", tiered.tiers)
            tiers = tuple((int(bound.start), usd_to_rate_nano(bound.price, per)) for bound in bounds)
            rates[leaf] = Rate(usd_to_rate_nano(cast(Decimal, tiered.base), per), tiers)
    return rates


def _when(constraint: Any) -> When:
    if constraint is None:
        return ALWAYS
    if isinstance(start := getattr(constraint, "start_date", None), date):
        return When(from_us=day_start_us(start))
    return When(daily_s=(_second(constraint.start_time), _second(constraint.end_time)))


def _second(at: time) -> int:
    offset = at.utcoffset()
    return (at.hour * 3600 + at.minute * 60 + at.second - int(offset.total_seconds() if offset else 0)) % 86_400


def _match(clause: Any) -> Match:
    """Read a clause of the catalogue: its one field names the kind."""
    kind, value = next(iter(cast("dict[str, Any]", vars(clause)).items()))
    if isinstance(value, str):
        return Match(kind, value)
    parts = cast("list[Any]", value)
    return Match(kind.rstrip("_"), parts=tuple(_match(part) for part in parts))
