"""Try to overspend: many callers at once on a budget that affords few of their calls.

    python -m bench.overspend [--json] [--callers 2000]

Each caller makes one call of a known true price. The budget affords exactly 100 of them. A call holds more than its
true price, since nobody knows beforehand how long its answer will be, so some are refused while others still hold
money; those who are refused try again after 0.5 to 1.5 s, until nobody is served any more.

`overspend.excess_nano`: what was spent beyond the limit, by the transfers.
`overspend.served`: calls that were answered.
"""

import asyncio
import random
from typing import Any

from bench.books import SEED, provider
from bench.client import Client, chat
from bench.figures import Figure, arguments, show
from bench.harness import bursar
from bursar.core.money import nano_to_usd

AFFORDED = 100
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


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, callers=2_000)
    show("overspend", measure(options.callers), as_json=options.json)


if __name__ == "__main__":
    main()
