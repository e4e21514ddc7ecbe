"""Know what must hold, from what happened alone: who held what, what it cost, what was lost. No ledger rule is used."""

from collections.abc import Sequence
from typing import Final

from bench.interleavings.database import Database, Violation, Window, period_of
from bench.interleavings.gateway import Flight, Gateway, free_of, lease_of
from bursar.budgets.budget import Terms, base_id
from bursar.budgets.slices import most_in_force, plan_lease
from bursar.core.money import Money
from bursar.core.records import Record, UsageSource
from bursar.core.times import MINUTE_US
from bursar.ledger.chain import GENESIS, link
from bursar.ledger.chart import OVERDRAFT, Code, Unit
from bursar.ledger.check import AccountFacts, Checker
from bursar.ledger.journal import Entry, Settled

_LOOKS_BACK_US: Final = MINUTE_US
_EVERYTHING: Final = 2**50


class Oracle:
    """Hold what was truly held and used, by the account of each window."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.held: dict[int, Money] = {}
        self.used: dict[int, Money] = {}
        self.bound: dict[int, Money | None] = {}  # what a window may come to
        self.rolling_bound: dict[str, Money | None] = {}
        self.rolling_since_us: dict[str, int] = {}  # since when that bound holds
        self.expected: dict[bytes, Money] = {}  # what each call is to be recorded with
        self.holding: dict[bytes, tuple[int, ...]] = {}  # the lease accounts each call holds in
        self.calls = self.refused = 0

    def begun(self, flight: Flight) -> None:
        """Count a hold in the windows its moment lies in, whatever lease it was made in."""
        database, wish = self.database, flight.wish
        leases: list[int] = []
        for budget, amount, lease in zip(wish.budgets, wish.amounts, flight.holding.slices, strict=True):
            period = period_of(budget.terms, flight.opened_us)
            window = database.by_name.get((budget.budget_id, period.name))
            grant = lease.grant
            if window is None or window.account != grant.budget_account:
                raise Violation(f"a call holds in another window of {budget.budget_id} than {period.name}")
            self.held[window.account] = self.held.get(window.account, 0) + amount
            flight.windows.append(window.account)
            leases.append(lease.account_id)
        self.holding[flight.call.call_id] = tuple(leases)
        self.calls += 1

    def released(self, flight: Flight) -> None:
        """Count a hold no more."""
        for account, amount in zip(flight.windows, flight.wish.amounts, strict=True):
            self.held[account] -= amount

    def ended(self, flight: Flight, settled: Settled) -> None:
        """Count what a call used, and see that overage is only what its bill has beyond what it held."""
        record, wish, expired = settled.record, flight.wish, flight.expired
        if not expired:
            self.released(flight)
        leases = self.holding[flight.call.call_id]
        shares = {share.lease_account: share for share in settled.shares}
        if settled.lease_account != leases[0] or not shares.keys() <= set(leases[1:]):
            raise Violation("a call settles in other leases than it holds in")
        paid, overage = [record.cost_nano - record.overage_nano], [record.overage_nano]
        for lease in leases[1:]:
            share = shares.get(lease)
            paid.append(share.amount_nano if share is not None else 0)
            overage.append(share.overage_nano if share is not None else 0)
        for place, (account, amount) in enumerate(zip(flight.windows, wish.amounts, strict=True)):
            if paid[place] < 0 or overage[place] < 0:
                raise Violation("a call pays less than nothing")
            self.used[account] = self.used.get(account, 0) + paid[place]
            held = 0 if expired else amount
            if overage[place] > max(0, paid[place] + overage[place] - held):
                raise Violation(f"a bill within its hold went to overage: {overage[place]}")
        self.expected[flight.call.call_id] = record.cost_nano
        for place, (budget, amount) in enumerate(zip(wish.budgets, wish.amounts, strict=True)):
            if place and not budget.budget_id.endswith(OVERDRAFT):
                counted = counted_of(budget.terms.unit, record, amount)
                if paid[place] + overage[place] != counted:
                    raise Violation(f"a call used {counted} of {budget.budget_id} and was counted otherwise")

    def died(self, gateway: Gateway, lost: Sequence[Entry]) -> None:
        """Count what the calls under way came to, though nobody will ever know, and forget what was lost."""
        for flight in gateway.under_way.values():
            self.released(flight)
            share = gateway.dice.random()
            for account, amount, budget in zip(flight.windows, flight.wish.amounts, flight.wish.budgets, strict=True):
                if budget.terms.unit is not Unit.call and not budget.budget_id.endswith(OVERDRAFT):
                    self.used[account] = self.used.get(account, 0) + int(amount * share)
        for flight in gateway.forgotten:
            if not flight.expired:
                self.released(flight)
        for entry in lost:
            if isinstance(entry, Settled) and entry.record.call.call_id not in self.database.recorded:
                self.expected.pop(entry.record.call.call_id, None)

    def charged_lost(self, settled: Settled) -> None:
        """Expect the charge of a call whose end nobody knows."""
        record = settled.record
        if record.call.call_id in self.expected:
            raise Violation("a call that had ended was charged once more")
        self.expected[record.call.call_id] = record.cost_nano
        if record.cost_nano > record.held_nano:
            raise Violation("a lost call was charged more than it held")

    def limit_set(self, budget_id: str, terms: Terms) -> None:
        """Bound what windows may come to from now on: what is out when a limit is lowered stays out."""
        windows = [each for each in self.database.windows.values() if base_id(each.budget_id) == budget_id]
        newest = max((window.start_us for window in windows), default=0)
        for window in windows:
            most = most_in_force(window.budget_id, terms)
            before = self.bound.get(window.account, 0)
            self.bound[window.account] = (
                None if most is None or before is None else max(most, self._out(window.account))
            )
        if terms.rolling:
            most = most_in_force(budget_id, terms)
            out = sum(self._out(each.account) for each in windows if each.start_us >= newest - _LOOKS_BACK_US)
            self.rolling_bound[budget_id] = None if most is None else max(most, out)
            self.rolling_since_us[budget_id] = newest

    def _out(self, account: int) -> Money:
        """Return what left a window's account, and may be spent."""
        window, state = self.database.windows[account], self.database.books.accounts[account]
        withdrawn = self.database.books.accounts[window.withdrawn].credits_posted if window.withdrawn else 0
        return window.granted_nano - withdrawn - (state.credits_posted - state.debits_posted)

    def check(self) -> None:
        """Check every window: no more was held and used than left its account, nor than its limit allows."""
        used, held = self.used, self.held
        rolling: dict[str, list[tuple[int, Money]]] = {}
        for account, window in self.database.windows.items():
            spent = used.get(account, 0) + held.get(account, 0) - window.decided_nano
            if not window.limited or spent <= 0:
                continue
            out = self._out(account)
            if spent > out:
                raise Violation(f"{window.budget_id} {window.period}: {spent} is held and used, and {out} is out")
            bound = self.bound[account] if account in self.bound else self._bind(window)
            if bound is not None and spent > bound:
                raise Violation(f"{window.budget_id} {window.period}: {spent} is held and used of {bound}")
            if window.rolling:
                rolling.setdefault(window.budget_id, []).append((window.start_us, spent))
        for budget_id, pieces in rolling.items():
            self._check_rolling(budget_id, pieces)

    def _bind(self, window: Window) -> Money | None:
        bound = most_in_force(window.budget_id, self.database.in_force[base_id(window.budget_id)])
        self.bound[window.account] = bound
        return bound

    def _check_rolling(self, budget_id: str, pieces: list[tuple[int, Money]]) -> None:
        if budget_id not in self.rolling_bound:
            self.rolling_bound[budget_id] = most_in_force(budget_id, self.database.in_force[base_id(budget_id)])
        highest = self.rolling_bound[budget_id]
        if highest is None:
            return
        since_us = self.rolling_since_us.get(budget_id, 0)
        for start in [start for start, _ in pieces if start >= since_us]:
            spent = sum(amount for at, amount in pieces if start - _LOOKS_BACK_US <= at <= start)
            if spent > highest:
                raise Violation(f"{budget_id}, rolling to {start}: {spent} is held and used of {highest}")

    def check_leases(self, gateway: Gateway) -> None:
        """Check that the books' leases of a gateway are what it knows of, to the last unit."""
        if self.database.places[gateway.number].epoch != gateway.epoch:
            return
        known = free_of(gateway)
        for lease, account in lease_of(self.database, gateway.number).items():
            kept = account.credits_posted - account.debits_posted
            if kept != known.get(lease, 0):
                name = self.database.codes[lease][0]
                raise Violation(f"{name} of the gateway has {known.get(lease, 0)}, and {kept} in the books")

    def check_end(self, now_us: int) -> None:
        """Check that nothing is pending or left in a lease, all is recorded, and the rest can be leased again."""
        database = self.database
        accounts = database.books.accounts
        for number, (name, code) in enumerate(database.codes):
            if number:
                account = accounts[number]
                if account.debits_pending or account.credits_pending:
                    raise Violation(f"{name} has something pending")
                if code is Code.lease and account.available:
                    raise Violation(f"{name} still has {account.available}")
        for call_id, cost in self.expected.items():
            settled = database.recorded.get(call_id)
            if settled is None or settled.record.cost_nano != cost:
                raise Violation(f"call {call_id.hex()} of {cost} is not recorded as it ended")
        if len(database.recorded) != len(self.expected):
            raise Violation("a call is recorded that was never settled")
        self._check_rest(now_us)

    def _check_rest(self, now_us: int) -> None:
        database = self.database
        accounts, paid = database.books.accounts, self._paid()
        for window in database.windows.values():
            budget_id, terms = window.budget_id, database.in_force[base_id(window.budget_id)]
            if period_of(terms, now_us).name != window.period or most_in_force(budget_id, terms) is None:
                continue
            most = most_in_force(budget_id, terms)
            assert most is not None
            spent = 0
            for other in database.windows.values():
                last = window.start_us - _LOOKS_BACK_US <= other.start_us
                if other is window or (terms.rolling and other.budget_id == budget_id and last):
                    spent += paid.get(other.account, 0) - other.covered_nano
                    for beside in (other.indeterminate, other.written_off):
                        spent += accounts[beside].credits_posted - accounts[beside].debits_posted if beside else 0
            if window.lasting:
                spent += self._overage(window.overage)
            budget = database.budget_of(window)
            moment, _ = database.moment(budget, window, -1)
            leasable = plan_lease(moment, _EVERYTHING, _EVERYTHING).leased_nano
            if leasable != max(0, most - spent) and window.limited:
                raise Violation(
                    f"{budget_id} {window.period}: {leasable} can be leased, of {most} of which {spent} is spent"
                )

    def _paid(self) -> dict[int, Money]:
        """Sum what recorded calls paid from each window."""
        of_lease = {lease: w.account for w in self.database.windows.values() for lease in w.leases.values()}
        paid: dict[int, Money] = {}
        for settled in self.database.recorded.values():
            parts = [(settled.lease_account, settled.record.cost_nano - settled.record.overage_nano)]
            parts += [(share.lease_account, share.amount_nano) for share in settled.shares]
            for lease, amount in parts:
                account = of_lease[lease]
                paid[account] = paid.get(account, 0) + amount
        return paid

    def _overage(self, overage: int) -> Money:
        """Sum what went to an overage account: by calls, and to cover leases."""
        total = sum(window.covered_nano for window in self.database.windows.values() if window.overage == overage)
        for settled in self.database.recorded.values():
            if settled.overage_account == overage:
                total += settled.record.overage_nano
            total += sum(share.overage_nano for share in settled.shares if share.overage_account == overage)
        return total

    def check_books(self) -> None:
        """Check the transfers alone, chain by chain, with the checker of the books."""
        database = self.database
        facts = []
        for number, (name, _) in enumerate(database.codes):
            if number:
                account = database.books.accounts[number]
                facts.append(AccountFacts(number, name, account.unit, account.limited, account.sums()))
        checker = Checker(facts)
        for chain, transfers in database.chains.items():
            checker.begin_chain()
            digest, seq = GENESIS, 0
            for seq, transfer in enumerate(transfers, 1):
                digest = link(digest, seq, transfer)
                checker.add(transfer, seq, digest, chain)
            checker.end_chain(seq, digest, chain)
        findings = checker.finish()
        if findings:
            raise Violation(findings[0])


def counted_of(unit: Unit, record: Record, held: int) -> int:
    """Return what a call counts in a unit."""
    if unit is Unit.usd:
        return sum(attempt.cost_nano for attempt in record.attempts)
    if unit is Unit.token:
        if any(attempt.usage_source is UsageSource.held for attempt in record.attempts):
            return held
        return sum(attempt.usage.input_total + attempt.usage.output_total for attempt in record.attempts)
    return 1 if unit is Unit.request else 0
