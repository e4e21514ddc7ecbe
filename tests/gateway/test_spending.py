"""Budgets under load, clients that hang up, and what the books say of each call."""

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar, database
from bursar.budgets.budget import read_limit
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.core.records import CallStatus, UsageSource
from tests.store.bookkeeping import set_budget

CHAT = "/v1/chat/completions"


def body_of(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


def ask(
    local: LocalBursar, key: str, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    given = {"authorization": f"Bearer {key}"} | (headers or {})
    return httpx.post(local.url + CHAT, json=body_of(text, **fields), headers=given, timeout=30)


async def ask_many(local: LocalBursar, key: str, count: int, text: str) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=32)
    async with httpx.AsyncClient(limits=limits, timeout=60, headers={"authorization": f"Bearer {key}"}) as client:
        return await asyncio.gather(*(client.post(local.url + CHAT, json=body_of(text)) for _ in range(count)))


def account_of(local: LocalBursar, key: str) -> dict[str, Any]:
    """Sum a key's calls, and read the accounts of its budget."""
    text = """
        select count(*) as calls, coalesce(sum(cost_nano), 0)::bigint as cost_nano,
            coalesce(sum(overage_nano), 0)::bigint as overage_nano
        from calls join keys using (key_id) where keys.sha256 = sha256($1::text::bytea)"""
    return local.query(text, key)[0]


def wait_for_calls(local: LocalBursar, key: str, count: int) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while (account := account_of(local, key))["calls"] < count:
        assert time.monotonic() < deadline, f"{account['calls']} of {count} calls"
        time.sleep(0.02)
    return account


def held_nano(local: LocalBursar) -> int:
    return local.query("select sum(debits_pending)::bigint as held from accounts")[0]["held"] or 0


async def raise_budget(local: LocalBursar, name: str, limit: str) -> None:
    async with database(local.database_url) as connection:
        await set_budget(connection, name, read_limit(limit), time.time_ns() // 1_000)


@pytest.mark.parametrize("text", ["[[output=20]] same", "[[output=20 ttft_ms=30]] slower"])
def test_many_at_once_never_overspend_a_budget(shared_bursar: LocalBursar, new_key: Any, text: str) -> None:
    cost_nano = usd_to_nano(ask(shared_bursar, new_key("1.00"), text).headers["x-bursar-cost-usd"])
    limit_nano = 20 * cost_nano + 100_000
    key = new_key(nano_to_usd(limit_nano))
    answers = asyncio.run(ask_many(shared_bursar, key, 150, text))
    by_status = Counter(answer.status_code for answer in answers)
    assert set(by_status) == {200, 402}
    assert by_status[200] >= 1
    for answer in answers:
        if answer.status_code == 200:
            assert usd_to_nano(answer.headers["x-bursar-cost-usd"]) == cost_nano
        else:
            assert answer.headers["x-bursar-cost-usd"] == "0.00"
    account = wait_for_calls(shared_bursar, key, by_status[200])
    assert account == {"calls": by_status[200], "cost_nano": by_status[200] * cost_nano, "overage_nano": 0}
    assert account["cost_nano"] <= limit_nano


def test_refused_calls_leave_nothing_held_so_that_those_who_retry_use_the_whole_budget(
    shared_bursar: LocalBursar, new_key: Any
) -> None:
    text = "[[output=100]] full"
    cost_nano = usd_to_nano(ask(shared_bursar, new_key("1.00"), text).headers["x-bursar-cost-usd"])
    key = new_key(nano_to_usd(10 * cost_nano + cost_nano // 2))
    asyncio.run(ask_many(shared_bursar, key, 100, text))
    deadline = time.monotonic() + 15
    while ask(shared_bursar, key, text, headers={}).status_code == 200:
        assert time.monotonic() < deadline
    account = wait_for_calls(shared_bursar, key, 9)
    # A hold is a little above the price: at most one call that would have fitted is missing.
    assert account["calls"] in (9, 10)


def test_a_raised_budget_unblocks_and_a_lowered_one_blocks(shared_bursar: LocalBursar) -> None:
    key = shared_bursar.create_key("raise me", "0.000001")
    assert ask(shared_bursar, key, "hi").status_code == 402
    asyncio.run(raise_budget(shared_bursar, "raise me", "1.00"))
    deadline = time.monotonic() + 2
    while ask(shared_bursar, key, "[[output=3]] hi").status_code != 200:
        assert time.monotonic() < deadline
    asyncio.run(raise_budget(shared_bursar, "raise me", "0.000001"))
    while ask(shared_bursar, key, "[[output=3]] hi").status_code != 402:
        assert time.monotonic() < deadline + 2


def test_an_unlimited_key_is_metered_and_never_refused(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key(None)
    answer = ask(shared_bursar, key, "[[output=3]] hi", max_tokens=9_000_000)
    assert answer.status_code == 200
    assert wait_for_calls(shared_bursar, key, 1)["cost_nano"] > 0


def test_a_keys_own_cap_is_given_to_calls_without_one(shared_bursar: LocalBursar, new_key: Any, call_of: Any) -> None:
    key = new_key("1.00", output_cap=7)
    answer = ask(shared_bursar, key, "[[output=90]] long", max_tokens=None)
    assert answer.json()["usage"]["completion_tokens"] == 7
    assert call_of(answer.headers["x-bursar-call-id"])["output_tokens"] == 7


def test_tags_run_and_parent_are_recorded_and_the_calls_tags_win(
    shared_bursar: LocalBursar, new_key: Any, call_of: Any
) -> None:
    key = new_key("1.00", tags={"team": "blue", "feature": "search"})
    headers = {
        "x-bursar-tags": "feature=chat, user = Ana María",
        "x-bursar-run": "run-7",
        "x-bursar-parent": "run-1/step 3",
    }
    answer = httpx.post(
        shared_bursar.url + CHAT,
        json=body_of("hi"),
        headers=[(b"authorization", f"Bearer {key}".encode())]
        + [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    call = call_of(answer.headers["x-bursar-call-id"])
    assert (call["run"], call["parent"]) == ("run-7", "run-1/step 3")
    assert json.loads(call["tags"]) == {"team": "blue", "feature": "chat", "user": "Ana María"}


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_client_that_hangs_up_midway_is_charged_for_what_the_provider_bills(
    shared_bursar: LocalBursar, new_key: Any, protocol: str
) -> None:
    key = new_key("1.00")
    model, path = ("gpt-4o", CHAT) if protocol == "openai" else ("claude-haiku-4-5", "/v1/messages")
    body = body_of("[[output=40 tpot_ms=10]] at length", model=model, stream=True)
    with httpx.stream("POST", shared_bursar.url + path, json=body, headers={"x-api-key": key}) as response:
        next(response.iter_raw())
        name = response.headers["x-bursar-call-id"]
    wait_for_calls(shared_bursar, key, 1)
    (call,) = shared_bursar.query("select * from calls where call_id = $1", bytes.fromhex(name[5:]))
    assert (call["output_tokens"], call["usage_source"]) == (40, UsageSource.provider)
    assert call["status"] == CallStatus.client_gone
    assert call["cost_nano"] > 0


def test_a_client_that_hangs_up_before_its_answer_is_charged_as_well(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("1.00")
    headers = {"authorization": f"Bearer {key}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(shared_bursar.url + CHAT, json=body_of("[[output=5 ttft_ms=300]]"), headers=headers, timeout=0.1)
    assert wait_for_calls(shared_bursar, key, 1)["cost_nano"] > 0
    (call,) = shared_bursar.query("select status from calls order by call_id desc limit 1")
    assert call["status"] == CallStatus.client_gone


def test_a_client_that_leaves_before_its_body_is_whole_costs_nothing(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("1.00")
    with socket.create_connection(("127.0.0.1", shared_bursar.port)) as client:
        client.sendall(
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 500\r\n\r\n{{".encode()
        )
    ask(shared_bursar, key, "[[output=3]] hi")
    assert wait_for_calls(shared_bursar, key, 1)["calls"] == 1


def test_gatherers_of_metrics_see_calls_costs_and_refusals(shared_bursar: LocalBursar, key: str) -> None:
    ask(shared_bursar, key, "[[output=3]] hi")
    ask(shared_bursar, key, "hi", model="nothing-like-it")
    text = httpx.get(f"{shared_bursar.url}/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    model, provider = 'model="gpt-4o-mini"', 'provider="sandbox"'
    calls = f'bursar_calls_total{{{model},protocol="openai_chat",{provider},status="ok",stream="false"}}'
    assert float(lines[calls]) >= 1
    assert Decimal(lines[f"bursar_cost_usd_total{{{model},{provider}}}"]) > 0
    assert float(lines['bursar_refused_total{code="model_not_found"}']) >= 1


def test_in_the_end_nothing_is_held_and_the_books_balance(shared_bursar: LocalBursar) -> None:
    deadline = time.monotonic() + 15
    idle = "bursar_calls_under_way 0.0"
    while held_nano(shared_bursar) or idle not in httpx.get(f"{shared_bursar.url}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert shared_bursar.audit().findings == []


def test_many_streams_that_are_left_midway_keep_the_books_balanced(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("1.00")

    async def leave(client: httpx.AsyncClient, number: int) -> None:
        body = body_of(f"[[output=30 tpot_ms=3]] {number}", stream=True)
        with contextlib.suppress(httpx.HTTPError):
            async with client.stream("POST", shared_bursar.url + CHAT, json=body) as response:
                async for _ in response.aiter_raw():
                    if number % 3:
                        break

    async def work() -> None:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            await asyncio.gather(*(leave(client, number) for number in range(60)))

    asyncio.run(work())
    account = wait_for_calls(shared_bursar, key, 60)
    of_key = "calls join keys using (key_id) where keys.sha256 = sha256($1::text::bytea)"
    text = f"select sum(output_tokens)::bigint as tokens from {of_key}"
    assert shared_bursar.query(text, key) == [{"tokens": 60 * 30}]
    assert account["overage_nano"] == 0
    assert shared_bursar.audit().findings == []
