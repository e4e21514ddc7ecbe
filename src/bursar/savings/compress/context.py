"""Leave out of a prompt what its question does not need, down to a number of tokens."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from bursar.savings.compress.choose import Cost, choose
from bursar.savings.compress.evidence import Floats, Text
from bursar.savings.compress.prompt import Removal
from bursar.savings.compress.units import Units, find
from bursar.wires.parts import Kind, Part

Count: TypeAlias = Callable[[str], int]
Score: TypeAlias = Callable[[Text], Floats]

RECENT_TURNS: Final = 4
"""Texts of history, from the last, that are kept whole."""

GONE: Final = "…"
"""What stands for a text of a body that lost all its words: providers refuse an empty one."""

SPARE_MAX: Final = 4
"""Tokens that may be left over: fewer than a sentence takes."""

ROUNDS_MAX: Final = 3
"""How often a choice is made anew because its tokens together are not the sum of each."""


class _Open(NamedTuple):
    """Hold what may be left out of which parts, and how much each unit promises and takes."""

    units: Units
    log_odds: Floats
    cost: Cost


def shorten(parts: Sequence[Part], score: Score, room: dict[Kind | None, int], count: Count) -> tuple[Removal, ...]:
    """Return what to take out so that each kind fits into its room; kinds that have none share that of `None`."""
    found: list[Removal] = []
    for kind, tokens in room.items():
        apart = [number for number, part in enumerate(parts) if (part.kind if part.kind in room else None) is kind]
        open_parts = [number for number in apart if may_lose(parts, number)]
        if not open_parts or sum(count(parts[number].text) for number in apart) <= tokens:
            continue
        closed = sum(count(parts[number].text) for number in apart if number not in open_parts)
        found += _shorten(parts, open_parts, score, tokens - closed, count)
    return tuple(sorted(found, key=lambda each: (each.part, each.start)))


def may_lose(parts: Sequence[Part], number: int) -> bool:
    """Tell whether a part may lose something: what was retrieved, and turns that are not recent."""
    part = parts[number]
    if part.protected or part.for_program or part.kind not in (Kind.retrieved, Kind.history):
        return False
    if part.kind is Kind.retrieved:
        return True
    later = sum(each.kind is Kind.history for each in parts[number + 1 :])
    return later >= RECENT_TURNS


def _shorten(
    parts: Sequence[Part], open_parts: Sequence[int], score: Score, tokens: int, count: Count
) -> list[Removal]:
    units = find(parts, open_parts)
    if not units.block:
        return []
    opened = _Open(units, score(_text(parts, units)), _cost(parts, units, count))
    texts = {number: parts[number].text for number in open_parts}
    best = _removals(parts, units, [])
    least = allowed = tokens - _left(texts, best, count)
    for _ in range(ROUNDS_MAX):
        found = _removals(parts, units, choose(opened.log_odds, opened.cost, allowed))
        spare = tokens - _left(texts, found, count)
        if 0 <= spare < least:
            best, least = found, spare
        if 0 <= spare <= SPARE_MAX:
            break
        allowed += spare
    return best


def _text(parts: Sequence[Part], units: Units) -> Text:
    where = [units.blocks[block].part for block in units.block]
    sentences = [parts[part].text[start:end] for part, start, end in zip(where, units.starts, units.ends, strict=True)]
    apart = [
        number == 0 or block != units.block[number - 1] or units.blocks[block].firm
        for number, block in enumerate(units.block)
    ]  # an element of JSON is a document of its own
    titles = [units.blocks[block].title for block, first in zip(units.block, apart, strict=True) if first]
    return Text(sentences, np.cumsum(apart) - 1, titles)


def _cost(parts: Sequence[Part], units: Units, count: Count) -> Cost:
    """Count what each unit takes with the gap behind it, and each head with what ends its block."""
    sentences: list[int] = []
    heads = [0] * len(units.blocks)
    for number, (block, start, end) in enumerate(zip(units.block, units.starts, units.ends, strict=True)):
        text = parts[units.blocks[block].part].text
        last = number + 1 == len(units.block) or units.block[number + 1] != block
        sentences.append(count(text[start : end if last else units.starts[number + 1]]))
        if last and not units.blocks[block].firm:
            heads[block] += count(text[end : units.blocks[block].end])
    for number, block in enumerate(units.blocks):
        heads[number] += count(parts[block.part].text[block.start : block.body])
    return Cost(sentences, units.block, heads)


def _removals(parts: Sequence[Part], units: Units, kept: Sequence[int]) -> list[Removal]:
    """Turn what is not kept into stretches of text that go."""
    stays = set(kept)
    of_block: list[list[int]] = [[] for _ in units.blocks]
    for unit, block in enumerate(units.block):
        of_block[block].append(unit)
    found: list[Removal] = []
    for block, members in zip(units.blocks, of_block, strict=True):
        left = [unit for unit in members if unit in stays]
        if not left and not block.firm:
            found.append(Removal(block.part, block.start, block.end, "", "the question does not need it"))
            continue
        found += (
            Removal(block.part, *span, "", "the question does not need it") for span in _gaps(units, members, left)
        )
    return _never_empty(parts, _joined(found))


def _gaps(units: Units, members: Sequence[int], left: Sequence[int]) -> list[tuple[int, int]]:
    """Return the stretches between what is left of a block."""
    if not left:
        return [(units.starts[members[0]], units.ends[members[-1]])]
    edges = [units.starts[members[0]], *(units.starts[unit] for unit in left)]
    found: list[tuple[int, int]] = []
    following = {unit: units.starts[unit + 1] for unit in members[:-1]}
    at = edges[0]
    for unit in left:
        if at < units.starts[unit]:
            found.append((at, units.starts[unit]))
        at = following.get(unit, units.ends[unit])
    if left[-1] != members[-1]:
        found.append((units.ends[left[-1]], units.ends[members[-1]]))
    return found


def _joined(removals: Sequence[Removal]) -> list[Removal]:
    """Make one of removals that touch."""
    found: list[Removal] = []
    for each in removals:
        if found and found[-1].part == each.part and found[-1].end == each.start and not found[-1].text:
            each = Removal(each.part, found.pop().start, each.end, each.text, each.why)
        found.append(each)
    return found


def _never_empty(parts: Sequence[Part], removals: list[Removal]) -> list[Removal]:
    """Leave a sign where a text of a body would lose all it has."""
    found: list[Removal] = []
    for each in removals:
        part = parts[each.part]
        whole = each.start == 0 and each.end == len(part.text)
        found.append(Removal(each.part, 0, each.end, GONE, each.why) if whole and part.path else each)
    return found


def _left(texts: dict[int, str], removals: Sequence[Removal], count: Count) -> int:
    """Count the tokens of the texts without what is removed."""
    pieces: dict[int, list[str]] = {number: [] for number in texts}
    at = dict.fromkeys(texts, 0)
    for each in removals:
        pieces[each.part] += (texts[each.part][at[each.part] : each.start], each.text)
        at[each.part] = each.end
    return sum(count("".join(pieces[number]) + text[at[number] :]) for number, text in texts.items())
