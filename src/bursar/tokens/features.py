"""Count what a text is made of, by classes whose tokens differ from vocabulary to vocabulary.

A text is split as the vocabularies of 2023 and later split it, and each piece falls into a class: a word or mark that
vocabularies have whole, by how common it is; one they cut; digits; blanks; Chinese, Japanese or Korean characters, by
how many of them are one piece. How many tokens a class has in one model's vocabulary is what calibration learns.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

from bursar.tokens.pieces import Pieces

Counts: TypeAlias = tuple[int, ...]
"""How often each of `FEATURES` occurs."""

WORD_BANDS: Final = (2_000, 8_000, 32_000)  # ranks between which a piece is as common as the others of its class
HAN_BANDS: Final = (1_500,)
HAN_CHARS_MAX: Final = 4  # of the longest piece that is looked for
FEATURES: Final = (
    "call",
    "texts",
    *(f"{kind}_{band}" for kind in ("word", "mark") for band in range(len(WORD_BANDS) + 1)),
    "word_pieces",
    "words_cut",
    "foreign_pieces",
    "mark_pieces",
    "marks_foreign",
    "digit_groups",
    "digits",
    "line_breaks",
    "line_breaks_more",
    "blanks",
    "blanks_more",
    *(f"han_{chars}_{band}" for chars in (1, 2, 3) for band in range(len(HAN_BANDS) + 1)),
    "han_unknown",
    "han_marks",
)
NOT_TOKENS: Final = frozenset(
    {"call", "texts", "words_cut", "marks_foreign", "digits", "line_breaks_more", "blanks_more"}
)
"""Those that are not about one token each before anything is learned."""

PLACES: Final = {name: place for place, name in enumerate(FEATURES)}

_CUT_BYTES_MAX: Final = 64  # what is longer is cut here first: merging takes the square of the length
_REMEMBERED_MAX: Final = 50_000

_HAN: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_UPPER: Final = "A-ZÀ-ÖØ-Þ"
_LEAD: Final = r"(?:[^\r\n\w]|_)?"
_SPLIT: Final = re.compile(
    rf"{_LEAD}[{_HAN}]+"
    rf"|{_LEAD}(?:[{_UPPER}]*[^\W\d_{_UPPER}{_HAN}]+|[{_UPPER}]+)(?:'(?i:s|t|re|ve|m|ll|d)\b)?"
    r"|\d{1,3}"
    r"| ?(?:[^\s\w]|_)+[\r\n/]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_IS_HAN: Final = re.compile(f"[{_HAN}]")

_Found: TypeAlias = tuple[tuple[int, int], ...]


class Reader:
    """Count the features of texts; what a piece is counted as is remembered, up to a bound."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._remembered: dict[str, _Found] = {}

    def text(self, text: str) -> Counts:
        """Count the features of a text alone."""
        totals = [0] * len(FEATURES)
        for piece, times in Counter(_SPLIT.findall(text)).items():
            for place, count in self._found(piece):
                totals[place] += count * times
        return tuple(totals)

    def call(self, texts: Sequence[str]) -> Counts:
        """Count the features of a call: its texts, and the frame a model's chat template puts around them."""
        totals = [0] * len(FEATURES)
        for text in texts:
            for place, count in enumerate(self.text(text)):
                totals[place] += count
        totals[PLACES["call"]], totals[PLACES["texts"]] = 1, len(texts)
        return tuple(totals)

    def _found(self, piece: str) -> _Found:
        found = self._remembered.get(piece)
        if found is None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[piece] = self._read(piece)
        return found

    def _read(self, piece: str) -> _Found:
        first, last = piece[0], piece[-1]
        if _IS_HAN.match(last):
            return self._han(piece)
        if not first.isascii() and not first.isalnum() and piece[1:2].isalpha() and piece[1:].isascii():
            return (*self._word(piece[1:]), *_counted(han_marks=1))
        if last.isdigit() or piece.isdigit():
            return _counted(digit_groups=1, digits=len(piece))
        if piece.isspace():
            name = "line_breaks" if "\n" in piece or "\r" in piece else "blanks"
            return _counted(**{name: 1, f"{name}_more": len(piece) - 1})
        return self._word(piece)

    def _word(self, piece: str) -> _Found:
        """Tell of a word or mark whether vocabularies have it whole, and else what it is cut into."""
        is_word = any(character.isalpha() for character in piece[:2])
        encoded = piece.encode("utf-8", "replace")
        rank = self._pieces.words.get(encoded)
        if rank is not None:
            return _counted(**{f"{'word' if is_word else 'mark'}_{bisect_right(WORD_BANDS, rank)}": 1})
        cut = sum(self._pieces.cut(encoded[at : at + _CUT_BYTES_MAX]) for at in range(0, len(encoded), _CUT_BYTES_MAX))
        if not is_word:
            return _counted(mark_pieces=cut, marks_foreign=0 if piece.isascii() else 1)
        return _counted(word_pieces=cut, words_cut=1) if piece.isascii() else _counted(foreign_pieces=cut)

    def _han(self, piece: str) -> _Found:
        """Cut a run of characters into the longest pieces there are."""
        counts, at = Counter[str](), 0
        if not _IS_HAN.match(piece[0]):
            counts["han_marks"], at = 1, 1
        while at < len(piece):
            chars, rank = self._longest(piece[at : at + HAN_CHARS_MAX])
            name = "han_unknown" if rank is None else f"han_{min(chars, 3)}_{bisect_right(HAN_BANDS, rank)}"
            counts[name] += 1
            at += chars
        return _counted(**counts)

    def _longest(self, text: str) -> tuple[int, int | None]:
        """Return how many characters the longest piece at the beginning of a text has, and its rank if it is one."""
        for chars in range(len(text), 0, -1):
            rank = self._pieces.han.get(text[:chars].encode("utf-8", "replace"))
            if rank is not None:
                return chars, rank
        return 1, None


def _counted(**counts: int) -> _Found:
    return tuple((PLACES[name], count) for name, count in counts.items() if count)
