"""Cut prose into passages and sentences without losing a character: every cut is a pair of offsets."""

import re
from itertools import pairwise
from typing import Final, NamedTuple

_GAP: Final = re.compile(
    r"\n[ \t]*\n\s*"  # a blank line
    r"|\n(?=[ \t]*(?:Document \[|\[\d+\][ :(]|#{1,6} ))"  # a line that begins another document or section
)
_HEAD: Final = re.compile(
    r"[ \t]*(?:Document \[\d+\] ?\(Title: (?P<named>(?:[^()\n]|\([^()\n]*\))*)\)[ :]*"
    r"|\[\d+\][ :]*|#{1,6} (?P<heading>[^\n]+)\n*)"
)
_TITLE_CHARACTERS_MAX: Final = 120
_CLOSERS: Final = r"[\"'\u201d\u2019)\]]*"
_OPENERS: Final = r"[\"'\u201c\u2018(\[]?"
_STOP: Final = re.compile(
    rf"[.!?]{_CLOSERS}(?:\s+(?={_OPENERS}[A-Z0-9\u00c0-\u024f\u0400-\u042f])|\s*\n\s*)"
    r"|[\u3002\uff01\uff1f]\s*"  # full stops of Chinese and Japanese need no space behind them
    r"|\n(?=[ \t]*(?:[-*\u2022] |\||\d+[.)] ))"  # items of a list, rows of a table
)
_LINES: Final = re.compile(r"\n")
_LINES_MIN: Final = 4
_NO_STOP: Final = re.compile(
    r"(?:^|[\s(.])(?:[A-Z]|Mrs?|Ms|Dr|Prof|Sr|Jr|St|vs|etc|Nos?|Vol|Fig|Inc|Ltd|Co|Corp|Gen|Col|Lt|Sgt|Capt|Rev|Hon|approx"
    r"|ca?|cf|al|e\.g|i\.e|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.$"
)


class Passage(NamedTuple):
    """Hold where a passage stands, where its words begin behind its head, what that calls it, and its sentences."""

    start: int
    body: int
    end: int
    title: str
    sentences: tuple[tuple[int, int], ...]


def cut(text: str, start: int = 0, end: int | None = None) -> list[Passage]:
    """Cut prose into passages, all of them together the whole of it. White space belongs to what stands before it."""
    end = len(text) if end is None else end
    edges = [start, *(match.end() for match in _GAP.finditer(text, start, end)), end]
    return [_passage(text, first, last) for first, last in pairwise(edges) if first < last]


def _passage(text: str, start: int, end: int) -> Passage:
    """Find a passage's head: a mark with a title, a heading, or a first line that is short and ends in no full stop."""
    if (head := _HEAD.match(text, start, end)) is not None and head.end() <= end:
        return _holding(text, start, head.end(), end, head["named"] or head["heading"] or "")
    line = text.find("\n", start, min(end, start + _TITLE_CHARACTERS_MAX))
    if line > start and line + 1 < end and text[line - 1] not in ".!?:,;" and not text[line + 1].isspace():
        rest = text.find("\n", line + 1, end)
        if (rest if rest > 0 else end) - line > line - start:
            return _holding(text, start, line + 1, end, text[start:line].strip())
    return _holding(text, start, start, end, "")


def _holding(text: str, start: int, body: int, end: int, title: str) -> Passage:
    return Passage(start, body, end, title, tuple(_sentences(text, body, end)))


def _sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the spans of a passage's sentences, or of its lines where each stands for itself.

    A full stop behind an abbreviation or an initial ends none.
    """
    stops = _LINES if _is_lines(text[start:end]) else _STOP
    found: list[tuple[int, int]] = []
    at = start
    for match in stops.finditer(text, start, end):
        if match.end() < end and _NO_STOP.search(text, max(at, match.start() - 12), match.start() + 1) is None:
            found.append((at, match.end()))
            at = match.end()
    if at < end:
        found.append((at, end))
    return found


def _is_lines(text: str) -> bool:
    """Tell whether a passage is a log, a list or rows: lines of which few go on in the next, as wrapped prose does."""
    lines = text.strip().split("\n")
    going_on = sum(line.lstrip()[:1].islower() for line in lines[1:])
    return len(lines) >= _LINES_MIN and going_on * 4 < len(lines)
