"""Set what sellers ask beside the floor: who has the model in the price book, and how far above the floor they are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from bursar.physics.serving import Traffic
from bursar.prices.book import Book
from bursar.prices.price import RateCard

_EDITION: Final = re.compile(r"(?:-(?:instruct|chat|base|hf|it|bf16|fp8|nvfp4|turbo|maas|tee|v1:0))+$")


@dataclass(frozen=True, slots=True)
class Offer:
    """Hold what one seller asks for a request, and the page the price is from."""

    seller: str
    card: RateCard
    request_dollars: float


def offers(book: Book, model: str, traffic: Traffic, at_us: int) -> tuple[Offer, ...]:
    """List who sells a model by tokens, the cheapest first; free offers are left out: they are no price.

    A seller's name for the model must be the model's own, save its maker, its edition (instruct) and its format.
    """
    found = [Offer(f"{card.price_id.split('#')[0]}", card, cost) for card, cost in _cards(book, model, traffic, at_us)]
    return tuple(sorted(found, key=lambda each: each.request_dollars))


def middle(found: tuple[Offer, ...]) -> float:
    """Give the median of what is asked for a request."""
    return median(each.request_dollars for each in found)


def plain(name: str) -> str:
    """Give a model's name without maker, edition and format, as sellers write it."""
    last = name.casefold().rsplit("/", 1)[-1].replace("_", ".")
    return _EDITION.sub("", last.removeprefix("meta-").removeprefix("nvidia-"))


def _cards(book: Book, model: str, traffic: Traffic, at_us: int) -> Iterator[tuple[RateCard, float]]:
    wanted = plain(model)
    for price in book:
        if plain(price.model) != wanted:
            continue
        card = price.at(at_us)
        cost = _request_dollars(card, traffic)
        if cost:
            yield card, cost


def _request_dollars(card: RateCard, traffic: Traffic) -> float:
    fresh, cached, out = (card.rate(leaf) for leaf in ("input_tokens", "cache_read_tokens", "output_tokens"))
    if fresh is None or cached is None or out is None:
        return 0.0
    total = traffic.input_tokens
    nano = fresh.at(total) * traffic.fresh_tokens + cached.at(total) * traffic.cached_tokens
    return (nano + out.at(total) * traffic.output_tokens) / 1e15
