"""Draw a world and its schedule from a seed, run them step by step to quiescence, and check what must hold."""

from collections.abc import Callable
from functools import lru_cache
from random import Random

import msgspec

from bench.interleavings.database import TENANT, Database, Fenced, Refused
from bench.interleavings.gateway import Clock, Gateway
from bench.interleavings.oracle import Oracle
from bursar.budgets.budget import Budget, Enforcement, Terms, Window
from bursar.budgets.settlement import Wish
from bursar.budgets.tree import Claim, Holder, Tree
from bursar.core.money import Money
from bursar.core.times import DAY_US, SECOND_US
from bursar.ledger.chart import Unit, overdraft_id

SCHEDULES = 4
"""Schedules a world lives through, one carried over to the next."""

MIDNIGHT = 20_000 * DAY_US
COST = 300_000
_TOKENS = 100

USD = Unit.usd
SHAPES: tuple[tuple[tuple[str, tuple[Terms, ...]], ...], ...] = (
    (("key", (Terms(12 * COST),)),),
    (("key", (Terms(4 * COST, Window.minute),)), ("team", (Terms(10 * COST, Window.day),))),
    (("key", (Terms(5 * COST, Window.minute, rolling=True),)),),
    (
        ("key", (Terms(10 * COST, enforcement=Enforcement.grace, grace_nano=2 * COST),)),
        ("team", (Terms(8 * COST, Window.day), Terms(6, Window.minute, Unit.request))),
    ),
    (
        ("key", (Terms(8 * COST, Window.day, overdraft_nano=2 * COST),)),
        ("team", (Terms(4, Window.total, Unit.call),)),
    ),
    (
        ("key", (Terms(None), Terms(6 * _TOKENS, Window.minute, Unit.token))),
        ("team", (Terms(5 * COST, Window.minute, rolling=True),)),
        ("house", (Terms(15 * COST),)),
    ),
)
"""Holders of a key's line, the key first, with their budgets."""

FACTORS = (0.5, 1.0, 1.0, 2.0)
"""What limits are set to, of what they were drawn with."""


@lru_cache(maxsize=10_000)
def claim_of(shape: int, factors: tuple[float, ...], frozen: bool) -> Claim:
    """Find what the holders of a key say, by the tree."""
    holders, number, line = [], 0, SHAPES[shape]
    for place, (name, budgets) in enumerate(line):
        made = []
        for each in budgets:
            made.append(Budget(f"{name}{len(made)}", TENANT, scaled(each, factors[number])))
            number += 1
        parent = line[place + 1][0] if place + 1 < len(line) else None
        holders.append(Holder(name, TENANT, name, "budget", tuple(made), parent, frozen=frozen and not place))
    return Tree(holders).path(line[0][0]).find("", "m", {})


@lru_cache(maxsize=10_000)
def scaled(terms: Terms, factor: float) -> Terms:
    """Set another limit."""
    if terms.limit_nano is None:
        return terms
    return msgspec.structs.replace(terms, limit_nano=int(terms.limit_nano * factor))


class Parts(msgspec.Struct, frozen=True):
    """Say what a world is made of."""

    database: type[Database] = Database
    gateway: type[Gateway] = Gateway


class World:
    """Hold one simulated world."""

    def __init__(self, seed: int, parts: Parts | None = None, say: Callable[[str], None] | None = None) -> None:
        parts = parts or Parts()
        self.dice = dice = Random(seed)
        self.say = say
        self.steps = 0
        self.clock = Clock(MIDNIGHT - int(dice.random() * 90 * SECOND_US))
        self.database = parts.database()
        self.oracle = Oracle(self.database)
        self.shape = dice.randrange(len(SHAPES))
        self.factors = tuple(1.0 for _, budgets in SHAPES[self.shape] for _ in budgets)
        self.frozen = False
        self.gateways = [parts.gateway(self.database, self.oracle, n, dice) for n in range(1, dice.randint(3, 4))]
        self.database.recall = self._recall
        self.set_in_force()
        for each in self.gateways:
            each.skew_us = dice.choice((0, 0, 0, -300_000, 700_000, -2_000_000, 3_000_000))
            self.begin(each, whole=True)

    def set_in_force(self) -> None:
        """Write the terms of all budgets down."""
        for budget in claim_of(self.shape, self.factors, self.frozen).budgets:
            self.database.in_force[budget.budget_id] = budget.terms
        self.database.budgets = {b.budget_id: b for b in claim_of(self.shape, self.factors, self.frozen).budgets}

    def _recall(self, budget_id: str) -> None:
        for gateway in self.gateways:
            if gateway.serving:
                gateway.recalls.append(budget_id)

    def begin(self, gateway: Gateway, *, whole: bool = False) -> None:
        """Begin a gateway's next life, at once or step by step."""
        gateway.recovery = gateway.recover(self.clock)
        if whole:
            while gateway.recovery is not None:
                self.recover(gateway)

    def recover(self, gateway: Gateway) -> None:
        """Take one step of a recovery. A gateway that was given up meanwhile begins anew."""
        assert gateway.recovery is not None
        try:
            next(gateway.recovery)
        except StopIteration:
            gateway.recovery = None
            gateway.view = claim_of(self.shape, self.factors, self.frozen)
        except (Fenced, Refused):
            if self.database.places[gateway.number].epoch == gateway.epoch:
                raise
            gateway.die(power=False)

    def now(self, gateway: Gateway) -> int:
        """Read a gateway's clock."""
        return self.clock.now_us + gateway.skew_us

    def wish(self, claim: Claim) -> Wish:
        """Say what the next call holds."""
        most = self.dice.choice((COST, COST, COST // 2, 2 * COST))
        amounts = {Unit.usd: most, Unit.token: _TOKENS, Unit.request: 1, Unit.call: 1}
        wanted = [amounts[budget.terms.unit] for budget in claim.budgets]
        first = claim.budgets[0]
        if first.terms.overdraft_nano and first.terms.most_nano is not None:
            wanted[0] = most * 2 // 3
            terms = msgspec.structs.replace(first.terms, limit_nano=first.terms.overdraft_nano, grace_nano=0)
            line = Budget(overdraft_id(first.budget_id), first.tenant, terms, first.holder)
            budgets = (*claim.budgets, line)
            return Wish(budgets, (*wanted, most - wanted[0]), 1, 1, ((0, len(claim.budgets)),))
        return Wish(claim.budgets, tuple(wanted), 1, 1)

    def costs(self, held: Money) -> tuple[Money, ...]:
        """Draw what a call costs: mostly within its hold, at one provider."""
        draw = self.dice.random()
        if draw < 0.1:
            return (0,)
        if draw < 0.2:
            return (held + 1 + int(self.dice.random() * held),)
        if draw < 0.3:
            return (held // 3, held // 3)
        return (int(self.dice.random() * held) if draw < 0.8 else held,)
