"""Find the files that a prompt names, which its provider is to have kept, wherever they stand."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.wires.parts import is_object, listed
from bursar.wires.wire import UNREADABLE, NamedFile, bad_request, read_fields, unmetered

FILES_MAX: Final = 100
"""Files one call may name."""

_CONTENT: Final = re.compile(r"messages\.\d+(\.content\.\d+)+\.source")
"""Where a message may have a file: in its content, or in that of a tool's result."""

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
    return NamedFile(param, file_id, block.get("type") == "document" and not block.get("citations"))
