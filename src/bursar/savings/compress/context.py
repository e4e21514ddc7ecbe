"""Leave out of a prompt what its question does not need, down to a number of tokens."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np

from bursar.savings.compress.binding import bound
from bursar.savings.compress.choose import Cost, choose, queue
from bursar.savings.compress.evidence import Floats, Text
from bursar.savings.compress.headings import sections
from bursar.savings.compress.hits import Ints
from bursar.savings.compress.order import to_ends
from bursar.savings.compress.prompt import Order, Removal
from bursar.savings.compress.sentences import by_size
from bursar.savings.compress.units import Units, find, refine
from bursar.wires.parts import Kind, Part

Count: TypeAlias = Callable[[str], int]
Score: TypeAlias = Callable[[Text], Floats]

MAY_LOSE: Final = (Kind.retrieved, Kind.history)
"""Segments of which something may be left out."""

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


WHY: Final = "the question does not need it"

HEAD_MIN: Final = 8
"""Characters of a text's beginning that are worth keeping where nothing else fits."""


class _Open(NamedTuple):
    """Hold what may be left out of which parts, how much each unit promises, and its group with what that takes."""

    units: Units
    log_odds: Floats
    groups: Ints
    cost: Cost


def shorten(
    parts: Sequence[Part],
    score: Score,
    room: dict[Kind | None, int],
    count: Count,
    order: Order = Order.kept,
    share: float | None = None,
) -> tuple[Removal, ...]:
    """Return what to take out so that each kind fits into its room; kinds that have none share that of `None`.

    Where what may not be cut leaves no room, what may is cut to its `share`; without one it is left as it is.
    """
    found: list[Removal] = []
    for kind, tokens in room.items():
        apart = [number for number, part in enumerate(parts) if (part.kind if part.kind in room else None) is kind]
        open_parts = [number for number in apart if may_lose(parts, number)]
        if not open_parts or sum(count(parts[number].text) for number in apart) <= tokens:
            continue
        closed = sum(count(parts[number].text) for number in apart if number not in open_parts)
        texts = {number: parts[number].text for number in open_parts}
        units = find(parts, open_parts)
        left = _left(texts, _finished(parts, _cuts(parts, units, [])), count)
        allowed = tokens - closed - left
        if closed + left > 0 >= allowed:
            if share is None:
                continue
            allowed = int((sum(map(count, texts.values())) - left) * share)
        opened = _open(parts, refine(units, texts, allowed, count), score, count)
        cuts = _shorten(parts, texts, opened, left + allowed, count)
        cuts = to_ends(parts, opened.units, opened.log_odds, cuts) if order is Order.ends else cuts
        found += _finished(parts, cuts)
    return tuple(sorted(found, key=lambda each: (each.part, each.start)))


def may_lose(parts: Sequence[Part], number: int) -> bool:
    """Tell whether a part may lose something: what was retrieved, and turns that are not recent."""
    part = parts[number]
    if part.protected or part.for_program or part.kind not in MAY_LOSE:
        return False
    if part.kind is Kind.retrieved:
        return True
    later = sum(each.kind is Kind.history for each in parts[number + 1 :])
    return later >= RECENT_TURNS


def _open(parts: Sequence[Part], units: Units, score: Score, count: Count) -> _Open:
    if not units.block:
        return _Open(units, np.zeros(0), np.zeros(0, np.int64), Cost((), (), (), ()))
    text = _text(parts, units)
    groups = np.array(bound(text.sentences, units.block, [block.firm for block in units.blocks]), np.int64)
    return _Open(units, score(text) - SAID * _said(text.sentences), groups, _cost(parts, units, groups, count))


def _said(sentences: Sequence[str]) -> Floats:
    """Mark sentences that an earlier one says word for word."""
    first: dict[str, int] = {}
    for number, each in enumerate(sentences):
        first.setdefault(each, number)
    return np.array([first[each] != number for number, each in enumerate(sentences)], float)


def _shorten(parts: Sequence[Part], texts: dict[int, str], opened: _Open, tokens: int, count: Count) -> list[Removal]:
    units = opened.units
    best = _cuts(parts, units, [])
    least = allowed = room = tokens - _left(texts, _finished(parts, best), count)
    firsts = np.flatnonzero(np.diff(opened.groups, prepend=-1))
    promise = np.maximum.reduceat(opened.log_odds, firsts) if len(firsts) else opened.log_odds
    ranked = queue(promise, opened.cost)
    for _ in range(ROUNDS_MAX):
        chosen = np.zeros(len(firsts), bool)
        chosen[choose(ranked, allowed)] = True
        found = _cuts(parts, units, np.flatnonzero(chosen[opened.groups]).tolist())
        spare = tokens - _left(texts, _finished(parts, found), count)
        if 0 <= spare < least:
            best, least = found, spare
        if 0 <= spare <= SPARE_MAX:
            break
        allowed += spare
    if least == room > 0 and (units.block and not all(block.firm for block in units.blocks)):
        return _head(parts, texts, opened, tokens, count) or best
    return best


def _head(
    parts: Sequence[Part], texts: dict[int, str], opened: _Open, tokens: int, count: Count
) -> list[Removal] | None:
    """Keep of the best unit, where none fits whole, the words from its beginning that do."""
    units = opened.units
    loose = [not units.blocks[block].firm for block in units.block]
    unit = int(np.where(loose, opened.log_odds, -np.inf).argmax())
    part, start, end = units.blocks[units.block[unit]].part, units.starts[unit], units.ends[unit]
    rest = _cuts(parts, units, [unit])
    size = (end - start) * tokens // max(count(texts[part][start:end]), 1)
    while size >= HEAD_MIN:
        _, at = by_size(texts[part], start, end, min(size, end - start))[0]
        at = start + len(texts[part][start:at].rstrip())
        gone = Removal(part, at, end, GONE, WHY)
        found = sorted([*rest, gone] if at < end else rest, key=lambda each: (each.part, each.start, each.end))
        if _left(texts, _finished(parts, found), count) <= tokens:
            return found
        size = size * 3 // 4
    return None


def _text(parts: Sequence[Part], units: Units) -> Text:
    where = [units.blocks[block].part for block in units.block]
    sentences = [parts[part].text[start:end] for part, start, end in zip(where, units.starts, units.ends, strict=True)]
    apart = [
        number == 0 or block != units.block[number - 1] or units.blocks[block].firm
        for number, block in enumerate(units.block)
    ]  # an element of JSON is a document of its own
    titles = [units.blocks[block].title for block, first in zip(units.block, apart, strict=True) if first]
    return Text(sentences, np.cumsum(apart) - 1, titles)


def _cost(parts: Sequence[Part], units: Units, groups: Ints, count: Count) -> Cost:
    """Count what each group takes with the gap behind it, and each head and heading with what ends its block."""
    sentences = [0] * (int(groups[-1]) + 1)
    passage = [0] * len(sentences)
    heads = [0] * len(units.blocks)
    for number, (block, start, end) in enumerate(zip(units.block, units.starts, units.ends, strict=True)):
        text = parts[units.blocks[block].part].text
        last = number + 1 == len(units.block) or units.block[number + 1] != block
        group = int(groups[number])
        sentences[group] += count(text[start : end if last else units.starts[number + 1]])
        passage[group] = block
        if last and not units.blocks[block].firm:
            heads[block] += count(text[end : units.blocks[block].end])
    for number, block in enumerate(units.blocks):
        heads[number] += count(parts[block.part].text[block.start : block.body])
    texts = {heading.part: parts[heading.part].text for heading in units.headings}
    for heading, blocks, _ in sections(units, texts):
        tokens = count(parts[heading.part].text[heading.start : heading.end])
        for number in blocks:
            heads[number] += tokens
    sign = count(f"{GONE} ")
    return Cost(sentences, passage, heads, [0 if block.firm else sign for block in units.blocks])


def _cuts(parts: Sequence[Part], units: Units, kept: Sequence[int]) -> list[Removal]:
    """Turn what is not kept into stretches of text that go, each within one block, and headings of what went."""
    stays = set(kept)
    of_block: list[list[int]] = [[] for _ in units.blocks]
    for unit, block in enumerate(units.block):
        of_block[block].append(unit)
    found: list[Removal] = []
    gone: set[int] = set()
    for number, (block, members) in enumerate(zip(units.blocks, of_block, strict=True)):
        left = [unit for unit in members if unit in stays]
        if not left and not block.firm:
            found.append(Removal(block.part, block.start, block.end, "", WHY))
            gone.add(number)
            continue
        text = parts[block.part].text
        for start, end, inside in _gaps(units, members, left):
            sign = GONE + text[len(text[:end].rstrip()) : end] if inside and not block.firm else ""
            found.append(Removal(block.part, start, end, sign, WHY))
    if not units.headings:
        return found
    texts = {heading.part: parts[heading.part].text for heading in units.headings}
    found += [
        Removal(heading.part, heading.start, heading.end, "", WHY)
        for heading, blocks, bare in sections(units, texts)
        if blocks and bare and gone.issuperset(blocks)
    ]
    return sorted(found, key=lambda each: (each.part, each.start, each.end))


def _gaps(units: Units, members: Sequence[int], left: Sequence[int]) -> list[tuple[int, int, bool]]:
    """Return the stretches that go of a block of which something stays, and whether each is between two that stay."""
    if not left:
        return [(units.starts[members[0]], units.ends[members[-1]], False)]
    found: list[tuple[int, int, bool]] = []
    following = {unit: units.starts[unit + 1] for unit in members[:-1]}
    at = units.starts[members[0]]
    for unit in left:
        if at < units.starts[unit]:
            found.append((at, units.starts[unit], unit != left[0]))
        at = following.get(unit, units.ends[unit])
    if left[-1] != members[-1]:
        found.append((units.ends[left[-1]], units.ends[members[-1]], False))
    return found


def _finished(parts: Sequence[Part], cuts: Sequence[Removal]) -> list[Removal]:
    """Make one of cuts that touch, keep lines apart, and leave a sign where a text of a body would lose all it has."""
    found: list[Removal] = []
    for each in cuts:
        if found and found[-1].part == each.part and found[-1].end == each.start and not found[-1].text:
            each = Removal(each.part, found.pop().start, each.end, each.text, each.why)
        found.append(each)
    return [each if each.text else _signed(parts[each.part], each) for each in found]


def _signed(part: Part, cut: Removal) -> Removal:
    """Leave a sign in a text that loses all it has, and a line's end between two lines that would become one."""
    around = part.text[max(cut.start - 1, 0) : cut.start] + part.text[cut.end : cut.end + 1]
    if not around:
        return msgspec.structs.replace(cut, text=GONE) if part.path else cut
    glued = len(around) > 1 and not around[0].isspace() and not around[1].isspace()
    if glued and "\n" in part.text[cut.start : cut.end]:
        return msgspec.structs.replace(cut, text="\n")
    return cut


def _left(texts: dict[int, str], removals: Sequence[Removal], count: Count) -> int:
    """Count the tokens of the texts without what is removed."""
    pieces: dict[int, list[str]] = {number: [] for number in texts}
    at = dict.fromkeys(texts, 0)
    for each in removals:
        pieces[each.part] += (texts[each.part][at[each.part] : each.start], each.text)
        at[each.part] = each.end
    return sum(count("".join(pieces[number]) + text[at[number] :]) for number, text in texts.items())
