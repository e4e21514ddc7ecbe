"""Kill gateways and their database under load, cut the line between them, and count what is missing afterwards.

Two installations share one database: `home` runs it beside two gateways, `away` reaches it over a line that can be
cut. Their callers spend from one small tree of budgets that is always nearly exhausted, so that gateways want leases
others have: a limit is raised by a few calls' worth whenever nobody is served any more. In each round something is
killed with SIGKILL or cut off, and must serve again.

At the end everything runs again, is drained and stopped in order. Each call that was answered must be in the books with
the cost it was told; no budget may have spent more than its limit; nothing may still be held, leased or undecided; and
the books must pass their check.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import uvloop

from bench.books import provider
from bench.client import Client, chat
from bench.figures import Figure
from bench.harness import LocalBursar, bursar, database
from bench.line import LineThread
from bursar.budgets.budget import Terms
from bursar.core.errors import BooksError
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.store.holders import Place, create_holder, set_budgets
from bursar.store.postgres import DataFolder

MODEL = "gpt-4o-mini"
DEAD_AFTER_S = 3
CALLERS = 3  # a key and installation
ALLOWANCE_NANO = 2_000_000
CONFIG = f"""
[gateway]
durability = "fast"
dead_after_s = {DEAD_AFTER_S}
drain_s = 5

[providers.sandbox]
kind = "sandbox"
base_url = "http://127.0.0.1:{{port}}/v1"

[models."{MODEL}"]
targets = ["sandbox/{MODEL}"]
"""
FAULTS = (
    *("home worker", "postgres", "away worker", "home worker", "postgres"),
    *("away up", "home worker", "short cut", "postgres", "long freeze"),
    *("home worker", "postgres", "away worker", "home up", "postgres"),
    *("away up", "home worker", "short freeze", "postgres", "long cut"),
)
LEFT = """
select coalesce(sum(credits_posted - debits_posted) filter (where code = 2200), 0)::bigint as leased,
    coalesce(sum(debits_pending) filter (where code = 2200), 0)::bigint as held,
    coalesce(sum(credits_posted - debits_posted) filter (where code = 2500), 0)::bigint as undecided,
    coalesce(sum(debits_posted - credits_posted) filter (where code = 2400), 0)::bigint as overage,
    (select count(*) from gateways where reaped_us is not null) as given_up,
    (select count(*) from transfers as hold where kind = 2 and not exists
        (select from transfers as ended where ended.tenant = hold.tenant and ended.hold_id = hold.transfer_id)) as holds
from accounts
"""
SPENT = """
select keys.name, budget_account, sum(cost_nano)::bigint as cost_nano
from calls join keys using (tenant, key_id) group by 1, 2
"""
ANSWERED = "select 'call_' || encode(call_id, 'hex') as id, cost_nano from calls"


class Load:
    """Call both installations with every key, whatever happens to them, and keep what was answered."""

    def __init__(self, ports: dict[str, int], secrets: list[str]) -> None:
        self.costs: dict[str, int] = {}  # nano-USD, by the call's name
        self.statuses: dict[str, Counter[int]] = {name: Counter() for name in ports}
        self._clients = [(name, Client(port, secret, CALLERS)) for name, port in ports.items() for secret in secrets]
        self._stop = asyncio.Event()
        self._callers: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Begin to call."""
        for number, (name, client) in enumerate(self._clients * CALLERS):
            self._callers.append(asyncio.create_task(self._keep_calling(name, client, random.Random(number))))

    async def end(self) -> None:
        """Wait for the calls under way, and make no more."""
        self._stop.set()
        await asyncio.gather(*self._callers)
        for _, client in self._clients:
            client.close()

    async def _keep_calling(self, name: str, client: Client, dice: random.Random) -> None:
        while not self._stop.is_set():
            direction = f"output={dice.randint(1, 20)} ttft_ms={dice.randint(0, 30)}"
            answer = await client.call(chat(MODEL, direction, stream=dice.random() < 0.3, output_cap=24))
            self.statuses[name][answer.status] += 1
            if answer.status == 200 and answer.whole:
                assert answer.call_id not in self.costs
                self.costs[answer.call_id] = usd_to_nano(answer.cost_usd)
            elif answer.status != 200:
                await asyncio.sleep(0.1 + dice.random() / 5)


class Fleet:
    """Hold both installations and the limits in force."""

    def __init__(self, home: LocalBursar, away: LocalBursar, line: LineThread) -> None:
        self.installations = {"home": home, "away": away}
        self.line = line
        self.load: Load
        self.limits = {"team": ALLOWANCE_NANO, "limited": ALLOWANCE_NANO}
        self.minute = usd_to_nano("0.0005")

    def make_keys(self) -> list[str]:
        """Make a team with a limit, and below it a key with a limit, one with a limit a minute and one without."""
        home = self.installations["home"]

        async def make_team() -> None:
            async with database(home.database_url) as connection:
                terms = Terms(self.limits["team"])
                await create_holder(connection, "team", Place("team"), [terms], time.time_ns() // 1000)

        asyncio.run(make_team())
        limits = {"limited": nano_to_usd(self.limits["limited"]), "minute": nano_to_usd(self.minute) + "/minute"}
        return [home.create_key(name, limits.get(name), parent="team") for name in ("limited", "minute", "open")]

    def raise_limits(self) -> None:
        """Allow a few calls more."""
        amounts = {"team": self.limits["team"] + 2 * ALLOWANCE_NANO, "limited": self.limits["limited"] + ALLOWANCE_NANO}

        async def work() -> None:
            async with database(self.installations["home"].database_url) as connection:
                for name, amount in amounts.items():
                    # What is not answered may have been done: then the higher limit is the one to keep.
                    self.limits[name] = amount
                    await set_budgets(connection, name, [Terms(amount)], time.time_ns() // 1000)

        with contextlib.suppress(BooksError, OSError):  # the database is coming back
            asyncio.run(work())

    def wait_served(self, name: str, timeout_s: float = 60.0) -> None:
        """Wait until an installation answers calls, raising the limits while none is served."""
        deadline, counts = time.monotonic() + timeout_s, self.load.statuses[name]
        served = counts[200]
        while counts[200] < served + 3:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not serve again: {self.installations[name].last_words()}")
            self.raise_limits()
            time.sleep(0.3)

    def strike(self, fault: str, dice: random.Random) -> None:
        """Do what a round is for, and wait until all serve again."""
        where, _, what = fault.partition(" ")
        if where in ("short", "long"):
            self._partition(what, 1.0 + dice.random() if where == "short" else DEAD_AFTER_S + 4.0 + dice.random())
            where = "away"
        elif what == "up":
            self._kill_up(where)
        else:
            home = self.installations["home" if fault == "postgres" else where]
            home.kill(what or "postgres", dice.randrange(2))
        self.wait_served(where if where != "postgres" else dice.choice(("home", "away")))

    def _kill_up(self, name: str) -> None:
        local = self.installations[name]
        local.kill_all()
        for _ in range(5):
            with contextlib.suppress(RuntimeError):  # a supervisor that finds no database says so and ends
                local.start()
                break
        other = self.installations["away" if name == "home" else "home"]
        assert other.process is not None
        assert other.process.poll() is None, other.last_words()

    def _partition(self, how: str, seconds: float) -> None:
        counts = self.load.statuses["away"]
        before = counts.copy()
        (self.line.cut if how == "cut" else self.line.freeze)()
        time.sleep(seconds)
        during = counts - before
        if seconds > DEAD_AFTER_S:
            # No lease lasts for as long as this at the rate at which these callers spend.
            assert during[503] > 0, f"a gateway without its database went on: {during}"
            text = "select count(*) as n from gateways where reaped_us is not null"
            assert self.installations["home"].query(text)[0]["n"], "a gateway nobody has seen was not given up"
        self.line.heal()


async def rounds_under_load(fleet: Fleet, load: Load, rounds: int, seed: int) -> None:
    """Strike so many times while calls are made."""
    dice, fleet.load = random.Random(seed), load
    load.begin()
    began = time.monotonic()
    for number in range(rounds):
        fault = FAULTS[number % len(FAULTS)]
        await asyncio.sleep(0.2 + dice.random() * 0.4)
        await asyncio.to_thread(fleet.strike, fault, dice)
        at_s = time.monotonic() - began
        print(f"{at_s:6.1f} s  {number + 1}/{rounds} {fault}: {len(load.costs):,} answered", file=sys.stderr)
    for name in fleet.installations:
        await asyncio.to_thread(fleet.wait_served, name)
    await load.end()


class Losses(msgspec.Struct):
    """Count what is wrong at the end."""

    missing: int
    told_otherwise: int
    overspent_nano: int
    left: dict[str, int]
    findings: list[str]

    @property
    def total(self) -> int:
        """Return one number that is 0 only when nothing is wrong."""
        return self.missing + self.told_otherwise + self.overspent_nano + sum(self.left.values()) + len(self.findings)


def count_losses(fleet: Fleet, load: Load) -> Losses:
    """Compare what callers were told with the books."""
    home = fleet.installations["home"]
    kept = {row["id"]: row["cost_nano"] for row in home.query(ANSWERED)}
    spent: dict[str, int] = {}
    overspent = 0
    for row in home.query(SPENT):
        spent[row["name"]] = spent.get(row["name"], 0) + row["cost_nano"]
        if row["name"] == "minute":
            overspent += max(0, row["cost_nano"] - fleet.minute)
    overspent += max(0, spent["limited"] - fleet.limits["limited"])
    overspent += max(0, sum(spent.values()) - fleet.limits["team"])
    return Losses(
        sum(name not in kept for name in load.costs),
        sum(name in kept and kept[name] != cost for name, cost in load.costs.items()),
        overspent,
        home.query(LEFT)[0],
        home.audit().findings,
    )


@contextlib.contextmanager
def fleet_of(port: int) -> Iterator[Fleet]:
    """Run both installations."""
    with bursar(CONFIG.format(port=port), workers=2) as home, LineThread(DataFolder(home.data).url) as line:
        away = LocalBursar(CONFIG.format(port=port))
        away.environment["BURSAR_DATABASE_URL"] = line.url
        try:
            away.start()
            yield Fleet(home, away, line)
        finally:
            if away.process is not None and away.process.poll() is None:
                away.kill_all()
            away.remove()


def crash_lost(rounds: int, seed: int) -> Figure:
    """Measure what so many faults lose."""
    with provider() as port, fleet_of(port) as fleet:
        home, away = fleet.installations.values()
        ports = {name: local.port for name, local in fleet.installations.items()}
        secrets = fleet.make_keys()

        async def work() -> Load:
            load = Load(ports, secrets)
            await rounds_under_load(fleet, load, rounds, seed)
            return load

        load = uvloop.run(work())
        for local in (away, home):
            assert local.stop() == 0, local.last_words()
        home.start()
        losses = count_losses(fleet, load)
        undecided_calls = home.query("select count(*) as n from calls where status = 5")[0]["n"]
        if losses.total:
            print(losses, file=sys.stderr)
    statuses = sum(load.statuses.values(), Counter())
    note = (
        f"{rounds} rounds, {len(load.costs):,} calls answered, {statuses[402]:,} refused for money, {statuses[503]:,}"
        f" without a database; {undecided_calls:,} under way at a kill; {nano_to_usd(fleet.limits['team'])} USD allowed"
    )
    return Figure("overspend.crash_lost", losses.total, "calls + nano-USD", note=note)
