"""Set up the two boards of dials at a working point: the machine's and the request's.

Costs are in dollars for a million requests of the working point's traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from bursar.core.errors import ConfigError
from bursar.core.money import NANO_PER_USD, Money
from bursar.physics.cost import Owned, Rented, Terms, dollars
from bursar.physics.dials import Dial, Turn, board
from bursar.physics.floor import Plan, Rate, floor, request_dollars, settled
from bursar.physics.request import BATCH_DISCOUNT

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Habits:
    """Hold what users and their programs do beyond one call, and what a request costs beside its tokens' machines.

    `retries` and `batchable` are shares of requests. `training_dollars` is what each token carries of a training;
    `again_dollars` is paid with every try, as retrieval and tools are, `once_dollars` for the answer that counts.
    """

    retries: float = 0.05
    batchable: float = 0.0
    training_dollars: float = 0.0
    again_dollars: float = 0.0
    once_dollars: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, share in (("retries", self.retries), ("batchable", self.batchable)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}; it is a share of the requests, from 0 to 1")

    def dollars_with(self, tokens_dollars: float, tokens: float) -> float:
        """Give what a request costs in all, whose `tokens` take machines of `tokens_dollars`."""
        lane = 1 - self.batchable * float(BATCH_DISCOUNT)
        each_try = tokens_dollars * lane + self.training_dollars * tokens + self.again_dollars
        return each_try * (1 + self.retries) + self.once_dollars


ONCE: Final = Habits(retries=0.0)
"""A request that is made once, and nothing around it."""


def machine_board(plan: Plan, habits: Habits = ONCE) -> tuple[Turn, ...]:
    """Turn the dials of the machine: power price, chip cost, throughput, overhead, utilisation, waste.

    The batch stays what it is. Where rent holds the power, its price and the overhead move nothing.
    """
    fixed, terms = settled(plan), plan.terms
    power = dollars(terms.power_nano_per_kwh)
    dials = (
        Dial(
            "power price", power, *_around(power, 0.04, 0.15), "USD/kWh", "long contracts to industry in dear regions"
        ),
        Dial("chip cost", 1.0, 0.6, 1.5, "times", "from owning at scale to renting by the hour"),
        Dial("throughput", 1.0, 0.8, 1.6, "times", "from an untuned engine to MLPerf's tuned ones"),
        Dial("overhead (PUE)", terms.pue, *_around(terms.pue, 1.06, 1.58), "", "best site to industry's average"),
        Dial("utilisation", terms.utilisation, *_around(terms.utilisation, 0.1, 0.8), "", "by day and night to packed"),
        Dial("serving waste", terms.waste, *_around(terms.waste, 0.0, 0.2), "", "nothing thrown away to one in five"),
    )

    def dollars_at(values: Mapping[str, float]) -> float:
        turned = replace(
            terms,
            holding=_scaled(terms, values["chip cost"]),
            power_nano_per_kwh=_nano(values["power price"]),
            pue=values["overhead (PUE)"],
            utilisation=values["utilisation"],
            waste=values["serving waste"],
        )
        tokens = request_dollars(replace(fixed, terms=turned, speed=plan.speed * values["throughput"]))
        return habits.dollars_with(tokens, plan.traffic.tokens) * MILLION

    return board(dials, dollars_at)


def request_board(plan: Plan, habits: Habits) -> tuple[Turn, ...]:
    """Turn the dials of the request: answer length, cache misses, retries, batchable share, idle capacity.

    Tokens are priced at the working point's floor; a longer answer is priced at the same batch.
    """
    found, traffic = floor(plan), plan.traffic
    misses, idle = 1 - traffic.cached_share, 1 - plan.terms.busy
    output = float(traffic.output_tokens)
    dials = (
        Dial("answer length", output, output * 0.5, output * 1.5, "tokens", "half to one and a half times"),
        Dial("cache misses", misses, *_around(misses, 0.1, 1.0), "of input", "agents' stable prefixes to none"),
        Dial("retries", habits.retries, *_around(habits.retries, 0.0, 0.2), "of requests", "none to one in five"),
        Dial(
            "batchable share", habits.batchable, *_around(habits.batchable, 0.0, 0.6), "of requests", "work that waits"
        ),
        Dial("idle capacity", idle, *_around(idle, 0.2, 0.9), "of capacity", "packed to reserved for peaks"),
    )

    def dollars_at(values: Mapping[str, float]) -> float:
        fresh = traffic.input_tokens * values["cache misses"]
        cached = traffic.input_tokens - fresh
        tokens = _dollars(found.fresh) * fresh + _dollars(found.cached) * cached
        tokens += _dollars(found.output) * values["answer length"]
        # The floor holds the idle time of the working point; what waits more or less scales the time of the machines.
        busy = (1 - idle) / (1 - values["idle capacity"])
        turned = replace(habits, retries=values["retries"], batchable=values["batchable share"])
        return turned.dollars_with(tokens * busy, traffic.input_tokens + values["answer length"]) * MILLION

    return board(dials, dollars_at)


def biggest(turns: tuple[Turn, ...]) -> str:
    """Name the dial of a board with the most dollars available."""
    return turns[0].dial.name


def _around(value: float, low: float, high: float) -> tuple[float, float]:
    """Widen a range so that it holds the working point."""
    return min(low, value), max(high, value)


def _scaled(terms: Terms, times: float) -> Owned | Rented:
    holding = terms.holding
    if isinstance(holding, Owned):
        return replace(holding, capex_nano=round(holding.capex_nano * times))
    return replace(holding, nano_per_hour=round(holding.nano_per_hour * times))


def _nano(power_dollars: float) -> Money:
    return round(power_dollars * NANO_PER_USD)


def _dollars(rate: Rate) -> float:
    return dollars(rate.nano) / MILLION
