"""Cut a text into words, and know those that say nothing by themselves. Needs no arrays, so every worker may."""

import re
from itertools import pairwise
from typing import Final

WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?|\n")
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff"
_RUN: Final = re.compile(f"[{_UNSPACED}]{{3,}}")
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which put no blanks between words."""

STOP_WORDS: Final = frozenset(
    WORD.findall(
        "a an the and or but if of in on at to for from by with as into about than then so is are was "
        "were be been being am do does did has have had having it its he him his she her hers they them "
        "their we our you your i me my this that these those there here who whom whose what which when "
        "where why how many much can could will would shall should may might must not no s t also during "
        "after before between over under up down out off all any some each most more other such only own "
        "same too very just"
    )
)


def words_of(text: str) -> list[str]:
    """Return a text's words and line ends in order; letters of scripts without blanks come in pairs that overlap."""
    if not text.isascii() and _RUN.search(text):
        text = _RUN.sub(lambda run: " ".join(map("".join, pairwise(run[0]))), text)
    return WORD.findall(text)
