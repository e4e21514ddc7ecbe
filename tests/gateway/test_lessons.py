"""What users of other gateways have complained about, and no other test owns: see docs/internals/lessons.md."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar
from bench.load import Load, run
from bench.stage import bearer, chat_body, memory_mb, request
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.records import Protocol
from bursar.wires.protocols import TEXT_WIRES
from tests.asking import ask, ask_and_wait, fetch

HI = "[[output=20]] hi"
TURN = {"messages": [{"role": "user", "content": HI}], "max_tokens": 50}
ASKED: dict[Protocol, tuple[str, dict[str, Any]]] = {
    Protocol.openai_chat: ("/v1/chat/completions", {"model": "gpt-4o-mini"} | TURN),
    Protocol.anthropic_messages: ("/v1/messages", {"model": "claude-haiku-4-5"} | TURN),
    Protocol.openai_responses: ("/v1/responses", {"model": "gpt-4o-mini", "input": HI, "max_output_tokens": 50}),
    Protocol.gemini: (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": HI}]}], "generationConfig": {"maxOutputTokens": 50}},
    ),
}
SUMS = """
select (select count(*) from calls) as calls,
    (select coalesce(sum(cost_nano), 0)::bigint from calls) as calls_nano,
    (select coalesce(sum(amount_nano), 0)::bigint from transfers join accounts
        on account_id = credit_account where code = 2300 and kind <> 2) as posted_nano,
    (select coalesce(sum(credits_posted - debits_posted), 0)::bigint from accounts where code = 2300) as owed_nano
"""


@pytest.mark.parametrize("protocol", TEXT_WIRES)
@pytest.mark.parametrize(
    ("limit", "status"), [("0.000001", 402), ("0 requests/day", 429), ("3 tokens/day", 429), ("0 concurrent", 429)]
)
def test_a_budget_blocks_on_every_route(
    shared_bursar: LocalBursar, new_key: Callable[..., str], protocol: Protocol, limit: str, status: int
) -> None:
    path, body = ASKED[protocol]
    data, terms = json.dumps(body).encode(), {"content_type": "application/json"}
    free = fetch(shared_bursar, "POST", path, data, x_api_key=new_key("1.00"), **terms)
    assert free.status == 200, free.body
    blocked = fetch(shared_bursar, "POST", path, data, x_api_key=new_key(limit), **terms)
    assert blocked.status == status, blocked.body


def test_the_first_calls_of_a_new_key_all_meet_its_budget(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    cost_nano = usd_to_nano(ask(shared_bursar, new_key("1.00"), HI, max_tokens=20).headers["x-bursar-cost-usd"])
    body = {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": HI}]}

    async def first_calls(key: str) -> Counter[int]:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            path = f"{shared_bursar.url}/v1/chat/completions"
            answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(8)))
        return Counter(answer.status_code for answer in answers)

    for _ in range(5):  # each a key that no gateway has seen before
        found = asyncio.run(first_calls(new_key(nano_to_usd(3 * cost_nano))))
        assert set(found) <= {200, 402}
        assert 1 <= found[200] <= 3


def test_calls_postings_balances_and_counters_are_one_sum(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    key = new_key("1.00")
    for number in range(9):
        ask_and_wait(shared_bursar, key, f"[[output={number + 1}]] {number}", stream=number % 2 == 0)
    deadline = time.monotonic() + 20
    while True:
        counted = Counter[str]()
        for line in httpx.get(f"{shared_bursar.url}/metrics").text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                counted[name.split("{")[0]] += round(float(value) * 10**9)
        (sums,) = shared_bursar.query(SUMS)
        if counted["bursar_calls_total"] == sums["calls"] * 10**9 or time.monotonic() > deadline:
            break
    assert counted["bursar_calls_total"] == sums["calls"] * 10**9
    assert sums["calls"] >= 9
    assert sums["calls_nano"] == sums["posted_nano"] == sums["owed_nano"] > 0
    assert abs(counted["bursar_cost_usd_total"] - sums["calls_nano"]) <= 100  # each series is rounded by itself


@pytest.fixture
def loaded(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> Iterator[Load]:
    body = chat_body(user="[[output=2]] hi", cap=2)
    message = request(shared_bursar.port, body, bearer(new_key(None)))
    yield Load(port=shared_bursar.port, request=message, connections=16, seconds=1.0)
    assert shared_bursar.audit().findings == []


def test_memory_does_not_grow_with_the_calls_made(shared_bursar: LocalBursar, loaded: Load) -> None:
    (worker,) = shared_bursar.child_pids("worker")
    run(loaded)
    before_mb = memory_mb(worker, "RssAnon")
    outcomes = [run(loaded) for _ in range(2)]
    calls = sum(outcome.answers for outcome in outcomes)
    assert calls > 100
    assert not any(outcome.failures for outcome in outcomes)
    # Not even two kilobytes stay of a call; the rest is what an allocator may keep for a moment.
    assert memory_mb(worker, "RssAnon") - before_mb < 6 + calls * 0.002
