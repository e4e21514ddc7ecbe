"""Keys are created before the first start and beside a running server, shown once, listed without secrets, revoked."""

import re
from pathlib import Path
from typing import get_args

import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from bursar.cli.keys import Route
from bursar.store.keys import secret_digest
from bursar.store.postgres import DataFolder
from bursar.wires.protocols import ROUTES
from tests.asking import ask, ask_until
from tests.cli.outcome import Cli


def test_a_key_is_printed_once_and_stored_as_a_digest(cli: Cli, shared_bursar: LocalBursar) -> None:
    outcome = cli("keys", "create", "--name", "cli-digest")
    assert re.fullmatch(r"bk_[0-9A-Za-z]{43}\n", outcome.out)
    rows = shared_bursar.query("select k::text as shown, sha256 from keys k where name = 'cli-digest'")
    assert rows[0]["sha256"] == secret_digest(outcome.out.strip())
    assert outcome.out.strip() not in rows[0]["shown"]
    assert outcome.out.strip() not in cli("keys", "list").out + cli("keys", "list", "--json").out


def test_a_key_made_beside_a_running_server_works_at_once(cli: Cli, shared_bursar: LocalBursar) -> None:
    secret = cli("keys", "create", "--name", "cli-beside", "--budget", "1.00/day").out.strip()
    assert ask(shared_bursar, secret).status == 200


def test_everything_about_a_key_is_in_its_json(cli: Cli) -> None:
    made = cli(
        *("keys", "create", "--name", "cli-whole", "--budget", "2.50/week", "--model", "gpt-4o", "--model", "o4-mini"),
        *("--route", "/v1/messages", "--tags", "team=search,stage=test", "--output-cap", "300"),
        *("--expires", "2099-01-01", "--from", "10.0.0.0/8,::1", "--json"),
    ).json()
    secret = made.pop("key")
    assert secret.startswith("bk_")
    listed = next(key for key in cli("keys", "list", "--json").json() if key["name"] == "cli-whole")
    assert listed == made
    assert re.fullmatch("key_[0-9a-f]{16}", made.pop("id"))
    assert made.pop("created_at").endswith("+00:00")
    assert made == snapshot(
        {
            "name": "cli-whole",
            "budget": "2.50/week",
            "models": ["gpt-4o", "o4-mini"],
            "routes": ["/v1/messages"],
            "tags": {"team": "search", "stage": "test"},
            "output_cap": 300,
            "expires_at": "2099-01-01T00:00:00+00:00",
            "addresses": ["10.0.0.0/8", "::1/128"],
            "former_secrets_end_at": [],
            "status": "active",
        }
    )


def test_keys_are_listed_in_a_table(cli: Cli) -> None:
    cli("keys", "create", "--name", "cli-table", "--budget", "7", "--model", "gpt-4o")
    row = next(line for line in cli("keys", "list").out.splitlines() if line.startswith("cli-table "))
    assert re.sub("key_[0-9a-f]{16}", "ID", " ".join(row.split())) == "cli-table ID 7.00 gpt-4o anywhere active"


def test_a_name_is_given_once(cli: Cli) -> None:
    assert cli("keys", "create", "--name", "cli-twice").code == 0
    assert cli("keys", "create", "--name", "cli-twice") == (
        1,
        "",
        "bursar: 'cli-twice' exists already: choose another name\n",
    )


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_revoked_key_is_refused_and_stays_in_the_list(cli: Cli, shared_bursar: LocalBursar, by: str) -> None:
    made = cli("keys", "create", "--name", f"cli-revoked-{by}", "--json").json()
    assert cli("keys", "revoke", made[by], "--json").json() == {"id": made["id"], "revoked": True}
    assert ask_until(shared_bursar, made["key"], 401).json()["error"]["code"] == "key_revoked"
    assert next(key["status"] for key in cli("keys", "list", "--json").json() if key["id"] == made["id"]) == "revoked"


def test_a_rotated_key_answers_to_both_secrets_until_the_overlap_is_over(cli: Cli, shared_bursar: LocalBursar) -> None:
    made = cli("keys", "create", "--name", "cli-rotated", "--budget", "1.00", "--json").json()
    rotated = cli("keys", "rotate", "cli-rotated", "--json").json()
    assert (rotated["id"], rotated["budget"]) == (made["id"], made["budget"])
    assert len(rotated["former_secrets_end_at"]) == 1
    for secret in (made["key"], rotated["key"]):
        assert ask(shared_bursar, secret).status == 200
    row = next(line for line in cli("keys", "list").out.splitlines() if line.startswith("cli-rotated "))
    assert "active," in row  # what follows may be on the next line, where the table is wide
    last = cli("keys", "rotate", made["id"], "--overlap", "0").out.strip()
    for secret in (made["key"], rotated["key"]):
        assert ask_until(shared_bursar, secret, 401).json()["error"]["code"] == "key_replaced"
    assert ask(shared_bursar, last).status == 200
    row = next(line for line in cli("keys", "list").out.splitlines() if line.startswith("cli-rotated "))
    assert row.rstrip().endswith("active")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["create", "--name", "cli-bad", "--from", "10.0.0.1/8"], "--from: expected an address or network such as"),
        (["create", "--name", "cli-bad", "--from", "home"], "--from: expected an address or network such as"),
        (["create", "--name", "cli-bad", "--model", "gpt*4o"], "--model: expected a model's name, or its beginning"),
        (["create", "--name", "cli-bad", "--expires", "0"], "--expires: 0 is past"),
        (["create", "--name", "cli-bad", "--expires", "soon"], "or a span of time such as 30d"),
        (["rotate", "cli-nobody"], "no key named 'cli-nobody': see `bursar keys list`"),
        (["rotate", "cli-nobody", "--overlap", "1w"], "--overlap: expected a span of time such as"),
        (["rotate", "cli-nobody", "--overlap", "91d"], "--overlap: expected at most 90d, got 91d"),
    ],
)
def test_what_cannot_be_is_refused_naming_the_option(cli: Cli, arguments: list[str], complaint: str) -> None:
    outcome = cli("keys", *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert complaint in outcome.err


def test_days_are_counted_from_now(cli: Cli, shared_bursar: LocalBursar) -> None:
    cli("keys", "create", "--name", "cli-30d", "--expires", "30d")
    rows = shared_bursar.query("select expires_us - created_us as lasts_us from keys where name = 'cli-30d'")
    assert abs(rows[0]["lasts_us"] - 30 * 86_400_000_000) < 60_000_000


def test_a_key_may_be_made_before_the_first_start_and_leaves_nothing_running(bare_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "user" / "bursar"
    assert bare_cli("keys", "create", "--name", "early").out.startswith("bk_")
    assert bare_cli("keys", "list", "--json").json()[0]["name"] == "early"
    assert (folder / "postgres").is_dir()
    assert not (folder / "postgres" / "postmaster.pid").exists()
    lock = DataFolder(folder)
    assert lock.try_lock()
    lock.unlock()


def test_a_key_may_be_limited_to_every_route_there_is() -> None:
    assert sorted(get_args(Route)) == sorted(ROUTES)
