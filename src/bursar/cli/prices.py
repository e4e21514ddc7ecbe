"""`bursar price` and `bursar prices`: what a call costs, and what models cost."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bursar.cli.common import Json, now_us, print_json, print_table
from bursar.core.errors import OperatorError, UnknownModel, UnpricedUsage
from bursar.core.money import nano_to_usd
from bursar.core.times import moment_from_text
from bursar.core.usage import Usage
from bursar.gateway.config import read_config
from bursar.prices import load
from bursar.prices.book import Book, with_prices
from bursar.prices.charge import charge, total
from bursar.prices.listing import STALE_DAYS, blended, is_stale
from bursar.prices.price import Price, RateCard
from bursar.prices.task import Task, TaskCost, price_task, read_task, times_text
from bursar.prices.units import UNITS

Config = Annotated[Path | None, Parameter(name="--config", help="A bursar.toml whose prices come first.")]
At = Annotated[
    str | None, Parameter(name="--at", help="A moment such as 2026-01-31 or 2026-01-31T20:00Z; now without.")
]
Tier = Annotated[str | None, Parameter(name="--tier", help="A service tier, such as flex or priority.")]


def price(
    model: Annotated[str, Parameter(help="A model's name, alone or as provider/model.")],
    /,
    *,
    input: Annotated[int, Parameter(help="Input tokens, cached ones included.")] = 0,  # noqa: A002 - the word users type
    output: Annotated[int, Parameter(help="Output tokens, reasoning included.")] = 0,
    cached: Annotated[int, Parameter(help="Input tokens read from a cache.")] = 0,
    at: At = None,
    tier: Tier = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Price a call, line by line."""
    if min(input, output, cached) < 0 or cached > input:
        raise OperatorError(f"expected 0 <= cached <= input and 0 <= output, got {cached}, {input}, {output}")
    at_us = _moment(at)
    found = _book(config).find_any(model)
    if tier and not found.knows("service_tier", tier):
        raise OperatorError(f"{found.provider}/{found.model} has no price for service tier {tier!r}")
    card = found.at(at_us, {"service_tier": tier} if tier else None)
    lines = charge(Usage(input_tokens=input - cached, cache_read_tokens=cached, output_tokens=output), card)
    if json:
        shown = [
            {"unit": line.unit, "quantity": line.quantity, "amount_usd": nano_to_usd(line.amount_nano)}
            for line in lines
        ]
        print_json(
            {"price_id": card.price_id, "lines": shown, "total_usd": nano_to_usd(total(lines))} | _source(card, at_us)
        )
        return
    rows = [
        [line.unit, f"{line.quantity:,}", nano_to_usd(line.rate_nano), nano_to_usd(line.amount_nano)] for line in lines
    ]
    rows.append(["total", "", "", nano_to_usd(total(lines))])
    print_table(
        ["unit", "quantity", "USD per million", "USD"], rows, right=(1, 2, 3), title=f"{found.provider}/{found.model}"
    )
    source = _source(card, at_us)
    print(f"price {card.price_id}\nsource {source['source']}, checked {source['checked']}{source['warning']}")


def prices(
    *,
    search: Annotated[str | None, Parameter(help="Part of a provider's or model's name.")] = None,
    compare: Annotated[bool, Parameter(negative="", help="Order by price in one unit, with the spread.")] = False,
    task: Annotated[
        Path | None, Parameter(help="With --compare: a TOML file of work to price on several models instead.")
    ] = None,
    at: At = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List prices in USD per million tokens, each with the day it was last checked."""
    at_us = _moment(at)
    book = _book(config)
    if task is not None:
        if not compare or search:
            raise OperatorError("--task: goes with --compare, and names its models itself")
        _show_task(task, _price_task(task, book, at_us), at_us, json=json)
        return
    wanted = (search or "").lower()
    found = [(each, each.at(at_us)) for each in book if wanted in f"{each.provider}/{each.model}".lower()]
    if not found:
        raise OperatorError(f"no price matches {search!r}")
    if compare:
        found = sorted(((p, c) for p, c in found if blended(c)), key=lambda pair: blended(pair[1]))
    if json:
        print_json([_row_json(each, card, at_us) for each, card in found])
        return
    rows = [_row(each, card, at_us, compare=compare) for each, card in found]
    columns = ["model", "input", "cache read", "output", *(["blended 3:1"] if compare else []), "checked"]
    print_table(columns, rows, right=tuple(range(1, len(columns) - 1)))
    print(f"{len(found)} prices in USD per million tokens; {book.release}, newest check {book.checked}")
    if compare:
        print(_spread([blended(card) for _, card in found]))


def _price_task(path: Path, book: Book, at_us: int) -> tuple[Task, list[TaskCost]]:
    """Read a file of work and price it. Raises `OperatorError` naming the file, the field and what is expected."""
    try:
        task = read_task(path.read_text())
        return task, price_task(task, book, at_us)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except (UnpricedUsage, ValueError) as error:
        raise OperatorError(f"{path}: {error}") from None
    except UnknownModel as error:
        raise OperatorError(f"{path}: models: {error}") from None


def _show_task(path: Path, priced: tuple[Task, list[TaskCost]], at_us: int, *, json: bool) -> None:
    task, costs = priced
    if json:
        print_json([_task_json(cost, at_us) for cost in costs])
        return
    rows = [
        [
            cost.name,
            f"{cost.usage.input_total:,}",
            f"{cost.usage.cache_read_tokens:,}",
            f"{cost.usage.output_total:,}",
            nano_to_usd(cost.cost_nano),
            times_text(cost.cost_nano, costs[0].cost_nano),
        ]
        for cost in costs
    ]
    columns = ["model", "input", "of it cached", "output", "USD", "times the least"]
    print_table(columns, rows, right=(1, 2, 3, 4, 5), title=f"{path.name}: {task.calls:,} calls")


def _task_json(cost: TaskCost, at_us: int) -> dict[str, Any]:
    return {
        "model": cost.name,
        "price_id": cost.card.price_id,
        "usage": cost.usage.leaves(),
        "total_usd": nano_to_usd(cost.cost_nano),
    } | _source(cost.card, at_us)


def _book(config: Path | None) -> Book:
    book = load()
    return with_prices(book, read_config(config).prices) if config is not None else book


def _moment(text: str | None) -> int:
    try:
        return moment_from_text(text) if text else now_us()
    except ValueError as error:
        raise OperatorError(f"--at: {error}") from None


def _rate(card: RateCard, leaf: str) -> str:
    rate = card.rates.get(leaf)
    return "" if rate is None else nano_to_usd(rate.base_nano) + (" +" if rate.tiers else "")


def _row(price_: Price, card: RateCard, at_us: int, *, compare: bool) -> list[str]:
    checked = f"{card.source.checked}{' (old)' if is_stale(card, at_us) else ''}"
    rates = [_rate(card, leaf) for leaf in ("input_tokens", "cache_read_tokens", "output_tokens")]
    return [f"{price_.provider}/{price_.model}", *rates, *([nano_to_usd(blended(card))] if compare else []), checked]


def _row_json(price_: Price, card: RateCard, at_us: int) -> dict[str, Any]:
    rates = {UNITS[leaf].name: nano_to_usd(rate.base_nano) for leaf, rate in card.rates.items() if leaf in card.rates}
    tiers = {
        UNITS[leaf].name: [[above, nano_to_usd(nano)] for above, nano in r.tiers]
        for leaf, r in card.rates.items()
        if r.tiers
    }
    return {
        "provider": price_.provider,
        "model": price_.model,
        "price_id": card.price_id,
        "usd_per_million": rates,
        "above_input_tokens": tiers,
    } | _source(card, at_us)


def _source(card: RateCard, at_us: int) -> dict[str, str]:
    warning = f" (more than {STALE_DAYS} days ago)" if is_stale(card, at_us) else ""
    return {"source": card.source.url, "checked": card.source.checked or "never", "warning": warning}


def _spread(blended: list[int]) -> str:
    paid = [rate for rate in blended if rate]
    return f"spread {paid[-1] // paid[0]:,}x between the cheapest and the dearest" if paid else "no paid price"
