"""Cut text into the word pieces of BERT's uncased vocabularies.

As BERT does it: lower case, accents off, punctuation and Chinese characters apart, then the longest piece that fits,
again and again. One thing differs: what Unicode calls a line or page break parts words here, where BERT joins them.
"""

import re
import unicodedata
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

NUMBER: Final = "i"  # how a number is packed: `array` and NumPy read it alike
UNKNOWN: Final = "[UNK]"
INSIDE: Final = "##"  # begins a piece that begins no word
BEGINNING: Final = 3  # characters that tell how long pieces can be
_SHORTER: Final = tuple(range(BEGINNING - 1, 0, -1))
WORD_CHARACTERS_MAX: Final = 100  # BERT takes a longer word for unknown
CACHED_CHUNKS_MAX: Final = 32_768
CACHED_CHARACTERS_MAX: Final = 40  # nothing longer is remembered: it hardly comes again, and memory stays bounded

_APART: Final = ",.\"()'-:"  # what most often stands beside words: set apart before, it makes no chunks of its own
_PLAIN: Final = re.compile("[a-z0-9]+|[^a-z0-9 ]")
_IDEOGRAPHS: Final = (  # the blocks BERT sets apart; kana and hangul are none of them
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """Turn texts into numbers of word pieces; what stands between two blanks is remembered with its numbers."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        numbered = {piece: number for number, piece in enumerate(vocabulary)}
        inner = {piece.removeprefix(INSIDE): number for piece, number in numbered.items() if piece.startswith(INSIDE)}
        self._first, self._inner = _pieces(numbered), _pieces(inner)
        self._unknown = (numbered[UNKNOWN],) if UNKNOWN in numbered else ()
        self._characters = _Characters()
        self._chunks = _Memory(self._pieces_of)

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of a text's pieces, in order, without marks of start and end."""
        return array(NUMBER, self.packed(text)).tolist()

    def packed(self, text: str) -> bytes:
        """Return the numbers of a text's pieces as `NUMBER`s: bytes can be joined, and read as an array at once."""
        if text.isascii():  # elsewhere a capital's small form may hang on what stands around it
            text = text.lower()
        for sign in _APART:
            text = text.replace(sign, f" {sign} ")
        return b"".join(map(self._chunks.__getitem__, text.split()))

    def _pieces_of(self, chunk: str) -> bytes:
        """Return the numbers of a chunk's pieces."""
        if not (chunk.isascii() and chunk.isprintable()):
            words = unicodedata.normalize("NFD", chunk).translate(self._characters).lower().split()
        else:
            word = chunk.lower()
            words = (word,) if word.isalnum() else _PLAIN.findall(word)
        found, whole = array(NUMBER), self._first.numbers
        for word in words:
            number = whole.get(word)
            if number is not None:
                found.append(number)
            else:
                found.extend(self._cut(word))
        return found.tobytes()

    def _cut(self, word: str) -> tuple[int, ...]:
        """Cut a word into the longest pieces from the left; one that cannot be cut to its end is unknown."""
        if len(word) > WORD_CHARACTERS_MAX:
            return self._unknown
        found: list[int] = []
        numbers, lengths = self._first
        rest = word
        while rest:
            for length in lengths.get(rest[:BEGINNING], _SHORTER):
                number = numbers.get(rest[:length])
                if number is not None:
                    found.append(number)
                    rest = rest[length:]
                    break
            else:
                return self._unknown
            numbers, lengths = self._inner
        return tuple(found)


class _Pieces(NamedTuple):
    """Hold pieces with their numbers, and by their first characters how long they can be, the longest first."""

    numbers: dict[str, int]
    lengths: dict[str, tuple[int, ...]]


def _pieces(numbers: dict[str, int]) -> _Pieces:
    found: dict[str, set[int]] = {}
    for piece in numbers:
        if len(piece) >= BEGINNING:
            found.setdefault(piece[:BEGINNING], set()).add(len(piece))
    return _Pieces(numbers, {start: (*sorted(each, reverse=True), *_SHORTER) for start, each in found.items()})


class _Memory(dict[str, bytes]):
    """Remember what texts are cut into, the last so many of them; to forget all at once would take milliseconds."""

    def __init__(self, cut: Callable[[str], bytes]) -> None:
        super().__init__()
        self._cut = cut
        self._order = deque[str]()

    def __missing__(self, text: str) -> bytes:
        """Cut a text never seen."""
        pieces = self._cut(text)
        if len(text) <= CACHED_CHARACTERS_MAX:
            if len(self) >= CACHED_CHUNKS_MAX:
                self.pop(self._order.popleft(), None)  # two threads may have cut the same text
            self._order.append(text)
            self[text] = pieces
        return pieces


class _Characters(dict[int, str]):
    """Say what becomes of a character: dropped, set apart by blanks, or kept. `str.translate` asks it."""

    def __missing__(self, point: int) -> str:
        """Judge a character never seen."""
        self[point] = became = _become(chr(point))
        return became


def _become(character: str) -> str:
    """Return what a character becomes before words are cut."""
    kind, point = unicodedata.category(character), ord(character)
    if kind == "Lo":
        for low, high in _IDEOGRAPHS:
            if low <= point <= high:
                return f" {character} "
        return character
    if character.isspace():
        return " "
    if kind == "Mn" or kind[0] == "C" or character == "\ufffd":
        return ""
    if kind[0] == "P" or (point < 128 and not character.isalnum()):
        return f" {character} "
    return character
