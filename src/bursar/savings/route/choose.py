"""Choose a call's model: by rule first, then by what is expected of each, at what it costs."""

import hashlib
from collections.abc import Sequence
from math import exp, log
from typing import Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.core.money import NANO_PER_USD, Money, nano_to_usd
from bursar.savings.route.able import Able, able
from bursar.savings.route.choice import Asked, Choice, How, Nobody, Option, Target
from bursar.savings.route.policy import QUALITY_PERCENT, By, Policy
from bursar.savings.route.predictor import Corrections, Exchange, Predictor, Teaching
from bursar.savings.route.rules import matches, said

NO_CORRECTIONS: Final[Corrections] = {}
_ODDS_MAX: Final = 12.0
_CHEAPEST_PER_DOLLAR: Final = 1e12
"""So dear that cost alone decides, and the chance of a good answer between those that cost the same."""
EXPLORE_TIMES_MAX: Final = 2
"""Times the choice's expected cost that exploring may cost, where no amount is set."""


class Route(msgspec.Struct, frozen=True):
    """Hold a policy with its models' prices and abilities, ready to choose; made anew when one of them changes."""

    policy: Policy
    options: tuple[Option, ...]
    predictor: Predictor | None = None
    exchange: Exchange | None = None


class _Seen(msgspec.Struct, frozen=True):
    """Hold what is expected of an able option for a call."""

    option: Option
    alone: float  # by the router alone
    chance: float  # as outcomes have shown it to be
    cost_nano: Money


def prepare(policy: Policy, options: Sequence[Option], teaching: Teaching | None = None) -> Route:
    """Make a policy ready: put its options in its order and calibrate what is to be promised at their prices.

    Raises `ConfigError` where an option is missing, or the router knows nothing of a model.
    """
    by_name = {option.model: option for option in options}
    missing = [model for model in policy.models if model not in by_name]
    if missing:
        raise ConfigError(f"routes.{policy.name}.models: nothing is known of {', '.join(missing)}")
    ordered = tuple(by_name[model] for model in policy.models)
    if policy.by is not By.learned:
        return Route(policy, ordered)
    if teaching is None:
        raise ConfigError(f'routes.{policy.name}.router: expected a router, for by = "learned"')
    predictor = teaching.predictor(policy, ordered)
    strange = predictor.knows(policy.models)
    if strange:
        raise ConfigError(
            f"routes.{policy.name}.models: the router was not taught {', '.join(strange)}; train one with "
            "`bursar route train`, or give strengths"
        )
    priced = [_as_preferred(policy, option) for option in ordered if option.priced]
    return Route(policy, ordered, predictor, _exchange(policy.target, priced, predictor) if priced else None)


def choose(route: Route, asked: Asked, unit: str = "", corrections: Corrections = NO_CORRECTIONS) -> Choice | Nobody:
    """Return the model for a call without asking anybody: by rule, or by what was learned.

    `unit` is the run or conversation: the same one explores always or never. Where a route judges or cascades, this is
    its choice before anything was asked.
    """
    policy = route.policy
    found = able(asked, route.options, policy.target)
    if not found.options:
        return Nobody(found.reasons)
    by_rule = _by_rule(policy, found, asked)
    if by_rule is not None:
        return by_rule
    if len(found.options) == 1:
        return _only(found, asked)
    if policy.by is By.learned:
        return _learned(route, found, asked, unit, corrections)
    if policy.by is By.rule:
        first = found.options[0]
        return _choice(first, found, asked, How.rule, "no rule matched; it is the first of the route's models")
    first = cheapest_first(policy, found.options, asked)[0]
    return _choice(first, found, asked, How(policy.by.value), "it is the cheapest; nothing was asked yet")


def by_rule(route: Route, asked: Asked) -> Choice | None:
    """Return what a rule says of a call, None where none does."""
    return _by_rule(route.policy, able(asked, route.options, route.policy.target), asked)


def cheapest_first(policy: Policy, options: Sequence[Option], asked: Asked) -> list[Option]:
    """Return options by what an answer is expected to cost, the local ones before where they are preferred."""
    return sorted(options, key=lambda each: (policy.prefer_local and not each.local, each.expected_nano(asked)))


def strengths_of(policy: Policy, options: Sequence[Option], asked: Asked) -> dict[str, float]:
    """Return how strong each model is taken to be, 0 to 1: as given, else by what its answers cost."""
    if policy.strengths:
        return {option.model: policy.strengths[option.model] for option in options}
    costs = {option.model: log(1 + option.expected_nano(asked)) for option in options}
    least, most = min(costs.values()), max(costs.values())
    return {model: (each - least) / (most - least) if most > least else 1.0 for model, each in costs.items()}


def explores(policy: Policy, unit: str, seed: int = 0) -> bool:
    """Tell whether a unit is one of the few that try another model, so that something is learned of it."""
    return bool(unit) and share_of(f"explore:{policy.name}:{seed}:{unit}") * 100 < policy.explore_percent


def share_of(words: str) -> float:
    """Return a number from 0 to below 1 that looks drawn, and is the same for the same words."""
    digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def corrected(chance: float, model: str, corrections: Corrections) -> float:
    """Return a chance as outcomes have shown it to be."""
    if model not in corrections:
        return chance
    shift, slope = corrections[model]
    held = min(max(chance, 1e-6), 1 - 1e-6)
    odds = shift + slope * log(held / (1 - held))
    return 1 / (1 + exp(-min(max(odds, -_ODDS_MAX), _ODDS_MAX)))


def _exchange(target: Target, priced: Sequence[Option], predictor: Predictor) -> Exchange:
    """Return the exchange that a target sets; where no quality is named, what that means."""
    if target.quality_percent is None and target.cost_max_nano is None:
        if target.seconds_max is not None:
            why = f"the cheapest is taken of what answers within {target.seconds_max:g} s"
            return Exchange(_CHEAPEST_PER_DOLLAR, promised=False, why=why)
        target = msgspec.structs.replace(target, quality_percent=QUALITY_PERCENT)
    return predictor.exchange(priced, target)


def _by_rule(policy: Policy, found: Able, asked: Asked) -> Choice | None:
    names = {option.model: option for option in found.options}
    passed = ""
    for place, rule in enumerate(policy.rules, 1):
        if not matches(rule, asked):
            continue
        if rule.model in names:
            why = f"rule {place}: {said(rule)}{passed}"
            return _choice(names[rule.model], found, asked, How.rule, why)
        reason = dict(found.reasons).get(rule.model, "is not to be had")
        passed += f"; rule {place} names {rule.model}, which {reason}"
    return None


def _only(found: Able, asked: Asked) -> Choice:
    reasons = "; ".join(f"{model} {reason}" for model, reason in found.reasons)
    return _choice(
        found.options[0],
        found,
        asked,
        How.only,
        reasons or "it is the only one of the route's models that this call may use",
    )


def _choice(option: Option, found: Able, asked: Asked, how: How, why: str) -> Choice:
    others = sorted((each for each in found.options if each is not option), key=lambda each: each.expected_nano(asked))
    doubt = f"; it {found.unsure[option.model]}" if option.model in found.unsure else ""
    return Choice(
        option.model,
        how,
        why + doubt,
        cost_nano=option.expected_nano(asked),
        others=tuple(each.model for each in others),
    )


def _learned(route: Route, found: Able, asked: Asked, unit: str, corrections: Corrections) -> Choice:
    policy, predictor, exchange = route.policy, route.predictor, route.exchange
    assert predictor is not None
    assert exchange is not None
    chances = predictor.chances(asked, found.options)
    seen = [
        _Seen(option, chance, corrected(chance, option.model, corrections), option.expected_nano(asked))
        for option, chance in zip(found.options, chances, strict=True)
    ]
    ranked = sorted(seen, key=lambda each: (-_worth(policy, each, exchange.per_dollar), each.cost_nano))
    taken, how = ranked[0], How.learned
    if explores(policy, unit):
        other = _explored(policy, ranked)
        taken, how = (other, How.explored) if other is not None else (taken, how)
    known = _known(exchange, how, whole=len(found.options) == len(route.options), corrections=corrections)
    doubt = f"; it {found.unsure[taken.option.model]}" if taken.option.model in found.unsure else ""
    return Choice(
        taken.option.model,
        how,
        f"{_expected(taken, ranked)}; {known.why}{doubt}",
        quality=taken.chance,
        cost_nano=taken.cost_nano,
        promised=known.promised,
        others=tuple(each.option.model for each in ranked if each is not taken),
        chance=taken.alone,
    )


def _worth(policy: Policy, seen: _Seen, per_dollar: float) -> float:
    """Weigh what is expected of an answer against what it costs, in chances of a good answer."""
    free = policy.prefer_local and seen.option.local
    dollars = 0.0 if free else seen.cost_nano / NANO_PER_USD  # a float weighs; nothing is booked from it
    return seen.chance - per_dollar * dollars


def _explored(policy: Policy, ranked: list[_Seen]) -> _Seen | None:
    """Return the next best that costs no more than exploring may."""
    best, cap_nano = ranked[0].cost_nano, policy.explore_cost_max_nano
    most_nano = best * EXPLORE_TIMES_MAX if cap_nano is None else best + cap_nano
    return next((each for each in ranked[1:] if each.cost_nano <= most_nano), None)


def _known(exchange: Exchange, how: How, *, whole: bool, corrections: Corrections) -> Exchange:
    """Return what is promised of this choice, and why no more is."""
    why = ""
    if how is How.explored:
        why = "it is tried to learn how good it is, and nothing is promised"
    elif not whole:
        why = "the target was set for models that this call cannot use"
    elif corrections and exchange.promised:
        why = "outcomes have corrected what is expected, and nothing is promised until it is trained again"
    return msgspec.structs.replace(exchange, promised=False, why=why) if why else exchange


def _expected(taken: _Seen, ranked: list[_Seen]) -> str:
    told = [f"{each.option.model} {each.chance:.0%} for {_usd(each.cost_nano)} USD" for each in ranked[:3]]
    told.sort(key=lambda each: not each.startswith(f"{taken.option.model} "))
    more = f" and {len(ranked) - 3} others" if len(ranked) > 3 else ""
    return f"good enough is expected of {', '.join(told)}{more}"


def _usd(nano: Money) -> str:
    return nano_to_usd(nano)


def _as_preferred(policy: Policy, option: Option) -> Option:
    """Price a local model at nothing where local ones are preferred."""
    if policy.prefer_local and option.local:
        return msgspec.structs.replace(option, input_rate_nano=0, output_rate_nano=0)
    return option
