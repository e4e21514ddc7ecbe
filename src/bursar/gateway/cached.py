"""Weigh what changing the beginning of a prompt costs, by the prices of the targets a call may go to.

Nobody tells what a provider's cache holds. So all of a conversation before its last turn is taken to be held where the
provider may hold it: what pays then pays sooner where it is not.
"""

from collections.abc import Sequence

from bursar.core.errors import UnpricedUsage
from bursar.core.records import Protocol, Traits
from bursar.gateway.routes import Candidate
from bursar.prices.price import RateCard
from bursar.savings.compress.conversation import Weigh
from bursar.savings.compress.prefix import CacheRates, Change, Verdict, cache_rates, pays, worth_changing

_HOUR_S, _FIVE_MINUTES_S = 3_600, 300


def weigh_for(candidates: Sequence[Candidate], traits: Traits, now_us: int) -> Weigh:
    """Return what weighs a change, by the candidate for which it pays least."""

    def weigh(change: Change, calls: int) -> Verdict:
        verdicts = [worth_changing(change, _rates(each, traits, now_us, change.tokens), calls) for each in candidates]
        return min(verdicts, key=lambda verdict: (pays(verdict), verdict.saved_nano))

    return weigh


def _rates(candidate: Candidate, traits: Traits, now_us: int, tokens: int) -> CacheRates:
    """Return what a candidate charges for tokens that its cache holds, and for others."""
    card = candidate.card(now_us)
    held_s = _HOUR_S if traits.writes_cache_1h else _FIVE_MINUTES_S if traits.writes_cache_5m else None
    if held_s is None and candidate.wire.protocol is Protocol.anthropic_messages:
        return _uncached(card, tokens)  # it holds nothing that is not marked
    try:
        return cache_rates(card, tokens, held_s)
    except UnpricedUsage:  # by a price that knows no cache, there is none
        return _uncached(card, tokens)


def _uncached(card: RateCard, tokens: int) -> CacheRates:
    rate = card.rates.get("input_tokens")
    each = rate.at(tokens) if rate is not None else 0
    return CacheRates(each, each)
