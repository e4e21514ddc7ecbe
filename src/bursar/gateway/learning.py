"""Keep a gateway's routes up to date with how models answer, and with how good that turned out to be."""

import asyncio
import contextlib
from typing import Final

from bursar.core.errors import BooksError
from bursar.gateway.calls import Calls
from bursar.gateway.control import Control
from bursar.gateway.routed import Manner, Manners
from bursar.store.outcomes import last_outcome, learned_states, recent_manners

READ_S: Final = 30.0
"""How often it is read again, behind the news of each outcome."""

_PACE_S: Final = 1.0
"""How long news gathers: what is learned is read once for all that came."""

_MOVED: Final = 0.1


class Learning:
    """Read what became of answers, and tell the routes."""

    def __init__(self, control: Control, calls: Calls) -> None:
        self._control = control
        self._calls = calls
        self._news = asyncio.Event()
        self._last = -1
        self._manners: Manners = {}

    def hear(self) -> None:
        """Take note that there is a new outcome."""
        self._news.set()

    async def begin(self) -> None:
        """Read once what there is, so that the first call goes by it too. A database that is away is no hindrance."""
        if self._calls.routing.learns:
            with contextlib.suppress(BooksError):
                await self.look()

    async def run(self) -> None:
        """Keep routes up to date until cancelled. A database that is away leaves them as they are."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), READ_S)
            await asyncio.sleep(_PACE_S)
            self._news.clear()
            await self.begin()

    async def look(self) -> None:
        """Read what there is, and have routes go by it."""
        routing, now_us = self._calls.routing, self._calls.clock_us()
        manners = {
            each.target: Manner(each.output_tokens, each.seconds)
            for each in await self._control.run(lambda connection: recent_manners(connection, now_us))
        }
        if _have_moved(self._manners, manners) or not routing.told:
            # Off the loop: what is promised is calibrated anew, which takes some tens of milliseconds.
            ready = await asyncio.to_thread(routing.ready_by, manners, now_us)
            self._manners = manners
            routing.adopt(manners, ready)
        last = await self._control.run(last_outcome)
        if last != self._last or not routing.corrections:
            states = await self._control.run(learned_states)
            # Of the routes there are now: they may have been made anew meanwhile.
            self._calls.routing.corrections = {name: state.corrections() for name, state in states.items()}
            self._last = last


def _have_moved(before: Manners, after: Manners) -> bool:
    """Tell whether some target answers at another length or pace than it did, by a tenth or more."""
    if before.keys() != after.keys():
        return True

    def moved(old: float, new: float) -> bool:
        return abs(new - old) > _MOVED * old

    return any(
        moved(before[name].output_tokens, each.output_tokens) or moved(before[name].seconds or 0, each.seconds or 0)
        for name, each in after.items()
    )
