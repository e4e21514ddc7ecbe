"""Read the chunks of a streamed chat completion into neutral events, and write them from such."""

from typing import Any, Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.chat_form import CALL_ID, LEFT_BEHIND, STOP_WORDS, read_usage, stop_of
from bursar.wires.fields import Fields
from bursar.wires.naming import call_id_in, made_id
from bursar.wires.neutral import (
    Counted,
    Ended,
    Event,
    Failed,
    JsonObject,
    PartEnded,
    PartStarted,
    Piece,
    Signed,
    Started,
    Stopped,
    Telling,
)
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.part_order import PartOrder
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.wire import UsageReport, is_report, merge_reports

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_SPEECH: Final[tuple[tuple[str, Literal["reasoning", "text", "refused"]], ...]] = (
    ("reasoning_content", "reasoning"),
    ("reasoning", "reasoning"),
    ("content", "text"),
    ("refusal", "refused"),
)
_DELTA_NAMES: Final = {"text": "content", "reasoning": "reasoning_content", "refused": "refusal"}


class ChatEvents:
    """Read one stream."""

    def __init__(self) -> None:
        self._parts = PartOrder()
        self._report: UsageReport | None = None
        self._answer_id = ""
        self._begun = self._stopped = False
        self._speaking = ""  # the kind of the part that was last spoken in
        self._spoken = 0
        self._calls = 0

    def read(self, event: bytes) -> list[Event]:
        """Read one event. Raises `BadRequest` for one that cannot be read."""
        data = event_data(event)
        if data == b"[DONE]":
            return [*self._parts.end_all(), Ended()]
        if not data:
            return []
        chunk = Fields(msgspec.json.decode(data), "", LEFT_BEHIND)
        if error := chunk.object("error"):
            return [Failed(error.text("message", "the provider failed"), str(error.any("type") or ""))]
        events: list[Event] = []
        if not self._begun:
            self._begun = True
            self._answer_id = chunk.text("id", "")
            events.append(Started(self._answer_id, chunk.text("model", "")))
        for choice in chunk.objects("choices"):
            if choice.whole("index"):
                raise BadRequest("expected one choice in `choices`", param="choices")
            events += self._read_choice(choice)
        return events + self._read_usage(chunk.any("usage"))

    def end(self) -> list[Event]:
        """Return what is left when the provider has closed: an end, if it had stopped."""
        return [Ended()] if self._stopped else []

    def _read_choice(self, choice: Fields) -> list[Event]:
        events: list[Event] = []
        delta = choice.object("delta")
        if delta is not None:
            thought = delta.has("reasoning_content")
            for name, kind in _SPEECH:
                piece = delta.text(name, "")
                if piece and not (name == "reasoning" and thought):
                    events += self._speak(kind, piece)
            for call in delta.objects("tool_calls"):
                events += self._read_call(call)
        word = choice.text("finish_reason", "")
        if word:
            self._stopped = True
            events += [*self._parts.end_all(), Stopped(stop_of(word, called=self._calls > 0))]
        return events

    def _speak(self, kind: Literal["reasoning", "text", "refused"], piece: str) -> list[Event]:
        key = (self._speaking, self._spoken)
        events: list[Event] = []
        if self._speaking != kind or not self._parts.has(key):
            events += self._hush()
            self._speaking, self._spoken = kind, self._spoken + 1
            key = (kind, self._spoken)
            events += self._parts.start(key, PartStarted(kind))
        return events + self._parts.add(key, Piece(piece))

    def _hush(self) -> list[Event]:
        key = (self._speaking, self._spoken)
        return self._parts.end(key) if self._parts.has(key) else []

    def _read_call(self, call: Fields) -> list[Event]:
        events: list[Event] = []
        call_id, index = call.text("id", ""), call.whole("index")
        if index is None:  # some providers send each call whole, without a number
            index = self._calls if call_id else self._calls - 1
        function = call.object("function")
        if not self._parts.has(index):
            name = function.text("name", "") if function else ""
            if not name:
                raise BadRequest("expected a text in `function.name`", param="function.name")
            events += self._hush()
            started = PartStarted("tool", call_id or made_id(self._answer_id, self._calls), name)
            self._calls += 1
            events += self._parts.start(index, started)
        piece = function.text("arguments", "") if function else ""
        return events + (self._parts.add(index, Piece(piece)) if piece else [])

    def _read_usage(self, report: Any) -> list[Event]:
        if not is_report(report):
            return []
        self._report = merge_reports(self._report, report)
        usage = read_usage(self._report)
        return [Counted(usage)] if usage else []


class ChatChunks:
    """Write one stream."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._answer_id = telling.call_name
        self._model = telling.model
        self._usage: Usage | None = telling.usage
        self._begun = False
        self._kind = ""
        self._calls = 0

    def write(self, event: Event) -> bytes:
        """Write one event."""
        match event:
            case Started():
                return self._begin(event)
            case PartStarted(kind="tool"):
                return self._begin_call(event)
            case PartStarted():
                self._kind = event.kind
                return b""
            case Piece():
                return self._delta(self._piece(event.text))
            case Stopped():
                return self._delta({}, STOP_WORDS[event.stop])
            case Counted():
                self._usage = event.usage
                return b""
            case Failed():
                error = {"message": event.message, "type": event.kind or "server_error", "param": None, "code": None}
                return event_bytes(_encode({"error": error}))
            case Ended():
                return self._end()
            case Signed() | PartEnded():
                return b""

    def _begin(self, event: Started) -> bytes:
        self._begun = True
        self._answer_id = event.answer_id or self._answer_id
        self._model = self._model or event.model
        return self._delta({"role": "assistant", "content": ""})

    def _begin_call(self, event: PartStarted) -> bytes:
        self._kind = event.kind
        function = {"name": event.name, "arguments": ""}
        call_id = call_id_in(CALL_ID, event.call_id)
        call = {"index": self._calls, "id": call_id, "type": "function", "function": function}
        self._calls += 1
        return self._delta({"tool_calls": [call]})

    def _piece(self, text: str) -> JsonObject:
        if self._kind == "tool":
            return {"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]}
        return {_DELTA_NAMES[self._kind]: text}

    def _delta(self, delta: JsonObject, finish: str | None = None) -> bytes:
        begin = b"" if self._begun else self._begin(Started("", ""))
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return begin + self._chunk({"choices": [choice]})

    def _chunk(self, fields: JsonObject) -> bytes:
        head = {"id": self._answer_id, "object": "chat.completion.chunk", "created": self._telling.created_s}
        return event_bytes(_encode(head | {"model": self._model} | fields))

    def _end(self) -> bytes:
        usage = b""
        if self._telling.wants_usage and self._usage is not None:
            usage = self._chunk({"choices": [], "usage": OPENAI_CHAT.usage_report(self._usage)})
        return usage + b"data: [DONE]\n\n"
