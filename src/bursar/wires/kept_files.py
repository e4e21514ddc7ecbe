"""Find the files that a prompt names, which its provider is to have kept, wherever they stand."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from bursar.core.errors import BadRequest
from bursar.wires.parts import is_object, listed
from bursar.wires.wire import UNREADABLE, NamedFile, bad_request, hides_letters, read_fields, unmetered

_CONTENTS: Final = ("contents", "systemInstruction", "system_instruction")

FILES_MAX: Final = 100
"""Files one call may name."""

_CONTENT: Final = re.compile(r"messages\.\d+(\.content\.\d+)+\.source")
"""Where a message may have a file: in its content, or in that of a tool's result."""

_GOOGLES: Final = "generativelanguage.googleapis.com"
_URI: Final = re.compile(rf"(?:https://{re.escape(_GOOGLES)}/v1[a-z0-9]*/)?files/([A-Za-z0-9_-]{{1,128}})")
"""How Gemini names a file it keeps. Any other address is another's: a film, or what stands in the web."""

_COUNTED: Final = re.compile(
    r"messages\.\d+\.content\.\d+\.source"
    r"|(?:contents(?:\.\d+)?|systemInstruction|system_instruction)\.parts(?:\.\d+)?\.file_?[dD]ata"
)
"""Where a file is counted as one of what the window bounds (`Media.others`), so that a better bound may take it out."""

_WORDS: Final = (b'"fileData"', b'"file_data"')

_json: Final = msgspec.json.Decoder()


def files_in_messages(body: bytes, *, escaped: bool) -> tuple[NamedFile, ...]:
    """Return the files that an Anthropic request names; `escaped` says that its letters may be hidden.

    Raises `BadRequest` for one that stands where none can be.
    """
    if not escaped and b'"file_id"' not in body:
        return ()
    try:
        fields = read_fields(body)
        read = {name: _json.decode(fields[name]) for name in ("system", "messages") if name in fields}
        found = tuple(_in_value(read, "", {}))
    except UNREADABLE as error:
        raise bad_request(error) from None
    if len(found) > FILES_MAX:
        raise BadRequest(f"expected at most {FILES_MAX} files in one call", param=found[FILES_MAX].param)
    return found


def files_in_contents(body: bytes) -> tuple[NamedFile, ...]:
    """Return the files of Gemini's keeping that a request names. Raises `BadRequest` for one that cannot be told."""
    if not hides_letters(body) and not any(word in body for word in _WORDS):
        return ()
    try:
        read = {name: _json.decode(value) for name, value in read_fields(body).items() if name in _CONTENTS}
        found = tuple(_in_content(read, ""))
    except UNREADABLE as error:
        raise bad_request(error) from None
    if len(found) > FILES_MAX:
        raise BadRequest(f"expected at most {FILES_MAX} files in one call", param=found[FILES_MAX].param)
    return found


def _in_content(value: object, path: str) -> Iterator[NamedFile]:
    """Yield the files named in a part of a request, and below it."""
    for place, each in enumerate(listed(value)):
        yield from _in_content(each, f"{path}.{place}")
    if not is_object(value):
        return
    for name, each in value.items():
        where = f"{path}.{name}" if path else name
        if name in ("fileData", "file_data") and is_object(each):
            yield from _in_file_data(each, where)
        elif name not in ("args", "response"):  # of a function: what is said to it is its own
            yield from _in_content(each, where)


def _in_file_data(data: dict[str, Any], path: str) -> Iterator[NamedFile]:
    """Yield the file that an address names; nothing where that is no file of Gemini's keeping."""
    given = [data[name] for name in ("fileUri", "file_uri") if name in data]
    uri, param = given[0] if len(given) == 1 else None, f"{path}.fileUri"[:200]
    found = _URI.fullmatch(uri) if isinstance(uri, str) else None
    if found is not None:
        yield NamedFile(param, found[1], _COUNTED.fullmatch(path) is not None)
    elif not isinstance(uri, str) or "://" not in uri or _GOOGLES in unquote(uri).lower():
        raise BadRequest(f"expected the `uri` of a file, as its upload has told it, in `{param}`", param=param)


def _in_value(value: object, path: str, block: dict[str, Any]) -> Iterator[NamedFile]:
    """Yield the files named in a value and below it; `block` is the object it stands in."""
    for place, each in enumerate(listed(value)):
        yield from _in_value(each, f"{path}.{place}", block)
    if not is_object(value):
        return
    if value.get("type") == "container_upload":
        raise unmetered("a file in a container", path[:200])
    if value.get("type") == "file" and "file_id" in value:
        yield _named(value["file_id"], path, block)
    for name, each in value.items():
        if name != "input":  # of a tool: what it is called with is its own
            yield from _in_value(each, f"{path}.{name}" if path else name, value)


def _named(file_id: object, path: str, block: dict[str, Any]) -> NamedFile:
    param = f"{path}.file_id"[:200]
    if not isinstance(file_id, str) or not file_id or _CONTENT.fullmatch(path) is None:
        raise BadRequest(f"expected the id of a file, and within a message's content, in `{param}`", param=param)
    # A document that is cited is divided, and each of its pieces marked: its bytes do not bound that.
    plain = block.get("type") == "document" and not block.get("citations")
    return NamedFile(param, file_id, plain and _COUNTED.fullmatch(path) is not None)
