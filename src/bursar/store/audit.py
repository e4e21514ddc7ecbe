"""Read the whole books and have the ledger's rules check them."""

from typing import Final

import msgspec

from bursar.core.ids import call_name
from bursar.ledger.check import AccountFacts, Checker
from bursar.store.accounts import transfer_of_row
from bursar.store.batches import batches_that_differ
from bursar.store.charges import charges_that_differ
from bursar.store.database import Connection, load_statements
from bursar.store.reconcile import corrections_that_differ

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
        AccountFacts(
            row["account_id"],
            row["name"],
            row["unit"],
            row["limited"],
            tuple(row[name] for name in sums),
            row["credits_limited"],
            row["closed"],
        )
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
    result.findings += await _check_history(connection, tenant, {row["account_id"]: row["name"] for row in rows})
    for row in await connection.fetch(_SQL["calls_that_differ"], tenant):
        cost, posted = row["cost_nano"], row["posted_nano"]
        result.findings.append(f"{call_name(row['call_id'])}: recorded as {cost} nano-USD, its transfers say {posted}")
    result.findings += await corrections_that_differ(connection, tenant)
    result.findings += await charges_that_differ(connection, tenant)
    result.findings += await batches_that_differ(connection, tenant)
    result.accounts += len(accounts)
    result.transfers += checker.transfers
    result.calls += await connection.fetchval(_SQL["count_calls"], tenant) or 0


async def _check_history(connection: Connection, tenant: int, names: dict[int, str]) -> list[str]:
    """Check that what past balances are read from leads to the balances of now, never shrank and always balanced."""
    findings = [
        f"account {row['name']}: its history does not end with its balance"
        for row in await connection.fetch(_SQL["histories_that_differ"], tenant)
    ]
    for row in await connection.fetch(_SQL["histories_that_shrink"], tenant):
        name = names.get(row["account_id"], str(row["account_id"]))
        findings.append(f"account {name}: its history takes back at {row['at_us']} what was posted")
    for row in await connection.fetch(_SQL["moments_that_differ"], tenant):
        moved = f"{row['debits']:.0f} debits and {row['credits']:.0f} credits"
        findings.append(f"unit {row['unit']}: at {row['at_us']} the history moves {moved}")
    return findings
