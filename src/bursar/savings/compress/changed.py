"""Say of a text that was there before what has changed in it: a file that an agent reads again after an edit."""

import re
from collections.abc import Sequence
from typing import Final

from bursar.savings.compress.repeats import quotes

_CHARACTERS_MIN: Final = 1_000
_SAVED_MIN: Final = 2  # what is said must be at most this part of the text
_CHANGED: Final = re.compile(
    r'\[the same text as above, which begins "([^\n]*)", but '
    r"(?:without lines ([0-9]+) to ([0-9]+)\]"
    r"|with this (?:in place of lines ([0-9]+) to ([0-9]+)|after line ([0-9]+)):\]\n)"
)


def changed(text: str, sent: Sequence[str]) -> str | None:
    """Return what has changed in a text since it was sent; None where none of those sent is much the same."""
    if len(text) < _CHARACTERS_MIN:
        return None
    for quoted in quotes(text):
        before = _begins(quoted, sent)
        said = (
            None
            if before is None
            else f'[the same text as above, which begins "{quoted}", but {_difference(before, text)}'
        )
        if said is not None and len(said) * _SAVED_MIN <= len(text) and apply(said, sent) == text:
            return said
    return None


def apply(said: str, sent: Sequence[str]) -> str | None:
    """Return the text of which `said` tells the changes; None where nothing that was sent begins so."""
    match = _CHANGED.match(said)
    before = None if match is None else _begins(match[1], sent)
    if match is None or before is None:
        return None
    lines = before.split("\n")
    first, last = (match[2], match[3]) if match[2] else (match[4], match[5])
    start, end = (int(match[6]), int(match[6])) if match[6] else (int(first) - 1, int(last))
    between = [] if match[2] else said[match.end() :].split("\n")
    return "\n".join([*lines[:start], *between, *lines[end:]])


def _begins(quoted: str, sent: Sequence[str]) -> str | None:
    return next((text for text in sent if text.startswith(quoted) and len(text) >= _CHARACTERS_MIN), None)


def _difference(before: str, text: str) -> str:
    """Say what stands in place of which lines: all from the first that differs to the last."""
    old, new = before.split("\n"), text.split("\n")
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
