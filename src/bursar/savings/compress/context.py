"""Leave out of a prompt what its question does not need, down to a number of tokens."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np

from bursar.savings.compress.choose import Cost, choose
from bursar.savings.compress.evidence import Floats, Text
from bursar.savings.compress.order import to_ends
from bursar.savings.compress.prompt import Order, Removal
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

SAID: Final = 20.0
"""Log odds that a sentence loses which was said before: it goes before any other."""

ROUNDS_MAX: Final = 3
"""How often a choice is made anew because its tokens together are not the sum of each."""


class _Open(NamedTuple):
    """Hold what may be left out of which parts, and how much each unit promises and takes."""

    units: Units
    log_odds: Floats
    cost: Cost


def shorten(
    parts: Sequence[Part], score: Score, room: dict[Kind | None, int], count: Count, order: Order = Order.kept
) -> tuple[Removal, ...]:
    """Return what to take out so that each kind fits into its room; kinds that have none share that of `None`."""
    found: list[Removal] = []
    for kind, tokens in room.items():
        apart = [number for number, part in enumerate(parts) if (part.kind if part.kind in room else None) is kind]
        open_parts = [number for number in apart if may_lose(parts, number)]
        if not open_parts or sum(count(parts[number].text) for number in apart) <= tokens:
            continue
        closed = sum(count(parts[number].text) for number in apart if number not in open_parts)
        opened = _open(parts, open_parts, score, count)
        cuts = _shorten(parts, open_parts, opened, tokens - closed, count)
        cuts = to_ends(parts, opened.units, opened.log_odds, cuts) if order is Order.ends else cuts
        found += _finished(parts, cuts)
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


def _open(parts: Sequence[Part], open_parts: Sequence[int], score: Score, count: Count) -> _Open:
    units = find(parts, open_parts)
    if not units.block:
        return _Open(units, np.zeros(0), Cost((), (), ()))
    text = _text(parts, units)
    return _Open(units, score(text) - SAID * _said(text.sentences), _cost(parts, units, count))


def _said(sentences: Sequence[str]) -> Floats:
    """Mark sentences that an earlier one says word for word."""
    first: dict[str, int] = {}
    for number, each in enumerate(sentences):
        first.setdefault(each, number)
    return np.array([first[each] != number for number, each in enumerate(sentences)], float)


def _shorten(
    parts: Sequence[Part], open_parts: Sequence[int], opened: _Open, tokens: int, count: Count
) -> list[Removal]:
    units = opened.units
    texts = {number: parts[number].text for number in open_parts}
    best = _cuts(units, [])
    least = allowed = tokens - _left(texts, _finished(parts, best), count)
    for _ in range(ROUNDS_MAX):
        found = _cuts(units, choose(opened.log_odds, opened.cost, allowed))
        spare = tokens - _left(texts, _finished(parts, found), count)
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


def _cuts(units: Units, kept: Sequence[int]) -> list[Removal]:
    """Turn what is not kept into stretches of text that go, each within one block."""
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
    return found


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


def _finished(parts: Sequence[Part], cuts: Sequence[Removal]) -> list[Removal]:
    """Make one of cuts that touch, and leave a sign where a text of a body would lose all it has."""
    found: list[Removal] = []
    for each in cuts:
        if found and found[-1].part == each.part and found[-1].end == each.start and not found[-1].text:
            each = Removal(each.part, found.pop().start, each.end, each.text, each.why)
        found.append(each)
    return [
        msgspec.structs.replace(each, text=GONE)
        if not each.text and parts[each.part].path and (each.start, each.end) == (0, len(parts[each.part].text))
        else each
        for each in found
    ]


def _left(texts: dict[int, str], removals: Sequence[Removal], count: Count) -> int:
    """Count the tokens of the texts without what is removed."""
    pieces: dict[int, list[str]] = {number: [] for number in texts}
    at = dict.fromkeys(texts, 0)
    for each in removals:
        pieces[each.part] += (texts[each.part][at[each.part] : each.start], each.text)
        at[each.part] = each.end
    return sum(count("".join(pieces[number]) + text[at[number] :]) for number, text in texts.items())
