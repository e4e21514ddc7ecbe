"""Find sentences that say something else without the one before them: they stay or go together."""

import re
from collections.abc import Sequence
from typing import Final

TOGETHER_MAX: Final = 4
"""Sentences that stay or go as one: of a longer row, the next begins another."""

_ASKS: Final = ("?", "\uff1f", "\u061f", "\u037e")
_LEANS: Final = re.compile(
    r"\W*(?:(?:This|That|It|They|These|Those|However|But|Yet|Still|Nevertheless|Though)\b"
    r"(?=.*?(?:\b(?:not|no|never|none|neither|nor|cannot|without|except)\b|n['\u2019]t\b))"
    r"|(?:Never|Not|Nor|Neither|Except|Unless|Otherwise)\b)",
    re.DOTALL,
)


def bound(sentences: Sequence[str], block: Sequence[int], apart: Sequence[bool]) -> list[int]:
    """Return for each sentence the number of its group, ascending; blocks that are `apart` have groups of one.

    A question goes with what follows it, and a sentence that takes back what the one before says goes with that.
    """
    groups: list[int] = []
    size = 0
    for number, sentence in enumerate(sentences):
        joins = (
            number > 0
            and block[number] == block[number - 1]
            and not apart[block[number]]
            and size < TOGETHER_MAX
            and (sentences[number - 1].endswith(_ASKS) or _LEANS.match(sentence) is not None)
        )
        last = groups[-1] if groups else -1
        groups.append(last if joins else last + 1)
        size = size + 1 if joins else 1
    return groups
