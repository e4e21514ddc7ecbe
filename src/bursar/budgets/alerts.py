"""Find what is to be told about a budget: thresholds it has crossed in its window, and when it will run out.

A threshold is told once a window; of a rolling window, once within its length, and of a limit per minute once a day. A
forecast is told once, and again when its date has moved by more than a tenth of the window.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from bursar.budgets.budget import UNIT_WORDS, Budget, Period, Terms, Window, amount_text, limit_text, pieces_before
from bursar.budgets.forecast import Forecast, Sample, forecast, length_us
from bursar.budgets.tree import Tree
from bursar.core.money import Money, div_half_even, nano_to_usd
from bursar.core.times import DAY_US, to_datetime
from bursar.ledger.chart import Unit

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_CENT_NANO: Final = 10_000_000


class AlertKind(StrEnum):
    """Say what an alert is about."""

    threshold = "threshold"
    forecast = "forecast"
    price_divergence = "price_divergence"  # these are of no budget: see `budgets.divergence`
    price_stale = "price_stale"
    price_model = "price_model"
    route_drift = "route_drift"  # of a route's model


class Standing(msgspec.Struct, frozen=True):
    """Say where one window of a budget stands. `kind` is its holder's; samples are earlier ones, in order."""

    budget: Budget
    kind: str
    period: Period
    spent_nano: Money
    moved_nano: Money = 0  # in from other budgets, less what went out to them
    samples: tuple[Sample, ...] = ()

    @property
    def allowed_nano(self) -> Money:
        """Return the limit with what was moved; 0 for a budget without a limit."""
        limit = self.budget.terms.limit_nano
        return 0 if limit is None else max(0, limit + self.moved_nano)


class Made(msgspec.Struct, frozen=True):
    """Be what is known of an alert that was made before."""

    kind: AlertKind
    number: int
    period: str
    at_us: int
    runs_out_us: int | None = None


class Alert(msgspec.Struct, frozen=True):
    """Be one thing to tell. `number` is a threshold's percentage, or a forecast's place in its window."""

    alert_id: str
    tenant: int
    budget_id: str
    period: str
    kind: AlertKind
    number: int
    at_us: int
    runs_out_us: int | None
    text: str
    details: "Details"


class Details(msgspec.Struct, frozen=True):
    """Hold the figures of an alert: amounts as strings, USD as decimals."""

    budget: str
    kind: str
    unit: str
    limit: str
    spent: str
    percent: int


def percents_of(tree: Tree, holder_id: str) -> tuple[int, ...]:
    """Return the percentages a holder is alerted at: its own, else those of the nearest above it that has any."""
    return next((each.alerts_percent for each in tree.line(holder_id) if each.alerts_percent), ())


def is_used_up(terms: Terms) -> bool:
    """Tell whether a budget has a limit that spending uses up. What is concurrent is given back."""
    return terms.limit_nano is not None and terms.unit is not Unit.call


def crossed(standing: Standing, percents: Sequence[int], made: Sequence[Made], now_us: int) -> list[int]:
    """Return the thresholds that were reached and not told yet."""
    terms = standing.budget.terms
    if not is_used_up(terms) or standing.spent_nano <= 0:
        return []
    quiet_us = _quiet_us(terms, now_us)
    told = {
        each.number
        for each in made
        if each.kind is AlertKind.threshold and (each.period == standing.period.name or now_us - each.at_us < quiet_us)
    }
    return [
        percent
        for percent in sorted(set(percents))
        if percent not in told and standing.spent_nano * 100 >= percent * standing.allowed_nano
    ]


def find_alerts(standing: Standing, percents: Sequence[int], made: Sequence[Made], now_us: int) -> list[Alert]:
    """Return what is to be told about a budget's window now, given what was told before."""
    if not percents or not is_used_up(standing.budget.terms):
        return []
    samples = (*standing.samples, Sample(now_us, standing.spent_nano))
    found = expected(standing, samples)
    alerts = [
        _alert(standing, AlertKind.threshold, (percent, percent), found, now_us)
        for percent in crossed(standing, percents, made, now_us)
    ]
    before = [each for each in made if each.kind is AlertKind.forecast and each.period == standing.period.name]
    if found is not None and _has_moved(standing, before, found):
        used = standing.spent_nano * 100 // standing.allowed_nano
        number = max((each.number for each in before), default=0) + 1
        alerts.append(_alert(standing, AlertKind.forecast, (number, used), found, now_us))
    return alerts


def expected(standing: Standing, samples: tuple[Sample, ...]) -> Forecast | None:
    """Return when it runs out; of a single run's budget in all nothing is said, for it ends soon."""
    budget = standing.budget
    if "/" in budget.budget_id and budget.terms.window is Window.total:
        return None
    return forecast(budget.terms, standing.period, standing.allowed_nano, samples)


def _has_moved(standing: Standing, before: Sequence[Made], found: Forecast) -> bool:
    last = max(before, key=lambda each: each.number, default=None)
    if last is None or last.runs_out_us is None:
        return True
    return abs(found.runs_out_us - last.runs_out_us) * 10 > length_us(standing.budget.terms, standing.period)


def _quiet_us(terms: Terms, now_us: int) -> int:
    """Return how long a threshold is not told again, besides once a window."""
    if terms.rolling:
        return max(DAY_US, now_us - pieces_before(terms, now_us)[0].start_us)
    return DAY_US if terms.window is Window.minute else 0


def _alert(standing: Standing, kind: AlertKind, numbers: tuple[int, int], found: Forecast | None, now_us: int) -> Alert:
    """Make an alert; `numbers` are its own and the percentage it tells."""
    number, percent = numbers
    budget, terms = standing.budget, standing.budget.terms
    words = (str(budget.tenant), budget.budget_id, standing.period.name, kind.value, str(number))
    details = Details(
        budget.holder,
        standing.kind,
        UNIT_WORDS.get(terms.unit, terms.unit.name),
        amount_text(standing.allowed_nano, terms.unit),
        amount_text(standing.spent_nano, terms.unit),
        percent,
    )
    return Alert(
        "alr_" + hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:32],
        budget.tenant,
        budget.budget_id,
        standing.period.name,
        kind,
        number,
        now_us,
        None if found is None else found.runs_out_us,
        _text(standing, percent, found, now_us),
        details,
    )


def _text(standing: Standing, percent: int, found: Forecast | None, now_us: int) -> str:
    terms = standing.budget.terms
    limit = limit_text(msgspec.structs.replace(terms, limit_nano=standing.allowed_nano))
    spent = _rounded(standing.spent_nano, terms.unit)
    used = f"{standing.kind} {standing.budget.holder}: {percent} % of {limit} used ({spent})"
    return used if found is None else f"{used}; at this pace it runs out {_when(found, terms, now_us)}"


def _rounded(amount: int, unit: Unit) -> str:
    """Write an amount for reading: from a cent on in cents, less than that as it is."""
    if unit is Unit.usd and amount >= _CENT_NANO:
        amount = div_half_even(amount, _CENT_NANO) * _CENT_NANO
        return f"{nano_to_usd(amount)} USD"
    return f"{amount_text(amount, unit)} {UNIT_WORDS.get(unit, unit.name)}"


def _when(found: Forecast, terms: Terms, now_us: int) -> str:
    """Write when a budget runs out, on its own calendar, and between which moments where that is not sure."""
    at, earliest = _moment(found.runs_out_us, terms, now_us), _moment(found.earliest_us, terms, now_us)
    clock = f"at {at} {terms.zone}" if terms.window is Window.day else f"on {at}"
    if found.latest_us is None:
        return f"{clock} or later" if earliest == at else f"{clock} ({earliest} at the earliest)"
    latest = _moment(found.latest_us, terms, now_us)
    return clock if earliest == latest else f"{clock} (between {earliest} and {latest})"


def _moment(at_us: int, terms: Terms, now_us: int) -> str:
    zone = ZoneInfo(terms.zone)
    at, now = to_datetime(at_us).astimezone(zone), to_datetime(now_us).astimezone(zone)
    if terms.window is Window.day:
        return f"{at:%H:%M}"
    return f"{at.day} {_MONTHS[at.month - 1]}" + (f" {at.year}" if at.year != now.year else "")
