"""Book transfers: load what they touch under lock, let the ledger's rules judge, write back what changed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from bursar.core.money import MONEY_MAX, Money
from bursar.ledger.books import Account, Books, Closing, judge_closing
from bursar.ledger.chain import link
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import Kind, Reason, Status, Step, Transfer, flatten
from bursar.store.database import Connection, load_statements
from bursar.store.rows import bytea, defaults_json, rows_json

_SQL: Final = load_statements("ledger")


class TransferRow(msgspec.Struct, omit_defaults=True, gc=False):
    """Be a row of `transfers`, its columns in any order."""

    tenant: int
    chain: int
    seq: int
    transfer_id: str
    debit_account: int
    credit_account: int
    amount_nano: Money
    kind: int
    reason: int
    event_us: int
    unit: int
    hash: str
    held_nano: Money = 0
    hold_id: str = ""


def transfer_row(tenant: int, chain: int, seq: int, transfer: Transfer, digest: bytes) -> TransferRow:
    """Return a transfer as a row."""
    return TransferRow(
        tenant,
        chain,
        seq,
        bytea(transfer.transfer_id),
        transfer.debit_account,
        transfer.credit_account,
        transfer.amount_nano,
        transfer.kind,
        transfer.reason,
        transfer.event_us,
        transfer.unit,
        bytea(digest),
        transfer.held_nano,
        bytea(transfer.hold_id) if transfer.hold_id else "",
    )


TRANSFER_DEFAULTS: Final = defaults_json(TransferRow)
"""What a row of `transfers` leaves out."""


def transfer_of_row(row: asyncpg.Record) -> Transfer:
    """Read a transfer from a row."""
    return Transfer(
        row["transfer_id"],
        row["debit_account"],
        row["credit_account"],
        row["amount_nano"],
        Kind(row["kind"]),
        Reason(row["reason"]),
        row["event_us"],
        row["hold_id"],
        row["held_nano"],
        Unit(row["unit"]),
    )


class Opening(msgspec.Struct, frozen=True):
    """Describe an account to be opened. `period` is its first microsecond and the one after its last."""

    name: str
    code: Code
    parent_id: int | None = None
    period: tuple[int, int] | None = None
    limited: bool = False
    unit: Unit = Unit.usd
    credits_limited: bool = False


async def open_account(connection: Connection, tenant: int, opening: Opening, now_us: int) -> tuple[int, bool]:
    """Find the account of a name, or open it. Returns its id and whether it is new."""
    name = opening.name
    account_id = await find_account(connection, tenant, name)
    if account_id is not None:
        return account_id, False
    start_us, end_us = opening.period or (None, None)
    limits = (opening.limited, opening.credits_limited)
    values = (tenant, name, opening.code, opening.unit, opening.parent_id, *limits, start_us, end_us, now_us)
    account_id = await connection.fetchval(_SQL["open_account"], *values)
    if account_id is not None:
        return account_id, True
    account_id = await find_account(connection, tenant, name)  # somebody else was quicker
    assert account_id is not None
    return account_id, False


async def find_account(connection: Connection, tenant: int, name: str) -> int | None:
    """Find the account of a name."""
    return await connection.fetchval(_SQL["account_by_name"], tenant, name)


async def lock_chain(connection: Connection, tenant: int, chain: int) -> tuple[int, bytes]:
    """Lock a chain and return its head. Whoever writes to a chain locks it before any account."""
    row = await connection.fetchrow(_SQL["lock_chain"], tenant, chain)
    assert row is not None
    return row["seq"], row["hash"]


async def lock_accounts(connection: Connection, tenant: int, account_ids: Iterable[int]) -> dict[int, Account]:
    """Load accounts' balances and keep them from changing until the transaction ends."""
    rows = await connection.fetch(_SQL["lock_accounts"], tenant, sorted(account_ids))
    return {row["account_id"]: _account_of_row(row) for row in rows}


def _account_of_row(row: asyncpg.Record) -> Account:
    limits = {"limited": row["limited"], "credits_limited": row["credits_limited"]}
    account = Account(row["account_id"], **limits, unit=Unit(row["unit"]), closed=row["closed"])
    account.debits_pending, account.debits_posted = row["debits_pending"], row["debits_posted"]
    account.credits_pending, account.credits_posted = row["credits_pending"], row["credits_posted"]
    return account


async def set_limited(connection: Connection, tenant: int, account_id: int, *, limited: bool) -> None:
    """Say whether an account may owe."""
    await connection.execute(_SQL["set_limited"], tenant, account_id, limited)


async def close_account(connection: Connection, tenant: int, account_id: int, now_us: int) -> Closing:
    """Close an account for good, if nothing is pending on it, it holds nothing and neither do those below it."""
    async with connection.transaction():
        row = await connection.fetchrow(_SQL["closing"], tenant, account_id)
        if row is None:
            return Closing.account_not_found
        account = Account(account_id, closed=row["closed"])
        account.debits_pending, account.debits_posted = row["debits_pending"], row["debits_posted"]
        account.credits_pending, account.credits_posted = row["credits_pending"], row["credits_posted"]
        status = judge_closing(account, row["code"], children_hold=row["children_hold"])
        if status is Closing.closed:
            await connection.execute(_SQL["close_account"], tenant, account_id, now_us)
    return status


async def transfer_amount(connection: Connection, tenant: int, transfer_id: bytes) -> int | None:
    """Return the amount of a transfer that stands in the books; None when there is none of that id."""
    rows = await connection.fetch(_SQL["related_transfers"], tenant, [transfer_id])
    return next((row["amount_nano"] for row in rows if row["transfer_id"] == transfer_id), None)


async def open_holds(connection: Connection, chain: int) -> list[asyncpg.Record]:
    """Return the holds of a chain that have not ended: tenant, transfer id, both accounts and amount."""
    return await connection.fetch(_SQL["open_holds"], chain)


async def book(
    connection: Connection, tenant: int, chain: int, steps: Sequence[Step], now_us: int | None = None
) -> list[Status]:
    """Book transfers and linked transfers within the caller's transaction and return the status of each transfer.

    A refused transfer changes no balance; its refusal is kept, so that its id stays refused. `now_us` is the ledger's
    clock: what lies further ahead of it than clocks may differ is refused. Where holds are made or ended, a transaction
    should have nothing left to lock after this.
    """
    transfers = flatten(steps)
    seq, digest, accounts = await _lock(connection, tenant, chain, transfers)
    books = Books(accounts, now_us)
    before = [account.sums() for account in accounts]
    ends = [transfer for transfer in transfers if transfer.resolves]
    await _load_related(connection, tenant, transfers, ends, books)
    if _ends_holds_elsewhere(transfers, ends, books):
        await connection.execute(_SQL["still_holds"], tenant)
        await _load_related(connection, tenant, transfers, ends, books)
    known = set(books.failures)
    statuses = books.apply_all(steps)
    rows: list[TransferRow] = []
    for transfer, status in zip(transfers, statuses, strict=True):
        if status is Status.created:
            seq += 1
            digest = link(digest, seq, transfer)
            rows.append(transfer_row(tenant, chain, seq, transfer, digest))
    changed = [
        (account.account_id, *account.sums())
        for account, sums in zip(accounts, before, strict=True)
        if account.sums() != sums
    ]
    events = {transfer.transfer_id: min(max(transfer.event_us, 0), MONEY_MAX) for transfer in transfers}
    failed = [(name, status.value, events[name]) for name, status in books.failures.items() if name not in known]
    if rows or failed:
        with_holds = any(row.kind != Kind.post for row in rows)
        written = (TRANSFER_DEFAULTS, rows_json(rows), *_columns(changed, 5), *_columns(failed, 3), with_holds)
        await connection.execute(_SQL["write"], tenant, chain, seq, digest, *written)
    return statuses


async def _lock(
    connection: Connection, tenant: int, chain: int, transfers: Sequence[Transfer]
) -> tuple[int, bytes, list[Account]]:
    """Lock a chain and then what its next transfers touch; return the chain's head and the accounts."""
    named = {account for t in transfers for account in (t.debit_account, t.credit_account)}
    known = sorted(account_id for account_id in named if 0 < account_id <= MONEY_MAX)
    rows = await connection.fetch(_SQL["lock_to_book"], tenant, chain, known)
    accounts = [_account_of_row(row) for row in rows if row["account_id"] is not None]
    return rows[0]["seq"], rows[0]["hash"], accounts


async def _load_related(
    connection: Connection, tenant: int, transfers: Sequence[Transfer], ends: Sequence[Transfer], books: Books
) -> None:
    """Load the transfers that came before under the same ids, the holds that are to end, and how holds ended."""
    holds = {end.hold_id for end in ends}
    ids = {t.transfer_id for t in transfers} | holds
    for row in await connection.fetch(_SQL["related"], tenant, list(ids), list(holds)):
        if row["failed"] is not None:
            books.failures[row["transfer_id"]] = Status(row["failed"])
            continue
        transfer = transfer_of_row(row)
        books.transfers[transfer.transfer_id] = transfer
        if transfer.resolves:
            books.resolutions[transfer.hold_id] = transfer.kind


def _ends_holds_elsewhere(transfers: Sequence[Transfer], ends: Sequence[Transfer], books: Books) -> bool:
    """Tell whether a hold is to end that may be made, or ended, at this moment: no account of it is locked.

    That end will be refused, but why depends on what others do at once. Were each to answer with what it read, two that
    make one hold and name the other's could both be told `hold_not_found`, as no order of the two has it.
    """
    elsewhere = [end for end in ends if not _is_locked(books, end.hold_id)]
    if not elsewhere:
        return False
    made = {transfer.transfer_id for transfer in transfers if transfer.kind is Kind.hold}
    decided = books.transfers.keys() | books.failures.keys()
    never = made | books.failures.keys()  # nobody else makes them
    return any(
        end.transfer_id not in decided and (end.hold_id in books.transfers or end.hold_id not in never)
        for end in elsewhere
    )


def _is_locked(books: Books, hold_id: bytes) -> bool:
    hold = books.transfers.get(hold_id)
    return hold is not None and (hold.debit_account in books.accounts or hold.credit_account in books.accounts)


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Turn rows into the arrays `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
