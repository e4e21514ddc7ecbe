"""Shape prices for those who read them: programs and pages alike."""

from collections.abc import Mapping

import msgspec

from bursar.api.shapes.prices import (
    ComparedView,
    ConditionView,
    CostView,
    ExampleView,
    OfferView,
    OnePriceView,
    PricesView,
    PriceView,
    SpreadView,
    StepView,
    TierView,
)
from bursar.core.money import nano_to_usd
from bursar.core.times import day_text
from bursar.gateway.price_list import PriceList, Served
from bursar.prices.book import Book
from bursar.prices.history import Condition, Step, conditions, history
from bursar.prices.listing import (
    EXAMPLE,
    EXAMPLE_CALLS,
    Listed,
    Order,
    Spread,
    blended,
    example_cost,
    find_exact,
    is_stale,
    name_of,
    search,
    shown_leaves,
    spread,
)
from bursar.prices.price import Rates, Volume
from bursar.prices.task import Task, TaskCost, assumptions, price_task, times_text
from bursar.prices.units import UNITS

ModelNames = Mapping[tuple[str, str], list[str]]
"""The names clients may ask for here, by the (provider, model) whose price they are charged by."""


class Found(msgspec.Struct, frozen=True):
    """Say which prices are wanted: those that hold every word, so many from the first on, only what is served here."""

    words: str = ""
    order: Order = Order.model
    offset: int = 0
    limit: int = 50
    served_only: bool = False


def prices_view(prices: PriceList, wanted: Found, at_us: int) -> PricesView:
    """Search the book as it is charged by at a moment."""
    book, own, models = prices.book(), prices.own(), _models(prices)
    found = search(book, at_us, wanted.words, wanted.order)
    if wanted.served_only:
        found = [each for each in found if (each.price.provider, each.price.model) in models]
    shown = found[wanted.offset : wanted.offset + wanted.limit]
    views = [_price(each, own, models, at_us) for each in shown]
    return PricesView(book.release, book.checked, len(found), wanted.offset, views)


def one_price_view(prices: PriceList, name: str, at_us: int) -> OnePriceView:
    """Tell all about one price. Raises `UnknownModel`."""
    book, models = prices.book(), _models(prices)
    price = find_exact(book, name)
    card = price.at(at_us)
    side_by_side = spread(book, price, at_us)
    told = [_condition(each) for each in conditions(price, at_us)]
    told += [ConditionView(words, {}) for words in _volume(price.volume)]
    told += [ConditionView(words, {}) for words in _by_load(prices, (price.provider, price.model))]
    cost_nano = example_cost(card)
    usd = None if cost_nano is None else nano_to_usd(cost_nano)
    return OnePriceView(
        _price(Listed(price, card), prices.own(), models, at_us),
        price.source.note,
        [_step(each) for each in history(price)],
        told,
        None if side_by_side is None else _spread(side_by_side, models),
        ExampleView(EXAMPLE_CALLS, EXAMPLE.input_tokens, EXAMPLE.output_tokens, usd),
    )


def compared_view(task: Task, book: Book, at_us: int) -> ComparedView:
    """Price work on several models. Raises what `price_task` does."""
    costs = price_task(task, book, at_us)
    return ComparedView(task.calls, [_cost(task, each, costs[0].cost_nano, at_us) for each in costs])


def served_names(prices: PriceList, at_us: int) -> list[str]:
    """Name the prices, as `provider/model`, that models of this gateway which take and make text are charged by."""
    found = [each.target.price for each in prices.served()]
    return list(dict.fromkeys(name_of(price) for price in found if blended(price.at(at_us))))


def _models(prices: PriceList) -> ModelNames:
    found: dict[tuple[str, str], dict[str, None]] = {}
    for each in prices.served():
        price = each.target.price
        found.setdefault((price.provider, price.model), {})[each.name] = None
    return {key: list(names) for key, names in found.items()}


def _price(listed: Listed, own: set[tuple[str, str]], models: ModelNames, at_us: int) -> PriceView:
    price, card = listed.price, listed.card
    key = price.provider, price.model
    rates = {leaf: card.rates[leaf] for leaf in UNITS if leaf in card.rates}
    kept = {leaf: rates[leaf] for leaf in shown_leaves(card)}
    return PriceView(
        *key,
        card.price_id,
        {UNITS[leaf].name: nano_to_usd(rate.base_nano) for leaf, rate in kept.items()},
        _tiers(kept),
        nano_to_usd(blended(card)) if blended(card) else None,
        price.context_window,
        key in own,
        models.get(key, []),
        card.source.url,
        card.source.checked or None,
        is_stale(card, at_us),
    )


def _tiers(rates: Rates) -> dict[str, list[TierView]]:
    return {
        UNITS[leaf].name: [TierView(above, nano_to_usd(nano)) for above, nano in rate.tiers]
        for leaf, rate in rates.items()
        if rate.tiers
    }


def _step(step: Step) -> StepView:
    rates = {leaf: step.rates[leaf] for leaf in UNITS if leaf in step.rates}
    changes = {
        UNITS[leaf].name: f"{'+' if tenths >= 0 else '-'}{abs(tenths) // 10:,}.{abs(tenths) % 10}"
        for leaf, tenths in step.changes_tenths.items()
    }
    since = None if step.from_us is None else day_text(step.from_us)
    amounts = {UNITS[leaf].name: nano_to_usd(rate.base_nano) for leaf, rate in rates.items()}
    return StepView(since, amounts, _tiers(rates), changes)


def _condition(condition: Condition) -> ConditionView:
    rates = {UNITS[leaf].name: nano_to_usd(condition.rates[leaf]) for leaf in UNITS if leaf in condition.rates}
    return ConditionView(condition.words, rates)


def _volume(volume: Volume | None) -> list[str]:
    if volume is None:
        return []
    period = "in all" if volume.period == "total" else f"of each {volume.period}"
    free = [f"the first {count:,} of {leaf.replace('_', ' ')} {period} are free" for leaf, count in volume.free.items()]
    return free + [f"from {start:,} tokens {period} on, {off / 10_000:g} % off" for start, off in volume.discounts]


def _by_load(prices: PriceList, key: tuple[str, str]) -> list[str]:
    found = [each for each in prices.served() if (each.target.price.provider, each.target.price.model) == key]
    return list(dict.fromkeys(words for each in found if (words := _load_words(each))))


def _load_words(served: Served) -> str:
    moved = served.by_load
    if moved is None:
        return ""
    least, most = f"{moved.least_percent} % on an idle server", f"{moved.most_percent:,} % on a full one"
    return f"by load of {served.target.name}: {least}, as given at {moved.reference_percent} %, {most}"


def _spread(found: Spread, models: ModelNames) -> SpreadView:
    offers = [
        OfferView(
            each.name,
            nano_to_usd(blended(each.card)),
            times_text(blended(each.card), found.least_nano),
            models.get((each.price.provider, each.price.model), []),
        )
        for each in found.offers
    ]
    least, median, most = (nano_to_usd(nano) for nano in (found.least_nano, found.median_nano, found.most_nano))
    return SpreadView(least, median, most, offers)


def _cost(task: Task, cost: TaskCost, least_nano: int, at_us: int) -> CostView:
    usage, card = cost.usage, cost.card
    return CostView(
        cost.name,
        name_of(cost.price),
        card.price_id,
        usage.leaves(),
        usage.input_total,
        usage.cache_read_tokens,
        usage.output_total,
        nano_to_usd(cost.cost_nano),
        times_text(cost.cost_nano, least_nano),
        assumptions(task, cost),
        card.source.url,
        card.source.checked or None,
        is_stale(card, at_us),
    )
