"""Look at open batches from time to time, one gateway at a time, and find those that were lost on the way."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from bursar.core.errors import BadRequest, BooksError, Refusal
from bursar.core.ids import call_name
from bursar.core.times import SECOND_US, from_datetime
from bursar.gateway.batches.ask import Question, ask_whole
from bursar.gateway.batches.ending import WIRES, Ending, headers_of
from bursar.gateway.calls import Calls
from bursar.gateway.control import Control
from bursar.store.batches import Batch, due_batches, end_batch, known_ids, reached
from bursar.wires.batch import State

log = structlog.get_logger()

LOOK_S: Final = 1.0
_AT_ONCE: Final = 8

GIVE_UP_US: Final = 60 * SECOND_US
"""How long after its provider must have answered a batch is looked for there, before what it holds goes back."""


class Poller:
    """Look at the batches that are due."""

    def __init__(self, calls: Calls, control: Control, ending: Ending) -> None:
        self._calls = calls
        self._control = control
        self._ending = ending

    async def run(self) -> None:
        """Look until cancelled. A database that is away is asked again."""
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(BooksError):
                await self.look()

    async def look(self) -> None:
        """Look at what is due now."""
        now_us = self._calls.clock_us()
        for batch in await self._control.run(lambda connection: due_batches(connection, now_us, _AT_ONCE)):
            if batch.provider_id is not None:
                await self._ending.try_look(batch)
            else:
                await self._find(batch, now_us)

    async def _find(self, batch: Batch, now_us: int) -> None:
        """Look at its provider for a batch of which nobody knows whether it was taken there."""
        name = call_name(batch.batch_id)
        try:
            upstream, wire = self._ending.upstream(batch), WIRES[batch.protocol]
            protocol = headers_of(upstream, batch.protocol)
            response = await ask_whole(upstream, Question("GET", wire.list_path(), protocol))
            if response.status >= 300:
                return
            states = wire.states(response.body)
        except (Refusal, BadRequest) as refusal:
            log.warning("batch.not_looked_for", batch=name, reason=refusal.message)
            return
        found = next((each for each in states if each.own_name == name), None)
        if found is not None:
            log.info("batch.found", batch=name, provider=batch.provider)
            await self._control.run(lambda connection: reached(connection, batch, found.provider_id, now_us))
            return
        wait_s = upstream.pool.timeouts.connect_s + upstream.pool.timeouts.first_byte_s
        if now_us - batch.opened_us <= wait_s * SECOND_US + GIVE_UP_US:
            return
        if await self._may_be_there(batch, states, wait_s):
            log.warning("batch.not_told_apart", batch=name, provider=batch.provider)
            await self._ending.charge_held(batch)
        else:
            log.warning("batch.given_up", batch=name, provider=batch.provider)
            await self._control.run(lambda connection: end_batch(connection, batch, None, (), now_us))

    async def _may_be_there(self, batch: Batch, states: Sequence[State], wait_s: float) -> bool:
        """Tell whether its provider has a batch that may be this one, which bears no name: by its size and its time.

        It is nobody's to see then: another's batch may be alike.
        """
        alike = [
            each.provider_id
            for each in states
            if each.request_count == batch.request_count and _was_made(each, batch.opened_us, wait_s)
        ]
        known = await self._control.run(lambda connection: known_ids(connection, batch, alike))
        return any(each not in known for each in alike)


def _was_made(state: State, opened_us: int, wait_s: float) -> bool:
    """Tell whether a batch was made while we waited for an answer, as far as clocks agree."""
    if not state.created:
        return False
    made_us = from_datetime(datetime.fromisoformat(state.created))
    return opened_us - GIVE_UP_US <= made_us <= opened_us + wait_s * SECOND_US + GIVE_UP_US
