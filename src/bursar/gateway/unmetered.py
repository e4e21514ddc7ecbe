"""Pass requests on that have no meter, where the operator lists their route: for a key, recorded, and never charged."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

import structlog

from bursar.core.errors import BadRequest, Forbidden, NoMoney, Refusal, UpstreamFailed
from bursar.core.errors import Unmetered as NoPrice
from bursar.core.ids import call_name
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol, Record
from bursar.gateway.asgi import Receive, Scope, Send
from bursar.gateway.batches.ask import Question, Unanswered, ask
from bursar.gateway.batches.visit import Reception, Visit, pour
from bursar.gateway.connection import Response
from bursar.gateway.routes import Routes, Upstream
from bursar.gateway.unmetered_routes import UnmeteredRoute
from bursar.store.calls import insert_call
from bursar.wires.protocols import WIRES

log = structlog.get_logger()

_QUERY: Final = re.compile(rb"[!-~]*")
_CONTENT_TYPE: Final = re.compile(rb"[ -~]+")
_THROTTLED: Final = 429
_SAID: Final = (b"x-bursar-unmetered", b"true")


class Unmetered:
    """Serve the routes that the operator lists."""

    def __init__(self, listed: Mapping[str, str], reception: Reception, routes: Routes) -> None:
        self._listed = [UnmeteredRoute(text, provider) for text, provider in listed.items()]
        self._reception = reception
        self._routes = routes

    def find(self, scope: Scope) -> UnmeteredRoute | None:
        """Return the listed route that a request is of; None where none is, or where its path is escaped."""
        path = scope["path"]
        if scope["raw_path"] != path.encode("latin-1", "replace"):
            return None
        return next((each for each in self._listed if each.takes(scope["method"], path)), None)

    async def serve(self, route: UnmeteredRoute, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on. Raises a `Refusal`."""
        reception = self._reception
        reception.check_full()
        stats = reception.calls.stats
        stats.under_way += 1
        try:
            visit = await reception.receive(scope, receive, send, scope["path"])
            _check(visit, route)
            await self._pass(visit, route)
        finally:
            stats.under_way -= 1

    async def _pass(self, visit: Visit, route: UnmeteredRoute) -> None:
        upstream = self._routes.upstreams.get(route.provider)
        if upstream is None:
            raise UpstreamFailed(f"provider {route.provider} is not configured any more")
        question = _question(visit, upstream, await self._reception.body(visit))
        call = self._reception.call(visit, Protocol.unmetered, route.text, b"")
        try:
            response = await ask(upstream, question, stream=True)
        except Unanswered as error:
            await self._note(call, route, AttemptStatus.lost if error.sent else AttemptStatus.unreachable, 0)
            raise error.refusal from None
        except Refusal:
            await self._note(call, route, AttemptStatus.refused, 0)
            raise
        try:
            await self._note(call, route, _status_of(response), response.status)
        except BaseException:  # what is not written down is not passed on
            if response.stream is not None:
                response.stream.abort()
            raise
        await pour(visit.send, response, [(b"x-bursar-call-id", call_name(call.call_id).encode()), _SAID])

    async def _note(self, call: Call, route: UnmeteredRoute, status: AttemptStatus, http_status: int) -> None:
        """Write a request down that was passed on, with no charge. Raises `Unavailable`."""
        now_us = self._reception.calls.clock_us()
        attempt = Attempt(route.provider, route.text, status, http_status, call.opened_us, now_us, now_us)
        went = CallStatus.ok if status is AttemptStatus.ok else CallStatus.failed
        record = Record(call, went, (attempt,), 0, 0, 0, 0, now_us)
        await self._reception.books(lambda connection: insert_call(connection, record))
        self._reception.calls.stats.count(record)
        name = call_name(call.call_id)
        log.info("unmetered.passed", call=name, route=route.text, provider=route.provider, status=http_status)


def _check(visit: Visit, route: UnmeteredRoute) -> None:
    """Check that a key may ask for what has no meter. Raises `Forbidden`, `NoMoney`, `Unmetered`.

    One that is limited to some models or routes may not: nothing tells what models are used beyond.
    """
    key, headers = visit.key, visit.headers
    if key.routes or key.models:
        may = ", ".join(key.routes or key.models)
        raise Forbidden(f"key {key.name!r} may not use {route.text}, which has no meter: it may use {may}")
    frozen = key.path.find(headers.run, route.text, key.tags | headers.tags).frozen
    if frozen:
        raise NoMoney(f"{frozen} is frozen: nothing is spent until it is thawed", code="budget_frozen")
    if headers.max_cost_usd is not None:
        message = f"x-bursar-max-cost-usd: what {route.text} costs is not known here: leave the header out"
        raise NoPrice(message, code="unmetered", param="x-bursar-max-cost-usd")


def _question(visit: Visit, upstream: Upstream, body: bytes) -> Question:
    """Return what the provider is asked: nothing of it is the client's key. Raises `BadRequest`."""
    path, query = visit.scope["path"], visit.scope["query_string"]
    if _QUERY.fullmatch(query) is None:
        raise BadRequest("expected an address of printable characters", param="query")
    kept = [each for each in query.split(b"&") if each and _name_of(each) != "key"]
    first = (Protocol.gemini,) if path.startswith("/v1beta/") else ()
    spoken = (each for each in (*first, *WIRES) if upstream.speaks(each) and not WIRES[each].multipart)
    protocol = next(spoken, None)
    if protocol is None:
        raise UpstreamFailed(f"provider {upstream.name} has no protocol by which it could be asked")
    below = "/" + path.split("/", 2)[2]
    target = below + ("?" + b"&".join(kept).decode() if kept else "")
    content_type = visit.given(b"content-type") or b"application/json"
    if _CONTENT_TYPE.fullmatch(content_type) is None:
        raise BadRequest("expected a content-type of printable characters", param="content-type")
    return Question(visit.method, target, protocol, body, content_type.decode(), visit.headers.forwarded)


def _name_of(pair: bytes) -> str:
    return unquote_plus(pair.partition(b"=")[0].decode())


def _status_of(response: Response) -> AttemptStatus:
    if response.status < 400:
        return AttemptStatus.ok
    if response.status == _THROTTLED:
        return AttemptStatus.throttled
    return AttemptStatus.refused if response.status < 500 else AttemptStatus.failed
