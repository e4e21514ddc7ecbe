"""Runs are listed with what they cost, and shown as the tree of their calls, charges and budgets."""

import json
import re
from typing import Any

import pytest

from bench.harness import LocalBursar
from tests.asking import ask_and_wait, fetch
from tests.cli.outcome import Cli


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"cli-runs-{abs(hash(request.node.name))}"


@pytest.fixture
def calls(cli: Cli, shared_bursar: LocalBursar, name: str) -> list[str]:
    """Make a run of three calls and two charges, under a budget for every run."""
    team, runs = f"{name} team", f"{name} runs"
    cli("budget", "create", team, "50.00")
    cli("budget", "create", runs, "2.00", "--parent", team, "--each", "run", "--kind", "run")
    secret = shared_bursar.create_key(name, parent=team)
    top = ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    below = ask_and_wait(shared_bursar, secret, x_bursar_run=name, x_bursar_parent=top)
    last = ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    charges: tuple[dict[str, Any], ...] = (
        {"call": below, "kind": "retrieval", "amount_usd": "0.02", "supplier": "brave", "quantity": "4 searches"},
        {"run": name, "kind": "person", "amount_usd": "0.40", "description": "[bold]looked[/] at it"},
    )
    for number, charge in enumerate(charges):
        body = json.dumps({"id": f"{name} {number}"} | charge).encode()
        answer = fetch(shared_bursar, "POST", "/api/charges", body, authorization=f"Bearer {secret}")
        assert answer.status == 201, answer.body
    return [top, below, last]


def test_a_run_is_listed_with_its_calls_charges_and_cost(cli: Cli, calls: list[str], name: str) -> None:
    listed = cli("runs", "list", "--json").json()
    assert listed[0]["run"] == name
    run = cli("runs", "show", name, "--json").json()
    assert (listed[0]["calls"], listed[0]["charges"], listed[0]["cost_usd"]) == (3, 2, run["cost_usd"])
    head, *rows = (line.split() for line in cli("runs", "list", "--limit", "1").out.splitlines())
    assert head == ["run", "key", "calls", "charges", "USD", "last"]
    assert rows == [[name, name, "3", "2", run["cost_usd"], listed[0]["last_at"][:19]]]


def test_a_run_is_shown_as_a_tree(cli: Cli, calls: list[str], name: str) -> None:
    lines = cli("runs", "show", name).out.splitlines()
    cost = cli("calls", "show", calls[0], "--json").json()["cost_usd"]
    run = cli("runs", "show", name, "--json").json()
    top, below, last = ([index for index, line in enumerate(lines) if line.endswith(each)] for each in calls)
    assert lines[0] == f"{name}  3 calls  {run['cost_usd']} USD"
    assert (top, below, last) == ([1], [2], [4])
    assert [len(line) - len(line.lstrip()) for line in lines[1:6]] == [2, 4, 6, 2, 2]
    assert re.fullmatch(rf"  \d\d:\d\d:\d\d gpt-4o-mini  ok  {cost} USD  {calls[0]}", lines[1])
    assert lines[3].strip() == "retrieval: brave (4 searches)  0.02 USD"
    assert lines[5].strip() == "person: [bold]looked[/] at it  0.40 USD"
    assert lines[6].startswith(f"{name} runs/{name}: {run['cost_usd']} of 2.00 spent, 1.5")
    assert len(lines) == 7


def test_the_json_of_a_run_is_that_of_the_api(
    cli: Cli, shared_bursar: LocalBursar, calls: list[str], name: str
) -> None:
    assert cli("runs", "show", name, "--json").json() == fetch(shared_bursar, "GET", f"/api/runs/{name}").json()


def test_what_lies_deep_is_numbered_and_not_moved_further(cli: Cli, shared_bursar: LocalBursar, name: str) -> None:
    secret, parent = shared_bursar.create_key(name), "a step"
    for _ in range(23):
        parent = ask_and_wait(shared_bursar, secret, x_bursar_run=name, x_bursar_parent=parent)
    lines = cli("runs", "show", name).out.splitlines()[1:]
    assert [len(line) - len(line.lstrip()) for line in lines[18:]] == [38, 40, 40, 40, 40]
    assert [line.split()[0] for line in lines[20:]] == ["(21)", "(22)", "(23)"]


def test_a_statement_counts_charges_where_there_are_any(cli: Cli, calls: list[str], name: str) -> None:
    title, head, *rows = cli("statement", "--by", "charge").out.splitlines()
    assert title.startswith("Statement, ")
    assert head.split() == ["charge", "calls", "charges", "input", "cached", "output", "USD", "estimated"]
    assert {"retrieval", "person", "model calls"[:5]} <= {row.split()[0] for row in rows}
    whole = cli("statement", "--by", "run", "--json").json()
    line = next(each for each in whole["lines"] if each["name"] == name)
    assert (line["calls"], line["charges"]) == (3, 2)
    assert whole["charges"] >= 2
    model = cli("statement", "--json").json()
    own = next(each for each in model["lines"] if each["name"] == "work that is no call")
    assert (own["cost_usd"], own["charges"]) == (model["charges_usd"], model["charges"])


def test_a_run_that_is_not_in_the_books_is_an_error(cli: Cli) -> None:
    outcome = cli("runs", "show", "nobody-ran-this")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "bursar: no run 'nobody-ran-this' in the books: see `bursar runs list`\n"


def test_in_empty_books_there_are_no_runs(database_cli: Cli) -> None:
    assert database_cli("runs", "list", "--json").json() == []
    assert database_cli("runs", "list").out.split() == ["run", "key", "calls", "charges", "USD", "last"]


@pytest.mark.parametrize("arguments", [("--days", "0"), ("--limit", "0"), ("--days", "many")])
def test_wrong_usage_is_refused(cli: Cli, arguments: tuple[str, str]) -> None:
    assert cli("runs", "list", *arguments).code == 2
