"""Pass pages and the control API on to the control plane, over its Unix socket.

They show what everybody spends, so they are for this machine alone: a request from elsewhere, or under a name that is
not this machine's (a page of another site that had its name point here), is refused. What is asked for with a key is
for whoever has the key.
"""

from ipaddress import ip_address
from typing import Final

from bursar.core.errors import Forbidden, TooLarge, Unavailable
from bursar.gateway.asgi import Receive, Scope, Send, body_of
from bursar.gateway.connection import Connection, Response, UpstreamFault
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool
from bursar.gateway.protocol import STRANGER_BYTES_MAX

_LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_DROPPED: Final = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"host", b"expect", b"te")
)
_WITH_KEY: Final = (("POST", "/api/charges"),)
"""What asks for a key itself, and so may be asked from anywhere."""


class Proxy:
    """Pass requests on."""

    def __init__(self, socket_path: str, outbox: Outbox) -> None:
        self.pool = Pool(f"unix:{socket_path}", outbox, connections_max=32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and its answer back. Raises `Forbidden`, `Unavailable`."""
        if (scope["method"], scope["path"]) not in _WITH_KEY:
            check_local(scope)
        body = body_of(await receive(), -1, STRANGER_BYTES_MAX)
        try:
            connection = self.pool.take_idle() or await self.pool.open()
            response = await connection.exchange((_head(scope, len(body)), body), self.pool.timeouts, stream=True)
            await _pass_back(response, send)
        except UpstreamFault as fault:
            raise Unavailable(f"the control plane does not answer: {fault}", code="control_plane_away") from fault


async def _pass_back(response: Response, send: Send) -> None:
    stream: Connection | None = response.stream
    assert stream is not None
    headers = [(name, value) for name, value in response.headers if name not in _DROPPED or name == b"content-length"]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    while chunk := await stream.chunk():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def check_local(scope: Scope) -> None:
    """Check that a request comes from this machine and under this machine's name. Raises `Forbidden`."""
    client = scope.get("client")
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    name = host.rsplit(":", 1)[0].strip("[]") if host.count(":") <= 1 or host.startswith("[") else host
    if (client is not None and not ip_address(client[0]).is_loopback) or name not in _LOCAL_NAMES:
        raise Forbidden("pages and the control API answer on this machine only, as localhost", code="local_only")


def _head(scope: Scope, body_len: int) -> bytes:
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    if len(target) > 8_192:
        raise TooLarge("the address exceeds 8192 bytes", param="path")
    method = "GET" if scope["method"] == "HEAD" else scope["method"]  # the client's side leaves the body out
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target), b"host: localhost"]
    lines += [b"%b: %b" % (name, value) for name, value in scope["headers"] if name not in _DROPPED]
    return b"\r\n".join([*lines, b"content-length: %d" % body_len, b"\r\n"])
