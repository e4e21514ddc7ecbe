"""Read the parts of a Gemini prompt, in either spelling; one object stands for a list of one."""

from collections.abc import Iterator
from typing import Any

from bursar.wires.chat_parts import read_function
from bursar.wires.gemini import camel_case
from bursar.wires.parts import JsonObject, Kind, Part, Path, Reading, is_object, listed


def read_gemini(body: JsonObject) -> tuple[Part, ...]:
    """Read all parts: tools, system, then the contents."""
    reading = Reading()
    for path, tool in _objects((), body, "tools"):
        for where, function in _objects(path, tool, "functionDeclarations"):
            read_function(reading, where, function)
            for name in ("parametersJsonSchema", "response", "responseJsonSchema"):
                key = _key(function, name)
                reading.keep(Kind.tools, (*where, key), function.get(key))
    key = _key(body, "systemInstruction")
    system = body.get(key)
    if is_object(system):
        for path, part in _objects((key,), system, "parts"):
            reading.add(Kind.system, (*path, "text"), part.get("text"), role="system")
    for path, content in _objects((), body, "contents"):
        role = content.get("role")
        for where, part in _objects(path, content, "parts"):
            _read_part(reading, where, part, role)
        if role == "model":
            reading.answer()
    return reading.parts()


def _key(fields: JsonObject, name: str) -> str:
    """Return the spelling a field is given in."""
    if name in fields:
        return name
    return next((key for key in fields if "_" in key and camel_case(key) == name), name)


def _objects(path: Path, fields: JsonObject, name: str) -> Iterator[tuple[Path, JsonObject]]:
    key = _key(fields, name)
    value = fields.get(key)
    if is_object(value):
        yield (*path, key), value
    for place, each in enumerate(listed(value)):
        if is_object(each):
            yield (*path, key, place), each


def _read_part(reading: Reading, path: Path, part: JsonObject, role: Any) -> None:
    text = part.get("text")
    if text is not None:
        signed = part.get(_key(part, "thoughtSignature")) or part.get("thought")
        if role != "model":
            reading.said((*path, "text"), text)
        elif signed:
            reading.keep(Kind.history, (*path, "text"), text, role="assistant")
        else:
            reading.add(Kind.history, (*path, "text"), text, role="assistant")
    key = _key(part, "functionResponse")
    result = part.get(key)
    if is_object(result):
        _read_result(reading, (*path, key), result)
    for name in ("functionCall", "executableCode", "codeExecutionResult", "toolCall", "toolResponse"):
        key = _key(part, name)
        reading.keep(Kind.history, (*path, key), part.get(key), role="assistant")


def _read_result(reading: Reading, path: Path, result: JsonObject) -> None:
    """Read what a function gave back: an object, whose own texts may be changed and all else is kept."""
    named = result.get("id") or result.get("name")
    call_id = named if isinstance(named, str) else ""
    response = result.get("response")
    if not is_object(response):
        return
    for name, value in response.items():
        where = (*path, "response", name)
        if isinstance(value, str):
            reading.add(Kind.retrieved, where, value, role="tool", call_id=call_id)
        else:
            reading.keep(Kind.retrieved, where, value, role="tool", call_id=call_id)
