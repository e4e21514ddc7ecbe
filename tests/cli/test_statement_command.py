"""A statement adds up, however it is grouped, and its days are the ones that were asked for."""

from decimal import Decimal
from typing import Any

import pytest

from bench.harness import LocalBursar
from bursar.core.kinds import By
from tests.asking import ask_and_wait
from tests.cli.outcome import Cli


@pytest.fixture
def spent(shared_bursar: LocalBursar, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Make two calls of a key of this test's own, and return the later one."""
    name = f"cli-statement-{request.node.name}"
    secret = shared_bursar.create_key(name)
    ask_and_wait(shared_bursar, secret, "[[output=30]] hi", x_bursar_tags="part=cli-s")
    call_id = ask_and_wait(shared_bursar, secret, "[[output=40]] hi", model="gpt-4o", x_bursar_run="cli-s-run")
    return {"key": name, "id": call_id}


@pytest.mark.parametrize("by", [By.model, By.key, By.day, By.hour, By.charge])
def test_the_lines_of_a_statement_add_up(cli: Cli, spent: dict[str, Any], by: str) -> None:
    statement = cli("statement", "--by", by, "--json").json()
    assert statement["by"] == by
    assert sum(Decimal(line["cost_usd"]) for line in statement["lines"]) == Decimal(statement["total_usd"]) > 0
    assert sum(line["calls"] for line in statement["lines"]) == statement["calls"] >= 2


def test_a_keys_line_is_the_sum_of_its_calls(cli: Cli, spent: dict[str, Any]) -> None:
    calls = cli("calls", "--key", spent["key"], "--json").json()
    line = next(
        each for each in cli("statement", "--by", "key", "--json").json()["lines"] if each["name"] == spent["key"]
    )
    assert Decimal(line["cost_usd"]) == sum(Decimal(call["cost_usd"]) for call in calls)
    assert (line["calls"], line["output_tokens"], line["estimated_calls"]) == (2, 70, 0)


@pytest.mark.parametrize(("by", "name"), [("tag", "part=cli-s"), ("run", "cli-s-run"), ("model", "sandbox/gpt-4o")])
def test_tags_runs_and_models_have_lines(cli: Cli, spent: dict[str, Any], by: str, name: str) -> None:
    assert name in [line["name"] for line in cli("statement", "--by", by, "--json").json()["lines"]]


def test_days_from_and_to_are_included_and_others_are_not(cli: Cli, spent: dict[str, Any]) -> None:
    at = next(call["at"] for call in cli("calls", "--json").json() if call["id"] == spent["id"])
    day = at[:10]
    assert cli("statement", "--from", day, "--to", day, "--json").json()["calls"] >= 2
    assert cli("statement", "--from", "2026-01-01", "--to", "2026-01-31", "--json").json() == {
        "from": "2026-01-01T00:00:00+00:00",
        "until": "2026-02-01T00:00:00+00:00",
        "by": "model",
        "lines": [],
        "calls": 0,
        "charges": 0,
        "charges_usd": "0.00",
        "total_usd": "0.00",
    }
    assert cli("statement", "--from", "2098-01-01", "--to", "2098-01-01", "--json").json()["calls"] == 0


def test_a_moment_cuts_a_statement_to_the_millisecond(cli: Cli, spent: dict[str, Any]) -> None:
    at = next(call["at"] for call in cli("calls", "--json").json() if call["id"] == spent["id"])
    upto = cli("statement", "--from", "2026-01-01", "--to", at[:23] + "Z", "--by", "key", "--json").json()
    since = cli("statement", "--from", at[:23] + "Z", "--to", "2098-01-01", "--by", "key", "--json").json()
    calls = {
        part: {line["name"]: line["calls"] for line in each["lines"]} for part, each in (("a", upto), ("b", since))
    }
    assert (calls["a"][spent["key"]], calls["b"][spent["key"]]) == (1, 1)


def test_the_table_ends_with_the_total(cli: Cli, spent: dict[str, Any]) -> None:
    whole = cli("statement", "--from", "2026-01-01", "--to", "2098-01-01", "--json").json()
    title, head, *_, last = cli("statement", "--from", "2026-01-01", "--to", "2098-01-01").out.splitlines()
    assert title.strip() == "Statement, 2026-01-01 to 2098-01-01"
    charges = ["charges"] if whole["charges"] else []
    assert head.split() == ["model", "calls", *charges, "input", "cached", "output", "USD", "estimated"]
    name, calls, *_, cost = last.split()[: 6 + len(charges)]
    assert (name, int(calls.replace(",", "")), Decimal(cost)) == ("total", whole["calls"], Decimal(whole["total_usd"]))
