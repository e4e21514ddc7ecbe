"""Make the table of word pieces that ships with the package, distilled from a small transformer.

    python -m bench.make_embedding --texts FOLDER [--data DIR] [--teacher FOLDER] [--cache FOLDER] [--judge]

FOLDER holds the unpacked packages that `bench/embedding_texts.py` names. The teacher reads every text once, an hour of
a core, and what it said is kept in the cache. `--judge` writes nothing: it fits without every twentieth text and the
banking questions set aside, and says how near the table comes on those; settings are chosen by that alone. Needs SciPy.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from scipy.sparse import vstack

from bench import teacher
from bench.embedding_fit import Counts, Fit, Settings, count, main_directions
from bench.embedding_texts import Source, gather, held_out
from bench.ranks import cosines_of_pairs, spearman
from bursar.embed.bert import Bert
from bursar.embed.embedder import Floats, unit
from bursar.embed.table import Provenance, Rows, quantized, read_table, write_table

TARGET: Final = Path(__file__).parents[1] / "src/bursar/embed/data/static.npz"
DATE: Final = "2026-11-22"
FIRST_PIECE: Final = 999  # before it stand marks and places never used
BATCH: Final = 512
HELD_OUT_EVERY: Final = 20
PAIRS: Final = 20_000
TAKEN: Final[Mapping[str, int]] = {  # as many as the teacher read in the time there was
    "banking questions": 10_003,
    "banking questions cut and joined": 13_500,
    "glosses": 27_000,
    "examples": 48_224,
    "glosses with their words": 21_000,
    "questions made of its words": 21_000,
    "paragraphs made of glosses": 1_500,
    "Python 3.11 manual": 3_000,
    "PostgreSQL 15 manual": 3_000,
}


def main() -> None:
    """Distil the table and write it, or judge the settings."""
    parser = argparse.ArgumentParser(description="Make the embedding table.")
    teacher.add_option(parser)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--texts", type=Path, required=True, help="folder of the unpacked packages")
    parser.add_argument("--cache", type=Path, default=teacher.FOLDER / "read", help="folder of what the teacher said")
    parser.add_argument("--judge", action="store_true", help="judge the settings on texts held out")
    for name, value in (("width", Settings().width), ("epochs", Settings().epochs)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    settings = Settings(width=asked.width, epochs=asked.epochs)
    bert = teacher.bring(asked.teacher)
    pieces = teacher.vocabulary(asked.teacher)[FIRST_PIECE:]
    sources = [source.first(TAKEN[source.name]) for source in gather(asked.data, asked.texts)]
    said = [taught(bert, source, asked.cache) for source in sources]
    if asked.judge:
        judge(alone(bert, pieces, asked.cache), pieces, settings, sources, said)
        return
    directions = main_directions(said, settings.dimensions)
    fit = Fit(alone(bert, pieces, asked.cache), directions, settings)
    counts = count(list(chain.from_iterable(source.texts for source in sources)), pieces)
    fit.run(counts, np.concatenate(said) @ directions)
    write(fit, pieces, sources)


def write(fit: Fit, pieces: tuple[str, ...], sources: Sequence[Source]) -> None:
    """Write the table with its provenance, and print what it is known by."""
    levels, scales = quantized(fit.rows)
    provenance = Provenance(
        teacher=teacher.NAME,
        teacher_sha256=teacher.FILES["model.safetensors"],
        licence="Apache-2.0",
        fitted_on=tuple(source.stated for source in sources),
        made_by="bench/make_embedding.py",
        date=DATE,
    )
    data = write_table(Rows(pieces, levels, scales, fit.layer, provenance))
    TARGET.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"{read_table(data).name}: {len(pieces)} pieces, {len(data) / 1e6:.2f} MB, SHA-256 {digest}")


def judge(
    singly: Floats, pieces: tuple[str, ...], settings: Settings, sources: Sequence[Source], said: Sequence[Floats]
) -> None:
    """Fit without some texts of each source, and print how the table ranks pairs of those."""
    kept: list[Counts] = []
    apart: list[tuple[str, Counts, Floats]] = []
    learnt: list[Floats] = []
    for source, vectors in zip(sources, said, strict=True):
        away = np.arange(0, len(vectors), HELD_OUT_EVERY)
        if source.name == "banking questions":
            away = np.array(held_out(len(vectors))[1])
        near = np.setdiff1d(np.arange(len(vectors)), away)
        counts = count(source.texts, pieces)
        kept.append(counts[near])
        learnt.append(vectors[near])
        apart.append((source.name, counts[away], vectors[away]))
    directions = main_directions(learnt, settings.dimensions)
    fit = Fit(singly, directions, settings)
    fit.run(vstack(kept).tocsr(), np.concatenate(learnt) @ directions)
    for name, counts, vectors in apart:
        rows = unit(fit.layer.bend(unit(counts @ fit.rows)))
        print(f"{name:36} {len(rows):6} {spearman(*cosines_of_pairs(rows, vectors, PAIRS, 7)):.4f}")


def alone(bert: Bert, pieces: Sequence[str], cache: Path) -> Floats:
    """Return the teacher's vector of each piece read alone, their mean taken off, of spread 1."""
    file = cache / "pieces.npy"
    if not file.exists():
        numbers = range(FIRST_PIECE, FIRST_PIECE + len(pieces))
        parts = [bert.piece_vectors(numbers[at : at + BATCH]) for at in range(0, len(numbers), BATCH)]
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, np.concatenate(parts))
    read = np.load(file)
    read -= read.mean(axis=0)
    return (read / np.sqrt((read**2).mean())).astype(np.float32)


def taught(bert: Bert, source: Source, cache: Path) -> Floats:
    """Return the teacher's vectors of a source's texts, out of the cache where they are there."""
    file = cache / f"{source.stated.sha256}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, bert.vectors(source.texts).astype(np.float16))
    return np.load(file).astype(np.float32)


if __name__ == "__main__":
    main()
