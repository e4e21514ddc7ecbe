"""Remember how a target has been doing: a circuit breaker, and the rest a provider asks for. No clock of its own.

    closed ──five failures in a row, or half of ten within 10 s──▶ open ──its time is over──▶ half open
      ▲                                                             ▲                           │
      └──────────────────────── an answer ──────────────────────────┼───────────────────────────┤
                                                                    └──── a failure: longer ────┘

While it is open a target is skipped where there is another; half open, one call at a time finds out.
"""

from enum import Enum
from typing import Final

from bursar.core.times import SECOND_US

ROW_MAX: Final = 5
"""Failures in a row that open it."""

WINDOW_US: Final = 10 * SECOND_US
WINDOW_MIN: Final = 10
"""Attempts within a window of which half must have failed to open it."""

OPEN_US: Final = 5 * SECOND_US
OPEN_MAX_US: Final = 120 * SECOND_US
"""How long it is open at first, and at most: twice as long each time it opens again within `CALM_US`."""

KEY_OPEN_US: Final = 60 * SECOND_US
KEY_OPEN_MAX_US: Final = 600 * SECOND_US
"""The same where the provider refuses our own key: that takes a person."""

CALM_US: Final = 60 * SECOND_US
PROBE_US: Final = 30 * SECOND_US
"""How long the one call that finds out may take before another may."""

REST_US: Final = SECOND_US
"""How long a target rests after a 429 that does not say."""


class State(Enum):
    """Say whether calls go to a target."""

    closed = "closed"
    open = "open"
    half_open = "half open"


class Health:
    """Hold how one target has been doing."""

    __slots__ = (
        "_calm_at_us",
        "_failed",
        "_open_until_us",
        "_opened",
        "_probe_until_us",
        "_rest_until_us",
        "_row",
        "_seen",
        "_window_us",
        "strayed",
        "trips",
        "troubled",
        "why",
    )

    def __init__(self) -> None:
        self.troubled = False  # there is something to remember: answers are to be told as well
        self.why = ""  # the last failure
        self.trips = 0  # times it has opened, until they are counted
        self.strayed = 0  # calls that belong here by affinity and went elsewhere, until they are counted
        self._row = 0
        self._window_us = self._seen = self._failed = 0
        self._open_until_us = self._rest_until_us = self._probe_until_us = 0
        self._opened = 0  # times, since it was last calm
        self._calm_at_us = 0

    def state(self, now_us: int) -> State:
        """Return the breaker's state."""
        if not self._open_until_us:
            return State.closed
        return State.open if now_us < self._open_until_us else State.half_open

    def ready(self, now_us: int) -> bool:
        """Tell whether a call may go here while there are others."""
        if not self.troubled:
            return True
        return now_us >= max(self._open_until_us, self._rest_until_us, self._probe_until_us)

    @property
    def ready_at_us(self) -> int:
        """Return from when on a call may go here."""
        return max(self._open_until_us, self._rest_until_us)

    def rests(self, now_us: int) -> bool:
        """Tell whether the provider has asked for a rest that is not over."""
        return now_us < self._rest_until_us

    def begin(self, now_us: int) -> None:
        """Note that a call is about to go here: while it is half open, no other does."""
        if self._open_until_us and now_us >= self._open_until_us:
            self._probe_until_us = now_us + PROBE_US

    def answered(self, now_us: int) -> None:
        """Note an answer, be it a refusal of what was asked: the target is there."""
        if self._open_until_us:
            self._open_until_us, self._calm_at_us = 0, now_us + CALM_US
        self._row = self._probe_until_us = 0
        self._count(now_us, failed=0)
        self.troubled = now_us < max(self._window_us + WINDOW_US, self._calm_at_us, self._rest_until_us)

    def failed(self, now_us: int, why: str) -> None:
        """Note an attempt that came to nothing: the target is not there, or not well."""
        self.why, self.troubled = why, True
        self._row += 1
        self._count(now_us, failed=1)
        state = self.state(now_us)
        often = self._seen >= WINDOW_MIN and 2 * self._failed >= self._seen
        if state is State.half_open or (state is State.closed and (self._row >= ROW_MAX or often)):
            self._open(now_us, OPEN_US, OPEN_MAX_US)

    def refused_key(self, now_us: int, why: str) -> None:
        """Note that the provider refuses our own key: it will do so again."""
        self.why, self.troubled = why, True
        if self.state(now_us) is not State.open:
            self._open(now_us, KEY_OPEN_US, KEY_OPEN_MAX_US)

    def throttled(self, now_us: int, wait_us: int | None) -> None:
        """Note that the provider has asked for a rest."""
        self.answered(now_us)
        self.why, self.troubled = "429", True
        self._rest_until_us = max(self._rest_until_us, now_us + (REST_US if wait_us is None else wait_us))

    def _count(self, now_us: int, *, failed: int) -> None:
        if now_us >= self._window_us + WINDOW_US:
            self._window_us, self._seen, self._failed = now_us, 0, 0
        self._seen += 1
        self._failed += failed

    def _open(self, now_us: int, first_us: int, most_us: int) -> None:
        if self.state(now_us) is State.closed and now_us >= self._calm_at_us:
            self._opened = 0
        self._open_until_us = now_us + min(first_us << min(self._opened, 10), most_us)
        self._opened += 1
        self.trips += 1
        self._row = self._seen = self._failed = self._probe_until_us = 0
