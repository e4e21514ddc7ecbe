"""Read accounts as they are and as they were.

A past balance is what the books knew at a moment: the ledger's own record time, not the time of the events. Every
commit leaves one row for each account it changed, so a question is one step down an index however many transfers
there are.
"""

from typing import Final

import asyncpg
import msgspec

from bursar.ledger.chart import Code, Unit
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("ledger")


class Balance(msgspec.Struct, frozen=True):
    """Hold an account's four sums, and since when they are what they are, in Unix microseconds."""

    since_us: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int

    @property
    def posted(self) -> int:
        """Return the balance: posted credits less posted debits."""
        return self.credits_posted - self.debits_posted


class AccountState(msgspec.Struct, frozen=True):
    """Describe an account as it is now."""

    account_id: int
    name: str
    code: int
    unit: Unit
    limited: bool
    credits_limited: bool
    closed: bool
    opened_us: int
    closed_us: int | None
    balance: Balance

    @property
    def kind(self) -> str:
        """Name the account's place in the chart."""
        return Code(self.code).name if self.code in list(Code) else str(self.code)


async def find(connection: Connection, tenant: int, name: str) -> AccountState | None:
    """Find an account by its name or its number."""
    row = await connection.fetchrow(_SQL["account"], tenant, name)
    return None if row is None else _state(row)


async def all_accounts(connection: Connection, tenant: int) -> list[AccountState]:
    """Return every account, in the order in which they were opened."""
    return [_state(row) for row in await connection.fetch(_SQL["all_accounts"], tenant)]


async def balance_at(connection: Connection, tenant: int, account_id: int, at_us: int) -> Balance | None:
    """Return an account's balance at a moment; None before the account or its history began."""
    row = await connection.fetchrow(_SQL["past_balance"], tenant, account_id, at_us)
    return None if row is None else _balance(row, row["at_us"])


async def history_began(connection: Connection, tenant: int, account_id: int) -> int | None:
    """Return the first moment of an account's history."""
    return await connection.fetchval(_SQL["history_began"], tenant, account_id)


def _balance(row: asyncpg.Record, since_us: int) -> Balance:
    pending = row["debits_pending"], row["credits_pending"]
    return Balance(since_us, pending[0], row["debits_posted"], pending[1], row["credits_posted"])


def _state(row: asyncpg.Record) -> AccountState:
    return AccountState(
        row["account_id"],
        row["name"],
        row["code"],
        Unit(row["unit"]),
        row["limited"],
        row["credits_limited"],
        row["closed"],
        row["opened_us"],
        row["closed_us"],
        _balance(row, row["changed_us"]),
    )
