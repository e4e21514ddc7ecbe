"""Speak OpenAI chat completions, as OpenAI and every compatible provider do."""

from typing import Any, ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.money import NANO_PER_USD
from bursar.core.records import Protocol, Segments
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.sse import event_data
from bursar.wires.wire import (
    NO_MEDIA,
    TOOLS_OVERHEAD_TOKENS,
    Answer,
    BadAnswer,
    Facts,
    Media,
    Seen,
    UsageReport,
    bad_request,
    count_of,
    edit_body,
    merge_reports,
    nested,
    unknown_counts,
    utf8_len,
)

CHOICES_MAX: Final = 128
_ABSENT: Final = msgspec.Raw(b"")


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: msgspec.Raw = _ABSENT
    input_audio: msgspec.Raw = _ABSENT
    file: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = _ABSENT


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    service_tier: str | None = None
    tools: msgspec.Raw = _ABSENT
    functions: msgspec.Raw = _ABSENT
    prediction: msgspec.Raw = _ABSENT
    web_search_options: msgspec.Raw = _ABSENT


class _Answer(msgspec.Struct):
    model: str | None = None
    usage: UsageReport | None = None
    service_tier: str | None = None
    choices: msgspec.Raw = _ABSENT


class _Text(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct):
    message: _Text | None = None
    delta: _Text | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: UsageReport | None = None
    model: str | None = None
    service_tier: str | None = None


_request = msgspec.json.Decoder(_Request)
_answer = msgspec.json.Decoder(_Answer)
_choices = msgspec.json.Decoder(list[_Choice])
_chunk = msgspec.json.Decoder(_Chunk)
_encode = msgspec.json.Encoder().encode

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
        # DeepSeek repeats the cache split of `prompt_tokens` under names of its own, xAI the reasoning.
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "reasoning_tokens",
        "cached_tokens",
        "num_sources_used",
        "num_search_queries",
    )
)


def usage_from_report(report: UsageReport) -> Usage:
    """Turn a chat completion's usage object into disjoint leaves.

    `prompt_tokens` includes cached, audio and image tokens; `completion_tokens` includes reasoning, except where a
    provider adds reasoning beside it (xAI), which its `total_tokens` tells.
    Raises `UsageContradiction` for a field of the wrong kind or a leaf that would be negative.
    """
    prompt, completion = count_of(report, "prompt_tokens"), count_of(report, "completion_tokens")
    into, out = nested(report, "prompt_tokens_details"), nested(report, "completion_tokens_details")
    cached = count_of(into, "cached_tokens") or count_of(report, "cached_tokens")
    cached = cached or count_of(report, "prompt_cache_hit_tokens")
    written = count_of(into, "cache_write_tokens")
    reasoning = count_of(out, "reasoning_tokens") or count_of(report, "reasoning_tokens")
    other = {
        "input_audio_tokens": count_of(into, "audio_tokens"),
        "output_audio_tokens": count_of(out, "audio_tokens"),
        "output_image_tokens": count_of(out, "image_tokens"),
        "web_searches": count_of(report, "num_search_queries"),
    }
    other = {name: count for name, count in other.items() if count}
    apart = count_of(report, "total_tokens") == prompt + completion + reasoning
    if not apart or not reasoning:
        completion -= reasoning
    return Usage(
        input_tokens=prompt - cached - written - other.get("input_audio_tokens", 0),
        cache_read_tokens=cached,
        cache_write_5m_tokens=written,
        output_tokens=completion - other.get("output_audio_tokens", 0) - other.get("output_image_tokens", 0),
        reasoning_tokens=reasoning,
        other=other,
        unknown=unknown_counts(report, _KNOWN),
    ).check()


def _reported_cost_nano(report: UsageReport) -> int:
    """Read what the provider says it charged (OpenRouter's `cost`, USD); -1 when it does not say."""
    cost = report.get("cost")
    return round(cost * NANO_PER_USD) if isinstance(cost, int | float) and cost >= 0 else -1


def _text_len(text: _Text | None) -> int:
    if text is None:
        return 0
    total = len(text.tool_calls)
    for part in (text.content, text.refusal, text.reasoning_content or text.reasoning):
        if part:
            total += utf8_len(part)
    return total


class ChatReader:
    """Read the chunks of one stream."""

    def __init__(self) -> None:
        self._report: UsageReport | None = None
        self._model = ""
        self._service_tier = ""
        self._output_bytes = 0
        self._finished = False
        self._failed = False

    def see(self, event: bytes) -> Seen:
        """Take in one event: a chunk, `[DONE]`, or something this protocol does not know, which passes."""
        data = event_data(event)
        if not data:
            return Seen.content
        if data == b"[DONE]":
            self._finished = not self._failed
            return Seen.last
        try:
            chunk = _chunk.decode(data)
        except msgspec.MsgspecError:
            self._output_bytes += len(data)
            self._failed = True
            return Seen.content
        self._model = chunk.model or self._model
        self._service_tier = chunk.service_tier or self._service_tier
        for choice in chunk.choices:
            self._output_bytes += _text_len(choice.delta)
            if choice.finish_reason:
                self._finished = not self._failed
        if chunk.usage:
            self._report = merge_reports(self._report, chunk.usage)
            if not chunk.choices:
                return Seen.usage_only
        return Seen.content

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        return _answer_of(self._report, self._model, self._service_tier, self._output_bytes, whole=self._finished)


def _answer_of(report: UsageReport | None, model: str, tier: str, output_bytes: int, *, whole: bool) -> Answer:
    if report is None:
        return Answer(None, model, tier, output_bytes, whole=whole)
    try:
        usage = usage_from_report(report)
    except UsageContradiction as error:
        return Answer(None, model, tier, output_bytes, whole=whole, note=str(error))
    return Answer(usage, model, tier, output_bytes, _reported_cost_nano(report), whole)


class OpenAIChat:
    """Be the chat completions protocol."""

    protocol: ClassVar = Protocol.openai_chat

    def facts(self, body: bytes) -> Facts:
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        try:
            request = _request.decode(body)
        except msgspec.MsgspecError as error:
            raise bad_request(error) from None
        choices = request.n or 1
        caps = [cap for cap in (request.max_completion_tokens, request.max_tokens) if cap is not None]
        if not 1 <= choices <= CHOICES_MAX:
            raise BadRequest(f"expected an integer from 1 to {CHOICES_MAX} in `n`, got {choices}", param="n")
        if caps and min(caps) < 1:
            raise BadRequest("expected an integer of at least 1 in `max_completion_tokens`", param="max_completion_tokens")
        segments, media = _segments(request)
        has_tools = len(request.tools) > 0 or len(request.functions) > 0
        return Facts(
            model=request.model,
            stream=bool(request.stream),
            wants_usage=bool(request.stream_options and request.stream_options.include_usage),
            output_cap=max(caps) if caps else None,
            choices=choices,
            segments=segments,
            text_bytes=len(body) - media.body_bytes + (TOOLS_OVERHEAD_TOKENS if has_tools else 0),
            media=media,
            predicted_bytes=len(request.prediction),
            cache_write_5m=True,  # caches are written on the provider's own accord, where that is billed at all
            service_tier=request.service_tier or "",
            searches_web=len(request.web_search_options) > 0,
            has_tools=has_tools,
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:
        """Return the body to send: the client's, with model, output cap and usage wish as decided."""
        changes: dict[str, Any] = {}
        if model != facts.model:
            changes["model"] = model
        if facts.output_cap is None:
            changes[cap_field] = cap
        if facts.stream and not facts.wants_usage:
            changes["stream_options"] = {"include_usage": True}
        return edit_body(body, changes)

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            answer = _answer.decode(body)
            read = _answer_of(answer.usage, answer.model or "", answer.service_tier or "", 0, whole=True)
            if read.usage is not None or not len(answer.choices):
                return read
            output_bytes = sum(_text_len(choice.message) for choice in _choices.decode(answer.choices))
        except msgspec.MsgspecError as error:
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
                others += len(part.input_audio) > 0 or len(part.file) > 0
                media_bytes += len(part.image_url) + len(part.input_audio) + len(part.file)
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
    media = Media(images, others, media_bytes) if media_bytes else NO_MEDIA
    return Segments(system, tools, history, retrieved, user), media


OPENAI_CHAT: Final = OpenAIChat()
