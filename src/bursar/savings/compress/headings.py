"""Find what each heading heads, so that one whose words went goes too."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bursar.savings.compress.units import Block, Heading, Units

_NONE: Final = 8  # a level below all


class Section(NamedTuple):
    """Hold a heading, the blocks it heads, and whether there is nothing else below it."""

    heading: Heading
    blocks: Sequence[int]
    bare: bool


def sections(units: Units, texts: Mapping[int, str]) -> list[Section]:
    """Return the section of each heading: up to the next that is no lower, or the end of its text."""
    found: list[Section] = []
    for part in sorted({heading.part for heading in units.headings}):
        text = texts[part]
        numbers = [number for number, block in enumerate(units.blocks) if block.part == part]
        starts = [units.blocks[number].start for number in numbers]
        headings = [heading for heading in units.headings if heading.part == part]
        edges = sorted(
            [(each.start, each.level) for each in headings]
            + [(units.blocks[number].start, _level(text, units.blocks[number])) for number in numbers]
        )
        spans = sorted((each.start, each.end) for each in [*headings, *(units.blocks[number] for number in numbers)])
        for heading in headings:
            at = bisect_left(edges, (heading.end, -1))
            end = next((start for start, level in edges[at:] if level <= heading.level), len(text))
            inside = numbers[bisect_left(starts, heading.end) : bisect_left(starts, end)]
            found.append(Section(heading, inside, _is_bare(text, heading.end, end, spans)))
    return found


def _level(text: str, block: Block) -> int:
    """Return the level of the heading that a block begins with."""
    mark = text[block.start : block.body].lstrip()
    if mark.startswith("#"):
        return len(mark) - len(mark.lstrip("#"))
    return 0 if mark.startswith(("Document [", "[")) else _NONE


def _is_bare(text: str, start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Tell whether there is nothing between two offsets but spans."""
    for first, last in spans[bisect_left(spans, (start, -1)) : bisect_left(spans, (end, -1))]:
        if text[start:first].strip():
            return False
        start = last
    return not text[start:end].strip()
