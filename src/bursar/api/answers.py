"""Word what the API refuses, and tell the time, for all its handlers."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

from litestar import Request, Response
from litestar.exceptions import HTTPException

from bursar.core.errors import BooksError, NameTaken, NotThere, OperatorError, Refusal, Unavailable
from bursar.store.database import AWAY

_STATUS: Final = ((NotThere, 404, "not_found"), (NameTaken, 409, "name_taken"), (OperatorError, 400, "bad_request"))


class ConflictException(HTTPException):
    """Answer that an id or name was used before, for something else."""

    status_code = 409


class UnsupportedMediaException(HTTPException):
    """Answer that a body is of another kind than JSON."""

    status_code = 415


def now_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


def unreadable(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer to a body the framework's decoder cannot take, which it takes for a mistake of its own."""
    detail = f"the body cannot be read as JSON: {type(error).__name__}"
    return Response({"status_code": 400, "detail": detail}, status_code=400)


def refuse(refusal: Refusal) -> NoReturn:
    """Answer with a refusal as the API words one."""
    extra = {"code": refusal.code} | ({"param": refusal.param} if refusal.param else {})
    headers = {"retry-after": str(refusal.retry_after_s)} if refusal.retry_after_s is not None else None
    raise HTTPException(refusal.message, status_code=refusal.status, extra=extra, headers=headers) from None


@asynccontextmanager
async def answering(fields: tuple[str, ...], what: str) -> AsyncIterator[None]:
    """Answer with what goes wrong inside, naming the field a message begins with."""
    try:
        yield
    except Refusal as refusal:
        refuse(refusal)
    except OperatorError as error:
        status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
        field = str(error).partition(":")[0].partition("[")[0]
        extra = {"code": code} | ({"param": field} if field in fields else {})
        raise HTTPException(str(error), status_code=status, extra=extra) from None
    except (BooksError, *AWAY) as error:
        refuse(Unavailable(f"{what} cannot be done now: {error}", retry_after_s=1))
