"""Lease, spend, return, change limits, give gateways up and take back what was theirs: record and replay it.

Each process is a gateway. Those that are not seen for a moment are given up by any other, go on spending what their
leases still have in the books, notice, and begin anew. The model keeps one number for each account.
"""

import time
from typing import Any

import msgspec

from bench.history import NOW_US, TENANT, Operation, Teller, plain, resolve, unforeseen
from bench.replay import out_of_time
from bursar.budgets.budget import Budget, Terms
from bursar.budgets.purse import Ask
from bursar.core.errors import OperatorError
from bursar.ledger import chart
from bursar.ledger.chart import Code, Unit
from bursar.ledger.lease import Grant
from bursar.ledger.transfer import Kind, Reason, Transfer
from bursar.store.accounts import Opening, book, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection
from bursar.store.gateways import Place as Seat
from bursar.store.gateways import be_seen, give_up_dead, leases_set_aside, recovered, take_place
from bursar.store.holders import Place, create_holder, find_holder, set_budgets
from bursar.store.leases import OpenLease, id_of, open_lease, return_lease, take_back

BUDGETS = ("alpha", "beta", "gamma")
UNSEEN_US = 60_000
FAR_US = 1_000_000_000_000


def now_us() -> int:
    """Return the time in microseconds: what has the same name at the same time is the same act."""
    return time.time_ns() // 1_000


class Gateway:
    """Be a gateway: keep what was leased, and do what gateways do."""

    def __init__(self, teller: Teller, budgets: dict[str, Budget]) -> None:
        self.teller = teller
        self.budgets = budgets
        self.name = f"gw_{teller.task.process}"
        self.seat: Seat
        self.grants: dict[str, Grant] = {}
        self.holds: list[Transfer] = []

    async def begin(self) -> None:
        """Take a place, and take back what was set aside."""

        async def work(connection: Connection) -> dict[str, Any]:
            seat = await take_place(connection, self.name, NOW_US, spool_is_new=False)
            for lease in await leases_set_aside(connection, seat.gateway):
                await take_back(connection, lease, id_of("come back", lease.account_id, seat.epoch), now_us())
            if seat.given_up:
                await recovered(connection, seat)
            opening = Opening(chart.used_name(Unit.usd, seat.gateway), Code.used)
            self.used, _ = await open_account(connection, TENANT, opening, NOW_US)
            return msgspec.to_builtins(seat)

        while True:
            operation = await self.teller.do("begin", self.name, work)
            if operation.completed_ns is not None:
                self.seat = msgspec.convert(operation.answer, Seat)
                return

    async def lease(self) -> None:
        """Lease some of a budget, asking under the same name until there is an answer."""
        dice = self.teller.dice
        name, transfer_id = dice.choice(BUDGETS), dice.randbytes(16)
        need = dice.randint(1, 60)
        ask = Ask(self.budgets[name], need, need * dice.choice((1, 1, 4)))
        asked = {"budget": name, "need": need, "want": ask.want_nano, "id": transfer_id.hex(), "gateway": self.name}

        async def work(connection: Connection) -> dict[str, Any]:
            grant = await open_lease(connection, ask, self.seat.gateway, transfer_id, NOW_US)
            self.grants[name] = grant
            return {"granted": grant.granted_nano, "left": grant.left_nano, "most": grant.most_nano}

        while (await self.teller.do("lease", asked, work)).completed_ns is None:
            pass

    async def give_back(self) -> None:
        """Return a part of a lease, which the books refuse where it is not there any more."""
        dice = self.teller.dice
        if not self.grants:
            return
        name, amount = dice.choice(list(self.grants)), dice.randint(0, 40)
        grant, transfer_id = self.grants[name], dice.randbytes(16)
        lease = OpenLease(TENANT, grant.lease_account, grant.budget_account, amount, unit=Unit.usd)
        asked = {"budget": name, "amount": amount, "gateway": self.name}
        await self.teller.do(
            "give back", asked, lambda connection: return_lease(connection, lease, transfer_id, NOW_US)
        )

    async def spend(self) -> None:
        """Spend from a lease, hold there, or end a hold; on the gateway's own chain."""
        dice = self.teller.dice
        if self.holds and dice.random() < 0.4:
            hold = self.holds.pop(0)
            amount = dice.randint(0, hold.amount_nano)
            kind = Kind.post_hold if dice.random() < 0.7 else Kind.void_hold
            amount = amount if kind is Kind.post_hold else 0
            sides, ends = (hold.debit_account, hold.credit_account), (hold.transfer_id, hold.amount_nano)
            transfer = Transfer(dice.randbytes(16), *sides, amount, kind, Reason.call, NOW_US, *ends)
        elif self.grants:
            grant = self.grants[dice.choice(list(self.grants))]
            kind = dice.choice((Kind.post, Kind.hold))
            sides = (grant.lease_account, self.used)
            transfer = Transfer(dice.randbytes(16), *sides, dice.randint(0, 50), kind, Reason.call, NOW_US)
            if kind is Kind.hold:
                self.holds.append(transfer)
        else:
            return

        async def work(connection: Connection) -> str:
            return (await book(connection, TENANT, self.seat.gateway, [transfer], NOW_US))[0].name

        await self.teller.do("spend", plain(transfer), work)

    async def limit(self) -> None:
        """Change a budget's limit."""
        name, limit = self.teller.dice.choice(BUDGETS), self.teller.dice.randint(100, 2_000)

        async def work(connection: Connection) -> None:
            await set_budgets(connection, name, [Terms(limit)], NOW_US)

        await self.teller.do("limit", {"budget": name, "limit": limit}, work)

    async def reap(self) -> None:
        """Give up whoever was not seen for a moment."""

        async def work(connection: Connection) -> list[int]:
            return [dead.gateway for dead in await give_up_dead(connection, UNSEEN_US, now_us())]

        await self.teller.do("reap", None, work)

    async def seen(self) -> None:
        """Say that this gateway lives; begin anew where it was given up."""
        asked = {"gateway": self.seat.gateway, "epoch": self.seat.epoch}
        operation = await self.teller.do("seen", asked, lambda connection: be_seen(connection, self.seat))
        if operation.answer is False:
            await self.begin()


async def leases(teller: Teller) -> None:
    """Do what gateways do, at random."""
    connection = await teller.connected()
    budgets: dict[str, Budget] = {}
    for name in BUDGETS:
        try:
            async with connection.transaction():
                holder = await create_holder(connection, name, Place("team"), [Terms(1_000)], NOW_US)
        except OperatorError:  # another process has made it
            holder = await find_holder(connection, name)
        budgets[name] = holder.budgets[0]
    gateway = Gateway(teller, budgets)
    await gateway.begin()
    acts = (gateway.lease, gateway.give_back, gateway.spend, gateway.limit, gateway.reap, gateway.seen)
    for _ in range(teller.task.operations):
        await teller.dice.choices(acts, (30, 15, 35, 6, 4, 10))[0]()


class Ledger:
    """Keep one number an account: what it has. A lease also has what it holds."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = dict.fromkeys(BUDGETS, 1_000)
        self.opened: set[str] = set()
        self.granted: dict[str, int] = dict.fromkeys(BUDGETS, 0)  # less what was withdrawn
        self.free: dict[str, int] = dict.fromkeys(BUDGETS, 0)
        self.withdrawn: dict[str, int] = dict.fromkeys(BUDGETS, 0)
        self.leases: dict[tuple[int, str], int] = {}  # by gateway and budget
        self.aside: dict[tuple[int, str], int] = {}
        self.spent: dict[int, int] = {}  # by gateway
        self.holds: dict[str, int] = {}
        self.asked: dict[str, int] = {}  # what was granted under a name
        self.epochs: dict[int, int] = {}
        self.dead: set[int] = set()
        self.numbers: dict[str, int] = {}  # of gateways by name

    def bring_to_limit(self, name: str) -> int:
        """Grant or withdraw what a limit asks for, and return the limit."""
        beyond = self.granted[name] - self.limits[name]
        moved = -beyond if beyond < 0 else -min(beyond, max(0, self.free[name]))
        self.granted[name] += moved
        self.free[name] += moved
        self.withdrawn[name] += max(0, -moved)
        return self.limits[name]

    def lease(self, asked: dict[str, Any], answer: dict[str, Any], amount: int | None) -> str | None:
        """Lease; returns what is wrong. `amount` is what the books have under this name."""
        name, need, want, key = asked["budget"], asked["need"], asked["want"], asked["id"]
        self.opened.add(name)
        most = self.limits[name]
        if key not in self.asked:
            self.bring_to_limit(name)
            left = self.free[name]
            alive = len(self.epochs) - len(self.dead)
            possible = {min(want, left, max(need, left // share)) for share in range(1, max(1, alive) + 2)}
            if amount not in possible:
                return f"leased {amount} of {left}, expected one of {possible}"
            assert amount is not None
            self.asked[key] = amount
            self.free[name] -= amount
            lease = (self.numbers[asked["gateway"]], name)
            self.leases[lease] = self.leases.get(lease, 0) + amount
        expected = {"granted": self.asked[key], "left": self.free[name], "most": most}
        return None if answer == expected else f"answered {answer}, the model {expected}"

    def give_back(self, asked: dict[str, Any]) -> str | None:
        """Return a part of a lease."""
        lease = (self.numbers[asked["gateway"]], asked["budget"])
        if self.leases[lease] < asked["amount"]:
            return f"took {asked['amount']} from a lease of {self.leases[lease]}"
        self.leases[lease] -= asked["amount"]
        self.free[asked["budget"]] += asked["amount"]
        return None

    def spend(self, asked: dict[str, Any], lease: tuple[int, str]) -> str:
        """Spend from a lease, hold there, or end a hold; returns the status."""
        amount, kind = asked["amount"], asked["kind"]
        if kind in ("post", "hold"):
            if amount > self.leases[lease]:
                return "exceeds_credits"
            self.leases[lease] -= amount
            if kind == "hold":
                self.holds[asked["id"]] = amount
                return "created"
        elif asked["hold_id"] not in self.holds:
            return "hold_not_found"
        else:
            self.leases[lease] += self.holds.pop(asked["hold_id"]) - amount
        self.spent[lease[0]] = self.spent.get(lease[0], 0) + amount
        return "created"


class Replay:
    """Replay a history of leases against what the books wrote for each operation."""

    def __init__(self, heads: dict[int, int], control: dict[int, Any], accounts: dict[int, str]) -> None:
        self.model = Ledger()
        self.heads = heads  # the control chain's, after each place
        self.control = control  # its transfers
        self.accounts = accounts
        self.head = 0

    def replay(self, each: Operation) -> str | None:
        """Do an operation; returns what is wrong with it."""
        rows = [self.control[seq] for seq in range(self.head + 1, self.heads[each.place or 0] + 1)]
        self.head = max(self.head, self.heads[each.place or 0])
        model, asked, answer = self.model, each.asked, each.answer
        if each.name == "begin":
            return self._begin(each)
        if each.name == "lease":
            amount = next((row["amount_nano"] for row in rows if row["transfer_id"].hex() == asked["id"]), None)
            return model.lease(asked, answer, amount)
        if each.name == "give back":
            return model.give_back(asked)
        if each.name == "limit":
            model.limits[asked["budget"]] = asked["limit"]
            if asked["budget"] in model.opened:
                model.bring_to_limit(asked["budget"])
            return None
        if each.name == "reap":
            return self._reap(rows, answer)
        expected: Any
        if each.name == "seen":
            expected = model.epochs[asked["gateway"]] == asked["epoch"]
        else:
            expected = model.spend(asked, self._lease_of(asked["debit"]))
        return None if answer == expected else f"answered {answer}, the model {expected}"

    def _lease_of(self, account: int) -> tuple[int, str]:
        _, gateway, _, budget, _ = self.accounts[account].split(":")
        return int(gateway), budget

    def _begin(self, each: Operation) -> str | None:
        model, name = self.model, each.asked
        gateway = model.numbers[name]
        given_up = gateway in model.dead
        model.dead.discard(gateway)
        model.epochs[gateway] = model.epochs.get(gateway, 0) + 1
        for lease in [lease for lease in model.aside if lease[0] == gateway]:
            model.leases[lease] += model.aside.pop(lease)
        expected = {"gateway": gateway, "epoch": model.epochs[gateway], "may_have_lost": False, "given_up": given_up}
        return None if each.answer == expected else f"answered {each.answer}, the model {expected}"

    def _reap(self, rows: list[Any], answer: list[int]) -> str | None:
        """Follow what was set aside: all that a lease had, unless its gateway leased more that very moment."""
        model = self.model
        for row in rows:
            lease, amount = self._lease_of(row["debit_account"]), row["amount_nano"]
            if not 0 < amount <= model.leases[lease]:
                return f"set {amount} of {lease} aside, which has {model.leases[lease]}"
            model.leases[lease] -= amount
            model.aside[lease] = model.aside.get(lease, 0) + amount
        for gateway in answer:
            if gateway in model.dead:
                return f"gave gateway {gateway} up twice"
            model.dead.add(gateway)
            model.epochs[gateway] += 1
        return None


async def check_leases(connection: Connection, history: list[Operation]) -> list[str]:
    """Replay a history of leases and compare everything."""
    heads = await resolve(connection, history)
    names = {row["holder_id"]: row["name"] for row in await connection.fetch("select holder_id, name from holders")}
    rows = await connection.fetch("select * from accounts")
    accounts = {row["account_id"]: ":".join(names.get(part, part) for part in row["name"].split(":")) for row in rows}
    control = {row["seq"]: row for row in await connection.fetch("select * from transfers where chain = 0")}
    replay = Replay(heads, control, accounts)
    replay.model.numbers = {row["name"]: row["gateway"] for row in await connection.fetch("select * from gateways")}
    found = unforeseen(history) + list(out_of_time(history))
    for each in sorted((each for each in history if each.place is not None), key=lambda each: each.place or 0):
        if (wrong := replay.replay(each)) is not None:
            found.append(f"{each.words} {each.asked}: {wrong}")
    model, kept = replay.model, {accounts[row["account_id"]]: row for row in rows}
    expected = {f"budget:{name}:total": free for name, free in model.free.items()}
    expected |= {f"withdrawn:budget:{name}:total": amount for name, amount in model.withdrawn.items()}
    expected |= {f"lease:{lease[0]}:budget:{lease[1]}:total": amount for lease, amount in model.leases.items()}
    expected |= {chart.used_name(Unit.usd, gateway): amount for gateway, amount in model.spent.items()}
    for (_, name), amount in model.aside.items():
        beside = f"indeterminate:budget:{name}:total"
        expected[beside] = expected.get(beside, 0) + amount
    for name, amount in expected.items():
        row = kept.get(name)
        is_now = 0 if row is None else row["credits_posted"] - row["debits_posted"] - row["debits_pending"]
        if is_now != amount:
            found.append(f"{name} has {is_now}, the model {amount}")
    return found + (await audit(connection)).findings
