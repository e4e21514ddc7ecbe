"""Find what providers keep of answers, by the names noted with their calls."""

from collections.abc import Sequence
from typing import Final

from bursar.core.ids import first_id_at
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("calls")


async def names_kept(connection: Connection, tenant: int, names: Sequence[bytes], since_us: int) -> list[bytes]:
    """Return those of some names that stand in the record of a call since a moment."""
    rows = await connection.fetch(_SQL["kept"], tenant, first_id_at(since_us // 1_000), list(names))
    return [row["name"] for row in rows]
