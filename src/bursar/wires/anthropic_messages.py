"""Speak Anthropic messages."""

from typing import Any, ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.records import TEXT_METERS, Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.kept_files import files_in_messages
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.stated_cost import STATED_FIELDS, stated_in
from bursar.wires.wire import (
    ABSENT,
    NO_MEDIA,
    TOOLS_OVERHEAD_TOKENS,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    Media,
    Seen,
    UsageReport,
    bad_request,
    believable,
    check_cap,
    check_model,
    count_of,
    edit_body,
    hides_letters,
    merge_reports,
    nested,
    unknown_counts,
    unmetered,
    utf8_len,
)

# Kinds of tools: those at the client's, and those at the provider's that cost tokens and searches alone. Others have a
# price of their own: code execution by the hour, an advisor by its model.
_READ_MORE: Final = ("web_search_", "web_fetch_", "mcp_toolset")
_METERED_TOOLS: Final = (*_READ_MORE, "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_")


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    thinking: str = ""
    source: msgspec.Raw = ABSENT  # of an image or document
    input: msgspec.Raw = ABSENT  # of a tool use
    content: msgspec.Raw = ABSENT  # of a tool or search result


class _Tool(msgspec.Struct):
    type: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part]


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int
    system: str | list[_Part] | None = None
    stream: bool | None = None
    service_tier: str | None = None
    speed: str | None = None
    tools: msgspec.Raw = ABSENT
    mcp_servers: msgspec.Raw = ABSENT
    inference_geo: str | None = None
    fallbacks: msgspec.Raw = ABSENT


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Block(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    input: msgspec.Raw = ABSENT


class _Answer(msgspec.Struct):
    model: str | None = None
    usage: UsageReport | None = None
    content: list[_Block] | None = None


class _Event(msgspec.Struct):
    type: str = ""
    message: _Answer | None = None
    delta: _Delta | None = None
    usage: UsageReport | None = None


_request = msgspec.json.Decoder(_Request)
_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(_Event)
_result_parts = msgspec.json.Decoder(list[_Part])
_tools = msgspec.json.Decoder(list[_Tool] | None)
_encode = msgspec.json.Encoder().encode

_KNOWN: Final = frozenset(
    (
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "server_tool_use.web_search_requests",
        "server_tool_use.web_fetch_requests",  # costs nothing beyond its tokens
        "output_tokens_details.thinking_tokens",
        *STATED_FIELDS,
    )
)
# Top-level counts include every iteration of this kind; what else ran on the side is billed beside them.
_WITHIN_TOTALS: Final = ("message", "fallback_message")


def usage_from_report(report: UsageReport) -> Usage:
    """Turn a message's usage object into disjoint leaves, with what ran beside the message.

    Compactions are billed beside the totals; an advisor's tokens have another price and are only shown.
    Raises `UsageContradiction` for a field that is missing or of the wrong kind and a leaf that would be negative.
    """
    usage, iterations = _totals(report), report.get("iterations")
    if not iterations:
        return usage
    try:
        read = msgspec.convert(iterations, list[UsageReport])
    except msgspec.ValidationError as error:
        raise UsageContradiction(f"usage field iterations: {error}") from None
    for iteration in read:
        kind = iteration.get("type")
        if kind == "compaction":
            usage = usage.plus(_totals(iteration))
        elif kind not in _WITHIN_TOTALS:
            counts = unknown_counts(iteration, frozenset(), f"iterations.{kind}.")
            shown = {name: count for name, count in counts.items() if count}
            usage = usage.plus(Usage(unknown=shown))
    return believable(usage)


def _totals(report: UsageReport) -> Usage:
    """Turn a message's usage object into disjoint leaves.

    `input_tokens` is fresh input alone; cache reads and writes stand beside it. Writes without a lifetime count
    as five minutes, the default. `output_tokens` includes thinking.
    """
    if report.get("input_tokens") is None or report.get("output_tokens") is None:
        raise UsageContradiction("usage does not say input_tokens and output_tokens")
    lifetimes = nested(report, "cache_creation")
    written = count_of(report, "cache_creation_input_tokens")
    written_1h = count_of(lifetimes, "ephemeral_1h_input_tokens")
    written_5m = max(count_of(lifetimes, "ephemeral_5m_input_tokens"), written - written_1h)
    thinking = count_of(nested(report, "output_tokens_details"), "thinking_tokens")
    searches = count_of(nested(report, "server_tool_use"), "web_search_requests")
    usage = Usage(
        input_tokens=count_of(report, "input_tokens"),
        cache_read_tokens=count_of(report, "cache_read_input_tokens"),
        cache_write_5m_tokens=written_5m,
        cache_write_1h_tokens=written_1h,
        output_tokens=count_of(report, "output_tokens") - thinking,
        reasoning_tokens=thinking,
        other={"web_searches": searches} if searches else {},
        unknown={name: count for name, count in unknown_counts(report, _KNOWN).items() if count},
    )
    return believable(usage)


class MessagesReader:
    """Read the events of one stream."""

    def __init__(self) -> None:
        self._report: UsageReport | None = None
        self._model = ""
        self._output_bytes = 0
        self._final = False
        self._stopped = False
        self._note = ""

    def see(self, event: bytes) -> Seen:
        """Take in one event; the last is `message_stop`, and everything else passes."""
        data = event_data(event)
        if not data:
            return Seen.content
        try:
            seen = _event.decode(data)
        except UNREADABLE:
            self._output_bytes += len(data)
            self._note = "an event of the stream could not be read"
            return Seen.content
        if seen.type == "message_stop":
            self._stopped = True
            return Seen.last
        if seen.message is not None:
            self._model = seen.message.model or self._model
            if seen.message.usage:
                self._report = merge_reports(self._report, seen.message.usage)
        if seen.usage:
            self._final = seen.usage.get("output_tokens") is not None
            self._report = merge_reports(self._report, seen.usage)
        if seen.delta is not None:
            for text in (seen.delta.text, seen.delta.thinking, seen.delta.partial_json):
                if text:
                    self._output_bytes += utf8_len(text)
        return Seen.content

    def answer(self) -> Answer:
        """Return what the stream has said so far; its output count is final with `message_delta` only."""
        answer = _answer_of(self._report, self._model, self._output_bytes, whole=self._stopped)
        return msgspec.structs.replace(answer, final=self._final, note=answer.note or self._note)


def _answer_of(report: UsageReport | None, model: str, output_bytes: int, *, whole: bool) -> Answer:
    if report is None:
        return Answer(None, model, "", output_bytes, whole=whole)
    try:
        usage = usage_from_report(report)
    except UsageContradiction as error:
        return Answer(None, model, "", output_bytes, whole=whole, note=str(error))
    tier = report.get("service_tier")
    tier = tier if isinstance(tier, str) else ""
    return Answer(usage, model, tier, output_bytes, stated_in(report), whole)


class AnthropicMessages:
    """Be the messages protocol."""

    protocol: ClassVar = Protocol.anthropic_messages
    route: ClassVar = "/v1/messages"
    meters: ClassVar = TEXT_METERS
    estimates: ClassVar = True
    multipart: ClassVar = False
    caps: ClassVar = True
    comments: ClassVar = True

    def path(self, model: str, *, stream: bool) -> str:  # noqa: ARG002
        """Return where calls go, whatever their model."""
        return "/messages"

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        try:
            request = _request.decode(body)
        except UNREADABLE as error:
            raise bad_request(error) from None
        check_model(request.model)
        check_cap(request.max_tokens, "max_tokens")
        segments, media = _segments(request)
        text_bytes = len(body) - media.body_bytes
        if segments.tools:
            text_bytes += TOOLS_OVERHEAD_TOKENS
        searches, reads_more = _at_provider(request)
        if reads_more:
            media = Media(media.images, media.others + 1, media.body_bytes, 1)
        escaped = hides_letters(body)  # then the dearest is assumed
        caches = escaped or b'"cache_control"' in body
        files = files_in_messages(body, escaped=escaped)
        traits = Traits(
            writes_cache_5m=caches,
            writes_cache_1h=caches and (escaped or b'"1h"' in body),
            media=media is not NO_MEDIA,
            searches_web=searches,
        )
        return Facts(
            request.model,
            bool(request.stream),
            _WANTS_USAGE,
            request.max_tokens,
            1,
            segments,
            text_bytes,
            media,
            traits,
            0,
            request.service_tier or "",
            request.speed or "",
            files=files,
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with model and output cap as decided; the protocol demands a cap."""
        edits: dict[str, Any] = {"model": model} if model != facts.model else {}
        return edit_body(body, edits if cap == facts.output_cap else edits | {"max_tokens": cap})

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            answer = _answer.decode(body)
        except UNREADABLE as error:
            raise BadAnswer(f"not a message: {error}") from error
        output_bytes = 0
        for block in answer.content or ():
            output_bytes += utf8_len(block.text or "") + utf8_len(block.thinking or "") + len(block.input)
        return _answer_of(answer.usage, answer.model or "", output_bytes, whole=True)

    def reader(self) -> MessagesReader:
        """Return a reader for one stream."""
        return MessagesReader()

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as Anthropic does: `{"type": "error", "error": {type, message}}`, with our `code`."""
        error = {"type": error_type(refusal.status), "message": refusal.message, "code": refusal.code} | refusal.details
        return _encode({"type": "error", "error": error, "request_id": call_name})

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as the `error` event that ends a stream."""
        return event_bytes(self.error_body(refusal, call_name), "error")

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage as a message reports it."""
        report: dict[str, Any] = {
            "input_tokens": usage.input_tokens,
            "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
                "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
            },
            "output_tokens": usage.output_total,
            "service_tier": "standard",
        }
        if usage.reasoning_tokens:
            report["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
        if searches := usage.other.get("web_searches"):
            report["server_tool_use"] = {"web_search_requests": searches}
        return report


_WANTS_USAGE: Final = True  # the protocol reports it always

_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """Return the type an error has by its status, ours or a provider's."""
    return _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _at_provider(request: _Request) -> tuple[bool, bool]:
    """Tell whether the provider may search the web, and whether it may add to the prompt what it finds by itself.

    A client's tool may have any name: the provider's own are told by their type. Raises `BadRequest`, and `Unmetered`
    for what is billed at rates not known here.
    """
    if request.inference_geo not in (None, "global"):
        raise unmetered("inference in one region alone", "inference_geo")
    if len(request.fallbacks) > 4:  # more than null or []
        raise unmetered("an answer of another model", "fallbacks")
    searches, reads_more = False, len(request.mcp_servers) > 4
    if request.tools is ABSENT:
        return searches, reads_more
    try:
        tools = _tools.decode(request.tools) or ()
    except UNREADABLE:
        raise BadRequest("expected a list of tools in `tools`", param="tools") from None
    for tool in tools:
        if tool.type is None or tool.type == "custom":
            continue
        if not tool.type.startswith(_METERED_TOOLS):
            raise unmetered("a tool of this type at the provider's", "tools")
        searches = searches or tool.type.startswith("web_search_")
        reads_more = reads_more or tool.type.startswith(_READ_MORE)
    return searches, reads_more


def _measure(parts: list[_Part]) -> tuple[int, int, Media]:
    """Measure the text, the tool results and the media of a list of parts, in bytes."""
    text = results = images = others = media_bytes = 0
    for part in parts:
        text += utf8_len(part.text) + utf8_len(part.thinking) + len(part.input)
        if bytes(part.source).startswith(b"{"):  # a search result's is a text
            images += part.type == "image"
            others += part.type != "image"
            media_bytes += len(part.source)
        if len(part.content):
            inner = _media_in_result(bytes(part.content))
            results += len(part.content) - inner.body_bytes
            images, others, media_bytes = images + inner.images, others + inner.others, media_bytes + inner.body_bytes
    return text, results, Media(images, others, media_bytes)


def _media_in_result(content: bytes) -> Media:
    """Measure the media within a tool's result; one of another shape is text as far as bytes bound it."""
    if not content.startswith(b"["):
        return NO_MEDIA
    try:
        return _measure(_result_parts.decode(content))[2]
    except UNREADABLE:
        return NO_MEDIA


def _segments(request: _Request) -> tuple[Segments, Media]:
    """Measure each part of the prompt. The last run of user messages is `user`, what precedes it `history`."""
    system = history = retrieved = user = 0
    images = others = media_bytes = 0
    if isinstance(request.system, str):
        system = utf8_len(request.system)
    elif request.system:
        system = sum(utf8_len(part.text) for part in request.system)
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            size = utf8_len(content)
        else:
            size, results, media = _measure(content)
            retrieved += results
            images, others = images + media.images, others + media.others
            media_bytes += media.body_bytes
        if message.role == "user":
            user += size
        else:
            history += size + user
            user = 0
    media = Media(images, others, media_bytes) if media_bytes else NO_MEDIA
    return Segments(system, len(request.tools), history, retrieved, user), media


ANTHROPIC_MESSAGES: Final = AnthropicMessages()
