"""Plan a call: which candidates, with which output cap, and what the levers have decided.

A lever is a flow: it yields what it wants to know or do, receives the outcome, and returns the plan it leaves. The
list of levers is visible in one place and empty for now; its order is cache, memory, compress, route, cap, prefix,
lane.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from bursar.core.errors import Unmetered
from bursar.core.money import Money
from bursar.gateway.routes import Candidate
from bursar.prices.quote import Request, missing_rate, quote
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.wire import Facts


class Plan(msgspec.Struct, frozen=True):
    """Say how a call will be made. `arms` names the arm of each lever that took part."""

    candidates: Sequence[Candidate]
    output_cap: int  # tokens per choice
    arms: dict[str, str] = {}


Lever: TypeAlias = Callable[[Facts, Plan], Generator[Any, Any, Plan]]

LEVERS: Final[tuple[Lever, ...]] = ()


def make_plan(
    facts: Facts, candidates: Sequence[Candidate], output_cap: int, levers: Sequence[Lever] = LEVERS
) -> Generator[Any, Any, Plan]:
    """Plan a call, letting each lever change the plan in turn."""
    plan = Plan(candidates, facts.output_cap or output_cap)
    for lever in levers:
        plan = yield from lever(facts, plan)
    return plan


def quote_plan(facts: Facts, plan: Plan, now_us: int) -> Money:
    """Return the most a plan can cost over all its candidates, at the tier asked for or the standard one.

    Raises `Unmetered` for what has no price or no bound.
    """
    return max(_quote(facts, plan, candidate, now_us) for candidate in plan.candidates)


def _quote(facts: Facts, plan: Plan, candidate: Candidate, now_us: int) -> Money:
    if not candidate.priced_tier(facts.service_tier):
        raise Unmetered(
            f"{candidate.price.model} has no price for service tier {facts.service_tier!r}", param="service_tier"
        )
    bound = input_tokens_max(facts, candidate.model, candidate.price.context_window)
    if bound is None:
        raise Unmetered(
            f"nothing bounds the tokens of this audio or document for {candidate.model}: give its text, or another model",
            code="unmetered",
            param="messages",
        )
    request = Request(
        input_max=bound,
        output_max=facts.choices * plan.output_cap + facts.predicted_bytes,
        writes_cache_5m=facts.cache_write_5m,
        writes_cache_1h=facts.cache_write_1h,
        media=facts.media.images > 0 or facts.media.others > 0,
        searches_web=facts.searches_web,
    )
    card = candidate.card(now_us)
    if missing := missing_rate(request, card):
        raise Unmetered(f"the price of {candidate.price.model} has no rate for {missing}", param="model")
    cost = quote(request, card)
    if facts.service_tier or facts.speed:
        cost = max(cost, quote(request, candidate.card(now_us, facts.service_tier, facts.speed)))
    return cost
