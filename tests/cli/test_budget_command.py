"""Budgets are shown with what is spent and left, and set without forgetting what was spent."""

import re
import time
from decimal import Decimal

import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from tests.asking import HEARD_S, ask, ask_and_wait, ask_until
from tests.cli.outcome import Cli


def test_an_unused_budget_is_whole(cli: Cli, shared_bursar: LocalBursar) -> None:
    shared_bursar.create_key("cli-unused", "5.00")
    assert cli("budget", "show", "cli-unused", "--json").json() == snapshot(
        [
            {
                "budget": "cli-unused",
                "of": None,
                "match": {},
                "each": None,
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


def test_a_tree_is_made_and_shown_each_below_its_own(cli: Cli, shared_bursar: LocalBursar) -> None:
    org = ("budget", "create", "cli-org", "500.00/month", "900 requests/minute", "--kind", "organisation")
    assert cli(*org) == (0, "cli-org: 500.00/month, 900 requests/minute\n", "")
    made = cli("budget", "create", "cli-team", "5.00/day rolling", "--parent", "cli-org", "--json").json()
    assert re.fullmatch("bud_[0-9a-f]{16}", made.pop("id"))
    assert made == {"budget": "cli-team", "kind": "team", "limits": ["5.00/day rolling"]}
    assert (
        cli("budget", "create", "cli-runs", "2.00", "--parent", "cli-team", "--each", "run", "--kind", "run").code == 0
    )
    part = ("--parent", "cli-team", "--match", "feature=search", "--model", "gpt-4o")
    assert cli("budget", "create", "cli-search", *part).out == "cli-search: unlimited\n"
    assert cli("keys", "create", "--name", "cli-of-team", "--budget", "1.00", "--parent", "cli-team").code == 0
    assert cli("budget", "freeze", "cli-search") == (0, "cli-search is frozen\n", "")
    _, *rows = cli("budget", "show", "cli-org").out.splitlines()
    assert [re.split(" {2,}", row.rstrip())[-3:] for row in rows] == [
        ["0.00", "0.00", "500.00"],
        ["0", "0", "900"],
        ["0.00", "0.00", "5.00"],
        ["0.00", "0.00", "2.00"],
        ["0.00", "0.00", "unlimited"],
        ["0.00", "0.00", "1.00"],
    ]
    assert [re.split(" +(?:20[0-9]|total )", row)[0] for row in rows] == snapshot(
        [
            "cli-org",
            "",
            "  cli-team",
            "    cli-runs (each run)",
            "    cli-search (model=gpt-4o, feature=search, frozen)",
            "    cli-of-team",
        ]
    )
    shown = cli("budget", "show", "cli-org", "--json").json()
    assert [(each["budget"], each["kind"], each["parent"], each["unit"]) for each in shown] == snapshot(
        [
            ("cli-org", "organisation", None, "USD"),
            ("cli-org", "organisation", None, "requests"),
            ("cli-team", "team", "cli-org", "USD"),
            ("cli-runs", "run", "cli-team", "USD"),
            ("cli-search", "team", "cli-team", "USD"),
            ("cli-of-team", "key", "cli-team", "USD"),
        ]
    )
    assert re.fullmatch("20[0-9-]{8}T[0-9:]{5}Z", shown[1].pop("window"))
    assert shown[1] == snapshot(
        {
            "budget": "cli-org",
            "of": None,
            "match": {},
            "each": None,
            "kind": "organisation",
            "parent": None,
            "unit": "requests",
            "limit": "900 requests/minute",
            "frozen": False,
            "limit_count": "900",
            "spent_count": "0",
            "held_count": "0",
            "left_count": "900",
            "overage_count": "0",
            "undecided_count": "0",
        }
    )
    assert [each["budget"] for each in cli("budget", "show", "cli-search", "--json").json()] == ["cli-search"]
    assert cli("budget", "thaw", "cli-search", "--json").json() == {"budget": "cli-search", "frozen": False}


def test_limits_are_set_in_place_of_those_there_were(cli: Cli, shared_bursar: LocalBursar) -> None:
    shared_bursar.create_key("cli-several", "5.00/day", "60 requests/minute")
    assert cli("budget", "set", "cli-several", "20 concurrent", "100000 tokens/minute rolling") == (
        0,
        "cli-several: unlimited, 100000 tokens/minute rolling, 20 concurrent\n",
        "",
    )
    shown = cli("budget", "show", "cli-several", "--json").json()
    assert [(each["unit"], each["limit"]) for each in shown] == [
        ("USD", "unlimited"),
        ("tokens", "100000 tokens/minute rolling"),
        ("concurrent", "20 concurrent"),
    ]
    assert (shown[0]["limit_usd"], shown[0]["left_usd"], shown[1]["left_count"]) == (None, None, "100000")
    assert cli("budget", "set", "cli-several", "5.00/month", "--zone", "Asia/Kolkata", "--grace", "1.00").code == 0
    (row,) = shared_bursar.query(
        "select * from budgets join holders using (tenant, holder_id) where name = 'cli-several'"
    )
    assert (row["zone"], row["enforcement"], row["grace_nano"], row["time_window"]) == (
        "Asia/Kolkata",
        "grace",
        10**9,
        "month",
    )
    assert cli("budget", "show", "cli-several", "--json").json()[0]["left_usd"] == "6.00"


def test_policies_are_set_one_by_one(cli: Cli, shared_bursar: LocalBursar) -> None:
    shared_bursar.create_key("cli-policies", "5.00")
    assert cli("budget", "policy", "cli-policies", "--when-exhausted", "smaller", "--depth", "3").code == 0
    set_later = ("--holds", "expected", "--repeats", "4", "--alerts", "100,50,80,80")
    assert cli("budget", "policy", "cli-policies", *set_later) == (0, "cli-policies: 5.00\n", "")
    (row,) = shared_bursar.query("select * from holders where name = 'cli-policies'")
    assert [row[name] for name in ("exhausted", "holds", "depth_max", "repeats_max", "alerts_percent")] == [
        *("smaller", "expected", 3, 4),
        [50, 80, 100],
    ]


def test_money_is_moved_and_both_sides_show_it(cli: Cli) -> None:
    for name in ("cli-giver", "cli-taker"):
        assert cli("budget", "create", name, "10.00/month").code == 0
    assert cli("budget", "move", "cli-giver", "cli-taker", "2.50") == (
        0,
        "2.50 USD moved from cli-giver to cli-taker\n",
        "",
    )
    assert cli("budget", "move", "cli-taker", "cli-giver", "0.25", "--json").json() == {
        "from": "cli-taker",
        "to": "cli-giver",
        "amount_usd": "0.25",
    }
    left = [cli("budget", "show", name, "--json").json()[0]["left_usd"] for name in ("cli-giver", "cli-taker")]
    assert left == ["7.75", "12.25"]


def test_whoever_is_frozen_is_refused_until_thawed(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-frozen", "5.00")
    assert ask(shared_bursar, secret).status == 200
    assert cli("budget", "freeze", "cli-frozen", "--json").json() == {"budget": "cli-frozen", "frozen": True}
    refused = ask_until(shared_bursar, secret, 402).json()["error"]
    assert refused["code"] == "budget_frozen"
    assert cli("budget", "show", "cli-frozen").out.splitlines()[1].startswith("cli-frozen (frozen)  ")
    assert cli("budget", "thaw", "cli-frozen") == (0, "cli-frozen is thawed\n", "")
    ask_until(shared_bursar, secret, 200)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["create", "cli-new", "5.00/day", "--parent", "nobody"],
            "no budget or key named 'nobody': see `bursar budget show`",
        ),
        (["create", "cli-there", "1"], "'cli-there' exists already: choose another name"),
        (["create", "", "1"], "a name has 1 to 128 printable characters, got ''"),
        (["create", "cli-new", "1", "--zone", "Mars"], "no time zone 'Mars': expected a name such as Europe/Berlin"),
        (
            ["create", "cli-new", "1", "--match", "a"],
            "--match: expected name=value pairs of up to 128 letters, digits and _.:/@+- each",
        ),
        (
            ["create", "cli-new", "1", "--soft", "--grace", "1"],
            "--soft refuses nothing, so there is no grace: choose one",
        ),
        (
            ["create", "cli-new", "1", "--grace", "x"],
            "--grace: expected USD as a decimal with at most nine decimals, such as 5.00; got 'x'",
        ),
        (
            ["create", "cli-new", "1", "--alerts", "50,x"],
            "--alerts: expected percentages from 1 to 1000, such as 50,80,100; got '50,x'",
        ),
        (
            ["create", "cli-new", "1", "--alerts", "0"],
            "--alerts: expected percentages from 1 to 1000, such as 50,80,100; got '0'",
        ),
        (["create", "cli-new", "5 requests"], "expected a window, such as 5 requests/minute; got '5 requests'"),
        (
            ["set", "cli-there", "20 concurrent/day"],
            "what is concurrent has no window: expected 20 concurrent, got '20 concurrent/day'",
        ),
        (
            ["set", "cli-there", "5.00 rolling"],
            "expected a window that rolls, such as 5.00/day rolling; got '5.00 rolling'",
        ),
        (["policy", "nobody", "--depth", "2"], "no budget or key named 'nobody': see `bursar budget show`"),
        (["freeze", "nobody"], "no budget or key named 'nobody': see `bursar budget show`"),
        (["thaw", "nobody"], "no budget or key named 'nobody': see `bursar budget show`"),
        (["move", "cli-there", "cli-other", "99"], "'cli-there' cannot give so much: exceeds credits"),
        (["move", "cli-there", "nobody", "1"], "no budget or key named 'nobody': see `bursar budget show`"),
        (["move", "cli-there", "cli-other", "-1"], "amount: expected an amount that is not negative, got -1"),
        (
            ["move", "cli-there", "cli-other", "one"],
            "amount: expected USD as a decimal with at most nine decimals, such as 5.00; got 'one'",
        ),
    ],
)
def test_what_is_refused_ends_with_1_and_one_line_and_changes_nothing(
    database_cli: Cli, words: list[str], complaint: str
) -> None:
    for name in ("cli-there", "cli-other"):
        assert database_cli("budget", "create", name, "4.00/day").code == 0
    before = database_cli("budget", "show", "--json").json()
    outcome = database_cli("budget", *words)
    assert outcome == (1, "", f"bursar: {complaint}\n")
    assert database_cli("budget", "show", "--json").json() == before


@pytest.mark.parametrize(
    "words",
    [
        ["create"],
        ["create", "a", "1", "--kind", "planet"],
        ["create", "a", "1", "--holds", "loosely"],
        ["create", "a", "1", "--when-exhausted", "cry"],
        ["create", "a", "1", "--depth", "0"],
        ["policy", "a", "--repeats", "1"],
        ["set", "a"],
        ["move", "a", "b"],
        ["freeze"],
        ["melt", "a"],
    ],
)
def test_wrong_usage_of_budgets_ends_with_2(bare_cli: Cli, words: list[str]) -> None:
    outcome = bare_cli("budget", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1


def test_the_runs_a_budget_stands_for_are_shown_below_it(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.create_key("cli-agent", "5.00")
    assert cli("budget", "create", "cli-each-run", "0.50", "--parent", "cli-agent", "--each", "run").code == 0
    deadline = time.monotonic() + HEARD_S
    while len(cli("budget", "show", "cli-each-run", "--json").json()) == 1:  # the gateway hears of it in a moment
        assert time.monotonic() < deadline
        ask_and_wait(shared_bursar, secret, "[[output=100]] hi", x_bursar_run="one")
    ask_and_wait(shared_bursar, secret, "[[output=100]] hi", x_bursar_run="two")
    shown = cli("budget", "show", "cli-each-run", "--json").json()
    assert [(each["of"], each["each"]) for each in shown] == [(None, "run"), ("two", "run"), ("one", "run")]
    assert all(Decimal(each["spent_usd"]) > 0 for each in shown[1:])
    lines = cli("budget", "show", "cli-each-run").out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["two", "one"]
