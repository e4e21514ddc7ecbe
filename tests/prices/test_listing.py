"""The book is searched and ordered, one model's offers are laid side by side, and history is told as it is dated."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import UnknownModel
from bursar.core.times import day_text, moment_from_text
from bursar.prices import load
from bursar.prices.book import Book, Provider, with_prices
from bursar.prices.history import conditions, history, when_words
from bursar.prices.listing import (
    Order,
    blended,
    example_cost,
    find_exact,
    is_stale,
    name_of,
    search,
    shown_leaves,
    spread,
)
from bursar.prices.price import Match, Price, Rate, RateCard, Source, Variant, Version, When

AT_US = moment_from_text("2026-11-23T12:00Z")
BOOK = load()
USD = 1_000_000_000


def price(model: str, *versions: Version, provider: str = "house", variants: tuple[Variant, ...] = ()) -> Price:
    return Price(provider, model, Match("equals", model), versions, Source("bursar.toml", ""), variants)


def rates(input_usd: int, output_usd: int) -> dict[str, Rate]:
    return {"input_tokens": Rate(input_usd * USD), "output_tokens": Rate(output_usd * USD)}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("openai/gpt-4o-mini-2024-07-18.FT-", ["openai/gpt-4o-mini-2024-07-18.ft-"]),
        ("GPT-4o-mini  openrouter", ["openrouter/openai/gpt-4o-mini"]),
        ("nobody sells this", []),
    ],
)
def test_every_word_must_be_in_the_name_whatever_its_case(words: str, names: list[str]) -> None:
    assert [each.name for each in search(BOOK, AT_US, words)][: len(names) or None] == names


def test_without_words_every_price_is_listed_once() -> None:
    found = [each.name for each in search(BOOK, AT_US)]
    assert len(found) == len(set(found)) == len({name_of(each) for each in BOOK})
    assert found == sorted(found, key=str.lower)


def test_the_operators_own_price_stands_for_the_catalogues_of_the_same_name() -> None:
    own = price("gpt-4o", Version(rates(7, 9)), provider="openai")
    found = [each for each in search(with_prices(BOOK, [own]), AT_US, "openai/gpt-4o") if each.name == "openai/gpt-4o"]
    assert [each.price for each in found] == [own]
    assert find_exact(with_prices(BOOK, [own]), "openai/gpt-4o") == own


@pytest.mark.parametrize(("order", "leaf"), [(Order.input, "input_tokens"), (Order.output, "output_tokens")])
def test_ordered_by_a_rate_those_without_it_come_last(order: Order, leaf: str) -> None:
    amounts = [
        each.card.rates[leaf].base_nano if leaf in each.card.rates else None
        for each in search(BOOK, AT_US, order=order)
    ]
    with_rate = [amount for amount in amounts if amount is not None]
    assert amounts == [*sorted(with_rate), *[None] * (len(amounts) - len(with_rate))]
    assert 0 < len(with_rate) < len(amounts)


def test_ordered_by_check_the_newest_come_first() -> None:
    days = [each.card.source.checked for each in search(BOOK, AT_US, order=Order.checked)]
    assert days == sorted(days, reverse=True)


@given(st.sampled_from([each for each in BOOK if blended(each.at(AT_US))]))
def test_a_spread_holds_each_of_its_prices_and_the_model_itself(chosen: Price) -> None:
    found = spread(BOOK, chosen, AT_US)
    assert found is not None
    amounts = [blended(each.card) for each in found.offers]
    assert amounts == sorted(amounts)
    assert (found.least_nano, found.most_nano) == (amounts[0], amounts[-1])
    assert found.median_nano in amounts
    assert 2 * sum(amount <= found.median_nano for amount in amounts) >= len(amounts)
    assert name_of(chosen) in {each.name for each in found.offers}


def test_a_spread_needs_a_rate_of_input_and_output() -> None:
    assert spread(BOOK, price("m", Version({"input_tokens": Rate(1)})), AT_US) is None


def test_offers_are_found_under_a_makers_folder_and_in_another_case() -> None:
    found = [
        price("big-1", Version(rates(1, 2)), provider="a"),
        price("maker/Big-1", Version(rates(3, 4)), provider="b"),
    ]
    book = Book({each.provider: Provider(each.provider, (each,)) for each in found})
    offers = spread(book, found[1], AT_US)
    assert offers is not None
    assert [each.name for each in offers.offers] == ["a/big-1", "b/maker/Big-1"]
    assert (offers.least_nano, offers.median_nano, offers.most_nano) == (5 * USD // 4, 5 * USD // 4, 13 * USD // 4)


@given(st.sampled_from(list(BOOK)))
def test_a_history_is_ordered_and_every_day_in_it_is_one_of_the_book(chosen: Price) -> None:
    steps = history(chosen)
    dates = [step.from_us for step in steps]
    assert dates == sorted(dates, key=lambda at: at or 0)
    assert set(dates) <= {version.when.from_us for version in chosen.versions}
    assert all(before.rates != after.rates for before, after in itertools.pairwise(steps))
    for step in steps[1:]:
        assert step.from_us is not None
        assert day_text(step.from_us) in chosen.at(step.from_us).price_id or chosen.versions[-1].when.daily_s


def test_changes_are_told_in_tenths_of_a_percent_and_a_repeated_entry_is_none() -> None:
    chosen = price(
        "m",
        Version(rates(4, 3)),
        Version(rates(4, 3), When(AT_US)),
        Version(rates(3, 4), When(AT_US + 1)),
        Version({**rates(3, 4), "reasoning_tokens": Rate(USD)}, When(AT_US + 2)),
    )
    first, second, third = history(chosen)
    assert (first.from_us, first.changes_tenths) == (None, {})
    assert (second.from_us, second.changes_tenths) == (AT_US + 1, {"input_tokens": -250, "output_tokens": 333})
    assert "reasoning_tokens" not in third.changes_tenths


def test_what_was_free_has_no_percentage() -> None:
    _, step = history(price("m", Version(rates(0, 1)), Version(rates(1, 1), When(AT_US))))
    assert step.changes_tenths == {"output_tokens": 0}


def test_conditions_are_long_prompts_hours_and_what_a_call_asks_for() -> None:
    usual = {"input_tokens": Rate(USD, ((200_000, 2 * USD),)), "output_tokens": Rate(USD)}
    chosen = price(
        "m",
        Version(usual),
        Version(rates(9, 9), When(daily_s=(3_600, 14_400))),
        Version(rates(1, 1), When(weekdays=(5, 6))),
        variants=(Variant({"processing": "batch"}, rates(5, 5)), Variant({"service_tier": "default"}, usual)),
    )
    found = {each.words: dict(each.rates) for each in conditions(chosen, AT_US)}
    assert found == {
        "more than 200,000 input tokens, for the whole call": {"input_tokens": 2 * USD},
        "01:00 to 04:00 UTC": {"input_tokens": 9 * USD, "output_tokens": 9 * USD},
        "on Saturday and Sunday": {},
        "processing batch": {"input_tokens": 5 * USD, "output_tokens": 5 * USD},
    }


def test_days_are_said_in_words() -> None:
    assert when_words(When(days=(1, 2, 3))) == "on 3 single days"


def test_the_example_is_priced_as_a_call_or_not_at_all() -> None:
    assert example_cost(price("m", Version(rates(1, 2))).at(AT_US)) == 1_000 * (2_000 + 2 * 500) * 1_000
    assert example_cost(price("m", Version({"input_tokens": Rate(1)})).at(AT_US)) is None


def test_a_unit_at_its_parents_rate_is_not_shown_again() -> None:
    card = price("m", Version({**rates(1, 2), "reasoning_tokens": Rate(USD)})).at(AT_US)
    assert shown_leaves(card) == ["input_tokens", "output_tokens", "reasoning_tokens"]


@pytest.mark.parametrize(("checked", "stale"), [("", True), ("2026-09-24", False), ("2026-09-23", True)])
def test_a_check_of_sixty_days_ago_is_old(checked: str, stale: bool) -> None:
    card = RateCard("m", {}, 0, Source("", checked))
    assert is_stale(card, moment_from_text("2026-11-23")) == stale


def test_what_nobody_sells_is_answered_with_near_names() -> None:
    with pytest.raises(UnknownModel, match="near: gpt-4o"):
        find_exact(BOOK, "openai/gpt-4oo")
    assert find_exact(BOOK, "gpt-4o").provider == "openai"
