"""The real genai-prices package becomes a book; what it does not say plainly is refused."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers as their_providers
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, Provider, Tier, TieredPrices
from inline_snapshot import snapshot

from bursar.core.errors import UnknownModel
from bursar.core.times import moment_from_text
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.catalogue import PRICE_KEYS, compile_catalogue, usd_to_rate_nano
from bursar.prices.charge import charge, total
from bursar.prices.price import Rate, RateCard, Version
from bursar.prices.units import UNITS

BOOK = load()
TODAY = moment_from_text("2026-11-21T12:00Z")


def card(model: str, at: str = "2026-11-21T12:00Z", **context: str) -> RateCard:
    return BOOK.find_any(model).at(moment_from_text(at), context)


def test_every_provider_and_model_of_the_package_is_in_the_book() -> None:
    assert [(name, len(provider.prices)) for name, provider in BOOK.providers.items()] == [
        (provider.id, len(provider.models)) for provider in their_providers
    ]
    assert BOOK.release.startswith("genai-prices ")


def test_each_price_knows_when_it_was_checked_and_is_no_newer_than_the_book() -> None:
    assert date.fromisoformat(BOOK.checked) > date(2026, 1, 1)
    checked = {price.source.checked for price in BOOK}
    assert max(checked) == BOOK.checked
    assert all(date.fromisoformat(day) for day in checked)


def test_rates_are_whole_numbers_of_known_units_with_rising_bounds() -> None:
    for price in BOOK:
        for rates in (each.rates for each in (*price.versions, *price.variants)):
            assert rates.keys() <= UNITS.keys()
            for rate in rates.values():
                bounds = [above for above, _ in rate.tiers]
                assert bounds == sorted(set(bounds))
                assert min(rate.base_nano, *(nano for _, nano in rate.tiers), 0) == 0


def test_a_price_id_means_one_set_of_rates_in_the_whole_book() -> None:
    seen: dict[str, dict[str, Rate]] = {}
    for price in BOOK:
        contexts = ({}, *(variant.context for variant in price.variants))
        for rate_card in (price.at(TODAY, context) for context in contexts):
            assert seen.setdefault(rate_card.price_id, rate_card.rates) == rate_card.rates


@pytest.mark.parametrize(
    ("model", "leaf", "usd_per_million"),
    [
        ("gpt-4o-mini", "input_tokens", "0.15"),
        ("gpt-4o-mini", "cache_read_tokens", "0.075"),
        ("gpt-4o-mini", "output_tokens", "0.60"),
        ("gpt-4o-mini", "reasoning_tokens", "0.60"),
        ("claude-sonnet-4-5", "input_tokens", "3"),
        ("claude-sonnet-4-5", "cache_read_tokens", "0.30"),
        ("claude-sonnet-4-5", "cache_write_5m_tokens", "3.75"),
        ("claude-sonnet-4-5", "cache_write_1h_tokens", "6"),
        ("claude-sonnet-4-5", "output_tokens", "15"),
        ("claude-opus-4-1", "output_tokens", "75"),
        ("gpt-5", "output_tokens", "10"),
        ("gemini-2.5-pro", "input_tokens", "1.25"),
    ],
)
def test_published_prices_are_read_to_the_nano_dollar(model: str, leaf: str, usd_per_million: str) -> None:
    assert card(model).rates[leaf].base_nano == Decimal(usd_per_million) * 10**9


@pytest.mark.parametrize(
    ("model", "below", "above"),
    [
        ("gpt-5.4", 272_000, 272_001),
        ("claude-sonnet-4-5", 200_000, 200_001),
        ("gemini-2.5-pro", 200_000, 200_001),
        ("x-ai/grok-4.3", 199_999, 200_000),  # "from 200,000 on"
    ],
)
def test_long_context_prices_of_real_models_hold_for_the_whole_request(model: str, below: int, above: int) -> None:
    rate_card = card(model)
    rate = rate_card.rates["input_tokens"]
    (_, dear), cheap = rate.tiers[0], rate.base_nano
    assert dear > cheap
    assert total(charge(Usage(below), rate_card)) == below * cheap // 1_000_000
    assert total(charge(Usage(above), rate_card)) == above * dear // 1_000_000
    assert total(charge(Usage(1, above - 1), rate_card)) > total(charge(Usage(1, below - 1), rate_card))


@pytest.mark.parametrize(
    ("at", "usd"),
    [
        ("2026-11-21T00:29:59Z", "0.135"),
        ("2026-11-21T00:30Z", "0.27"),
        ("2026-11-21T16:29:59Z", "0.27"),
        ("2026-11-21T16:30Z", "0.135"),
        ("2026-11-21T18:30+02:00", "0.135"),
    ],
)
def test_deepseek_is_cheaper_off_peak(at: str, usd: str) -> None:
    assert card("deepseek/deepseek-chat", at).rates["input_tokens"].base_nano == Decimal(usd) * 10**9


@pytest.mark.parametrize(
    ("at", "usd"),
    [
        ("2026-11-20T00:59:59Z", "0.66"),  # a Friday
        ("2026-11-20T01:00Z", "1.32"),
        ("2026-11-20T03:59:59Z", "1.32"),
        ("2026-11-20T04:00Z", "0.66"),
        ("2026-11-20T06:00Z", "1.32"),
        ("2026-11-20T10:00Z", "0.66"),
        ("2026-11-21T02:00Z", "0.66"),  # a weekend
        ("2026-11-22T07:00Z", "0.66"),
        ("2026-11-23T01:00Z", "1.32"),
        ("2026-08-22T02:00Z", "1.32"),  # the last Saturday that had a peak
        ("2026-08-23T02:00Z", "0.66"),
        ("2026-09-25T02:00Z", "0.66"),  # the Mid-Autumn Festival
        ("2026-10-07T07:00Z", "0.66"),  # the last day of the National Day's week
        ("2026-10-08T07:00Z", "1.32"),
    ],
)
def test_deepseek_has_no_peak_on_weekends_and_holidays(at: str, usd: str) -> None:
    assert card("deepseek/deepseek-v4-pro", at).rates["input_tokens"].base_nano == Decimal(usd) * 10**9


def test_a_weekend_before_a_price_changed_has_the_price_of_its_day() -> None:
    days = ("2026-08-29T02:00Z", "2026-09-12T02:00Z")
    rates = [card("deepseek/deepseek-v4-flash", at).rates["output_tokens"].base_nano for at in days]
    assert rates == [Decimal("0.66") * 10**9, Decimal("0.60") * 10**9]


def test_a_price_that_fell_is_dear_before_its_day_and_cheap_from_then_on() -> None:
    # OpenAI lowered o3 by 80 % on 10 June 2025.
    days = ("2025-06-09T23:59:59Z", "2025-06-10T00:00Z")
    assert [card("o3", at).rates["input_tokens"].base_nano for at in days] == [10 * 10**9, 2 * 10**9]


@pytest.mark.parametrize(
    ("context", "times_1000"),
    [
        ({}, 1_000),
        ({"service_tier": "flex"}, 500),
        ({"service_tier": "priority"}, 2_000),
        ({"processing": "batch"}, 500),
    ],
)
def test_tiers_and_batch_of_a_real_model(context: dict[str, str], times_1000: int) -> None:
    standard, priced = card("gpt-5").rates, card("gpt-5", **context).rates
    for leaf in ("input_tokens", "output_tokens"):
        assert priced[leaf].base_nano * 1_000 == standard[leaf].base_nano * times_1000


def test_a_call_with_every_cache_is_charged_as_anthropic_bills_it() -> None:
    usage = Usage(1_000, 20_000, 3_000, 500, 700)
    made = charge(usage, card("claude-sonnet-4-5"))
    assert {line.unit: line.amount_nano for line in made} == snapshot(
        {
            "input_tokens": 3000000,
            "cache_read_tokens": 6000000,
            "cache_write_5m_tokens": 11250000,
            "cache_write_1h_tokens": 3000000,
            "output_tokens": 10500000,
        }
    )
    assert total(made) == snapshot(33750000)


def test_the_book_names_near_models() -> None:
    with pytest.raises(UnknownModel, match="no price for model 'gpt-4o-minii'; near: gpt-4o-mini"):
        BOOK.find_any("gpt-4o-minii")


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.together.xyz/v1", "together"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("http://127.0.0.1:11434/v1", None),
    ],
)
def test_real_addresses_are_known(url: str, provider: str | None) -> None:
    assert BOOK.provider_of_url(url) == provider


@pytest.mark.parametrize(
    ("usd", "per", "nano"),
    [
        ("0.15", 1_000_000, 150_000_000),
        ("0", 1_000_000, 0),
        ("10", 1_000, 10_000_000_000_000),
        ("0.36", 1, 360_000_000_000_000),
        ("0.18000000000000002", 1_000_000, 180_000_000),  # the noise of a float
        ("0.000000001", 1_000_000, 1),
    ],
)
def test_usd_become_nano_usd_per_million_units(usd: str, per: int, nano: int) -> None:
    assert usd_to_rate_nano(Decimal(usd), per) == nano


@pytest.mark.parametrize("usd", ["0.0000000001", "0.0000000015", "-1", "0.000001000499"])
def test_what_is_no_whole_number_is_refused_rather_than_rounded(usd: str) -> None:
    with pytest.raises(ValueError, match="no whole number of nano-USD per million units"):
        usd_to_rate_nano(Decimal(usd), 1_000_000)


def one_model(prices: ModelPrice, **more: Any) -> Provider:
    model = ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=prices, **more)
    return Provider(id="house", name="House", api_pattern="https://house", models=[model])


def test_tiers_and_notes_of_a_provider_are_compiled() -> None:
    tiered = TieredPrices(base=Decimal(2), tiers=[Tier(start=200_000, price=Decimal(4))])
    prices = ModelPrice(input_mtok=tiered, requests_kcount=Decimal(5))
    house = one_model(prices, context_window=9, price_comments="verified 2026-10-07 on the web")
    book = compile_catalogue([house], "test 1")
    price = book.find("house", "m")
    assert price.versions == (
        Version(
            {
                "input_tokens": Rate(2_000_000_000, ((200_000, 4_000_000_000),)),
                "requests": Rate(5_000_000_000_000),
            }
        ),
    )
    assert (price.context_window, price.source.checked, book.checked, book.release) == (
        9,
        "2026-10-07",
        "2026-10-07",
        "genai-prices test 1",
    )


def test_a_price_key_nobody_knows_stops_the_compilation() -> None:
    prices = ModelPrice(input_mtok=Decimal(1))
    vars(prices)["input_dreams_mtok"] = Decimal(1)
    with pytest.raises(ValueError, match="price key this version does not know: input_dreams_mtok"):
        compile_catalogue([one_model(prices)], "test 1")
    assert "input_dreams_mtok" not in PRICE_KEYS
