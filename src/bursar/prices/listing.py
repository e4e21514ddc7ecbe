"""List the price book: find prices by what they are called, order them, and lay one model's offers side by side."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.errors import UnknownModel, UnpricedUsage
from bursar.core.money import Money
from bursar.core.times import DAY_US, moment_from_text
from bursar.core.usage import Usage
from bursar.prices.book import Book
from bursar.prices.charge import charge, total
from bursar.prices.near import near_names
from bursar.prices.price import Price, RateCard
from bursar.prices.snapshots import plain_name
from bursar.prices.units import UNITS

STALE_DAYS: Final = 60
"""A price whose last check is older is marked."""

EXAMPLE: Final = Usage(2_000, output_tokens=500)
EXAMPLE_CALLS: Final = 1_000


class Order(StrEnum):
    """Say what a list of prices is ordered by."""

    model = "model"
    input = "input"
    output = "output"
    blended = "blended"
    checked = "checked"


class Listed(msgspec.Struct, frozen=True):
    """Hold a price with the rates in force."""

    price: Price
    card: RateCard

    @property
    def name(self) -> str:
        """Return `provider/model`."""
        return name_of(self.price)


class Spread(msgspec.Struct, frozen=True):
    """Hold what one model costs at all who offer it, the cheapest first, blended; each of the three is a price of them.

    The median of an even number is the lower of the two in the middle, so that it is one that somebody asks.
    """

    offers: tuple[Listed, ...]
    least_nano: Money
    median_nano: Money
    most_nano: Money


def name_of(price: Price) -> str:
    """Return `provider/model`."""
    return f"{price.provider}/{price.model}"


def is_stale(card: RateCard, at_us: int) -> bool:
    """Tell whether a price's last check is too long ago, or there was none."""
    return not card.source.checked or at_us - moment_from_text(card.source.checked) > STALE_DAYS * DAY_US


def blended(card: RateCard) -> Money:
    """Blend three parts of input and one of output, in nano-USD per million tokens; 0 without either rate."""
    into, out = card.rates.get("input_tokens"), card.rates.get("output_tokens")
    return (3 * into.base_nano + out.base_nano) // 4 if into is not None and out is not None else 0


def search(book: Book, at_us: int, words: str = "", order: Order = Order.model) -> list[Listed]:
    """Find the prices whose `provider/model` holds every word; case does not count.

    Of two of the same name only the first is listed, which is the one that is charged by. Ordered by a price, those
    without it come last; ordered by check, the newest come first.
    """
    wanted = words.lower().split()
    named = {name_of(price): price for price in reversed(list(book))}
    kept = [price for name, price in named.items() if all(word in name.lower() for word in wanted)]
    found = [Listed(price, price.at(at_us)) for price in kept]
    found.sort(key=lambda each: each.name.lower())
    if order is Order.checked:
        found.sort(key=lambda each: each.card.source.checked, reverse=True)
    elif order is not Order.model:
        amount = _AMOUNTS[order]
        found.sort(key=lambda each: (amount(each.card) is None, amount(each.card) or 0))
    return found


def find_exact(book: Book, name: str) -> Price:
    """Return the price that is listed as `provider/model`, or else the one a call of that name is charged by.

    Raises `UnknownModel` with near names.
    """
    found = next((price for price in book if name_of(price) == name), None)
    if found is not None:
        return found
    try:
        return book.find_any(name)
    except UnknownModel as error:
        near = error.near or near_names(name, map(name_of, book))
        raise UnknownModel(name, near) from None


def spread(book: Book, price: Price, at_us: int) -> Spread | None:
    """Lay side by side what a model costs at all who call it the same; None where its price blends to nothing.

    Names are compared without a maker's folder, case, and what says the newest. What is called otherwise elsewhere is
    left out, and so is what has no rate for input or output.
    """
    name = plain_name(price.model)
    same = [Listed(each, each.at(at_us)) for each in book if plain_name(each.model) == name]
    first = {each.name: each for each in reversed(same)}
    offers = sorted((each for each in first.values() if blended(each.card)), key=lambda e: (blended(e.card), e.name))
    if name_of(price) not in {each.name for each in offers}:
        return None
    amounts = [blended(each.card) for each in offers]
    return Spread(tuple(offers), amounts[0], amounts[(len(amounts) - 1) // 2], amounts[-1])


def example_cost(card: RateCard) -> Money | None:
    """Return what a thousand calls of 2,000 tokens in and 500 out cost; None where the card has no rate for them."""
    try:
        return EXAMPLE_CALLS * total(charge(EXAMPLE, card))
    except UnpricedUsage:
        return None


def shown_leaves(card: RateCard) -> Sequence[str]:
    """Name the leaves whose rate is not simply that of a parent."""
    return [leaf for leaf in UNITS if leaf in card.rates and not _is_parents(card, leaf)]


def _is_parents(card: RateCard, leaf: str) -> bool:
    parent = next((parent for parent in UNITS[leaf].parents if parent in card.rates), None)
    return parent is not None and card.rates[parent] == card.rates[leaf]


def _base(leaf: str) -> Callable[[RateCard], Money | None]:
    return lambda card: card.rates[leaf].base_nano if leaf in card.rates else None


def _blended(card: RateCard) -> Money | None:
    return blended(card) or None


_AMOUNTS: Final[dict[Order, Callable[[RateCard], Money | None]]] = {
    Order.input: _base("input_tokens"),
    Order.output: _base("output_tokens"),
    Order.blended: _blended,
}
