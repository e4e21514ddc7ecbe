"""`bursar books`: prove that the books balance, show what was in them at any moment, and write them for accountants."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from bursar.cli.common import Data, Json, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.times import DAY_US, moment_from_text, to_datetime
from bursar.ledger.chart import Unit
from bursar.ledger.export import amount_text, commodity
from bursar.store.audit import Audit, audit
from bursar.store.database import Connection, is_writer
from bursar.store.export import Program, export
from bursar.store.history import AccountState, Balance, all_accounts, balance_at, find, history_began
from bursar.store.keys import TENANT

app = App(name="books", help="Check the books, look into them, and hand them to accountants.")


@app.command
def check(*, data: Data = None, json: Json = False) -> None:
    """Prove the books' invariants from the transfers alone. Exit 0 and one line, or 1 and the first broken account."""

    async def work() -> tuple[Audit, bool]:
        async with open_books(data) as connection:
            return await audit(connection), await is_writer(connection)

    result, as_writer = run(work())
    if json:
        print_json(
            {
                "ok": not result.findings,
                "accounts": result.accounts,
                "transfers": result.transfers,
                "calls": result.calls,
                "findings": result.findings,
                "append_only_by": ["triggers", "role"] if as_writer else ["triggers"],
            }
        )
    elif result.findings:
        more = f" (and {len(result.findings) - 1} more)" if len(result.findings) > 1 else ""
        print(f"broken: {result.findings[0]}{more}")
    else:
        print(f"books balance: {result.accounts} accounts, {result.transfers} transfers, {result.calls} calls")
    sys.exit(1 if result.findings else 0)


@app.command
def accounts(*, data: Data = None, json: Json = False) -> None:
    """List every account with its balance: posted credits less posted debits."""

    async def work() -> list[AccountState]:
        async with open_books(data) as connection:
            return await all_accounts(connection, TENANT)

    found = run(work())
    if json:
        print_json([_account_json(account) for account in found])
        return
    rows = [
        [
            str(account.account_id),
            account.name,
            account.kind,
            amount_text(account.balance.posted, account.unit),
            _pending(account.balance, account.unit),
            commodity(account.unit),
            "closed" if account.closed else "",
        ]
        for account in found
    ]
    print_table(["id", "account", "kind", "balance", "pending", "unit", ""], rows, right=(0, 3, 4))


@app.command
def balance(
    account: Annotated[str, Parameter(help="Its name or its number.")],
    /,
    *,
    at: Annotated[str | None, Parameter(help="A moment, or a day for its end; now without.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show an account's balance as the books knew it at a moment of the past, or as it is."""
    at_us = None if at is None else _moment(at)

    async def work() -> tuple[AccountState, Balance]:
        async with open_books(data) as connection:
            return await _find_balance(connection, account, at_us)

    found, then = run(work())
    if json:
        print_json(_account_json(found) | _balance_json(then, found.unit))
        return
    unit = commodity(found.unit)
    pending = _pending(then, found.unit)
    held = f", {pending} pending" if pending else ""
    since = to_datetime(then.since_us).isoformat(sep=" ", timespec="microseconds")
    print(f"{found.name}: {amount_text(then.posted, found.unit)} {unit}{held}, since {since}")


@app.command(name="export")
def export_books(
    *,
    format_: Annotated[Program, Parameter(name="--format", help="Whose language to write.")],
    until: Annotated[str | None, Parameter(help="Last day or moment to include; everything without.")] = None,
    output: Annotated[Path | None, Parameter(help="The file to write; the terminal without.")] = None,
    data: Data = None,
) -> None:
    """Write all posted transfers with every account's balance, for beancount or hledger to prove to the nano-dollar."""
    until_us = None if until is None else _moment(until) + 1

    async def work() -> None:
        async with open_books(data) as connection:
            if output is None:
                async for text in export(connection, TENANT, format_, until_us):
                    sys.stdout.write(text)
                return
            with await asyncio.to_thread(output.open, "w", encoding="utf-8") as file:
                async for text in export(connection, TENANT, format_, until_us):
                    file.write(text)

    try:
        run(work())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OperatorError(f"cannot write {output}: {error.strerror or error}") from None


async def _find_balance(connection: Connection, name: str, at_us: int | None) -> tuple[AccountState, Balance]:
    found = await find(connection, TENANT, name)
    if found is None:
        raise OperatorError(f"no account is named {name!r}: see `bursar books accounts`")
    if at_us is None:
        return found, found.balance
    then = await balance_at(connection, TENANT, found.account_id, at_us)
    if then is None:
        began = await history_began(connection, TENANT, found.account_id)
        text = "has none yet" if began is None else f"begins at {to_datetime(began).isoformat()}"
        raise OperatorError(f"--at: the history of {found.name} {text}")
    return found, then


def _moment(text: str) -> int:
    """Read a moment; a day means its last microsecond."""
    try:
        at_us = moment_from_text(text)
    except ValueError as error:
        raise OperatorError(str(error)) from None
    return at_us + (DAY_US - 1 if len(text) == len("2026-11-21") else 0)


def _pending(balance: Balance, unit: Unit) -> str:
    pending = balance.credits_pending - balance.debits_pending
    return amount_text(pending, unit) if pending else ""


def _account_json(account: AccountState) -> dict[str, Any]:
    return {
        "id": account.account_id,
        "name": account.name,
        "kind": account.kind,
        "unit": commodity(account.unit),
        "may_owe": not account.limited,
        "may_be_owed": not account.credits_limited,
        "opened": to_datetime(account.opened_us).isoformat(),
        "closed": None if account.closed_us is None else to_datetime(account.closed_us).isoformat(),
    } | _balance_json(account.balance, account.unit)


def _balance_json(balance: Balance, unit: Unit) -> dict[str, str]:
    return {
        "balance": amount_text(balance.posted, unit),
        "debits_posted": amount_text(balance.debits_posted, unit),
        "credits_posted": amount_text(balance.credits_posted, unit),
        "debits_pending": amount_text(balance.debits_pending, unit),
        "credits_pending": amount_text(balance.credits_pending, unit),
        "since": to_datetime(balance.since_us).isoformat(),
    }
