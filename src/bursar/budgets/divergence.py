"""Find what is to be told about prices: a provider that charges something else than we book, and prices grown old.

A provider that states what a call cost is believed to know. Where its sum over a day and ours differ by more than a
share and more than a cent, a price is wrong: told once a day and target. So is another model that has answered than
the one asked, whose price was charged.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from bursar.budgets.alerts import Alert, AlertKind, Details
from bursar.core.money import Money, div_half_even, nano_to_usd
from bursar.core.times import DAY_US, day_text, moment_from_text

LEAST_NANO: Final = 10_000_000
"""A difference of less than a cent a day is never told."""

_CENT_NANO: Final = 10_000_000


class Reported(msgspec.Struct, frozen=True):
    """Sum the calls of a day that a target has stated the cost of: what was booked for them, and what was stated."""

    target: str
    day: str
    calls: int
    booked_nano: Money
    reported_nano: Money


class OtherModel(msgspec.Struct, frozen=True):
    """Count the calls of a day that a target has answered by another model, and what was booked for them."""

    target: str
    answered: str
    day: str
    calls: int
    booked_nano: Money


def find_other_models(tenant: int, found: Sequence[OtherModel], now_us: int) -> list[Alert]:
    """Return an alert for each target and model that has answered in its place."""
    return [_other_model(tenant, each, now_us) for each in found]


def _other_model(tenant: int, each: OtherModel, now_us: int) -> Alert:
    booked = nano_to_usd(each.booked_nano)
    answered = f"{each.target} has answered {each.calls:,} calls of {each.day} by {each.answered}"
    text = f"{answered}: they were charged by the price of {each.target}, {_rounded(each.booked_nano)} USD"
    details = Details(each.target, "target", "USD", each.answered, booked, 0)
    return _alert(tenant, (f"{each.target} {each.answered}", each.day), AlertKind.price_model, text, details, now_us)


class Drift(msgspec.Struct, frozen=True):
    """Say that a route's model answers otherwise than expected, for the `alarms`-th time, by so many outcomes."""

    route: str
    model: str
    alarms: int
    outcomes: int


def find_drift(tenant: int, drifts: Sequence[Drift], now_us: int) -> list[Alert]:
    """Return an alert for each alarm that outcomes have raised about a route's model."""
    return [_drift(tenant, each, now_us) for each in drifts]


def _drift(tenant: int, each: Drift, now_us: int) -> Alert:
    what = f"{each.route} {each.model}"
    answers = f"the answers of {each.model} for {each.route} have come out otherwise than expected"
    text = f"{answers}, by {each.outcomes:,} outcomes: train the route's router again, or look at what has changed"
    details = Details(what, "route", "outcome", "", str(each.outcomes), 0)
    return _alert(tenant, (what, f"alarm {each.alarms}"), AlertKind.route_drift, text, details, now_us)


def find_divergence(tenant: int, sums: Sequence[Reported], percent: int, now_us: int) -> list[Alert]:
    """Return an alert for each target whose sums differ by more than `percent` of the larger; 0 means none is told."""
    alerts: list[Alert] = []
    for each in sums:
        gap, larger = abs(each.reported_nano - each.booked_nano), max(each.reported_nano, each.booked_nano)
        if percent and gap >= LEAST_NANO and gap * 100 > percent * larger:
            alerts.append(_divergence(tenant, each, now_us))
    return alerts


def _divergence(tenant: int, sums: Reported, now_us: int) -> Alert:
    gap = sums.reported_nano - sums.booked_nano
    share = div_half_even(abs(gap) * 100, sums.booked_nano) if sums.booked_nano else 100
    booked, reported = nano_to_usd(sums.booked_nano), nano_to_usd(sums.reported_nano)
    stated = f"{sums.target} says that {sums.calls:,} calls of {sums.day} cost {_rounded(sums.reported_nano)} USD"
    compared = f"{share} % {'more' if gap > 0 else 'less'} than the {_rounded(sums.booked_nano)} USD booked"
    text = f"{stated}, {compared if sums.booked_nano else 'and nothing was booked'}: its price here is wrong"
    details = Details(sums.target, "target", "USD", booked, reported, share)
    return _alert(tenant, (sums.target, sums.day), AlertKind.price_divergence, text, details, now_us)


def find_stale(tenant: int, checked: str, days_max: int, now_us: int) -> list[Alert]:
    """Return an alert where the newest check of the price book is older than so many days; 0 means none is told."""
    if not checked or not days_max:
        return []
    days = (now_us - moment_from_text(checked)) // DAY_US
    if days <= days_max:
        return []
    text = f"the price book was last checked on {checked}, {days} days ago: upgrade Bursar, or give your own prices"
    details = Details("price book", "prices", "day", str(days_max), str(days), div_half_even(days * 100, days_max))
    month = day_text(now_us)[:7]  # told again each month
    return [_alert(tenant, ("price book", month), AlertKind.price_stale, text, details, now_us)]


def _alert(tenant: int, what: tuple[str, str], kind: AlertKind, text: str, details: Details, now_us: int) -> Alert:
    name, period = what
    words = (str(tenant), name, period, kind.value)
    alert_id = "alr_" + hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:32]
    return Alert(alert_id, tenant, name, period, kind, 0, now_us, None, text, details)


def _rounded(amount_nano: Money) -> str:
    """Write an amount in cents, and less than a cent as it is."""
    if amount_nano >= _CENT_NANO:
        amount_nano = div_half_even(amount_nano, _CENT_NANO) * _CENT_NANO
    return nano_to_usd(amount_nano)
