"""Cut text into the word pieces of BERT's uncased vocabularies.

As BERT does it: lower case, accents off, punctuation and Chinese characters apart, then the longest piece that fits,
again and again. One thing differs: what Unicode calls a line or page break parts words here, where BERT joins them.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

UNKNOWN: Final = "[UNK]"
INSIDE: Final = "##"  # begins a piece that begins no word
BEGINNING: Final = 3  # characters that tell how long a piece can be
WORD_CHARACTERS_MAX: Final = 100  # BERT takes a longer word for unknown
CACHED_CHUNKS_MAX: Final = 32_768
CACHED_CHARACTERS_MAX: Final = 40  # nothing longer is remembered: it hardly comes again, and memory stays bounded

_IDEOGRAPHS: Final = (  # the blocks BERT sets apart; kana and hangul are none of them
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """Turn texts into numbers of word pieces; what stands between two blanks is remembered with its numbers."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._reach = _reach(vocabulary)
        self._unknown = (self._numbers[UNKNOWN],) if UNKNOWN in self._numbers else ()
        self._characters = _Characters()
        self._chunks = _Chunks(self)

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of a text's pieces, in order, without marks of start and end."""
        found: list[int] = []
        chunks = self._chunks
        for chunk in text.split():
            found += chunks[chunk]
        return found

    def pieces_of(self, chunk: str) -> tuple[int, ...]:
        """Return the numbers of a text's pieces, asking no memory."""
        plain = unicodedata.normalize("NFD", chunk).translate(self._characters).lower()
        return tuple(number for word in plain.split() for number in self._cut(word))

    def _cut(self, word: str) -> tuple[int, ...]:
        """Cut a word into the longest pieces from the left; one that cannot be cut to its end is unknown."""
        if len(word) > WORD_CHARACTERS_MAX:
            return self._unknown
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = INSIDE if start else ""
            reach = self._reach.get(mark + word[start : start + BEGINNING], BEGINNING - 1)
            for end in range(min(len(word), start + reach), start, -1):
                number = self._numbers.get(mark + word[start:end])
                if number is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return self._unknown
        return tuple(found)


def _reach(vocabulary: Sequence[str]) -> dict[str, int]:
    """Return, by how pieces begin, how many characters the longest has: a cutter need not try for more."""
    found: dict[str, int] = {}
    for piece in vocabulary:
        mark = INSIDE if piece.startswith(INSIDE) else ""
        letters = piece.removeprefix(mark)
        beginning = mark + letters[:BEGINNING]
        found[beginning] = max(found.get(beginning, 0), len(letters))
    return found


class _Chunks(dict[str, tuple[int, ...]]):
    """Remember what a chunk of text is cut into, up to so many of them; then begin anew."""

    def __init__(self, cutter: WordPiece) -> None:
        super().__init__()
        self._cutter = cutter

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        """Cut a chunk never seen."""
        pieces = self._cutter.pieces_of(chunk)
        if len(chunk) <= CACHED_CHARACTERS_MAX:
            if len(self) >= CACHED_CHUNKS_MAX:
                self.clear()
            self[chunk] = pieces
        return pieces


class _Characters(dict[int, str]):
    """Say what becomes of a character: dropped, set apart by blanks, or kept. `str.translate` asks it."""

    def __missing__(self, point: int) -> str:
        """Judge a character never seen."""
        self[point] = became = _become(chr(point))
        return became


def _become(character: str) -> str:
    """Return what a character becomes before words are cut."""
    kind = unicodedata.category(character)
    if character.isspace():
        return " "
    if kind == "Mn" or kind[0] == "C" or character == "\ufffd":
        return ""
    point = ord(character)
    if kind[0] == "P" or (point < 128 and not character.isalnum()):
        return f" {character} "
    if any(low <= point <= high for low, high in _IDEOGRAPHS):
        return f" {character} "
    return character
