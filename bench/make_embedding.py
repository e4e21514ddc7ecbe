"""Make the table of word pieces that ships with the package, distilled from a small transformer.

    python -m bench.make_embedding [--teacher FOLDER] [--dimensions 256]

Each piece is read by the teacher alone, the mean of all is taken off, and the main directions are kept. A piece weighs
the less the commoner it is: pieces stand in the vocabulary by how common they are, and by Zipf the n-th has 1/n of the
first's share (Arora et al., A simple but tough-to-beat baseline, ICLR 2017).
"""

import argparse
import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from bench import teacher
from bursar.embed.bert import Bert
from bursar.embed.embedder import Floats
from bursar.embed.table import Provenance, Rows, quantized, write_table

TARGET: Final = Path(__file__).parents[1] / "src/bursar/embed/data/static.npz"
DATE: Final = "2026-11-22"
FIRST_PIECE: Final = 999  # before it stand marks and places never used
COMMON_SHARE: Final = 1e-4  # a piece of this share of all text weighs half
BATCH: Final = 512


def main() -> None:
    """Distil the table and write it."""
    parser = argparse.ArgumentParser(description="Make the embedding table.")
    teacher.add_option(parser)
    parser.add_argument("--dimensions", type=int, default=256)
    asked = parser.parse_args()
    bert = teacher.bring(asked.teacher)
    pieces = teacher.vocabulary(asked.teacher)[FIRST_PIECE:]
    levels, scales = quantized(plain(bert, pieces, asked.dimensions))
    provenance = Provenance(
        teacher.NAME, teacher.FILES["model.safetensors"], "Apache-2.0", (), "bench/make_embedding.py", DATE
    )
    data = write_table(Rows(pieces, levels, scales, provenance))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(data)
    print(f"{len(pieces)} pieces, {len(data) / 1e6:.2f} MB, SHA-256 {hashlib.sha256(data).hexdigest()}")


def plain(bert: Bert, pieces: tuple[str, ...], dimensions: int) -> Floats:
    """Return a weighted row a piece, (pieces, dimensions), from the teacher's vectors of single pieces."""
    numbers = range(FIRST_PIECE, FIRST_PIECE + len(pieces))
    read = np.concatenate([bert.piece_vectors(numbers[at : at + BATCH]) for at in range(0, len(numbers), BATCH)])
    read -= read.mean(axis=0)
    _, directions = np.linalg.eigh(read.T @ read)
    shares = 1 / (np.arange(len(pieces)) + 1.0)
    weights = COMMON_SHARE / (COMMON_SHARE + shares / shares.sum())
    return (read @ directions[:, ::-1][:, :dimensions] * weights[:, None]).astype(np.float32)


if __name__ == "__main__":
    main()
