"""Speak OpenAI chat completions, as OpenAI and every compatible provider do."""

from decimal import Decimal
from typing import ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.records import TEXT_METERS, Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.chat_usage import usage_from_json
from bursar.wires.sound_frames import Steps
from bursar.wires.sounds import asks_for_speech, input_audio_ms, meters_of
from bursar.wires.sse import event_bytes, event_data
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
    check_cap,
    check_model,
    check_resold,
    merge_reports,
    openai_tier,
    read_fields,
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


class _Piece(msgspec.Struct):
    """Be a piece of an answer of Mistral's that reasons: text, or pieces of thinking."""

    text: str = ""
    thinking: "list[_Piece]" = []


class _Spoken(msgspec.Struct):
    data: str | None = None
    transcript: str | None = None


class _Text(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = ABSENT
    audio: _Spoken | None = None


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
_report = msgspec.json.Decoder(UsageReport, float_hook=Decimal)
_encode = msgspec.json.Encoder(decimal_format="number").encode


def _text_len(text: _Text | None) -> int:
    if text is None:
        return 0
    total = len(text.tool_calls)
    for part in (text.content, text.refusal, text.reasoning_content or text.reasoning):
        if part:
            total += utf8_len(part) if isinstance(part, str) else _pieces_len(part)
    if text.audio is not None:
        total += utf8_len(text.audio.transcript or "")
    return total


def _sound_len(text: _Text | None) -> int:
    """Return the bytes of the sound in a piece of an answer, which is in base64."""
    spoken = text.audio if text is not None else None
    return len(spoken.data or "") * 3 // 4 if spoken is not None else 0


def _pieces_len(pieces: list[_Piece]) -> int:
    return sum(utf8_len(piece.text) + _pieces_len(piece.thinking) for piece in pieces)


class ChatReader:
    """Read the chunks of one stream."""

    def __init__(self) -> None:
        self._report: UsageReport | None = None
        self._model = ""
        self._service_tier = ""
        self._output_bytes = self._spoken_bytes = 0
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
            self._spoken_bytes += _sound_len(choice.delta)
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
        if not self._note and not self._spoken_bytes:
            return answer
        return msgspec.structs.replace(answer, note=answer.note or self._note, spoken_bytes=self._spoken_bytes)


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
        speaks = asks_for_speech(request)
        _check_metered(request, speaks=speaks)
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
            _traits(request, media, speaks=speaks),
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
            choices = _choices.decode(answer.choices)
        except UNREADABLE as error:
            raise BadAnswer(f"not a chat completion: {error}") from error
        output_bytes = sum(_text_len(choice.message) + utf8_len(choice.text or "") for choice in choices)
        spoken_bytes = sum(_sound_len(choice.message) for choice in choices)
        return msgspec.structs.replace(read, output_bytes=output_bytes, spoken_bytes=spoken_bytes)

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
_BOUNDED_PARTS: Final = ("text", "refusal", "image_url", "input_audio")  # the last two by their model's rule
_CAP_FIELDS: Final = ("max_completion_tokens", "max_tokens")
_CLIENTS_TOOLS: Final = ("function", "custom")  # those that run at the client's


def _check_metered(request: _Request, *, speaks: bool) -> None:
    """Check that nothing is asked for that would be billed beside the tokens or at another model's price."""
    check_resold(request, speaks=speaks)
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


def _traits(request: _Request, media: Media, *, speaks: bool) -> Traits:
    searches = request.web_search_options is not ABSENT
    if media is NO_MEDIA and not searches and not speaks:
        return _PLAIN
    # An answer that was spoken, and is named now, is heard as a recording is.
    hears = bool(media.sounds_ms) or any(_is_spoken(message) for message in request.messages)
    meters = meters_of(hears=hears, speaks=speaks)
    return Traits(writes_cache_5m=True, media=media is not NO_MEDIA, searches_web=searches, meters=meters)


def _is_spoken(message: _Message) -> bool:
    return message.audio is not ABSENT and bytes(message.audio) != _NULL


_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def _heard_ms(part: _Part, steps: Steps) -> tuple[int, ...]:
    if part.type != "input_audio" and not len(part.input_audio):
        return ()
    return (input_audio_ms(part.input_audio, "messages.content.input_audio", steps),)


def _segments(request: _Request) -> tuple[Segments, Media]:
    """Measure each part of the prompt. The last run of user messages is `user`, what precedes it `history`."""
    system = history = retrieved = user = 0
    images = others = media_bytes = 0
    sounds_ms: list[int] = []
    steps = Steps()
    for message in request.messages:
        content = message.content
        size = 0
        if isinstance(content, str):
            size = utf8_len(content)
        elif content is not None:
            for part in content:
                size += utf8_len(part.text) + utf8_len(part.refusal)
                images += len(part.image_url) > 0
                others += len(part.file) > 0 or part.type not in _BOUNDED_PARTS
                sounds_ms += _heard_ms(part, steps)
                media_bytes += len(part.image_url) + len(part.input_audio) + len(part.file)
        others += _is_spoken(message)
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
    found = media_bytes or others
    media = Media(images, others, media_bytes, sounds_ms=tuple(sounds_ms)) if found else NO_MEDIA
    return Segments(system, tools, history, retrieved, user), media


OPENAI_CHAT: Final = OpenAIChat()
