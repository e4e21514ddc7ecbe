"""Figures are written as short as they can be read."""

import pytest

from bursar.web.format import breakable, count, each, milliseconds, place, share, usd


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.00", "$0.00"),
        ("0.000000001", "$0.000000001"),
        ("0.0000004", "$0.000000400"),
        ("0.0000005", "$0.000000500"),
        ("0.000001", "$0.000001"),
        ("0.001234567", "$0.001235"),
        ("12.34567", "$12.3457"),
        ("99.99999", "$100.0000"),
        ("1234.5", "$1,234.50"),
        ("-12.5", "-$12.5000"),
    ],
)
def test_an_amount_has_the_decimals_its_size_deserves_and_never_rounds_to_nothing(text: str, shown: str) -> None:
    assert usd(text) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (123_456, "123k"), (4_560_000, "4.56M"), (7_000_000_000, "7.00B")],
)
def test_a_count_has_three_figures_that_matter(number: int, shown: str) -> None:
    assert count(number) == shown


def test_a_share_of_nothing_is_nothing() -> None:
    assert (share("1", "0.00"), share("1", "3"), share("3", "3")) == (0.0, 33.33, 100.0)


@pytest.mark.parametrize(("duration", "shown"), [(None, ""), (0.4, "0 ms"), (999.4, "999 ms"), (1_449.0, "1.4 s")])
def test_a_duration_is_written_in_its_unit(duration: float | None, shown: str) -> None:
    assert milliseconds(duration) == shown


def test_a_unit_of_none_costs_nothing_that_can_be_told() -> None:
    assert (each("3.00", 2), each("0.00", 4), each("3.00", 0)) == ("$1.5000", "$0.00", "")


@pytest.mark.parametrize(("less", "shown"), [(-3.0, 0.0), (-1.0, 0.0), (0.0, 50.0), (0.5, 75.0), (1.0, 100.0)])
def test_a_saving_has_its_place_between_double_and_nothing(less: float, shown: float) -> None:
    assert place(less) == shown


def test_a_name_may_break_after_a_slash_and_is_no_markup() -> None:
    assert breakable("sandbox/gpt-4o") == "sandbox/<wbr>gpt-4o"
    assert breakable("<b>/&") == "&lt;b&gt;/<wbr>&amp;"
