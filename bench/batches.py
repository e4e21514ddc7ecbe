"""Fetch batches ten times each, cancel some, let others fail or expire, kill gateways meanwhile, and compare charges.

Callers make OpenAI's, Anthropic's and Gemini's batches at two gateways of one database and ask for each ten times,
while gateways are killed with SIGKILL one after the other. Afterwards every batch that reached its provider must be
charged once, what its results say at batch rates, priced here from the results alone; what the books say was used must
be what the provider has counted on its own bill; nothing may be held any more; and the books must pass their check.
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
CLAUDE: Final = "claude-haiku-4-5"
FLASH: Final = "gemini-2.5-flash"
CHAT: Final = "/v1/chat/completions"
FETCHES: Final = 10
CALLERS: Final = 6
CONFIG: Final = f"""
[gateway]
drain_s = 5

[providers.sandbox]
kind = "sandbox"
base_url = "http://127.0.0.1:{{port}}/v1"
connect_s = 1.0
first_byte_s = 5.0

[models."{MODEL}"]
targets = ["sandbox/{MODEL}"]

[models."{CLAUDE}"]
targets = ["sandbox/{CLAUDE}"]

[models."{FLASH}"]
targets = ["sandbox/{FLASH}"]
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
    """Make batches and ask for them, whatever happens to the gateways: OpenAI's, or by a subclass another's."""

    model = MODEL
    path = "/v1/batches"
    cancel = "/cancel"

    def __init__(self, local: LocalBursar, secret: str, dice: random.Random) -> None:
        self._card: RateCard = load().find_any(self.model).at(time.time_ns() // 1_000, {"processing": "batch"})
        headers = {"authorization": f"Bearer {secret}"}
        self._client = httpx.AsyncClient(base_url=local.url, headers=headers, timeout=10)
        self._dice = dice
        self.results: dict[str, int] = {}  # what each batch comes to by its results, in nano-USD
        self.statuses: Counter[int] = Counter()
        self.lost = 0  # requests without an answer

    async def run(self, batches: int) -> None:
        """Make so many batches, one after the other."""
        for _ in range(batches):
            batch_id = None
            while batch_id is None:
                batch_id = await self._try(self.make, self._texts())
            cancels = self._dice.random() < 0.25
            for fetch in range(FETCHES):
                if fetch == 1 and cancels:
                    await self._try(self.ask, "POST", f"{self.path}/{batch_id}{self.cancel}")
                await self._try(self.ask, "GET", f"{self.path}/{batch_id}")
            while batch_id not in self.results:
                usage = await self._try(self.used, batch_id)
                if usage is not None:
                    self.results[batch_id] = cost(usage, self._card)
        await self._client.aclose()

    async def _try(self, work: Any, *values: Any) -> Any:
        try:
            return await work(*values)
        except httpx.HTTPStatusError:
            await asyncio.sleep(0.1)
            return None
        except (httpx.HTTPError, httpx.StreamError):
            self.lost += 1
            await asyncio.sleep(0.1)
            return None

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        """Ask the gateway for JSON."""
        return (await self.answer(method, path, **more)).json()

    async def answer(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the gateway. Raises httpx's errors, for a refusal too."""
        response = await self._client.request(method, path, **more)
        self.statuses[response.status_code] += 1
        response.raise_for_status()
        return response

    def _texts(self) -> list[str]:
        """Return the texts of a batch's requests: some fail, some expire."""
        dice = self._dice
        ends = f"looks={dice.randint(1, FETCHES)}{' expires' if dice.random() < 0.2 else ''}"
        faults = [" fault=500" if dice.random() < 0.2 else "" for _ in range(dice.randint(1, 40))]
        return [f"[[output={dice.randint(1, 30)}{fault}]] {ends} {dice.random()}" for fault in faults]

    async def make(self, texts: list[str]) -> str:
        """Make a batch of these texts; returns its id."""
        lines: list[bytes] = []
        for number, text in enumerate(texts):
            body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_completion_tokens": 40}
            lines.append(json.dumps({"custom_id": f"r{number}", "method": "POST", "url": CHAT, "body": body}).encode())
        form = {"files": {"file": ("requests.jsonl", b"\n".join(lines))}, "data": {"purpose": "batch"}}
        file = await self.ask("POST", "/v1/files", **form)
        wish = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        return (await self.ask("POST", self.path, json=wish))["id"]

    async def used(self, batch_id: str) -> Usage | None:
        """Sum what the results of a batch say was used; none before it has ended."""
        batch, usage = await self.ask("GET", f"{self.path}/{batch_id}"), Usage()
        if batch["status"] == "in_progress":
            return None
        if batch.get("output_file_id"):
            for line in (await self.answer("GET", f"/v1/files/{batch['output_file_id']}/content")).text.splitlines():
                said = json.loads(line)["response"]["body"]["usage"]
                usage = usage.plus(Usage(said["prompt_tokens"], output_tokens=said["completion_tokens"]))
        return usage


class AnthropicCaller(Caller):
    """Make Anthropic's batches."""

    model = CLAUDE
    path = "/v1/messages/batches"

    async def make(self, texts: list[str]) -> str:
        """Make a batch of these texts; returns its id."""
        asked = [{"model": CLAUDE, "max_tokens": 40, "messages": [{"role": "user", "content": text}]} for text in texts]
        requests = [{"custom_id": f"r{number}", "params": each} for number, each in enumerate(asked)]
        return (await self.ask("POST", self.path, json={"requests": requests}))["id"]

    async def used(self, batch_id: str) -> Usage | None:
        """Sum what the results of a batch say was used; none before it has ended."""
        if (await self.ask("GET", f"{self.path}/{batch_id}"))["processing_status"] != "ended":
            return None
        usage = Usage()
        for line in (await self.answer("GET", f"{self.path}/{batch_id}/results")).text.splitlines():
            result = json.loads(line)["result"]
            if result["type"] == "succeeded":
                said = result["message"]["usage"]
                usage = usage.plus(Usage(said["input_tokens"], output_tokens=said["output_tokens"]))
        return usage


class GeminiCaller(Caller):
    """Make Gemini's batches."""

    model = FLASH
    path = "/v1beta/batches"
    cancel = ":cancel"

    async def make(self, texts: list[str]) -> str:
        """Make a batch of these texts; returns its id."""
        asked = [{"request": {"contents": [{"parts": [{"text": text}]}]}} for text in texts]
        wish = {"batch": {"displayName": "bench", "inputConfig": {"requests": {"requests": asked}}}}
        made = await self.ask("POST", f"/v1beta/models/{FLASH}:batchGenerateContent", json=wish)
        return made["name"].removeprefix("batches/")

    async def used(self, batch_id: str) -> Usage | None:
        """Sum what the answers of a batch say was used; none before it has ended."""
        batch, usage = await self.ask("GET", f"{self.path}/{batch_id}"), Usage()
        if not batch.get("done"):
            return None
        for each in batch["response"]["inlinedResponses"]["inlinedResponses"]:
            if "response" in each:
                said = each["response"]["usageMetadata"]
                usage = usage.plus(Usage(said["promptTokenCount"], output_tokens=said["candidatesTokenCount"]))
        return usage


KINDS: Final = (Caller, AnthropicCaller, GeminiCaller)


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
    kinds = [KINDS[number % len(KINDS)] for number in range(CALLERS)]
    callers = [kind(local, secret, random.Random(f"{seed} {number}")) for number, kind in enumerate(kinds)]
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
        rows = [row for row in local.query(BATCHES) if row["provider_id"] is not None or row["charged"]]
        results = {name: nano for caller in callers for name, nano in caller.results.items()}
        wrong = [
            row for row in rows if not row["charged"] or (row["calls"], row["calls_nano"]) != (1, row["cost_nano"])
        ]
        wrong += [row for row in rows if results.get(row["provider_id"], row["cost_nano"]) != row["cost_nano"]]
        missing = results.keys() - {row["provider_id"] for row in rows}
        used, bill = local.query(USED)[0], Counter[str]()
        for each in httpx.get(f"http://127.0.0.1:{port}/sandbox/bill").json()["usage"].values():
            bill.update(each)
        billed = {"input": bill["input_tokens"] + bill["cache_read_tokens"], "output": bill["output_tokens"]}
        apart = sum(abs(used[side] - billed[side]) for side in billed)
        left, findings = local.query(OPEN)[0]["n"] + local.query(HELD)[0]["n"], local.audit().findings
    value = len(wrong) + len(missing) + apart + left + len(findings)
    if value:
        print(wrong, missing, used, billed, left, findings, file=sys.stderr)
    statuses = sum((caller.statuses for caller in callers), Counter[int]())
    asked = sum(statuses.values())
    alike = sum(row["provider_id"] is None for row in rows)
    note = (
        f"{len(rows)} batches of {len(KINDS)} protocols ({alike} lost and charged what they held), each fetched"
        f" {FETCHES} times and more, {sum(row['answered'] for row in rows):,} answers; {killed} gateways killed,"
        f" {asked:,} requests answered, {asked - statuses[200]:,} of them refused,"
        f" {sum(caller.lost for caller in callers):,} without an answer; seed {seed}"
    )
    return Figure("books.batch_charged_once", value, "wrong", note=note)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, batches=300, kills=40, seed=7)
    show("batches", [measure(options.batches, options.kills, options.seed)], as_json=options.json)


if __name__ == "__main__":
    main()
