"""Find in a prompt's parts what may be left out whole: sentences of prose, lines of a list, elements of JSON."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bursar.savings.compress.finding import Piece, Stuff, pieces
from bursar.savings.compress.sentences import cut
from bursar.savings.compress.spacing import looks_like_code
from bursar.wires.parts import Kind, Part

ELEMENTS_MIN: Final = 8
"""From how many on a list or an object of JSON may lose some of them."""

_LINE: Final = re.compile(r"[^\n]*\S[^\n]*")
_SPACE: Final = " \t\n\r"
_SHORT: Final = 64
_DECODER: Final = json.JSONDecoder()


class Block(NamedTuple):
    """Hold a stretch of a part, whose units stay or go one by one.

    From `start` to `body` is its head, which stays with any of its units. One that is `firm` keeps what is around its
    units when all of them go.
    """

    part: int
    start: int
    body: int
    end: int
    title: str
    firm: bool = False


class Units(NamedTuple):
    """Hold blocks, and the units of each in the order of the text. `ends` leave out the gap behind."""

    blocks: list[Block]
    block: list[int]
    starts: list[int]
    ends: list[int]


def find(parts: Sequence[Part], open_parts: Sequence[int]) -> Units:
    """Return the units of those parts that may lose some: code and tables have none, a list of JSON its elements."""
    units = Units([], [], [], [])
    for number in open_parts:
        text = parts[number].text
        title = ""
        if len(text) < _SHORT and text.lstrip(_SPACE).startswith(("{", "[")):
            continue  # it may be JSON too short to be looked for
        for piece in pieces(text):
            if piece.stuff is Stuff.prose or (piece.stuff is Stuff.code and not _is_fenced(text, piece)):
                title = _add_prose(units, number, text, (piece.start, piece.end), title)
            elif parts[number].kind is Kind.retrieved and (spans := list(_of_json(text, piece))):
                _add(units, Block(number, spans[0][0], spans[0][0], spans[-1][1], title, firm=True), spans)
    return units


def _add(units: Units, block: Block, spans: Sequence[tuple[int, int]]) -> None:
    number = len(units.blocks)
    units.blocks.append(block)
    for start, end in spans:
        units.block.append(number)
        units.starts.append(start)
        units.ends.append(end)


def _add_prose(units: Units, part: int, text: str, span: tuple[int, int], title: str) -> str:
    """Add the passages between two offsets; a title holds until the next one, which is returned."""
    for passage in cut(text, *span):
        title = passage.title or title
        if passage.sentences and not _is_code(text[passage.body : passage.end]):
            trimmed = [(start, start + len(text[start:end].rstrip(_SPACE))) for start, end in passage.sentences]
            _add(units, Block(part, passage.start, passage.body, passage.end, title), trimmed)
    return title


def _is_fenced(text: str, piece: Piece) -> bool:
    return text[piece.start : piece.end].lstrip(_SPACE).startswith(("```", "~~~"))


def _is_code(text: str) -> bool:
    """Tell whether a passage is code: half of its lines look like it. One line of prose may begin with `return`."""
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and sum(looks_like_code(line, 0, len(line)) for line in lines) * 2 >= len(lines)


def _of_json(text: str, piece: Piece) -> Iterator[tuple[int, int]]:
    """Yield the elements that a piece may lose; of one object of JSON a line, the lines."""
    if piece.stuff is Stuff.json:
        yield from ((piece.start + start, piece.start + end) for start, end in elements(text[piece.start : piece.end]))
    elif piece.stuff is Stuff.lines:
        found = [(match.start(), match.end()) for match in _LINE.finditer(text, piece.start, piece.end)]
        yield from found if len(found) >= ELEMENTS_MIN else ()


def elements(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the elements that a JSON text may lose: of its outermost list or object that has many.

    A member of an object is its name and value. Nothing comes of a text that is not JSON, or has few of everything.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    waiting = [len(text) - len(text.lstrip(_SPACE))]
    while waiting:
        at = waiting.pop(0)
        spans = list(_members(text, at))
        if len(spans) >= ELEMENTS_MIN:
            yield from ((start, end) for start, _, end in spans)
            return
        waiting += (value for _, value, _ in spans if text[value] in "[{")


def _members(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield of each element of the list or object at an offset its start, where its value starts, and its end."""
    named = text[at] == "{"
    at = _skip(text, at + 1)
    while text[at] not in "]}":
        start = value = at
        if named:
            _, at = _DECODER.raw_decode(text, at)
            value = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, value)
        yield start, value, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
