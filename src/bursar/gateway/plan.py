"""Plan a call: which candidates, with which output cap, and what the levers have decided.

A lever is a flow: it yields what it wants to know or do, receives the outcome, and returns the plan it leaves. The
list of levers is visible in one place and empty for now; its order is cache, memory, compress, route, cap, prefix,
lane.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from bursar.core.errors import BadRequest, NoMoney, Unmetered
from bursar.core.money import Money, nano_to_usd, usd_to_nano
from bursar.core.records import Assignment
from bursar.gateway.routes import Candidate
from bursar.prices.price import RateCard
from bursar.prices.quote import Ceiling
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.wire import Facts


class Plan(msgspec.Struct, frozen=True):
    """Say how a call will be made. `arms` has the arm of each lever that took part."""

    candidates: Sequence[Candidate]
    output_cap: int  # tokens per choice
    arms: dict[str, Assignment] = {}


Lever: TypeAlias = Callable[[Facts, Plan], Generator[Any, Any, Plan]]

LONG_CONTEXT_TOKENS: Final = 1_000_000
"""What a model takes under Anthropic's beta `context-1m-2025-08-07` ("Context windows", checked 2026-11-22)."""

_LONG_CONTEXT: Final = b"context-1m"

LEVERS: Final[tuple[Lever, ...]] = ()


def make_plan(
    facts: Facts, candidates: Sequence[Candidate], output_cap: int, levers: Sequence[Lever] = LEVERS
) -> Generator[Any, Any, Plan]:
    """Plan a call, letting each lever change the plan in turn."""
    plan = Plan(candidates, facts.output_cap or output_cap)
    for lever in levers:
        plan = yield from lever(facts, plan)
    return plan


def drive(flow: Generator[Any, Any, Plan]) -> Plan:
    """Run a flow that asks for nothing, as the plan does while it has no levers."""
    try:
        wish = next(flow)
    except StopIteration as end:
        return end.value
    raise TypeError(f"nobody here answers the wish {type(wish).__name__}")


class Quote:
    """Hold the most a plan can cost, as a straight line: what its input can cost, and each token of output.

    `input_tokens` bounds the input, `output_tokens` the output at the plan's cap.
    """

    __slots__ = ("_besides_nano", "_costs", "input_tokens", "output_tokens")

    def __init__(self, costs: list[tuple[Ceiling, int]], output_tokens: int) -> None:
        self._costs = costs
        self._besides_nano = 0
        self.input_tokens = costs[0][1] if len(costs) == 1 else max((bound for _, bound in costs), default=0)
        self.output_tokens = output_tokens

    def cost(self, output_tokens: int | None = None) -> Money:
        """Return the most it costs with so much output, or with all the plan allows."""
        output = self.output_tokens if output_tokens is None else output_tokens
        costs = self._costs
        if len(costs) == 1:
            ceiling, bound = costs[0]
            return ceiling.cost(bound, output) + self._besides_nano
        return max((ceiling.cost(bound, output) for ceiling, bound in costs), default=0) + self._besides_nano

    def with_another(self, other: "Quote") -> "Quote":
        """Return what it costs with another call behind it, at the most that one can."""
        both = Quote(self._costs, self.output_tokens)
        both.add(self._besides_nano + other.cost(), other.input_tokens + other.output_tokens)
        return both

    def add(self, cost_nano: Money, tokens: int) -> None:
        """Add what is asked besides the call itself: what that can cost, and of how many tokens it is."""
        self._besides_nano += cost_nano
        self.input_tokens += tokens


def quote_plan(
    asked: Facts,
    plan: Plan,
    now_us: int,
    betas: bytes = b"",
    sent_to: Callable[[Candidate], Facts] | None = None,
) -> Quote:
    """Quote the most a plan can cost over all its candidates, at the tier asked for or the standard one.

    `betas` are the header lines sent on: they may ask for a longer context than a model has by itself. `sent_to` gives
    the facts of what is sent to a candidate, where that may be another protocol's. Raises `Unmetered` for what has no
    price or no bound.
    """
    costs: list[tuple[Ceiling, int]] = []
    for candidate in plan.candidates:
        facts = asked if sent_to is None else sent_to(candidate)
        window = candidate.price.context_window
        if betas and _LONG_CONTEXT in betas:
            window = max(window or 0, LONG_CONTEXT_TOKENS)
        bound = input_tokens_max(facts, candidate.model, window)
        if bound is None:
            raise Unmetered(
                f"nothing bounds the tokens of what this call brings besides text for {candidate.model}, whose context"
                " window is not known: send audio, documents and what the provider has kept as text instead",
                code="unmetered",
            )
        costs.append((ceiling_for(candidate, candidate.dearest_card(now_us), facts), bound))
        if facts.service_tier or facts.speed:
            if not candidate.priced_tier(facts.service_tier):
                raise Unmetered(
                    f"{candidate.price.model} has no price for service tier {facts.service_tier!r}",
                    param="service_tier",
                )
            if not candidate.priced_speed(facts.speed):
                raise Unmetered(f"{candidate.price.model} has no price for speed {facts.speed!r}", param="speed")
            card = candidate.dearest_card(now_us, facts.service_tier, facts.speed)
            costs.append((ceiling_for(candidate, card, facts), bound))
    return Quote(costs, output_max(asked, plan))


def ceiling_for(candidate: Candidate, card: RateCard, facts: Facts) -> Ceiling:
    """Return the dearest rates that can apply to a call, with what it uses beside its tokens."""
    found = candidate.ceiling(card, facts.traits)
    return found.beside(facts.counts, card) if facts.counts else found


def max_cost_of(text: str) -> Money:
    """Read what a client allows a call to cost. Raises `BadRequest`."""
    try:
        return usd_to_nano(text)
    except ValueError as error:
        raise BadRequest(f"x-bursar-max-cost-usd: {error}", param="x-bursar-max-cost-usd") from None


def check_max_cost(most_nano: Money, cost_nano: Money) -> None:
    """Check what a call may cost against what its client allows. Raises `NoMoney`."""
    if cost_nano > most_nano:
        needed, limit = nano_to_usd(cost_nano), nano_to_usd(most_nano)
        raise NoMoney(
            f"this call may cost up to {needed} USD, and x-bursar-max-cost-usd allows {limit}",
            code="max_cost_exceeded",
            details={"needed_usd": needed, "limit_usd": limit},
        )


def output_max(facts: Facts, plan: Plan) -> int:
    """Return the most output tokens a call can be billed for."""
    return facts.choices * plan.output_cap + facts.predicted_bytes
