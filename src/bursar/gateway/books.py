"""Be the gateway's hand in the books: hold before a call, settle after it, wait for the commit where asked to."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bursar.budgets.settlement import Holding, Wish, debts_of
from bursar.core.errors import BooksError, Conflict, Unavailable
from bursar.core.ids import call_name
from bursar.core.records import Attempt, AttemptStatus, CallStatus, Record
from bursar.gateway.config import Settings
from bursar.gateway.control import Control
from bursar.gateway.idempotency import answer_gone, used_with_another_body
from bursar.gateway.passage import Passage
from bursar.gateway.purse import Purses
from bursar.gateway.routed import saved_by
from bursar.gateway.routes import Candidate
from bursar.gateway.settle import Settler
from bursar.ledger.lease import Slice
from bursar.savings.proof import Arm
from bursar.store.claims import Claim, claim, give_up
from bursar.store.journal import Journal
from bursar.store.leases import payable_account
from bursar.store.spool import Spool, SpoolFull

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
        self.control = control
        self._journal = journal
        self._spool = spool
        self.strict = settings.durability == "strict"
        self._gateway = control.place.gateway
        self._payables: dict[tuple[int, str], int] = {}
        self.purses = Purses(control, self._gateway, clock_us, self._booked)
        self.settler = Settler(spool, settings.indeterminate, clock_us)
        self.under_way: dict[bytes, Passage] = {}

    def try_hold(self, passage: Passage, wish: Wish) -> bool:
        """Hold what a call may use if the leases at hand cover it, and write down that it begins.

        Raises `Unavailable` when the books cannot take it; then nothing is held.
        """
        if self.strict and self._journal.away:
            raise Unavailable("the books cannot be reached, and this gateway is strict: try again")
        call = passage.call
        for candidate in passage.plan.candidates:
            if (call.tenant, candidate.upstream.name) not in self._payables:
                return False
        expires_us = passage.expires_us
        slices = self.purses.try_hold(wish.budgets, call.call_id, wish.amounts, call.opened_us, expires_us)
        if slices is None:
            return False
        self._begin(passage, wish, slices)
        return True

    async def hold(self, passage: Passage, wish: Wish) -> None:
        """Hold what a call may use, asking its budgets for more.

        Raises `NoMoney` or `TooMany`, or `Unavailable` when the books cannot take it; then nothing is held.
        """
        call = passage.call
        for candidate in passage.plan.candidates:
            await self.payable(call.tenant, candidate.upstream.name)
        slices = await self.purses.hold(wish.budgets, call.call_id, wish.amounts, passage.expires_us)
        self._begin(passage, wish, slices)

    def _begin(self, passage: Passage, wish: Wish, slices: Sequence[Slice]) -> None:
        candidate, call = passage.plan.candidates[0], passage.call
        passage.payable_account = self._payables[call.tenant, candidate.upstream.name]
        passage.holding, passage.held_nano = Holding(wish, slices), wish.amounts[0]
        try:
            self.settler.begin(passage, candidate)
        except SpoolFull as error:
            for lease in slices:
                lease.release(call.call_id)
            raise Unavailable(f"the books cannot take more calls: {error}") from error
        passage.segment = self._spool.segment
        self.under_way[call.call_id] = passage

    async def raise_hold(self, passage: Passage, wish: Wish, candidate: Candidate, pending: Sequence[Attempt]) -> None:
        """Raise what a call holds to a wish of the same budgets, and write down that it may go on at a candidate.

        `pending` are priced attempts that are not among the call's own yet. Raises `NoMoney`, `TooMany` or
        `Unavailable`; then what is held stays as it was.
        """
        call, holding = passage.call, passage.holding
        more = [max(0, wanted - held) for wanted, held in zip(wish.amounts, holding.wish.amounts, strict=True)]
        await self.purses.raise_hold(wish.budgets, holding.slices, call.call_id, more)
        amounts = [held + extra for held, extra in zip(holding.wish.amounts, more, strict=True)]
        held_nano = passage.held_nano
        passage.holding = Holding(msgspec.structs.replace(wish, amounts=amounts), holding.slices)
        passage.held_nano = amounts[0]
        try:
            self._announce(passage, candidate, pending)
        except SpoolFull as error:
            for lease, extra in zip(holding.slices, more, strict=True):
                lease.raise_hold(call.call_id, -extra)
            passage.holding, passage.held_nano = holding, held_nano
            raise Unavailable(f"the books cannot take more calls: {error}") from error

    def goes_on(self, passage: Passage, candidate: Candidate) -> None:
        """Write down that a call goes on at another provider, which may bill it from now on."""
        with contextlib.suppress(SpoolFull):  # then, after a crash, the one before is owed what this one bills
            self._announce(passage, candidate)

    def _announce(self, passage: Passage, candidate: Candidate, pending: Sequence[Attempt] = ()) -> None:
        """Write down again where a call is and what it holds. Raises `SpoolFull`."""
        earlier = (*passage.attempts, *pending)
        spent, tenant = sum(attempt.cost_nano for attempt in earlier), passage.call.tenant
        owed = debts_of(earlier, spent, tenant, self._payables) if spent else ()
        account = self._payables[tenant, candidate.upstream.name]
        self.settler.begin(passage, candidate, account, earlier, owed)
        passage.segment = self._spool.segment

    def settle(self, passage: Passage) -> Record:
        """Post a call's cost and write its record down: from here on it is charged, whatever happens."""
        routed = passage.routed
        if routed is not None and routed.arm != Arm.holdout:
            output_cap = passage.plan.output_cap * passage.facts.choices
            passage.saved_nano += saved_by(routed, passage.attempts, passage.call.opened_us, output_cap)
        record = self.settler.settle(passage, self._payables)
        passage.record = record
        self.under_way.pop(passage.call.call_id, None)
        self._journal.wake()
        return record

    def abandon(self, passage: Passage) -> None:
        """Settle a call that went wrong in a way nobody foresaw, by policy."""
        if passage.record is not None or passage.call.call_id not in self.under_way:
            return
        candidate, now_us = passage.asked or passage.plan.candidates[0], self.clock_us()
        attempt = Attempt(
            provider=candidate.upstream.name,
            model=candidate.model,
            status=AttemptStatus.lost,
            http_status=0,
            started_us=passage.attempts[-1].ended_us if passage.attempts else passage.call.opened_us,
            first_byte_us=0,
            ended_us=now_us,
            error="abandoned by the gateway",
        )
        passage.attempts.append(self.settler.price_unknown(passage, candidate, attempt))
        passage.status = CallStatus.indeterminate
        self.settle(passage)

    async def confirm(self) -> None:
        """Wait until what was settled is as durable as the configuration asks.

        Raises `Unavailable` when a strict commit does not come in time; the settlement stays written down.
        """
        if self.strict:
            try:
                await asyncio.wait_for(self._journal.committed(), _CONFIRM_S)
            except TimeoutError:
                raise Unavailable(
                    "the call was made and charged, but the books have not confirmed it in time"
                ) from None

    async def _booked(self) -> None:
        """Wait until the books have everything that is written down so far."""
        if not self._journal.is_level:
            await self._journal.committed()

    async def claim(self, wanted: Claim) -> None:
        """Claim an Idempotency-Key, whichever gateway it comes to.

        Raises `Conflict` when another call has it, `Unavailable` when the database cannot be asked.
        """
        now_us = self.clock_us()
        try:
            other = await self.control.run(lambda connection: claim(connection, wanted, now_us))
        except BooksError as error:
            raise Unavailable(f"the Idempotency-Key cannot be checked: {error}", retry_after_s=1) from error
        if other is None:
            return
        if other.body_sha256 != wanted.body_sha256:
            raise used_with_another_body()
        if other.made:
            raise answer_gone(other.call_id)
        raise Conflict(
            f"{call_name(other.call_id)} is being made under this Idempotency-Key by another gateway: try again",
            code="idempotency_call_under_way",
            param="Idempotency-Key",
            retry_after_s=1,
        )

    async def give_up(self, claimed: Claim) -> None:
        """Give an Idempotency-Key up whose call was not charged, if the database can be told."""
        with contextlib.suppress(BooksError):  # it is given up in an hour by itself
            await self.control.run(lambda connection: give_up(connection, claimed))

    def sweep(self, now_us: int) -> None:
        """Do what time demands: expire, retire, and carry the oldest calls forward in the spool."""
        self.purses.sweep(now_us, self.under_way)
        newest = self._spool.segment
        with contextlib.suppress(SpoolFull):  # then its segments stay until the books have taken what is in them
            for passage in self.under_way.values():
                if passage.segment < newest - _CARRY_AFTER:
                    self._announce(passage, passage.asked or passage.plan.candidates[0])
        self._journal.wake()

    async def payable(self, tenant: int, provider: str) -> int:
        """Find the account of what is owed to a provider, opening it at its first use. Raises `Unavailable`."""
        account = self._payables.get((tenant, provider))
        if account is None:
            now_us, gateway = self.clock_us(), self._gateway
            try:
                account = await self.control.run(
                    lambda connection: payable_account(connection, tenant, provider, gateway, now_us)
                )
            except BooksError as error:
                raise Unavailable(f"the books cannot be reached: {error}") from error
            self._payables[tenant, provider] = account
        return account
