"""Match what a provider bills with what the books have of the same calls, and say why the two differ.

Both sides are grouped by UTC day and model, or as coarsely as the invoice is. A group's difference is what the
provider bills, less what its calls were booked with, less what earlier corrections added: so once a correction is
booked nothing differs any more.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.ledger.causes import Cause, Part, Sides, Surroundings, find_cause, measure
from bursar.ledger.invoices import NO_COUNTS, Counts, Invoice, InvoiceLine, LineKind
from bursar.prices.price import Rates

_DAY: Final = timedelta(days=1)
_DATED: Final = re.compile(r"[-@](20\d{2}-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])|(0[1-9]|1[0-2])([0-2]\d|3[01]))$")
_CLAUDE: Final = re.compile(r"claude \w")


class Booked(msgspec.Struct, frozen=True):
    """Hold what the books have of a day's calls to one model of the provider, by the name that served them."""

    day: date
    model: str
    counts: Counts
    cost_nano: Money
    held: int = 0  # calls charged their whole hold, since nobody reported what they used
    held_nano: Money = 0
    estimated: int = 0  # calls whose tokens were counted by ourselves
    estimated_nano: Money = 0
    late_nano: Money = 0  # of calls that ended on a later day than they began
    price_ids: tuple[str, ...] = ()


Cards = Mapping[str, Rates]
"""The rates of the prices calls were charged by, by their ids."""

NO_CARDS: Final[Cards] = {}


class Corrected(msgspec.Struct, frozen=True):
    """Hold what earlier corrections added to a group."""

    day: date | None
    name: str
    kind: LineKind
    amount_nano: Money


class Key(msgspec.Struct, frozen=True, order=True):
    """Name a group. `day` is the earliest there is where all days are one; `name` is empty where all models are."""

    day: date
    kind: LineKind
    name: str


ALL_DAYS: Final = date.min


class Difference(msgspec.Struct, frozen=True):
    """Hold a group: both sides, what differs, and the likely cause with what speaks for it."""

    key: Key
    sides: Sides
    cause: Cause
    evidence: str

    @property
    def day(self) -> date | None:
        """Return the group's day; None when it is all days of the invoice."""
        return None if self.key.day == ALL_DAYS else self.key.day

    @property
    def amount_nano(self) -> Money:
        """Return what the provider bills beyond what is booked; negative when it bills less."""
        return self.sides.amount_nano


class Report(msgspec.Struct, frozen=True):
    """Hold every group of an invoice, in order of day, kind and name."""

    differences: tuple[Difference, ...]

    @property
    def differing(self) -> tuple[Difference, ...]:
        """Return the groups that differ by more than rounding explains."""
        return tuple(each for each in self.differences if each.cause > Cause.rounding)

    def total(self) -> tuple[Money, Money, Money, Money]:
        """Sum what calls were booked with, earlier corrections, what is billed, and what differs."""
        sides = [each.sides for each in self.differences]
        return (
            sum(side.ours_nano for side in sides),
            sum(side.corrected_nano for side in sides),
            sum(side.theirs_nano or 0 for side in sides),
            sum(side.amount_nano for side in sides),
        )


def reconcile(
    invoice: Invoice,
    booked: Iterable[Booked],
    corrected: Iterable[Corrected] = (),
    tolerance_nano: Money = 0,
    cards: Cards = NO_CARDS,
) -> Report:
    """Match an invoice with the books.

    `booked` may hold more days than the invoice's: those of the day before tell which calls ended on its first day.
    The differences sum to what is billed less what is booked and corrected, exactly.
    """
    every = list(booked)
    ours = [each for each in every if invoice.since <= each.day < invoice.until]
    kept = list(corrected)
    usage = [line for line in invoice.lines if line.kind is LineKind.usage]
    exact = _agreed_names({each.model for each in ours}, {line.model for line in usage})

    def key(day: date | None, kind: LineKind, name: str) -> Key:
        spelled = _spelled(name, exact) if invoice.by_model else ""
        known = day if day is not None and invoice.by_day else ALL_DAYS
        return Key(known, kind, spelled if kind is LineKind.usage else name)

    groups: dict[Key, _Group] = defaultdict(_Group)
    for each in ours:
        groups[key(each.day, LineKind.usage, each.model)].booked.append(each)
    for line in invoice.lines:
        groups[key(line.day, line.kind, line.model)].billed.append(line)
    for each in kept:
        groups[key(each.day, each.kind, each.name)].corrected_nano += each.amount_nano
    sides = {name: group.sides(priced=invoice.priced) for name, group in sorted(groups.items())}
    late: dict[Key, Money] = defaultdict(int)
    for each in every:
        late[key(each.day, LineKind.usage, each.model)] += each.late_nano
    usual = [name for name in sides if name.kind is LineKind.usage]
    whole = _Whole(
        sides,
        late,
        tuple(sorted({name.name for name in usual if sides[name].ours != NO_COUNTS})),
        tuple(sorted({name.name for name in usual if sides[name].lines})),
        cards,
    )
    printed = _printed_nano(invoice.decimals)
    return Report(
        tuple(_difference(name, whole, max(tolerance_nano, printed * side.lines)) for name, side in sides.items())
    )


class _Whole(msgspec.Struct, frozen=True):
    """Hold all groups: their sides, what ended late in each, and the names of either side."""

    sides: dict[Key, Sides]
    late: dict[Key, Money]
    our_names: tuple[str, ...]
    their_names: tuple[str, ...]
    cards: Cards


class _Group:
    """Gather what belongs to one group."""

    def __init__(self) -> None:
        self.booked: list[Booked] = []
        self.billed: list[InvoiceLine] = []
        self.corrected_nano = 0

    def sides(self, *, priced: bool) -> Sides:
        ours, theirs = NO_COUNTS, NO_COUNTS
        for each in self.booked:
            ours = ours.plus(each.counts)
        for line in self.billed:
            theirs = theirs.plus(line.counts)
        return Sides(
            ours=ours,
            ours_nano=sum(each.cost_nano for each in self.booked),
            corrected_nano=self.corrected_nano,
            theirs=theirs,
            theirs_nano=sum(line.cost_nano or 0 for line in self.billed) if priced else None,
            lines=len(self.billed),
            parts=_parts(self.billed),
            held=sum(each.held for each in self.booked),
            held_nano=sum(each.held_nano for each in self.booked),
            estimated=sum(each.estimated for each in self.booked),
            estimated_nano=sum(each.estimated_nano for each in self.booked),
            price_ids=tuple(sorted({price_id for each in self.booked for price_id in each.price_ids})),
        )


def _parts(lines: list[InvoiceLine]) -> tuple[Part, ...]:
    """Sum what is billed for one kind of token each, where lines say what their money is for."""
    found: dict[str, tuple[int, Money]] = {}
    for line in lines:
        given = line.billed_for
        leaf = "cache_read_tokens" if given.cached_tokens else "input_tokens" if given.input_tokens else "output_tokens"
        count, cost = found.get(leaf, (0, 0))
        if given.tokens and line.cost_nano is not None:
            found[leaf] = (count + given.tokens, cost + line.cost_nano)
    return tuple(Part(leaf, *sums) for leaf, sums in sorted(found.items()))


def _difference(key: Key, whole: _Whole, allowed_nano: Money) -> Difference:
    side = whole.sides[key]
    beside = [_beside(key, step) for step in (-_DAY, _DAY)] if key.day != ALL_DAYS else []
    around = Surroundings(
        kind=key.kind,
        name=key.name,
        allowed_nano=allowed_nano,
        our_names=whole.our_names,
        their_names=whole.their_names,
        # A neighbour outside the invoice shows itself only by calls that ended late.
        neighbours=tuple((str(near.day), measure(whole.sides[near])) for near in beside if near in whole.sides),
        rates=tuple(whole.cards[price_id] for price_id in side.price_ids if price_id in whole.cards),
        moved_nano=whole.late.get(beside[0], 0) - whole.late.get(key, 0) if beside else 0,
    )
    cause, evidence = find_cause(side, around)
    return Difference(key, side, cause, evidence)


def _beside(key: Key, step: timedelta) -> Key:
    return Key(key.day + step, key.kind, key.name)


def _printed_nano(decimals: int) -> Money:
    """Return half of the last decimal a line is printed with; at most half a cent."""
    return 10 ** (9 - max(2, decimals)) // 2 if decimals < 9 else 0


def family(model: str) -> str:
    """Return a model's name without the date of its release, and as an interface spells it.

    `gpt-4o-mini-2024-07-18` is `gpt-4o-mini`, `gpt-4-0613` is `gpt-4`, and `Claude Haiku 4.5` is `claude-haiku-4-5`.
    """
    name = model.strip().lower()
    if _CLAUDE.match(name):
        name = name.replace(" ", "-").replace(".", "-")
    return _DATED.sub("", name.removesuffix("-latest"))


def _spelled(name: str, exact: frozenset[str]) -> str:
    lowered = name.strip().lower()
    return lowered if lowered in exact else family(name)


def _agreed_names(ours: set[str], theirs: set[str]) -> frozenset[str]:
    """Return the names that are told apart: all of a family, if both sides use the same ones for it."""
    by_family: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for side, names in enumerate((ours, theirs)):
        for name in names:
            by_family[family(name)][side].add(name.strip().lower())
    return frozenset(name for mine, yours in by_family.values() if mine == yours for name in mine)


def unbooked(report: Report) -> Sequence[Difference]:
    """Return the groups a correction is to be booked for: those whose money differs at all."""
    return [each for each in report.differences if each.amount_nano]
