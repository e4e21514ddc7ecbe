"""Read the whole books and have the ledger's rules check them."""

from typing import Final

import msgspec

from bursar.core.ids import call_name
from bursar.ledger.check import AccountFacts, Checker
from bursar.store.accounts import transfer_of_row
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("ledger")
_FETCH_ROWS: Final = 5_000


class Audit(msgspec.Struct):
    """Report an audit: what was read, and every finding."""

    accounts: int = 0
    transfers: int = 0
    calls: int = 0
    findings: list[str] = []


async def audit(connection: Connection) -> Audit:
    """Check the books of every tenant, as they were at one moment."""
    result = Audit()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for row in await connection.fetch(_SQL["tenants"]):
            await _audit_tenant(connection, row["tenant"], result)
    return result


async def _audit_tenant(connection: Connection, tenant: int, result: Audit) -> None:
    rows = await connection.fetch(_SQL["all_accounts"], tenant)
    sums = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
    accounts = [
        AccountFacts(row["account_id"], row["name"], row["unit"], row["limited"], tuple(row[name] for name in sums))
        for row in rows
    ]
    checker = Checker(accounts)
    for head in await connection.fetch(_SQL["chains"], tenant):
        chain = head["chain"]
        checker.begin_chain()
        async for row in connection.cursor(_SQL["all_transfers"], tenant, chain, prefetch=_FETCH_ROWS):
            checker.add(transfer_of_row(row), row["seq"], row["hash"], chain)
        checker.end_chain(head["seq"], head["hash"], chain)
    orphans = await connection.fetchval(_SQL["transfers_without_chain"], tenant)
    if orphans:
        checker.findings.append(f"{orphans} transfers belong to no chain")
    result.findings += checker.finish()
    for row in await connection.fetch(_SQL["calls_that_differ"], tenant):
        cost, posted = row["cost_nano"], row["posted_nano"]
        result.findings.append(f"{call_name(row['call_id'])}: recorded as {cost} nano-USD, its transfers say {posted}")
    result.accounts += len(accounts)
    result.transfers += checker.transfers
    result.calls += await connection.fetchval(_SQL["count_calls"], tenant) or 0
