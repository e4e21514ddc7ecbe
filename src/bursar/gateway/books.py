"""Be the gateway's hand in the books: hold before a call, settle after it, wait for the commit where asked to."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeVar

from bursar.budgets.budget import Budget
from bursar.core.errors import BooksError, Unavailable
from bursar.core.records import Attempt, AttemptStatus, CallStatus, Record
from bursar.gateway.config import Settings
from bursar.gateway.control import Control
from bursar.gateway.purse import Purses
from bursar.gateway.routes import Candidate
from bursar.gateway.settle import Passage, Settler
from bursar.store.journal import Journal
from bursar.store.leases import payable_account
from bursar.store.spool import Spool, SpoolFull

T = TypeVar("T")

_CARRY_AFTER: Final = 16
"""Segments after which a call still under way is written down again, so that the spool behind it can go."""

_CONFIRM_S: Final = 30.0
"""How long an answer waits for its commit in strict mode."""


class GatewayBooks:
    """Join purses, spool and journal for the calls of one worker."""

    def __init__(
        self, settings: Settings, control: Control, journal: Journal, spool: Spool, clock_us: Callable[[], int]
    ) -> None:
        assert control.place is not None
        self.clock_us = clock_us
        self._settings = settings
        self._control = control
        self._journal = journal
        self._spool = spool
        self._strict = settings.durability == "strict"
        self._gateway_id = control.place.gateway_id
        self._payables: dict[tuple[str, str], int] = {}
        self.purses = Purses(control, self._gateway_id, clock_us)
        self.settler = Settler(self.purses, spool, settings.indeterminate, clock_us)
        self.under_way: dict[bytes, tuple[Passage, Candidate]] = {}

    async def hold(self, passage: Passage, budget: Budget, candidates: Sequence[Candidate]) -> None:
        """Hold what a call may cost and write down that it begins.

        Raises `NoMoney`, or `Unavailable` when the books cannot take it; then nothing is held.
        """
        if self._strict and self._journal.away:
            raise Unavailable("the books cannot be reached, and this gateway is strict: try again")
        call, amount = passage.call, passage.quote_nano
        for candidate in reversed(candidates):  # the first one's last
            passage.payable_account = await self._payable(call.tenant, candidate.upstream.name)
        purses, call_id = self.purses, call.call_id
        spot = purses.try_hold(budget, call_id, amount, call.opened_us, passage.expires_us)
        passage.spot = spot or await purses.hold(budget, call_id, amount, passage.expires_us)
        passage.held_nano = amount
        try:
            self.settler.begin(passage, candidates[0])
        except SpoolFull as error:
            purses.settle(passage.spot, call_id, 0)
            raise Unavailable(f"the books cannot take more calls: {error}") from error
        passage.segment = self._spool.end.segment
        self.under_way[call_id] = (passage, candidates[0])
        self._journal.wake()

    def settle(self, passage: Passage) -> Record:
        """Post a call's cost and write its record down: from here on it is charged, whatever happens."""
        tenant = passage.call.tenant
        record = self.settler.settle(passage, lambda provider: self._payables[tenant, provider])
        passage.record = record
        self.under_way.pop(passage.call.call_id, None)
        self._journal.wake()
        return record

    def abandon(self, passage: Passage) -> None:
        """Settle a call that went wrong in a way nobody foresaw, by policy."""
        if passage.record is not None or passage.call.call_id not in self.under_way:
            return
        candidate = self.under_way[passage.call.call_id][1]
        now_us = self.clock_us()
        base = Attempt(
            provider=candidate.upstream.name,
            model=candidate.model,
            status=AttemptStatus.lost,
            http_status=0,
            started_us=passage.call.opened_us,
            first_byte_us=0,
            ended_us=now_us,
            error="abandoned by the gateway",
        )
        passage.attempts.append(self.settler.price_unknown(passage, candidate, base))
        passage.status = CallStatus.indeterminate
        self.settle(passage)

    async def confirm(self) -> None:
        """Wait until what was settled is as durable as the configuration asks.

        Raises `Unavailable` when a strict commit does not come in time; the settlement stays written down.
        """
        if self._strict:
            try:
                await asyncio.wait_for(self._journal.committed(), _CONFIRM_S)
            except TimeoutError:
                raise Unavailable("the call was made and charged, but the books have not confirmed it in time") from None

    def sweep(self, now_us: int) -> None:
        """Do what time demands: expire, retire, and carry the oldest calls forward in the spool."""
        self.purses.sweep(now_us)
        newest = self._spool.end.segment
        for passage, candidate in self.under_way.values():
            if passage.segment < newest - _CARRY_AFTER:
                self.settler.begin(passage, candidate)
                passage.segment = newest
        self._journal.wake()

    def drive(self, flow: Generator[Any, Any, T]) -> T:
        """Run a flow that asks for nothing, as the plan does while it has no levers."""
        try:
            wish = next(flow)
        except StopIteration as end:
            return end.value
        raise TypeError(f"nobody here answers the wish {type(wish).__name__}")

    async def _payable(self, tenant: str, provider: str) -> int:
        account = self._payables.get((tenant, provider))
        if account is None:
            now_us, gateway_id = self.clock_us(), self._gateway_id
            try:
                account = await self._control.run(
                    lambda connection: payable_account(connection, tenant, provider, gateway_id, now_us)
                )
            except BooksError as error:
                raise Unavailable(f"the books cannot be reached: {error}") from error
            self._payables[tenant, provider] = account
        return account
