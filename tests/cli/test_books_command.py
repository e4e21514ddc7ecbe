"""The check of the books ends with 0 and one line, or 1 and the first broken account."""

import asyncio
import re

import asyncpg

from bench.harness import LocalBursar
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
