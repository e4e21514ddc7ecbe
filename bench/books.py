"""Try to break the books: faults, hang-ups, kill -9; and count what is missing.

    python -m bench.books [--json] [--calls 20000] [--rounds 20]

`books.imbalance_nano`: so many calls, 256 in flight, in both protocols, half of them streams, and one client in twelve
hangs up. In the first half the provider throttles and fails; what it then has on its own bill, at the same prices, is
`books.provider_bill_nano` away from what was charged. In the second half it also stalls, breaks off, stammers, keeps
its usage to itself and ignores the cap. The imbalance is the largest difference between the cost of all calls, the
postings to providers, and the balances of their accounts; the books must also pass their check.

`books.lost_calls_*`: under load, the gateway and then PostgreSQL are killed with SIGKILL so many times each, at random
moments. Lost is a call that was answered in full and is not in the books afterwards.
"""

import asyncio
import contextlib
import json
import random
import time
import urllib.request
from collections.abc import Coroutine, Iterator
from typing import Any

import uvloop

from bench.client import Client, chat
from bench.figures import Figure, arguments, show
from bench.harness import LocalBursar, bursar, free_port, serving
from bursar.core.usage import usage_of
from bursar.prices import load
from bursar.prices.charge import cost

SEED = 20_261_122
IN_FLIGHT = 256
MODELS = ("gpt-4o-mini", "gpt-5-mini", "claude-haiku-4-5", "claude-sonnet-4-5")
BILLED_FAULTS = ("fault=429", "fault=500")  # what the provider bills is certain
FAULTS = (*BILLED_FAULTS, "fault=503", "fault=stall", "fault=cut", "fault=malformed", "fault=silent", "fault=overrun")
CONFIG = """
[gateway]
durability = "{durability}"

[providers.sandbox]
kind = "sandbox"
base_url = "http://127.0.0.1:{port}/v1"
first_byte_s = 3
idle_s = 2
""" + "".join(f'\n[models."{name}"]\ntargets = ["sandbox/{name}"]\n' for name in MODELS)
TOTALS = """
select (select coalesce(sum(cost_nano), 0)::bigint from calls) as calls_nano,
    (select coalesce(sum(amount_nano), 0)::bigint from transfers join accounts
        on account_id = credit_account where code = 2300 and kind <> 2) as posted_nano,
    (select coalesce(sum(credits_posted - debits_posted), 0)::bigint from accounts where code = 2300) as balance_nano,
    (select count(*) from calls) as calls
"""


@contextlib.contextmanager
def provider(core: int | None = None) -> Iterator[int]:
    """Run a sandbox of our own, to read its bill and to have it outlive the gateway; yield its port."""
    port = free_port()
    with serving(["bursar", "sandbox", "--port", str(port)], port, core=core):
        yield port


def _bill(port: int) -> dict[str, dict[str, int]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sandbox/bill") as answer:
        return json.load(answer)["usage"]


def billed_nano(port: int) -> int:
    """Price the provider's own bill. Each model's tokens are below every tier, so that a sum has one price."""
    book, now_us = load(), time.time_ns() // 1000
    return sum(cost(usage_of(leaves), book.find_any(model).at(now_us)) for model, leaves in _bill(port).items())


async def send_calls(client: Client, numbers: Iterator[int], faults: tuple[str, ...], seed: int) -> int:
    """Make a call for each number, many in flight, some with faults and hang-ups; return how many got a 200."""
    dice, answered = random.Random(seed), 0

    async def work() -> None:
        nonlocal answered
        for number in numbers:
            fault = dice.choice(faults) if dice.random() < 0.15 else ""
            direction = f"output={dice.randint(1, 200)} ttft_ms={dice.randint(0, 40)} tpot_ms=0.2 {fault}"
            body = chat(dice.choice(MODELS), direction, stream=dice.random() < 0.5, filler=f"call {number}, please")
            if dice.random() < 1 / 12:
                await client.call_and_leave(body, dice.random() * 0.06)
            else:
                answer = await client.call(body)
                answered += answer.status == 200

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return answered


def imbalance(calls: int) -> list[Figure]:
    """Measure what faults and hang-ups do to the books."""

    def half() -> Iterator[int]:
        return iter(range(calls // 2))

    with provider() as port, bursar(CONFIG.format(port=port, durability="fast")) as local:
        secret = local.create_key("bench", "100000")
        answered = run_client(local, secret, lambda client: send_calls(client, half(), BILLED_FAULTS, SEED))
        wait_settled(local)
        totals = local.query(TOTALS)[0]
        bill_difference = abs(totals["calls_nano"] - billed_nano(port))
        answered += run_client(local, secret, lambda client: send_calls(client, half(), FAULTS, SEED + 1))
        wait_settled(local)
        assert local.stop() == 0, local.last_words()
        local.start()
        totals, checked = local.query(TOTALS)[0], local.audit()
    sums = (totals["calls_nano"], totals["posted_nano"], totals["balance_nano"])
    note = f"{totals['calls']:,} calls recorded, {answered:,} answered with 200, {sums[0] / 1e9:.6f} USD; "
    note += checked.findings[0] if checked.findings else "the check finds nothing"
    worst = max(sums) - min(sums)
    return [
        Figure("books.imbalance_nano", worst if not checked.findings else max(1, worst), "nano-USD", note=note),
        Figure(
            "books.provider_bill_nano",
            bill_difference,
            "nano-USD",
            note="first half: charged, less the provider's bill",
        ),
    ]


async def keep_calling(client: Client, stop: asyncio.Event, seed: int) -> set[str]:
    """Call until told to stop, whatever happens to the gateway; return the calls that were answered in full."""
    dice, answered = random.Random(seed), set[str]()
    while not stop.is_set():
        direction = f"output={dice.randint(1, 40)} ttft_ms={dice.randint(0, 20)}"
        answer = await client.call(chat(dice.choice(MODELS), direction, stream=dice.random() < 0.5))
        if answer.status == 200 and answer.whole:
            answered.add(answer.call_id)
        elif answer.status != 200:
            await asyncio.sleep(0.02)
    return answered


async def kill_under_load(local: LocalBursar, client: Client, rounds: int, seed: int) -> set[str]:
    """Kill the gateway, then PostgreSQL, at random moments under load; return the calls that were answered."""
    dice, stop = random.Random(seed), asyncio.Event()
    callers = [asyncio.create_task(keep_calling(client, stop, seed + number)) for number in range(32)]
    for role in ("worker", "postgres"):
        for _ in range(rounds):
            await asyncio.to_thread(_wait_ready, local)
            await asyncio.sleep(0.2 + dice.random() * 0.8)
            await asyncio.to_thread(local.kill, role)
            await asyncio.sleep(0.3)
    await asyncio.to_thread(_wait_ready, local)
    stop.set()
    return set().union(*await asyncio.gather(*callers))


def lost_calls(rounds: int, durability: str) -> Figure:
    """Measure what kill -9 loses."""
    with provider() as port, bursar(CONFIG.format(port=port, durability=durability)) as local:
        secret = local.create_key("bench", "100000")
        answered = run_client(local, secret, lambda client: kill_under_load(local, client, rounds, SEED))
        assert local.stop() == 0, local.last_words()
        local.start()
        known = {str(row["id"]) for row in local.query("select 'call_' || encode(call_id, 'hex') as id from calls")}
        checked = local.audit()
        undecided = local.query("select count(*) as n from calls where status = 5")[0]["n"]
    assert not checked.findings, checked.findings[0]
    lost = sum(1 for call in answered if call not in known)
    note = f"{len(answered):,} answered, {2 * rounds} kills, {undecided:,} under way at a kill; the check finds nothing"
    return Figure(f"books.lost_calls_{durability}", lost, "calls", note=note)


def run_client(local: LocalBursar, secret: str, work: Any) -> Any:
    """Run what works with a client of a gateway."""

    async def go() -> Any:
        client = Client(local.port, secret, 2 * IN_FLIGHT)
        try:
            done: Coroutine[Any, Any, Any] = work(client)
            return await done
        finally:
            client.close()

    return uvloop.run(go())  # asyncio's own loop complains of each write to a gateway that was killed


def wait_settled(local: LocalBursar) -> None:
    """Wait until no call is under way, and what was settled is in the books."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{local.url}/metrics") as answer:
            if b"bursar_calls_under_way 0.0" in answer.read():
                break
        time.sleep(0.1)
    time.sleep(0.5)


def _wait_ready(local: LocalBursar) -> None:
    deadline = time.monotonic() + 60
    while not local.ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the gateway did not come back: {local.last_words()}")
        time.sleep(0.05)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, calls=20_000, rounds=20)
    figures = imbalance(options.calls)
    figures += [lost_calls(options.rounds, durability) for durability in ("fast", "strict")]
    show("books", figures, as_json=options.json)


if __name__ == "__main__":
    main()
