"""Price one request by its parts: tokens, what is around the model, retries, idle time, training, the batch lane.

All is money here: rates are nano-USD per million tokens, shares are parts per million, and each part is rounded
half-even once. The rates may be a list's or a floor's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Final

from bursar.core.errors import ConfigError, UnpricedUsage
from bursar.core.money import NANO_PER_USD, Money, div_half_even
from bursar.physics.floor import Plan, floor, settled
from bursar.prices.price import RateCard
from bursar.prices.units import MILLION

BATCH_DISCOUNT: Final = Fraction(1, 2)
"""What lists take off for work that can wait: OpenAI, Anthropic and Google alike in 2026."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Hold what a million tokens of each kind cost, in nano-USD."""

    fresh_nano: Money
    cached_nano: Money
    output_nano: Money
    reasoning_nano: Money


@dataclass(frozen=True, slots=True)
class Request:
    """Hold the work of one request, on average.

    Tokens by kind; what retrieval, tools, safety checks and logging cost; `training_nano` is the tokens' share of a
    training; `retries_ppm` requests of a million that are made once more, `batchable_ppm` that can wait; `idle_ppm` of
    capacity that waits for such requests, where the rates do not hold it already.
    """

    fresh_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    retrieval_nano: Money = 0
    tools_nano: Money = 0
    safety_nano: Money = 0
    logging_nano: Money = 0
    training_nano: Money = 0
    retries_ppm: int = 0
    batchable_ppm: int = 0
    idle_ppm: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for each in fields(self):
            if getattr(self, each.name) < 0:
                raise ConfigError(f"{each.name} is {getattr(self, each.name)}; it must be at least 0")
        if self.idle_ppm >= MILLION:
            raise ConfigError(f"idle_ppm is {self.idle_ppm}; capacity that only waits serves nothing: below {MILLION}")


TOKENS: Final = ("fresh", "cached", "output", "reasoning")


def parts(request: Request, rates: Rates) -> Mapping[str, Money]:
    """Give what each part of a request costs, in nano-USD.

    A retry does all again but logging and safety, which see the answer that counts. Idle capacity is what the tokens
    cost times idle / (1 - idle): of a machine that waits half its time, each token pays for two. The batch lane takes
    something off the tokens and their idle time; it is the one part below 0.
    """
    found: dict[str, Money] = {}
    for name in TOKENS:
        tokens, rate_nano = getattr(request, f"{name}_tokens"), getattr(rates, f"{name}_nano")
        found[name] = div_half_even(tokens * rate_nano, MILLION)
    tokens_nano = sum(found.values())
    once_nano = tokens_nano + request.retrieval_nano + request.tools_nano + request.training_nano
    waiting_nano = tokens_nano * (MILLION + request.retries_ppm) * request.idle_ppm
    idle_nano = div_half_even(waiting_nano, MILLION * (MILLION - request.idle_ppm))
    return found | {
        "retrieval": request.retrieval_nano,
        "tools": request.tools_nano,
        "retries": div_half_even(once_nano * request.retries_ppm, MILLION),
        "safety": request.safety_nano,
        "logging": request.logging_nano,
        "training": request.training_nano,
        "idle": idle_nano,
        "batch lane": -_lane_nano(request, tokens_nano, idle_nano),
    }


def _lane_nano(request: Request, tokens_nano: Money, idle_nano: Money) -> Money:
    """Give what is taken off for the requests that can wait, their retries with them."""
    served = tokens_nano * (MILLION + request.retries_ppm) + idle_nano * MILLION
    taken = served * request.batchable_ppm * BATCH_DISCOUNT.numerator
    return div_half_even(taken, MILLION * MILLION * BATCH_DISCOUNT.denominator)


def listed(card: RateCard, input_tokens: int) -> Rates:
    """Give a price list's rates for a request of `input_tokens`. Raises `UnpricedUsage` where one is missing."""
    found: list[Money] = []
    for leaf in ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens"):
        rate = card.rate(leaf)
        if rate is None:
            raise UnpricedUsage(card.price_id, leaf)
        found.append(rate.at(input_tokens))
    return Rates(*found)


def at_floor(plan: Plan, request: Request) -> Mapping[str, Money]:
    """Give what each part of a request costs at a working point's floor, idle capacity apart.

    Tokens are priced as on machines that never wait; what the working point's idle time adds to them, power with it, is
    the idle part, whatever the request says of it.
    """
    fixed = settled(plan)
    busy = floor(replace(fixed, terms=replace(plan.terms, utilisation=1.0, reserve=0.0)))
    rates = Rates(busy.fresh.nano, busy.cached.nano, busy.output.nano, busy.output.nano)
    idle_dollars = floor(fixed).request_dollars - busy.request_dollars
    idle_nano = round(Fraction(idle_dollars) * NANO_PER_USD * (MILLION + request.retries_ppm) / MILLION)
    found = parts(replace(request, idle_ppm=0), rates)
    lane_nano = _lane_nano(request, sum(found[name] for name in TOKENS), idle_nano)
    return {**found, "idle": idle_nano, "batch lane": -lane_nano}
