"""Read the events of a streamed response into neutral events, and write them from such."""

from typing import Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.fields import Fields
from bursar.wires.neutral import (
    Answer,
    Counted,
    Ended,
    Event,
    Failed,
    JsonObject,
    PartEnded,
    PartStarted,
    Piece,
    Reasoning,
    Refused,
    Signed,
    Started,
    Stop,
    Stopped,
    Telling,
    Text,
    ToolCall,
)
from bursar.wires.openai_responses import usage_from_report
from bursar.wires.part_order import PartOrder
from bursar.wires.responses_form import (
    LEFT_BEHIND,
    finished,
    response,
    stop_of,
    write_call,
    write_thought,
    write_words,
)
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.wire import believed

_encode: Final = msgspec.json.Encoder().encode
_Kind = Literal["text", "reasoning", "refused"]
_PIECES: Final[dict[str, _Kind]] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refused",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
}
_PARTS: Final[dict[str, _Kind]] = {"output_text": "text", "refusal": "refused"}


class ResponsesEvents:
    """Read one stream."""

    def __init__(self) -> None:
        self._parts = PartOrder()
        self._called = False
        self._told: dict[int, str] = {}  # by item of reasoning, what tells of it: its summary or its text
        self._summaries: dict[int, int] = {}

    def read(self, event: bytes) -> list[Event]:
        """Read one event. Raises `BadRequest` for one that cannot be read."""
        data = event_data(event)
        if not data or data == b"[DONE]":
            return []
        fields = Fields(msgspec.json.decode(data), "", LEFT_BEHIND)
        kind = fields.text("type")
        if kind in _PIECES:
            return self._add(fields, kind)
        match kind:
            case "response.created":
                given = fields.object("response")
                return [Started(given.text("id", ""), given.text("model", ""))] if given else []
            case "response.output_item.added":
                return self._begin_item(fields)
            case "response.content_part.added":
                return self._begin_part(fields)
            case "response.function_call_arguments.delta":
                key = (_index(fields), -1)
                if not self._parts.has(key):
                    raise BadRequest("expected the index of a call that has begun in `output_index`")
                return self._parts.add(key, Piece(fields.text("delta")))
            case "response.output_item.done":
                return self._end_item(fields)
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._end(fields, failed=kind == "response.failed")
            case "error":
                within = fields.object("error") or fields  # some say it flat, some within
                return [Failed(within.text("message", "the provider failed"), within.text("code", ""))]
            case _:  # the whole of what came in pieces, or of a later version
                return []

    def end(self) -> list[Event]:
        """Return nothing: a response is whole with its last event alone."""
        return []

    def _begin_item(self, fields: Fields) -> list[Event]:
        item, index = fields.object("item"), _index(fields)
        kind = item.text("type") if item else "message"
        if item is None or kind == "message":
            return []
        if kind == "reasoning":
            return self._parts.start((index, -1), PartStarted("reasoning"))
        if kind != "function_call":
            raise BadRequest("expected a known type in `item.type`", param="item.type")
        self._called = True
        return self._parts.start((index, -1), PartStarted("tool", item.text("call_id"), item.text("name")))

    def _begin_part(self, fields: Fields) -> list[Event]:
        part = fields.object("part")
        kind = _PARTS.get(part.text("type")) if part else None
        key = (_index(fields), fields.whole("content_index") or 0)
        return self._parts.start(key, PartStarted(kind)) if kind else []

    def _add(self, fields: Fields, kind: str) -> list[Event]:
        index, piece = _index(fields), fields.text("delta")
        reasons = _PIECES[kind] == "reasoning"
        key = (index, -1 if reasons else fields.whole("content_index") or 0)
        events = [] if self._parts.has(key) else self._parts.start(key, PartStarted(_PIECES[kind]))
        if reasons:
            if self._told.setdefault(index, kind) != kind:
                return events
            number = fields.whole("summary_index") or 0
            if self._summaries.setdefault(index, number) != number:
                self._summaries[index] = number
                events += self._parts.add(key, Piece("\n\n"))
        return events + (self._parts.add(key, Piece(piece)) if piece else [])

    def _end_item(self, fields: Fields) -> list[Event]:
        item, index = fields.object("item"), _index(fields)
        if item is None:
            raise fields.wrong("item", "an object")
        key = (index, -1)
        if item.text("type") == "message":
            ended = [
                self._parts.end((index, number))
                for number in range(len(item.list("content")))
                if self._parts.has((index, number))
            ]
            return [event for events in ended for event in events]
        if not self._parts.has(key):
            raise BadRequest("expected the index of an item that has begun in `output_index`", param="output_index")
        signature = item.text("encrypted_content", "")
        signed = self._parts.add(key, Signed(signature)) if signature else []
        return signed + self._parts.end(key)

    def _end(self, fields: Fields, *, failed: bool) -> list[Event]:
        given = fields.object("response")
        if given is None:
            raise fields.wrong("response", "an object")
        usage = believed(given.plain("usage"), usage_from_report)
        counted: list[Event] = [Counted(usage)] if usage else []
        if failed:
            error = given.object("error")
            message = error.text("message", "") if error else ""
            return [*counted, Failed(message or "the provider failed", error.text("code", "") if error else "")]
        return [*self._parts.end_all(), *counted, Stopped(stop_of(given, called=self._called)), Ended()]


def _index(fields: Fields) -> int:
    index = fields.whole("output_index")
    if index is None:
        raise fields.wrong("output_index", "an integer")
    return index


class ResponsesChunks:
    """Write one stream."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._answer = Answer(answer_id=telling.call_name, model=telling.model)
        self._usage: Usage | None = telling.usage
        self._stop = Stop.end
        self._begun = False
        self._sequence = -1
        self._part = PartStarted("text")
        self._said: list[str] = []
        self._signature = ""
        self._item_id = ""
        self._output: list[JsonObject] = []

    def write(self, event: Event) -> bytes:
        """Write one event."""
        match event:
            case Started():
                return self._begin(event)
            case PartStarted():
                begin = b"" if self._begun else self._begin(Started("", ""))
                return begin + self._begin_part(event)
            case Piece():
                self._said.append(event.text)
                return self._delta(event.text)
            case Signed():
                self._signature = event.signature
                return b""
            case PartEnded():
                return self._end_part()
            case Stopped():
                self._stop = event.stop
                return b""
            case Counted():
                self._usage = event.usage
                return b""
            case Failed():
                error = {"code": event.kind or "server_error", "message": event.message, "param": None}
                # Clients raise what stands within; the rest is what OpenAI describes.
                return self._event("error", error | {"error": error | {"type": "server_error"}})
            case Ended():
                return self._end()

    def _event(self, name: str, fields: JsonObject) -> bytes:
        self._sequence += 1
        return event_bytes(_encode({"type": name, "sequence_number": self._sequence} | fields), name)

    def _begin(self, event: Started) -> bytes:
        self._begun = True
        response_id = event.answer_id or self._answer.answer_id
        self._answer = Answer(answer_id=response_id, model=self._answer.model or event.model)
        begun = {"response": response(self._answer, self._telling, [], "in_progress")}
        return self._event("response.created", begun) + self._event("response.in_progress", begun)

    def _item(self) -> JsonObject:
        """Return the open item as far as it was said."""
        said, part = "".join(self._said), self._part
        match part.kind:
            case "tool":
                item = write_call(ToolCall(part.call_id, part.name, said))
            case "reasoning":
                item = write_thought(Reasoning(said, self._signature))
            case _:
                item = {"type": "message", "role": "assistant", "content": [self._words()]}
        return finished(item, self._answer.answer_id, len(self._output))

    def _words(self) -> JsonObject:
        said = "".join(self._said)
        return write_words(Refused(said) if self._part.kind == "refused" else Text(said))

    def _at(self, *names: str) -> JsonObject:
        """Return where in the response the open part stands."""
        return {"item_id": self._item_id, "output_index": len(self._output)} | dict.fromkeys(names, 0)

    def _begin_part(self, event: PartStarted) -> bytes:
        self._part, self._said, self._signature = event, [], ""
        item = self._item() | {"status": "in_progress"}
        self._item_id = item["id"]
        if event.kind in ("text", "refused"):
            item["content"] = []
        added = self._event("response.output_item.added", {"output_index": len(self._output), "item": item})
        match event.kind:
            case "tool":
                return added
            case "reasoning":
                part = {"part": {"type": "summary_text", "text": ""}}
                return added + self._event("response.reasoning_summary_part.added", self._at("summary_index") | part)
            case _:
                part = {"part": self._words()}
                return added + self._event("response.content_part.added", self._at("content_index") | part)

    def _delta(self, text: str) -> bytes:
        delta = {"delta": text}
        match self._part.kind:
            case "tool":
                return self._event("response.function_call_arguments.delta", self._at() | delta)
            case "reasoning":
                return self._event("response.reasoning_summary_text.delta", self._at("summary_index") | delta)
            case "refused":
                return self._event("response.refusal.delta", self._at("content_index") | delta)
            case "text":
                return self._event("response.output_text.delta", self._at("content_index") | delta | {"logprobs": []})

    def _end_part(self) -> bytes:
        said = "".join(self._said)
        match self._part.kind:
            case "tool":
                done = {"name": self._part.name, "arguments": said}
                ended = self._event("response.function_call_arguments.done", self._at() | done)
            case "reasoning":
                at = self._at("summary_index")
                ended = self._event("response.reasoning_summary_text.done", at | {"text": said})
                part = {"part": {"type": "summary_text", "text": said}}
                ended += self._event("response.reasoning_summary_part.done", at | part)
            case "refused":
                at = self._at("content_index")
                ended = self._event("response.refusal.done", at | {"refusal": said})
                ended += self._event("response.content_part.done", at | {"part": self._words()})
            case "text":
                at = self._at("content_index")
                ended = self._event("response.output_text.done", at | {"text": said, "logprobs": []})
                ended += self._event("response.content_part.done", at | {"part": self._words()})
        item = self._item()
        ended += self._event("response.output_item.done", {"output_index": len(self._output), "item": item})
        self._output.append(item)
        return ended

    def _end(self) -> bytes:
        begin = b"" if self._begun else self._begin(Started("", ""))
        answer = msgspec.structs.replace(self._answer, stop=self._stop, usage=self._usage)
        ended = response(answer, self._telling, self._output)
        return begin + self._event(f"response.{ended['status']}", {"response": ended})
