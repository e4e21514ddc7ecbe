"""Be one gateway of a simulated world: shipped purses, leases, settlements and journal groups over simulated I/O."""

from collections.abc import Generator, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import msgspec

from bench.interleavings.database import TENANT, Database, Fenced, Refused, Violation
from bursar.budgets.budget import Budget, Terms, base_id
from bursar.budgets.purse import Ask, Purse, Return, hold_in_all
from bursar.budgets.settlement import Ended, Holding, Wish, settle_call, settle_lost, shares_held
from bursar.budgets.slices import id_of
from bursar.budgets.tree import Claim
from bursar.core import records
from bursar.core.ids import IdSource, call_of_transfer
from bursar.core.money import Money
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Segments, UsageSource
from bursar.core.times import SECOND_US
from bursar.core.usage import Usage
from bursar.ledger.chart import OVERDRAFT, Code, Unit, payable_name
from bursar.ledger.following import Postings, UnderWay, calls_without_end, lease_needs
from bursar.ledger.journal import Closed, Entry, Intent, Settled
from bursar.ledger.lease import Grant, Slice
from bursar.ledger.transfer import Reason

EXPIRES_US = 60 * SECOND_US
PROVIDERS = ("north", "south")
_SEGMENTS = Segments()


class Watcher(Protocol):
    """Be told what gateways do, by whoever knows what must hold."""

    def begun(self, flight: "Flight") -> None:
        """Take in that a call holds."""

    def ended(self, flight: "Flight", settled: Settled) -> None:
        """Take in that a call was settled."""

    def released(self, flight: "Flight") -> None:
        """Take in that a hold is over without a call."""

    def died(self, gateway: "Gateway", lost: Sequence[Entry]) -> None:
        """Take in that a gateway died, and what its spool lost."""

    def charged_lost(self, settled: Settled) -> None:
        """Take in that a call without an end was charged by policy."""


class Flight:
    """Hold one call under way."""

    __slots__ = ("call", "expired", "holding", "opened_us", "payable", "tries", "windows", "wish")

    def __init__(self, call: Call, wish: Wish) -> None:
        self.call = call
        self.wish = wish
        self.tries = 3
        self.expired = False
        self.payable = 0
        self.opened_us = 0
        self.holding = Holding(wish, ())
        self.windows: list[int] = []  # the account of each budget's window


class Request:
    """Hold what a gateway has sent to the database, until it hears an answer."""

    __slots__ = ("act", "after", "at_us", "done", "grant", "purse", "transfer_id")

    def __init__(self, act: Ask | Return, purse: Purse | None, transfer_id: bytes, at_us: int) -> None:
        self.act = act
        self.purse = purse
        self.transfer_id = transfer_id
        self.at_us = at_us
        self.grant: Grant | None = None
        self.after = 0  # what the spool had then, and the books must have first
        self.done = False


class Group(msgspec.Struct):
    """Hold a commit of the journal under way."""

    postings: Postings
    ends: list[Settled]
    end: int
    closed: bool
    done: bool = False


class Gateway:
    """Hold what one gateway knows, and what of it survives its process."""

    def __init__(self, database: Database, watcher: Watcher, number: int, dice: Random) -> None:
        self.database = database
        self.watcher = watcher
        self.number = number
        self.dice = dice
        self.skew_us = 0
        self.boot = 0
        self.spool: list[Entry | None] = []
        self.synced = 0
        self._ids = IdSource(number)
        self._names = 0
        self.payables: dict[tuple[int, str], int] = {}
        self.serving = False
        self.recovery: Generator[None, None, None] | None = None
        self.forget()

    def forget(self) -> None:
        """Lose what was in memory."""
        self.serving, self.recovery = False, None
        self.epoch = self.position = 0
        self.started_us = 0
        self.journal = UnderWay()
        self.group: Group | None = None
        self.purses: dict[str, Purse] = {}
        self.topping: dict[str, Request] = {}
        self.requests: list[Request] = []
        self.under_way: dict[bytes, Flight] = {}
        self.forgotten: list[Flight] = []
        self.waiting: list[Flight] = []
        self.news = 0
        self.recalls: list[str] = []
        self.views: list[Claim] = []
        self.view = Claim(())

    def open_call(self, wish: Wish, now_us: int) -> Flight:
        """Bring a call in."""
        call_id = self._ids.next(now_us // 1000)
        call = Call(
            call_id,
            TENANT,
            "key",
            records.Protocol.openai_chat,
            "m",
            stream=False,
            opened_us=now_us,
            segments=_SEGMENTS,
        )
        return Flight(call, wish)

    def try_hold(self, flight: Flight, now_us: int) -> bool:
        """Hold for a call in all its budgets, or ask those that are short. False once it was refused."""
        wish, call_id = flight.wish, flight.call.call_id
        held = hold_in_all(self.purses, wish.budgets, call_id, wish.amounts, now_us, now_us + EXPIRES_US)
        if held is not None:
            slices, low = held
            self.holds(flight, slices, now_us)
            for purse, amount in low:
                self.top_up(purse, amount, now_us)
            return True
        short: list[tuple[Purse, Money]] = []
        for budget, amount in zip(wish.budgets, wish.amounts, strict=True):
            purse = self.purses.get(budget.budget_id)
            if purse is None:
                purse = self.purses[budget.budget_id] = Purse(budget)
            if not purse.covers(amount, now_us):
                short.append((purse, amount))
        if any(purse.is_dry(now_us) for purse, _ in short):
            flight.tries -= 1
            if not flight.tries:
                return False
        for purse, amount in short:
            self.top_up(purse, amount, now_us)
        self.waiting.append(flight)
        return True

    def holds(self, flight: Flight, slices: list[Slice], now_us: int) -> None:
        """Begin a call that holds: most are written down and sent, some forgotten in between."""
        flight.holding, flight.opened_us = Holding(flight.wish, slices), now_us
        flight.payable = self.payables[TENANT, PROVIDERS[0]]
        self.watcher.begun(flight)
        if self.dice.random() < 0.05:
            self.forgotten.append(flight)
            return
        grant, held = slices[0].grant, flight.wish.amounts[0]
        shares = shares_held(flight.holding) if len(slices) > 1 else ()
        accounts = (grant.lease_account, grant.budget_account, flight.payable)
        self.spool.append(Intent(flight.call, PROVIDERS[0], *accounts, held, now_us + EXPIRES_US, shares))
        self.under_way[flight.call.call_id] = flight

    def top_up(self, purse: Purse, need_nano: Money, now_us: int) -> None:
        """Ask for more, once for all who wait."""
        name = purse.budget.budget_id
        if name not in self.topping:
            request = Request(purse.ask(need_nano, now_us), purse, self.fresh_id(), now_us)
            self.topping[name] = request
            self.requests.append(request)

    def fresh_id(self) -> bytes:
        """Make an id nobody else makes."""
        self._names += 1
        return b"%6d%10d" % (self.number, self._names)

    def end_call(self, flight: Flight, costs: Sequence[Money], now_us: int, *, known: bool = True) -> None:
        """Settle a call whose attempts cost so much, one at each provider."""
        self.under_way.pop(flight.call.call_id, None)
        used = 60 if costs[-1] else 0
        source = UsageSource.provider if known else UsageSource.held
        attempts = tuple(
            Attempt(provider, "m", AttemptStatus.ok, 200, flight.opened_us, 0, now_us, Usage(used, used // 2), source)
            for provider in PROVIDERS[: len(costs)]
        )
        attempts = tuple(
            msgspec.structs.replace(attempt, cost_nano=cost) for attempt, cost in zip(attempts, costs, strict=True)
        )
        ended = Ended(flight.call, CallStatus.ok, attempts, flight.wish.amounts[0], flight.payable)
        settled = settle_call(flight.holding, ended, self.payables)
        self.spool.append(settled)
        self.watcher.ended(flight, settled)

    def send(self, request: Request) -> None:
        """Have the database do what was asked. What a dead gateway may not give back, it finds again later."""
        act, database = request.act, self.database
        if isinstance(act, Ask):
            request.grant = database.open_lease(act, self.number, request.transfer_id, request.at_us)
        else:
            grant = act.grant
            names = grant.lease_account, grant.budget_account
            try:
                database.return_lease(*names, act.amount_nano, request.transfer_id, request.at_us)
            except Refused:
                if database.places[self.number].epoch == self.epoch:
                    raise
        request.done = True

    def hear(self, request: Request, now_us: int) -> None:
        """Take in the database's answer."""
        self.requests.remove(request)
        if isinstance(request.act, Ask):
            assert request.purse is not None
            assert request.grant is not None
            del self.topping[request.act.budget.budget_id]
            request.purse.granted(request.act, request.grant, now_us)
            self.return_all(request.purse, now_us)

    def wake(self, now_us: int) -> None:
        """Have the calls try again whose questions are answered, all but those that were slow to hear of it."""
        waiting, self.waiting = self.waiting, []
        for flight in waiting:
            asked = any(budget.budget_id in self.topping for budget in flight.wish.budgets)
            if asked or self.dice.random() < 0.2:
                self.waiting.append(flight)
            else:
                self.try_hold(flight, now_us)

    def return_all(self, purse: Purse, now_us: int) -> None:
        """Send what a purse gives back."""
        for each in purse.take_returns():
            request = Request(each, None, self.fresh_id(), now_us)
            request.after = len(self.spool)
            self.requests.append(request)

    def changed(self, budget_id: str, terms: Terms, now_us: int) -> None:
        """Put aside what was leased under other terms."""
        for purse in self.purses.values():
            known = purse.budget
            if base_id(known.budget_id) == budget_id and not known.budget_id.endswith(OVERDRAFT):
                purse.changed(msgspec.structs.replace(known, terms=terms))
                self.return_all(purse, now_us)

    def recalled(self, budget_id: str, now_us: int) -> None:
        """Give back what is free of a budget."""
        purse = self.purses.get(budget_id)
        if purse is not None and budget_id not in self.topping:
            purse.recall()
            self.return_all(purse, now_us)

    def sweep(self, now_us: int) -> None:
        """Do what time demands."""
        for name, purse in list(self.purses.items()):
            for call_id in purse.sweep(now_us, self.under_way):
                self.expire(call_id, purse.budget)
            self.return_all(purse, now_us)
            if purse.is_empty and name not in self.topping:
                del self.purses[name]

    def expire(self, call_id: bytes, budget: Budget) -> None:
        """Take in that a forgotten call's hold is over in one budget; in the others it is at once too."""
        flight = next((each for each in self.forgotten if each.call.call_id == call_id), None)
        if flight is None:
            raise Violation(f"a hold of {budget.budget_id} expired under its call")
        if not flight.expired:
            flight.expired = True
            self.watcher.released(flight)

    def gather(self, now_us: int, most: int) -> None:
        """Begin a commit of the journal."""
        at = self.position

        def name(tenant: int, account: int, reason: int) -> bytes:
            return id_of("uses", self.number, at, 0, tenant, account, reason)

        entries = [entry for entry in self.spool[at : at + most] if entry is not None]
        more = at + most < len(self.spool)
        postings = self.journal.gather(entries, name, now_us, more=more)
        ends = [entry for entry in entries if isinstance(entry, Settled)]
        end = min(at + most, len(self.spool))
        last = entries[-1] if entries else None
        closed = isinstance(last, Closed) and last.at_us >= self.started_us
        self.group = Group(postings, ends, end, closed)

    def write(self) -> None:
        """Have the database take the group."""
        group = self.group
        assert group is not None
        self.database.commit(self.number, self.epoch, group.postings, group.ends, (group.end, group.closed))
        group.done = True

    def written(self) -> None:
        """Take in that the group is in the books."""
        group = self.group
        assert group is not None
        self.journal.committed(group.postings, 0)
        self.position, self.group = group.end, None

    def read_books(self) -> None:
        """Find out how far the books are: the answer to a commit was lost, or this life begins."""
        database, place = self.database, self.database.places[self.number]
        if place.epoch != self.epoch:
            raise Fenced
        holds = database.open_holds[self.number].items()
        journal = UnderWay({call_of_transfer(name): hold.amount_nano for name, hold in holds})
        for entry in self.spool[: place.position]:
            if entry is not None:
                journal.follow(entry, 0)
        self.spool += [None] * (place.position - len(self.spool))
        for call_id in list(journal.open_since):
            if call_id in database.recorded:
                journal.forget(call_id)
        self.journal, self.position, self.group = journal, place.position, None

    def die(self, *, power: bool) -> None:
        """Lose the process, and with the power what was not synced of the spool."""
        for request in self.requests:
            if self.position >= request.after and self.dice.random() < 0.5:
                self.send(request)
        if self.group is not None and not self.group.done and self.dice.random() < 0.5:
            with suppress(Fenced):
                self.write()
        lost: list[Entry] = []
        if power:
            cut = self.dice.randint(self.synced, len(self.spool))
            lost = [entry for entry in self.spool[cut:] if entry is not None]
            del self.spool[cut:]
            self.synced = min(self.synced, cut)
            self.boot += 1
        self.watcher.died(self, lost)
        self.forget()

    def recover(self, clock: "Clock") -> Generator[None, None, None]:
        """Begin anew, one act of the database after the other: anything may happen in between."""
        database, number = self.database, self.number
        place, lost, given_up = database.take_place(number, self.boot, spool_is_new=False)
        self.epoch, self.started_us = place.epoch, clock.now_us + self.skew_us
        for provider in PROVIDERS:
            name = payable_name(provider, number)
            self.payables[TENANT, provider] = database.account(name, Code.payable, Unit.usd)
        yield
        self.read_books()
        entries = [(entry, at < self.position) for at, entry in enumerate(self.spool) if entry is not None]
        for intent in calls_without_end(entries, self.journal.open_since):
            settled = settle_lost(intent, lost_attempt(intent, clock.now_us + self.skew_us))
            self.spool.append(settled)
            self.watcher.charged_lost(settled)
        if given_up:
            behind = [entry for entry in self.spool[self.position :] if entry is not None]
            database.come_back(number, lease_needs(behind, self.journal.holds_written), clock.now_us)
            yield
        while self.position < len(self.spool):
            self.gather(clock.now_us + self.skew_us, self.dice.randint(1, 6))
            self.write()
            self.written()
            yield
        if lost:
            database.expire_holds(number, clock.now_us)
            yield
        for lease in database.open_leases(number):
            if lost:
                database.put_aside(number, lease, Reason.indeterminate, clock.now_us)
            else:
                name = id_of("take back", lease.account, self.epoch)
                database.return_lease(lease.account, lease.window.account, lease.amount_nano, name, clock.now_us)
            yield
        if (lost or given_up) and place.epoch == self.epoch:
            place.boot, place.given_up = self.boot, False
        self.serving = True


class Clock(msgspec.Struct):
    """Hold the virtual time."""

    now_us: int


def lost_attempt(intent: Intent, now_us: int) -> Attempt:
    """Charge a call nobody knows the end of its whole hold."""
    opened = intent.call.opened_us
    return Attempt(
        *(intent.provider, "m", AttemptStatus.lost, 0, opened, 0, now_us),
        usage_source=UsageSource.held,
        cost_nano=intent.held_nano,
    )


def free_of(gateway: Gateway) -> dict[int, Money]:
    """Sum what a gateway knows of each lease account: free, held, granted and unheard of, under way back, unbooked."""
    sums: dict[int, Money] = {}

    def add(account: int, amount: Money) -> None:
        sums[account] = sums.get(account, 0) + amount

    for purse in gateway.purses.values():
        for lease in [*purse.old, *([purse.lease] if purse.lease is not None else [])]:
            add(lease.account_id, lease.available_nano + lease.held_nano)
        for each in purse.returns:
            add(each.grant.lease_account, each.amount_nano)
    for request in gateway.requests:
        if isinstance(request.act, Return):
            if not request.done:
                add(request.act.grant.lease_account, request.act.amount_nano)
        elif request.grant is not None:
            add(request.grant.lease_account, request.grant.granted_nano)
    for entry in gateway.spool[gateway.database.places[gateway.number].position :]:
        if isinstance(entry, Settled):
            add(entry.lease_account, entry.record.cost_nano - entry.record.overage_nano)
            for share in entry.shares:
                add(share.lease_account, share.amount_nano)
    return sums


def lease_of(database: Database, gateway: int) -> dict[int, Any]:
    """Return a gateway's lease accounts."""
    leases = (window.leases.get(gateway) for window in database.windows.values())
    return {lease: database.books.accounts[lease] for lease in leases if lease is not None}
