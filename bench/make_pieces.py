"""Make the table of word pieces that ships with the package: what three published vocabularies have in common.

    python -m bench.make_pieces

OpenAI's o200k and cl100k and Voyage's (Qwen's), as the package bpe-openai brings them. Words and marks are those of
o200k up to a rank that all three have, and all of its first ones; of Chinese, Japanese and Korean those that are most
common over all. Mistral's is not looked at: it is what estimates are measured on.
"""

import base64
import gzip
from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import log1p
from pathlib import Path
from typing import Final

from bursar.tokens.pieces import PieceTable, write_table

TARGET: Final = Path(__file__).parents[1] / "src/bursar/tokens/data/pieces.bin"
DATE: Final = "2026-11-22"
NAMES: Final = ("o200k_base", "voyage3_base", "cl100k_base")
RANK_MAX: Final = 60_000
FIRST: Final = 8_000  # those a vocabulary must have for its words to be cut at all
HAN_MAX: Final = 10_000
_HAN_ABSENT_RANK: Final = 10_000

Ranks = Mapping[bytes, int]


def main() -> None:
    """Make the table and write it."""
    table = make([read_ranks(name) for name in NAMES])
    content = write_table(table)
    TARGET.write_bytes(content)
    print(f"{len(table.words)} words and marks, {len(table.han)} of Han script, {len(content)} bytes")


def read_ranks(name: str) -> Ranks:
    """Read a vocabulary: its pieces, each with its rank."""
    content = gzip.decompress((files("bpe_openai") / "data" / f"{name}.tiktoken.gz").read_bytes())
    lines = (line.split() for line in content.split(b"\n") if line)
    return {base64.b64decode(piece): int(rank) for piece, rank in lines}


def make(vocabularies: Sequence[Ranks]) -> PieceTable:
    """Take what vocabularies have in common; ranks are those of the first."""
    first, *others = vocabularies
    words = [
        piece
        for piece, rank in sorted(first.items(), key=lambda item: item[1])
        if not _is_han(piece) and (rank < FIRST or (rank < RANK_MAX and all(piece in each for each in others)))
    ]
    return PieceTable(
        source="o200k_base, cl100k_base and voyage3_base, as bpe-openai 0.1.4 packs them",
        licence="MIT; Apache-2.0",
        made_by="bench/make_pieces.py",
        date=DATE,
        words=tuple(words),
        word_ranks=tuple(first[piece] for piece in words),
        han=tuple(_common_han(vocabularies)),
    )


def _common_han(vocabularies: Sequence[Ranks]) -> list[bytes]:
    """Return the pieces by how common they are over all vocabularies: each has a place of its own in each."""
    places: dict[bytes, list[int]] = {}
    for ranks in vocabularies:
        for place, piece in enumerate(sorted(filter(_is_han, ranks), key=ranks.__getitem__)):
            places.setdefault(piece, []).append(place)
    count, absent = len(vocabularies), log1p(_HAN_ABSENT_RANK)
    score = {piece: (sum(map(log1p, found)) + (count - len(found)) * absent) / count for piece, found in places.items()}
    order = sorted(score, key=lambda piece: (score[piece], piece))
    return [piece for place, piece in enumerate(order) if place < HAN_MAX or len(piece) <= 3]


def _is_han(piece: bytes) -> bool:
    return len(piece) >= 2 and 0xE3 <= piece[0] <= 0xE9


if __name__ == "__main__":
    main()
