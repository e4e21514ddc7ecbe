"""Be the database of a simulated world: accounts by name, the shipped rules over them, and the gateways' table."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import msgspec

from bursar.budgets.budget import Budget, Period, Terms, base_id, period_at, pieces_beside
from bursar.budgets.purse import Ask
from bursar.budgets.slices import (
    Accounts,
    Moment,
    Move,
    id_of,
    lasts,
    lease_transfers,
    most_in_force,
    plan_lease,
    return_transfer,
)
from bursar.core import ids
from bursar.core.money import Money
from bursar.ledger import chart
from bursar.ledger.books import Account, Books
from bursar.ledger.chart import Code, Unit
from bursar.ledger.following import Postings
from bursar.ledger.journal import Settled
from bursar.ledger.lease import Grant
from bursar.ledger.transfer import Kind, Reason, Status, Transfer

TENANT = 1
CONTROL = 0


class Violation(AssertionError):
    """Say which invariant was broken."""


class Refused(Exception):
    """Say that the books refused a transfer: the transaction is rolled back."""


class Fenced(Exception):
    """Say that the gateway's epoch has ended."""


@lru_cache(maxsize=100_000)
def _period(terms: Terms, piece: int) -> Period:
    return period_at(terms, piece * 1_000_000)


def period_of(terms: Terms, at_us: int) -> Period:
    """Return a window, looked up where the same second was asked for before: no window begins within one."""
    return _period(terms, at_us // 1_000_000)


@lru_cache(maxsize=100_000)
def _pieces(terms: Terms, start_us: int) -> tuple[str, ...]:
    return tuple(piece.name for piece in pieces_beside(terms, start_us))


class Place(msgspec.Struct):
    """Be a gateway's row."""

    number: int
    epoch: int = 0
    boot: int = -1
    closed: bool = True
    given_up: bool = False
    position: int = 0


class Window(msgspec.Struct):
    """Name the accounts of one window of one budget."""

    budget_id: str
    period: str
    account: int
    overage: int
    lasting: bool
    unit: Unit
    start_us: int
    leases: dict[int, int] = {}  # by gateway
    granted_nano: Money = 0
    indeterminate: int = 0
    written_off: int = 0
    withdrawn: int = 0
    covered_nano: Money = 0
    decided_nano: Money = 0  # given back though it may have been spent, because somebody said so
    limited: bool = True
    rolling: bool = False


class OpenLease(msgspec.Struct, frozen=True):
    """Name a lease that holds money."""

    account: int
    window: Window
    amount_nano: Money


class Database:
    """Hold the books and everything that is looked up in them."""

    def __init__(self) -> None:
        self.books = Books()
        self.names: dict[str, int] = {}
        self.codes: list[tuple[str, Code]] = [("", Code.grants)]
        self.windows: dict[int, Window] = {}  # by account
        self.by_name: dict[tuple[str, str], Window] = {}
        self.chains: dict[int, list[Transfer]] = {CONTROL: []}
        self.in_force: dict[str, Terms] = {}  # by budget
        self.places: dict[int, Place] = {}
        self.recorded: dict[bytes, Settled] = {}
        self.open_holds: dict[int, dict[bytes, Transfer]] = {}  # by gateway and hold
        self.set_aside: dict[int, dict[int, Money]] = {}  # by gateway and lease
        self.budgets: dict[str, Budget] = {}
        self.recall: Callable[[str], None] = lambda _budget_id: None

    def account(self, name: str, code: Code, unit: Unit, *, limited: bool = False) -> int:
        """Find or open an account."""
        number = self.names.get(name)
        if number is None:
            number = self.names[name] = len(self.codes)
            self.codes.append((name, code))
            self.books.accounts[number] = Account(number, limited=limited, unit=unit)
        return number

    def window(self, budget: Budget, at_us: int) -> Window:
        """Find or open a budget's window."""
        terms = budget.terms
        period = period_of(terms, at_us)
        found = self.by_name.get((budget.budget_id, period.name))
        if found is None:
            unit, name, lasting = terms.unit, chart.budget_name(budget.budget_id, period.name), lasts(terms)
            account = self.account(name, Code.budget, unit, limited=terms.most_nano is not None)
            overage = chart.overage_name(name if lasting else chart.budget_name(budget.budget_id, "all"))
            place = self.account(overage, Code.overage, unit)
            found = Window(budget.budget_id, period.name, account, place, lasting, unit, period.start_us)
            found.limited, found.rolling = terms.most_nano is not None, terms.rolling
            self.windows[account] = self.by_name[budget.budget_id, period.name] = found
        return found

    def budget_of(self, window: Window) -> Budget:
        """Return a window's budget as it is in force."""
        found = self.budgets[base_id(window.budget_id)]
        return found if found.budget_id == window.budget_id else Budget(window.budget_id, TENANT, found.terms)

    def lease_of(self, window: Window, gateway: int) -> int:
        """Find or open a gateway's lease of a window."""
        lease = window.leases.get(gateway)
        if lease is None:
            name = chart.lease_name(gateway, f"budget:{window.budget_id}:{window.period}")
            lease = window.leases[gateway] = self.account(name, Code.lease, window.unit, limited=True)
        return lease

    def moment(self, budget: Budget, window: Window, gateway: int) -> tuple[Moment, Money]:
        """See where a window stands, and what other gateways have leased of it."""
        accounts, base = self.books.accounts, self.in_force.get(base_id(budget.budget_id))
        most = budget.terms.most_nano if base is None else most_in_force(budget.budget_id, base)
        overage, earlier = accounts[window.overage], 0
        if budget.terms.rolling:
            for name in _pieces(budget.terms, window.start_us):
                piece = self.by_name.get((budget.budget_id, name))
                if piece is not None:
                    state = accounts[piece.account]
                    out = accounts[piece.withdrawn].credits_posted if piece.withdrawn else 0
                    earlier += piece.granted_nano - out - (state.credits_posted - state.debits_posted)
        elsewhere = sum(accounts[lease].available for other, lease in window.leases.items() if other != gateway)
        alive = sum(not place.closed and not place.given_up for place in self.places.values())
        owed = overage.debits_posted - overage.credits_posted if window.lasting else 0
        granted = window.granted_nano - (accounts[window.withdrawn].credits_posted if window.withdrawn else 0)
        available = accounts[window.account].available
        return Moment(available, owed, granted, most, earlier, max(1, alive)), elsewhere

    def open_lease(self, ask: Ask, gateway: int, transfer_id: bytes, at_us: int) -> Grant:
        """Lease a slice, once for each id."""
        budget, accounts = ask.budget, self.books.accounts
        window = self.window(budget, at_us)
        lease, unit = self.lease_of(window, gateway), window.unit
        used = self.account(chart.used_name(unit, gateway), Code.used, unit)
        moment, elsewhere = self.moment(budget, window, gateway)
        before = self.books.transfers.get(transfer_id)
        if before is None:
            move = plan_lease(moment, ask.need_nano, ask.want_nano)
            self.book_move(window, lease, (moment, move), transfer_id, at_us)
        else:
            move = Move(0, 0, 0, before.amount_nano, moment.available_nano)
        if move.leased_nano < ask.need_nano and elsewhere:
            self.recall(budget.budget_id)
        names = lease, window.account, window.overage, used
        end_us = period_of(budget.terms, at_us).end_us
        assert accounts[lease].available >= 0
        return Grant(*names, move.leased_nano, move.left_nano, moment.most_nano, end_us, elsewhere, unit, at_us)

    def book_move(self, window: Window, lease: int, plan: tuple[Moment, Move], transfer_id: bytes, at_us: int) -> None:
        """Book a move, the account's limit being lifted before it and set after it."""
        moment, move = plan
        account, limited = self.books.accounts[window.account], moment.most_nano is not None
        account.limited = account.limited and limited
        if move.withdrawn_nano and not window.withdrawn:
            name = chart.withdrawn_name(self.codes[window.account][0])
            window.withdrawn = self.account(name, Code.withdrawn, window.unit, limited=True)
        grants = self.account(chart.grants_name(window.unit), Code.grants, window.unit)
        named = Accounts(window.unit, grants, window.account, window.overage, lease)
        self.book(lease_transfers(named, window.withdrawn, move, transfer_id, at_us))
        window.granted_nano += move.granted_nano
        account.limited = limited

    def set_limit(self, budget: Budget, at_us: int) -> None:
        """Bring a window that was opened to its budget's limit."""
        window = self.by_name.get((budget.budget_id, period_of(budget.terms, at_us).name))
        if window is not None:
            moment, _ = self.moment(budget, window, -1)
            move = msgspec.structs.replace(plan_lease(moment, 0, 0), repaid_nano=0)
            name = id_of("limit", TENANT, self.codes[window.account][0], at_us)
            self.book_move(window, 0, (moment, move), name, at_us)

    def return_lease(self, lease: int, account: int, amount_nano: Money, transfer_id: bytes, at_us: int) -> None:
        """Give part of a lease back."""
        unit = self.windows[account].unit
        self.book([return_transfer(unit, (lease, account, amount_nano), transfer_id, at_us)])

    def book(self, transfers: Iterable[Transfer], chain: int = CONTROL) -> None:
        """Book transfers, all or none."""
        books, made, log = self.books, [], self.chains[chain]
        for transfer in transfers:
            status = books.apply(transfer)
            if status is Status.created:
                made.append(transfer)
                log.append(transfer)
            elif not status.ok:
                books.failures.pop(transfer.transfer_id, None)
                for other in reversed(made):
                    books._undo(other)
                    log.pop()
                raise Refused(f"{status.name}: {transfer.amount_nano} of {self.codes[transfer.debit_account][0]}")

    def commit(
        self, number: int, epoch: int, postings: Postings, ends: Sequence[Settled], reach: tuple[int, bool]
    ) -> None:
        """Write a gateway's group: transfers, records and how far its spool is in the books."""
        place = self.places[number]
        if place.epoch != epoch:
            raise Fenced
        transfers = [transfer for _, transfer in postings.transfers]
        before = len(self.chains[number])
        self.book(transfers, number)
        if len(self.chains[number]) - before != len(transfers):
            raise Violation("the journal wrote a transfer twice")
        holds = self.open_holds[number]
        for transfer in transfers:
            if transfer.kind is Kind.hold:
                holds[transfer.transfer_id] = transfer
            elif transfer.resolves:
                del holds[transfer.hold_id]
        for settled in ends:
            name = settled.record.call.call_id
            if name in self.recorded:
                raise Violation("a call was recorded twice")
            self.recorded[name] = settled
        place.position, place.closed = reach

    def take_place(self, number: int, boot: int, *, spool_is_new: bool) -> tuple[Place, bool, bool]:
        """Begin a gateway's next life; returns whether its last may have lost something, and was given up."""
        place = self.places.get(number)
        if place is None:
            place = self.places[number] = Place(number)
            self.chains[number], self.open_holds[number], self.set_aside[number] = [], {}, {}
            lost = False
        else:
            lost = not place.closed and (place.boot != boot or spool_is_new)
        place.epoch, place.boot, place.closed = place.epoch + 1, -2 if lost else boot, False
        return place, lost, place.given_up

    def open_leases(self, number: int) -> list[OpenLease]:
        """Return the leases of a gateway that hold money."""
        accounts = self.books.accounts
        return [
            OpenLease(lease, window, accounts[lease].available)
            for window in self.windows.values()
            if (lease := window.leases.get(number)) is not None and accounts[lease].available > 0
        ]

    def put_aside(self, number: int, lease: OpenLease, reason: Reason, at_us: int) -> None:
        """Move a lease's rest to where undecided money lies."""
        window = lease.window
        if not window.indeterminate:
            name = chart.indeterminate_name(self.codes[window.account][0])
            window.indeterminate = self.account(name, Code.indeterminate, window.unit, limited=True)
        name = id_of("set aside", TENANT, lease.account, at_us)
        self.move(lease, (lease.account, window.indeterminate), reason, name, at_us)
        if reason is Reason.set_aside:
            aside = self.set_aside[number]
            aside[lease.account] = aside.get(lease.account, 0) + lease.amount_nano

    def move(self, lease: OpenLease, way: tuple[int, int], reason: Reason, name: bytes, at_us: int) -> None:
        """Move an amount between a lease and what lies beside it."""
        self.book([Transfer(name, *way, lease.amount_nano, Kind.post, reason, at_us, unit=lease.window.unit)])

    def leases_set_aside(self, number: int) -> list[OpenLease]:
        """Return what was set aside when a gateway was given up, and has not come back."""
        by_lease = {lease: window for window in self.windows.values() for lease in window.leases.values()}
        return [OpenLease(lease, by_lease[lease], amount) for lease, amount in self.set_aside[number].items() if amount]

    def take_back(self, number: int, lease: OpenLease, name: bytes, at_us: int) -> None:
        """Move what was set aside back into its lease."""
        self.move(lease, (lease.window.indeterminate, lease.account), Reason.set_aside, name, at_us)
        self.set_aside[number][lease.account] -= lease.amount_nano

    def expire_holds(self, number: int, at_us: int) -> None:
        """Expire the holds of calls a gateway has forgotten."""
        holds = self.open_holds[number]
        for hold_id, hold in list(holds.items()):
            name = ids.transfer_id(ids.call_of_transfer(hold_id), ids.VOID)
            accounts, held = (hold.debit_account, hold.credit_account), hold.amount_nano
            self.book([Transfer(name, *accounts, 0, Kind.expire_hold, Reason.call, at_us, hold_id, held)])
            del holds[hold_id]

    def give_up(self, number: int, at_us: int) -> None:
        """End a gateway's epoch and set its leases aside."""
        place = self.places[number]
        place.epoch, place.given_up = place.epoch + 1, True
        for lease in self.open_leases(number):
            self.put_aside(number, lease, Reason.set_aside, at_us)

    def decide(self, number: int, at_us: int, *, spent: bool) -> None:
        """Decide what became of a dead gateway's leases."""
        self.places[number].epoch += 1
        self.expire_holds(number, at_us)
        for lease in self.open_leases(number):
            self.put_aside(number, lease, Reason.set_aside, at_us)
        for lease in self.leases_set_aside(number):
            act, window = (number, lease.account, at_us), lease.window
            self.take_back(number, lease, id_of("decide", *act), at_us)
            name = id_of("decided", *act)
            if spent:
                if not window.written_off:
                    word = chart.written_off_name(self.codes[window.account][0])
                    window.written_off = self.account(word, Code.written_off, window.unit)
                self.move(lease, (lease.account, window.written_off), Reason.written_off, name, at_us)
            else:
                window.decided_nano += lease.amount_nano
                self.return_lease(lease.account, window.account, lease.amount_nano, name, at_us)

    def come_back(self, number: int, needs: dict[int, Money], at_us: int) -> None:
        """Give a gateway back what was set aside, and cover what its calls have spent beyond it."""
        epoch, accounts = self.places[number].epoch, self.books.accounts
        for lease in self.leases_set_aside(number):
            self.take_back(number, lease, id_of("come back", lease.account, epoch), at_us)
        for window in self.windows.values():
            lease = window.leases.get(number)
            if lease is None or lease not in needs:
                continue
            short = needs[lease] - accounts[lease].available
            if short > 0:
                window.covered_nano += short
                cover = OpenLease(lease, window, short)
                self.move(cover, (window.overage, lease), Reason.overage, id_of("cover", lease, epoch), at_us)
