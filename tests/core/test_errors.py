"""The tree of errors is the one that is drawn, and each refusal has a status and a code of its own."""

import re
from itertools import pairwise

import pytest

from bursar.core import errors
from bursar.core.errors import BursarError, NoMoney, Refusal, UnknownModel, UnpricedUsage

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BursarError)]
REFUSALS = [each for each in CLASSES if issubclass(each, Refusal) and each is not Refusal]


def test_the_drawing_shows_every_error_below_its_parent() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)([A-Z]\w+) ", line)
        if match:
            drawn.append((len(match[1]) // 4, match[2]))
    assert drawn[0] == (0, "BursarError")
    path: list[str] = []
    found: dict[str, str] = {}
    for depth, name in drawn:
        path[depth:] = [name]
        found[name] = path[depth - 1] if depth else "Exception"
    assert found == {each.__name__: each.__bases__[0].__name__ for each in CLASSES}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.__name__)
def test_the_drawing_shows_each_refusals_status(refusal: type[Refusal]) -> None:
    assert re.search(rf"{refusal.__name__} +{refusal.status} ", errors.__doc__ or "")


def test_refusals_are_drawn_by_status_and_have_codes_of_their_own() -> None:
    assert all(one.status < two.status for one, two in pairwise(REFUSALS))
    assert len({each.code for each in REFUSALS}) == len(REFUSALS)
    assert "refused" not in {each.code for each in REFUSALS}


def test_a_refusal_carries_what_a_client_needs() -> None:
    plain = NoMoney("no money")
    assert (plain.message, plain.status, plain.code, plain.param) == ("no money", 402, "budget_exhausted", None)
    assert (plain.retry_after_s, plain.details) == (None, {})
    full = NoMoney("later", code="window_exhausted", param="model", retry_after_s=30, details={"held_usd": "1.00"})
    assert (full.code, full.param, full.retry_after_s, full.details) == (
        "window_exhausted",
        "model",
        30,
        {"held_usd": "1.00"},
    )
    assert NoMoney.code == "budget_exhausted"


def test_an_unknown_model_names_its_neighbours() -> None:
    assert str(UnknownModel("gpt-9")) == "no price for model 'gpt-9'"
    assert str(UnknownModel("gpt-9", ("gpt-4", "gpt-5"))) == "no price for model 'gpt-9'; near: gpt-4, gpt-5"
    assert str(UnpricedUsage("house/m#1", "web_searches")) == "price house/m#1 has no rate for web_searches"
