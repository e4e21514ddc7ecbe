"""Admin keys are made, listed and revoked; the audit log shows who changed what."""

import re
import socket

import pytest

from bench.harness import LocalBursar
from bursar.store.keys import secret_digest
from tests.cli.outcome import Cli


def test_an_admin_key_is_printed_once_and_stored_as_a_digest(cli: Cli, shared_bursar: LocalBursar) -> None:
    outcome = cli("admin", "create", "--name", "adm-digest")
    secret = outcome.out.strip()
    assert re.fullmatch(r"ba_[0-9A-Za-z]{43}", secret)
    rows = shared_bursar.query("select k::text as shown, sha256 from admin_keys k where name = 'adm-digest'")
    assert rows[0]["sha256"] == secret_digest(secret)
    for shown in (
        rows[0]["shown"],
        cli("admin", "list").out,
        cli("admin", "list", "--json").out,
        cli("audit", "--json").out,
    ):
        assert "adm-digest" in shown or "adm-digest" in rows[0]["shown"]
        assert secret not in shown
        assert secret[3:] not in shown


def test_an_admin_key_is_listed_with_its_end(cli: Cli) -> None:
    cli("admin", "create", "--name", "adm-listed", "--expires", "2099-01-01")
    row = next(line for line in cli("admin", "list").out.splitlines() if line.startswith("adm-listed "))
    assert re.sub("adm_[0-9a-f]{16}", "ID", " ".join(row.split())) == "adm-listed ID 2099-01-01T00:00:00+00:00 active"


def test_an_admin_key_is_revoked_by_name_or_id(cli: Cli) -> None:
    made = cli("admin", "create", "--name", "adm-gone", "--json").json()
    for name in ("adm-gone", made["id"]):
        assert cli("admin", "revoke", name, "--json").json() == {"id": made["id"], "revoked": True}
    assert next(key["status"] for key in cli("admin", "list", "--json").json() if key["id"] == made["id"]) == "revoked"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["revoke", "adm-nobody"], "bursar: no admin key named 'adm-nobody': see `bursar admin list`\n"),
        (["create", "--name", " "], "bursar: a name has 1 to 128 printable characters, got ' '\n"),
        (["create", "--name", "adm-x", "--expires", "2001-01-01"], "bursar: --expires: 2001-01-01 is past\n"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(cli: Cli, arguments: list[str], complaint: str) -> None:
    assert cli("admin", *arguments) == (1, "", complaint)


def test_the_audit_log_shows_the_commands_of_this_user(cli: Cli) -> None:
    cli("keys", "create", "--name", "adm-audited", "--budget", "2.00/day")
    cli("budget", "set", "adm-audited", "3.00/day")
    cli("keys", "revoke", "adm-audited")
    found = cli("audit", "--subject", "adm-audited", "--json").json()
    assert [entry["action"] for entry in found] == ["key.revoke", "budget.set", "key.create", "budget.create"]
    assert found[1]["details"] == {"before": ["2.00/day"], "limits": ["3.00/day"]}
    assert {entry["origin"] for entry in found} == {f"command on {socket.gethostname()}"}
    assert len({entry["actor"] for entry in found}) == 1
    assert [
        entry["action"] for entry in cli("audit", "--subject", "adm-audited", "--action", "key.", "--json").json()
    ] == [
        "key.revoke",
        "key.create",
    ]
    rows = cli("audit", "--subject", "adm-audited", "--limit", "1").out.splitlines()
    assert rows[0].split() == ["when,", "UTC", "who", "from", "what", "of"]
    assert "key.revoke" in rows[1]
    assert len(rows) == 2
