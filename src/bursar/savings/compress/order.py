"""Move the best passages of a text to its ends, where models read most carefully."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bursar.savings.compress.edits import replay
from bursar.savings.compress.evidence import Floats
from bursar.savings.compress.prompt import Removal
from bursar.savings.compress.units import Block, Units
from bursar.wires.parts import Part

WHY: Final = "moved: the best stand first and last"


def to_ends(parts: Sequence[Part], units: Units, log_odds: Floats, removals: Sequence[Removal]) -> list[Removal]:
    """Return removals that also move what is left of each text: the best first, the second last, and so on inwards.

    A text is left in its order where a passage stands under a heading that is another's, or where JSON has elements.
    """
    best: dict[int, float] = {}
    for block, value in zip(units.block, log_odds.tolist(), strict=True):
        best[block] = max(best.get(block, value), value)
    found = list(removals)
    for part in sorted({block.part for block in units.blocks}):
        mine = [number for number, block in enumerate(units.blocks) if block.part == part]
        if all(_moves(units.blocks[number]) for number in mine):
            found = _moved(parts[part].text, units, mine, best, found)
    return found


def _moves(block: Block) -> bool:
    return not block.firm and (block.body > block.start or not block.title)


def _moved(
    text: str, units: Units, mine: Sequence[int], best: dict[int, float], removals: list[Removal]
) -> list[Removal]:
    """Put what is left of one text's passages into the places of those that are left, each with the place's own end."""
    part = units.blocks[mine[0]].part
    left: list[tuple[int, str]] = []
    for number in mine:
        block = units.blocks[number]
        inside = [each for each in removals if each.part == part and block.start <= each.start < block.end]
        (said,) = replay([text[: block.end]], [msgspec.structs.replace(each, part=0) for each in inside])
        if said[block.start :].strip():
            left.append((number, said[block.start :]))
    ranked = sorted(left, key=lambda each: -best[each[0]])
    wanted = [*ranked[::2], *reversed(ranked[1::2])]
    if wanted == left:
        return removals
    found = removals
    for (number, said), (_, other) in zip(left, wanted, strict=True):
        block = units.blocks[number]
        gap = said[len(said.rstrip()) :]
        found = [each for each in found if each.part != part or not block.start <= each.start < block.end]
        found.append(Removal(part, block.start, block.end, other.rstrip() + gap, WHY))
    return sorted(found, key=lambda each: (each.part, each.start))
