"""Read Gemini's whole answers into the neutral form, and write them from there."""

from typing import Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.fields import Fields
from bursar.wires.gemini_form import LEFT_BEHIND, Calls, GeminiFields, read_part, write_media, write_part
from bursar.wires.gemini_usage import report_of, usage_from_report
from bursar.wires.neutral import (
    Answer,
    CannotBeCarried,
    Document,
    Image,
    JsonObject,
    Part,
    Sound,
    Stop,
    Telling,
    Text,
    ToolCall,
    ToolResult,
    readable_arguments,
)
from bursar.wires.wire import believed

STOPS: Final = {
    "STOP": Stop.end,
    "MAX_TOKENS": Stop.length,
    "SAFETY": Stop.filtered,
    "RECITATION": Stop.filtered,
    "LANGUAGE": Stop.filtered,
    "BLOCKLIST": Stop.filtered,
    "PROHIBITED_CONTENT": Stop.filtered,
    "SPII": Stop.filtered,
}
STOP_WORDS: Final = {
    Stop.end: "STOP",
    Stop.length: "MAX_TOKENS",
    Stop.tools: "STOP",
    Stop.sequence: "STOP",
    Stop.filtered: "SAFETY",
}
_encode: Final = msgspec.json.Encoder().encode


def read_answer(body: bytes) -> Answer:
    """Read a whole answer. Raises `BadRequest` for one that cannot be read."""
    fields = GeminiFields(msgspec.json.decode(body), "", LEFT_BEHIND)
    answer_id = fields.text("responseId", "")
    candidate = candidate_of(fields)
    content = candidate.object("content") if candidate else None
    calls = Calls(answer_id)
    parts = tuple(read_part(part, calls) for part in content.objects("parts")) if content else ()
    if any(isinstance(part, Sound) for part in parts):
        raise CannotBeCarried("parts", "an answer that is spoken has a place in its own protocol alone")
    called = any(isinstance(part, ToolCall) for part in parts)
    return Answer(
        answer_id=answer_id,
        model=fields.text("modelVersion", ""),
        parts=tuple(part for part in parts if part != Text("")),
        stop=stop_of(candidate.text("finishReason", "STOP"), called=called) if candidate else Stop.filtered,
        usage=believed(fields.plain("usageMetadata"), usage_from_report),
    )


def candidate_of(fields: Fields) -> Fields | None:
    """Return the one candidate; none when the prompt was blocked. Raises `BadRequest` for several, or none at all."""
    candidates = fields.objects("candidates")
    if len(candidates) > 1 or (candidates and candidates[0].whole("index")):
        raise BadRequest("expected one candidate in `candidates`", param="candidates")
    if candidates:
        return candidates[0]
    feedback = fields.object("promptFeedback")
    if feedback is None or not feedback.text("blockReason", ""):
        raise BadRequest("expected a candidate in `candidates`", param="candidates")
    return None


def stop_of(word: str, *, called: bool) -> Stop:
    """Read why an answer ended; one that calls tools waits for them."""
    stop = STOPS.get(word)
    if stop is None:
        raise BadRequest("expected an answer that ended, by `finishReason`", param="finishReason")
    return Stop.tools if called and stop is Stop.end else stop


def write_answer(answer: Answer, telling: Telling) -> bytes:
    """Write a whole answer. A tool call that the output cap cut off is left out: half of one cannot be written."""
    cut = answer.stop is Stop.length
    parts = [_write_answered(part) for part in answer.parts if not (cut and is_half(part))]
    candidate = {
        "content": {"role": "model", "parts": parts},
        "finishReason": STOP_WORDS[answer.stop],
        "index": 0,
    }
    return _encode(response(answer, telling, candidate) | metadata(answer.usage or telling.usage))


def _write_answered(part: Part) -> JsonObject:
    if isinstance(part, Image | Document | Sound):
        return write_media(part)
    if isinstance(part, ToolResult):
        raise CannotBeCarried("parts", "an answer holds no result of a tool")
    return write_part(part)


def is_half(part: Part) -> bool:
    """Tell whether a part is a tool call whose arguments cannot be read."""
    return isinstance(part, ToolCall) and readable_arguments(part.arguments) is None


def response(answer: Answer, telling: Telling, candidate: JsonObject) -> JsonObject:
    """Return an answer, or a chunk of one."""
    return {
        "candidates": [candidate],
        "modelVersion": telling.model or answer.model,
        "responseId": answer.answer_id or telling.call_name,
    }


def metadata(usage: Usage | None) -> JsonObject:
    """Return the field that reports usage, where there is some."""
    return {"usageMetadata": report_of(usage)} if usage else {}
