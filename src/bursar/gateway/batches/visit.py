"""Receive whoever asks for files or batches: find the key, read the body and the query, answer."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from bursar.core.errors import BadRequest, BooksError, Forbidden, NotFound, TooMany, Unavailable
from bursar.core.ids import IdSource, call_name
from bursar.core.money import nano_to_usd
from bursar.core.records import Call, Protocol, Segments
from bursar.gateway.asgi import JSON, Receive, Scope, Send, body_of, send_whole
from bursar.gateway.calls import Calls
from bursar.gateway.config import Settings
from bursar.gateway.connection import Headers, Response
from bursar.gateway.control import Control
from bursar.gateway.headers import CallHeaders, pass_in, read_headers, read_query, returned_headers
from bursar.gateway.identify import check_valid
from bursar.store.batches import Batch
from bursar.store.database import Connection
from bursar.store.keys import Key
from bursar.wires.batch import is_id
from bursar.wires.protocols import BATCH_ROUTES

PAGE: Final = 20
PAGE_MAX: Final = 100

_UPLOADS: Final = "/upload/v1beta/"
_GOOGLES: Final = ("/v1beta/", _UPLOADS)

T = TypeVar("T")


class Visit(msgspec.Struct):
    """Hold what somebody asks for."""

    scope: Scope
    receive: Receive
    send: Send
    headers: CallHeaders
    key: Key
    path: tuple[str, ...] = ()  # what follows the name of what is asked for
    query: dict[str, str] = {}

    @property
    def method(self) -> str:
        """Return the request's method."""
        return self.scope["method"]

    def given(self, name: bytes) -> bytes:
        """Return a header, empty without it."""
        return dict(self.scope["headers"]).get(name, b"")


class Reception:
    """Find out who asks, and hand over what all rooms of batches need."""

    def __init__(self, settings: Settings, calls: Calls, control: Control, ids: IdSource) -> None:
        self.settings = settings
        self.calls = calls
        self.control = control
        self._ids = ids

    async def receive(self, scope: Scope, receive: Receive, send: Send, below: str) -> Visit:
        """Find whose request it is; `below` is the path of what is asked for. Raises a `Refusal`."""
        headers = read_headers(scope["headers"])
        if scope["path"].startswith(_GOOGLES):
            read_query(headers, scope["query_string"])
        sealed = pass_in(scope["query_string"]) if scope["path"].startswith(_UPLOADS) else ""
        key = self.calls.key_of_pass(sealed) if sealed else await self.calls.key(headers)
        check_valid(key, self.calls.clock_us())
        self.calls.check_address(key, scope)
        rest = scope["path"].removeprefix(below).strip("/")
        path = tuple(rest.split("/")) if rest else ()
        if path and not is_id(path[0].partition(":")[0]):  # Gemini says behind it what is to be done
            raise NotFound(f"there is no {path[0][:64]!r} here", code="not_found")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        return Visit(scope, receive, send, headers, key, path, query)

    async def body(self, visit: Visit) -> bytes:
        """Return a request's body. Raises `TooLarge` beyond gateway.body_bytes_max."""
        return body_of(await visit.receive(), visit.headers.content_length, self.settings.body_bytes_max)

    def call(self, visit: Visit, protocol: Protocol, model: str, body: bytes) -> Call:
        """Return the one call that a batch is."""
        key, headers, now_us = visit.key, visit.headers, self.calls.clock_us()
        name, digest = b"", b""
        if headers.idempotency_key:
            name = hashlib.sha256(headers.idempotency_key).digest()
            digest = hashlib.sha256(visit.scope["path"].encode() + b"\n" + body).digest()
        call_id, tags = self._ids.next(now_us // 1000), key.tags | headers.tags
        where = (call_id, key.tenant, key.key_id, protocol, model, False, now_us, Segments())
        return Call(*where, headers.run, headers.parent, tags, name, digest)

    async def books(self, act: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask the books. Raises `Unavailable`."""
        try:
            return await self.control.run(act)
        except BooksError as error:
            raise Unavailable(f"the books cannot be reached: {error}", retry_after_s=1) from error

    def check_full(self) -> None:
        """Check that there is room for one more who asks. Raises `TooMany`."""
        if self.calls.stats.under_way >= self.settings.calls_max:
            raise TooMany(f"more than {self.settings.calls_max} calls are under way", retry_after_s=1)


def check_route(key: Key, protocol: Protocol) -> None:
    """Check that a key may make batches. Raises `Forbidden`."""
    route = BATCH_ROUTES[protocol]
    if key.routes and route not in key.routes:
        raise Forbidden(f"key {key.name!r} may not use {route}: it may use {', '.join(key.routes)}")


def page_of(query: dict[str, str], size: str = "limit", start: str = "after") -> tuple[str | None, int]:
    """Read after what a list goes on, and how many it shows, by the names a protocol has. Raises `BadRequest`."""
    text, after = query.get(size, str(PAGE)), query.get(start) or query.get("after_id")
    if not text.isdecimal() or len(text) > 6 or not int(text):
        raise BadRequest(f"expected a number from 1 to {PAGE_MAX} in `{size}`", param=size)
    if after is not None and not is_id(after):
        raise BadRequest(f"expected the id of what came last in `{start}`", param=start)
    return after, min(int(text), PAGE_MAX)


def headers_for(batch: Batch) -> Headers:
    """Return what of our own is said of a batch: its call's name, and its cost once it is charged."""
    headers = [(b"x-bursar-call-id", call_name(batch.batch_id).encode())]
    if batch.charged:
        headers.append((b"x-bursar-cost-usd", nano_to_usd(batch.cost_nano).encode()))
    return headers


async def send_json(send: Send, value: Any) -> None:
    """Answer with a value."""
    await send_whole(send, 200, [JSON], msgspec.json.encode(value))


async def pass_on(send: Send, response: Response, body: bytes, more: Headers) -> None:
    """Answer with what the provider has, as its owner is to see it."""
    await send_whole(send, response.status, [*returned_headers(response.headers), *more], body)


async def pour(send: Send, response: Response, more: Headers | None = None) -> None:
    """Pass a provider's answer on as it comes, however large it is; with `more` headers of our own."""
    stream = response.stream
    if stream is None:
        await pass_on(send, response, response.body, more or [])
        return
    headers = returned_headers(response.headers) + (more or [])
    headers += [pair for pair in response.headers if pair[0] in (b"content-length", b"content-disposition")]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        while piece := await stream.chunk():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except BaseException:  # a stream that is not read on would keep its connection
        stream.abort()
        raise
    await send({"type": "http.response.body", "body": b"", "more_body": False})
