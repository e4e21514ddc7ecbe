"""Name the shapes of ASGI, and answer with them: whole bodies, refusals, bounded reading."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from bursar.core.errors import BadRequest, TooLarge
from bursar.gateway.connection import Headers

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")


class ClientGone(Exception):  # noqa: N818 - the client's right, not an error
    """Say that the client left before its request was whole."""


async def read_body(receive: Receive, announced: int, bytes_max: int) -> bytes:
    """Read a request's body. Raises `TooLarge` beyond the limit, `ClientGone` when the client leaves."""
    if announced > bytes_max:
        raise TooLarge(f"the body of {announced} bytes exceeds {bytes_max}", param="body")
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:
        body: bytes = message["body"]
        if len(body) > bytes_max:
            raise TooLarge(f"the body exceeds {bytes_max} bytes", param="body")
        return body
    pieces: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        pieces.append(message["body"])
        size += len(message["body"])
        if size > bytes_max:
            raise TooLarge(f"the body exceeds {bytes_max} bytes", param="body")
        if not message["more_body"]:
            break
        message = await receive()
    if announced >= 0 and size != announced:
        raise BadRequest(f"the body has {size} bytes where {announced} were announced", param="content-length")
    return b"".join(pieces)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer in one piece."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
