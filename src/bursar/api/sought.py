"""Read which calls a request seeks, and these calls: for the API and for its pages."""

from typing import Annotated, Any, Final

from litestar.exceptions import ClientException, NotFoundException
from litestar.params import Parameter

from bursar.api.shapes.holders import TEXT
from bursar.core.records import CallStatus
from bursar.store.database import Pool, borrow
from bursar.store.reports import Sought, one_call, recent_calls

_STATUSES: Final = [status.name for status in CallStatus]


def read_sought(
    after: Annotated[str | None, Parameter(description="Only calls after this one, by its id.")] = None,
    before: Annotated[str | None, Parameter(description="Only calls before this one, by its id.")] = None,
    key: Annotated[str | None, Parameter(description="Only calls of this key, by name or id.", pattern=TEXT)] = None,
    run: Annotated[str | None, Parameter(description="Only calls of this agent run.", pattern=TEXT)] = None,
    model: Annotated[
        str | None, Parameter(description="Only calls that asked for this model, or were served by it.", pattern=TEXT)
    ] = None,
    status: Annotated[str | None, Parameter(description=f"Only calls that ended so: {', '.join(_STATUSES)}.")] = None,
) -> Sought:
    """Read what is sought, as the framework finds it in the address. Raises the answer to a status there is none of."""
    if status is not None and status not in _STATUSES:
        told = f"status: expected {', '.join(_STATUSES)}, got {status[:64]!r}"
        raise ClientException(told, extra={"param": "status"})
    return Sought(after, before, key, run, model, CallStatus[status] if status else None)


async def read_calls(pool: Pool, sought: Sought, limit: int) -> list[dict[str, Any]]:
    """Read the latest calls that are sought. Raises the answer to an id that is none."""
    async with borrow(pool) as connection:
        try:
            return await recent_calls(connection, sought, limit=limit)
        except ValueError as error:
            raise ClientException(str(error)) from None


async def read_call(pool: Pool, call_id: str) -> dict[str, Any]:
    """Read one call in full. Raises the answer to one that is not in the books, or an id that is none."""
    async with borrow(pool) as connection:
        try:
            found = await one_call(connection, call_id)
        except ValueError as error:
            raise ClientException(str(error)) from None
    if found is None:
        raise NotFoundException(f"no call {call_id} in the books; a call shows here a moment after it has ended")
    return found
