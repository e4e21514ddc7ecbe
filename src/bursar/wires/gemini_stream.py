"""Read the chunks of a stream of Gemini's into neutral events, and write them from such."""

from typing import Any, Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.fields import Fields
from bursar.wires.gemini_answers import STOP_WORDS, metadata, response, stop_of
from bursar.wires.gemini_form import LEFT_BEHIND, Calls, GeminiFields, read_part, write_part
from bursar.wires.gemini_usage import usage_from_report
from bursar.wires.neutral import (
    Answer,
    Counted,
    Ended,
    Event,
    Failed,
    JsonObject,
    Part,
    PartEnded,
    PartStarted,
    Piece,
    Reasoning,
    Signed,
    Started,
    Stop,
    Stopped,
    Telling,
    Text,
    ToolCall,
    readable_arguments,
)
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.wire import UsageReport, believed, is_report, merge_reports

_encode: Final = msgspec.json.Encoder().encode


class GeminiEvents:
    """Read one stream. It has no end mark: it is whole when it closes after a reason to finish."""

    def __init__(self) -> None:
        self._report: UsageReport | None = None
        self._calls: Calls | None = None
        self._called = self._stopped = False
        self._speaking = ""  # the kind of the part that is open

    def read(self, event: bytes) -> list[Event]:
        """Read one event. Raises `BadRequest` for one that cannot be read."""
        data = event_data(event)
        if not data:
            return []
        chunk = GeminiFields(msgspec.json.decode(data), "", LEFT_BEHIND)
        if error := chunk.object("error"):
            return [Failed(error.text("message", "the provider failed"), error.text("status", ""))]
        events = self._count(chunk.any("usageMetadata"))
        answer_id = chunk.text("responseId", "")
        if self._calls is None:
            self._calls = Calls(answer_id)
            events.append(Started(answer_id, chunk.text("modelVersion", "")))
        for candidate in chunk.objects("candidates"):
            if candidate.whole("index"):
                raise BadRequest("expected one candidate in `candidates`", param="candidates")
            events += self._read_candidate(candidate, self._calls)
        feedback = chunk.object("promptFeedback")
        if feedback and feedback.text("blockReason", "") and not self._stopped:
            events += self._stop(Stop.filtered)
        return events

    def end(self) -> list[Event]:
        """Return what is left when the provider has closed: an end, if it had finished."""
        return [Ended()] if self._stopped else []

    def _read_candidate(self, candidate: Fields, calls: Calls) -> list[Event]:
        events: list[Event] = []
        content = candidate.object("content")
        for fields in content.objects("parts") if content else ():
            events += self._add(read_part(fields, calls))
        word = candidate.text("finishReason", "")
        return events + (self._stop(stop_of(word, called=self._called)) if word else [])

    def _add(self, part: Part) -> list[Event]:
        if isinstance(part, Text):
            return self._speak("text", part.text)
        if isinstance(part, Reasoning):
            signed: list[Event] = [Signed(part.signature)] if part.signature else []
            return self._speak("reasoning", part.text) + (signed if self._speaking == "reasoning" else [])
        if not isinstance(part, ToolCall):
            raise BadRequest("expected text, a thought or a functionCall in `parts`", param="parts")
        self._called = True
        return [*self._hush(), PartStarted("tool", part.call_id, part.name), Piece(part.arguments), PartEnded()]

    def _speak(self, kind: Literal["text", "reasoning"], piece: str) -> list[Event]:
        if not piece:
            return []
        events: list[Event] = []
        if self._speaking != kind:
            events += [*self._hush(), PartStarted(kind)]
            self._speaking = kind
        return [*events, Piece(piece)]

    def _hush(self) -> list[Event]:
        spoke, self._speaking = self._speaking, ""
        return [PartEnded()] if spoke else []

    def _stop(self, stop: Stop) -> list[Event]:
        self._stopped = True
        return [*self._hush(), Stopped(stop)]

    def _count(self, report: Any) -> list[Event]:
        if not is_report(report):
            return []
        self._report = merge_reports(self._report, report)
        usage = believed(self._report, usage_from_report)
        return [Counted(usage)] if usage else []


class GeminiChunks:
    """Write one stream. A tool call is written when it is whole, for there are no halves of one."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._answer = Answer(answer_id=telling.call_name, model=telling.model)
        self._usage: Usage | None = telling.usage
        self._part = PartStarted("text")
        self._arguments: list[str] = []
        self._stop = Stop.end
        self._half = False

    def write(self, event: Event) -> bytes:
        """Write one event. Raises `BadRequest` for a tool call that cannot be written."""
        match event:
            case Started():
                answer_id, model = event.answer_id or self._answer.answer_id, self._answer.model or event.model
                self._answer = Answer(answer_id=answer_id, model=model)
                return b""
            case PartStarted():
                self._part, self._arguments = event, []
                return b""
            case Piece():
                return self._say(event.text)
            case Signed():
                return self._chunk({"text": "", "thought": True, "thoughtSignature": event.signature})
            case PartEnded():
                return self._call() if self._part.kind == "tool" else b""
            case Stopped():
                if self._half and event.stop is not Stop.length:
                    raise BadRequest("expected a JSON object in a tool call's arguments")
                self._stop = event.stop
                return b""
            case Counted():
                self._usage = event.usage
                return b""
            case Failed():
                error = {"code": 500, "message": event.message, "status": "INTERNAL"}
                return event_bytes(_encode({"error": error}))
            case Ended():
                return self._end()

    def _say(self, text: str) -> bytes:
        if self._part.kind == "tool":
            self._arguments.append(text)
            return b""
        return self._chunk(write_part(Reasoning(text) if self._part.kind == "reasoning" else Text(text)))

    def _call(self) -> bytes:
        call = ToolCall(self._part.call_id, self._part.name, "".join(self._arguments))
        if readable_arguments(call.arguments) is None:
            self._half = True  # in order where the output cap cut it off
            return b""
        return self._chunk(write_part(call))

    def _chunk(self, part: JsonObject) -> bytes:
        candidate: JsonObject = {"content": {"role": "model", "parts": [part]}, "index": 0}
        return event_bytes(_encode(response(self._answer, self._telling, candidate)))

    def _end(self) -> bytes:
        content = {"role": "model", "parts": [{"text": ""}]}
        candidate: JsonObject = {"content": content, "finishReason": STOP_WORDS[self._stop], "index": 0}
        return event_bytes(_encode(response(self._answer, self._telling, candidate) | metadata(self._usage)))
