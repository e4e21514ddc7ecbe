"""What a running gateway shows in /metrics is what it did, and what its books say."""

import time
from decimal import Decimal
from typing import Any

import httpx

from bench.harness import LocalBursar
from tests.asking import ask, ask_and_wait

BOOKED = """select count(*) as calls, coalesce(sum(cost_nano), 0)::bigint as cost_nano,
    coalesce(sum(output_tokens), 0)::bigint as output_tokens from calls"""


def metrics(local: LocalBursar) -> dict[str, Decimal]:
    lines = httpx.get(f"{local.url}/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: Decimal(value) for name, value in pairs}


def summed(numbers: dict[str, Decimal], name: str, *labels: str) -> Decimal:
    found = (value for each, value in numbers.items() if each.split("{")[0] == name)
    if labels:
        found = (
            value
            for each, value in numbers.items()
            if each.split("{")[0] == name and all(label in each for label in labels)
        )
    return sum(found, Decimal(0))


def test_calls_streams_refusals_and_tokens_are_counted_one_by_one(shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("counted", "1.00")
    target = ('provider="sandbox"', 'model="gpt-4.1-nano"')
    before = metrics(shared_bursar)
    for _ in range(3):
        ask(shared_bursar, secret, "[[output=10]] hi", model="sandbox/gpt-4.1-nano")
    ask(shared_bursar, secret, "[[output=10]] hi", model="sandbox/gpt-4.1-nano", stream=True)
    ask(shared_bursar, secret, "[[fault=500]] hi", model="sandbox/gpt-4.1-nano")
    assert ask(shared_bursar, secret, model="nobody-knows-it").status == 404
    deadline = time.monotonic() + 10
    while (after := metrics(shared_bursar))["bursar_calls_under_way"]:
        assert time.monotonic() < deadline

    def more(name: str, *labels: str) -> int:
        return int(summed(after, name, *labels) - summed(before, name, *labels))

    assert more("bursar_calls_total", *target, 'stream="false"', 'status="ok"') == 3
    assert more("bursar_calls_total", *target, 'stream="true"', 'status="ok"') == 1
    assert more("bursar_calls_total", *target, 'status="failed"') == 1
    assert more("bursar_attempts_total", *target, 'status="failed"') >= 1
    assert more("bursar_tokens_total", *target, 'kind="output"') == 40
    assert more("bursar_call_seconds_count", *target) == 5
    assert more("bursar_first_byte_seconds_count", *target) == 5
    assert more("bursar_added_seconds_count") == 5
    assert more("bursar_refused_total", 'code="model_not_found"') == 1
    assert after["bursar_streams_under_way"] == 0


def test_counters_are_what_the_books_say(shared_bursar: LocalBursar) -> None:
    ask_and_wait(shared_bursar, shared_bursar.create_key("counted-and-booked", "1.00"))
    deadline = time.monotonic() + 10
    while True:
        numbers, (booked,) = metrics(shared_bursar), shared_bursar.query(BOOKED)
        if summed(numbers, "bursar_calls_total") == booked["calls"] or time.monotonic() > deadline:
            break
    assert summed(numbers, "bursar_calls_total") == booked["calls"] > 0
    assert summed(numbers, "bursar_tokens_total", 'kind="output"') == booked["output_tokens"]
    assert abs(summed(numbers, "bursar_cost_usd_total") * 10**9 - booked["cost_nano"]) < 1


def test_gauges_show_the_state_of_the_gateway(shared_bursar: LocalBursar) -> None:
    ask_and_wait(shared_bursar, shared_bursar.create_key("gauged", "1.00"))
    deadline = time.monotonic() + 10
    while (numbers := metrics(shared_bursar))["bursar_journal_lag_bytes"]:
        assert time.monotonic() < deadline
    assert numbers["bursar_workers"] == 1
    assert numbers["bursar_database_away"] == 0
    assert numbers["bursar_spool_bytes"] >= 8 * 1024 * 1024
    assert numbers["bursar_lease_free_usd"] > 0
    assert numbers["bursar_upstream_connections" + '{provider="sandbox"}'] >= 1
    assert numbers["bursar_price_age_seconds"] > 0


def test_a_breaker_that_opens_is_shown_and_counted(house: LocalBursar, house_key: str, provider: Any) -> None:
    target = '{model="gpt-4-turbo",provider="scripted"}'
    provider.say("gpt-4-turbo", "500 Internal Server Error", b"{}")
    assert f"bursar_breaker_trips_total{target}" not in metrics(house)
    for _ in range(5):
        ask(house, house_key, model="scripted/gpt-4-turbo")
    shown = metrics(house)
    assert shown[f"bursar_breaker_trips_total{target}"] >= 1
    assert shown[f"bursar_breaker_open{target}"] + shown[f"bursar_breaker_half_open{target}"] == 1
    assert shown[f"bursar_target_rests{target}"] == 0
    assert shown['bursar_upstream_busy{provider="scripted"}'] == 0
