"""A change near the beginning is made only where it saves more than the provider's cache loses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import UnpricedUsage
from bursar.prices.price import Rate, RateCard, Source
from bursar.savings.compress.prefix import CacheRates, Change, Verdict, cache_rates, worth_changing

USD = 1_000_000_000
WRITTEN = CacheRates(new_nano=3_750_000_000, read_nano=300_000_000, least=1_024)  # 3 USD: written 125 %, read 10 %
FRESH = CacheRates(new_nano=2_500_000_000, read_nano=1_250_000_000)  # read at half, nothing for writing


@pytest.mark.parametrize(
    ("change", "rates", "calls", "expected"),
    [
        # 20,000 tokens are held; taking 2,000 from after the first 1,000 makes 17,000 new again.
        (Change(20_000, 20_000, 1_000, 2_000), WRITTEN, 0, Verdict(False, 6_000_000, 67_500_000, -61_500_000, 103)),
        (Change(20_000, 20_000, 1_000, 2_000), WRITTEN, 102, Verdict(False, 618_000_000, 618_300_000, -300_000, 103)),
        (Change(20_000, 20_000, 1_000, 2_000), WRITTEN, 103, Verdict(True, 624_000_000, 623_700_000, 300_000, 103)),
        # 1,500 tokens before the change stay held: they are no fewer than the least.
        (Change(20_000, 20_000, 1_500, 2_000), WRITTEN, 0, Verdict(False, 6_000_000, 62_325_000, -56_325_000, 94)),
        # The change is behind what is held: it saves at once.
        (Change(20_000, 15_000, 15_000, 2_000), WRITTEN, 0, Verdict(True, 23_250_000, 15_750_000, 7_500_000, 0)),
        # Nothing is held yet.
        (Change(20_000, 0, 0, 2_000), WRITTEN, 0, Verdict(True, 75_000_000, 67_500_000, 7_500_000, 0)),
        # Half of a long prompt goes, and a read costs half: four calls pay for it.
        (Change(10_000, 10_000, 0, 5_000), FRESH, 0, Verdict(False, 12_500_000, 12_500_000, 0, 1)),
        (Change(10_000, 10_000, 0, 5_000), FRESH, 1, Verdict(True, 25_000_000, 18_750_000, 6_250_000, 1)),
        # What removes nothing never pays.
        (Change(10_000, 10_000, 0, 0), FRESH, 1_000, Verdict(False, 12_512_500_000, 12_525_000_000, -12_500_000, None)),
    ],
)
def test_the_verdict_is_told_in_money(change: Change, rates: CacheRates, calls: int, expected: Verdict) -> None:
    assert worth_changing(change, rates, calls) == expected


@given(st.integers(1, 50_000), st.data())
def test_it_pays_from_the_call_on_that_is_named(tokens: int, data: st.DataObject) -> None:
    begins = data.draw(st.integers(0, tokens))
    change = Change(tokens, data.draw(st.integers(0, tokens)), begins, data.draw(st.integers(0, tokens - begins)))
    read = data.draw(st.integers(0, 10 * USD))
    rates = CacheRates(data.draw(st.integers(read, 20 * USD)), read, data.draw(st.sampled_from([0, 1_024])))
    after = worth_changing(change, rates, 0).pays_after
    if after is None:
        assert not worth_changing(change, rates, 1_000_000).worth
    else:
        assert worth_changing(change, rates, after).worth
        assert after == 0 or not worth_changing(change, rates, after - 1).worth


@pytest.mark.parametrize(
    ("change", "calls", "expected"),
    [
        (Change(100, 101, 0, 0), 0, "held is 101, and must be from 0 to 100 in a prompt of 100 tokens"),
        (Change(100, 50, 101, 0), 0, "begins is 101, and must be from 0 to 100"),
        (Change(100, 50, 60, 41), 0, "removed is 41, and must be from 0 to 40"),
        (Change(100, 50, 60, -1), 0, "removed is -1, and must be from 0 to 40"),
        (Change(100, 50, 60, 1), -1, "calls is -1, and must be 0 or more"),
    ],
)
def test_numbers_that_cannot_be_of_one_prompt_are_refused(change: Change, calls: int, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        worth_changing(change, FRESH, calls)


CARD = RateCard(
    "p/m",
    {
        "input_tokens": Rate(3 * USD, ((200_000, 6 * USD),)),
        "cache_read_tokens": Rate(USD * 3 // 10, ((200_000, USD * 6 // 10),)),
        "cache_write_5m_tokens": Rate(USD * 15 // 4),
    },
    0,
    Source("", ""),
)


@pytest.mark.parametrize(
    ("tokens", "held_s", "new_nano", "read_nano"),
    [
        (200_000, None, 3_000_000_000, 300_000_000),
        (200_001, None, 6_000_000_000, 600_000_000),
        (1_000, 300, 3_750_000_000, 300_000_000),
    ],
)
def test_rates_come_from_the_price_of_such_a_prompt(
    tokens: int, held_s: int | None, new_nano: int, read_nano: int
) -> None:
    assert cache_rates(CARD, tokens, held_s, 1_024) == CacheRates(new_nano, read_nano, 1_024)


def test_a_rate_that_is_not_known_is_never_guessed() -> None:
    with pytest.raises(UnpricedUsage, match="cache_write_1h_tokens"):
        cache_rates(CARD, 1_000, 3_600)
    with pytest.raises(ValueError, match="held_s is 60, and must be one of 300, 3600, or None"):
        cache_rates(CARD, 1_000, 60)
