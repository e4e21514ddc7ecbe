"""A ceiling is never below what a call of its size can be charged, and no higher than it must be."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bursar.core.records import Traits
from bursar.core.usage import INPUT_LEAVES, OUTPUT_LEAVES, Usage
from bursar.prices import load
from bursar.prices.charge import charge, total
from bursar.prices.price import Rate, RateCard, Rates, Source, Volume, with_parents
from bursar.prices.quote import SEARCHES_MAX, ceiling, missing_rate

USD = 1_000_000_000
BOOK = load()


def card(rates: Rates, volume: Volume | None = None) -> RateCard:
    return RateCard("house/m#1", with_parents(rates), 0, Source("", ""), volume)


PLAIN = card({"input_tokens": Rate(3 * USD), "output_tokens": Rate(15 * USD)})
FULL = card(
    {
        "input_tokens": Rate(3 * USD),
        "cache_read_tokens": Rate(USD),
        "cache_write_5m_tokens": Rate(4 * USD),
        "cache_write_1h_tokens": Rate(6 * USD),
        "input_image_tokens": Rate(9 * USD),
        "output_tokens": Rate(15 * USD),
        "reasoning_tokens": Rate(20 * USD),
        "web_searches": Rate(10_000 * USD),
        "requests": Rate(5_000 * USD),
    }
)


@pytest.mark.parametrize(
    ("traits", "per_token"),
    [
        (Traits(), 3_000),
        (Traits(writes_cache_5m=True), 4_000),
        (Traits(writes_cache_5m=True, writes_cache_1h=True), 6_000),
        (Traits(media=True), 9_000),
    ],
)
def test_input_is_held_at_the_dearest_rate_that_can_apply(traits: Traits, per_token: int) -> None:
    assert ceiling(FULL, traits).cost(10, 2) == 10 * per_token + 2 * 20_000 + 5_000_000


def test_fees_are_held_once_and_searches_as_many_as_there_may_be() -> None:
    assert ceiling(FULL, Traits()).cost(0, 0) == 5_000_000
    assert ceiling(FULL, Traits(searches_web=True)).cost(0, 0) == 5_000_000 + SEARCHES_MAX * 10_000_000
    assert ceiling(PLAIN, Traits(searches_web=True)).cost(0, 0) == 0


LONG = card(
    {
        "input_tokens": Rate(2 * USD, ((272_000, 4 * USD),)),
        "output_tokens": Rate(10 * USD, ((272_000, 15 * USD),)),
    }
)


@pytest.mark.parametrize(
    ("input_max", "nano"),
    [
        (0, 10_000),
        (271_999, 271_999 * 2_000 + 10_000),
        (272_000, 272_000 * 2_000 + 10_000),
        (272_001, 272_001 * 4_000 + 15_000),
    ],
)
def test_the_long_context_rates_are_held_once_the_bound_can_be_passed(input_max: int, nano: int) -> None:
    assert ceiling(LONG, Traits()).cost(input_max, 1) == nano


def test_a_cheaper_tier_does_not_lower_what_is_held() -> None:
    falling = card({"input_tokens": Rate(4 * USD, ((100, USD),)), "output_tokens": Rate(USD)})
    assert ceiling(falling, Traits()).cost(101, 0) == 101 * 4_000


def test_discounts_and_allowances_do_not_lower_what_is_held() -> None:
    volume = Volume("month", {"input_tokens": 10**9}, ((1, 500_000),))
    generous = RateCard(PLAIN.price_id, PLAIN.rates, 0, PLAIN.source, volume)
    assert ceiling(generous, Traits()) == ceiling(PLAIN, Traits())


def test_whole_rates_are_held_without_a_nano_dollar_to_spare() -> None:
    assert ceiling(PLAIN, Traits()).cost(1_000, 100) == 1_000 * 3_000 + 100 * 15_000
    free = card({"input_tokens": Rate(0), "output_tokens": Rate(0)})
    assert ceiling(free, Traits()).cost(10**6, 10**6) == 0


def test_lines_that_round_up_stay_within_what_is_held() -> None:
    odd = card({"input_tokens": Rate(37_500_000), "output_tokens": Rate(37_500_000)})
    usage = Usage(1, 1, output_tokens=1, reasoning_tokens=1)  # four lines of 37.5, each rounded to 38
    assert total(charge(usage, odd)) == 4 * 38
    assert ceiling(odd, Traits()).cost(2, 2) >= 4 * 38


rate_nanos = st.integers(0, 10**10) | st.sampled_from([500_000, 1_500_000, 2_500_000, 37_500_000])
rates = st.builds(
    Rate,
    rate_nanos,
    st.lists(st.tuples(st.integers(1, 300), rate_nanos), max_size=2, unique_by=lambda tier: tier[0]).map(
        lambda tiers: tuple(sorted(tiers))
    ),
)
flat_rates = st.builds(Rate, rate_nanos)
cards = st.fixed_dictionaries(
    {"input_tokens": rates, "output_tokens": rates},
    optional=dict.fromkeys((*INPUT_LEAVES[1:], *OUTPUT_LEAVES[1:]), rates)
    | {"requests": flat_rates, "web_searches": flat_rates},
).map(card)
few = st.integers(0, 200)


@st.composite
def calls(draw: DrawFn) -> tuple[Usage, Traits]:
    """Draw usage that a call of some traits can have."""
    traits = draw(st.builds(Traits, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
    other: dict[str, int] = {}
    if traits.media:
        other |= draw(st.dictionaries(st.sampled_from(INPUT_LEAVES[4:]), few))
    if traits.searches_web:
        other |= {"web_searches": draw(st.integers(0, SEARCHES_MAX))}
    other |= draw(st.dictionaries(st.sampled_from(OUTPUT_LEAVES[2:]), few))
    written_5m = draw(few) if traits.writes_cache_5m or traits.media else 0
    written_1h = draw(few) if traits.writes_cache_1h or traits.media else 0
    return Usage(draw(few), draw(few), written_5m, written_1h, draw(few), draw(few), other), traits


@given(cards, calls(), few, few)
def test_no_call_is_charged_more_than_its_ceiling(
    rate_card: RateCard, call: tuple[Usage, Traits], spare_input: int, spare_output: int
) -> None:
    usage, traits = call
    assume(usage.leaves().keys() <= rate_card.rates.keys())
    held = ceiling(rate_card, traits).cost(usage.input_total + spare_input, usage.output_total + spare_output)
    assert total(charge(usage, rate_card)) <= held


@given(cards, few, few, few, few)
def test_a_larger_call_never_has_a_lower_ceiling(
    rate_card: RateCard, input_max: int, output_max: int, more_input: int, more_output: int
) -> None:
    most = ceiling(rate_card, Traits())
    assert most.cost(input_max, output_max) <= most.cost(input_max + more_input, output_max + more_output)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4", "claude-sonnet-4-5", "deepseek-chat", "gemini-2.5-pro"])
def test_a_plain_call_of_a_real_model_costs_what_is_held_but_for_rounding(model: str) -> None:
    rate_card = BOOK.find_any(model).at(1_790_000_000_000_000)
    for count in (999, 200_000, 200_001, 272_000, 272_001):
        held = ceiling(rate_card, Traits()).cost(count, 7)
        assert held - 2 <= total(charge(Usage(count, output_tokens=7), rate_card)) <= held


@pytest.mark.parametrize(
    ("rate_card", "traits", "missing"),
    [
        (PLAIN, Traits(), None),
        (PLAIN, Traits(searches_web=True), "web_searches"),
        (FULL, Traits(searches_web=True), None),
        (card({"input_tokens": Rate(1)}), Traits(), "output_tokens"),
        (card({"output_tokens": Rate(1)}), Traits(), "input_tokens"),
        (card({"requests": Rate(1)}), Traits(), "input_tokens"),
    ],
)
def test_what_a_call_would_consume_without_a_rate_is_named(
    rate_card: RateCard, traits: Traits, missing: str | None
) -> None:
    assert missing_rate(rate_card, traits) == missing
