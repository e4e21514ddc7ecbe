"""Hold the word pieces that published vocabularies have in common: what an unseen one is likely to have as well."""

import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Final

import msgspec

from bursar.core.errors import ConfigError

_FILE: Final = "pieces.bin"


class PieceTable(msgspec.Struct, frozen=True):
    """Hold the pieces as they ship: those of words and marks, then those of Chinese, Japanese and Korean script.

    Both are in the order in which they are merged, so how common a piece is shows in its place.
    """

    source: str
    licence: str
    made_by: str
    date: str
    words: tuple[bytes, ...]
    word_ranks: tuple[int, ...]  # in the first vocabulary, of each of `words`
    han: tuple[bytes, ...]


class Pieces:
    """Know how common a piece is, and cut what is no piece into those it is made of."""

    def __init__(self, words: Mapping[bytes, int], han: Sequence[bytes]) -> None:
        self.words = dict(words)
        self.han = {piece: place for place, piece in enumerate(han)}

    def cut(self, word: bytes) -> int:
        """Count the pieces a word is cut into by merging the most common pair first, as vocabularies do it."""
        ranks, parts = self.words, [word[at : at + 1] for at in range(len(word))]
        while len(parts) > 1:
            pairs = [ranks.get(left + right, _NEVER) for left, right in pairwise(parts)]
            best = min(pairs)
            if best == _NEVER:
                break
            at = pairs.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return len(parts)


_NEVER: Final = 1 << 60


def load() -> Pieces:
    """Read the pieces that ship with the package. Takes some tens of milliseconds: keep the result."""
    table = read_table((files("bursar.tokens") / "data" / _FILE).read_bytes())
    return Pieces(dict(zip(table.words, table.word_ranks, strict=True)), table.han)


def read_table(content: bytes) -> PieceTable:
    """Read a table of pieces. Raises `ConfigError` for what is none."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(content), type=PieceTable)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ConfigError(f"{_FILE} is no table of word pieces: {error}; install bursar again") from None


def write_table(table: PieceTable) -> bytes:
    """Write a table of pieces as it ships."""
    return zlib.compress(msgspec.msgpack.encode(table), 9)
