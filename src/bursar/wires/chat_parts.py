"""Read the parts of an OpenAI chat completion's prompt."""

from typing import Final

from bursar.wires.parts import JsonObject, Kind, Part, Path, Reading, is_object, listed, texts_in

_SYSTEM: Final = ("system", "developer")
_TOOL: Final = ("tool", "function")


def read_chat(body: JsonObject) -> tuple[Part, ...]:
    """Read all parts: tools, then the messages."""
    reading = Reading()
    for place, tool in enumerate(listed(body.get("tools"))):
        if is_object(tool):
            read_tool(reading, ("tools", place), tool)
    for place, function in enumerate(listed(body.get("functions"))):
        if is_object(function):
            read_function(reading, ("functions", place), function)
    for place, message in enumerate(listed(body.get("messages"))):
        if is_object(message):
            _read_message(reading, ("messages", place), message)
    return reading.parts()


def read_tool(reading: Reading, path: Path, tool: JsonObject) -> None:
    """Read a tool that describes itself under its type's name, or at its own top."""
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and is_object(inner):
        read_function(reading, (*path, kind), inner)
    else:
        read_function(reading, path, tool)


def read_function(reading: Reading, path: Path, function: JsonObject) -> None:
    """Read what describes a function: its words may be changed, its name and schema are kept."""
    reading.add(Kind.tools, (*path, "description"), function.get("description"))
    for name in ("name", "parameters", "input_schema", "format"):
        reading.keep(Kind.tools, (*path, name), function.get(name))


def _read_message(reading: Reading, path: Path, message: JsonObject) -> None:
    named = message.get("role")
    role = named if isinstance(named, str) else ""
    call_id = message.get("tool_call_id")
    for where, text in texts_in((*path, "content"), message.get("content")):
        if role == "user":
            reading.said(where, text)
        else:
            kind = Kind.system if role in _SYSTEM else Kind.retrieved if role in _TOOL else Kind.history
            reading.add(kind, where, text, role=role, call_id=call_id if isinstance(call_id, str) else "")
    if role == "assistant":
        _read_calls(reading, path, message)
        reading.answer()


def _read_calls(reading: Reading, path: Path, message: JsonObject) -> None:
    """Read what a model's message has beside text."""
    for name in ("refusal", "reasoning_content", "reasoning", "function_call"):
        reading.keep(Kind.history, (*path, name), message.get(name), role="assistant")
    for place, call in enumerate(listed(message.get("tool_calls"))):
        if is_object(call):
            named = call.get("id")
            call_id = named if isinstance(named, str) else ""
            where = (*path, "tool_calls", place)
            reading.keep(
                Kind.history, where, call.get("function") or call.get("custom"), role="assistant", call_id=call_id
            )
