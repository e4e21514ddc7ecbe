"""Run a fleet: hand each request to a replica, and let all of them work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from bursar.core.errors import ConfigError
from bursar.simulate.engine import Engine
from bursar.simulate.journal import Journal, Timeline, Work
from bursar.simulate.replica import RANK_BITS, Replica
from bursar.simulate.timer import Timer
from bursar.simulate.trace import Trace


class Router(StrEnum):
    """Name the ways to choose a replica."""

    ROUND_ROBIN = "round-robin"  # each in turn
    LEAST_LOAD = "least-load"  # the one with the fewest requests that are not answered
    PREFIX = "prefix"  # the one that read the longest start of this prompt, unless it is far busier; else least load


Choose = Callable[[int, list[int]], int]
"""Choose a replica for a request by its place in the trace and the requests outstanding at each replica."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Hold equal replicas behind a router."""

    engine: Engine
    timer: Timer
    replicas: int = 1
    router: Router = Router.ROUND_ROBIN

    def __post_init__(self) -> None:
        """Refuse a fleet of nothing."""
        if self.replicas < 1:
            raise ConfigError(f"replicas is {self.replicas}; give a whole number of at least 1")


@dataclass(frozen=True, slots=True)
class Run:
    """Hold what became of a trace: each request's times, what each replica did, and when the last was done."""

    trace: Trace
    fleet: Fleet
    journal: Journal
    work: Sequence[Work]
    timelines: Sequence[Timeline]
    end_s: float


def simulate(fleet: Fleet, trace: Trace, *, samples: int = 200) -> Run:
    """Replay a trace. The same fleet and trace always give the same. Raises `ConfigError` for what can never fit."""
    trace.must_fit(fleet.engine)
    journal = Journal(len(trace))
    every_s = trace.span_s / max(samples, 1)
    replicas = [Replica(fleet.engine, fleet.timer, trace, journal, Timeline(every_s)) for _ in range(fleet.replicas)]
    choose, priority = _chooser(fleet, trace), trace.priority
    loads, due_s = [0] * fleet.replicas, [inf] * fleet.replicas
    for index, at_s in enumerate(trace.arrival_s):
        for place, each_s in enumerate(due_s):
            if each_s <= at_s:
                replicas[place].advance(at_s)
                loads[place], due_s[place] = replicas[place].outstanding, replicas[place].due_s
        chosen = choose(index, loads)
        replicas[chosen].advance(at_s)
        replicas[chosen].hand_over((priority[index] << RANK_BITS | index) if priority else index, at_s)
        loads[chosen], due_s[chosen] = replicas[chosen].outstanding, replicas[chosen].due_s
    for each in replicas:
        each.advance(inf)
    end_s = max((each.clock_s for each in replicas), default=0.0)
    return Run(trace, fleet, journal, [each.work for each in replicas], [each.timeline for each in replicas], end_s)


def _chooser(fleet: Fleet, trace: Trace) -> Choose:
    if fleet.router is Router.ROUND_ROBIN:
        return lambda index, loads: index % len(loads)
    if fleet.router is Router.PREFIX and trace.prefix:
        return _by_prefix(trace)
    return lambda _, loads: loads.index(min(loads))


def _by_prefix(trace: Trace) -> Choose:
    """Follow the longest start of a prompt; a replica with twice the least load and more is not asked."""
    where: dict[int, int] = {}

    def choose(index: int, loads: list[int]) -> int:
        pieces = trace.prefix[index]
        limit = 2 * min(loads) + 4
        known = (where[piece] for piece in reversed(pieces) if piece in where)
        chosen = next((each for each in known if loads[each] <= limit), loads.index(min(loads)))
        for piece in pieces:
            where[piece] = chosen
        return chosen

    return choose
