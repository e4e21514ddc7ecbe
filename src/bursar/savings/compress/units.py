"""Find in a prompt's parts what may be left out whole: sentences of prose, lines of a list, elements of JSON."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bursar.savings.compress.finding import Piece, Stuff, pieces
from bursar.savings.compress.sentences import Passage, by_lines, by_size, cut, is_heading, is_lines
from bursar.savings.compress.spacing import looks_like_code
from bursar.wires.parts import Kind, Part

ELEMENTS_MIN: Final = 8
"""From how many on a list or an object of JSON may lose some of them."""

_LINE: Final = re.compile(r"[^\n]*\S[^\n]*")
_VALUE: Final = re.compile(r"^[ \t]*[\[{](?=[ \t\r\n]*[\[{\"\-0-9tfnNI}\]])", re.MULTILINE)
_VALUE_MIN: Final = 24  # characters; a shorter one may be the mark of a passage
_REST: Final = re.compile(r"[ \t]*\r?(?:\n|$)")
_SPACE: Final = " \t\n\r"
_SHORT: Final = 64
_LEVEL_MAX: Final = 7  # below those of Markdown
_SECTION_MIN: Final = 100
_SENTENCE_MAX: Final = 600
_CHUNK_MIN: Final = 60
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


class Heading(NamedTuple):
    """Hold a heading that stands apart, up to where what it heads begins; a lower `level` heads more."""

    part: int
    start: int
    end: int
    level: int


class Units(NamedTuple):
    """Hold blocks, and the units of each in the order of the text. `ends` leave out the gap behind."""

    blocks: list[Block]
    block: list[int]
    starts: list[int]
    ends: list[int]
    headings: list[Heading]


def find(parts: Sequence[Part], open_parts: Sequence[int]) -> Units:
    """Return the units of those parts that may lose some: code and tables have none, a list of JSON its elements."""
    units = Units([], [], [], [], [])
    for number in open_parts:
        text = parts[number].text
        title = ""
        if len(text) < _SHORT and text.lstrip(_SPACE).startswith(("{", "[")):
            continue  # it may be JSON too short to be looked for
        for piece in pieces(text):
            if piece.stuff is Stuff.prose or (piece.stuff is Stuff.code and not _is_fenced(text, piece)):
                title = _add_prose(units, number, text, piece, title)
            elif parts[number].kind is Kind.retrieved and (spans := list(_of_json(text, piece))):
                _add(units, Block(number, spans[0][0], spans[0][0], spans[-1][1], title, firm=True), spans)
    return units


def _between_values(text: str, piece: Piece) -> Iterator[tuple[int, int]]:
    """Yield what is not JSON of a kind nothing else touches: with a key twice or NaN, whose form a cut would break.

    The search is given up when failures have cost as much as reading the piece twice.
    """
    at, patience = piece.start, 2 * (piece.end - piece.start) + 1_000
    for begins in _VALUE.finditer(text, piece.start, piece.end):
        if begins.end() - 1 < at or patience < 0:
            continue
        end, cost = _end_of_value(text, begins.end() - 1, piece.end)
        patience -= cost
        if end:
            if at < begins.start():
                yield at, begins.start()
            at = end
    if at < piece.end:
        yield at, piece.end


def _end_of_value(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where the lines end that a value of JSON fills, 0 where none does, and how much was read in vain."""
    try:
        _, stop = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return 0, error.pos - start + 200
    except RecursionError:
        return 0, end - start
    rest = _REST.match(text, stop, end)
    return (0, stop - start) if rest is None or stop - start < _VALUE_MIN else (rest.end(), 0)


def _add(units: Units, block: Block, spans: Sequence[tuple[int, int]]) -> None:
    number = len(units.blocks)
    units.blocks.append(block)
    for start, end in spans:
        units.block.append(number)
        units.starts.append(start)
        units.ends.append(end)


def _add_prose(units: Units, part: int, text: str, piece: Piece, title: str) -> str:
    """Add the passages of a piece; a title holds until the next one, which is returned."""
    for span in _between_values(text, piece):
        title = _add_passages(units, part, text, span, title)
    return title


def _add_passages(units: Units, part: int, text: str, span: tuple[int, int], title: str) -> str:
    passages = cut(text, *span)
    for passage, following in zip(passages, [*passages[1:], None], strict=True):
        if not passage.sentences or _heads(text, passage, following):
            mark = text[passage.start : passage.end].strip()
            level = len(mark) - len(mark.lstrip("#")) if not passage.sentences else _LEVEL_MAX
            units.headings.append(Heading(part, passage.start, passage.end, level))
            title = passage.title or (mark if passage.sentences else title)
            continue
        title = passage.title or title
        if not _is_code(text[passage.body : passage.end]):
            trimmed = [(start, start + len(text[start:end].rstrip(_SPACE))) for start, end in passage.sentences]
            _add(units, Block(part, passage.start, passage.body, passage.end, title), trimmed)
    return title


def _heads(text: str, passage: Passage, following: Passage | None) -> bool:
    """Tell whether a passage is a heading in plain words above one of prose."""
    if following is None or following.body > following.start or len(passage.sentences) > 1:
        return False
    size = len(text[following.start : following.end].strip())
    return size >= max(_SECTION_MIN, 2 * (passage.end - passage.start)) and is_heading(text, passage.start, passage.end)


def refine(units: Units, texts: Mapping[int, str], room: int, count: Callable[[str], int]) -> Units:
    """Cut units that would take most of the room again: by lines, and what is too long for a sentence behind words."""
    fine = Units(units.blocks, [], [], [], units.headings)
    for block, start, end in zip(units.block, units.starts, units.ends, strict=True):
        text = texts[units.blocks[block].part]
        spans = [(start, end)] if units.blocks[block].firm else _again(text, start, end, room, count)
        for first, last in spans:
            size = len(text[first:last].rstrip(_SPACE))
            if size:
                fine.block.append(block)
                fine.starts.append(first)
                fine.ends.append(first + size)
    return fine


def _again(text: str, start: int, end: int, room: int, count: Callable[[str], int]) -> list[tuple[int, int]]:
    """Cut one unit if it needs to be."""
    said = text[start:end]
    long = len(said) > _SENTENCE_MAX
    if not long and len(said) * (1 if said.isascii() else 4) <= room:
        return [(start, end)]
    tokens = count(said)
    if tokens <= (room // 4 if long else room):
        return [(start, end)]
    lines = by_lines(text, start, end) if is_lines(said, 2) else [(start, end)]
    size = min(max(len(said) * max(room, 1) // (8 * tokens), _CHUNK_MIN), _SENTENCE_MAX)
    return [
        span
        for first, last in lines
        for span in (by_size(text, first, last, size) if last - first > _SENTENCE_MAX else [(first, last)])
    ]


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
