"""Find what a text is made of: JSON and tables, blocks of code, and the prose between them."""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from bursar.savings.compress.columns import Row
from bursar.savings.compress.json_text import NotPlain, Value, read
from bursar.savings.compress.spacing import INVISIBLE, looks_like_code
from bursar.savings.compress.table_text import NoTable, read_table

_FENCE: Final = re.compile(r"^( {0,3}|\t)(`{3,}|~{3,})([^\n`]*)\n(?:(.*?)\n)??\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_OPEN_FENCE: Final = re.compile(r"^[ \t]*(?:`{3,}|~{3,})", re.MULTILINE)
_BRACKET: Final = re.compile(r"[\[{]")
_JSON: Final = re.compile(r"\{[ \t\r\n]*[\"}]|\[[ \t\r\n]*[\[{\"\-0-9tfn]")
_TABLE: Final = re.compile(r"\[(?:table [0-9]+: )?[0-9]+ (?:rows|lines|keys)\]")
_REST: Final = re.compile(rf"(?:[ \t]|{INVISIBLE.pattern})*(?:\r?\n|$)")
_INDENT_MAX: Final = 64
_CHARACTERS_MIN: Final = 24  # a shorter value is not worth a look


class Stuff(StrEnum):
    """Say what a piece of text is."""

    prose = "prose"
    code = "code"  # white space in it may mean something
    json = "json"
    lines = "lines"  # one object of JSON a line
    table = "table"  # JSON that is one already


class Piece(msgspec.Struct, frozen=True):
    """Hold a piece of a text; `value` is what JSON says, `ends_line` that its line has no more."""

    stuff: Stuff
    start: int
    end: int
    value: Value = None
    ends_line: bool = False


def pieces(text: str) -> Iterator[Piece]:
    """Divide a text into its pieces, in order and without a gap."""
    at = 0
    if "```" not in text and "~~~" not in text:
        yield from _unfenced(text, 0, len(text))
        return
    for fence in _FENCE.finditer(text):
        yield from _unfenced(text, at, fence.start())
        yield _fenced(fence)
        at = fence.end()
    if rest := _OPEN_FENCE.search(text, at):  # never closed: all that follows is code
        yield from _unfenced(text, at, rest.start())
        yield Piece(Stuff.code, rest.start(), len(text))
    else:
        yield from _unfenced(text, at, len(text))


def _fenced(fence: re.Match[str]) -> Piece:
    code = Piece(Stuff.code, fence.start(), fence.end())
    if fence[4] is None or fence[3].strip().lower() not in ("json", ""):
        return code
    found = _value(text := fence.string, fence.start(4), text_end := fence.end(4))
    if found is None or text[found.end : text_end].strip():
        return code
    return msgspec.structs.replace(found, ends_line=False)  # a block marked as JSON stays JSON


def _unfenced(text: str, start: int, end: int) -> Iterator[Piece]:
    """Find values of JSON; where the rest looks like code, they are a program's literals and all of it is code."""
    found = list(_values(text, start, end))
    if any(each.stuff is Stuff.prose and looks_like_code(text, each.start, each.end) for each in found):
        found = [Piece(Stuff.code, start, end)]
    yield from found


def _values(text: str, start: int, end: int) -> Iterator[Piece]:
    """Find values of JSON; the search is given up when failures have cost as much as reading the text twice."""
    patience = 2 * (end - start) + 1_000
    at = prose = start
    while patience > 0 and (begin := _next(text, at, end)) is not None:
        found = _table(text, begin, end) or _value(text, begin, end)
        if found is None:
            patience -= 200 + _failed_after(text, begin, end)
            at = begin + 1
            continue
        found = _more_lines(text, found, end)
        if prose < found.start:
            yield Piece(Stuff.prose, prose, found.start)
        yield found
        at = prose = found.end
    if prose < end:
        yield Piece(Stuff.prose, prose, end)


def _next(text: str, at: int, end: int) -> int | None:
    """Find the next bracket that begins a line, or follows a colon, and may begin a value."""
    for match in _BRACKET.finditer(text, at, end):
        begin = match.start()
        before = text[max(0, begin - _INDENT_MAX) : begin]
        seen = INVISIBLE.sub("", before)
        bare = seen.rstrip(" \t")
        begins = (not bare and len(before) < _INDENT_MAX) or bare.endswith("\n") or seen.endswith(": ")
        if begins and (_JSON.match(text, begin, end) or _TABLE.match(text, begin, end)):
            return begin
    return None


def _value(text: str, start: int, end: int) -> Piece | None:
    try:
        value, stop = read(text, start)
    except (NotPlain, json.JSONDecodeError):
        return None
    if stop > end or stop - start < _CHARACTERS_MIN or not isinstance(value, (dict, list)):
        return None
    return Piece(Stuff.json, start, stop, value, _REST.match(text, stop) is not None)


def _failed_after(text: str, start: int, end: int) -> int:
    """Return how many characters were read before it was clear that they are no JSON."""
    try:
        json.loads(text[start:end])
    except json.JSONDecodeError as error:
        return error.pos
    except RecursionError:
        return end - start
    return end - start


def _table(text: str, start: int, end: int) -> Piece | None:
    if _TABLE.match(text, start) is None:
        return None
    try:
        found = read_table(text, start)
    except NoTable:
        return None
    return Piece(Stuff.table, start, found.end) if found.end <= end else None


def _more_lines(text: str, first: Piece, end: int) -> Piece:
    """Take the objects of the lines below along, where the value is an object that fills its line."""
    if first.stuff is not Stuff.json or not isinstance(first.value, dict) or not first.ends_line:
        return first
    rows: list[Row] = [first.value]
    stop = first.end
    while text[stop : stop + 2] == "\n{":
        found = _value(text, stop + 1, end)
        if (
            found is None
            or not isinstance(found.value, dict)
            or not found.ends_line
            or "\n" in text[stop + 1 : found.end]
        ):
            break
        rows.append(found.value)
        stop = found.end
    if len(rows) == 1 or "\n" in text[first.start : first.end]:
        return first
    return Piece(Stuff.lines, first.start, stop, list(rows), ends_line=True)
