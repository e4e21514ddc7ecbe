"""A price is found by the name a call uses; a name without one is an error that knows its neighbours."""

from typing import Any

import pytest

from bursar.core.errors import UnknownModel
from bursar.prices.book import Book, Provider, matches, with_prices
from bursar.prices.near import near_names
from bursar.prices.price import Match, Price, Rate, Source, Variant, Version


def equals(text: str) -> Match:
    return Match("equals", text)


def price(provider: str, model: str, match: Match | None = None, nano: int = 1, **more: Any) -> Price:
    rates = {"input_tokens": Rate(nano), "output_tokens": Rate(nano)}
    return Price(provider, model, match or equals(model), (Version(rates),), Source("", ""), **more)


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        (equals("gpt-4o"), ["gpt-4o", "GPT-4O"], ["gpt-4o-mini", "gpt-4", ""]),
        (Match("starts_with", "gpt-4o"), ["gpt-4o", "GPT-4o-mini"], ["my-gpt-4o"]),
        (Match("ends_with", ":free"), ["m:free", "M:FREE"], ["m:freed"]),
        (Match("contains", "Opus"), ["claude-opus-4", "opus"], ["claude-sonnet"]),
        (Match("regex", r"^o\d-pro$"), ["o1-pro", "o3-pro"], ["o1", "co1-pro"]),
        (Match("or", parts=(equals("a"), equals("b"))), ["a", "b"], ["c", "ab"]),
        (Match("and", parts=(Match("contains", "a"), Match("contains", "b"))), ["ab", "ba"], ["a", "b"]),
        (Match("or"), [], ["a", ""]),
        (Match("and", parts=(Match("or", parts=(equals("a"),)), Match("contains", "a"))), ["a"], ["ba"]),
    ],
)
def test_rules_mean_names(rule: Match, yes: list[str], no: list[str]) -> None:
    assert [name for name in (*yes, *no) if matches(rule, name)] == yes


def test_an_unknown_kind_of_rule_is_an_error_and_never_a_match() -> None:
    with pytest.raises(ValueError, match="'sounds_like'"):
        matches(Match("sounds_like", "gpt"), "gpt")


FLEX = (Variant({"service_tier": "flex"}, {"input_tokens": Rate(0)}),)
BOOK = Book(
    {
        "maker": Provider(
            "maker",
            (
                price("maker", "big", variants=FLEX),
                price("maker", "big-2", Match("starts_with", "big-2")),
                price("maker", "dated", equals("dated-2025-12-11")),
                price("maker", "any-big", Match("starts_with", "big")),
            ),
            r"https://api\.maker\.example(/|$)",
            Match("starts_with", "big"),
        ),
        "seller": Provider("seller", (price("seller", "own", nano=7),), "https://seller", lends_from=("maker", "gone")),
        "other": Provider("other", (price("other", "big", nano=9),), model_match=equals("other-big")),
    },
    "catalogue 1",
    "2026-11-01",
)


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("maker", "big", "maker/big"),
        ("maker", "BIG", "maker/big"),
        ("maker", "big-2-turbo", "maker/big-2"),  # the first rule that means the name
        ("maker", "big-3", "maker/any-big"),
        ("maker", "dated-20251211", "maker/dated"),  # a compact date is written out
        ("seller", "own", "seller/own"),
        ("seller", "big", "seller/big"),  # resold at its maker's price
        ("seller", "dated-20251211", "seller/dated"),
        ("other", "big", "other/big"),
    ],
)
def test_a_providers_price_is_found(provider: str, model: str, found: str) -> None:
    price = BOOK.find(provider, model)
    assert f"{price.provider}/{price.model}" == found


def test_a_reseller_has_its_makers_rates_and_none_of_its_makers_tiers() -> None:
    resold = BOOK.find("seller", "big")
    assert resold.versions == BOOK.find("maker", "big").versions
    assert (BOOK.find("maker", "big").variants, resold.variants) == (FLEX, ())
    assert resold.at(0).price_id.startswith("seller/big#")


@pytest.mark.parametrize(
    ("model", "found"),
    [("maker/big", "maker/big"), ("other/big", "other/big"), ("big", "maker/big"), ("big-2", "maker/big-2")],
)
def test_a_bare_name_is_its_makers(model: str, found: str) -> None:
    price = BOOK.find_any(model)
    assert f"{price.provider}/{price.model}" == found


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("own", ("own", "seller/own")),  # nobody's own by name: say whose it could be
        ("bgi-2", ("big-2",)),
        ("maker/own", ()),
        ("seller/gib", ()),
        ("nothing-like-it", ()),
    ],
)
def test_an_unknown_name_is_an_error_with_near_ones(model: str, near: tuple[str, ...]) -> None:
    with pytest.raises(UnknownModel) as caught:
        BOOK.find_any(model)
    assert caught.value.model == model
    assert caught.value.near[: len(near)] == near
    assert str(caught.value).startswith(f"no price for model {model!r}")
    assert all(name in str(caught.value) for name in near)


def test_an_unknown_provider_is_an_error_with_near_providers() -> None:
    with pytest.raises(UnknownModel, match="no price for model 'makr/big'; near: maker"):
        BOOK.find("makr", "big")


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.maker.example/v1", "maker"),
        ("https://api.maker.example", "maker"),
        ("https://api.maker.example.evil.example", None),
        ("http://127.0.0.1:8000/v1", None),
        ("https://seller/v1", "seller"),
        ("", None),
    ],
)
def test_a_provider_is_known_by_the_address_of_its_api(url: str, provider: str | None) -> None:
    assert BOOK.provider_of_url(url) == provider


def test_an_operators_own_prices_come_first_and_leave_the_rest() -> None:
    book = with_prices(BOOK, [price("maker", "big", nano=5), price("house", "m", nano=6)])
    assert book.find("maker", "big").versions[0].rates["input_tokens"] == Rate(5)
    assert book.find("maker", "big-2") == BOOK.find("maker", "big-2")
    assert book.find("house", "m").versions[0].rates["input_tokens"] == Rate(6)
    assert book.find_any("house/m") == book.find("house", "m")
    assert (book.release, book.checked) == (BOOK.release, BOOK.checked)
    assert BOOK.find("maker", "big").versions[0].rates["input_tokens"] == Rate(1)


def test_a_book_lists_every_price() -> None:
    assert [f"{each.provider}/{each.model}" for each in BOOK] == [
        "maker/big",
        "maker/big-2",
        "maker/dated",
        "maker/any-big",
        "seller/own",
        "other/big",
    ]


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("gpt-4o", ("gpt-4o-mini", "gpt-4o-audio")),  # those that hold it, the shortest first
        ("gpt-4o-mni", ("gpt-4o-mini",)),
        ("GPT-4O", ("gpt-4o-mini", "gpt-4o-audio")),
        ("xyz", ()),
        ("", ()),
    ],
)
def test_near_names_hold_what_was_asked_or_are_spelled_like_it(wanted: str, near: tuple[str, ...]) -> None:
    found = near_names(wanted, ["gpt-4o-audio", "gpt-4o-mini", "claude-opus-4", "gpt-4o-mini"])
    assert found[: len(near)] == near
    assert bool(found) == bool(near)
    assert len(set(found)) == len(found) <= 3
