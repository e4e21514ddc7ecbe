"""Fetch batches ten times each, cancel some, let others fail or expire, kill gateways meanwhile, and compare charges.

Callers make batches at two gateways of one database and ask for each ten times, while gateways are killed with SIGKILL
one after the other. Afterwards every batch that reached its provider must be charged once, what its results say at
batch rates, priced here from the files of results alone; what the books say was used must be what the provider has
counted on its own bill; nothing may be held any more; and the books must pass their check.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from typing import Any, Final

import httpx

from bench.books import provider
from bench.figures import Figure, arguments, show
from bench.harness import LocalBursar, bursar
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.charge import cost
from bursar.prices.price import RateCard

MODEL: Final = "gpt-4o-mini"
CHAT: Final = "/v1/chat/completions"
FETCHES: Final = 10
CALLERS: Final = 6
CONFIG: Final = f"""
[gateway]
drain_s = 5

[providers.sandbox]
kind = "sandbox"
base_url = "http://127.0.0.1:{{port}}/v1"

[models."{MODEL}"]
targets = ["sandbox/{MODEL}"]
"""
BATCHES: Final = """
select batches.provider_id, batches.charged, batches.cost_nano, batches.answered, count(calls.call_id) as calls,
    coalesce(sum(calls.cost_nano), 0)::bigint as calls_nano
from batches left join calls on calls.tenant = batches.tenant and calls.call_id = batches.batch_id
group by batches.batch_id, batches.provider_id, batches.charged, batches.cost_nano, batches.answered
"""
USED: Final = """
select coalesce(sum(input_tokens + cache_read_tokens), 0)::bigint as input,
    coalesce(sum(output_tokens), 0)::bigint as output
from calls
"""
HELD: Final = "select coalesce(sum(debits_pending), 0)::bigint as n from accounts"
OPEN: Final = "select count(*) as n from batches where ended_us is null"


class Caller:
    """Make batches and ask for them, whatever happens to the gateways."""

    def __init__(self, local: LocalBursar, secret: str, card: RateCard, dice: random.Random) -> None:
        self._card = card
        headers = {"authorization": f"Bearer {secret}"}
        self._client = httpx.AsyncClient(base_url=local.url, headers=headers, timeout=10)
        self._dice = dice
        self.results: dict[str, int] = {}  # what each batch comes to by its files of results, in nano-USD
        self.statuses: Counter[int] = Counter()
        self.lost = 0  # requests without an answer

    async def run(self, batches: int) -> None:
        """Make so many batches, one after the other."""
        for _ in range(batches):
            made = None
            while made is None:
                made = await self._try(self._make)
            batch_id = str(made["id"])
            for fetch in range(FETCHES):
                if fetch == 1 and made["cancel"]:
                    await self._try(self._ask, "POST", f"/v1/batches/{batch_id}/cancel")
                await self._try(self._ask, "GET", f"/v1/batches/{batch_id}")
            while batch_id not in self.results:
                await self._try(self._read, batch_id)
        await self._client.aclose()

    async def _try(self, work: Any, *values: str) -> Any:
        try:
            return await work(*values)
        except httpx.HTTPStatusError:
            await asyncio.sleep(0.1)
            return None
        except (httpx.HTTPError, httpx.StreamError):
            self.lost += 1
            await asyncio.sleep(0.1)
            return None

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        response = await self._client.request(method, path, **more)
        self.statuses[response.status_code] += 1
        response.raise_for_status()
        return response.json()

    async def _make(self) -> dict[str, Any]:
        """Upload requests and make a batch of them: some fail, some expire, some are to be cancelled."""
        dice = self._dice
        ends = f"looks={dice.randint(1, FETCHES)}{' expires' if dice.random() < 0.2 else ''}"
        lines: list[bytes] = []
        for number in range(dice.randint(1, 40)):
            fault = " fault=500" if dice.random() < 0.2 else ""
            text = f"[[output={dice.randint(1, 30)}{fault}]] {ends} {dice.random()}"
            body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_completion_tokens": 40}
            lines.append(json.dumps({"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": body}).encode())
        form = {"files": {"file": ("requests.jsonl", b"\n".join(lines))}, "data": {"purpose": "batch"}}
        file = await self._ask("POST", "/v1/files", **form)
        wish = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        made = await self._ask("POST", "/v1/batches", json=wish)
        return {"id": made["id"], "cancel": dice.random() < 0.25}

    async def _read(self, batch_id: str) -> None:
        """Price the results of a batch that has ended, from its file alone."""
        batch = await self._ask("GET", f"/v1/batches/{batch_id}")
        if batch["status"] == "in_progress":
            return
        usage = Usage()
        if batch.get("output_file_id"):
            answer = await self._client.get(f"/v1/files/{batch['output_file_id']}/content")
            answer.raise_for_status()
            for line in answer.text.splitlines():
                said = json.loads(line)["response"]["body"]["usage"]
                usage = usage.plus(Usage(said["prompt_tokens"], output_tokens=said["completion_tokens"]))
        self.results[batch_id] = cost(usage, self._card)


async def _kill(local: LocalBursar, kills: int, pause_s: float, dice: random.Random) -> int:
    """Kill gateways one after the other, each once the one before serves again."""
    done = 0
    for _ in range(kills):
        await asyncio.sleep(pause_s * (0.5 + dice.random()))
        with contextlib.suppress(LookupError, ProcessLookupError):
            local.kill("worker", dice.randrange(2))
            done += 1
    return done


async def _work(local: LocalBursar, secret: str, batches: int, kills: int, seed: int) -> tuple[list[Caller], int]:
    card = load().find_any(MODEL).at(time.time_ns() // 1_000, {"processing": "batch"})
    callers = [Caller(local, secret, card, random.Random(f"{seed} {number}")) for number in range(CALLERS)]
    killer = asyncio.create_task(_kill(local, kills, 1.5, random.Random(seed)))
    await asyncio.gather(*(caller.run(-(-batches // CALLERS)) for caller in callers))
    return callers, await killer


def measure(batches: int, kills: int, seed: int) -> Figure:
    """Count the batches whose charge is not what their results say, and what else is wrong in the end."""
    with provider() as port, bursar(CONFIG.format(port=port), workers=2) as local:
        secret = local.create_key("batches", "1000.00")
        callers, killed = asyncio.run(_work(local, secret, batches, kills, seed))
        deadline = time.monotonic() + 120
        while local.query(OPEN)[0]["n"] and time.monotonic() < deadline:
            time.sleep(0.5)
        rows = [row for row in local.query(BATCHES) if row["provider_id"] is not None]
        results = {name: nano for caller in callers for name, nano in caller.results.items()}
        wrong = [
            row for row in rows if not row["charged"] or (row["calls"], row["calls_nano"]) != (1, row["cost_nano"])
        ]
        wrong += [row for row in rows if results.get(row["provider_id"], row["cost_nano"]) != row["cost_nano"]]
        missing = results.keys() - {row["provider_id"] for row in rows}
        used, bill = local.query(USED)[0], httpx.get(f"http://127.0.0.1:{port}/sandbox/bill").json()["usage"][MODEL]
        billed = {"input": bill["input_tokens"] + bill.get("cache_read_tokens", 0), "output": bill["output_tokens"]}
        apart = sum(abs(used[side] - billed[side]) for side in billed)
        left, findings = local.query(OPEN)[0]["n"] + local.query(HELD)[0]["n"], local.audit().findings
    value = len(wrong) + len(missing) + apart + left + len(findings)
    if value:
        print(wrong, missing, used, billed, left, findings, file=sys.stderr)
    statuses = sum((caller.statuses for caller in callers), Counter[int]())
    asked = sum(statuses.values())
    note = (
        f"{len(rows)} batches, each fetched {FETCHES} times and more, {sum(row['answered'] for row in rows):,} answers;"
        f" {killed} gateways killed, {asked:,} requests answered, {asked - statuses[200]:,} of them refused,"
        f" {sum(caller.lost for caller in callers):,} without an answer; seed {seed}"
    )
    return Figure("books.batch_charged_once", value, "wrong", note=note)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, batches=300, kills=40, seed=7)
    show("batches", [measure(options.batches, options.kills, options.seed)], as_json=options.json)


if __name__ == "__main__":
    main()
