"""Watch agent runs: how deep their calls lie below one another, and whether a run goes in circles.

What a run may spend, and how fast, are budgets like any other (`each = "run"`). What is watched here is in memory, by
gateway: a run that is spread over several repeats itself once in each before it is stopped.
"""

from collections import OrderedDict, deque
from typing import Final

RUNS_MAX: Final = 4_096
CALLS_MAX: Final = 512
"""How many of a run's latest calls are known by their depth; the books know it of those before."""
TURNS_MAX: Final = 128
"""How many of a run's latest turns are compared."""


class Run:
    """Hold what is known of one run."""

    __slots__ = ("depths", "turns")

    def __init__(self) -> None:
        self.depths: OrderedDict[str, int] = OrderedDict()  # of its latest calls, by name
        self.turns: deque[bytes] = deque(maxlen=TURNS_MAX)


class Runs:
    """Know the runs that were active last."""

    def __init__(self, runs_max: int = RUNS_MAX) -> None:
        self._runs_max = runs_max
        self._runs: OrderedDict[tuple[str, str], Run] = OrderedDict()

    def find(self, key_id: str, name: str) -> Run:
        """Return a run of a key, beginning it if it is new; the one that was idle for longest is forgotten."""
        run = self._runs.get((key_id, name))
        if run is None:
            run = self._runs[key_id, name] = Run()
            if len(self._runs) > self._runs_max:
                self._runs.popitem(last=False)
        else:
            self._runs.move_to_end((key_id, name))
        return run


def depth_below(run: Run, parent: str, known: int | None = None) -> int | None:
    """Return how deep a call below `parent` lies, 1 for one that has none; None when the parent is not known here.

    `known` is the parent's depth where somebody else knows it.
    """
    if not parent:
        return 1
    above = run.depths.get(parent, known)
    return None if above is None else above + 1


def enter(run: Run, call_name: str, depth: int) -> None:
    """Remember a call's depth for those below it."""
    run.depths[call_name] = depth
    if len(run.depths) > CALLS_MAX:
        run.depths.popitem(last=False)


def times_before(run: Run, turn: bytes) -> int:
    """Return how often a turn has come among the latest ones."""
    return run.turns.count(turn) if turn else 0


def leave(run: Run, turn: bytes) -> None:
    """Remember a turn that was answered; one that failed may be tried again."""
    if turn:
        run.turns.append(turn)
