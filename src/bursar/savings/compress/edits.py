"""Replay what was changed in texts, and put two rounds of changes into one."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from bursar.savings.compress.prompt import Removal


def replay(texts: Sequence[str], removals: Iterable[Removal]) -> tuple[str, ...]:
    """Return the texts as they are after their removals.

    Raises `ValueError` for removals that overlap or lie outside their text.
    """
    pieces: list[list[str]] = [[] for _ in texts]
    at = [0] * len(texts)
    for removal in sorted(removals, key=lambda each: (each.part, each.start, each.end)):
        part, text = removal.part, texts[removal.part]
        if not at[part] <= removal.start <= removal.end <= len(text):
            raise ValueError(f"a removal at {removal.start} to {removal.end} of part {part} does not fit its text")
        pieces[part] += (text[at[part] : removal.start], removal.text)
        at[part] = removal.end
    return tuple("".join(piece) + text[end:] for piece, text, end in zip(pieces, texts, at, strict=True))


def compose(first: Iterable[Removal], second: Iterable[Removal]) -> tuple[Removal, ...]:
    """Return removals that do in one round what `first` and then `second`, made on what `first` left, do in two."""
    by_part: dict[int, tuple[list[Removal], list[Removal]]] = {}
    for number, removals in enumerate((first, second)):
        for part, group in groupby(sorted(removals, key=lambda each: (each.part, each.start)), lambda each: each.part):
            by_part.setdefault(part, ([], []))[number].extend(group)
    return tuple(each for part in sorted(by_part) for each in _compose(*by_part[part]))


def _compose(first: Sequence[Removal], second: Sequence[Removal]) -> list[Removal]:
    """Walk both rounds of one part side by side; what a later one cuts into is taken up in it."""
    done: list[Removal] = []
    waiting = list(reversed(first))
    shift = 0  # how much further on a text stands after the first round than before it
    for late in second:
        while waiting and waiting[-1].start + shift + len(waiting[-1].text) <= late.start:
            done.append(waiting.pop())
            shift += _growth(done[-1])
        start, before = late.start - shift, ""
        while waiting and waiting[-1].start + shift < late.end:
            early = waiting.pop()
            begins = early.start + shift
            if begins < late.start:
                start, before = early.start, early.text[: late.start - begins]
            shift += _growth(early)
            if rest := early.text[max(late.end - begins, 0) :]:
                waiting.append(msgspec.structs.replace(early, start=early.end, text=rest))
                shift -= len(rest)
        done.append(msgspec.structs.replace(late, start=start, end=late.end - shift, text=before + late.text))
    return done + list(reversed(waiting))


def _growth(removal: Removal) -> int:
    return len(removal.text) - (removal.end - removal.start)
