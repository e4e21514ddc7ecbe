"""Find the call that a key says something of: a charge, or what became of its answer."""

from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest, Forbidden, NotFound
from bursar.core.ids import call_id_from_name
from bursar.store.database import Connection, load_statements
from bursar.store.keys import Key

_SQL: Final = load_statements("calls")


class OwnCall(msgspec.Struct, frozen=True):
    """Hold where a call belongs, and its tags as they are kept."""

    call_id: bytes
    run: str
    tags: Any


async def own_call(connection: Connection, key: Key, name: str, run: str) -> OwnCall:
    """Return a key's call by its name; `run` is the one it is said to be of, if any.

    Raises `BadRequest` for what names no call or another run, `NotFound` for a call that is not in the books,
    `Forbidden` for one of another key.
    """
    try:
        call_id = call_id_from_name(name)
    except ValueError as error:
        raise BadRequest(f"call: {error}", param="call") from None
    row = await connection.fetchrow(_SQL["own"], key.tenant, call_id)
    if row is None:
        raise NotFound(f"no call {name} in the books yet: it shows a moment after it has ended", param="call")
    if row["key_id"] != key.key_id:
        raise Forbidden(f"{name} was made with another key", param="call")
    if run and row["run"] != run:
        whose = f"of run {row['run']!r}" if row["run"] else "of no run"
        raise BadRequest(f"run: {name} is {whose}", param="run")
    return OwnCall(call_id, row["run"], row["tags"])
