"""Let a model read again what was left out of a tool's result, by a tool of ours that its client never sees.

Only protocols whose conversations can be gone on with by their own messages take part: `PROTOCOLS`.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from bursar.core.records import Protocol
from bursar.wires.parts import JsonObject, is_object, listed
from bursar.wires.wire import UNREADABLE, edit_body, read_fields

TOOL: Final = "bursar_read"
PROTOCOLS: Final = (Protocol.openai_chat, Protocol.anthropic_messages)

_ABOUT: Final = (
    "Read the whole of an earlier tool result that was shortened. Use it when what is missing may matter; nothing else"
    " happens."
)
_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {"result": {"type": "string", "description": "The name the shortened result ends with."}},
    "required": ["result"],
}
_raws: Final = msgspec.json.Decoder(list[msgspec.Raw])
_object: Final = msgspec.json.Decoder(dict[str, Any])
_encode: Final = msgspec.json.Encoder().encode


class Read(NamedTuple):
    """Be one wish to read: the id of the model's call, and the result it names."""

    call_id: str
    result: str


def note(result: str) -> str:
    """Say at the end of a shortened result how the rest is read."""
    return f'\n[Shortened. {TOOL} with result "{result}" gives the whole.]'


def offer(protocol: Protocol, body: bytes) -> bytes | None:
    """Return a request that offers the tool beside the client's own; None where it cannot be called, or stands for one.

    Raises what reading raises for what is no request.
    """
    fields = read_fields(body)
    tools = _raws.decode(fields["tools"]) if bytes(fields.get("tools", b"null")) != b"null" else []
    if protocol not in PROTOCOLS or not tools or TOOL.encode() in bytes(fields["tools"]) or not _may_choose(fields):
        return None
    tool: JsonObject = {"name": TOOL, "description": _ABOUT, "input_schema": _SCHEMA}
    if protocol is Protocol.openai_chat:
        function = {"name": TOOL, "description": _ABOUT, "parameters": _SCHEMA}
        tool = {"type": "function", "function": function}
    return edit_body(body, {"tools": [*tools, tool]})


def _may_choose(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Tell whether a model may call any tool or none, and answers once."""
    choice = bytes(fields.get("tool_choice", b"null"))
    if choice not in (b"null", b'"auto"', b'"required"'):
        read: object = msgspec.json.decode(choice)
        if not is_object(read) or read.get("type") not in ("auto", "any"):
            return False
    return bytes(fields.get("n", b"null")) in (b"null", b"1")


def reads_in(protocol: Protocol, answer: bytes) -> tuple[Read, ...]:
    """Return what a model wishes to read; nothing where it also calls a tool of the client's, or asks for nothing."""
    calls = [_call_of(protocol, call) for call in _calls_in(protocol, _read(answer))]
    return tuple([read for _, read in calls]) if calls and all(name == TOOL for name, _ in calls) else ()


def go_on(protocol: Protocol, body: bytes, answer: bytes, found: Mapping[str, str], *, last: bool = False) -> bytes:
    """Return the request that goes on from an answer, with what was found for the ids of its calls.

    The `last` one offers the tool no more, so that the model has to answer.
    """
    asked = _raws.decode(read_fields(body)["messages"])
    read = _read(answer)
    if protocol is Protocol.openai_chat:
        said = [_first(read)] + [
            {"role": "tool", "tool_call_id": call_id, "content": text} for call_id, text in found.items()
        ]
    else:
        results = [{"type": "tool_result", "tool_use_id": call_id, "content": text} for call_id, text in found.items()]
        said = [{"role": "assistant", "content": read["content"]}, {"role": "user", "content": results}]
    changes: dict[str, object] = {"messages": [*asked, *said]}
    if last:
        changes["tools"] = [
            tool for tool in _raws.decode(read_fields(body)["tools"]) if TOOL.encode() not in bytes(tool)
        ]
    return edit_body(body, changes)


def says_nothing(protocol: Protocol, answer: bytes) -> bool:
    """Tell whether nothing is left of an answer but thoughts, once what its model wished to read is taken out."""
    if not reads_in(protocol, answer):
        return False
    read = _read(answer)
    if protocol is Protocol.openai_chat:
        return not _first(read).get("content")
    return not any(is_object(each) and each.get("text") for each in listed(read.get("content")))


def without_reads(protocol: Protocol, answer: bytes) -> bytes:
    """Take what a model wished to read out of an answer: its client knows no such tool."""
    read = _read(answer) if TOOL.encode() in answer else {}
    calls = _calls_in(protocol, read)
    left = [call for call in calls if _call_of(protocol, call)[0] != TOOL]
    if len(left) == len(calls):
        return answer
    if protocol is Protocol.openai_chat:
        message = _first(read)
        message.pop("tool_calls", None)
        if left:
            message["tool_calls"] = left
        else:
            read["choices"][0]["finish_reason"] = "stop"
    else:
        blocks = listed(read.get("content"))
        read["content"] = [each for each in blocks if not is_object(each) or each.get("name") != TOOL]
        if not left:
            read["stop_reason"] = "end_turn"
    return _encode(read)


def _read(answer: bytes) -> JsonObject:
    try:
        return _object.decode(answer)
    except UNREADABLE:
        return {}


def _first(answer: JsonObject) -> JsonObject:
    """Return the message of a chat completion's first choice."""
    choices = listed(answer.get("choices"))
    message = choices[0].get("message") if choices and is_object(choices[0]) else None
    return message if is_object(message) else {}


def _calls_in(protocol: Protocol, answer: JsonObject) -> list[JsonObject]:
    if protocol is Protocol.openai_chat:
        return [call for call in listed(_first(answer).get("tool_calls")) if is_object(call)]
    blocks = listed(answer.get("content"))
    return [block for block in blocks if is_object(block) and block.get("type") == "tool_use"]


def _call_of(protocol: Protocol, call: JsonObject) -> tuple[str, Read]:
    """Return the name of the tool that is called, and the call as a wish to read."""
    named, arguments = call, call.get("input")
    if protocol is Protocol.openai_chat:
        function = call.get("function")
        named = function if is_object(function) else {}
        arguments = _read(str(named.get("arguments")).encode(errors="replace"))
    result = arguments.get("result") if is_object(arguments) else None
    return str(named.get("name")), Read(str(call.get("id")), result if isinstance(result, str) else "")
