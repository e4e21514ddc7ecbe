"""Calls are listed, followed as they come, and shown in full: what the lines say is what was charged."""

import os
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from inline_snapshot import snapshot

from bench.harness import LocalBursar
from tests.asking import ask, ask_and_wait, wait_booked
from tests.cli.outcome import Cli

FOLLOW_S = 20.0


def test_the_latest_calls_of_a_key_or_run_are_listed(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-calls")
    ids = [ask_and_wait(shared_bursar, secret, x_bursar_run=f"cli-run-{n % 2}") for n in range(3)]
    assert [call["id"] for call in cli("calls", "--key", "cli-calls", "--json").json()] == ids[::-1]
    assert [call["id"] for call in cli("calls", "--run", "cli-run-0", "--json").json()] == [ids[2], ids[0]]
    assert [call["id"] for call in cli("calls", "--key", "cli-calls", "--limit", "1", "--json").json()] == [ids[2]]
    assert cli("calls", "--key", "cli-nobody", "--json").json() == []


def test_the_table_shows_the_newest_call_last(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-rows")
    for output in (10, 20):
        ask_and_wait(shared_bursar, secret, f"[[output={output}]] hi")
    head, *rows = (line.split() for line in cli("calls", "--key", "cli-rows").out.splitlines())
    assert head == ["time", "key", "model", "status", "in", "cached", "out", "ms", "USD"]
    assert [[*row[1:7], row[8]] for row in rows] == snapshot(
        [
            ["cli-rows", "gpt-4o-mini", "ok", "4", "0", "10", "0.0000066"],
            ["cli-rows", "gpt-4o-mini", "ok", "4", "0", "20", "0.0000126"],
        ]
    )


def test_a_call_is_shown_with_its_attempts_and_lines(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-shown-call")
    prompt = "[[output=20 reasoning=7]] " + "x" * 6_000
    call_id = ""
    for _ in range(2):  # the second time the prompt is read from the provider's cache
        call_id = ask_and_wait(shared_bursar, secret, prompt, model="gpt-5-mini", x_bursar_tags="team=a,stage=b")
    call = cli("calls", "show", call_id, "--json").json()
    assert call["tags"] == {"team": "a", "stage": "b"}
    assert (call["status"], call["usage_source"], call["served_by"]) == ("ok", "provider", "sandbox/gpt-5-mini")
    assert {name: count for name, count in call["usage"].items() if count} == snapshot(
        {"input_tokens": 99, "cache_read_tokens": 1408, "output_tokens": 20, "reasoning_tokens": 7}
    )
    attempt = call["attempts"][0]
    assert attempt["lines"] == snapshot(
        [
            {
                "unit": "input_tokens",
                "quantity": 99,
                "rate_nano_usd": "250000000",
                "per": 1000000,
                "amount_usd": "0.00002475",
            },
            {
                "unit": "cache_read_tokens",
                "quantity": 1408,
                "rate_nano_usd": "25000000",
                "per": 1000000,
                "amount_usd": "0.0000352",
            },
            {
                "unit": "output_tokens",
                "quantity": 20,
                "rate_nano_usd": "2000000000",
                "per": 1000000,
                "amount_usd": "0.00004",
            },
            {
                "unit": "reasoning_tokens",
                "quantity": 7,
                "rate_nano_usd": "2000000000",
                "per": 1000000,
                "amount_usd": "0.000014",
            },
        ]
    )
    assert sum(Decimal(line["amount_usd"]) for line in attempt["lines"]) == Decimal(call["cost_usd"])
    assert Decimal(call["held_usd"]) >= Decimal(call["cost_usd"])
    text = cli("calls", "show", call_id).out
    assert f"cost      {call['cost_usd']} USD, {call['held_usd']} held\n" in text
    assert "tags      team=a, stage=b\n" in text
    assert "usage     input tokens 99, cache read tokens 1,408, output tokens 20, reasoning tokens 7\n" in text
    assert "attempt 1: sandbox/gpt-5-mini ok, 200 status" in text
    assert all(line["unit"].replace("_", " ") in text and line["amount_usd"] in text for line in attempt["lines"])
    assert not any(sign in text for sign in "{}[]'")


def test_a_call_that_failed_is_shown_as_what_it_was(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-failed")
    answer = ask(shared_bursar, secret, "[[fault=500]] hi")
    wait_booked(shared_bursar, answer.headers["x-bursar-call-id"])
    call = cli("calls", "show", answer.headers["x-bursar-call-id"], "--json").json()
    assert (call["status"], call["http_status"], call["cost_usd"]) == ("failed", 500, "0.00")


def test_calls_are_followed_as_they_come_until_interrupted(shared_bursar: LocalBursar, tmp_path: Path) -> None:
    secret = shared_bursar.create_key("cli-follow")
    ids = [ask_and_wait(shared_bursar, secret)]
    output, errors = tmp_path / "output", tmp_path / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        following = subprocess.Popen(
            [sys.executable, "-m", "bursar", "calls", "--follow", "--key", "cli-follow", "--json"],
            env={**os.environ, "BURSAR_DATA": str(shared_bursar.data), "PYTHONUNBUFFERED": ""},
            stdout=out,
            stderr=err,
        )

    def shown() -> list[str]:
        return re.findall(r'^  "id": "(call_\w+)"', output.read_text(), re.MULTILINE)

    def wait_shown() -> None:
        deadline = time.monotonic() + FOLLOW_S
        while shown() != ids and time.monotonic() < deadline:
            time.sleep(0.02)
        assert shown() == ids

    try:
        wait_shown()
        ids += [ask_and_wait(shared_bursar, secret) for _ in range(2)]
        wait_shown()
    finally:
        following.send_signal(signal.SIGINT)
        code = following.wait(FOLLOW_S)
    assert (code, errors.read_text()) == (130, "")
