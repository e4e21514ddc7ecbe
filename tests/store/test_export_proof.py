"""Other bookkeeping programs read the export and come to the same balances, to the nano-dollar."""

import asyncio
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from beancount import loader
from beancount.core.data import Balance, Close, Open, Transaction
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write

from bursar.core.times import DAY_US, SECOND_US
from bursar.ledger.chart import Code, Unit
from bursar.ledger.exchange import Rate, Rounding, Side, exchange, quote
from bursar.ledger.export import account_name_read, amount_text, commodity
from bursar.ledger.transfer import Kind, Reason, Status, Transfer
from bursar.store.accounts import Opening, book, close_account, open_account
from bursar.store.database import Connection
from bursar.store.export import Program, export
from bursar.store.history import all_accounts
from bursar.store.leases import id_of

HLEDGER = shutil.which("hledger")
REQUIRED = os.environ.get("BURSAR_TEST_HLEDGER") == "required"


@pytest.fixture
async def shop(connection: Connection, database_url: str, tmp_path: Path) -> Shop:
    """Make calls to the odd nano-dollar, an exchange into tokens, an account that was closed, and one below another."""
    shop = await open_shop(connection)
    over = shop.intent(5 * USD)
    entries = [
        *shop.call(3 * USD + 1, 9 * USD),
        over,
        shop.settled(over, attempt(7 * USD + 3), overage_nano=1),
        shop.intent(2 * USD),
    ]
    await write(shop, tmp_path, database_url, *entries, now_us=NOW_US + 2 * SECOND_US)
    await exchange_some(connection)
    return shop


async def exchange_some(connection: Connection) -> None:
    async def opened(name: str, code: Code = Code.grants, unit: Unit = Unit.usd) -> int:
        return (await open_account(connection, 1, Opening(name, code, unit=unit), NOW_US))[0]

    purse, pool, rest = (
        await opened("Purse_1"),
        await opened("pool", Code.liquidity),
        await opened("rest", Code.rounding),
    )
    tokens, token_pool = await opened("tokens", unit=Unit.token), await opened("pool:t", Code.liquidity, Unit.token)
    await opened("Purse_1:below")
    closed = await opened("closed")
    deal = quote(1_000_000_001, Rate(30, 1), Rounding.down)
    ids = (id_of("sell"), id_of("buy"), id_of("rest"))
    at_us = NOW_US + DAY_US
    steps = [
        exchange(ids, deal, Side(Unit.usd, purse, pool), Side(Unit.token, tokens, token_pool), rest, at_us),
        Transfer(id_of("in"), purse, closed, 5, Kind.post, Reason.correction, at_us),
        Transfer(id_of("out"), closed, purse, 5, Kind.post, Reason.correction, at_us),
    ]
    async with connection.transaction():
        assert set(await book(connection, 1, 0, steps)) == {Status.created}
    assert (await close_account(connection, 1, closed, NOW_US)).ok


async def exported(connection: Connection, program: Program, until_us: int | None = None) -> str:
    return "".join([text async for text in export(connection, 1, program, until_us)])


async def test_beancount_agrees_to_the_nano_dollar(connection: Connection, shop: Shop) -> None:
    text = await exported(connection, Program.beancount)
    entries, errors, _ = await asyncio.to_thread(loader.load_string, text)
    assert errors == []
    proved = {account_name_read(each.account): each for each in entries if isinstance(each, Balance)}
    accounts = await all_accounts(connection, 1)
    assert {name: (each.amount.number, each.amount.currency) for name, each in proved.items()} == {
        account.name: (Decimal(amount_text(-account.balance.posted, account.unit)), commodity(account.unit))
        for account in accounts
    }
    assert {each.tolerance for each in proved.values()} == {Decimal(0)}
    opened = [each for each in entries if isinstance(each, Open)]
    assert {each.meta["name"] for each in opened} == set(proved)
    assert all(len(each.currencies) == 1 for each in opened)
    assert [account_name_read(each.account) for each in entries if isinstance(each, Close)] == ["closed"]
    posted = await connection.fetch("select * from transfers where kind in (1, 3)")
    made = {each.meta["id"]: each for each in entries if isinstance(each, Transaction)}
    assert {row["transfer_id"].hex(): (row["chain"], row["seq"]) for row in posted} == {
        name: (int(each.meta["chain"]), int(each.meta["seq"])) for name, each in made.items()
    }


async def test_one_nano_dollar_less_is_an_error(connection: Connection, shop: Shop) -> None:
    text = await exported(connection, Program.beancount)
    wrong = text.replace("3.000000001 USD", "3.000000002 USD").replace("-3.000000001 USD", "-3.000000002 USD")
    assert wrong != text
    _, errors, _ = await asyncio.to_thread(loader.load_string, wrong)
    assert errors


async def test_an_export_until_a_day_is_whole_as_well(connection: Connection, shop: Shop) -> None:
    everything = await exported(connection, Program.beancount)
    text = await exported(connection, Program.beancount, NOW_US + DAY_US)
    entries, errors, _ = await asyncio.to_thread(loader.load_string, text)
    assert errors == []
    assert 0 < sum(isinstance(each, Transaction) for each in entries) < everything.count("\n  id: ")
    _, errors, _ = await asyncio.to_thread(loader.load_string, await exported(connection, Program.beancount, 0))
    assert errors == []


async def hledger(text: str, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert HLEDGER is not None, "BURSAR_TEST_HLEDGER=required, but no hledger is installed"
    file = path / "books.journal"
    file.write_text(text)
    command = [HLEDGER, "-f", str(file), *arguments]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.skipif(HLEDGER is None and not REQUIRED, reason="hledger is not installed")
async def test_hledger_agrees_to_the_nano_dollar(connection: Connection, shop: Shop, tmp_path: Path) -> None:
    text = await exported(connection, Program.hledger)
    done = await hledger(text, tmp_path, "check", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    shown = (await hledger(text, tmp_path, "balance", "--flat", "-N", "-O", "csv")).stdout
    for account in await all_accounts(connection, 1):
        if account.balance.posted:
            assert f"{amount_text(-account.balance.posted, account.unit)} " in shown
    early = await hledger(await exported(connection, Program.hledger, NOW_US + DAY_US), tmp_path, "check", "--strict")
    assert (early.returncode, early.stderr) == (0, "")
    wrong = text.replace("3.000000001 USD", "3.000000002 USD")
    assert (await hledger(wrong, tmp_path, "check")).returncode == 1


async def test_empty_books_are_exported_as_well(connection: Connection) -> None:
    for program in Program:
        text: Any = await exported(connection, program)
        assert text
        if program is Program.beancount:
            assert (await asyncio.to_thread(loader.load_string, text))[1] == []
