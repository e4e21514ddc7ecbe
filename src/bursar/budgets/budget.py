"""Describe budgets: what may be spent, in which unit and window. Each window is an account of its own."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from bursar.core.money import MONEY_MAX, Money, nano_to_usd, usd_to_nano
from bursar.core.times import DAY_US, FOREVER_US, HOUR_US, MINUTE_US, SECOND_US, from_datetime, to_datetime
from bursar.ledger.chart import Unit, overdraft_id


class Window(StrEnum):
    """Name how long a budget's limit lasts before it begins anew."""

    minute = "minute"
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    total = "total"


class Enforcement(StrEnum):
    """Say what happens at a limit."""

    hard = "hard"  # what does not fit is refused
    soft = "soft"  # nothing is refused; alerts tell
    grace = "grace"  # refused only beyond the limit and its grace; alerts tell from the limit on


class Terms(msgspec.Struct, frozen=True):
    """Limit what may be spent in a window.

    `limit_nano` is nano-USD, or a plain count in units that are counted; None means unlimited: metered, never refused.
    A rolling window has no beginning: whatever it has seen last counts. Others follow the calendar of `zone`.
    """

    limit_nano: Money | None
    window: Window = Window.total
    unit: Unit = Unit.usd
    rolling: bool = False
    zone: str = "UTC"
    enforcement: Enforcement = Enforcement.hard
    grace_nano: Money = 0
    overdraft_nano: Money = 0  # a line for what calls cost beyond an expected hold

    @property
    def most_nano(self) -> Money | None:
        """Return what is never exceeded; None when nothing is refused."""
        if self.limit_nano is None or self.enforcement is Enforcement.soft:
            return None
        return self.limit_nano + self.grace_nano


class Budget(msgspec.Struct, frozen=True):
    """Be one budget of one holder. `budget_id` names its accounts; `holder` is for messages."""

    budget_id: str
    tenant: int
    terms: Terms
    holder: str = ""


def base_id(budget_id: str) -> str:
    """Return the budget as it is written down, of one that stands for a run, a tag's value or an overdraft line."""
    return re.split("[/~]", budget_id, maxsplit=1)[0]


@lru_cache(maxsize=10_000)
def overdraft_line(budget: Budget) -> Budget:
    """Return the line behind a budget: what calls may cost beyond what was expected of them."""
    terms = msgspec.structs.replace(
        budget.terms, limit_nano=budget.terms.overdraft_nano, grace_nano=0, enforcement=Enforcement.hard
    )
    return Budget(overdraft_id(budget.budget_id), budget.tenant, terms, budget.holder)


class Period(msgspec.Struct, frozen=True):
    """Hold one window of a budget: its name, first microsecond and the one after its last."""

    name: str
    start_us: int
    end_us: int


UNLIMITED: Final = Terms(None)
"""The terms of what is only metered."""

_LIMIT: Final = re.compile(r"([0-9.]+)(?: (requests?|tokens?|concurrent))?(?:/([a-z]+))?( rolling)?")
_COUNTED: Final = {"request": Unit.request, "token": Unit.token, "concurrent": Unit.call}
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_FIXED: Final = {Window.minute: MINUTE_US, Window.hour: HOUR_US, Window.day: DAY_US}
_FORMATS: Final = {Window.minute: "%Y-%m-%dT%H:%M", Window.hour: "%Y-%m-%dT%H"}

_BUCKETS: Final = {
    Window.minute: (MINUTE_US, 10 * SECOND_US),
    Window.hour: (HOUR_US, MINUTE_US),
    Window.day: (DAY_US, DAY_US // 48),
    Window.week: (7 * DAY_US, 4 * HOUR_US),
    Window.month: (30 * DAY_US, 12 * HOUR_US),
}
"""Length of a rolling window, and of the pieces it is counted in: it looks back one piece more than its length."""


def read_limit(text: str) -> Terms:
    """Read a limit such as `5.00/day`, `5.00`, `600 requests/minute`, `20 concurrent` or `5.00/day rolling`.

    Raises `ValueError` saying what was expected.
    """
    match = _LIMIT.fullmatch(text)
    if match is None or (match[3] is not None and match[3] not in Window.__members__):
        windows = ", ".join(Window)
        raise ValueError(
            f"expected USD, alone or per window ({windows}), such as 5.00/day; or a count such as"
            f" 600 requests/minute, 100000 tokens/minute, 20 concurrent; got {text!r}"
        )
    amount, counted, window, rolling = match.groups()
    unit = _COUNTED[counted.removesuffix("s")] if counted else Unit.usd
    terms = Terms(_amount(amount, unit), Window(window or Window.total), unit, rolling=rolling is not None)
    if unit is Unit.call and terms.window is not Window.total:
        raise ValueError(f"what is concurrent has no window: expected {amount} concurrent, got {text!r}")
    if unit in (Unit.request, Unit.token) and window is None:
        raise ValueError(f"expected a window, such as {amount} {counted}/minute; got {text!r}")
    if terms.rolling and terms.window is Window.total:
        raise ValueError(f"expected a window that rolls, such as {amount}/day rolling; got {text!r}")
    return terms


def _amount(text: str, unit: Unit) -> int:
    if unit is Unit.usd:
        return usd_to_nano(text)
    if not _COUNT.fullmatch(text) or int(text) > MONEY_MAX:
        raise ValueError(f"expected a whole number, got {text!r}")
    return int(text)


def amount_text(amount_nano: int, unit: Unit) -> str:
    """Write an amount: USD as a decimal, a count as it is."""
    return nano_to_usd(amount_nano) if unit in (Unit.usd, Unit.credit) else str(amount_nano)


UNIT_WORDS: Final = {Unit.usd: "USD", Unit.request: "requests", Unit.token: "tokens", Unit.call: "concurrent"}
"""What amounts of each unit are called."""


def limit_text(terms: Terms) -> str:
    """Write a limit as `read_limit` reads it."""
    if terms.limit_nano is None:
        return "unlimited"
    counted = "" if terms.unit is Unit.usd else f" {UNIT_WORDS[terms.unit]}"
    per = "" if terms.window is Window.total else f"/{terms.window}"
    return amount_text(terms.limit_nano, terms.unit) + counted + per + (" rolling" if terms.rolling else "")


def period_at(terms: Terms, at_us: int) -> Period:
    """Return the window a moment lies in; of a rolling window, the piece."""
    window = terms.window
    if window is Window.total:
        return Period("total", 0, FOREVER_US)
    if terms.rolling:
        _, length = _BUCKETS[window]
        return _piece(at_us - at_us % length, length)
    if terms.zone == "UTC" and window in _FIXED:
        length = _FIXED[window]
        start = at_us - at_us % length
        name = to_datetime(start)
        return Period(_name(name, window), start, start + length)
    return _calendar_period(window, at_us, terms.zone)


def pieces_before(terms: Terms, at_us: int) -> list[Period]:
    """Return the earlier pieces of a rolling window that still count at a moment; none for another window."""
    if not terms.rolling:
        return []
    whole, length = _BUCKETS[terms.window]
    now = at_us - at_us % length
    return [_piece(start, length) for start in range(now - whole, now, length)]


def pieces_beside(terms: Terms, at_us: int) -> list[Period]:
    """Return the other pieces of a rolling window that count when more is leased in the one of a moment.

    These are the earlier ones, and later ones too: another gateway's clock may be ahead, and have begun them.
    """
    if not terms.rolling:
        return []
    whole, length = _BUCKETS[terms.window]
    now = at_us - at_us % length
    later = range(now + length, now + whole + length, length)
    return [*pieces_before(terms, at_us), *(_piece(start, length) for start in later)]


def zone_exists(name: str) -> bool:
    """Tell whether a time zone of this name is known."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # what it raises for names of other kinds
        return False
    return True


def _piece(start_us: int, length_us: int) -> Period:
    return Period(f"{to_datetime(start_us):%Y-%m-%dT%H:%M:%SZ}", start_us, start_us + length_us)


def _name(start: datetime, window: Window) -> str:
    if window is Window.week:
        year, week, _ = start.isocalendar()
        return f"{year}-W{week:02d}"
    if window is Window.month:
        return f"{start.year}-{start.month:02d}"
    if window is Window.day:
        return start.date().isoformat()
    return start.strftime(_FORMATS[window]) + ("Z" if start.utcoffset() == timedelta() else start.strftime("%z"))


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _calendar_period(window: Window, at_us: int, zone: str) -> Period:
    """Return the window on a zone's calendar. Its days may have 23 or 25 hours; its hours are hours."""
    at = to_datetime(at_us).astimezone(_zone(zone))
    if window in (Window.minute, Window.hour):
        length = _FIXED[window]
        # Counted from local midnight's offset, so that an hour begins when the clock on the wall says so; where clocks
        # are turned by half an hour, the hours before and after are cut short.
        start = at_us - (at_us + _offset_us(at_us, zone)) % length
        start, end = _while_offset(at_us, start, zone), _while_offset(at_us, start + length - 1, zone) + 1
        return Period(_name(to_datetime(start).astimezone(at.tzinfo), window), start, end)
    first = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if window is Window.week:
        first -= timedelta(days=at.weekday())
    elif window is Window.month:
        first = first.replace(day=1)
    after = _following(first, window)
    if from_datetime(after) <= at_us:  # clocks went back over midnight: a day that has ended does not come again
        first, after = after, _following(after, window)
    return Period(_name(first, window), from_datetime(first), from_datetime(after))


def _following(first: datetime, window: Window) -> datetime:
    """Return where the window after the one that begins at a local midnight begins."""
    if window is Window.month:
        return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first + timedelta(days=7 if window is Window.week else 1)


def _offset_us(at_us: int, zone: str) -> int:
    offset = to_datetime(at_us).astimezone(_zone(zone)).utcoffset() or timedelta()
    return round(offset.total_seconds()) * SECOND_US


def _while_offset(at_us: int, towards_us: int, zone: str) -> int:
    """Return how far from a moment towards another a zone keeps its offset."""
    kept = _offset_us(at_us, zone)
    if _offset_us(towards_us, zone) == kept:
        return towards_us
    near, far = at_us, towards_us
    while abs(far - near) > 1:
        middle = (near + far) // 2
        near, far = (middle, far) if _offset_us(middle, zone) == kept else (near, middle)
    return near
