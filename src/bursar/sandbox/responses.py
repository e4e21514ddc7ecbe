"""Word the simulated provider's answers as responses: whole, or event by event."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bursar.sandbox.voice import CREATED, TOOL_ARGUMENTS, Turn
from bursar.wires.openai_responses import OPENAI_RESPONSES
from bursar.wires.sse import event_bytes

_encode = msgspec.json.Encoder().encode
# What a response says back of its request, and what it says where the request does not.
_SAID_BACK: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}


def response_answer(turn: Turn) -> bytes:
    """Word a response."""
    return _encode(_ended(turn))


def response_events(turn: Turn) -> Iterator[tuple[int, bytes]]:
    """Word a response's stream: (tokens made so far, event) for each event."""
    stream = _Stream(turn)
    begun = _frame(turn, "in_progress")
    yield 0, stream.event("response.created", response=begun)
    yield 0, stream.event("response.in_progress", response=begun)
    if turn.usage.reasoning_tokens:
        yield from stream.reasoning()
    yield from stream.call() if turn.tool else stream.message()
    ended = _ended(turn)
    yield turn.usage.output_total, stream.event(f"response.{ended['status']}", response=ended)


class _Stream:
    """Number the events of one stream and the items of its output."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._sequence_number = 0
        self._index = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """Frame the next event."""
        body = {"type": kind, "sequence_number": self._sequence_number} | fields
        self._sequence_number += 1
        return event_bytes(_encode(body), kind)

    def reasoning(self) -> Iterator[tuple[int, bytes]]:
        """Word what the model has thought, of which no more is shown than a summary."""
        made, item = self._turn.usage.reasoning_tokens, _reasoning(self._turn)
        place = {"item_id": item["id"], "output_index": self._index, "summary_index": 0}
        yield made, self._item("added", item | {"summary": []})
        for part in item["summary"]:
            blank = part | {"text": ""}
            yield made, self.event("response.reasoning_summary_part.added", **place, part=blank)
            yield made, self.event("response.reasoning_summary_text.delta", **place, delta=part["text"])
            yield made, self.event("response.reasoning_summary_text.done", **place, text=part["text"])
            yield made, self.event("response.reasoning_summary_part.done", **place, part=part)
        yield made, self._item("done", item)

    def call(self) -> Iterator[tuple[int, bytes]]:
        """Word the call of a tool."""
        made, item = self._turn.usage.output_total, _call(self._turn)
        name = "input" if "input" in item else "arguments"
        kind = f"{item['type']}_{name}"
        place = {"item_id": item["id"], "output_index": self._index}
        yield made, self._item("added", item | {name: "", "status": "in_progress"})
        yield made, self.event(f"response.{kind}.delta", **place, delta=item[name])
        yield made, self.event(f"response.{kind}.done", **place, name=item["name"], **{name: item[name]})
        yield made, self._item("done", item)

    def message(self) -> Iterator[tuple[int, bytes]]:
        """Word a message, token by token."""
        play, made, item = self._turn.play, self._turn.usage.reasoning_tokens, _message(self._turn)
        part = item["content"][0]
        place = {"item_id": item["id"], "output_index": self._index, "content_index": 0}
        yield made, self._item("added", item | {"content": [], "status": "in_progress"})
        yield made, self.event("response.content_part.added", **place, part=part | {"text": ""})
        for index in range(play.text_tokens):
            made += 1
            yield made, self.event("response.output_text.delta", **place, delta=play.word(index), logprobs=[])
        yield made, self.event("response.output_text.done", **place, text=part["text"], logprobs=[])
        yield made, self.event("response.content_part.done", **place, part=part)
        yield made, self._item("done", item)

    def _item(self, stage: str, item: dict[str, Any]) -> bytes:
        event = self.event(f"response.output_item.{stage}", output_index=self._index, item=item)
        self._index += stage == "done"
        return event


def _frame(turn: Turn, status: str) -> dict[str, Any]:
    said = {name: turn.request.get(name, default) for name, default in _SAID_BACK.items()}
    return {
        "id": f"resp_{turn.answer_id}",
        "object": "response",
        "created_at": CREATED,
        "model": turn.model,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "service_tier": "default",
        "usage": None,
    } | said


def _ended(turn: Turn) -> dict[str, Any]:
    """Word a response as it is when nothing more comes."""
    output = [_reasoning(turn)] if turn.usage.reasoning_tokens else []
    output.append(_call(turn) if turn.tool else _message(turn))
    ended = _frame(turn, _status(turn)) | {"output": output}
    if _status(turn) == "incomplete":
        ended["incomplete_details"] = {"reason": "max_output_tokens"}
    if turn.tells_usage:
        ended["usage"] = OPENAI_RESPONSES.usage_report(turn.usage)
    return ended


def _status(turn: Turn) -> str:
    return "incomplete" if turn.play.stopped_by_cap and not turn.tool else "completed"


def _reasoning(turn: Turn) -> dict[str, Any]:
    item: dict[str, Any] = {"id": f"rs_{turn.answer_id}", "type": "reasoning", "summary": []}
    if (turn.request.get("reasoning") or {}).get("summary"):
        item["summary"] = [{"type": "summary_text", "text": f"Thought about it: {turn.play.word(0)}"}]
    if "reasoning.encrypted_content" in (turn.request.get("include") or ()):
        item["encrypted_content"] = f"sealed-{turn.answer_id}"
    return item


def _call(turn: Turn) -> dict[str, Any]:
    tools: list[dict[str, Any]] = turn.request.get("tools") or []
    head = {"call_id": f"call_{turn.answer_id}", "name": turn.tool, "status": "completed"}
    if any(tool.get("type") == "custom" and tool.get("name") == turn.tool for tool in tools):
        return {"id": f"ctc_{turn.answer_id}", "type": "custom_tool_call", "input": TOOL_ARGUMENTS} | head
    return {"id": f"fc_{turn.answer_id}", "type": "function_call", "arguments": TOOL_ARGUMENTS} | head


def _message(turn: Turn) -> dict[str, Any]:
    part = {"type": "output_text", "text": turn.play.text(), "annotations": [], "logprobs": []}
    head = {"id": f"msg_{turn.answer_id}", "type": "message", "role": "assistant"}
    return head | {"status": _status(turn), "content": [part]}
