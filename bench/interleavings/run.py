"""Run many worlds, on all cores, and say which invariant broke first where one did."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import msgspec

from bench.interleavings.planted import planted
from bench.interleavings.steps import run_schedule
from bench.interleavings.world import SCHEDULES, Parts, World

_CHUNK = 250


class Outcome(msgspec.Struct, frozen=True):
    """Count what was run, and name the seeds of worlds in which something broke, with what it was."""

    interleavings: int = 0
    steps: int = 0
    calls: int = 0
    broken: tuple[tuple[int, str], ...] = ()

    def plus(self, other: "Outcome") -> "Outcome":
        """Add another's counts."""
        interleavings, steps = self.interleavings + other.interleavings, self.steps + other.steps
        return Outcome(interleavings, steps, self.calls + other.calls, self.broken + other.broken)


def run_world(seed: int, parts: Parts | None = None, say: Callable[[str], None] | None = None) -> Outcome:
    """Let one world live through its schedules. Whatever it raises is what broke."""
    world, run, broken = World(seed, parts, say), 0, ()
    try:
        for number in range(1, SCHEDULES + 1):
            if say is not None:
                say(f"schedule {number} of world {seed}")
            run += 1
            run_schedule(world)
        world.oracle.check_books()
    except Exception as error:  # noqa: BLE001 - of any kind: the code under test has no reason to raise
        broken = ((seed, f"{type(error).__name__}: {error}"),)
        if say is not None:
            say(broken[0][1])
    return Outcome(run, world.steps, world.oracle.calls, broken)


def run_worlds(seeds: range, parts: Parts | None = None) -> Outcome:
    """Run worlds one after the other."""
    total = Outcome()
    for seed in seeds:
        total = total.plus(run_world(seed, parts))
    return total


def run_all(first: int, count: int, processes: int = 2) -> Outcome:
    """Run at least so many interleavings from a seed on, on several cores."""
    last = first + -(-count // SCHEDULES)
    chunks = [range(at, min(at + _CHUNK, last)) for at in range(first, last, _CHUNK)]
    total = Outcome()
    with ProcessPoolExecutor(processes) as pool:
        for outcome in pool.map(run_worlds, chunks):
            total = total.plus(outcome)
    return total


def find(bug: str, first: int, interleavings_max: int) -> Outcome:
    """Plant a bug and run worlds until something breaks, or so many interleavings have found nothing."""
    total, seed = Outcome(), first
    with planted(bug) as parts:
        while not total.broken and total.interleavings < interleavings_max:
            total = total.plus(run_world(seed, parts))
            seed += 1
    return total
