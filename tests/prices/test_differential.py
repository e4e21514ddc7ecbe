"""Compare our charge with genai-prices' own calculation, for every model of the catalogue over a grid of usages.

The two differ for three reasons only, each tested to be no more than it says (docs/reference/prices.md lists them):
rounding (we round each line to the nano-dollar once), a unit without any price (they charge nothing, we refuse), and
a minimum duration (Groq's Whisper) of a route we do not serve.
"""

from collections import Counter
from decimal import Decimal
from itertools import product
from typing import Any

from genai_prices import Usage as TheirUsage
from genai_prices.data import providers as their_providers
from inline_snapshot import snapshot

from bursar.core.errors import UnpricedUsage
from bursar.core.money import NANO_PER_USD
from bursar.core.times import from_datetime, moment_from_text, to_datetime
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.charge import charge, total

BOOK = load()

# Boundary pairs of every long-context tier, round numbers, and one of each rarer kind.
INPUTS = (
    0,
    1,
    999,
    100_000,
    100_001,
    128_000,
    128_001,
    200_000,
    200_001,
    256_000,
    256_001,
    272_000,
    272_001,
    512_001,
)
USAGES = [
    *(Usage(input_tokens=count, output_tokens=7) for count in INPUTS),
    Usage(input_tokens=12_345),
    Usage(input_tokens=1_000, cache_read_tokens=500, output_tokens=200),
    Usage(input_tokens=1_000, cache_read_tokens=200_000, output_tokens=200, reasoning_tokens=33),
    Usage(input_tokens=13, cache_write_5m_tokens=1_001, cache_write_1h_tokens=2_003, output_tokens=5),
    Usage(input_tokens=17, cache_read_tokens=19, cache_write_1h_tokens=272_000, output_tokens=1),
    Usage(input_tokens=11, output_tokens=3, other={"input_audio_tokens": 101, "output_audio_tokens": 37}),
    Usage(input_tokens=11, output_tokens=3, other={"input_image_tokens": 1_105, "cache_read_image_tokens": 85}),
    Usage(input_tokens=11, output_tokens=3, other={"web_searches": 3}),
]
MOMENTS = tuple(moment_from_text(text) for text in ("2024-06-01T02:00Z", "2025-09-01T12:00Z", "2026-11-21T20:00Z"))
CONTEXTS: tuple[dict[str, str], ...] = (
    {},
    {"service_tier": "flex"},
    {"processing": "batch"},
    {"service_tier": "priority"},
)


def theirs_of(usage: Usage) -> TheirUsage:
    """Write our disjoint leaves as their overlapping counts."""
    other = usage.other
    cached_image = other.get("cache_read_image_tokens", 0)
    counts = {
        "input_tokens": usage.input_total,
        "cache_read_tokens": usage.cache_read_tokens + cached_image,
        "cache_write_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_total,
        "output_reasoning_tokens": usage.reasoning_tokens,
        "input_audio_tokens": other.get("input_audio_tokens", 0),
        "output_audio_tokens": other.get("output_audio_tokens", 0),
        "input_image_tokens": other.get("input_image_tokens", 0) + cached_image,
        "cache_image_read_tokens": cached_image,
        "web_searches": other.get("web_searches", 0),
    }
    return TheirUsage(**{name: count for name, count in counts.items() if count})


def compare(provider: Any, model: Any, usage: Usage, at_us: int, context: dict[str, str]) -> str:
    """Name the outcome of one comparison; asserts that a difference is no larger than its reason allows."""
    price = next(p for p in BOOK.providers[provider.id].prices if p.model == model.id)
    card = price.at(at_us, context)
    at = to_datetime(at_us)
    assert from_datetime(at) == at_us
    theirs = model.calc_price(theirs_of(usage), provider, genai_request_timestamp=at, price_context=context or None)
    try:
        lines = charge(usage, card)
    except UnpricedUsage as error:
        priced = vars(model.get_prices(at, context or None))
        unit = error.unit.split("_")[0] + "_mtok"
        return (
            "a unit without a price" if not any(priced.get(key) for key in priced if key.startswith(unit)) else "wrong"
        )
    difference = abs(theirs.total_price * NANO_PER_USD - total(lines))
    if difference == 0:
        return "equal"
    # Half a nano-dollar a line, and for prices that are no whole nano-dollar per million tokens one more.
    assert difference <= Decimal("0.5") * len(lines) + Decimal("0.6"), (provider.id, model.id, usage, difference)
    return "rounding below a nano-dollar a line"


def test_our_charge_equals_the_catalogues_own() -> None:
    outcomes: Counter[str] = Counter()
    for provider in their_providers:
        for model in provider.models:
            contexts = CONTEXTS if model.price_variants else CONTEXTS[:1]
            moments = MOMENTS if isinstance(model.prices, list) or model.price_variants else MOMENTS[:1]
            for usage, at_us, context in product(USAGES, moments, contexts):
                outcomes[compare(provider, model, usage, at_us, context)] += 1
    # These are the figures of docs/reference/prices.md.
    assert dict(outcomes) == snapshot(
        {"equal": 75418, "a unit without a price": 10895, "rounding below a nano-dollar a line": 1093}
    )
