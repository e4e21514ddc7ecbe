"""Name the shapes of ASGI, and answer with them: whole bodies, refusals, bounded reading."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

from bursar.core.addresses import Address, behind_proxies, read_address
from bursar.core.errors import TooLarge, Unavailable
from bursar.gateway.connection import Headers

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")

CLIENT: Final = "bursar.client"
"""Where a scope holds the client's connection, which tells when it is gone."""


class Client(Protocol):
    """Be whoever asked: `gone` is true once the connection is closed, and then `when_gone` is called."""

    gone: bool
    when_gone: Callable[[], None] | None


class ClientGone(Exception):
    """Say that the client left before its request was whole."""


def body_of(message: dict[str, Any], announced: int, bytes_max: int) -> bytes:
    """Return a request's body from its first message: this server hands a request on when it is whole.

    Raises `TooLarge` for one that is beyond the limit, `Unavailable` for one that was not read because its key became
    known only meanwhile, `ClientGone` when the client left.
    """
    if message["type"] != "http.request":
        raise ClientGone
    if announced > bytes_max or len(message["body"]) > bytes_max:
        raise TooLarge(f"the body exceeds {bytes_max} bytes", param="body")
    if message["more_body"]:
        raise Unavailable("this key became known only now: send the call again", code="key_is_new", retry_after_s=1)
    return message["body"]


def client_address(scope: Scope, trusted: tuple[str, ...]) -> Address | None:
    """Return the address a request comes from, behind trusted proxies; None where it is not known."""
    peer = read_address(scope["client"][0]) if scope.get("client") is not None else None
    if not trusted:
        return peer
    said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return behind_proxies(peer, said, trusted)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer in one piece."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
