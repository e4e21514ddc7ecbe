"""Try to overspend: many callers at once on a budget that affords few of their calls.

    python -m bench.overspend [--json] [--only crowd,sim,planted,history,crashes] [--callers 2000]
        [--interleavings 1000000] [--seed N] [--histories 4] [--rounds 200]

Each caller makes one call of a known true price. The budget affords exactly 100 of them. A call holds more than its
true price, since nobody knows beforehand how long its answer will be, so some are refused while others still hold
money; those who are refused try again after 0.5 to 1.5 s, until nobody is served any more.

`overspend.excess_nano`: what was spent beyond the limit, by the transfers.
`overspend.served`: calls that were answered.

Then the same rules are run on a virtual clock (`bench.interleavings`): holds, posts, voids, expiries, crashes and
moves of leases in random orders, in small worlds drawn from seeds. `--seed N` runs world N alone and prints its steps.

`overspend.sim_violations`: worlds in which some invariant broke, or the code raised what it should not.
`overspend.planted_bugs_caught`: of six bugs, planted one at a time, those the same worlds find.

`overspend.history_violations`: what eight processes did to one PostgreSQL at once, replayed (`bench.history`).
`overspend.crash_lost`: what is missing after gateways and database were killed and cut off (`bench.crashes`).
"""

import asyncio
import random
import sys
import time
from typing import Any

from bench.books import SEED, provider
from bench.client import Client, chat
from bench.crashes import crash_lost
from bench.figures import Figure, arguments, show
from bench.harness import bursar
from bench.history import history_violations
from bench.interleavings.planted import BUGS
from bench.interleavings.run import find, run_all, run_world
from bursar.core.money import nano_to_usd

AFFORDED = 100
FIND_MAX = 20_000
MODEL = "gpt-4o-mini"
CONFIG = """
[providers.sandbox]
kind = "sandbox"
base_url = "http://127.0.0.1:{port}/v1"

[models.gpt-4o-mini]
targets = ["sandbox/gpt-4o-mini"]
"""
SPENT = """
select (select coalesce(sum(amount_nano), 0)::bigint from transfers join accounts
        on account_id = credit_account where code = 2300 and kind <> 2) as posted_nano,
    (select coalesce(sum(cost_nano), 0)::bigint from calls) as calls_nano,
    (select count(*) from calls) as calls
"""


def body() -> dict[str, Any]:
    """Word a call: a prompt of a page, an answer of 200 tokens, a cap of 256."""
    question = "Say what is owed, to whom and since when, and add it up. " * 28
    return chat(MODEL, "output=200 ttft_ms=80 tpot_ms=0.1", stream=False, output_cap=256, filler=question)


class Crowd:
    """Hold the callers: each tries until it is served, or nobody can be any more."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._dice = random.Random(SEED)
        self.served = self.refused = 0

    async def call(self) -> None:
        """Try until served, or until nobody was served during three refusals in a row."""
        hopeless = 0
        while hopeless < 3:
            served = self.served
            answer = await self._client.call(body())
            if answer.status == 200:
                self.served += 1
                return
            assert answer.status == 402, answer
            self.refused += 1
            hopeless = hopeless + 1 if served == self.served else 0
            await asyncio.sleep(0.5 + self._dice.random())


def measure(callers: int) -> list[Figure]:
    """Let the crowd at a budget."""
    with provider() as port, bursar(CONFIG.format(port=port)) as local:

        async def price_one() -> int:
            client = Client(local.port, local_secret, 1)
            answer = await client.call(body())
            client.close()
            return answer.status

        local_secret = local.create_key("probe")
        assert asyncio.run(price_one()) == 200
        local.wait_journaled(1)
        before = local.query(SPENT)[0]
        limit = AFFORDED * before["calls_nano"]
        secret = local.create_key("crowd", nano_to_usd(limit))

        async def crowd_in() -> Crowd:
            client = Client(local.port, secret, callers)
            crowd = Crowd(client)
            await asyncio.gather(*(crowd.call() for _ in range(callers)))
            client.close()
            return crowd

        crowd = asyncio.run(crowd_in())
        local.wait_journaled(crowd.served + 1)
        assert local.stop() == 0, local.last_words()
        local.start()
        after, checked = local.query(SPENT)[0], local.audit()
    assert not checked.findings, checked.findings[0]
    spent = after["posted_nano"] - before["posted_nano"]
    assert spent == after["calls_nano"] - before["calls_nano"]
    note = f"{callers:,} callers, {crowd.refused:,} refusals; spent {nano_to_usd(spent)} of {nano_to_usd(limit)} USD"
    return [
        Figure("overspend.excess_nano", max(0, spent - limit), "nano-USD", note=note),
        Figure("overspend.served", crowd.served, "calls", note=f"of the {AFFORDED} the budget affords"),
    ]


def simulate(interleavings: int) -> list[Figure]:
    """Run random interleavings of everything that moves money."""
    began = time.monotonic()
    outcome = run_all(0, interleavings)
    took = time.monotonic() - began
    note = f"{outcome.interleavings:,} interleavings, {outcome.steps:,} steps, {outcome.calls:,} calls, {took:,.0f} s"
    if outcome.broken:
        seed, what = outcome.broken[0]
        run_world(seed, say=lambda text: print(text, file=sys.stderr))
        note += f"; the first is world {seed}: {what}"
    return [Figure("overspend.sim_violations", len(outcome.broken), "worlds", note=note)]


def plant() -> list[Figure]:
    """Plant each bug and count those that are found."""
    found: list[str] = []
    for bug in BUGS:
        outcome = find(bug, 0, FIND_MAX)
        if outcome.broken and not run_world(outcome.broken[0][0]).broken:
            found.append(f"{bug} after {outcome.interleavings}")
    note = f"interleavings: {', '.join(found)}"
    return [Figure("overspend.planted_bugs_caught", len(found), f"of {len(BUGS)}", note=note)]


def main() -> None:
    """Measure and show."""
    numbers = {"callers": 2_000, "interleavings": 1_000_000, "seed": -1, "histories": 4, "rounds": 200}
    options = arguments(__doc__, only="crowd,sim,planted,history,crashes", **numbers)
    if options.seed >= 0:
        run_world(options.seed, say=print)
        return
    figures: list[Figure] = []
    for part in options.only.split(","):
        if part == "crowd":
            figures += measure(options.callers)
        elif part == "sim":
            figures += simulate(options.interleavings)
        elif part == "planted":
            figures += plant()
        elif part == "history":
            figures.append(history_violations(options.histories, SEED))
        elif part == "crashes":
            figures.append(crash_lost(options.rounds, SEED))
        else:
            sys.exit(f"--only: expected crowd, sim, planted, history or crashes, got {part!r}")
    show("overspend", figures, as_json=options.json)


if __name__ == "__main__":
    main()
