"""Read a question and the words of sentences: what is asked for, and what kind of word each is."""

import re
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from functools import lru_cache
from hashlib import blake2b
from sys import byteorder
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bursar.savings.compress.common_words import STOP_WORDS, WORD, words_of

Codes: TypeAlias = npt.NDArray[np.int64]


TERMS_MAX: Final = 48
"""Distinct words of a question that are looked for: of a long one, the last."""

_CHARACTERS: Final = bytes(
    each if each > 127 or chr(each).isalnum() or chr(each) in "'\n" else 32 for each in range(256)
)
"""What becomes of each byte before words are cut: signs of ASCII are no part of any."""

_CHUNKS_MAX: Final = 50_000  # a language has no more words than that in use
_CHUNK_BYTES_MAX: Final = 60  # what is longer hardly comes again

PREFIX: Final = 5
"""Letters by which two words that differ in form may still be one: direct, director, direction."""

_MONTHS: Final = frozenset(
    WORD.findall("january february march april may june july august september october november december")
)
_NUMBERS: Final = frozenset(
    WORD.findall(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred "
        "thousand million billion dozen first second third fourth fifth sixth seventh eighth ninth tenth "
        "once twice half"
    )
)
_PRONOUNS: Final = frozenset(WORD.findall("he she it they his her its their this these those such him them"))
_PLACES: Final = frozenset(
    WORD.findall(
        "city town village county state country island river north south east west northern southern "
        "eastern western coast region province district capital located border near street valley "
        "mountain lake sea"
    )
)
_REASONS: Final = frozenset(
    WORD.findall("because since due reason therefore thus cause caused causes result so order means purpose")
)


class Flag(IntFlag):
    """Say of what kind a word is."""

    capital = 1
    digits = 2
    year = 4
    month = 8
    number = 16
    place = 32
    reason = 64
    pronoun = 128
    plain = 256
    by = 512
    line_end = 1_024  # no word


_FLAGS: Final = (
    (Flag.month, _MONTHS),
    (Flag.number, _NUMBERS),
    (Flag.place, _PLACES),
    (Flag.reason, _REASONS),
    (Flag.pronoun, _PRONOUNS),
    (Flag.plain, STOP_WORDS),
    (Flag.by, frozenset(("by",))),
    (Flag.line_end, frozenset(("\n",))),
)
_OF_WORD: Final = {
    word: sum(int(flag) for flag, words in _FLAGS if word in words) for _, words in _FLAGS for word in words
}


class Asks(IntEnum):
    """Say what kind of answer a question wants."""

    other = 0
    who = 1
    when = 2
    where = 3
    number = 4
    why = 5


_ASKS: Final = (
    (
        Asks.number,
        r"\bhow (?:many|much|long|old|far|tall|big|large|high|often|deep|fast|wide)\b|\b(?:percentage|number) of\b",
    ),
    (
        Asks.when,
        r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b|\bhow (?:recently|long ago)\b",
    ),
    (Asks.who, r"\bwho(?:m|se|'s)?\b|\bname of the (?:singer|actor|actress|author|person|man|woman)\b"),
    (
        Asks.where,
        r"\bwhere\b|\b(?:what|which) (?:city|country|state|county|place|town|continent|region|island|river)\b",
    ),
    (
        Asks.why,
        r"\bwhy\b|\bhow (?:do|does|did|is|are|was|were|can|to|come)\b|\bwhat (?:cause[sd]?|purpose|reason)\b",
    ),
)


class Question(NamedTuple):
    """Hold a question's words as stems in order, the distinct ones that mean something, and what it asks for."""

    stems: tuple[str, ...]
    terms: tuple[str, ...]
    asks: Asks
    foreign: bool = False  # it is not English: other scripts or accents, and no word that English sentences are made of


def read_question(text: str) -> Question:
    """Read a question. One without a word that means something has its stop words for terms."""
    lowered = text.lower()
    words = [word for word in words_of(lowered) if word != "\n"][-4 * TERMS_MAX :]
    stems = [stem(word) for word in words]
    meant = dict.fromkeys(stem(word) for word in words if word not in STOP_WORDS)
    foreign = not text.isascii() and STOP_WORDS.isdisjoint(words)
    asks = next((kind for kind, pattern in _ASKS if re.search(pattern, lowered)), Asks.other)
    return Question(tuple(stems), (tuple(meant) or tuple(dict.fromkeys(stems)))[-TERMS_MAX:], asks, foreign)


class Known(NamedTuple):
    """Hold what is known of words in columns: what stands for their stem, for its first letters, and their flags."""

    stem: Codes
    prefix: Codes
    flags: Codes


def read(text: str) -> Known:
    """Return what is known of a text's words and line ends in order, a row each."""
    chunks = text.encode(errors="surrogatepass").translate(_CHARACTERS).replace(b"\n", b" \n ").split(b" ")
    columns = np.frombuffer(b"".join(map(_chunks().__getitem__, chunks)), np.int64).reshape(-1, 3).T
    return Known(columns[0], columns[1], columns[2])


def codes(stems: Sequence[str]) -> Codes:
    """Return what stands for stems, or for their first letters, in columns of `Known`."""
    return np.frombuffer(b"".join(map(_code, stems)), np.int64)


class _Chunks(dict[bytes, bytes]):
    """Remember what stands between two signs of ASCII with the rows of its words, as bytes that can be joined."""

    def __missing__(self, chunk: bytes) -> bytes:
        """Read a chunk never seen."""
        rows = b"".join(map(_row, words_of(chunk.decode(errors="surrogatepass"))))
        if len(chunk) <= _CHUNK_BYTES_MAX:
            if len(self) >= _CHUNKS_MAX:
                self.clear()
            self[chunk] = rows
        return rows


@lru_cache(maxsize=1)
def _chunks() -> _Chunks:
    return _Chunks()


def _row(word: str) -> bytes:
    found, flags = known(word)
    return _code(found) + _code(found[:PREFIX]) + flags.to_bytes(8, byteorder)


def _code(text: str) -> bytes:
    """Return 64 bits for a text: two that differ share them once in 18 quintillion pairs."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()


def known(word: str) -> tuple[str, int]:
    """Return a word's stem, and of what kind it is as the sum of its flags."""
    lowered = word.lower()
    if word[0].isdigit():
        is_year = len(word) == 4 and word.isdecimal() and "1000" <= word < "2100"
        return stem(lowered), int(Flag.digits | Flag.year if is_year else Flag.digits)
    return stem(lowered), _OF_WORD.get(lowered, 0) + (int(Flag.capital) if word[0] != lowered[0] else 0)


def stem(word: str) -> str:
    """Return what a lowered English word has in common with its other forms: plural, past, -ing, genitive."""
    if word.endswith(("'s", "\u2019s")):
        word = word[:-2]
    size = len(word)
    if size > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if size > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word, size = word[:-1], size - 1
    if size > 5 and word.endswith("ing"):
        word = word[:-3]
    elif size > 4 and word.endswith("ed"):
        word = word[:-2]
    elif size > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls" else word
