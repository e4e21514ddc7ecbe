"""Find white space and invisible characters that say nothing; leave what may: indents, code, aligned columns."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

_UNSEEN: Final = "\u200b\u2060\ufeff\u00ad"
INVISIBLE: Final = re.compile(f"[{_UNSEEN}]+")
_UNSPACED: Final = re.compile(r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
"""Letters of Lao, Thai, Tibetan, Burmese and Khmer: between them an invisible character tells where a word ends."""

_FENCES: Final = ("`", "~")  # what begins with one in plain sight is code
_LINE_END: Final = re.compile(r"[ \t]\r?\n")
_MARKDOWN_BREAK: Final = "  "
_BLANK_LINES: Final = re.compile(rf"\n((?:[ \t{_UNSEEN}]*+\r?\n)++)")
_WIDE: Final = re.compile(r"  +")  # two that are spelled out: the search runs as fast as one for a text
_LINE: Final = re.compile(r"[^\n]+")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_FLOWING_WORDS: Final = 8
_CODE_STARTS: Final = (
    *(
        "def ",
        "class ",
        "import ",
        "#include",
        "function ",
        "const ",
        "let ",
        "var ",
        "public ",
        "private ",
        "package ",
    ),
    *("fn ", "use ", "func ", "async ", "return ", "if (", "for (", "while (", "diff --git", "@@ -", "--- ", "+++ "),
    *("<?", "#!", "-----BEGIN "),
)
_CODE_ENDS: Final = ("{", "}", ";", "\\", "|", ">", "|-", ">-", "|+", ">+")
_CODE: Final = re.compile(r"[0-9]+\t|from \S+ import|[\w.\[\]\"']+ *(?:: *[\w.\[\]]+ *)?[-+*/|&:]?= *[^\s=]")
"""A numbered line, an import, an assignment."""

_STRUCTURE: Final = re.compile(r"[|{}<>=\\`\t]")


def spaces(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Find what may go from prose between `start` and `end`: (from, to, what is to stand there), in order and apart."""
    found: list[tuple[int, int, str]] = []
    if has_unseen(text, start, end):
        found += [(match.start(), match.end(), "") for match in INVISIBLE.finditer(text, start, end) if _is_idle(match)]
    found += [_blank(match) for match in _BLANK_LINES.finditer(text, start, end) if _is_long(match, end)]
    found += [(first, last, "") for first, last in _ends_of_lines(text, start, end) if _is_trailing(text, first, last)]
    found += list(_wide(text, start, end))
    last = start
    for each in sorted(found, key=lambda each: (each[0], -each[1])):
        if each[0] >= last:
            if each[2] != text[each[0] : each[1]]:
                yield each
            last = each[1]


def looks_like_code(text: str, start: int, end: int) -> bool:
    """Tell whether any line between `start` and `end` looks like code, a patch or a block of YAML."""
    for line in text[start:end].split("\n"):
        bare = line.strip()
        if bare.endswith(_CODE_ENDS) or bare.startswith(_CODE_STARTS) or line.startswith("\t") or _CODE.match(bare):
            return True
    return False


def meaning(text: str) -> list[str]:
    """Return the lines as they read when white space and invisible characters do not count, except indents."""
    seen = INVISIBLE.sub("", text) if has_unseen(text, 0, len(text)) else text
    lines = [line.rstrip() for line in seen.split("\n")]
    return [line[: len(line) - len(line.lstrip())] + " ".join(line.split()) for line in lines if line]


def keeps_meaning(text: str, start: int, end: int, edits: Sequence[tuple[int, int, str]]) -> bool:
    """Tell whether edits, in order and apart, leave what is between `start` and `end` its meaning.

    Only lines that an edit touches are compared; the others are as they were.
    """
    at = 0
    while at < len(edits):
        first = done = max(text.rfind("\n", start, edits[at][0]) + 1, start)
        last = edits[at][0]
        pieces: list[str] = []
        while at < len(edits) and edits[at][0] <= last:
            pieces += (text[done : edits[at][0]], edits[at][2])
            done = edits[at][1]
            line_end = text.find("\n", done, end)
            last = line_end if line_end >= 0 else end
            at += 1
        if meaning(text[first:last]) != meaning("".join([*pieces, text[done:last]])):
            return False
    return True


def has_unseen(text: str, start: int, end: int) -> bool:
    """Tell whether there is an invisible character between `start` and `end`."""
    return not text.isascii() and any(text.find(each, start, end) >= 0 for each in _UNSEEN)


def _is_idle(match: re.Match[str]) -> bool:
    around = match.string[max(0, match.start() - 1) : match.start()] + match.string[match.end() : match.end() + 1]
    return _UNSPACED.search(around) is None and around[-1:] not in _FENCES


def _ends_of_lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Find the blanks before the ends of lines."""
    for match in _LINE_END.finditer(text, start, end):
        first = last = match.start()
        while first > start and text[first - 1] in " \t":
            first -= 1
        if text[max(0, first - 1) : first] not in (" ", "\t"):
            yield first, last + 1


def _is_trailing(text: str, start: int, end: int) -> bool:
    """Tell blanks at a line's end from the two that break a line of Markdown, and from the tabs of cells left empty."""
    at = start
    while at and text[at - 1] in _UNSEEN:
        at -= 1
    behind = text[max(0, at - 1) : at]
    if "\t" in text[start:end] and behind != "\n":
        return False
    return behind in ("", "\n") or text[start:end] != _MARKDOWN_BREAK


def _is_long(match: re.Match[str], end: int) -> bool:
    """Tell blank lines of which some may go, or none: rows whose cells are all empty."""
    return (match[1].count("\n") > 1 and match.end() < end) or _is_rows(match)


def _is_rows(match: re.Match[str]) -> bool:
    """Tell whether blank lines with tabs stand beside a line that has tabs."""
    if "\t" not in match[1]:
        return False
    text, start, stop = match.string, match.start(), match.end()
    above = text[text.rfind("\n", 0, start) + 1 : start]
    beneath = text.find("\n", stop)
    return "\t" in above or "\t" in text[stop : beneath if beneath >= 0 else len(text)]


def _blank(match: re.Match[str]) -> tuple[int, int, str]:
    return match.start(1), match.end(), match[1] if _is_rows(match) else "\n"


def _wide(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Find runs of blanks within lines of flowing prose: no column of a table is aligned by them."""
    for line in _LINE.finditer(text, start, end):
        if "  " not in line[0] or line[0][0].isspace() or _STRUCTURE.search(line[0]):
            continue
        gaps = [(match.start(), match.end()) for match in _WIDE.finditer(line[0]) if _parts(match)]
        enough = max(_FLOWING_WORDS, 4 * len(gaps))
        if gaps and sum(1 for _ in islice(_WORD.finditer(line[0]), enough)) == enough:
            yield from ((line.start() + one, line.start() + other, " ") for one, other in gaps)


def _parts(match: re.Match[str]) -> bool:
    """Tell whether there is something on both sides of a run of blanks."""
    around = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    return all(each and not each.isspace() for each in around)
