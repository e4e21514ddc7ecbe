"""What an answer is expected to cost goes by how long the model's answers are."""

import pytest

from bursar.savings.route.choice import Option

TERSE = Option("terse", 2_000_000_000, 8_000_000_000, output_tokens=100)
WORDY = Option("wordy", 1_000_000_000, 4_000_000_000, output_tokens=900)


@pytest.mark.parametrize(
    ("option", "cap", "cost_nano"),
    [(TERSE, None, 2_800_000), (WORDY, None, 4_600_000), (WORDY, 100, 1_400_000), (TERSE, 4_096, 2_800_000)],
)
def test_who_answers_at_length_costs_more_than_the_price_says(option: Option, cap: int | None, cost_nano: int) -> None:
    assert option.cost_nano(1_000, cap) == cost_nano


def test_a_fraction_of_a_nano_dollar_is_rounded_up() -> None:
    assert Option("m", 1, 0, output_tokens=0).cost_nano(1) == 1
