"""Write down who changed what, in the transaction of the change. The database refuses to change or delete a line."""

from typing import Any, Final

import msgspec

from bursar.core.times import to_datetime
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("audit_log")

ENTRIES_MAX: Final = 1_000


class Entry(msgspec.Struct, frozen=True):
    """Hold one line: an action such as `key.create`, on what, by whom, from where. `details` hold no secret."""

    audit_id: int
    at_us: int
    actor: str
    origin: str
    action: str
    subject: str
    details: dict[str, Any]


async def act_as(connection: Connection, actor: str, origin: str) -> None:
    """Say who makes the changes of this connection from now on, and from where."""
    await connection.fetchrow(_SQL["act_as"], actor, origin)


async def note(connection: Connection, tenant: int, action: str, subject: str, details: dict[str, Any]) -> None:
    """Write down a change, within the caller's transaction."""
    assert connection.is_in_transaction()  # a change and its line are one
    text = msgspec.json.encode(details, order="deterministic").decode()
    await connection.execute(_SQL["note"], tenant, action, subject, text)


async def audit_entries(
    connection: Connection,
    tenant: int,
    *,
    before: int | None = None,
    subject: str | None = None,
    action: str | None = None,
    limit: int = 50,
) -> list[Entry]:
    """Read the latest lines, newest first; `action` may be the beginning of one, such as `key.`."""
    rows = await connection.fetch(_SQL["entries"], tenant, before, subject, action, limit)
    return [Entry(**(dict(row) | {"details": msgspec.json.decode(row["details"])})) for row in rows]


def entry_view(entry: Entry) -> dict[str, Any]:
    """Show a line as JSON does."""
    return {
        "id": entry.audit_id,
        "at": to_datetime(entry.at_us).isoformat(),
        "actor": entry.actor,
        "origin": entry.origin,
        "action": entry.action,
        "subject": entry.subject,
        "details": entry.details,
    }
