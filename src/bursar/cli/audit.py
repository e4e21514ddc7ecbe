"""`bursar audit`: who changed what, when and from where."""

from typing import Annotated

from cyclopts import Parameter, validators

from bursar.cli.common import Data, Json, open_books, print_json, print_table, run
from bursar.core.times import to_datetime
from bursar.store.audit_log import ENTRIES_MAX, Entry, audit_entries, entry_view
from bursar.store.holders import TENANT


def audit(
    *,
    subject: Annotated[str | None, Parameter(help="Only changes of this key, budget or gateway, by its name.")] = None,
    action: Annotated[str | None, Parameter(help="Only such changes: key.create, or all of key.")] = None,
    limit: Annotated[
        int, Parameter(validator=validators.Number(gte=1, lte=ENTRIES_MAX), help="How many, the latest first.")
    ] = 50,
    data: Data = None,
    json: Json = False,
) -> None:
    """List the latest changes of keys, budgets, admin keys and books. The database lets nobody change the list."""

    async def work() -> list[Entry]:
        async with open_books(data) as connection:
            return await audit_entries(connection, TENANT, subject=subject, action=action, limit=limit)

    found = run(work())
    if json:
        print_json([entry_view(entry) for entry in found])
        return
    rows = [
        [to_datetime(entry.at_us).strftime("%Y-%m-%d %H:%M:%S"), entry.actor, entry.origin, entry.action, entry.subject]
        for entry in found
    ]
    print_table(["when, UTC", "who", "from", "what", "of"], rows)
