"""Take one call through the house: identify, plan, hold, attempt, settle, answer."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from bursar.core.errors import (
    BadRequest,
    NoMoney,
    Refusal,
    TooMany,
    Unauthorized,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from bursar.core.ids import IdSource, call_name
from bursar.core.money import Money, nano_to_usd, usd_to_nano
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol
from bursar.core.times import SECOND_US
from bursar.gateway.asgi import JSON, ClientGone, Receive, Scope, Send, read_body, send_whole
from bursar.gateway.attempt import Outcome, Sender
from bursar.gateway.books import GatewayBooks
from bursar.gateway.config import Settings
from bursar.gateway.connection import Headers
from bursar.gateway.headers import CallHeaders, read_headers, returned_headers
from bursar.gateway.idempotency import Idempotency, Replay
from bursar.gateway.identify import Keys, check_scope
from bursar.gateway.plan import make_plan, quote_plan
from bursar.gateway.routes import Candidate, Routes
from bursar.gateway.settle import Passage
from bursar.gateway.stats import Stats
from bursar.gateway.stream import StreamPassage
from bursar.store.keys import Key
from bursar.wires.wire import Answer, BadAnswer, Facts, Wire

log = structlog.get_logger()

ROUTE_OF = {Protocol.openai_chat: "/v1/chat/completions", Protocol.anthropic_messages: "/v1/messages"}


class Calls:
    """Serve the calls of every protocol."""

    def __init__(self, settings: Settings, keys: Keys, routes: Routes, books: GatewayBooks, ids: IdSource) -> None:
        self._settings = settings
        self._keys = keys
        self._routes = routes
        self._books = books
        self._ids = ids
        self._clock_us: Callable[[], int] = books.clock_us
        self.idempotency = Idempotency(settings.idempotency_bytes_max)
        self.stats = Stats()

    async def serve(self, wire: Wire, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call. Whatever is refused is refused before anything is held."""
        now_us = self._clock_us()
        call_id = self._ids.next(now_us // 1000)
        stats = self.stats
        stats.under_way += 1
        try:
            await self._serve(wire, read_headers(scope["headers"]), call_id, now_us, receive, send)
        except Refusal as refusal:
            stats.refused[refusal.code] = stats.refused.get(refusal.code, 0) + 1
            await send_refusal(wire, refusal, call_id, send)
        except ClientGone:
            stats.refused["client_gone"] = stats.refused.get("client_gone", 0) + 1
        finally:
            stats.under_way -= 1

    async def _serve(
        self, wire: Wire, headers: CallHeaders, call_id: bytes, now_us: int, receive: Receive, send: Send
    ) -> None:
        settings = self._settings
        if self.stats.under_way > settings.calls_max:
            raise TooMany(f"more than {settings.calls_max} calls are under way", retry_after_s=1)
        key = await self.key(headers)
        body = await read_body(receive, headers.content_length, settings.body_bytes_max)
        facts = wire.facts(body)
        check_scope(key, facts.model, ROUTE_OF[wire.protocol], now_us)
        passage = Passage(_call(wire, key, headers, facts, call_id, now_us), facts, headers.forwarded)
        if not headers.idempotency_key:
            await self._make(wire, key, headers, passage, body, send)
            return
        digests = hashlib.sha256(headers.idempotency_key).digest(), hashlib.sha256(body).digest()
        passage.call = msgspec.structs.replace(passage.call, idempotency_key=digests[0], body_sha256=digests[1])
        await self._make_once(wire, key, headers, passage, body, send)

    async def _make_once(
        self, wire: Wire, key: Key, headers: CallHeaders, passage: Passage, body: bytes, send: Send
    ) -> None:
        """Make a call under an Idempotency-Key, or give the answer of the one that came before."""
        call, idempotency = passage.call, self.idempotency
        name = call.idempotency_key
        while (entry := idempotency.begin(key.key_id, name, call.body_sha256, call.call_id, call.opened_us)) is not None:
            replay = await idempotency.wait(entry)
            if replay is not None:
                await send_whole(send, replay.status, [*replay.headers, (b"x-bursar-replayed", b"true")], replay.body)
                return
        recorder = _Recorder(send)
        try:
            await self._make(wire, key, headers, passage, body, recorder.send)
        finally:
            charged = passage.record is not None and passage.record.cost_nano > 0
            idempotency.end(key.key_id, name, recorder.replay(), charged=charged)

    async def _make(
        self, wire: Wire, key: Key, headers: CallHeaders, passage: Passage, body: bytes, send: Send
    ) -> None:
        """Plan, hold, attempt, settle and answer."""
        books, facts, call = self._books, passage.facts, passage.call
        candidates = self._routes.find(facts.model, wire.protocol)
        plan = books.drive(make_plan(facts, candidates, key.output_cap or self._settings.output_cap))
        passage.arms = plan.arms
        passage.quote_nano = quote_plan(facts, plan, call.opened_us)
        _check_max_cost(headers.max_cost_usd, passage.quote_nano)
        passage.expires_us = call.opened_us + (self._settings.call_timeout_s + 60) * SECOND_US
        await books.hold(passage, key.budget, plan.candidates)
        try:
            sender = Sender(wire, body, passage, plan.output_cap, self._clock_us)
            candidate, outcome = await sender.run(plan.candidates)
            base, response = sender.attempt(candidate, outcome), outcome.response
            if response is not None and response.stream is not None and response.status < 400:
                stream = StreamPassage(wire, passage, candidate, base, books)
                await stream.run(response, _own_headers(call, candidate), send)
            else:
                await self._answer_whole(wire, passage, candidate, outcome, base, send)
        finally:
            books.abandon(passage)
            if passage.record is not None:
                self.stats.count(passage.record)

    async def _answer_whole(
        self, wire: Wire, passage: Passage, candidate: Candidate, outcome: Outcome, base: Attempt, send: Send
    ) -> None:
        """Settle a call that was answered in one piece, or not at all, and answer it."""
        call, response, name = passage.call, outcome.response, candidate.upstream.name
        refusal: Refusal | None = None
        if response is None:
            attempt, refusal = self._fault(passage, candidate, outcome, base)
        elif response.status >= 400:
            attempt, passage.status = base, CallStatus.failed
            if response.stream is not None:
                response.stream.abort()
                refusal = UpstreamFailed(f"provider {name} answered {response.status} with a stream")
            elif response.status in (401, 403):
                refusal = UpstreamFailed(f"provider {name} refuses this gateway's own key", code="upstream_auth")
        else:
            attempt, refusal = self._read_answer(wire, passage, candidate, response.body, base)
        passage.attempts.append(attempt)
        record = self._books.settle(passage)
        await self._books.confirm()
        if refusal is not None or response is None:
            assert refusal is not None
            await send_refusal(wire, refusal, call.call_id, send, record.cost_nano)
            return
        headers = returned_headers(response.headers)
        headers += _own_headers(call, candidate)
        headers.append((b"x-bursar-cost-usd", nano_to_usd(record.cost_nano).encode()))
        headers.append((b"x-bursar-saved-usd", nano_to_usd(record.counterfactual_nano - record.cost_nano).encode()))
        await send_whole(send, response.status, headers, response.body)

    def _read_answer(
        self, wire: Wire, passage: Passage, candidate: Candidate, body: bytes, base: Attempt
    ) -> tuple[Attempt, Refusal | None]:
        try:
            answer: Answer = wire.answer(body)
        except BadAnswer as error:
            passage.status = CallStatus.indeterminate
            broken = msgspec.structs.replace(base, status=AttemptStatus.malformed, error=str(error))
            attempt = self._books.settler.price_unknown(passage, candidate, broken)
            return attempt, UpstreamFailed(f"provider {candidate.upstream.name} gave an answer that cannot be read")
        return self._books.settler.price_answer(passage, candidate, answer, base), None

    def _fault(
        self, passage: Passage, candidate: Candidate, outcome: Outcome, base: Attempt
    ) -> tuple[Attempt, Refusal]:
        """Decide what a call without an answer costs, and what its client is told."""
        fault, name = outcome.fault, candidate.upstream.name
        assert fault is not None
        passage.status = CallStatus.failed
        if base.status is not AttemptStatus.unreachable:
            passage.status = CallStatus.indeterminate
            base = self._books.settler.price_unknown(passage, candidate, base)
        if fault.timed_out:
            return base, UpstreamTimeout(f"provider {name} did not answer in time: {fault}")
        return base, UpstreamFailed(f"provider {name} gave no answer: {fault}")

    async def key(self, headers: CallHeaders) -> Key:
        """Find whose call it is. Raises `Unauthorized`."""
        if not headers.secret:
            raise Unauthorized("no key: send `Authorization: Bearer bk_...` or `x-api-key: bk_...`", code="missing_api_key")
        return self._keys.find(headers.secret) or await self._keys.ask(headers.secret)


def _own_headers(call: Call, candidate: Candidate) -> Headers:
    return [
        (b"x-bursar-call-id", call_name(call.call_id).encode()),
        (b"x-bursar-model", f"{candidate.upstream.name}/{candidate.model}".encode("latin-1", "replace")),
        (b"x-bursar-cache", b"miss"),
    ]


class _Recorder:
    """Pass an answer on and keep it, to be given again."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._headers: Headers = []
        self._pieces: list[bytes] = []

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [pair for pair in message["headers"] if pair[0] != b"content-length"]
        else:
            self._pieces.append(message["body"])
        await self._send(message)

    def replay(self) -> Replay:
        return Replay(self._status, self._headers, b"".join(self._pieces))


def _call(wire: Wire, key: Key, headers: CallHeaders, facts: Facts, call_id: bytes, now_us: int) -> Call:
    if headers.lane not in ("", "now"):
        raise BadRequest(f"x-bursar-lane: there is no lane {headers.lane!r}, only now", param="x-bursar-lane")
    return Call(
        call_id,
        key.tenant,
        key.key_id,
        wire.protocol,
        facts.model,
        facts.stream,
        now_us,
        facts.segments,
        headers.run,
        headers.parent,
        key.tags | headers.tags if headers.tags else key.tags,
    )


def _check_max_cost(text: str, quote_nano: Money) -> None:
    if not text:
        return
    try:
        most = usd_to_nano(text)
    except ValueError as error:
        raise BadRequest(f"x-bursar-max-cost-usd: {error}", param="x-bursar-max-cost-usd") from None
    if quote_nano > most:
        raise NoMoney(
            f"this call may cost up to {nano_to_usd(quote_nano)} USD, and x-bursar-max-cost-usd allows {text}",
            code="max_cost_exceeded",
            details={"needed_usd": nano_to_usd(quote_nano), "limit_usd": text},
        )


async def send_refusal(wire: Wire, refusal: Refusal, call_id: bytes, send: Send, cost_nano: Money = 0) -> None:
    """Refuse in the protocol's own shape."""
    name = call_name(call_id)
    headers = [JSON, (b"x-bursar-call-id", name.encode()), (b"x-bursar-cost-usd", nano_to_usd(cost_nano).encode())]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
    elif isinstance(refusal, Unavailable):
        headers.append((b"retry-after", b"1"))
    await send_whole(send, refusal.status, headers, wire.error_body(refusal, name))
