"""Say of a text that was there before what has changed in it: a file that an agent reads again after an edit."""

import re
from typing import Final

from bursar.savings.compress.repeats import Said, quotes

_CHARACTERS_MIN: Final = 1_000
_SAVED_MIN: Final = 2  # what is said must be at most this part of the text
_CHANGED: Final = re.compile(
    r'\[the same text as above, which begins "([^\n]*)", but '
    r"(?:without lines ([0-9]+) to ([0-9]+)\]"
    r"|with this (?:in place of lines ([0-9]+) to ([0-9]+)|after line ([0-9]+)):\]\n)"
)


def changed(text: str, before: Said) -> str | None:
    """Return what has changed in a text since it was sent; None where none of those sent is much the same."""
    if len(text) < _CHARACTERS_MIN:
        return None
    new = text.split("\n")
    for quoted in quotes(text):
        old = before.lines(quoted)
        if old is None:
            continue
        said = f'[the same text as above, which begins "{quoted}", but {_difference(old, new)}'
        if len(said) * _SAVED_MIN <= len(text) and apply(said, before) == text:
            return said
    return None


def apply(said: str, before: Said) -> str | None:
    """Return the text of which `said` tells the changes; None where nothing that was sent begins so."""
    match = _CHANGED.match(said)
    lines = None if match is None else before.lines(match[1])
    if match is None or lines is None:
        return None
    first, last = (match[2], match[3]) if match[2] else (match[4], match[5])
    start, end = (int(match[6]), int(match[6])) if match[6] else (int(first) - 1, int(last))
    between = [] if match[2] else said[match.end() :].split("\n")
    return "\n".join([*lines[:start], *between, *lines[end:]])


def is_changed(text: str) -> bool:
    """Tell whether a text is one that says what has changed in an earlier one."""
    return _CHANGED.match(text) is not None


def _difference(old: list[str], new: list[str]) -> str:
    """Say what stands in place of which lines: all from the first that differs to the last."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    most -= head
    tail = next((at for at in range(most) if old[-1 - at] != new[-1 - at]), most)
    start, end = head, len(old) - tail
    between = "\n".join(new[head : len(new) - tail])
    if head == len(new) - tail:
        return f"without lines {start + 1} to {end}]"
    if start == end:
        return f"with this after line {start}:]\n{between}"
    return f"with this in place of lines {start + 1} to {end}:]\n{between}"
