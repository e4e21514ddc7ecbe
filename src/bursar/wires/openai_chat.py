"""Speak OpenAI chat completions, as OpenAI and every compatible provider do."""

from decimal import Decimal
from functools import lru_cache
from typing import ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.records import TEXT_METERS, Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.stated_cost import STATED_FIELDS, stated_nano
from bursar.wires.wire import (
    ABSENT,
    NO_MEDIA,
    TOOLS_OVERHEAD_TOKENS,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    Media,
    Resold,
    Seen,
    UsageReport,
    bad_request,
    believable,
    check_cap,
    check_model,
    check_resold,
    merge_reports,
    openai_tier,
    read_fields,
    unknown_counts,
    unmetered,
    utf8_len,
    write_fields,
)

CHOICES_MAX: Final = 128


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: msgspec.Raw = ABSENT
    input_audio: msgspec.Raw = ABSENT
    file: msgspec.Raw = ABSENT


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT  # names an earlier answer's


class _Tool(msgspec.Struct):
    type: str = "function"


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(Resold, kw_only=True):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    service_tier: str | None = None
    tools: msgspec.Raw = ABSENT
    functions: msgspec.Raw = ABSENT
    prediction: msgspec.Raw = ABSENT
    web_search_options: msgspec.Raw = ABSENT


class _Answer(msgspec.Struct):
    model: str | None = None
    usage: msgspec.Raw = ABSENT
    service_tier: str | None = None
    choices: msgspec.Raw = ABSENT


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = 0
    audio_tokens: int | None = 0
    cache_write_tokens: int | None = 0


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0
    image_tokens: int | None = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # DeepSeek, Moonshot and xAI repeat the split of the totals under names of their own.
    prompt_cache_hit_tokens: int | None = 0
    cached_tokens: int | None = 0
    reasoning_tokens: int | None = 0
    num_search_queries: int | None = 0


class _Piece(msgspec.Struct):
    """Be a piece of an answer of Mistral's that reasons: text, or pieces of thinking."""

    text: str = ""
    thinking: "list[_Piece]" = []


class _Text(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = ABSENT


class _Choice(msgspec.Struct):
    message: _Text | None = None
    delta: _Text | None = None
    text: str | None = None  # of a completion that is no chat
    finish_reason: str | None = None


class _GroqReport(msgspec.Struct):
    usage: msgspec.Raw = ABSENT


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: msgspec.Raw = ABSENT
    x_groq: _GroqReport | None = None  # with the usage of a stream whose client has not asked for a chunk of it
    model: str | None = None
    service_tier: str | None = None


_request = msgspec.json.Decoder(_Request)
_answer = msgspec.json.Decoder(_Answer)
_choices = msgspec.json.Decoder(list[_Choice])
_tools = msgspec.json.Decoder(list[_Tool] | None)
_chunk = msgspec.json.Decoder(_Chunk)
_usage = msgspec.json.Decoder(_Usage)
_report = msgspec.json.Decoder(UsageReport, float_hook=Decimal)
_encode = msgspec.json.Encoder(decimal_format="number").encode

_KNOWN: Final = frozenset(
    (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details.cached_tokens",
        "prompt_tokens_details.audio_tokens",
        "prompt_tokens_details.image_tokens",
        "prompt_tokens_details.text_tokens",
        "prompt_tokens_details.cache_write_tokens",
        "completion_tokens_details.reasoning_tokens",
        "completion_tokens_details.audio_tokens",
        "completion_tokens_details.image_tokens",
        "completion_tokens_details.text_tokens",
        "completion_tokens_details.accepted_prediction_tokens",
        "completion_tokens_details.rejected_prediction_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "reasoning_tokens",
        "cached_tokens",
        "num_sources_used",
        "num_search_queries",
        *STATED_FIELDS,
    )
)


_NO_PROMPT_DETAILS: Final = _PromptDetails()
_NO_COMPLETION_DETAILS: Final = _CompletionDetails()


def usage_from_json(report: bytes) -> tuple[Usage, int]:
    """Turn a chat completion's usage object into disjoint leaves, and the cost it states (nano-USD; -1: none).

    `prompt_tokens` includes cached and audio tokens; `completion_tokens` includes reasoning, except where a provider
    adds reasoning beside it (xAI, or Gemini without a name for it), which its `total_tokens` tells.
    Raises `UsageContradiction` for a field that is missing or of the wrong kind and a leaf that would be negative.
    """
    try:
        read = _usage.decode(report)
    except UNREADABLE as error:
        raise UsageContradiction(str(error)) from None
    into = read.prompt_tokens_details or _NO_PROMPT_DETAILS
    out = read.completion_tokens_details or _NO_COMPLETION_DETAILS
    prompt, total = read.prompt_tokens, read.total_tokens
    if prompt is None or (read.completion_tokens is None and total is None):
        raise UsageContradiction("usage does not say prompt_tokens and completion_tokens")
    completion = read.completion_tokens or 0
    cached = into.cached_tokens or read.cached_tokens or read.prompt_cache_hit_tokens or 0
    written, audio_in = into.cache_write_tokens or 0, into.audio_tokens or 0
    reasoning = out.reasoning_tokens or read.reasoning_tokens or 0
    beside = (total or 0) - prompt - completion
    if beside > 0 and beside >= reasoning:
        reasoning = beside
    elif reasoning:
        completion -= reasoning
    other: dict[str, int] = {}
    if audio_in or out.audio_tokens or out.image_tokens or read.num_search_queries:
        leaves = ("input_audio_tokens", "output_audio_tokens", "output_image_tokens", "web_searches")
        counts = (audio_in, out.audio_tokens, out.image_tokens, read.num_search_queries)
        other = {leaf: count for leaf, count in zip(leaves, counts, strict=True) if count}
        completion -= (out.audio_tokens or 0) + (out.image_tokens or 0)
    unknown = _unknown(report)
    usage = Usage(prompt - cached - written - audio_in, cached, written, 0, completion, reasoning, other, unknown)
    return believable(usage), stated_nano(report)


def _unknown(report: bytes) -> dict[str, int]:
    if _holds_nothing_unknown(report.translate(None, b"0123456789")):
        return {}
    return {name: count for name, count in unknown_counts(_report.decode(report), _KNOWN).items() if count}


@lru_cache(maxsize=1_000)
def _holds_nothing_unknown(shape: bytes) -> bool:
    """Tell whether a usage object without its digits has known names only: objects of one shape need one look."""
    try:
        report = _report.decode(shape.replace(b":,", b":0,").replace(b":}", b":0}"))
    except UNREADABLE:
        return False
    return not unknown_counts(report, _KNOWN)


def _text_len(text: _Text | None) -> int:
    if text is None:
        return 0
    total = len(text.tool_calls)
    for part in (text.content, text.refusal, text.reasoning_content or text.reasoning):
        if part:
            total += utf8_len(part) if isinstance(part, str) else _pieces_len(part)
    return total


def _pieces_len(pieces: list[_Piece]) -> int:
    return sum(utf8_len(piece.text) + _pieces_len(piece.thinking) for piece in pieces)


class ChatReader:
    """Read the chunks of one stream."""

    def __init__(self) -> None:
        self._report: UsageReport | None = None
        self._model = ""
        self._service_tier = ""
        self._output_bytes = 0
        self._finished = False
        self._note = ""

    def see(self, event: bytes) -> Seen:
        """Take in one event: a chunk, `[DONE]`, or something this protocol does not know, which passes."""
        data = event_data(event)
        if not data:
            return Seen.content
        if data == b"[DONE]":
            self._finished = True
            return Seen.last
        try:
            chunk = _chunk.decode(data)
        except UNREADABLE:
            self._output_bytes += len(data)
            self._note = "an event of the stream could not be read"
            return Seen.content
        self._model = chunk.model or self._model
        self._service_tier = chunk.service_tier or self._service_tier
        for choice in chunk.choices:
            self._output_bytes += _text_len(choice.delta) + (utf8_len(choice.text) if choice.text else 0)
            if choice.finish_reason:
                self._finished = True
        if len(chunk.usage) > 4:  # more than null
            self._merge(chunk.usage)
            if not chunk.choices:
                return Seen.usage_only
        elif chunk.x_groq is not None and len(chunk.x_groq.usage) > 4:
            self._merge(chunk.x_groq.usage)
        return Seen.content

    def _merge(self, usage: msgspec.Raw) -> None:
        try:
            report: UsageReport = _report.decode(usage)
        except UNREADABLE:
            self._note = "a usage report of the stream could not be read"
            return
        self._report = merge_reports(self._report, report)

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        report = _encode(self._report) if self._report is not None else b""
        answer = answer_of(report, self._model, self._service_tier, self._output_bytes, whole=self._finished)
        return msgspec.structs.replace(answer, note=answer.note or self._note) if self._note else answer


def answer_of(report: bytes, model: str, tier: str, output_bytes: int, *, whole: bool) -> Answer:
    """Return what an answer says by its usage report; none is told where it cannot be believed."""
    if len(report) <= 4:  # missing, or null
        return Answer(None, model, tier, output_bytes, whole=whole)
    try:
        usage, cost_nano = usage_from_json(report)
    except UsageContradiction as error:
        return Answer(None, model, tier, output_bytes, whole=whole, note=str(error))
    return Answer(usage, model, tier, output_bytes, cost_nano, whole)


class OpenAIChat:
    """Be the chat completions protocol."""

    protocol: ClassVar = Protocol.openai_chat
    route: ClassVar = "/v1/chat/completions"
    meters: ClassVar = TEXT_METERS
    estimates: ClassVar = True
    multipart: ClassVar = False
    caps: ClassVar = True
    comments: ClassVar = True

    def path(self, model: str, *, stream: bool) -> str:  # noqa: ARG002
        """Return where calls go, whatever their model."""
        return "/chat/completions"

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        try:
            request = _request.decode(body)
        except UNREADABLE as error:
            raise bad_request(error) from None
        choices = request.n or 1
        caps = [cap for cap in (request.max_completion_tokens, request.max_tokens) if cap is not None]
        if not 1 <= choices <= CHOICES_MAX:
            raise BadRequest(f"expected an integer from 1 to {CHOICES_MAX} in `n`, got {choices}", param="n")
        check_model(request.model)
        for cap in caps:
            check_cap(cap, "max_completion_tokens")
        segments, media = _segments(request)
        text_bytes = len(body) - media.body_bytes
        _check_metered(request)
        if segments.tools:
            text_bytes += TOOLS_OVERHEAD_TOKENS
        options = request.stream_options
        return Facts(
            request.model,
            bool(request.stream),
            options is not None and bool(options.include_usage),
            max(caps) if caps else None,
            choices,
            segments,
            text_bytes,
            media,
            _PLAIN if media is NO_MEDIA and request.web_search_options is ABSENT else _traits(request, media),
            len(request.prediction),
            openai_tier(request.service_tier),
            hides_searches=request.web_search_options is not ABSENT,
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:
        """Return the body to send: the client's, with model, output cap and usage wish as decided."""
        fields = read_fields(body)
        if model != facts.model:
            fields["model"] = model
        unset = bytes(fields.get(cap_field, _NULL)) == _NULL  # a provider may not know the other one
        if unset or cap != facts.output_cap:
            for name in _CAP_FIELDS:
                fields.pop(name, None)
            fields[cap_field] = cap
        if facts.stream and not facts.wants_usage:
            fields["stream_options"] = {"include_usage": True}
        return write_fields(fields)

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            answer = _answer.decode(body)
            read = answer_of(bytes(answer.usage), answer.model or "", answer.service_tier or "", 0, whole=True)
            if read.usage is not None or not len(answer.choices):
                return read
            output_bytes = sum(
                _text_len(choice.message) + utf8_len(choice.text or "") for choice in _choices.decode(answer.choices)
            )
        except UNREADABLE as error:
            raise BadAnswer(f"not a chat completion: {error}") from error
        return msgspec.structs.replace(read, output_bytes=output_bytes)

    def reader(self) -> ChatReader:
        """Return a reader for one stream."""
        return ChatReader()

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as OpenAI does: `{"error": {message, type, param, code}}`."""
        kind = _ERROR_TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
        error = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
        return _encode({"error": error | refusal.details | {"call_id": call_name}})

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as the chunk that ends a stream: its official clients raise on `error`."""
        return event_bytes(self.error_body(refusal, call_name))

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage as a chat completion reports it."""
        other = usage.other
        report: UsageReport = {
            "prompt_tokens": usage.input_total,
            "completion_tokens": usage.output_total,
            "total_tokens": usage.input_total + usage.output_total,
            "prompt_tokens_details": {
                "cached_tokens": usage.cache_read_tokens,
                "audio_tokens": other.get("input_audio_tokens", 0),
            },
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning_tokens,
                "audio_tokens": other.get("output_audio_tokens", 0),
            },
        }
        if usage.cache_write_5m_tokens:
            report["prompt_tokens_details"]["cache_write_tokens"] = usage.cache_write_5m_tokens
        return report


_NULL: Final = b"null"
_BOUNDED_PARTS: Final = ("text", "refusal", "image_url")  # by their bytes or by the model's size of images
_CAP_FIELDS: Final = ("max_completion_tokens", "max_tokens")
_CLIENTS_TOOLS: Final = ("function", "custom")  # those that run at the client's


def _check_metered(request: _Request) -> None:
    """Check that nothing is asked for that would be billed beside the tokens or at another model's price."""
    check_resold(request)
    if request.tools is not ABSENT:
        try:
            tools = _tools.decode(request.tools) or ()
        except UNREADABLE:
            raise BadRequest("expected a list of tools in `tools`", param="tools") from None
        for tool in tools:
            if tool.type not in _CLIENTS_TOOLS:
                raise unmetered("a tool of this type at the provider's", "tools")


# Prompt caches are written on the provider's own accord, where that is billed at all.
_PLAIN: Final = Traits(writes_cache_5m=True)


def _traits(request: _Request, media: Media) -> Traits:
    searches = request.web_search_options is not ABSENT
    return Traits(writes_cache_5m=True, media=media is not NO_MEDIA, searches_web=searches)


_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def _segments(request: _Request) -> tuple[Segments, Media]:
    """Measure each part of the prompt. The last run of user messages is `user`, what precedes it `history`."""
    system = history = retrieved = user = 0
    images = others = media_bytes = 0
    for message in request.messages:
        content = message.content
        size = 0
        if isinstance(content, str):
            size = utf8_len(content)
        elif content is not None:
            for part in content:
                size += utf8_len(part.text) + utf8_len(part.refusal)
                images += len(part.image_url) > 0
                others += len(part.input_audio) > 0 or len(part.file) > 0 or part.type not in _BOUNDED_PARTS
                media_bytes += len(part.image_url) + len(part.input_audio) + len(part.file)
        if message.audio is not ABSENT and bytes(message.audio) != _NULL:
            others += 1
        role = message.role
        if role == "user":
            user += size
        elif role in ("system", "developer"):
            system += size
        elif role in ("tool", "function"):
            retrieved += size
        else:
            history += size + user + len(message.tool_calls)
            user = 0
    tools = len(request.tools) + len(request.functions)
    media = Media(images, others, media_bytes) if media_bytes or others else NO_MEDIA
    return Segments(system, tools, history, retrieved, user), media


OPENAI_CHAT: Final = OpenAIChat()
