"""Speak OpenAI responses."""

from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec

from bursar.core.errors import Refusal
from bursar.core.records import TEXT_METERS, Protocol, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.responses_request import read_request
from bursar.wires.sounds import meters_of
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
    Seen,
    UsageReport,
    believable,
    count_of,
    edit_body,
    merge_reports,
    nested,
    read_fields,
    unknown_counts,
    utf8_len,
)


class _Text(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None


class _Action(msgspec.Struct):
    type: str = ""


class _OutputItem(msgspec.Struct):
    type: str = ""
    content: list[_Text] | None = None
    summary: list[_Text] | None = None
    arguments: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT
    action: msgspec.Raw = ABSENT


class _Named(msgspec.Struct):
    id: str | None = None


class _Response(msgspec.Struct):
    id: msgspec.Raw = ABSENT
    store: msgspec.Raw = ABSENT
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    usage: UsageReport | None = None
    tool_usage: UsageReport | None = None
    output: msgspec.Raw = ABSENT


class _Event(msgspec.Struct):
    type: str = ""
    delta: msgspec.Raw = ABSENT
    item: msgspec.Raw = ABSENT
    response: msgspec.Raw = ABSENT


_action = msgspec.json.Decoder(_Action | None)
_response = msgspec.json.Decoder(_Response, float_hook=Decimal)
_output = msgspec.json.Decoder(list[_OutputItem] | None)
_named = msgspec.json.Decoder(list[_Named] | None)
_output_item = msgspec.json.Decoder(_OutputItem)
_event = msgspec.json.Decoder(_Event)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode

_KNOWN: Final = frozenset(
    (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "input_tokens_details.cached_tokens",
        "input_tokens_details.cache_write_tokens",
        "input_tokens_details.cache_write_tokens_details.ttl_30m_tokens",
        "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
        "input_tokens_details.audio_tokens",
        "input_tokens_details.image_tokens",
        "input_tokens_details.text_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_tokens_details.audio_tokens",
        "output_tokens_details.image_tokens",
        "output_tokens_details.text_tokens",
        *STATED_FIELDS,
    )
)
_KNOWN_OF_TOOLS: Final = frozenset(("tool_usage.web_search.num_requests",))


def usage_from_report(report: UsageReport) -> Usage:
    """Turn a response's usage object into disjoint leaves.

    `input_tokens` includes what was read from and written to a cache, `output_tokens` includes reasoning, except where
    a provider adds it beside them, which its `total_tokens` tells. Of the lifetimes of what was written, the longer
    one counts as an hour's.
    Raises `UsageContradiction` for a field that is missing or of the wrong kind and a leaf that would be negative.
    """
    if report.get("input_tokens") is None or report.get("output_tokens") is None:
        raise UsageContradiction("usage does not say input_tokens and output_tokens")
    into, out = nested(report, "input_tokens_details"), nested(report, "output_tokens_details")
    prompt, completion = count_of(report, "input_tokens"), count_of(report, "output_tokens")
    cached, audio_in = count_of(into, "cached_tokens"), count_of(into, "audio_tokens")
    lifetimes = nested(into, "cache_write_tokens_details")
    long = count_of(lifetimes, "ttl_12h_tokens")
    written = max(count_of(into, "cache_write_tokens"), long + count_of(lifetimes, "ttl_30m_tokens"))
    reasoning = count_of(out, "reasoning_tokens")
    beside = count_of(report, "total_tokens") - prompt - completion
    if beside > 0 and beside >= reasoning:
        reasoning = beside
    else:
        completion -= reasoning
    audio_out, images_out = count_of(out, "audio_tokens"), count_of(out, "image_tokens")
    leaves = {"input_audio_tokens": audio_in, "output_audio_tokens": audio_out, "output_image_tokens": images_out}
    usage = Usage(
        prompt - cached - written - audio_in,
        cached,
        written - long,
        long,
        completion - audio_out - images_out,
        reasoning,
        {leaf: count for leaf, count in leaves.items() if count},
        {name: count for name, count in unknown_counts(report, _KNOWN).items() if count},
    )
    return believable(usage)


class ResponsesReader:
    """Read the events of one stream."""

    def __init__(self) -> None:
        self._model = ""
        self._service_tier = ""
        self._status = ""
        self._report: UsageReport | None = None
        self._tool_report: UsageReport | None = None
        self._output_bytes = 0
        self._searches = 0
        self._kept: tuple[str, ...] = ()
        self._note = ""

    def see(self, event: bytes) -> Seen:
        """Take in one event; the last holds the response in its final state, and everything else passes."""
        data = event_data(event)
        if not data or data == b"[DONE]":
            return Seen.content
        try:
            seen = _event.decode(data)
            if len(seen.delta):
                self._output_bytes += _delta_len(seen.delta)
            elif len(seen.response):
                return self._see_response(seen)
            elif seen.type == "response.output_item.done":
                self._searches += _is_search(_output_item.decode(seen.item))
        except UNREADABLE:
            self._output_bytes += len(data)
            self._note = "an event of the stream could not be read"
            return Seen.content
        if seen.type == "error":
            self._note = "the provider ended the stream with an error"
        return Seen.content

    def _see_response(self, seen: _Event) -> Seen:
        last = seen.type in _FINAL_EVENTS
        if last:  # whatever can be read of it, it is the end
            self._status = seen.type.removeprefix("response.")
        try:
            read = _response.decode(seen.response)
            self._model = read.model or self._model
            self._service_tier = read.service_tier or self._service_tier
            if read.usage is not None:
                self._report = merge_reports(self._report, read.usage)
            self._tool_report = read.tool_usage or self._tool_report
            if last:
                self._searches = max(self._searches, _searches_in(read.output))
            if last or not self._kept:
                self._kept = _kept_in(read)
        except UNREADABLE:
            self._note = "an event of the stream could not be read"
        return Seen.last if last else Seen.content

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        read = _Response(
            model=self._model,
            status=self._status,
            service_tier=self._service_tier,
            usage=self._report,
            tool_usage=self._tool_report,
        )
        answer = _answer_of(read, self._output_bytes, self._searches, self._kept)
        return msgspec.structs.replace(answer, note=answer.note or self._note) if self._note else answer


_FINAL_EVENTS: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))
_FINAL: Final = frozenset(("completed", "incomplete"))
_KEPT_MAX: Final = 128
"""Ids of one answer that are remembered: its own, and those of its first items."""


def _delta_len(delta: msgspec.Raw) -> int:
    """Measure what a delta adds to the answer; those of a few events are objects."""
    return utf8_len(_text.decode(delta)) if bytes(delta).startswith(b'"') else len(delta)


def _is_search(item: _OutputItem) -> bool:
    """Tell whether an item is a search of the web; opening a page found costs nothing beyond its tokens."""
    if item.type != "web_search_call":
        return False
    action = _action.decode(item.action) if len(item.action) else None
    return action is None or action.type in ("", "search")


def _searches_in(output: msgspec.Raw) -> int:
    if b"web_search_call" not in bytes(output):
        return 0
    return sum(_is_search(item) for item in _output.decode(output) or ())


def _kept_in(read: _Response) -> tuple[str, ...]:
    """Return the ids of an answer and its items, unless the provider says that it keeps none of it."""
    if bytes(read.store) == b"false" or not len(read.id):
        return ()
    try:
        found = [_text.decode(read.id)]
        if len(read.output):
            found += (item.id for item in _named.decode(read.output) or () if item.id)
    except UNREADABLE:
        return ()
    return tuple(found[:_KEPT_MAX])


def _answer_of(read: _Response, output_bytes: int, searches: int, kept: tuple[str, ...]) -> Answer:
    model, tier = read.model or "", read.service_tier or ""
    failed = "the provider says that its answer failed" if read.status == "failed" else ""
    whole = read.status in _FINAL or (read.status == "failed" and read.usage is not None)
    if read.usage is None:
        return Answer(None, model, tier, output_bytes, whole=whole, note=failed, searches=searches, kept=kept)
    try:
        usage = usage_from_report(read.usage)
        if read.tool_usage is not None:
            searches = _billed_searches(read.tool_usage, searches)
            unknown = unknown_counts({"tool_usage": read.tool_usage}, _KNOWN_OF_TOOLS)
            found = {name: count for name, count in unknown.items() if count}
            usage = usage.plus(Usage(unknown=found)) if found else usage
        if searches:
            usage = believable(usage.plus(Usage(other={"web_searches": searches})))
    except UsageContradiction as error:
        note = str(error)
        return Answer(None, model, tier, output_bytes, whole=whole, note=note, searches=searches, kept=kept)
    return Answer(usage, model, tier, output_bytes, stated_in(read.usage), whole, note=failed, kept=kept)


def _billed_searches(report: UsageReport, seen: int) -> int:
    """Return how many searches are billed: as many as the provider says, else as many as were seen."""
    searched = nested(report, "web_search")
    return count_of(searched, "num_requests") if searched.get("num_requests") is not None else seen


def _output_len(output: msgspec.Raw) -> int:
    total = 0
    for item in _output.decode(output) or ():
        for text in (*(item.content or ()), *(item.summary or ())):
            total += utf8_len(text.text or "") + utf8_len(text.refusal or "")
        total += len(item.arguments) + len(item.input)
    return total


class OpenAIResponses:
    """Be the responses protocol."""

    protocol: ClassVar = Protocol.openai_responses
    route: ClassVar = "/v1/responses"
    meters: ClassVar = TEXT_METERS
    estimates: ClassVar = True
    multipart: ClassVar = False
    caps: ClassVar = True
    comments: ClassVar = True

    def path(self, model: str, *, stream: bool) -> str:  # noqa: ARG002
        """Return where calls go, whatever their model."""
        return "/responses"

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        asked = read_request(body)
        media = asked.media
        text_bytes = len(body) - media.body_bytes
        if asked.segments.tools:
            text_bytes += TOOLS_OVERHEAD_TOKENS
        # Prompt caches are written on the provider's own accord, where that is billed at all.
        traits = Traits(
            writes_cache_5m=True,
            writes_cache_1h=b'"12h"' in body,
            media=media is not NO_MEDIA,
            searches_web=asked.searches_web,
            meters=meters_of(hears=bool(media.sounds_ms), speaks=False),
        )
        return Facts(
            asked.model,
            asked.stream,
            _WANTS_USAGE,
            asked.output_cap,
            1,
            asked.segments,
            text_bytes,
            media,
            traits,
            service_tier=asked.service_tier,
            recalls=asked.recalls,
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with model and output cap as decided."""
        edits: dict[str, Any] = {"model": model} if model != facts.model else {}
        return edit_body(body, edits if cap == facts.output_cap else edits | {"max_output_tokens": cap})

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            read = _response.decode(body)
            read.status = read.status or "completed"
            answer = _answer_of(read, 0, _searches_in(read.output), _kept_in(read))
            if answer.usage is not None or not len(read.output):
                return answer
            return msgspec.structs.replace(answer, output_bytes=_output_len(read.output))
        except UNREADABLE as error:
            raise BadAnswer(f"not a response: {error}") from error

    def reader(self) -> ResponsesReader:
        """Return a reader for one stream."""
        return ResponsesReader()

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as OpenAI does on all its routes."""
        return OPENAI_CHAT.error_body(refusal, call_name)

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as a stream's `error` event; `error` within it is what the official clients raise on."""
        error: Any = read_fields(OPENAI_CHAT.error_body(refusal, call_name))["error"]
        fields = {"code": refusal.code, "message": refusal.message, "param": refusal.param}
        return event_bytes(_encode({"type": "error"} | fields | {"error": error}), "error")

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage as a response reports it."""
        written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
        into: UsageReport = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": written}
        out: UsageReport = {"reasoning_tokens": usage.reasoning_tokens}
        if usage.cache_write_1h_tokens:
            lifetimes = {"ttl_30m_tokens": usage.cache_write_5m_tokens, "ttl_12h_tokens": usage.cache_write_1h_tokens}
            into["cache_write_tokens_details"] = lifetimes
        if audio_in := usage.other.get("input_audio_tokens"):
            into["audio_tokens"] = audio_in
        for name in ("audio_tokens", "image_tokens"):
            if count := usage.other.get(f"output_{name}"):
                out[name] = count
        return {
            "input_tokens": usage.input_total,
            "input_tokens_details": into,
            "output_tokens": usage.output_total,
            "output_tokens_details": out,
            "total_tokens": usage.input_total + usage.output_total,
        }


_WANTS_USAGE: Final = True  # the protocol reports it always

OPENAI_RESPONSES: Final = OpenAIResponses()
