"""Decide whether a change near a prompt's beginning saves more than the provider's cache loses by it.

A provider's cache holds a prompt up to the first character that is another. So whoever changes an early part pays anew,
at the price of fresh or of written tokens, for all that stood behind it and was read at a tenth; what is taken out is
saved at that tenth only, call after call. All money is nano-USD; costs are compared before they are rounded.
"""

from typing import Final

import msgspec

from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money, div_half_even
from bursar.prices.price import RateCard
from bursar.prices.units import MILLION

MARGIN_PERCENT: Final = 5
"""What a change is to save at least, of what the prompts would cost without it."""

_PERCENT: Final = 100
_WRITES: Final = {300: "cache_write_5m_tokens", 3_600: "cache_write_1h_tokens"}


class CacheRates(msgspec.Struct, frozen=True):
    """Hold what a token costs, in nano-USD per million: `new` where the cache does not hold it, `read` where it does.

    `new` is the price of writing where the call asks for its prompt to be held, else that of fresh input. `least` is
    the number of tokens below which the provider holds nothing.
    """

    new_nano: Money
    read_nano: Money
    least: int = 0


class Change(msgspec.Struct, frozen=True):
    """Say what a change does to a prompt of `tokens`, of which the cache holds the first `held`.

    `begins` is how many tokens stand before the first that changes, `removed` how many are fewer afterwards.
    """

    tokens: int
    held: int
    begins: int
    removed: int


class Verdict(msgspec.Struct, frozen=True):
    """Hold what a prompt costs as it is and changed, over this call and those that follow; `saved_nano` may be a loss.

    `pays_after` is how many further calls it takes until the change has paid for itself: 0 is at once, None never.
    """

    worth: bool
    kept_nano: Money
    changed_nano: Money
    saved_nano: Money
    pays_after: int | None


def cache_rates(card: RateCard, tokens: int, held_s: int | None = None, least: int = 0) -> CacheRates:
    """Take the rates from a price, for prompts of `tokens`; `held_s` is for how long the call asks them to be held.

    Raises `UnpricedUsage` where the price has no rate for reading or writing, and `ValueError` for a time that no
    provider offers.
    """
    if held_s is not None and held_s not in _WRITES:
        raise ValueError(f"held_s is {held_s}, and must be one of {', '.join(map(str, _WRITES))}, or None")
    leaves = ("input_tokens" if held_s is None else _WRITES[held_s], "cache_read_tokens")
    for leaf in leaves:
        if leaf not in card.rates:
            raise UnpricedUsage(card.price_id, leaf)
    new, read = (card.rates[leaf].at(tokens) for leaf in leaves)
    return CacheRates(new, read, least)


def worth_changing(change: Change, rates: CacheRates, calls: int) -> Verdict:
    """Compare a prompt as it is with the changed one over this call and `calls` that follow while the cache holds it.

    Raises `ValueError` for numbers that cannot be of one prompt.
    """
    _check(change, calls)
    fewer = change.tokens - change.removed
    hit = min(change.begins, change.held)
    first_kept = _call(change.tokens, change.held, rates)
    first_changed = _call(fewer, hit, rates)
    each_kept, each_changed = _call(change.tokens, change.tokens, rates), _call(fewer, fewer, rates)
    kept, changed = first_kept + calls * each_kept, first_changed + calls * each_changed
    lost, gained = first_changed - first_kept, each_kept - each_changed
    pays_after = 0 if lost < 0 else lost // gained + 1 if gained > 0 else None
    kept_nano, changed_nano = div_half_even(kept, MILLION), div_half_even(changed, MILLION)
    return Verdict(changed < kept, kept_nano, changed_nano, kept_nano - changed_nano, pays_after)


def pays(verdict: Verdict) -> bool:
    """Tell whether a change saves enough to be made: what is expected of a conversation may not come."""
    return verdict.saved_nano * _PERCENT >= verdict.kept_nano * MARGIN_PERCENT


def _call(tokens: int, held: int, rates: CacheRates) -> int:
    """Return what the input of one call costs, in millionths of a nano-USD."""
    held = held if held >= rates.least else 0
    return held * rates.read_nano + (tokens - held) * rates.new_nano


def _check(change: Change, calls: int) -> None:
    limits = {"held": change.tokens, "begins": change.tokens, "removed": change.tokens - change.begins}
    for name, most in limits.items():
        value = getattr(change, name)
        if not 0 <= value <= most:
            raise ValueError(f"{name} is {value}, and must be from 0 to {most} in a prompt of {change.tokens} tokens")
    if calls < 0:
        raise ValueError(f"calls is {calls}, and must be 0 or more")
