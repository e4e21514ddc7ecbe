"""Cut prose into passages and sentences without losing a character: every cut is a pair of offsets."""

import re
from itertools import pairwise
from typing import Final, NamedTuple
from unicodedata import category

_GAP: Final = re.compile(
    r"\n[ \t]*\n\s*"  # a blank line
    r"|\n(?=[ \t]*(?:Document \[|\[\d+\][ :(]|#{1,6} ))"  # a line that begins another document or section
)
_HEAD: Final = re.compile(
    r"[ \t]*(?:Document \[\d+\] ?\(Title: (?P<named>(?:[^()\n]|\([^()\n]*\))*)\)[ :]*"
    r"|\[\d+\][ :]*|#{1,6} (?P<heading>[^\n]+)\n*)"
)
_TITLE_CHARACTERS_MAX: Final = 120
_HEADING_WORDS_MAX: Final = 10
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Letters of Thai, Lao, Burmese and Khmer, which put blanks between clauses and seldom a sign behind them."""

_CLOSERS: Final = r"[\"'\u201d\u2019)\]]*"
_OPENERS: Final = r"[\"'\u201c\u2018(\[\u00ab\u00bf\u00a1]?"
_BEGINS: Final = (
    r"A-Z0-9\u00c0-\u024f\u0391-\u03a9\u0400-\u042f\u0531-\u0556"
    r"\u05d0-\u10ff\u1100-\u1cff\u2d80-\u2dff\u3005-\ud7ff\uf900-\ufdff\ufe70-\ufefc"  # letters without case
)
_STOPS: Final = r"[.!?\u2026]"
_STOPS_UNSPACED: Final = r"[\u3002\uff01\uff1f\uff61\u0964\u0965\u06d4\u061f\u1362\u104b\u17d4]"  # no space behind them
_STOP: Final = re.compile(
    rf"[{_STOPS[1:-1]}{_STOPS_UNSPACED[1:-1]}\n]"  # one set first: the search for it is fast
    rf"(?:(?<={_STOPS}){_CLOSERS}(?:\s+(?={_OPENERS}[{_BEGINS}])|\s*\n\s*)"
    rf"|(?<={_STOPS_UNSPACED})[\"'\u201d\u2019)\]\u300d\u300f\uff09]*\s*"
    r"|(?<=\n)(?=[ \t]*(?:[-*\u2022] |\||\d+[.)] )))"  # items of a list, rows of a table
)
_STOP_OR_BLANK: Final = re.compile(rf"{_STOP.pattern}|(?<=[{_UNSPACED}])[ \u200b]+(?=[{_UNSPACED}])")
_BLANKS: Final = re.compile(rf"[{_UNSPACED}][ \u200b]")
_CLAUSE_CHARACTERS_MIN: Final = 40
_LINES: Final = re.compile(r"\n")
_LINES_MIN: Final = 4
_WRAPPED_CHARACTERS_MIN: Final = 30
_WRAPPED_WORDS_MIN: Final = 4
_NO_STOP: Final = re.compile(
    r"(?:^|[\s(.])(?:[A-Z\u0400-\u042f\u05d0-\u10ff]|Mrs?|Ms|Dr|Prof|Sr|Jr|St|vs|etc|Nos?|Vol|Fig|Inc|Ltd|Co|Corp|Gen|Col|Lt"
    r"|Sgt|Capt|Rev|Hon|approx|ca?|cf|al|e\.g|i\.e|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.$"
    rf"|[{_UNSPACED}]\.$"
)
_SHORT_MAX: Final = 6  # letters of the longest of them
_BREAK: Final = re.compile(r"[\s>,;\u3001\uff0c](?=\S)")


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
        following = text[line + 1 : rest if rest > 0 else end]
        if len(following) >= line - start and not _goes_on(text[start:line], following, line - start):
            return _holding(text, start, line + 1, end, text[start:line].strip())
    return _holding(text, start, start, end, "")


def _holding(text: str, start: int, body: int, end: int, title: str) -> Passage:
    return Passage(start, body, end, title, tuple(_sentences(text, body, end)))


def _sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the spans of a passage's sentences, or of its lines where each stands for itself.

    A full stop behind an abbreviation or an initial ends none.
    """
    blanks = not text.isascii() and _BLANKS.search(text, start, end)
    stops = _LINES if is_lines(text[start:end]) else _STOP_OR_BLANK if blanks else _STOP
    found: list[tuple[int, int]] = []
    at = start
    for match in stops.finditer(text, start, end):
        if match.end() < end and _ends(text, at, match):
            found.append((at, match.end()))
            at = match.end()
    if at < end:
        found.append((at, end))
    return found


def _ends(text: str, start: int, stop: re.Match[str]) -> bool:
    """Tell whether a sentence ends at a stop: not behind an abbreviation, nor at a blank after few letters."""
    if stop[0][0] in " \u200b":
        return stop.start() - start >= _CLAUSE_CHARACTERS_MIN
    at = stop.start()
    dot = at if text[at] == "." else at - 1  # of a line, the stop is its end
    before = text[max(start, dot - _SHORT_MAX - 1) : dot]
    if dot < start or text[dot] != "." or (len(before) > _SHORT_MAX and before.isascii() and before.isalpha()):
        return True
    return _NO_STOP.search(text, max(start, at - 12), at + 1) is None


def is_lines(text: str, least: int = _LINES_MIN) -> bool:
    """Tell whether a passage is a log, a list or rows: lines of which few go on in the next, as wrapped prose does."""
    lines = text.strip().split("\n")
    if len(lines) < least:
        return False
    width = max(map(len, lines))
    going_on = sum(_goes_on(line, following, width) for line, following in pairwise(lines))
    return going_on * 4 < len(lines)


def _goes_on(line: str, following: str, width: int) -> bool:
    """Tell whether a line was wrapped: it is long, ends in no full stop, and the next begins small."""
    if not following.lstrip()[:1].islower() or line.rstrip()[-1:] in (".", "!", "?", ":", ";"):
        return False
    long = max(_WRAPPED_CHARACTERS_MIN, width * 3 // 4)
    return len(line) + len(following.split(None, 1)[0]) >= long and len(line.split()) >= _WRAPPED_WORDS_MIN


def by_lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut a stretch of text by its lines, all of them together the whole of it."""
    edges = [start, *(match.end() for match in _LINES.finditer(text, start, end)), end]
    return [(first, last) for first, last in pairwise(edges) if first < last]


def by_size(text: str, start: int, end: int, size: int) -> list[tuple[int, int]]:
    """Cut a stretch of text into such of at most `size` characters, behind words where it has any."""
    found: list[tuple[int, int]] = []
    while end - start > size:
        breaks = [match.end() for match in _BREAK.finditer(text, start + size // 2, start + size)]
        at = breaks[-1] if breaks else start + size
        while at > start + 1 and category(text[at]).startswith("M"):  # an accent belongs to its letter
            at -= 1
        found.append((start, at))
        start = at
    return [*found, (start, end)]


def is_heading(text: str, start: int, end: int) -> bool:
    """Tell whether a passage is a heading in plain words: a short line, set off, that ends in no sign."""
    line = text[start:end].strip()
    return (
        0 < len(line) <= _TITLE_CHARACTERS_MAX
        and "\n" not in line
        and line[-1] not in ".!?:,;\u3002\uff01\uff1f\u2026"
        and not line[0].islower()
        and len(line.split()) <= _HEADING_WORDS_MAX
    )
