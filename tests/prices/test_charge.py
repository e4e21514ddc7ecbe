"""Usage times rates, line by line: boundaries of tiers, fees, free allowances, discounts, and exact rounding."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import UnpricedUsage
from bursar.core.records import Line
from bursar.core.usage import LEAVES, MAIN_LEAVES, Usage
from bursar.prices.charge import charge, cost, rederive, total, used_after
from bursar.prices.price import Rate, RateCard, Rates, Source, Volume, with_parents
from bursar.prices.units import UNITS, divisor

USD = 1_000_000_000  # a rate of one USD per million units
SOURCE = Source("https://example.org", "2026-11-21")


def card(rates: Rates, volume: Volume | None = None) -> RateCard:
    return RateCard("house/m#1", with_parents(rates), 0, SOURCE, volume)


def cents(input_usd: int, output_usd: int, **more: int) -> RateCard:
    """Make a card of flat rates in USD per million."""
    rates = {"input_tokens": input_usd, "output_tokens": output_usd} | more
    return card({leaf: Rate(usd * USD) for leaf, usd in rates.items()})


def short(lines: tuple[Line, ...]) -> list[tuple[str, int, int, int]]:
    """Write lines as (unit, quantity, rate, amount)."""
    return [(line.unit, line.quantity, line.rate_nano, line.amount_nano) for line in lines]


def test_each_leaf_has_its_line_at_its_rate() -> None:
    usage = Usage(1_000, 500, 200, 100, 300, 50, other={"web_searches": 2})
    made = charge(
        usage,
        cents(3, 15, cache_read_tokens=1, cache_write_5m_tokens=4, cache_write_1h_tokens=6, web_searches=10_000),
    )
    assert short(made) == snapshot(
        [
            ("input_tokens", 1000, 3000000000, 3000000),
            ("cache_read_tokens", 500, 1000000000, 500000),
            ("cache_write_5m_tokens", 200, 4000000000, 800000),
            ("cache_write_1h_tokens", 100, 6000000000, 600000),
            ("output_tokens", 300, 15000000000, 4500000),
            ("reasoning_tokens", 50, 15000000000, 750000),
            ("web_searches", 2, 10000000000000, 20000000),
        ]
    )
    assert total(made) == snapshot(30150000)


def test_nothing_used_costs_nothing() -> None:
    assert charge(Usage(), cents(3, 15)) == ()


# Tiers: the bound itself is still cheap, and one token more makes the whole request dear.
TIERED = card(
    {
        "input_tokens": Rate(2 * USD, ((272_000, 4 * USD),)),
        "cache_read_tokens": Rate(USD, ((272_000, 2 * USD),)),
        "output_tokens": Rate(10 * USD, ((272_000, 15 * USD),)),
    }
)


@pytest.mark.parametrize(
    ("usage", "amounts"),
    [
        (Usage(271_999, output_tokens=1), [271_999 * 2_000, 10_000]),
        (Usage(272_000, output_tokens=1), [272_000 * 2_000, 10_000]),
        (Usage(272_001, output_tokens=1), [272_001 * 4_000, 15_000]),
        # Cached tokens count towards the bound, output does not.
        (Usage(1, 271_999, output_tokens=1), [2_000, 271_999 * 1_000, 10_000]),
        (Usage(1, 272_000, output_tokens=1), [4_000, 272_000 * 2_000, 15_000]),
        (Usage(100_000, output_tokens=500_000), [100_000 * 2_000, 500_000 * 10_000]),
        # So do written and spoken ones.
        (Usage(0, 0, 272_001), [272_001 * 4_000]),
        (Usage(272_000, other={"input_audio_tokens": 1}), [272_000 * 4_000, 4_000]),
    ],
)
def test_a_tier_begins_above_its_bound_and_holds_for_the_whole_request(usage: Usage, amounts: list[int]) -> None:
    assert [line.amount_nano for line in charge(usage, TIERED)] == amounts


@pytest.mark.parametrize(("input_total", "rate"), [(9, 1), (10, 1), (11, 2), (20, 2), (21, 3), (10**9, 3)])
def test_of_several_tiers_the_highest_reached_counts(input_total: int, rate: int) -> None:
    made = charge(Usage(input_total), card({"input_tokens": Rate(USD, ((10, 2 * USD), (20, 3 * USD)))}))
    assert made[0].rate_nano == rate * USD


@pytest.mark.parametrize(
    ("tokens", "amount"),
    [(1, 2), (3, 8), (5, 12), (7, 18), (2, 5), (4, 10)],  # 2.5, 7.5, 12.5, 17.5, 5, 10
)
def test_a_line_is_rounded_once_half_to_even(tokens: int, amount: int) -> None:
    made = charge(Usage(tokens), card({"input_tokens": Rate(2_500_000)}))
    assert made == (Line("input_tokens", tokens, 2_500_000, 1_000_000, amount),)


def test_a_fee_applies_once_a_call_whatever_it_used() -> None:
    fee = card({"requests": Rate(5_000 * USD), "input_tokens": Rate(0)})
    assert short(charge(Usage(), fee)) == [("requests", 1, 5_000 * USD, 5_000_000)]
    assert short(charge(Usage(7), fee)) == [("input_tokens", 7, 0, 0), ("requests", 1, 5_000 * USD, 5_000_000)]
    assert total(charge(Usage(other={"requests": 3}), fee)) == 15_000_000


def test_audio_is_measured_in_seconds_and_priced_by_the_hour() -> None:
    made = charge(Usage(other={"audio_seconds": 90}), card({"audio_seconds": Rate(36 * 10**13)}))  # $0.36 an hour
    assert short(made) == [("audio_seconds", 90, 36 * 10**13, 9_000_000)]
    assert made[0].divisor == 3_600_000_000


@pytest.mark.parametrize(
    ("leaf", "stands_in"),
    [
        ("cache_read_tokens", "input_tokens"),
        ("cache_write_1h_tokens", "cache_write_5m_tokens"),
        ("reasoning_tokens", "output_tokens"),
        ("input_audio_tokens", "input_tokens"),
        ("cache_read_audio_tokens", "cache_read_tokens"),
        ("output_image_tokens", "output_tokens"),
    ],
)
def test_a_leaf_without_a_rate_has_its_parents(leaf: str, stands_in: str) -> None:
    rates = {"input_tokens": Rate(1), "output_tokens": Rate(2), stands_in: Rate(7)}
    assert card(rates).rates[leaf] == Rate(7)


def test_an_unpriced_leaf_is_an_error_and_never_free() -> None:
    for priced in (charge, cost):
        with pytest.raises(UnpricedUsage, match=r"house/m#1 has no rate for web_searches") as caught:
            priced(Usage(1, other={"web_searches": 1}), cents(1, 1))
        assert caught.value.unit == "web_searches"
    volume = card({"input_tokens": Rate(USD)}, Volume("month"))
    with pytest.raises(UnpricedUsage, match="output_tokens"):
        charge(Usage(1, output_tokens=1), volume)


def test_a_leaf_of_which_nothing_was_used_needs_no_rate() -> None:
    assert charge(Usage(1, other={"web_searches": 0}), cents(1, 1)) == charge(Usage(1), cents(1, 1))


def test_what_no_leaf_stands_for_is_not_priced() -> None:
    assert charge(Usage(1, unknown={"dream_tokens": 10**6}), cents(1, 1)) == charge(Usage(1), cents(1, 1))


counts = st.integers(0, 10**6)
usages = st.builds(
    Usage, *[counts] * 6, other=st.dictionaries(st.sampled_from(sorted(LEAVES - set(MAIN_LEAVES))), counts)
)
rate_nanos = st.integers(0, 10**11)
rates = st.builds(
    Rate,
    rate_nanos,
    st.lists(st.tuples(st.integers(1, 10**6), rate_nanos), max_size=2, unique_by=lambda tier: tier[0]).map(
        lambda tiers: tuple(sorted(tiers))
    ),
)
cards = st.fixed_dictionaries(
    {"input_tokens": rates, "output_tokens": rates},
    optional=dict.fromkeys(sorted(LEAVES - {"input_tokens", "output_tokens"}), rates),
).map(card)


@given(usages, cards)
def test_the_short_way_to_a_cost_equals_the_sum_of_the_lines(usage: Usage, rate_card: RateCard) -> None:
    try:
        made = charge(usage, rate_card)
    except UnpricedUsage as error:
        with pytest.raises(UnpricedUsage, match=error.unit):
            cost(usage, rate_card)
        return
    assert cost(usage, rate_card) == total(made)


@given(usages, cards)
def test_every_line_can_be_derived_again_and_each_token_is_in_one(usage: Usage, rate_card: RateCard) -> None:
    assume(usage.leaves().keys() <= rate_card.rates.keys())
    made = charge(usage, rate_card)
    assert [rederive(line) for line in made] == [line.amount_nano for line in made]
    fee = {"requests": 1} if "requests" in rate_card.rates else {}
    assert {line.unit: line.quantity for line in made} == fee | usage.leaves()
    exact = sum((Fraction(line.quantity * line.rate_nano, line.divisor) for line in made), Fraction())
    assert abs(total(made) - exact) <= Fraction(len(made), 2)


MONTHLY = Volume("month", {"input_tokens": 1_000, "web_searches": 2}, ((2_000, 100_000), (5_000, 500_000)))
VOLUME = card(
    {"input_tokens": Rate(2 * USD), "output_tokens": Rate(10 * USD), "web_searches": Rate(10_000 * USD)}, MONTHLY
)


@pytest.mark.parametrize(
    ("used", "usage", "lines"),
    [
        # The allowance first, to its last token.
        ({}, Usage(999), [(999, 0)]),
        ({}, Usage(1_000), [(1_000, 0)]),
        ({}, Usage(1_001), [(1_000, 0), (1, 2_000)]),
        ({"input_tokens": 600, "tokens": 600}, Usage(500), [(400, 0), (100, 2_000)]),
        ({"input_tokens": 1_000, "tokens": 1_000}, Usage(1), [(1, 2_000)]),
        # Only what has an allowance is free; output is not.
        ({}, Usage(output_tokens=1), [(1, 10_000)]),
        # From the bound on 10 % off, then half; each stretch at its own rate.
        ({"input_tokens": 1_999, "tokens": 1_999}, Usage(1), [(1, 2_000)]),
        ({"input_tokens": 2_000, "tokens": 2_000}, Usage(1), [(1, 1_800)]),
        ({"input_tokens": 1_999, "tokens": 1_999}, Usage(3_002), [(1, 2_000), (3_000, 1_800), (1, 1_000)]),
        ({"input_tokens": 5_000, "tokens": 5_000}, Usage(9), [(9, 1_000)]),
        # Tokens of every kind count towards the bounds, in the order they are priced; free ones too.
        ({}, Usage(1_500, output_tokens=600), [(1_000, 0), (500, 2_000), (500, 10_000), (100, 9_000)]),
        # Searches have an allowance of their own and no discount.
        ({"tokens": 9_000}, Usage(other={"web_searches": 3}), [(2, 0), (1, 10_000_000)]),
        ({"web_searches": 2, "tokens": 9_000}, Usage(other={"web_searches": 1}), [(1, 10_000_000)]),
    ],
)
def test_what_was_used_before_decides_allowance_and_discount(
    used: dict[str, int], usage: Usage, lines: list[tuple[int, int]]
) -> None:
    made = charge(usage, VOLUME, used)
    assert [(line.quantity, line.rate_nano * 1_000_000 // line.divisor // 1_000_000) for line in made] == lines
    assert [rederive(line) for line in made] == [line.amount_nano for line in made]


def by_rate(*charges: tuple[Line, ...]) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = {}
    for line in (each for lines in charges for each in lines):
        key = line.unit, line.rate_nano
        sums[key] = sums.get(key, 0) + line.quantity
    return sums


@given(st.lists(st.integers(0, 4_000), min_size=1, max_size=6))
def test_many_calls_get_the_same_allowance_and_discounts_as_one(parts: list[int]) -> None:
    used: dict[str, int] = {}
    charges: list[tuple[Line, ...]] = []
    for part in parts:
        charges.append(charge(Usage(part), VOLUME, used))
        used = used_after(Usage(part), used)
    assert by_rate(*charges) == by_rate(charge(Usage(sum(parts)), VOLUME))


@given(usages, st.dictionaries(st.sampled_from(["tokens", "input_tokens", "web_searches"]), counts))
def test_a_volume_never_makes_a_call_dearer_and_loses_no_token(usage: Usage, used: dict[str, int]) -> None:
    assume(usage.leaves().keys() <= VOLUME.rates.keys())
    made = charge(usage, VOLUME, used)
    assert {unit: sum(line.quantity for line in made if line.unit == unit) for unit in usage.leaves()} == usage.leaves()
    plain = card({"input_tokens": Rate(2 * USD), "output_tokens": Rate(10 * USD), "web_searches": Rate(10_000 * USD)})
    assert total(made) <= total(charge(usage, plain)) + len(made)


@given(usages, st.dictionaries(st.sampled_from(["tokens", "input_tokens", "web_searches"]), counts))
def test_what_was_used_adds_up(usage: Usage, used: dict[str, int]) -> None:
    before = dict(used)
    after = used_after(usage, used)
    assert used == before
    assert after.get("tokens", 0) == used.get("tokens", 0) + usage.input_total + usage.output_total
    for leaf in LEAVES:
        assert after.get(leaf, 0) == used.get(leaf, 0) + usage.leaves().get(leaf, 0)


def test_an_unused_volume_changes_nothing() -> None:
    volume = card({"input_tokens": Rate(2_500_000)}, Volume("total"))
    plain = card({"input_tokens": Rate(2_500_000)})
    assert charge(Usage(7), volume, {"tokens": 10**9}) == charge(Usage(7), plain)


def test_every_unit_can_be_charged() -> None:
    everything = card({leaf: Rate(divisor(leaf) * number) for number, leaf in enumerate(UNITS, 1)})
    fields: dict[str, Any] = dict.fromkeys(Usage.__struct_fields__[:6], 1)
    usage = Usage(**fields, other=dict.fromkeys(sorted(LEAVES - fields.keys()), 1))
    made = {line.unit: line.amount_nano for line in charge(usage, everything)}
    assert made == {leaf: number for number, leaf in enumerate(UNITS, 1)}
