"""Find white space and invisible characters that say nothing; leave what may: indents, code, aligned columns."""

import re
from collections.abc import Iterator
from typing import Final

_INVISIBLE: Final = re.compile(
    # Between letters of Lao, Thai, Tibetan, Burmese and Khmer they tell where a word ends.
    r"(?<![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff])[\u200b\u2060\ufeff\u00ad]+(?![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff])"
)
_TRAILING: Final = re.compile(r"(?<=\S)(?:[ \t]*\t[ \t]*| | {3,})(?=\r?\n)")  # two blanks break a line of Markdown
_BLANK_LINES: Final = re.compile(r"(?<=\n)(?:[ \t]*\r?\n){2,}(?=[^\n])|(?<=\n)[ \t]+(?=\r?\n)")
_WIDE: Final = re.compile(r"(?<=[^\s]) {2,}(?=[^\s])")
_LINE: Final = re.compile(r"[^\n]+")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_FLOWING_WORDS: Final = 8
_CODE: Final = re.compile(
    r"^(?:[ \t]*(?:def |class |import |from \S+ import|#include|function |const |let |var |public |private |package "
    r"|fn |use |func |async |return |if \(|for \(|while \(|diff --git|@@ -|--- |\+\+\+ |<\?|#!|-----BEGIN |[0-9]+\t)"
    r"|\t|[^\n]*[|>][-+]?$|[^\n]*[{};\\]$)",
    re.MULTILINE,
)
_STRUCTURE: Final = frozenset("|{}<>=\\`\t")


def spaces(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Find what may go from prose between `start` and `end`: (from, to, what is to stand there), in order and apart."""
    found = [(match.start(), match.end(), "") for match in _INVISIBLE.finditer(text, start, end)]
    found += [(match.start(), match.end(), "") for match in _TRAILING.finditer(text, start, end)]
    found += [_blank(match) for match in _BLANK_LINES.finditer(text, start, end)]
    found += list(_wide(text, start, end))
    last = start
    for each in sorted(found):
        if each[0] >= last:
            yield each
            last = each[1]


def looks_like_code(text: str, start: int, end: int) -> bool:
    """Tell whether any line between `start` and `end` looks like code, a patch or a block of YAML."""
    return _CODE.search(text, start, end) is not None


def meaning(text: str) -> list[str]:
    """Return the lines as they read when white space and invisible characters do not count, except indents."""
    lines = [line.rstrip() for line in _INVISIBLE.sub("", text).split("\n")]
    return [line[: len(line) - len(line.lstrip())] + " ".join(line.split()) for line in lines if line]


def _blank(match: re.Match[str]) -> tuple[int, int, str]:
    return match.start(), match.end(), "\n" if "\n" in match[0] else ""


def _wide(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Find runs of blanks within lines of flowing prose: no column of a table is aligned by them."""
    for line in _LINE.finditer(text, start, end):
        if "  " not in line[0] or line[0][0].isspace() or not _STRUCTURE.isdisjoint(line[0]):
            continue
        gaps = [(match.start(), match.end()) for match in _WIDE.finditer(line[0])]
        words = len(_WORD.findall(line[0]))
        if words >= _FLOWING_WORDS and len(gaps) * 4 <= words:
            yield from ((line.start() + one, line.start() + other, " ") for one, other in gaps)
