"""Find what a text is made of: JSON and tables, blocks of code, and the prose between them."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from bursar.savings.compress.columns import Row
from bursar.savings.compress.document import FIRST_BELOW, below
from bursar.savings.compress.json_text import Value, extent, read
from bursar.savings.compress.spacing import INVISIBLE, looks_like_code
from bursar.savings.compress.table_text import NoTable, read_table

_FENCE: Final = re.compile(r"^( {0,3}|\t)(`{3,}+|~{3,}+)([^\n`]*+)$", re.MULTILINE)
_OPEN_FENCE: Final = re.compile(r"^[ \t]*(?:`{3,}|~{3,})", re.MULTILINE)
_BRACKET: Final = re.compile(r"[\[{](?<![^\W_] .)")  # not behind a word and a blank: that is running prose
_JSON: Final = re.compile(r"\{[ \t\r\n]*[\"}]|\[[ \t\r\n]*[\[{\"\-0-9tfn]")
_TABLE: Final = re.compile(r"\[(?:table [0-9]+: )?[0-9]+ (?:rows|lines|keys)\]")
_REST: Final = re.compile(r"[ \t\u200b\u2060\ufeff\u00ad]*+(?:\r?\n|$)")
_INDENT_MAX: Final = 64
_CHARACTERS_MIN: Final = 24  # a shorter value is not worth a look, unless there is in it what prose would lose


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
    for fence in _fences(text):
        yield from _unfenced(text, at, fence.start)
        yield _fenced(text, fence)
        at = fence.end
    if rest := _OPEN_FENCE.search(text, at):  # never closed: all that follows is code
        yield from _unfenced(text, at, rest.start())
        yield Piece(Stuff.code, rest.start(), len(text))
    else:
        yield from _unfenced(text, at, len(text))


class _Fence(NamedTuple):
    """Hold where a block in fences begins and ends, what it is marked as, and what is within."""

    start: int
    end: int
    mark: str
    first: int
    last: int


def _fences(text: str) -> Iterator[_Fence]:
    """Find blocks in fences; the line that closes one is the next that begins as the first does, and has no more."""
    lines = list(_FENCE.finditer(text))
    closing: dict[str, re.Match[str]] = {}
    closed: list[re.Match[str] | None] = []
    for line in reversed(lines):
        closed.append(closing.get(line[1] + line[2]))
        if not line[3].strip(" \t"):
            closing[line[1] + line[2]] = line
    at = 0
    for line, close in zip(lines, reversed(closed), strict=True):
        if line.start() >= at and close is not None:
            at = close.end()
            yield _Fence(line.start(), at, line[3], line.end() + 1, max(line.end() + 1, close.start() - 1))


def _fenced(text: str, fence: _Fence) -> Piece:
    code = Piece(Stuff.code, fence.start, fence.end)
    if fence.mark.strip().lower() not in ("json", ""):
        return code
    found = _value(text, fence.first, fence.last)
    if found is None or text[found.end : fence.last].strip():
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
    above = _above_tables(text, start, end)
    while patience > 0 and (begin := _next(text, at, end)) is not None:
        if begin >= above[1]:
            above = _above_tables(text, begin, end)
        found = _table(text, begin, end, below_it=begin >= above[0])
        if isinstance(found, int):
            patience -= found
            found = _value(text, begin, end)
        if found is None:
            patience -= 200 + extent(text, begin) - begin
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
    except ValueError:
        return None
    if stop > end or not isinstance(value, (dict, list)):
        return None
    if stop - start < _CHARACTERS_MIN and INVISIBLE.search(text, start, stop) is None:
        return None
    return Piece(Stuff.json, start, stop, value, _REST.match(text, stop) is not None)


def _above_tables(text: str, start: int, end: int) -> tuple[int, int]:
    """Return from where to where the next line goes below which tables stand."""
    stop = text.find(FIRST_BELOW, start, end)
    return (text.rfind("\n", start, stop) + 1, stop) if stop >= 0 else (end, end)


def _table(text: str, start: int, end: int, *, below_it: bool) -> Piece | int:
    """Read a table, or JSON whose tables stand below it; where there is none, tell how much was read to see that."""
    try:
        if _TABLE.match(text, start):
            stop = read_table(text, start).end
        elif below_it:
            stop = below(text, start)
        else:
            return 0
    except NoTable as error:
        return max(0, error.at - start)
    return Piece(Stuff.table, start, stop) if stop <= end else stop - start


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
