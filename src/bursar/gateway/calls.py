"""Take one call through the house: identify, plan, hold, attempt, settle, answer."""

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
import structlog

from bursar.core.errors import (
    BadRequest,
    Refusal,
    TooMany,
    Unauthorized,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from bursar.core.ids import IdSource
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Record
from bursar.core.times import SECOND_US
from bursar.gateway.answered import headers_of, own_headers
from bursar.gateway.asgi import (
    CLIENT,
    KNOWN,
    Client,
    ClientGone,
    Receive,
    Scope,
    Send,
    body_of,
    client_address,
    send_whole,
)
from bursar.gateway.attempt import Outcome
from bursar.gateway.balance import choose
from bursar.gateway.books import GatewayBooks
from bursar.gateway.compressing import Compressing, not_here
from bursar.gateway.config import Settings
from bursar.gateway.deciding import Deciding
from bursar.gateway.guard import Guard
from bursar.gateway.headers import CallHeaders, read_headers, read_query
from bursar.gateway.heads import Headers, Known
from bursar.gateway.holding import HoldPolicy
from bursar.gateway.idempotency import Idempotency
from bursar.gateway.identify import Keys, check_address, check_reader, check_scope
from bursar.gateway.metering import Metering
from bursar.gateway.named_files import NamedFiles, at_keeper
from bursar.gateway.passage import Passage
from bursar.gateway.plan import Quote, check_max_cost, drive, make_plan, max_cost_of, quote_plan
from bursar.gateway.reading import Reader, shown, unread
from bursar.gateway.recall import Recall
from bursar.gateway.recorder import Recorder
from bursar.gateway.refusals import send_refusal, write_refusal
from bursar.gateway.routed import LEVER
from bursar.gateway.routes import Candidate, Routes
from bursar.gateway.routing import Routing
from bursar.gateway.send import Sender
from bursar.gateway.stats import Stats
from bursar.gateway.straight import StraightCall
from bursar.gateway.stream import StreamPassage
from bursar.gateway.telemetry import onward
from bursar.gateway.translation import translate_call, translate_response
from bursar.savings.compress.setting import Mode, Setting
from bursar.store.claims import Claim
from bursar.store.keys import Key
from bursar.wires.wire import BadAnswer, Wire

log = structlog.get_logger()

_EXPIRES_AFTER_US: Final = 60 * SECOND_US
"""How long after a call's deadline its hold is kept, should nobody settle it."""

_ANSWERED: Final = (CallStatus.ok, CallStatus.client_gone)


class Calls:
    """Serve the calls of every protocol."""

    def __init__(
        self, settings: Settings, keys: Keys, routes: Routes, books: GatewayBooks, ids: IdSource, stats: Stats
    ) -> None:
        self._settings = settings
        self._calls_max = settings.calls_max
        self._keys = keys
        self._routes = routes
        self._books = books
        self._ids = ids
        self.clock_us: Callable[[], int] = books.clock_us
        self.idempotency = Idempotency(settings.idempotency_bytes_max)
        self.routing = Routing(routes, books.clock_us())
        self.holds = HoldPolicy(settings, books, stats, self.routing)
        self._sender = Sender(routes, books, self.holds)
        self._reader = Reader(self._sender, books)
        self._deciding = Deciding(books, self._sender)
        self._guard = Guard(books.control)
        self._recall = Recall(books.control, books.settler.kept)
        self.named_files = NamedFiles(books.control)
        self.volumes = books.settler.volumes
        self.stats = stats
        self.compressing: Compressing | None = None  # where there is such a lever
        self.metering = Metering(books.control, books.clock_us)
        self.propagates = False  # whether providers are told which trace a call belongs to
        self.is_strict = books.strict

    def begin(self, wire: Wire, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None] | None:
        """Begin a call that may be made straight away; any other is returned, to be served by a task."""
        client: Client = scope[CLIENT]
        known: Known | None = scope.get(KNOWN)
        body, stats, settings = client.body, self.stats, self._settings
        if body is None or not client.whole or len(body) > settings.body_bytes_max:
            return self.serve(wire, scope, receive, send)
        try:
            headers: CallHeaders | None = known.read if known is not None else None
            if headers is None:
                headers = read_headers(scope["headers"])
            key = self._keys.find(headers.secret)
            if key is None or key.addresses or headers.idempotency_key or stats.under_way >= self._calls_max:
                return self.serve(wire, scope, receive, send)
            now_us = self.clock_us()
            passage = _open(wire, key, headers, body, self._ids.next(now_us // 1000), now_us)
            if headers.traceparent or self.propagates:
                self._trace(passage, headers.traceparent)
            if (
                self._compression(passage, key, headers) is not None
                or self._looks_ahead(passage)
                or passage.facts.files
            ):
                return self.serve(wire, scope, receive, send)
            quote = self._plan(passage, key, headers)
            held = self._may_begin(passage, quote)
        except Refusal:  # nothing is held yet: it is refused where all are
            return self.serve(wire, scope, receive, send)
        if known is not None:
            known.read = headers
        passage.client = passage.out = client
        client.body = None
        stats.under_way += 1
        if not held:
            return self.finish(passage, send, self._ask_and_answer(passage, quote, send))
        upstream = passage.plan.candidates[0].upstream
        waits = passage.hurried or passage.asks_first or upstream.signer is not None
        connection = None if waits else upstream.pool.take_idle()
        if connection is None:
            return self.finish(passage, send, self.answer(passage, send))
        StraightCall(self, passage, client, send).begin(connection)
        return None

    async def serve(self, wire: Wire, scope: Scope, receive: Receive, send: Send, target: str = "") -> None:
        """Serve one call. Whatever is refused is refused before anything is held."""
        now_us, stats, settings = self.clock_us(), self.stats, self._settings
        call_id = self._ids.next(now_us // 1000)
        stats.under_way += 1
        try:
            if stats.under_way > self._calls_max:
                raise self._full()
            headers = read_headers(scope["headers"])
            if target:
                headers.target = target
                read_query(headers, scope["query_string"])
            key = self._keys.find(headers.secret) or await self.key(headers)
            if key.addresses:
                self.check_address(key, scope)
            body = body_of(await receive(), headers.content_length, settings.body_bytes_max)
            passage = _open(wire, key, headers, body, call_id, now_us)
            passage.client = passage.out = scope[CLIENT]
            if headers.traceparent or self.propagates:
                self._trace(passage, headers.traceparent)
            if headers.idempotency_key:
                await self._make_once(passage, key, headers, send)
            else:
                await self._make(passage, key, headers, send)
        except Refusal as refusal:
            self._count_refused(refusal.code)
            await send_refusal(wire, refusal, call_id, send)
        except ClientGone:
            self._count_refused("client_gone")
        finally:
            stats.under_way -= 1

    async def finish(self, passage: Passage, send: Send, work: Coroutine[Any, Any, None]) -> None:
        """Do the rest of a call's work that was begun without a task."""
        try:
            await work
        except Refusal as refusal:
            self._count_refused(refusal.code)
            await send_refusal(passage.wire, refusal, passage.call.call_id, send)
        finally:
            self.stats.under_way -= 1

    def _count_refused(self, code: str) -> None:
        self.stats.refused[code] = self.stats.refused.get(code, 0) + 1

    def take_settings(self, settings: Settings, routing: Routing) -> None:
        """Go by other settings from the next call on."""
        self.routing = self.holds.routing = routing
        self._settings = self.holds.settings = settings
        if self._calls_max:
            self._calls_max = settings.calls_max

    def compress_by(self, compressing: Compressing | None) -> None:
        """Compress by another configuration from the next call on."""
        if self.compressing is not None:
            self.compressing.end()
        self.compressing = compressing

    def drain(self) -> None:
        """Take no more calls: this gateway stops once those under way have ended."""
        self._calls_max = 0

    def _full(self) -> Refusal:
        if not self._calls_max:
            return Unavailable("this gateway is stopping: try again", code="draining", retry_after_s=1)
        return TooMany(f"more than {self._calls_max} calls are under way", retry_after_s=1)

    async def _make_once(self, passage: Passage, key: Key, headers: CallHeaders, send: Send) -> None:
        """Make a call under an Idempotency-Key, or give the answer of the one that came before."""
        name = hashlib.sha256(headers.idempotency_key).digest()
        form = passage.facts.form
        said = passage.body if form is None else form.digest(passage.body)
        digest = hashlib.sha256(headers.target.encode() + said).digest()
        call = msgspec.structs.replace(passage.call, idempotency_key=name, body_sha256=digest)
        passage.call, idempotency = call, self.idempotency
        while (entry := idempotency.begin(key.key_id, name, digest, call.call_id, call.opened_us)) is not None:
            replay = await idempotency.wait(entry)
            if replay is not None:
                await send_whole(send, replay.status, [*replay.headers, (b"x-bursar-replayed", b"true")], replay.body)
                return
        assert passage.out is not None
        passage.out = recorder = Recorder(passage.out)
        claim, claimed = Claim(key.tenant, key.key_id, name, digest, call.call_id), False
        try:
            await self._books.claim(claim)
            claimed = True
            await self._make(passage, key, headers, recorder.send)
        finally:
            record = passage.record
            made = record is not None and (record.cost_nano > 0 or record.status in _ANSWERED)
            idempotency.end(key.key_id, name, recorder.replay(), charged=made)
            if claimed and not made:
                await self._books.give_up(claim)

    async def _make(self, passage: Passage, key: Key, headers: CallHeaders, send: Send) -> None:
        """Plan, hold, attempt, settle and answer."""
        setting = self._compression(passage, key, headers)
        if setting is not None and self.compressing is not None:
            await self.compressing.compress(passage, setting, headers.target)
        if passage.facts.files:
            await self.named_files.take_in(passage, headers.target)
        if self._looks_ahead(passage):
            passage.routing = self.routing  # which has the vectors then, whatever is configured meanwhile
            await passage.routing.look_ahead(passage)
        quote = self._plan(passage, key, headers)
        if self._may_begin(passage, quote):
            await self.answer(passage, send)
        else:
            await self._ask_and_answer(passage, quote, send)

    def _looks_ahead(self, passage: Passage) -> bool:
        """Tell whether it takes long to see which model a call is for."""
        model = passage.facts.model
        return model in self._routes.policies and self.routing.embeds(model)

    def _may_begin(self, passage: Passage, quote: Quote) -> bool:
        """Hold for a call, if nobody has to be asked whether it may be made. Raises `NoMoney` for a frozen budget."""
        asks = passage.facts.recalls or passage.whole or self._is_watched(passage)
        return not asks and self.holds.try_hold(passage, quote)

    async def _ask_and_answer(self, passage: Passage, quote: Quote, send: Send) -> None:
        """Check what is to be checked of a call and hold for it, whoever has to be asked for that; then attempt it.

        Raises `BadRequest`, `NotFound`, `Forbidden`, `NoMoney`, `TooMany`, `Unavailable`; then nothing is held.
        """
        if passage.facts.recalls and self._settings.previous_responses == "own" and _goes_as_it_is(passage):
            await self._recall.check(passage.call, passage.facts.recalls)
        if self._is_watched(passage):
            await self._guard.check(passage)
        if not await self._hold_to_read(passage, quote) and not self.holds.try_hold(passage, quote):
            await self.holds.hold(passage, quote)
        await self.answer(passage, send)

    async def _hold_to_read(self, passage: Passage, quote: Quote) -> bool:
        """Hold for a call whose model may read what was left out, one more ask included; else it is offered nothing."""
        if not passage.whole:
            return False
        held = await self.holds.hold_to_read(passage, quote)
        if not held and self.compressing is not None:
            await self.compressing.withdraw(passage)
        return held

    @staticmethod
    def _is_watched(passage: Passage) -> bool:
        claim = passage.claim
        return bool(passage.call.run) and (claim.depth_max is not None or claim.repeats_max is not None)

    async def answer(self, passage: Passage, send: Send, first: Outcome | None = None) -> None:
        """Attempt a call that is held for, settle it and answer; `first` is how the first attempt went."""
        books = self._books
        try:
            made = await self._deciding.run(passage, passage.routing or self.routing) if passage.asks_first else None
            if passage.status is CallStatus.client_gone:  # while its route asked others
                books.settle(passage)
                return
            candidate, outcome = made or await self._sender.send(passage, first)
            if passage.whole:
                candidate, outcome = await self._reader.read_on(passage, candidate, outcome)
            response = outcome.response
            if response is not None and response.stream is not None and response.status < 300:
                stream = StreamPassage(passage, candidate, outcome, books)
                self.stats.streams += 1
                try:
                    await stream.run(response, own_headers(passage.call, candidate, passage.sent))
                finally:
                    self.stats.streams -= 1
                return
            whole = self.settle_and_write(passage, candidate, outcome)
            if books.strict:
                await books.confirm()
            await send_whole(send, *whole)
        finally:
            self.end(passage)

    def settle_and_write(self, passage: Passage, candidate: Candidate, outcome: Outcome) -> tuple[int, Headers, bytes]:
        """Settle a call that is no stream, and return the status, headers and body its client gets."""
        record, refusal = self._conclude(passage, candidate, outcome)
        response = outcome.response
        if refusal is None and response is not None and response.status < 300:
            refusal = unread(passage, response.body)
        if refusal is not None or response is None:
            assert refusal is not None
            return write_refusal(passage.wire, refusal, passage.call.call_id, record.cost_nano)
        return response.status, headers_of(record, candidate, response), shown(passage, response.body)

    def end(self, passage: Passage) -> None:
        """Count a call and learn from it, now that it has ended; by policy if nobody settled it."""
        if passage.record is None:
            self._books.abandon(passage)
        record = passage.record
        if record is not None:
            self.stats.count(record, passage.traceparent)
            self.holds.learn(passage, record)
            self.metering.take(passage, record)
            if record.status in _ANSWERED:
                self._guard.answered(passage)

    def _trace(self, passage: Passage, traceparent: bytes) -> None:
        """Keep which trace a call belongs to, and tell the provider where that is wanted."""
        passage.traceparent = traceparent
        if self.propagates:
            passage.forwarded += onward(passage.call.call_id, traceparent)

    def _compression(self, passage: Passage, key: Key, headers: CallHeaders) -> Setting | None:
        """Return how far a call's prompt is to be compressed; None for not at all. Raises `BadRequest`."""
        lever, asked = self.compressing, headers.compress
        if lever is not None:
            return lever.setting(passage, key.name, asked)
        if asked is not None and asked.mode is not Mode.off:
            raise not_here()
        return None

    def _plan(self, passage: Passage, key: Key, headers: CallHeaders) -> Quote:
        """Plan a call and quote the most it can cost. Raises `NotFound`, `Unmetered`, `NoMoney`."""
        facts, call, settings = passage.facts, passage.call, self._settings
        output_cap = key.output_cap or settings.output_cap
        routing = passage.routing or self.routing
        policy = routing.policy(facts.model)
        if policy is not None:
            passage.routing = routing  # till the call's end, whatever is configured meanwhile
            candidates = routing.route(passage, key, policy, output_cap)
        else:
            candidates = self._routes.find(facts.model, call.protocol)
            passage.rules = candidates[0].rules
            if passage.rules.several:
                candidates = choose(self._routes, passage, candidates)
        if passage.kept_at:
            candidates = at_keeper(passage, candidates)
        if passage.is_foreign_to(candidates):
            candidates = translate_call(passage, candidates, output_cap)
        passage.plan = plan = drive(make_plan(facts, candidates, output_cap))
        if passage.routed is not None:
            passage.plan = plan = msgspec.structs.replace(plan, arms={**plan.arms, LEVER: passage.routed.assignment()})
        quote = quote_plan(facts, plan, call.opened_us, passage.forwarded, passage.facts_for)
        if passage.routed is not None:
            self._deciding.cover(passage, quote)
        if headers.max_cost_usd is not None:
            passage.most_nano = max_cost_of(headers.max_cost_usd)
            check_max_cost(passage.most_nano, quote.cost())
        timeout_us = passage.rules.timeout_us
        if headers.timeout_us and headers.timeout_us < timeout_us:
            timeout_us, passage.hurried = headers.timeout_us, True
        passage.deadline_us = call.opened_us + timeout_us
        passage.expires_us = passage.deadline_us + _EXPIRES_AFTER_US
        passage.find_claim()
        return quote

    def _conclude(self, passage: Passage, candidate: Candidate, outcome: Outcome) -> tuple[Record, Refusal | None]:
        """Settle a call that was answered in one piece, or not at all; a refusal if there is nothing to pass on."""
        response, name = outcome.response, candidate.upstream.name
        refusal: Refusal | None = None
        if response is None:
            attempt, refusal = self._fault(passage, candidate, outcome)
        elif response.status >= 300:
            attempt, passage.status = outcome.attempt(candidate), CallStatus.failed
            if response.stream is not None:
                response.stream.abort()
                refusal = UpstreamFailed(f"provider {name} answered {response.status} with a stream")
            elif response.status < 400:
                refusal = UpstreamFailed(f"provider {name} answered {response.status}: redirects are not followed")
            elif response.status in (401, 403):
                refusal = UpstreamFailed(f"provider {name} refuses this gateway's own key", code="upstream_auth")
        else:
            attempt, refusal = self._read_answer(passage, candidate, outcome, response.body)
        passage.attempts.append(attempt)
        if refusal is None and response is not None and candidate.wire is not passage.wire:
            refusal = translate_response(passage, candidate, response)
        return self._books.settle(passage), refusal

    def _read_answer(
        self, passage: Passage, candidate: Candidate, outcome: Outcome, body: bytes
    ) -> tuple[Attempt, Refusal | None]:
        settler = self._books.settler
        # It may have been read before it was known to be the call's answer.
        if outcome.priced is not None and outcome.priced.status is AttemptStatus.ok:
            return outcome.priced, None
        try:
            answer = candidate.wire.answer(body)
        except BadAnswer as error:
            passage.status = CallStatus.indeterminate
            broken = outcome.attempt(candidate)
            broken = msgspec.structs.replace(broken, status=AttemptStatus.malformed, error=str(error))
            refusal = UpstreamFailed(f"provider {candidate.upstream.name} gave an answer that cannot be read")
            return settler.price_unknown(passage, candidate, broken), refusal
        return settler.price_answer(passage, candidate, outcome, answer), None

    def _fault(self, passage: Passage, candidate: Candidate, outcome: Outcome) -> tuple[Attempt, Refusal]:
        """Decide what a call without an answer costs, and what its client is told."""
        fault, name, attempt = outcome.fault, candidate.upstream.name, outcome.attempt(candidate)
        assert fault is not None
        passage.status = CallStatus.failed
        if attempt.status is not AttemptStatus.unreachable:
            passage.status = CallStatus.indeterminate
            attempt = outcome.priced or self._books.settler.price_unknown(passage, candidate, attempt)
        if fault.timed_out:
            return attempt, UpstreamTimeout(f"provider {name} did not answer in time: {fault}")
        return attempt, UpstreamFailed(f"provider {name} gave no answer: {fault}")

    async def key(self, headers: CallHeaders) -> Key:
        """Find whose call it is. Raises `Unauthorized`."""
        if not headers.secret:
            raise Unauthorized(
                "no key: send `Authorization: Bearer bk_...`, `x-api-key: bk_...` or `x-goog-api-key: bk_...`",
                code="missing_api_key",
            )
        return self._keys.find(headers.secret) or await self._keys.ask(headers.secret)

    def key_of_pass(self, text: str) -> Key:
        """Find whose upload goes on. Raises `Unauthorized`."""
        found = self._keys.of_pass(text)
        if found is None:
            raise Unauthorized("this address of an upload is of no key here: begin the upload again")
        return found

    def check_address(self, key: Key, scope: Scope) -> None:
        """Check that a key may be used from where a request comes from. Raises `Forbidden`."""
        check_address(key, client_address(scope, self._settings.trusted_proxies))

    def check_reader(self, scope: Scope) -> None:
        """Check that metrics may be read from where a request comes from. Raises `Forbidden`."""
        settings = self._settings
        check_reader(settings.metrics_from, client_address(scope, settings.trusted_proxies))


def _open(wire: Wire, key: Key, headers: CallHeaders, body: bytes, call_id: bytes, now_us: int) -> Passage:
    """Read a call and check that its key allows it. Raises `BadRequest`, `Unauthorized`, `Forbidden`."""
    facts = wire.facts(body, headers.target)
    check_scope(key, facts.model, wire.route, now_us)
    if headers.lane not in ("", "now"):
        raise BadRequest(f"x-bursar-lane: there is no lane {headers.lane!r}, only now", param="x-bursar-lane")
    tags = key.tags | headers.tags if headers.tags else key.tags
    call = Call(
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
        tags,
    )
    passage = Passage(wire, call, facts, body, headers.forwarded)
    passage.key, passage.as_array = key, headers.as_array
    return passage


def _goes_as_it_is(passage: Passage) -> bool:
    """Tell whether a call may reach a provider of its own protocol, who would find what it names."""
    return bool(passage.rules.fallbacks) or any(each.wire is passage.wire for each in passage.plan.candidates)
