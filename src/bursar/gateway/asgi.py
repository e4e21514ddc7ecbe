"""Name the shapes of ASGI, and answer with them: whole bodies, refusals, bounded reading."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeAlias

from bursar.core.addresses import Address, behind_proxies, read_address
from bursar.core.errors import TooLarge, Unavailable
from bursar.gateway.connection import Headers

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")

CLIENT: Final = "bursar.client"
"""Where a scope holds who asked, for whoever answers without a task of its own."""

KNOWN: Final = "bursar.known"
"""Where a scope of a head that was read before holds what was read of it."""


class Out(Protocol):
    """Be where an answer goes, part by part."""

    async def send(self, message: dict[str, Any]) -> None:
        """Take in a part of the answer, and wait until the client has read enough for the next."""
        ...

    def put(self, body: bytes, *, more: bool = True) -> bool:
        """Take in a piece of the body at once, the last one without `more`; tell whether the client keeps up."""
        ...


class Client(Out, Protocol):
    """Be whoever asked, waiting for one answer."""

    whole: bool  # the request's body is
    body: bytes | None  # of the request, until it was received
    when_gone: Callable[[], None] | None  # is called once the connection is closed

    @property
    def gone(self) -> bool:
        """Tell whether the connection is closed."""
        ...

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer in one piece, at once."""
        ...

    def expect(self, work: "Cancellable") -> None:
        """Know what is under way, so that a server that stops waits for it and can end it."""
        ...

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the rest of the work done by a task."""
        ...

    def fail(self, error: Exception | None = None) -> None:
        """Tell a client whose answer went wrong in a way nobody foresaw."""
        ...


class Cancellable(Protocol):
    """Be under way, and end when told to."""

    def cancel(self, msg: str | None = None) -> Any:
        """End at once."""
        ...


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
