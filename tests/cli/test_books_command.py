"""The check of the books ends with 0 and one line, or 1 and the first broken account."""

import asyncio
import re
from pathlib import Path

import asyncpg
from beancount import loader

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from tests.asking import ask_and_wait
from tests.cli.outcome import Cli

FROM_NOWHERE = """insert into bursar.accounts (tenant, account_id, name, code, limited, credits_posted, opened_us)
    values (1, 990, 'budget:made-up:total', 1, true, 5, 0), (1, 991, 'budget:too:total', 1, true, 6, 0)"""


def tamper(url: str) -> None:
    """Put money into two accounts that no transfer brought there."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(FROM_NOWHERE)
        await connection.close()

    asyncio.run(work())


def test_books_that_balance_end_with_0_and_one_line(cli: Cli, shared_bursar: LocalBursar) -> None:
    ask_and_wait(shared_bursar, shared_bursar.create_key("cli-books", "1.00"))
    outcome = cli("books", "check")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.fullmatch(r"books balance: \d+ accounts, \d+ transfers, \d+ calls\n", outcome.out)
    shown = cli("books", "check", "--json").json()
    assert (shown["ok"], shown["findings"]) == (True, [])
    assert min(shown["accounts"], shown["transfers"], shown["calls"]) > 0


def test_money_from_nowhere_ends_with_1_and_names_the_account(database_cli: Cli, database_url: str) -> None:
    assert database_cli("books", "check") == (0, "books balance: 0 accounts, 0 transfers, 0 calls\n", "")
    tamper(database_url)
    outcome = database_cli("books", "check")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (1, "", 1)
    assert outcome.out.startswith("broken: ")
    assert "made-up" in outcome.out
    assert re.search(r"\(and \d+ more\)$", outcome.out.strip())
    outcome = database_cli("books", "check", "--json")
    assert outcome.code == 1
    assert '"ok": false' in outcome.out
    assert "budget:too:total" in outcome.out


def test_every_account_is_listed(cli: Cli, shared_bursar: LocalBursar) -> None:
    ask_and_wait(shared_bursar, shared_bursar.create_key("cli-accounts", "2.50"))
    shown = cli("books", "accounts")
    assert re.search(r"grants +-\S+\.\d{9} +USD", shown.out)
    found = {account["name"]: account for account in cli("books", "accounts", "--json").json()}
    grants = found["grants"]
    assert (grants["kind"], grants["unit"], grants["may_owe"], grants["closed"]) == ("grants", "USD", True, None)
    assert sum(usd_to_nano(account["balance"]) for account in found.values() if account["unit"] == "USD") == 0


def test_a_balance_is_shown_as_it_is_and_as_it_was(cli: Cli, shared_bursar: LocalBursar) -> None:
    ask_and_wait(shared_bursar, shared_bursar.create_key("cli-balance", "2.50"))
    before = cli("books", "balance", "grants", "--json").json()
    ask_and_wait(shared_bursar, shared_bursar.create_key("cli-balance-2", "7.00"))
    now = cli("books", "balance", "grants").out
    assert re.fullmatch(r"grants: -\d+\.\d{9} USD, since \d{4}-\d\d-\d\d [\d:.]+\+00:00\n", now)
    past = cli("books", "balance", "grants", "--at", before["since"], "--json").json()
    assert {name: past[name] for name in ("balance", "since")} == {name: before[name] for name in ("balance", "since")}
    assert past["balance"] not in now
    assert cli("books", "balance", str(before["id"]), "--at", before["since"]).out.startswith("grants: ")
    refused = cli("books", "balance", "grants", "--at", "1999-12-31")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "the history of grants begins at 2" in refused.err
    for wrong in (("nobody",), ("grants", "--at", "soon")):
        outcome = cli("books", "balance", *wrong)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)


def test_an_export_is_what_beancount_proves(cli: Cli, shared_bursar: LocalBursar, tmp_path: Path) -> None:
    ask_and_wait(shared_bursar, shared_bursar.create_key("cli-export", "2.50"))
    file = tmp_path / "books.beancount"
    assert cli("books", "export", "--format", "beancount", "--output", str(file)) == (0, "", "")
    entries, errors, _ = loader.load_file(str(file))
    assert errors == []
    assert entries
    shown = cli("books", "export", "--format", "hledger", "--until", "2026-01-01")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("; Bursar\n")
    outcome = cli("books", "export", "--format", "beancount", "--output", str(tmp_path / "no" / "file"))
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert cli("books", "export", "--format", "excel").code == 2
