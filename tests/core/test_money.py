"""Money is read and written exactly, and rounded half-even."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.money import MONEY_MAX, div_ceil, div_half_even, nano_to_usd, usd_to_nano

amounts = st.integers(-MONEY_MAX, MONEY_MAX)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("5", 5_000_000_000),
        ("0.15", 150_000_000),
        ("19.99", 19_990_000_000),
        ("0.000000001", 1),
        ("-2.000000001", -2_000_000_001),
        ("9223372036", 9_223_372_036_000_000_000),
    ],
)
def test_usd_is_read_exactly(text: str, nano: int) -> None:
    assert usd_to_nano(text) == nano


@pytest.mark.parametrize(
    "text", ["", "1e3", "1_000", "$5", "5.", ".5", "0.0000000001", "NaN", " 5", "5\n", "9223372037"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="USD"):
        usd_to_nano(text)


@given(amounts)
def test_writing_and_reading_an_amount_gives_it_back(nano: int) -> None:
    assert usd_to_nano(nano_to_usd(nano)) == nano


def test_amounts_are_written_with_the_decimals_they_need() -> None:
    assert [nano_to_usd(nano) for nano in (0, 1, 10_000_000, 123_456_789, 5_000_000_000)] == [
        "0.00",
        "0.000000001",
        "0.01",
        "0.123456789",
        "5.00",
    ]
    assert nano_to_usd(8_250, 9) == "0.000008250"


@given(st.integers(0, 10**24), st.integers(1, 10**12))
def test_division_rounds_half_to_even(numerator: int, denominator: int) -> None:
    assert div_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(0, 10**24), st.integers(1, 10**12))
def test_holds_are_rounded_up(numerator: int, denominator: int) -> None:
    assert 0 <= div_ceil(numerator, denominator) * denominator - numerator < denominator
