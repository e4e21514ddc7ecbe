"""Pass pages and the control API on to the control plane, over its Unix socket.

They show what everybody spends, so without a key they are for this machine alone: a request from elsewhere, through a
proxy, or under a name that is not this machine's (a page of another site that had its name point here), is refused.
What is asked for with a key is for whoever has it; the control plane looks at it, and is told what only the gateway
knows: whether a request is of this machine, and its address.
"""

from typing import Final

from bursar.core.addresses import Address, is_within, read_address
from bursar.core.errors import Forbidden, TooLarge, Unavailable
from bursar.gateway.asgi import Receive, Scope, Send, body_of, client_address
from bursar.gateway.connection import Connection, Response, Timeouts, UpstreamFault
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool
from bursar.gateway.protocol import STRANGER_BYTES_MAX
from bursar.store.admins import ADMIN_PREFIX
from bursar.store.keys import is_secret

_LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_DROPPED: Final = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"host", b"expect", b"te", b"upgrade")
)
_FORWARDING: Final = frozenset((b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"))
_LOCAL: Final = b"x-bursar-local"
_FROM: Final = b"x-bursar-from"
_TIMEOUTS: Final = Timeouts(connect_s=5.0, first_byte_s=60.0, idle_s=60.0, whole_s=120.0)
_READS: Final = ("GET", "HEAD", "OPTIONS")
_WITH_KEY: Final = (("POST", "/api/charges"), ("POST", "/api/outcomes"))
_OWN: Final = "/api/own/"
"""What asks for a key itself, and so may be asked from anywhere."""


class Proxy:
    """Pass requests on."""

    def __init__(self, socket_path: str, outbox: Outbox, trusted_proxies: tuple[str, ...] = ()) -> None:
        self.pool = Pool(f"unix:{socket_path}", outbox, connections_max=32, timeouts=_TIMEOUTS)
        self._trusted = trusted_proxies

    def is_browser_here(self, scope: Scope) -> bool:
        """Tell whether a request is a browser's on this machine, which shows pages."""
        address = client_address(scope, self._trusted)
        return "text/html" in _header(scope, b"accept") and is_local(scope, address, self._trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and its answer back. Raises `Forbidden`, `Unavailable`."""
        address = client_address(scope, self._trusted)
        local = is_local(scope, address, self._trusted)
        if not local and not _asks_for_key(scope) and not _brings_admin_key(scope):
            raise Forbidden(
                "pages and the control API answer on this machine only, as localhost, or to an admin key",
                code="local_only",
            )
        check_origin(scope)
        told = (_LOCAL, b"yes" if local else b"no"), (_FROM, str(address or "").encode())
        body = body_of(await receive(), -1, STRANGER_BYTES_MAX)
        try:
            connection = self.pool.take_idle() or await self.pool.open()
            response = await connection.exchange((_head(scope, told, len(body)), body), self.pool.timeouts, stream=True)
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


def is_local(scope: Scope, address: Address | None, trusted: tuple[str, ...]) -> bool:
    """Tell whether a request comes from this machine and under this machine's name.

    One that a proxy on this machine has passed on is from elsewhere, unless the proxy is trusted to say from where.
    """
    client = scope.get("client")
    if client is not None and (address is None or not address.is_loopback):
        return False
    said = {name for name, _ in scope["headers"] if name in _FORWARDING}
    believed = client is not None and is_within(read_address(client[0]), trusted) and b"x-forwarded-for" in said
    if said and not believed:
        return False
    host = _header(scope, b"host")
    name = host.rsplit(":", 1)[0].strip("[]") if host.count(":") <= 1 or host.startswith("[") else host
    return name in _LOCAL_NAMES


def check_origin(scope: Scope) -> None:
    """Check that what changes something is not asked by a page of another site. Raises `Forbidden`."""
    origin = _header(scope, b"origin")
    if scope["method"] in _READS or not origin:
        return
    if origin.partition("://")[2] != _header(scope, b"host"):
        raise Forbidden("a page of another site may change nothing here", code="cross_origin")


def _asks_for_key(scope: Scope) -> bool:
    return (scope["method"], scope["path"]) in _WITH_KEY or scope["path"].startswith(_OWN)


def _brings_admin_key(scope: Scope) -> bool:
    scheme, _, secret = _header(scope, b"authorization").partition(" ")
    return scheme.lower() == "bearer" and is_secret(secret.strip(), ADMIN_PREFIX)


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _head(scope: Scope, told: tuple[tuple[bytes, bytes], ...], body_len: int) -> bytes:
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    if len(target) > 8_192:
        raise TooLarge("the address exceeds 8192 bytes", param="path")
    method = "GET" if scope["method"] == "HEAD" else scope["method"]  # the client's side leaves the body out
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target), b"host: localhost"]
    hidden = (*_DROPPED, _LOCAL, _FROM)
    passed = [pair for pair in scope["headers"] if pair[0] not in hidden]
    lines += [b"%b: %b" % pair for pair in (*passed, *told)]
    return b"\r\n".join([*lines, b"content-length: %d" % body_len, b"\r\n"])
