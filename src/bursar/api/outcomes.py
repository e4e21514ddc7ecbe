"""Take in what became of answers."""

from typing import Any

from litestar import Request, post
from litestar.exceptions import (
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
    ServiceUnavailableException,
    TooManyRequestsException,
)

from bursar.api.admission import FROM, OWN_KEY
from bursar.api.answers import ConflictException, answering, now_us, unreadable
from bursar.api.own_key import bearer, key_of
from bursar.api.shapes.work import OutcomeRequest, OutcomeView
from bursar.core.addresses import read_address
from bursar.gateway.identify import check_address
from bursar.store.database import Pool, borrow
from bursar.store.outcomes import NewOutcome, add_outcome


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
        TooManyRequestsException,
        ServiceUnavailableException,
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
