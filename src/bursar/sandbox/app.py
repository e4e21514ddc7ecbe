"""Serve the simulated provider over ASGI: each protocol, models, token counts, and its own bill."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from bursar.core.errors import BadRequest, NotFound, Refusal, TooMany, Unavailable
from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.sandbox.batches import MessageStore, OpenAIStore
from bursar.sandbox.files import ContentFiles, MessageFiles
from bursar.sandbox.gemini import camelled, content_answer, content_chunks, count_answer, forced_tool, read_contents
from bursar.sandbox.gemini_batches import GeminiStore, is_geminis
from bursar.sandbox.media import fields_of, image_answer, speech_answer, transcription_answer
from bursar.sandbox.play import IMAGE_TOKENS, Play, PromptCache, play_for, tokens_of
from bursar.sandbox.prompt import Prompt, read_chat, read_completion, read_messages, read_responses
from bursar.sandbox.responses import response_answer, response_events
from bursar.sandbox.speech import asks_for_speech, heard_tokens, spoken_usage, tokens_a_word
from bursar.sandbox.vectors import content_embedding, embedding_answer, moderation_answer
from bursar.sandbox.voice import (
    Turn,
    chat_answer,
    chat_chunks,
    completion_answer,
    completion_chunks,
    message_answer,
    message_events,
)
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.gemini import GEMINI
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.protocols import BODY_WIRES, PATH_WIRES
from bursar.wires.sounds import HEARD
from bursar.wires.wire import Facts, Wire

MODELS: Final = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1-mini",
    "gpt-5-mini",
    "o4-mini",
    "claude-haiku-4-5",
    "claude-sonnet-4-5",
    "claude-opus-4-5",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gpt-3.5-turbo-instruct",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "gemini-embedding-001",
    "omni-moderation-latest",
    "gpt-image-2",
    "gpt-4o-mini-tts",
    "tts-1",
    "gpt-4o-transcribe",
    "whisper-1",
    "gpt-audio",
    "gpt-audio-mini",
)
_READERS: Final = {
    Protocol.openai_chat: read_chat,
    Protocol.anthropic_messages: read_messages,
    Protocol.openai_responses: read_responses,
    Protocol.gemini: read_contents,
    Protocol.openai_completions: read_completion,
}
_WHOLE: Final = {
    Protocol.openai_chat: chat_answer,
    Protocol.anthropic_messages: message_answer,
    Protocol.openai_responses: response_answer,
    Protocol.gemini: content_answer,
    Protocol.openai_completions: completion_answer,
}
_STREAMED: Final = {
    Protocol.openai_chat: chat_chunks,
    Protocol.anthropic_messages: message_events,
    Protocol.openai_responses: response_events,
    Protocol.gemini: content_chunks,
    Protocol.openai_completions: completion_chunks,
}
_PLAIN: Final = {
    Protocol.openai_embeddings: embedding_answer,
    Protocol.openai_moderations: moderation_answer,
    Protocol.gemini_embed: content_embedding,
    Protocol.gemini_embed_batch: content_embedding,
}
_MEDIA: Final = {
    Protocol.openai_images: image_answer,
    Protocol.openai_image_edits: image_answer,
    Protocol.openai_image_variations: image_answer,
    Protocol.openai_speech: speech_answer,
    Protocol.openai_transcriptions: transcription_answer,
    Protocol.openai_translations: transcription_answer,
}
_BY_ROUTE: Final = {route.removeprefix("/v1"): wire for route, wire in BODY_WIRES.items()}
_ANSWERS: Final = (*_BY_ROUTE, *(f":{method}" for method in PATH_WIRES))
_COUNTS: Final = ("/messages/count_tokens", ":countTokens")
_STALL_S: Final = 3_600.0
_TOOL_TOKENS: Final = 5

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class Cut(Exception):
    """End the connection in the middle of an answer."""


class Sandbox:
    """Be the provider: an ASGI application. `ttft_ms` and `tpot_ms` are its times where a request sets none."""

    def __init__(self, *, ttft_ms: float = 0.0, tpot_ms: float = 0.0) -> None:
        self._ttft_ms = ttft_ms
        self._tpot_ms = tpot_ms
        self._cache = PromptCache()
        self._answers = 0
        self.requests = 0
        self.bill: dict[str, Counter[str]] = {}
        self._openai = OpenAIStore(self._play)
        self._anthropic = MessageStore(self._play)
        self._message_files = MessageFiles()
        self._content_files = ContentFiles()
        self._gemini = GeminiStore(self._play)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await _read_body(receive)
        path, method = scope["path"], scope["method"]
        wire, target = _spoken(path)
        try:
            if method == "GET" and path.endswith("/models"):
                await _send_json(send, _models())
            elif method == "GET" and path == "/sandbox/bill":
                await _send_json(send, {"requests": self.requests, "usage": self.bill})
            elif method == "POST" and path.endswith(_COUNTS):
                await _send_body(send, 200, self._count(wire, body), [])
            elif "/upload" in path:
                query = dict(parse_qsl(scope["query_string"].decode()))
                answer, headers = self._content_files.upload(query, dict(scope["headers"]), body)
                await _send_body(send, 200, answer, headers)
            elif (kept := _kept_path(path, scope["query_string"])) and not path.endswith(_ANSWERS):
                if b'"sandbox":"lost"' in body:
                    await asyncio.sleep(_STALL_S)
                answer = self._store(kept, scope).answer(method, kept, body)
                if b'"sandbox":"stall"' in body or (b"[[stall]]" in body and method == "POST"):
                    await asyncio.sleep(_STALL_S)
                await _send_body(send, 200, answer, [])
            elif method == "POST" and path.endswith(_ANSWERS):
                await self._answer(wire, body, target, send)
            else:
                raise NotFound(f"the sandbox has no {method} {path}")
        except Refusal as refusal:
            headers = [(b"retry-after", b"1")] if refusal.status == 429 else []
            await _send_body(send, refusal.status, wire.error_body(refusal, "sandbox"), headers)

    def _store(self, kept: str, scope: Scope) -> OpenAIStore | MessageStore | GeminiStore | MessageFiles | ContentFiles:
        if is_geminis(kept, scope["query_string"]):
            return self._gemini
        names = {name for name, _ in scope["headers"]}
        if kept.startswith("/files") and b"anthropic-version" in names:
            return self._message_files
        if kept.startswith("/files/sandbox"):
            return self._content_files
        return self._anthropic if kept.startswith("/messages") else self._openai

    async def _answer(self, wire: Wire, body: bytes, target: str, send: Send) -> None:
        facts = wire.facts(body, target)
        if wire.protocol in _MEDIA:
            await self._media(wire, facts, body, send)
            return
        if wire.protocol in _PLAIN:
            await self._plain(wire, body, facts, send)
            return
        turn = self._turn(wire, facts, body)
        if turn.play.direction.fault == "stall":
            await asyncio.sleep(_STALL_S)
        if facts.stream:
            await self._stream(wire, turn, send)
        else:
            await self._whole(wire, turn, send)

    def _play(self, wire: Wire, body: bytes, target: str) -> bytes:
        """Play one request of a batch."""
        facts = wire.facts(body, target)
        if wire.protocol in _PLAIN:
            return self._plainly(wire, msgspec.json.decode(body), facts)
        turn = self._turn(wire, facts, body)
        self._charge(turn, turn.usage)
        return _WHOLE[wire.protocol](turn)

    def _turn(self, wire: Wire, facts: Facts, body: bytes) -> Turn:
        """Decide on an answer. Raises the `Refusal` that a request asks for."""
        request = self._filled(wire, msgspec.json.decode(body))
        prompt = _READERS[wire.protocol](request)
        speaks, cap = asks_for_speech(request), facts.output_cap
        if speaks and cap is not None:
            cap //= tokens_a_word(wire.protocol)
        play = play_for(prompt.content, prompt.last_user_text, cap, facts.model, prompt.script)
        self.requests += 1
        _fault_before(play.direction.fault)
        self._answers += 1
        forced = forced_tool(request, prompt) if wire is GEMINI else _forced_tool(request, prompt)
        tool = play.direction.tool or forced
        usage = self._usage(wire, facts, prompt, play, tool=tool)
        if speaks := speaks and not tool:
            said = spoken_usage(wire.protocol, play.text_tokens * facts.choices)
            usage = msgspec.structs.replace(usage, output_tokens=0).plus(said)
        return Turn(
            model=facts.model,
            answer_id=f"{self._answers:012d}",
            play=play,
            usage=usage,
            tool=tool,
            choices=facts.choices,
            wants_usage=facts.wants_usage,
            tells_usage=play.direction.fault != "silent",
            shows_thoughts=b'"includeThoughts":true' in body.replace(b" ", b""),
            speaks=speaks,
            request=request,
        )

    def _filled(self, wire: Wire, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with what the files it names hold. Raises `NotFound`."""
        if wire is GEMINI:
            return self._content_files.filled(camelled(request))
        return self._message_files.filled(request) if wire is ANTHROPIC_MESSAGES else request

    def _count(self, wire: Wire, body: bytes) -> bytes:
        """Count a prompt's tokens, as an answer to it would."""
        try:
            request = self._filled(wire, msgspec.json.decode(body, type=dict[str, Any]))
            prompt = _READERS[wire.protocol](request.get("generateContentRequest", request))
        except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as error:
            raise BadRequest(f"this prompt cannot be read: {type(error).__name__}") from None
        tokens = tokens_of(len(prompt.content)) + prompt.images * IMAGE_TOKENS
        return count_answer(tokens) if wire is GEMINI else msgspec.json.encode({"input_tokens": tokens})

    async def _media(self, wire: Wire, facts: Facts, body: bytes, send: Send) -> None:
        """Answer with an image, sound, or what was heard."""
        self.requests += 1
        fields, _ = fields_of(body)
        said = str(fields.get("prompt", fields.get("input", "")))
        play = play_for(body[-256:], said, None, facts.model)
        if play.direction.fault == "stall":
            await asyncio.sleep(_STALL_S)
        _fault_before(play.direction.fault)
        made = _MEDIA[wire.protocol](wire.protocol, body, play)
        self.bill.setdefault(facts.model, Counter()).update(made.usage.leaves())
        streamed = bool(made.events) and facts.stream
        kind = b"text/event-stream" if streamed else made.content_type
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for number, event in enumerate(made.events if streamed else (made.body,)):
            if play.direction.fault == "cut" and number >= play.direction.after:
                raise Cut
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _plain(self, wire: Wire, body: bytes, facts: Facts, send: Send) -> None:
        """Answer what is no turn of a model."""
        request = msgspec.json.decode(body)
        if _given_fault(request, facts) == "stall":
            await asyncio.sleep(_STALL_S)
        await _send_body(send, 200, self._plainly(wire, request, facts), [])

    def _plainly(self, wire: Wire, request: dict[str, Any], facts: Facts) -> bytes:
        """Return the answer to what is no turn of a model. Raises the `Refusal` that a request asks for."""
        self.requests += 1
        _fault_before(_given_fault(request, facts))
        self._answers += 1
        usage, answer = _PLAIN[wire.protocol]({"model": facts.model} | request, f"{self._answers:012d}")
        self.bill.setdefault(facts.model, Counter()).update(usage.leaves())
        return answer

    def _usage(self, wire: Wire, facts: Facts, prompt: Prompt, play: Play, *, tool: str) -> Usage:
        """Count the request's tokens the way this protocol's provider does."""
        now_s = time.monotonic()
        size = len(prompt.content)
        if wire is ANTHROPIC_MESSAGES:
            usage = self._cache.marked(facts.model, prompt.parts, now_s)
        else:
            cached = self._cache.automatic(facts.model, prompt.content, now_s)
            usage = Usage(tokens_of(size) - cached, cached)
        output = (_TOOL_TOKENS if tool else play.text_tokens) * facts.choices
        reasoning = play.reasoning_tokens * facts.choices
        heard = heard_tokens(facts.model, prompt.recordings)
        other = {HEARD: heard} if heard else {}
        more = Usage(prompt.images * IMAGE_TOKENS, output_tokens=output, reasoning_tokens=reasoning, other=other)
        return usage.plus(more)

    async def _whole(self, wire: Wire, turn: Turn, send: Send) -> None:
        await self._wait(turn, turn.usage.output_total)
        body = _WHOLE[wire.protocol](turn)
        fault = turn.play.direction.fault
        if fault == "malformed":
            body = body[: len(body) // 2]
        self._charge(turn, turn.usage)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if fault == "cut":
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise Cut
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, wire: Wire, turn: Turn, send: Send) -> None:
        direction = turn.play.direction
        events = _STREAMED[wire.protocol](turn)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        made_before = made = 0
        malformed = direction.fault == "malformed"
        try:
            for made, event in _paced(events):
                await self._wait(turn, made - made_before, first=made_before == 0)
                made_before = made
                if direction.fault == "cut" and made - turn.usage.reasoning_tokens > direction.after:
                    raise Cut
                if malformed and made > direction.after:
                    await send(
                        {"type": "http.response.body", "body": b'data: {"choices": [{"del\n\n', "more_body": True}
                    )
                    malformed = False
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            self._charge(turn, _cut_short(wire, turn, made))
        await send({"type": "http.response.body", "body": b""})

    async def _wait(self, turn: Turn, tokens: int, *, first: bool = True) -> None:
        direction = turn.play.direction
        ttft = direction.ttft_ms if direction.ttft_ms is not None else self._ttft_ms
        tpot = direction.tpot_ms if direction.tpot_ms is not None else self._tpot_ms
        delay_ms = tokens * tpot + (ttft if first else 0.0)
        if delay_ms > 0:
            await asyncio.sleep(delay_ms / 1_000)

    def _charge(self, turn: Turn, usage: Usage) -> None:
        """Put the usage on the provider's own bill, by model and leaf."""
        self.bill.setdefault(turn.model, Counter()).update(usage.leaves())


def _given_fault(request: dict[str, Any], facts: Facts) -> str:
    given = request.get("input", "")
    return play_for(b"", given if isinstance(given, str) else "", None, facts.model).direction.fault


def _fault_before(fault: str) -> None:
    match fault:
        case "429":
            raise TooMany("the sandbox was told to be busy", code="rate_limit_exceeded")
        case "500":
            raise Refusal("the sandbox was told to fail", code="internal_error")
        case "503":
            raise Unavailable("the sandbox was told to be overloaded", code="overloaded")
        case _:
            pass


def _kept_path(path: str, query: bytes) -> str:
    """Return where among files and batches a path leads; empty for any other."""
    roots = ("/models/",) if is_geminis(path, query) and "/models/" in path else ()
    roots += ("/messages/batches", "/files", "/batches")
    return next((path[path.index(each) :] for each in roots if each in path), "")


def _paced(events: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Join events that belong to the same moment, as one write."""
    made, joined = -1, b""
    for count, event in events:
        if count != made and joined:
            yield made, joined
            joined = b""
        made, joined = count, joined + event
    if joined:
        yield made, joined


def _cut_short(wire: Wire, turn: Turn, made: int) -> Usage:
    """Return what a provider bills for an answer that ended after `made` output tokens."""
    usage = turn.usage
    reasoning = min(usage.reasoning_tokens, made)
    if turn.speaks:
        said = spoken_usage(wire.protocol, (made - reasoning) // tokens_a_word(wire.protocol))
        return msgspec.structs.replace(
            usage, reasoning_tokens=reasoning, output_tokens=said.output_tokens, other=usage.other | said.other
        )
    return msgspec.structs.replace(
        usage, reasoning_tokens=reasoning, output_tokens=min(usage.output_tokens, made - reasoning)
    )


def _spoken(path: str) -> tuple[Wire, str]:
    """Tell from a path which protocol is spoken, and the model and method it names."""
    _, models, target = path.partition("/models/")
    if models:
        return PATH_WIRES.get(target.rpartition(":")[2], GEMINI), target
    found = [part for part in _BY_ROUTE if path.removesuffix("/count_tokens").endswith(part)]
    return (_BY_ROUTE[max(found, key=len)] if found else OPENAI_CHAT), ""


def _forced_tool(request: dict[str, Any], prompt: Prompt) -> str:
    """Name the tool a request's `tool_choice` demands; empty when it leaves the choice."""
    choice = request.get("tool_choice")
    if not prompt.tools or choice is None or choice in ("auto", "none"):
        return ""
    if isinstance(choice, dict):
        function: Any = choice.get("function") or choice
        if choice.get("type") in ("auto", "none"):
            return ""
        return str(function.get("name") or prompt.tools[0])
    return prompt.tools[0]


def _models() -> dict[str, Any]:
    data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"} for name in MODELS]
    return {"object": "list", "data": data}


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client left")
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _send_json(send: Send, value: Any) -> None:
    await _send_body(send, 200, msgspec.json.encode(value), [])


async def _send_body(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    base = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": base + headers})
    await send({"type": "http.response.body", "body": body})
