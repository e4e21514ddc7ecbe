"""Count the tokens of a prompt: free at the providers, so nothing is held, charged or written down."""

import contextlib
from typing import Any, Final
from urllib.parse import quote

import msgspec

from bursar.core.errors import BooksError, NotFound, TooMany, UpstreamFailed
from bursar.core.records import Protocol
from bursar.gateway.asgi import JSON, Receive, Scope, Send, body_of, send_whole
from bursar.gateway.calls import Calls
from bursar.gateway.config import Settings
from bursar.gateway.connection import Fault, Response, UpstreamFault
from bursar.gateway.headers import read_headers, read_query, returned_headers
from bursar.gateway.identify import check_scope
from bursar.gateway.routes import Candidate, Routes
from bursar.gateway.settle import estimated_input
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.gemini import GEMINI, WHOLE_METHOD, named
from bursar.wires.kept_files import files_in_contents, files_in_messages
from bursar.wires.protocols import WIRES
from bursar.wires.wire import (
    UNREADABLE,
    Facts,
    NamedFile,
    bad_request,
    check_model,
    edit_body,
    hides_letters,
    read_fields,
    write_fields,
)

MESSAGES_PATH: Final = "/v1/messages/count_tokens"
METHOD: Final = ":countTokens"

_PROMPTS_FAULT: Final = (400, 413, 422)  # what a provider says of a prompt it cannot count
_ESTIMATED: Final = (b"x-bursar-estimated", b"true")


class _Named(msgspec.Struct):
    model: str


_named = msgspec.json.Decoder(_Named)


class _MessagesCount:
    """Be a question to Anthropic's count_tokens."""

    protocol = Protocol.anthropic_messages
    answer_field = "input_tokens"

    def __init__(self, body: bytes) -> None:
        self._body = self.prompt = body
        try:
            self.model = _named.decode(body).model
        except UNREADABLE as error:
            raise bad_request(error) from None

    def files(self) -> tuple[NamedFile, ...]:
        """Return the files the prompt names."""
        return files_in_messages(self._body, escaped=hides_letters(self._body))

    def facts(self) -> Facts:
        """Read the prompt to be counted."""
        return ANTHROPIC_MESSAGES.facts(edit_body(self._body, {"max_tokens": 1}))

    def request(self, model: str) -> tuple[str, bytes]:
        """Return the path and body that ask the provider."""
        return "/messages/count_tokens", edit_body(self._body, {"model": model})


class _GeminiCount:
    """Be a question to Gemini's countTokens: contents alone, or a whole request within."""

    protocol = Protocol.gemini
    answer_field = "totalTokens"

    def __init__(self, body: bytes, model: str) -> None:
        self.model = model
        try:
            self._fields = named(read_fields(body))
            self._request = self._fields.get("generateContentRequest")
            self._inner = None if self._request is None else read_fields(self._request)
        except UNREADABLE as error:
            raise bad_request(error) from None

    @property
    def prompt(self) -> bytes:
        """Return the body whose texts are to be counted."""
        return write_fields(self._fields if self._inner is None else self._inner)

    def files(self) -> tuple[NamedFile, ...]:
        """Return the files the prompt names."""
        return files_in_contents(self.prompt)

    def facts(self) -> Facts:
        """Read the prompt to be counted."""
        fields = self._fields if self._inner is None else self._inner
        return GEMINI.facts(write_fields(fields), f"{self.model}:{WHOLE_METHOD}")

    def request(self, model: str) -> tuple[str, bytes]:
        """Return the path and body that ask the provider."""
        fields: dict[str, Any] = dict(self._fields)
        if self._inner is not None:
            fields["generateContentRequest"] = {**self._inner, "model": f"models/{model}"}
        return f"/models/{quote(model, safe='')}{METHOD}", write_fields(fields)


class Counting:
    """Pass questions on to a provider that speaks their protocol; answer others by our own estimate."""

    def __init__(self, settings: Settings, calls: Calls, routes: Routes) -> None:
        self._settings = settings
        self._calls = calls
        self._routes = routes

    async def serve(self, scope: Scope, receive: Receive, send: Send, target: str = "") -> None:
        """Count one prompt: of a message, or of what a Gemini model named by `target` would be asked."""
        stats, settings = self._calls.stats, self._settings
        if stats.under_way >= settings.calls_max:
            raise TooMany(f"more than {settings.calls_max} calls are under way", retry_after_s=1)
        stats.under_way += 1
        try:
            headers = read_headers(scope["headers"])
            if target:
                read_query(headers, scope["query_string"])
            key = await self._calls.key(headers)
            self._calls.check_address(key, scope)
            body = body_of(await receive(), headers.content_length, settings.body_bytes_max)
            question = _GeminiCount(body, target.removesuffix(METHOD)) if target else _MessagesCount(body)
            check_model(question.model)
            check_scope(key, question.model, WIRES[question.protocol].route, self._calls.clock_us())
            kept_at = ""
            if named := question.files():
                found = await self._calls.named_files.find(key.tenant, key.key_id, question.protocol, named)
                kept_at = next(iter(found.values())).provider
            await self._answer(question, headers.forwarded, kept_at, send)
        finally:
            stats.under_way -= 1

    async def _answer(
        self, question: _MessagesCount | _GeminiCount, forwarded: bytes, kept_at: str, send: Send
    ) -> None:
        """Answer by a provider, the one that keeps the prompt's files if it names some; else by an estimate."""
        found = self._candidates(question.model, question.protocol)
        speakers = (candidate for candidate in found if candidate.wire.protocol is question.protocol)
        candidate = next((each for each in speakers if kept_at in ("", each.upstream.name)), None)
        response = await _ask(candidate, question, forwarded) if candidate is not None else None
        if candidate is None or response is None:
            await self._estimate(question, candidate or next(iter(found), None), send)
            return
        await send_whole(send, response.status, [*returned_headers(response.headers), candidate.header], response.body)

    async def _estimate(self, question: _MessagesCount | _GeminiCount, of: Candidate | None, send: Send) -> None:
        """Answer by what was learned of the model, with the error nine of ten such answers keep; else by size."""
        found = None
        if of is not None:
            target = f"{of.upstream.name}/{of.model}"
            with contextlib.suppress(BooksError):  # away: then by size
                found = await self._calls.metering.estimate(target, question.protocol, question.prompt)
        tokens = estimated_input(question.facts().segments) if found is None else found.tokens
        error = [] if found is None else [(b"x-bursar-estimate-error-pct", b"%.1f" % found.error_pct)]
        body = msgspec.json.encode({question.answer_field: tokens})
        await send_whole(send, 200, [JSON, _ESTIMATED, *error], body)

    def _candidates(self, model: str, protocol: Protocol) -> tuple[Candidate, ...]:
        """Return a model's candidates; none where they cannot be told. Raises `NotFound` for an unknown model."""
        if model in self._routes.policies:  # which of its models it would be depends on more than the prompt
            return ()
        try:
            return self._routes.find(model, protocol)
        except NotFound as error:
            if error.code != "wrong_protocol":
                raise
            return ()


async def _ask(candidate: Candidate, question: _MessagesCount | _GeminiCount, forwarded: bytes) -> Response | None:
    """Ask a provider; None when it does not count, for whatever reason that is not the prompt's."""
    upstream = candidate.upstream
    if upstream.signer is not None or upstream.dialect is not None:  # it counts elsewhere, or not at all
        return None
    path, body = question.request(candidate.model)
    head = upstream.head_to(path, question.protocol, candidate.model)
    head += b"%bcontent-length: %d\r\n\r\n" % (forwarded, len(body))
    connection = upstream.pool.take_idle()
    while True:
        try:
            connection = connection or await upstream.pool.open()
            response = await connection.exchange((head, body), upstream.pool.timeouts)
        except UpstreamFault as fault:
            if fault.fault is not Fault.stale:
                return None
            connection = None
            continue
        if response.stream is not None:
            response.stream.abort()
            return None
        if response.status in (401, 403):
            raise UpstreamFailed(f"provider {upstream.name} refuses this gateway's own key", code="upstream_auth")
        return response if response.status < 300 or response.status in _PROMPTS_FAULT else None
