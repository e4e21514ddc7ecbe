"""Take in what became of answers."""

from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.exceptions import NotAuthorizedException, NotFoundException, PermissionDeniedException
from litestar.exceptions import ServiceUnavailableException as UnavailableException

from bursar.api.admission import FROM, OWN_KEY
from bursar.api.answers import ConflictException, answering, now_us, unreadable
from bursar.api.own_key import bearer, key_of
from bursar.core.addresses import read_address
from bursar.gateway.identify import check_address
from bursar.store.database import Pool, borrow
from bursar.store.outcomes import NewOutcome, OutcomeKind, add_outcome


class OutcomeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how good an answer was: of a call, or of a run as a whole. The same id counts once."""

    id: str
    kind: OutcomeKind
    value: bool | Annotated[float, msgspec.Meta(ge=0, le=1)]
    call: str = ""
    run: str = ""
    source: str = ""


class OutcomeView(msgspec.Struct, frozen=True):
    """Say what was written down; `again` tells that it had been before."""

    id: str
    value: float
    again: bool


@post(
    "/api/outcomes",
    summary="Say how good an answer was, with the key that has asked for it as bearer",
    security=[{"key": []}],
    opt={OWN_KEY: True},
    exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
    response_description="What was written down",
    raises=[
        NotAuthorizedException,
        PermissionDeniedException,
        NotFoundException,
        ConflictException,
        UnavailableException,
    ],
)
async def tell_outcome(pool: Pool, request: Request[Any, Any, Any], data: OutcomeRequest) -> OutcomeView:
    """Write an outcome down."""
    secret = bearer(request.headers.get("authorization", ""))
    new = NewOutcome(data.id, data.kind, float(data.value), data.run, data.call, data.source)
    async with answering((), "writing an outcome down"), borrow(pool) as connection:
        key = await key_of(connection, secret, request.app.state.admission)
        check_address(key, read_address(request.headers.get(FROM, "")))
        again = await add_outcome(connection, key, new, now_us())
    return OutcomeView(new.outcome_id, new.value, again)
