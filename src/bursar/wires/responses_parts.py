"""Read the parts of an OpenAI response's prompt: its instructions and items."""

from typing import Any, Final

from bursar.wires.chat_parts import read_tool
from bursar.wires.parts import JsonObject, Kind, Part, Path, Reading, is_object, listed, texts_in

_SYSTEM: Final = ("system", "developer")
_RESULTS: Final = ("function_call_output", "custom_tool_call_output")
_MEDIA: Final = ("image_generation_call", "computer_call_output")
_NOT_SENT: Final = ("type", "id", "status", "encrypted_content")


def read_responses(body: JsonObject) -> tuple[Part, ...]:
    """Read all parts: tools, instructions, then the input."""
    reading = Reading()
    for place, tool in enumerate(listed(body.get("tools"))):
        if is_object(tool):
            read_tool(reading, ("tools", place), tool)
    reading.add(Kind.system, ("instructions",), body.get("instructions"), role="system")
    given = body.get("input")
    reading.said(("input",), given)
    answering = False
    for place, item in enumerate(listed(given)):
        if not is_object(item):
            continue
        is_models = item.get("role") == "assistant" or str(item.get("type")).endswith(_MODELS)
        if answering and not is_models:  # an answer may be several items
            reading.answer()
        answering = is_models
        _read_item(reading, ("input", place), item)
    if answering:
        reading.answer()
    return reading.parts()


_MODELS: Final = ("_call", "reasoning")


def _read_item(reading: Reading, path: Path, item: JsonObject) -> None:
    kind, role = item.get("type"), item.get("role")
    named = item.get("call_id")
    call_id = named if isinstance(named, str) else ""
    if kind in (None, "message"):
        _read_message(reading, (*path, "content"), item.get("content"), role)
    elif kind in _RESULTS:
        for where, text in texts_in((*path, "output"), item.get("output")):
            reading.add(Kind.retrieved, where, text, role="tool", call_id=call_id)
    elif kind not in _MEDIA:
        is_result = str(kind).endswith("_output")
        shown = {name: value for name, value in item.items() if name not in _NOT_SENT}
        found = Kind.retrieved if is_result else Kind.history
        reading.keep(found, path, shown, role="tool" if is_result else "assistant", call_id=call_id)


def _read_message(reading: Reading, path: Path, content: Any, role: Any) -> None:
    for place, part in enumerate(listed(content)):
        if is_object(part):
            reading.keep(Kind.history, (*path, place, "refusal"), part.get("refusal"), role="assistant")
    for where, text in texts_in(path, content):
        if role == "assistant":
            reading.add(Kind.history, where, text, role=role)
        elif role in _SYSTEM:
            reading.add(Kind.system, where, text, role="system")
        else:
            reading.said(where, text)
