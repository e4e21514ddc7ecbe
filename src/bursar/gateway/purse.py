"""Hold and spend inside leases, and lease more when a slice runs low: the only way to spend.

A call counts against several budgets: its key's, those of whoever the key is of, limits on requests and tokens. It
holds in all of them or in none. Purses decide (`budgets.purse`); this is their driver, which asks the database.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Container, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import structlog

from bursar.budgets.budget import UNIT_WORDS, Budget, amount_text, base_id, limit_text, overdraft_line
from bursar.budgets.purse import Purse, Return, hold_in_all, raise_in_all
from bursar.core.errors import BooksError, NoMoney, Refusal, TooMany, Unavailable
from bursar.core.money import Money
from bursar.core.times import FOREVER_US, SECOND_US, to_datetime
from bursar.gateway.control import Control
from bursar.ledger.chart import OVERDRAFT, Unit
from bursar.ledger.lease import Slice
from bursar.store.leases import OpenLease, open_lease, return_lease

log = structlog.get_logger()

ASK_S: Final = 5.0
"""How long a call waits for its budgets to be asked."""

RECALL_S: Final = (0.02, 0.06, 0.15)
"""How long a call waits, time after time, for what other gateways have free to come back."""

Amounts = Sequence[Money]
"""What a call holds of each of its budgets, in their units."""


class Purses:
    """Hold the purses of all budgets of this gateway."""

    def __init__(
        self,
        control: Control,
        gateway: int,
        clock_us: Callable[[], int],
        booked: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._control = control
        self._booked = booked  # waits until the books have what is written down so far
        self._gateway = gateway
        self._clock_us = clock_us
        self._purses: dict[str, Purse] = {}
        self._topping: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.top_ups = 0

    def try_hold(
        self, budgets: Sequence[Budget], call_id: bytes, amounts: Amounts, now_us: int, expires_us: int
    ) -> list[Slice] | None:
        """Hold an amount of each budget if the leases at hand cover them all; None when more has to be asked for."""
        held = hold_in_all(self._purses, budgets, call_id, amounts, now_us, expires_us)
        if held is None:
            return None
        slices, low = held
        for purse, amount in low:
            self._begin_top_up(purse, amount)
        return slices

    async def hold(self, budgets: Sequence[Budget], call_id: bytes, amounts: Amounts, expires_us: int) -> list[Slice]:
        """Hold an amount of each budget, leasing more where needed.

        Raises `NoMoney` or `TooMany` when one of them cannot cover it, `Unavailable` when the database cannot be asked.
        """
        waits = iter(RECALL_S)
        while True:
            now_us = self._clock_us()
            slices = self.try_hold(budgets, call_id, amounts, now_us, expires_us)
            if slices is not None:
                return slices
            await self._lease_more(list(self._short(budgets, amounts, now_us)), now_us, waits)

    async def raise_hold(
        self, budgets: Sequence[Budget], slices: Sequence[Slice], call_id: bytes, amounts: Amounts
    ) -> None:
        """Raise what a call holds of each budget, in the leases it holds in, leasing more where needed.

        Raises `NoMoney` or `TooMany` when one of them cannot cover it, `Unavailable` when the database cannot be asked
        or a budget has begun another window or other terms since. Then what is held stays as it was.
        """
        waits = iter(RECALL_S)
        while not raise_in_all(slices, call_id, amounts):
            now_us, short = self._clock_us(), list[tuple[Purse, Money]]()
            for budget, lease, amount in zip(budgets, slices, amounts, strict=True):
                purse = self._purses.get(budget.budget_id)
                if lease.available_nano >= amount:
                    continue
                if purse is None or purse.lease is not lease or now_us >= purse.end_us:
                    raise Unavailable("its budget has changed while the call was under way", code="hold_not_raised")
                short.append((purse, amount))
            await self._lease_more(short, now_us, waits)

    async def _lease_more(self, short: list[tuple[Purse, Money]], now_us: int, waits: Iterator[float]) -> None:
        """Lease more of budgets, once for all who wait. Raises a `Refusal` where one has no more."""
        dry = [(purse, need) for purse, need in short if purse.is_dry(now_us)]
        if dry:
            pause = next(waits, None)
            if pause is None or not all(_is_elsewhere(purse, need) for purse, need in dry):
                raise refusal_of(dry)
            await asyncio.sleep(pause)  # others were told that it is wanted
        asked = [self._begin_top_up(purse, need) for purse, need in short]
        answered, unanswered = await asyncio.wait(asked, timeout=ASK_S)
        for task in answered:
            task.result()
        if unanswered:
            raise Unavailable("the budget cannot be asked: the database is away", retry_after_s=1)

    def _short(self, budgets: Sequence[Budget], amounts: Amounts, now_us: int) -> Iterable[tuple[Purse, Money]]:
        """Name the purses that do not cover their part, and what that is."""
        for budget, amount in zip(budgets, amounts, strict=True):
            purse = self._purses.get(budget.budget_id)
            if purse is None:
                purse = self._purses[budget.budget_id] = Purse(budget)
            if not purse.covers(amount, now_us):
                yield purse, amount

    def changed(self, budget: Budget) -> None:
        """Put aside what was leased under other terms, of this budget and of all runs and values it stands for.

        The overdraft lines behind them follow.
        """
        base, line_terms = base_id(budget.budget_id), overdraft_line(budget).terms
        for purse in self._purses.values():
            known = purse.budget
            if base_id(known.budget_id) == base:
                terms = line_terms if known.budget_id.endswith(OVERDRAFT) else budget.terms
                purse.changed(msgspec.structs.replace(known, terms=terms))
                self._return_all(purse)

    def recall(self, budget_id: str) -> None:
        """Give back what is free of a budget that another gateway is short of, or that has changed at the database."""
        purse = self._purses.get(budget_id)
        if purse is not None and budget_id not in self._topping:
            purse.recall()
            self._return_all(purse)

    def sweep(self, now_us: int, under_way: Container[bytes] = ()) -> None:
        """Retire the leases of past windows and of idle budgets; expire holds that have outlived their call."""
        for name, purse in list(self._purses.items()):
            for call_id in purse.sweep(now_us, under_way):
                log.error("purse.hold_expired", call=call_id.hex())
            self._return_all(purse)
            if purse.is_empty and name not in self._topping:
                del self._purses[name]

    def standing(self) -> tuple[Money, Money]:
        """Return what is free in leases of money and what is held in them, over all budgets."""
        money = [purse for purse in self._purses.values() if purse.budget.terms.unit is Unit.usd]
        leases = [lease for purse in money for lease in (purse.lease, *purse.old) if lease is not None]
        return sum(lease.available_nano for lease in leases), sum(lease.held_nano for lease in leases)

    async def close(self) -> None:
        """Give every lease back, those that are still being asked for included."""
        while True:
            for purse in self._purses.values():
                purse.retire()
                self._return_all(purse)
            if not self._tasks:
                return
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin_top_up(self, purse: Purse, need_nano: Money) -> asyncio.Task[None]:
        """Lease more, once for all who wait."""
        name = purse.budget.budget_id
        task = self._topping.get(name)
        if task is None:
            task = self._topping[name] = self._spawn(self._top_up(purse, need_nano))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    async def _top_up(self, purse: Purse, need_nano: Money) -> None:
        transfer_id, at_us = secrets.token_bytes(16), self._clock_us()
        ask = purse.ask(need_nano, at_us)
        self.top_ups += 1
        try:
            grant = await self._control.run_until_done(
                lambda connection: open_lease(connection, ask, self._gateway, transfer_id, at_us)
            )
        except BooksError as error:
            raise Unavailable(f"the budget cannot be asked: {error}", retry_after_s=1) from error
        finally:
            del self._topping[ask.budget.budget_id]
        purse.granted(ask, grant, self._clock_us())
        self._return_all(purse)

    def _return_all(self, purse: Purse) -> None:
        for each in purse.take_returns():
            self._spawn(self._return(each))

    async def _return(self, each: Return) -> None:
        """Return part of a lease, once the books know of the calls that have released it: until then it is held."""
        if self._booked is not None:
            await self._booked()
        transfer_id, at_us, grant = secrets.token_bytes(16), self._clock_us(), each.grant
        lease = OpenLease(each.tenant, grant.lease_account, grant.budget_account, each.amount_nano, unit=grant.unit)
        await self._control.run_until_done(lambda connection: return_lease(connection, lease, transfer_id, at_us))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_elsewhere(purse: Purse, need_nano: Money) -> bool:
    """Tell whether other gateways have enough of what is missing here."""
    lease = purse.lease
    return lease is not None and lease.available_nano + lease.grant.elsewhere_nano >= need_nano


def headroom(purse: Purse) -> Money:
    """Return what a budget still has for this gateway."""
    lease = purse.lease
    return lease.grant.left_nano + lease.available_nano if lease is not None else 0


def refusal_of(short: Sequence[tuple[Purse, Money]]) -> Refusal:
    """Refuse for the budget with the least room, by the share of it that is needed; money comes before counts."""
    money = [each for each in short if each[0].budget.terms.unit is Unit.usd]
    purse, need = min(money or short, key=lambda each: headroom(each[0]) - each[1])
    terms, lease = purse.budget.terms, purse.lease
    assert lease is not None
    whose = f" of {purse.budget.holder}" if purse.budget.holder else ""
    resets = to_datetime(purse.end_us).isoformat() if purse.end_us < FOREVER_US else ""
    most, unit = terms.most_nano or 0, terms.unit
    spent = max(0, most - lease.grant.left_nano - lease.available_nano - lease.held_nano)
    numbers = {"spent": spent, "held": lease.held_nano, "limit": most, "needed": need}
    if unit is not Unit.usd:
        details = {name: amount_text(amount, unit) for name, amount in numbers.items()}
        details |= {"unit": UNIT_WORDS[unit], "budget": purse.budget.holder} | ({"resets_at": resets} if resets else {})
        wait = max(1, -(-(purse.end_us - lease.grant.asked_us) // SECOND_US)) if resets else 1
        return TooMany(
            f"the limit{whose} of {limit_text(terms)} is reached: {details['spent']} used, {details['held']} held,"
            f" {details['needed']} needed",
            code="rate_limit_exceeded",
            retry_after_s=wait,
            details=details,
        )
    details = {f"{name}_usd": amount_text(amount, unit) for name, amount in numbers.items()}
    details |= {"budget": purse.budget.holder} | ({"resets_at": resets} if resets else {})
    refusal = NoMoney(
        f"this call may cost up to {details['needed_usd']} USD, and the budget{whose} of {limit_text(terms)} USD"
        f" has {details['spent_usd']} spent and {details['held_usd']} held:"
        " ask for a smaller answer, wait, or raise it",
        details=details,
    )
    refusal.headroom_nano = max(0, headroom(purse))
    return refusal
