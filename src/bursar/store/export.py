"""Stream the books in a format of other bookkeeping programs, as they are at one moment."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

from bursar.core.times import FOREVER_US
from bursar.ledger.chart import Unit
from bursar.ledger.export import Beancount, ExportAccount, Format, Hledger
from bursar.store.accounts import transfer_of_row
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("ledger")
_FETCH_ROWS: Final = 2_000


class Program(StrEnum):
    """Name a program the books can be written for."""

    beancount = "beancount"
    hledger = "hledger"


_FORMATS: Final[dict[Program, type[Beancount] | type[Hledger]]] = {
    Program.beancount: Beancount,
    Program.hledger: Hledger,
}


async def export(
    connection: Connection, tenant: int, program: Program, until_us: int | None = None
) -> AsyncIterator[str]:
    """Write the books piece by piece; with `until_us`, of the transfers whose event lies before it.

    The balances to be proved are those the books keep; with `until_us`, those the database sums.
    """
    end_us = FOREVER_US if until_us is None else until_us
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        accounts = await _accounts(connection, tenant, until_us)
        last_us = max((max(account.last_us, account.opened_us) for account in accounts), default=0)
        form: Format = _FORMATS[program](accounts, last_us)
        for text in form.head():
            yield text
        async for row in connection.cursor(_SQL["posted_transfers"], tenant, end_us, prefetch=_FETCH_ROWS):
            yield form.transaction(transfer_of_row(row), row["chain"], row["seq"])
        for text in form.tail():
            yield text


async def _accounts(connection: Connection, tenant: int, until_us: int | None) -> list[ExportAccount]:
    """Read the accounts that were opened by then. One is open at its first event, whatever clock said so."""
    rows = await connection.fetch(_SQL["accounts_to_export"], tenant, FOREVER_US if until_us is None else until_us)
    return [
        ExportAccount(
            row["account_id"],
            row["name"],
            row["code"],
            Unit(row["unit"]),
            row["first_us"],
            row["closed_us"],
            row["last_us"],
            row["kept_balance"] if until_us is None else row["summed_balance"],
        )
        for row in rows
    ]
