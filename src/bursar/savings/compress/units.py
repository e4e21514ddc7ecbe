"""Find in a prompt's parts what may be left out whole: sentences of prose, lines of a list, elements of JSON."""

import json
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bursar.savings.compress.sentences import cut
from bursar.wires.parts import Kind, Part

ELEMENTS_MIN: Final = 8
"""From how many on a list or an object of JSON may lose some of them."""

_SPACE: Final = " \t\n\r"
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
    """Return the units of those parts that may lose some."""
    units = Units([], [], [], [])
    for number in open_parts:
        spans = list(elements(parts[number].text)) if parts[number].kind is Kind.retrieved else []
        if spans:
            _add(units, Block(number, spans[0][0], spans[0][0], spans[-1][1], "", firm=True), spans)
        elif not is_json(parts[number].text):
            _add_prose(units, number, parts[number].text)
    return units


def _add(units: Units, block: Block, spans: Sequence[tuple[int, int]]) -> None:
    number = len(units.blocks)
    units.blocks.append(block)
    for start, end in spans:
        units.block.append(number)
        units.starts.append(start)
        units.ends.append(end)


def _add_prose(units: Units, part: int, text: str) -> None:
    title = ""
    found = cut(text)
    for passage, sentences in zip(found.passages, found.sentences, strict=True):
        title = passage.title or title
        if passage.code or not sentences or is_json(text[passage.body : passage.end]):
            continue
        trimmed = [(start, start + len(text[start:end].rstrip(_SPACE))) for start, end in sentences]
        _add(units, Block(part, passage.start, passage.body, passage.end, title), trimmed)


def is_json(text: str) -> bool:
    """Tell whether a text is one object or list of JSON."""
    stripped = text.strip()
    if stripped[:1] not in ("{", "[") or stripped[-1:] not in ("}", "]"):
        return False
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return True


def elements(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the elements that a JSON text may lose: of its outermost list or object that has many.

    A member of an object is its name and value. Nothing comes of a text that is not JSON, or has few of everything.
    """
    if not is_json(text):
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
