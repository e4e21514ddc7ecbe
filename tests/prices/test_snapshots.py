"""An answer is of the model that was asked, of a snapshot of it, or of another model."""

import pytest

from bursar.prices import load
from bursar.prices.price import Match, Price, Source, Version
from bursar.prices.snapshots import is_another


def plain(model: str) -> Price:
    return Price("mine", model, Match("equals", model), (Version({}),), Source("", ""))


@pytest.mark.parametrize(
    ("asked", "answered", "another"),
    [
        ("gpt-4o-mini", "gpt-4o-mini", False),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4o-mini", "GPT-4o-mini", False),
        ("gpt-4o-mini", "", False),
        ("gpt-4o-mini", "gpt-4o", True),
        ("gpt-4o-mini", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", True),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", True),
        ("gpt-4o-2024-08-06", "gpt-4o", False),
        ("gpt-4", "gpt-4-0613", False),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", False),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5-20251001", False),
        ("claude-opus-4-20250514", "claude-opus-4-1-20250805", True),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022", False),
        ("gemini-2.5-flash", "models/gemini-2.5-flash-001", False),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite", True),
        ("openai/gpt-4o", "gpt-4o-2024-08-06", False),
    ],
)
def test_a_snapshot_is_the_model_itself_and_a_neighbour_is_another(asked: str, answered: str, another: bool) -> None:
    assert is_another(plain(asked), asked, answered) is another


def test_every_name_a_price_is_found_by_is_the_model_itself() -> None:
    price = load().find("openai", "gpt-4-turbo")
    assert not is_another(price, "gpt-4-turbo-preview", "gpt-4-0125-preview")
    assert is_another(price, "gpt-4-turbo", "gpt-4o")
