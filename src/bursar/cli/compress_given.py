"""Read what is to be compressed: texts, folders of texts, or a chat request's body."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bursar.core.errors import OperatorError
from bursar.core.records import Protocol
from bursar.wires.parts import Kind, Part
from bursar.wires.prompt import read_parts

STDIN: Final = "-"


class Given(NamedTuple):
    """Hold what is to be compressed: its parts, the name of each, and the body they were read from, if it is one."""

    parts: tuple[Part, ...]
    names: tuple[str, ...]
    body: bytes | None = None
    protocol: Protocol | None = None


def read_given(files: Sequence[str]) -> Given:
    """Read what is named. Raises `OperatorError` for what is not there, no text, or nothing."""
    if not files:
        raise OperatorError("name a file, a folder or a chat request's body; - reads what is piped in")
    read = [(name, content) for file in files for name, content in _contents(file)]
    if not read:
        raise OperatorError(f"{', '.join(files)} holds no text in UTF-8; name a folder or file that does")
    if len(read) == 1 and (protocol := _protocol(read[0][1])) and (parts := read_parts(protocol, read[0][1])):
        names = tuple(".".join(map(str, part.path)) for part in parts)
        return Given(parts, names, read[0][1], protocol)
    texts = [(name, _text(name, content)) for name, content in read]
    return Given(tuple(Part(text, Kind.retrieved) for _, text in texts), tuple(name for name, _ in texts))


def _contents(file: str) -> Iterator[tuple[str, bytes]]:
    if file == STDIN:
        yield STDIN, sys.stdin.buffer.read()
        return
    if file.startswith("-"):
        raise OperatorError(f"there is no option {file}; `bursar compress --help` lists them, ./{file} is a file")
    path = Path(file)
    inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    if not inside:
        raise OperatorError(f"the folder {file} holds no file; name one that does")
    for each in inside:
        try:
            content = each.read_bytes()
        except OSError as error:
            raise OperatorError(f"{each} cannot be read: {error.strerror}") from None
        if path.is_dir() and not _is_text(content):
            print(f"{each} is no text in UTF-8 and is left out", file=sys.stderr)
            continue
        yield str(each), content


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise OperatorError(f"{name} is no text in UTF-8: byte {error.start} is {content[error.start]:#04x}") from None


def _protocol(content: bytes) -> Protocol | None:
    """Return the protocol of a chat request's body; None for what is no such body."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _spoken(body) if isinstance(body, dict) else None


def _spoken(body: dict[str, Any]) -> Protocol | None:
    """Tell a body's protocol by what only that one has."""
    if isinstance(body.get("contents"), list):
        return Protocol.gemini
    if isinstance(turns := body.get("messages"), list):
        contents = [turn.get("content") for turn in turns if isinstance(turn, dict)]
        blocks = [each for content in contents if isinstance(content, list) for each in content]
        types = {each.get("type") for each in blocks if isinstance(each, dict)}
        anthropic = "system" in body or types & {"tool_use", "tool_result", "thinking", "document"}
        return Protocol.anthropic_messages if anthropic else Protocol.openai_chat
    return Protocol.openai_responses if "model" in body and "input" in body else None
