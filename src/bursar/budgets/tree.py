"""Find the budgets a call counts against: those of its key, of whoever the key is of, and of its run, tags and model.

Whoever has budgets is a holder. Holders form a tree: an organisation's teams, a team's people, their keys. A holder
may also stand for a part of what goes through its parent: calls with a tag, calls of a model, and, with `each`, every
run or every value of a tag by itself. A call counts against all budgets of all holders it belongs to, and all of
them must have room.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import quote

import msgspec

from bursar.budgets.budget import Budget

RUN: Final = "run"
"""What `each` says for a budget of every run."""


class Holds(StrEnum):
    """Say how much of a call's answer is held before it is made."""

    strict = "strict"  # the output cap: what a call can cost at most
    expected = "expected"  # a quantile of what such answers have, the rest in a bounded overdraft line
    soft = "soft"  # the same, and what is beyond it is overage


class Exhausted(StrEnum):
    """Say what becomes of a call that does not fit."""

    refuse = "refuse"
    smaller = "smaller"  # its output cap is lowered as far as the holder's floor
    cheaper = "cheaper"  # a cheaper model answers, where its route or its model names one


class Holder(msgspec.Struct, frozen=True):
    """Be somebody or something with budgets of its own. `match` names tags (or `model`) and the values they have.

    What a holder leaves open (None) its parent decides.
    """

    holder_id: str
    tenant: int
    name: str
    kind: str
    budgets: tuple[Budget, ...] = ()
    parent_id: str | None = None
    match: dict[str, str] = {}
    each: str = ""
    frozen: bool = False
    exhausted: Exhausted | None = None
    holds: Holds | None = None
    depth_max: int | None = None  # of calls within a run
    repeats_max: int | None = None  # of the same turn within a run
    alerts_percent: tuple[int, ...] = ()

    @property
    def is_part(self) -> bool:
        """Tell whether this holder stands for a part of its parent's calls."""
        return bool(self.match or self.each)


class Claim(msgspec.Struct, frozen=True):
    """Hold all that a call's holders say of it: the budgets it counts against, the key's own first."""

    budgets: tuple[Budget, ...]
    frozen: str = ""  # the name of a holder that is frozen
    exhausted: Exhausted = Exhausted.refuse
    holds: Holds = Holds.strict
    depth_max: int | None = None
    repeats_max: int | None = None


class Path:
    """Hold the holders of one key: those every call of it belongs to, and those some of its calls do."""

    __slots__ = ("_kept", "_parts", "claim", "holders", "per_run")

    def __init__(self, holders: tuple[Holder, ...], parts: tuple[Holder, ...]) -> None:
        self.holders = holders
        self._parts = parts
        self._kept: dict[tuple[str, ...], Claim] = {}
        self.claim = _claim(holders)
        self.per_run = any(holder.each == RUN for holder in parts)

    def __eq__(self, other: object) -> bool:
        """Tell whether another path has the same holders with the same budgets."""
        return isinstance(other, Path) and (self.holders, self._parts) == (other.holders, other._parts)

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it is compared, never looked up

    def find(self, run: str, model: str, tags: Mapping[str, str], chosen: str = "") -> Claim:
        """Return what the holders of a call say of it, be they of the model asked for or of the one chosen for it."""
        if not self._parts:
            return self.claim
        facts = {**tags, RUN: run, "model": chosen or model}
        asked = ("model", model)
        suffixes: dict[str, str] = {holder.holder_id: "" for holder in self.holders}
        named: list[str] = []
        found: list[tuple[Holder, str]] = []
        for part in self._parts:  # a part comes after its parent
            before = suffixes.get(part.parent_id) if part.parent_id is not None else ""
            if before is None or any(facts.get(each[0]) != each[1] and each != asked for each in part.match.items()):
                continue
            if part.each:
                value = facts.get(part.each)
                if not value:
                    continue
                before += "/" + quote(value, safe="").replace("~", "%7E")  # which names a line behind a budget
            suffixes[part.holder_id] = before
            named.append(part.holder_id + before)
            found.append((part, before))
        if not found:
            return self.claim
        key = tuple(named)
        claim = self._kept.get(key)
        if claim is None:
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            claim = self._kept[key] = _claim([*self.holders, *(_instance(part, suffix) for part, suffix in found)])
        return claim


_KEPT_MAX: Final = 4_096


def _instance(part: Holder, suffix: str) -> Holder:
    """Return the holder that stands for one run or one value."""
    if not suffix:
        return part
    budgets = tuple(
        msgspec.structs.replace(budget, budget_id=budget.budget_id + suffix, holder=budget.holder + suffix)
        for budget in part.budgets
    )
    return msgspec.structs.replace(part, budgets=budgets)


def _claim(holders: Iterable[Holder]) -> Claim:
    """Join what holders say, the nearest first: the key, its parents, then parts from the outermost in."""
    near = list(holders)
    parts = [holder for holder in near if holder.is_part]
    nearest = [*reversed(parts), *(holder for holder in near if not holder.is_part)]

    def first(values: Iterable[object]) -> object | None:
        return next((value for value in values if value is not None), None)

    exhausted, holds = first(holder.exhausted for holder in nearest), first(holder.holds for holder in nearest)
    depths = [holder.depth_max for holder in near if holder.depth_max is not None]
    repeats = [holder.repeats_max for holder in near if holder.repeats_max is not None]
    return Claim(
        tuple(budget for holder in near for budget in holder.budgets),
        next((holder.name for holder in near if holder.frozen), ""),
        exhausted if isinstance(exhausted, Exhausted) else Exhausted.refuse,
        holds if isinstance(holds, Holds) else Holds.strict,
        min(depths, default=None),
        min(repeats, default=None),
    )


class Tree:
    """Hold all holders of a tenant."""

    def __init__(self, holders: Iterable[Holder]) -> None:
        self.holders = {holder.holder_id: holder for holder in holders}

    def path(self, holder_id: str) -> Path:
        """Return the path of a key, by the id of its holder."""
        line = self.line(holder_id)
        within = {holder.holder_id for holder in line}
        parts: list[Holder] = []
        waiting = [holder for holder in self.holders.values() if holder.is_part and holder.holder_id not in within]
        while True:  # parents before their children
            ready = [part for part in waiting if part.parent_id is None or part.parent_id in within]
            if not ready:
                return Path(tuple(line), tuple(parts))
            parts += ready
            within |= {part.holder_id for part in ready}
            waiting = [part for part in waiting if part.holder_id not in within]

    def line(self, holder_id: str) -> list[Holder]:
        """Return a holder and those above it, up to the root."""
        line: list[Holder] = []
        at: str | None = holder_id
        while at is not None and at in self.holders:
            holder = self.holders[at]
            assert holder not in line, f"holder {holder.name} is above itself"
            line.append(holder)
            at = holder.parent_id
        return line

    def below(self, holder_id: str) -> list[Holder]:
        """Return a holder and all below it, each after its parent."""
        found = [self.holders[holder_id]]
        for above in found:
            found += [each for each in self.holders.values() if each.parent_id == above.holder_id]
        return found

    def in_order(self) -> list[Holder]:
        """Return all holders, each after its parent and next to it."""
        found: list[Holder] = []
        waiting = [holder for holder in reversed(self.holders.values()) if holder.parent_id is None]
        while waiting:
            found.append(waiting.pop())
            children = [each for each in self.holders.values() if each.parent_id == found[-1].holder_id]
            waiting += reversed(children)
        return found
