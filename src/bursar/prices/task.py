"""Price one and the same work on several models: each with its own tokens for it, its own cache, its own tier.

A terse model can be cheaper than its price, a cache of many calls worth more than a discount; a list of rates shows
neither. Tokens are the work's where a model does not say otherwise.
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from bursar.core.money import Money
from bursar.core.usage import Usage
from bursar.prices.book import Book
from bursar.prices.charge import charge, total
from bursar.prices.price import Price, RateCard

CALLS_MAX: Final = 1_000_000
TOKENS_MAX: Final = 10_000_000
PERCENT_MAX: Final = 1_000
MODELS_MAX: Final = 256


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Say how a model does the work otherwise than the work says itself.

    `input_percent` is of the tokens its tokenizer makes of the same text, 100 being the work's.
    """

    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_percent: int = 100
    cached_percent: int | None = None
    tier: str = ""
    processing: str = ""


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Describe work: so many calls of so many tokens. `cached_percent` of the input is the same in each call."""

    input_tokens: int
    output_tokens: int
    models: dict[str, Own]
    reasoning_tokens: int = 0
    calls: int = 1
    cached_percent: int = 0


class TaskCost(msgspec.Struct, frozen=True):
    """Say what the work costs on a model: its usage over all calls, and the sum of what each is charged."""

    name: str
    price: Price
    card: RateCard
    usage: Usage
    cost_nano: Money


def read_task(text: str, more_models: Iterable[str] = ()) -> Task:
    """Read a task from TOML, with models that it does not name itself. Raises `ValueError` naming the field or line."""
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise ValueError("expected TOML such as calls = 12: it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"expected TOML such as calls = 12: {error}") from None
    models = table.setdefault("models", {})
    if isinstance(models, dict):
        table["models"] = {name: {} for name in more_models} | models
    task = msgspec.convert(table, Task)  # whose error is a ValueError
    check_task(task)
    return task


def check_task(task: Task) -> None:
    """Check what a task says. Raises `ValueError` naming the field, what is expected and what was given."""
    _within("calls", task.calls, 1, CALLS_MAX)
    _within("cached_percent", task.cached_percent, 0, 100)
    for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
        _within(name, getattr(task, name), 0, TOKENS_MAX)
    if not task.models:
        raise ValueError('models: expected at least one table such as [models."gpt-4o-mini"]')
    if len(task.models) > MODELS_MAX:
        raise ValueError(f"models: expected at most {MODELS_MAX}, got {len(task.models):,}")
    for model, own in task.models.items():
        where = f"models.{model!r}."
        _within(where + "input_percent", own.input_percent, 1, PERCENT_MAX)
        for name, most in (("output_tokens", TOKENS_MAX), ("reasoning_tokens", TOKENS_MAX), ("cached_percent", 100)):
            value: int | None = getattr(own, name)
            if value is not None:
                _within(where + name, value, 0, most)


def price_task(task: Task, book: Book, at_us: int) -> list[TaskCost]:
    """Price a task on each of its models, the cheapest first.

    The first call writes what is the same in all into the cache, at the model's rate for that; the others read it.
    Raises `UnknownModel`, `UnpricedUsage`, and `ValueError` for a tier or processing that a model has no price for.
    """
    costs = [_cost(name, own, task, book, at_us) for name, own in task.models.items()]
    return sorted(costs, key=lambda cost: (cost.cost_nano, cost.name))


def assumptions(task: Task, cost: TaskCost) -> list[str]:
    """Say in words what a cost takes for granted: how the model does the work otherwise, and what its price lacks."""
    own, rates = task.models[cost.name], cost.card.rates
    told = [f"{percent:,} % of the work's input" for percent in (own.input_percent,) if percent != 100]
    for field, words in (
        ("output_tokens", "output tokens a call"),
        ("reasoning_tokens", "reasoning tokens a call"),
        ("cached_percent", "% of the input the same in each call"),
    ):
        value: int | None = getattr(own, field)
        told += [f"{value:,} {words}"] if value is not None else []
    told += [words for words in (own.tier and f"tier {own.tier}", own.processing) if words]
    share = task.cached_percent if own.cached_percent is None else own.cached_percent
    if share and task.calls > 1 and rates.get("cache_read_tokens") == rates.get("input_tokens"):
        told.append("no price of its own for what is read from a cache")
    return told


def times_text(cost_nano: Money, least_nano: Money) -> str:
    """Write how many times the least a cost is, with two decimals, rounded down: 1.00x."""
    hundredths = cost_nano * 100 // max(1, least_nano)
    return f"{hundredths // 100:,}.{hundredths % 100:02d}x"


def _cost(name: str, own: Own, task: Task, book: Book, at_us: int) -> TaskCost:
    price = book.find_any(name)
    context = {key: value for key, value in (("service_tier", own.tier), ("processing", own.processing)) if value}
    _check_known(name, price, context)
    card = price.at(at_us, context)
    given = task.input_tokens * own.input_percent // 100
    share = task.cached_percent if own.cached_percent is None else own.cached_percent
    same = given * share // 100 if task.calls > 1 and "cache_read_tokens" in card.rates else 0
    out = task.output_tokens if own.output_tokens is None else own.output_tokens
    thought = task.reasoning_tokens if own.reasoning_tokens is None else own.reasoning_tokens
    writes = same if "cache_write_5m_tokens" in card.rates else 0
    first = Usage(given - writes, 0, writes, 0, out, thought)
    other = Usage(given - same, same, 0, 0, out, thought)
    rest = task.calls - 1
    cost_nano = total(charge(first, card)) + rest * total(charge(other, card))
    more = Usage((given - same) * rest, same * rest, 0, 0, out * rest, thought * rest)
    return TaskCost(name, price, card, first.plus(more), cost_nano)


def _check_known(name: str, price: Price, context: Mapping[str, str]) -> None:
    for key, value in context.items():
        if not price.knows(key, value) and value not in ("default", "standard"):
            known = sorted({each.context[key] for each in price.variants if key in each.context})
            told = f"; known: {', '.join(known)}" if known else ""
            field = "tier" if key == "service_tier" else key
            raise ValueError(
                f"models.{name!r}.{field}: {price.provider}/{price.model} has no price for {value!r}{told}"
            )


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name}: expected an integer from {least} to {most}, got {value}")
