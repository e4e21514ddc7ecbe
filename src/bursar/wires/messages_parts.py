"""Read the parts of an Anthropic message's prompt."""

from typing import Any, Final

from bursar.wires.chat_parts import read_function
from bursar.wires.parts import JsonObject, Kind, Part, Path, Reading, is_object, listed, texts_in


def read_messages(body: JsonObject) -> tuple[Part, ...]:
    """Read all parts: tools, system, then the messages. Up to the last mark for the prompt cache all is cached."""
    reading = Reading()
    for place, tool in enumerate(listed(body.get("tools"))):
        if is_object(tool):
            read_function(reading, ("tools", place), tool)
            _mark(reading, tool)
    _read_system(reading, body.get("system"))
    for place, message in enumerate(listed(body.get("messages"))):
        if is_object(message):
            _read_message(reading, ("messages", place), message)
    _mark(reading, body)
    return reading.parts()


def _mark(reading: Reading, block: JsonObject) -> None:
    if block.get("cache_control") is not None:
        reading.mark()


def _read_system(reading: Reading, system: Any) -> None:
    reading.add(Kind.system, ("system",), system, role="system")
    for place, block in enumerate(listed(system)):
        if is_object(block):
            reading.add(Kind.system, ("system", place, "text"), block.get("text"), role="system")
            _mark(reading, block)


def _read_message(reading: Reading, path: Path, message: JsonObject) -> None:
    role, content = message.get("role"), message.get("content")
    path = (*path, "content")
    if isinstance(content, str):
        _read_text(reading, path, content, role)
    for place, block in enumerate(listed(content)):
        if is_object(block):
            _read_block(reading, (*path, place), block, role)
            _mark(reading, block)
    if role == "assistant":
        reading.answer()


def _read_text(reading: Reading, path: Path, text: Any, role: Any) -> None:
    if role == "user":
        reading.said(path, text)
    elif role == "assistant":
        reading.add(Kind.history, path, text, role=role)
    else:
        reading.add(Kind.system, path, text, role="system")


def _read_block(reading: Reading, path: Path, block: JsonObject, role: Any) -> None:
    kind = block.get("type")
    if kind == "text" and not block.get("citations"):
        _read_text(reading, (*path, "text"), block.get("text"), role)
    elif kind == "tool_result":
        named = block.get("tool_use_id")
        call_id = named if isinstance(named, str) else ""
        _read_content(reading, (*path, "content"), block.get("content"), call_id)
    elif kind == "document":
        _read_document(reading, path, block)
    elif kind == "search_result":
        _read_cited(reading, (*path, "content"), block.get("content"), block)
    elif kind not in _MEDIA:  # what a model wrote or thought, and what the provider's own tools gave back
        shown = {name: value for name, value in block.items() if name not in _NOT_SENT}
        named = block.get("id")
        call_id = named if isinstance(named, str) else ""
        reading.keep(Kind.history, path, shown, role="assistant", call_id=call_id)


_MEDIA: Final = ("image", "container_upload")
_NOT_SENT: Final = ("type", "cache_control", "signature", "id", "citations")


def _read_content(reading: Reading, path: Path, content: Any, call_id: str) -> None:
    """Read what a tool gave back."""
    reading.add(Kind.retrieved, path, content, role="tool", call_id=call_id)
    for place, block in enumerate(listed(content)):
        if not is_object(block):
            continue
        where = (*path, place)
        if block.get("type") == "text":
            reading.add(Kind.retrieved, (*where, "text"), block.get("text"), role="tool", call_id=call_id)
        elif block.get("type") == "document":
            _read_document(reading, where, block, call_id)
        elif block.get("type") == "search_result":
            _read_cited(reading, (*where, "content"), block.get("content"), block, call_id)
        _mark(reading, block)


def _read_document(reading: Reading, path: Path, block: JsonObject, call_id: str = "") -> None:
    source = block.get("source")
    if not is_object(source):
        return
    if source.get("type") == "text":
        _read_cited(reading, (*path, "source", "data"), source.get("data"), block, call_id)
    elif source.get("type") == "content":
        _read_cited(reading, (*path, "source", "content"), source.get("content"), block, call_id)


def _read_cited(reading: Reading, path: Path, content: Any, block: JsonObject, call_id: str = "") -> None:
    """Read a document's text; one that answers may cite by its characters is kept as it is."""
    citations = block.get("citations")
    cited = is_object(citations) and bool(citations.get("enabled"))
    for where, text in texts_in(path, content):
        if cited:
            reading.keep(Kind.retrieved, where, text, role="tool", call_id=call_id)
        else:
            reading.add(Kind.retrieved, where, text, role="tool", call_id=call_id)
