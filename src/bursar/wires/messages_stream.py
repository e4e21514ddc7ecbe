"""Read the events of a streamed message into neutral events, and write them from such."""

from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES, usage_from_report
from bursar.wires.fields import Fields
from bursar.wires.messages_form import CALL_ID, LEFT_BEHIND, STOP_WORDS, stop_of
from bursar.wires.naming import call_id_in
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
    Stop,
    Stopped,
    Telling,
)
from bursar.wires.part_order import PartOrder
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.wire import UsageReport, believed, is_report, merge_reports

_encode: Final = msgspec.json.Encoder().encode
_PIECES: Final = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class MessagesEvents:
    """Read one stream."""

    def __init__(self) -> None:
        self._parts = PartOrder()
        self._report: UsageReport | None = None
        self._stopped = False

    def read(self, event: bytes) -> list[Event]:
        """Read one event. Raises `BadRequest` for one that cannot be read."""
        data = event_data(event)
        if not data:
            return []
        fields = Fields(msgspec.json.decode(data), "", LEFT_BEHIND)
        match fields.text("type"):
            case "message_start":
                return self._begin(fields)
            case "content_block_start":
                return self._begin_block(fields)
            case "content_block_delta":
                return self._add(fields)
            case "content_block_stop":
                return self._parts.end(self._open(fields))
            case "message_delta":
                return self._stop(fields)
            case "message_stop":
                return [*self._parts.end_all(), Ended()]
            case "error":
                error = fields.object("error")
                message = error.text("message", "") if error else ""
                return [Failed(message or "the provider failed", error.text("type", "") if error else "")]
            case _:  # a ping, or one that came with a later version: clients are told to ignore them
                return []

    def end(self) -> list[Event]:
        """Return what is left when the provider has closed: an end, if it had stopped."""
        return [Ended()] if self._stopped else []

    def _begin(self, fields: Fields) -> list[Event]:
        message = fields.object("message")
        if message is None:
            raise fields.wrong("message", "an object")
        started = Started(message.text("id", ""), message.text("model", ""))
        return [*self._count(message.any("usage")), started]

    def _begin_block(self, fields: Fields) -> list[Event]:
        index, block = fields.whole("index"), fields.object("content_block")
        if block is None or index is None:
            raise BadRequest("expected an index and a content_block that begins", param="content_block")
        kind = block.text("type")
        first = ""
        match kind:
            case "text":
                started, first = PartStarted("text"), block.text("text", "")
            case "thinking":
                started, first = PartStarted("reasoning"), block.text("thinking", "")
            case "redacted_thinking":
                signed = self._parts.start(index, PartStarted("reasoning", redacted=True))
                return signed + self._parts.add(index, Signed(block.text("data")))
            case "tool_use":
                started = PartStarted("tool", block.text("id"), block.text("name"))
                given = block.plain("input")
                first = _encode(given).decode() if given else ""
            case _:
                raise BadRequest("expected a known type in `content_block.type`", param="content_block.type")
        return self._parts.start(index, started) + (self._parts.add(index, Piece(first)) if first else [])

    def _open(self, fields: Fields) -> int:
        index = fields.whole("index")
        if index is None or not self._parts.has(index):
            raise BadRequest("expected the index of a block that has begun in `index`", param="index")
        return index

    def _add(self, fields: Fields) -> list[Event]:
        index, delta = self._open(fields), fields.object("delta")
        if delta is None:
            raise fields.wrong("delta", "an object")
        kind = delta.text("type")
        if kind == "signature_delta":
            return self._parts.add(index, Signed(delta.text("signature")))
        if kind == "citations_delta":
            return []
        if kind not in _PIECES:
            raise BadRequest("expected a known type in `delta.type`", param="delta.type")
        piece = delta.text(_PIECES[kind])
        return self._parts.add(index, Piece(piece)) if piece else []

    def _stop(self, fields: Fields) -> list[Event]:
        delta = fields.object("delta")
        word = delta.text("stop_reason", "") if delta else ""
        counted = self._count(fields.any("usage"))
        if not delta or not word:
            return counted
        self._stopped = True
        stopped = Stopped(stop_of(word), delta.text("stop_sequence", ""))
        return [*self._parts.end_all(), *counted, stopped]

    def _count(self, report: Any) -> list[Event]:
        if not is_report(report):
            return []
        self._report = merge_reports(self._report, report)
        usage = believed(self._report, usage_from_report)
        return [Counted(usage)] if usage else []


_BLOCKS: Final[dict[str, JsonObject]] = {
    "text": {"type": "text", "text": ""},
    "refused": {"type": "text", "text": ""},
    "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
}
_DELTAS: Final = {
    "text": ("text_delta", "text"),
    "refused": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "tool": ("input_json_delta", "partial_json"),
}


class MessagesChunks:
    """Write one stream."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._usage: Usage = telling.usage or Usage()
        self._begun = False
        self._index = -1
        self._part = PartStarted("text")
        self._stop = Stopped(Stop.end)

    def write(self, event: Event) -> bytes:
        """Write one event."""
        match event:
            case Started():
                return self._begin(event)
            case PartStarted():
                return self._begin_part(event)
            case Piece():
                kind, name = _DELTAS[self._part.kind]
                return self._delta({"type": kind, name: event.text})
            case Signed():
                return self._sign(event.signature)
            case PartEnded():
                return _event("content_block_stop", {"index": self._index})
            case Stopped():
                self._stop = event
                return b""
            case Counted():
                self._usage = event.usage
                return b""
            case Failed():
                error = {"type": event.kind or "api_error", "message": event.message}
                return _event("error", {"error": error})
            case Ended():
                return self._end()

    def _begin(self, event: Started) -> bytes:
        self._begun = True
        message: JsonObject = {
            "id": event.answer_id or self._telling.call_name,
            "type": "message",
            "role": "assistant",
            "model": self._telling.model or event.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": ANTHROPIC_MESSAGES.usage_report(self._usage),
        }
        return _event("message_start", {"message": message})

    def _begin_part(self, event: PartStarted) -> bytes:
        begin = b"" if self._begun else self._begin(Started("", ""))
        self._part = event
        self._index += 1
        if event.redacted:
            return begin  # what it holds is part of its beginning
        if event.kind != "tool":
            return begin + self._block(_BLOCKS[event.kind])
        use: JsonObject = {
            "type": "tool_use",
            "id": call_id_in(CALL_ID, event.call_id),
            "name": event.name,
            "input": {},
        }
        return begin + self._block(use)

    def _block(self, block: JsonObject) -> bytes:
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: JsonObject) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _sign(self, signature: str) -> bytes:
        if self._part.redacted:
            return self._block({"type": "redacted_thinking", "data": signature})
        if self._part.kind != "reasoning":
            return b""
        return self._delta({"type": "signature_delta", "signature": signature})

    def _end(self) -> bytes:
        begin = b"" if self._begun else self._begin(Started("", ""))
        delta = {"stop_reason": STOP_WORDS[self._stop.stop], "stop_sequence": self._stop.sequence or None}
        usage = ANTHROPIC_MESSAGES.usage_report(self._usage)
        return begin + _event("message_delta", {"delta": delta, "usage": usage}) + _event("message_stop", {})


def _event(name: str, fields: JsonObject) -> bytes:
    return event_bytes(_encode({"type": name} | fields), name)
