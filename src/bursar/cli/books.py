"""`bursar books`: prove that the books balance."""

import sys

from cyclopts import App

from bursar.cli.common import Data, Json, open_books, print_json, run
from bursar.store.audit import Audit, audit

app = App(name="books", help="Check the books.")


@app.command
def check(*, data: Data = None, json: Json = False) -> None:
    """Prove the books' invariants from the transfers alone. Exit 0 and one line, or 1 and the first broken account."""

    async def work() -> Audit:
        async with open_books(data) as connection:
            return await audit(connection)

    result = run(work())
    if json:
        print_json(
            {
                "ok": not result.findings,
                "accounts": result.accounts,
                "transfers": result.transfers,
                "calls": result.calls,
                "findings": result.findings,
            }
        )
    elif result.findings:
        more = f" (and {len(result.findings) - 1} more)" if len(result.findings) > 1 else ""
        print(f"broken: {result.findings[0]}{more}")
    else:
        print(f"books balance: {result.accounts} accounts, {result.transfers} transfers, {result.calls} calls")
    sys.exit(1 if result.findings else 0)
