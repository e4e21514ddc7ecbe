"""Read which calls a request seeks."""

from typing import Annotated, Final

from litestar.exceptions import ClientException
from litestar.params import Parameter

from bursar.api.shapes.holders import TEXT
from bursar.core.records import CallStatus
from bursar.store.reports import Sought

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
