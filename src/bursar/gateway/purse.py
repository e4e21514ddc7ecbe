"""Hold and spend inside leases, and lease more when a slice runs low: the only way to spend."""

import asyncio
import secrets
from collections.abc import Callable, Container, Coroutine
from typing import Any, Final

import structlog

from bursar.budgets.budget import Budget, limit_text
from bursar.core.errors import BooksError, NoMoney, Unavailable
from bursar.core.money import NANO_PER_USD, Money, nano_to_usd
from bursar.core.times import FOREVER_US, SECOND_US, to_datetime
from bursar.gateway.control import Control
from bursar.ledger.lease import HoldStatus, Lease
from bursar.store.leases import Grant, OpenLease, open_lease, return_lease

log = structlog.get_logger()

SLICE_SECONDS: Final = 10
"""A slice lasts about this long at the rate a budget is being spent."""

SLICE_CALLS: Final = 64
"""A first slice covers this many calls like the one that asks."""

LOW_SHARE: Final = 4
"""More is leased in the background once less than one in this many parts of a slice is free."""

IDLE_US: Final = 60 * SECOND_US
"""A lease nobody has used for this long goes back."""

DRY_US: Final = SECOND_US
"""How long a budget with nothing left is not asked again, unless it is announced to have changed."""


ASK_S: Final = 5.0
"""How long a call waits for its budget to be asked."""


class Purse:
    """Hold one budget's leases: that of the current window, and those of past windows whose calls still run."""

    __slots__ = (
        "budget",
        "dry_until_us",
        "end_us",
        "lease",
        "old",
        "slice_nano",
        "spent_before",
        "topping",
        "used_us",
    )

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.lease: Slice | None = None
        self.end_us = 0
        self.old: list[Slice] = []
        self.slice_nano = 0
        self.spent_before: tuple[Money, int] = (0, 0)  # money spent and moment, at the last top-up
        self.dry_until_us = 0
        self.used_us = 0
        self.topping: asyncio.Task[None] | None = None


class Slice(Lease):
    """Be a lease together with the grant it came from, which names its accounts."""

    __slots__ = ("grant",)

    def __init__(self, grant: Grant, available_nano: Money = 0) -> None:
        super().__init__(grant.lease_account, grant.budget_account, available_nano)
        self.grant = grant


class Purses:
    """Hold the purses of all budgets of this gateway."""

    def __init__(self, control: Control, gateway: int, clock_us: Callable[[], int]) -> None:
        self._control = control
        self._gateway = gateway
        self._clock_us = clock_us
        self._purses: dict[str, Purse] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.top_ups = 0

    def try_hold(
        self, budget: Budget, call_id: bytes, amount_nano: Money, now_us: int, expires_us: int
    ) -> Slice | None:
        """Hold money for a call if the lease at hand covers it; None when it has to be asked for more."""
        purse = self._purses.get(budget.budget_id)
        if purse is None or purse.lease is None or now_us >= purse.end_us or purse.budget is not budget:
            return None
        lease = purse.lease
        if lease.hold(call_id, amount_nano, expires_us) is HoldStatus.exceeds_lease:
            return None
        purse.used_us = now_us
        if lease.available_nano * LOW_SHARE < purse.slice_nano and now_us >= purse.dry_until_us:
            self._begin_top_up(purse, amount_nano)
        return lease

    async def hold(self, budget: Budget, call_id: bytes, amount_nano: Money, expires_us: int) -> Slice:
        """Hold money for a call, leasing more where needed.

        Raises `NoMoney` when the budget cannot cover it, `Unavailable` when the database cannot be asked.
        """
        purse = self._purse_of(budget)
        while True:
            now_us = self._clock_us()
            # The budget may have been read again while this call waited: what the purse holds now is in force.
            lease = self.try_hold(purse.budget, call_id, amount_nano, now_us, expires_us)
            if lease is not None:
                return lease
            if purse.lease is not None and now_us < min(purse.dry_until_us, purse.end_us):
                raise self._no_money(purse, amount_nano)
            try:
                await asyncio.wait_for(asyncio.shield(self._begin_top_up(purse, amount_nano)), ASK_S)
            except TimeoutError:
                raise Unavailable("the budget cannot be asked: the database is away", retry_after_s=1) from None

    def changed(self, budget: Budget) -> None:
        """Give back what is free of a budget that has changed, and ask it anew when next needed."""
        purse = self._purses.get(budget.budget_id)
        if purse is not None and purse.budget != budget:
            self._retire(purse)
            purse.budget = budget

    def sweep(self, now_us: int, under_way: Container[bytes] = ()) -> None:
        """Retire the leases of past windows and of idle budgets; expire holds that have outlived their call.

        The calls under way keep theirs, however long they take: what they cost is still to come.
        """
        for purse in self._purses.values():
            if purse.lease is not None:
                for call_id in purse.lease.expire(now_us, under_way):
                    log.error("purse.hold_expired", call=call_id.hex())
                if now_us >= purse.end_us or (not purse.lease.holds and now_us - purse.used_us > IDLE_US):
                    self._retire(purse)
            for lease in purse.old:
                lease.expire(now_us, under_way)
                self._give_back(purse, lease)
            purse.old = [lease for lease in purse.old if lease.holds or lease.available_nano]

    async def close(self) -> None:
        """Give every lease back."""
        for purse in self._purses.values():
            self._retire(purse)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _purse_of(self, budget: Budget) -> Purse:
        purse = self._purses.get(budget.budget_id)
        if purse is None:
            purse = self._purses[budget.budget_id] = Purse(budget)
        elif purse.budget != budget:
            self.changed(budget)
        else:
            purse.budget = budget  # the same, read anew: it is compared by identity
        return purse

    def _begin_top_up(self, purse: Purse, need_nano: Money) -> asyncio.Task[None]:
        """Lease more, once for all who wait."""
        if purse.topping is None:
            purse.topping = self._spawn(self._top_up(purse, need_nano))
            purse.topping.add_done_callback(lambda task: task.cancelled() or task.exception())
        return purse.topping

    async def _top_up(self, purse: Purse, need_nano: Money) -> None:
        budget, transfer_id, at_us = purse.budget, secrets.token_bytes(16), self._clock_us()
        want = self._slice(purse, need_nano, at_us)
        self.top_ups += 1
        try:
            grant = await self._control.run_until_done(
                lambda connection: open_lease(connection, budget, self._gateway, want, transfer_id, at_us)
            )
        except BooksError as error:
            raise Unavailable(f"the budget cannot be asked: {error}", retry_after_s=1) from error
        finally:
            purse.topping = None
        if purse.budget != budget:  # it changed meanwhile: this slice goes back at once
            purse.old.append(Slice(grant, grant.granted_nano))
            return
        if purse.lease is None or purse.lease.budget_account_id != grant.budget_account:
            self._retire(purse)
            purse.lease = Slice(grant)
        purse.lease.grow(grant.granted_nano)
        purse.lease.grant, purse.end_us, purse.slice_nano = grant, grant.end_us, want
        purse.used_us = self._clock_us()
        purse.dry_until_us = purse.used_us + DRY_US if grant.granted_nano < want else 0

    def _slice(self, purse: Purse, need_nano: Money, now_us: int) -> Money:
        """Size a slice by the rate at which the budget is being spent, never below a few calls' worth."""
        spent = purse.lease.spent_nano if purse.lease is not None else 0
        before, then_us = purse.spent_before
        seconds = max(1.0, (now_us - then_us) / SECOND_US) if then_us else 1.0
        purse.spent_before = (spent, now_us)
        by_rate = round(max(0, spent - before) / seconds) * SLICE_SECONDS
        return max(need_nano * SLICE_CALLS, by_rate, NANO_PER_USD // 1_000)

    def _retire(self, purse: Purse) -> None:
        """Put the lease at hand aside: what is free goes back now, the rest when its calls have ended."""
        if purse.lease is not None:
            purse.old.append(purse.lease)
            self._give_back(purse, purse.lease)
        purse.lease = None
        purse.end_us = purse.dry_until_us = 0
        purse.spent_before = (0, 0)

    def _give_back(self, purse: Purse, lease: Slice) -> None:
        amount = lease.shrink()
        if amount:
            self._spawn(self._return(purse.budget.tenant, lease.grant, amount))

    async def _return(self, tenant: int, grant: Grant, amount_nano: Money) -> None:
        transfer_id, at_us = secrets.token_bytes(16), self._clock_us()
        lease = OpenLease(tenant, grant.lease_account, grant.budget_account, amount_nano)
        await self._control.run_until_done(lambda connection: return_lease(connection, lease, transfer_id, at_us))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _no_money(self, purse: Purse, need_nano: Money) -> NoMoney:
        lease, budget = purse.lease, purse.budget
        assert lease is not None
        limit = budget.limit_nano or 0
        spent = limit - lease.grant.left_nano - lease.available_nano - lease.held_nano
        details = {
            "spent_usd": nano_to_usd(spent),
            "held_usd": nano_to_usd(lease.held_nano),
            "limit_usd": nano_to_usd(limit),
            "needed_usd": nano_to_usd(need_nano),
        }
        if purse.end_us < FOREVER_US:
            details["resets_at"] = to_datetime(purse.end_us).isoformat()
        return NoMoney(
            f"this call may cost up to {details['needed_usd']} USD, and the budget of"
            f" {limit_text(limit, budget.window)} USD has {details['spent_usd']} spent and {details['held_usd']} held:"
            " ask for a smaller answer, wait, or raise it",
            details=details,
        )
