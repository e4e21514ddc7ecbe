"""Condense what was said long ago, in epochs, so that a provider's cache is seldom missed for it.

Whatever changes near the beginning of a conversation makes a provider read all that follows anew. So what was said is
not condensed a little with every turn, but each time it has come to a number of tokens; from then on it is sent the
same. Where an epoch ends, and what is left of it, follows from the conversation up to the turn at which it was first
sent condensed, and from nothing after it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from bursar.savings.compress.common_words import STOP_WORDS, words_of
from bursar.savings.compress.prompt import Removal
from bursar.wires.parts import Kind, Part

RECENT_TURNS: Final = 4
"""Answers behind an epoch that are kept whole with what led to them: what is talked of now refers to them."""

PARAGRAPH_CHARS_MIN: Final = 200
"""A shorter paragraph of the user's stays: it is more likely a wish than something that was pasted."""

_SAID: Final = (Kind.user, Kind.history)
_BLANK: Final = re.compile(r"\n[ \t]*\n\s*")
_WISH: Final = re.compile(
    r"\?|\b(?:always|never|must|mustn|shall|should|please|do not|don['\u2019]t|only|instead|remember|ignore"
    r"|make sure|be sure|ensure|avoid|use|write|answer|reply|i want|i need|we need|from now on|rules?|important)\b",
    re.IGNORECASE,
)


class Epoch(NamedTuple):
    """Hold which turns are condensed, and at which turn they were first sent so."""

    first: int
    last: int
    seen: int


class Piece(NamedTuple):
    """Hold a stretch of a part as a part of its own: whose, and where it begins there."""

    place: int
    start: int
    part: Part


def epochs(parts: Sequence[Part], tokens: int, count: Callable[[str], int]) -> Iterator[Epoch]:
    """Yield the epochs of a conversation: each has at least so many tokens of prose."""
    sizes: dict[int, int] = {}
    for part in parts:
        if is_said(part):
            sizes[part.turn] = sizes.get(part.turn, 0) + count(part.text)
    now = max((part.turn for part in parts), default=0)
    first, taken = 0, 0
    for turn in range(now - RECENT_TURNS):
        taken += sizes.get(turn, 0)
        if taken >= tokens:
            yield Epoch(first, turn, turn + RECENT_TURNS + 1)
            first, taken = turn + 1, 0


def is_said(part: Part) -> bool:
    """Tell whether a part is what user or model have said: no tool's result, call or reasoning."""
    return part.kind in _SAID and (part.role == "user" or not part.protected)


def pieces_of(parts: Sequence[Part], epoch: Epoch) -> list[Piece]:
    """Return what an epoch's users and models have said, in pieces of which those that are protected stay.

    What the user had said first, and last when the epoch was first condensed, stays whole.
    """
    users = [part.turn for part in parts if part.role == "user" and part.kind in _SAID and part.turn <= epoch.seen]
    whole = {min(users), max(users)} if users else set[int]()
    found: list[Piece] = []
    for place, part in enumerate(parts):
        if not epoch.first <= part.turn <= epoch.last or not is_said(part):
            continue
        if part.role != "user":
            found.append(_piece(place, part, 0, len(part.text), stays=False))
        elif part.turn not in whole:
            found += _of_user(place, part)
    return found


def _of_user(place: int, part: Part) -> Iterator[Piece]:
    """Cut what a user has said into paragraphs: the first and last stay, short ones, and those that ask for something.

    Signs of a wish are those of English: what is in no English stays.
    """
    gaps = [(0, 0), *(match.span() for match in _BLANK.finditer(part.text)), (len(part.text), len(part.text))]
    if len(gaps) <= 3 or STOP_WORDS.isdisjoint(words_of(part.text.lower())):
        return
    for number, (gap, following) in enumerate(pairwise(gaps)):
        text = part.text[gap[1] : following[0]]
        at_edge = number in (0, len(gaps) - 2)
        stays = at_edge or len(text) < PARAGRAPH_CHARS_MIN or _WISH.search(text) is not None
        yield _piece(place, part, gap[1], following[0], stays=stays)


def _piece(place: int, part: Part, start: int, end: int, *, stays: bool) -> Piece:
    # As something found: what is history loses nothing as long as it is among the last of those that are looked at.
    changed = {"text": part.text[start:end], "kind": Kind.retrieved, "protected": stays}
    return Piece(place, start, msgspec.structs.replace(part, **changed))


def moved(removals: Iterable[Removal], pieces: Sequence[Piece]) -> Iterator[Removal]:
    """Say of removals from pieces where they are in the parts those are of."""
    for each in removals:
        piece = pieces[each.part]
        changed = {"part": piece.place, "start": each.start + piece.start, "end": each.end + piece.start}
        yield msgspec.structs.replace(each, **changed)
