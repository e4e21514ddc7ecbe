"""Budgets are shown with what is spent and left, and set without forgetting what was spent."""

from decimal import Decimal

import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from tests.asking import ask, ask_and_wait, ask_until
from tests.cli.outcome import Cli


def test_an_unused_budget_is_whole(cli: Cli, shared_bursar: LocalBursar) -> None:
    shared_bursar.create_key("cli-unused", "5.00")
    assert cli("budget", "show", "cli-unused", "--json").json() == snapshot(
        [
            {
                "budget": "cli-unused",
                "kind": "key",
                "parent": None,
                "unit": "USD",
                "window": "total",
                "limit": "5.00",
                "frozen": False,
                "limit_usd": "5.00",
                "spent_usd": "0.00",
                "held_usd": "0.00",
                "left_usd": "5.00",
                "overage_usd": "0.00",
                "undecided_usd": "0.00",
            }
        ]
    )


def test_what_was_spent_is_shown_and_stays_spent_when_the_limit_changes(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-spender", "1.00/month")
    cost = Decimal(ask(shared_bursar, secret, "[[output=100]] hi").headers["x-bursar-cost-usd"])
    ask_and_wait(shared_bursar, secret, "[[output=100]] hi")
    before = cli("budget", "show", "cli-spender", "--json").json()[0]
    assert cost > 0
    assert Decimal(before["spent_usd"]) == 2 * cost
    assert Decimal(before["left_usd"]) == 1 - 2 * cost
    assert cli("budget", "set", "cli-spender", "3.00/month") == (0, "cli-spender: 3.00/month\n", "")
    after = cli("budget", "show", "cli-spender", "--json").json()[0]
    assert Decimal(after["spent_usd"]) == 2 * cost
    assert Decimal(after["left_usd"]) == 3 - 2 * cost


def test_a_budget_of_nothing_refuses_until_it_is_raised(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-poor", "0")
    assert ask(shared_bursar, secret).status == 402
    told = cli("budget", "set", "cli-poor", "unlimited", "--json").json()
    assert (told["budget"], told["kind"], told["limits"]) == ("cli-poor", "key", ["unlimited"])
    ask_until(shared_bursar, secret, 200)
    shown = cli("budget", "show", "cli-poor", "--json").json()[0]
    assert (shown["limit"], shown["limit_usd"], shown["left_usd"]) == ("unlimited", None, None)


def test_budgets_are_shown_in_a_table_by_name_id_or_all(cli: Cli, shared_bursar: LocalBursar) -> None:
    shared_bursar.create_key("cli-shown", "4.00/day")
    key_id = next(key["id"] for key in cli("keys", "list", "--json").json() if key["name"] == "cli-shown")
    shown = cli("budget", "show", "cli-shown")
    assert cli("budget", "show", key_id) == shown
    head, row = shown.out.splitlines()
    assert head.split() == "budget window limit USD spent held left undecided".split()  # noqa: SIM905
    assert row.split()[2:] == ["4.00/day", "0.00", "0.00", "4.00"]
    assert any(line.startswith("cli-shown ") for line in cli("budget", "show").out.splitlines())


@pytest.mark.parametrize("limit", ["-1", "5,00", "1e3", "5.00/Day", "0.0000000001", "99999999999", "NaN", ""])
def test_what_is_no_limit_is_refused_and_changes_nothing(cli: Cli, shared_bursar: LocalBursar, limit: str) -> None:
    name = f"cli-limit-{limit!r}"
    shared_bursar.create_key(name, "4.00/day")
    outcome = cli("budget", "set", name, limit)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("bursar: expected USD")
    assert cli("budget", "show", name, "--json").json()[0]["limit"] == "4.00/day"
