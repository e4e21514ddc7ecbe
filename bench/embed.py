"""Measure the static table: how fast it is, how big, and whether it puts pairs of texts in the teacher's order.

    python -m bench.embed [--json] [--data DIR] [--teacher FOLDER]

Texts are banking77's test questions and all of xquad_en, its questions and paragraphs; the table was fitted on none
of them, but that a few banking questions stand in train.csv as well: the figure without those is beside it.
`embed.rank_correlation` is over 10,000 pairs drawn within each set, both taken together; each set by itself stands
beside it, and pairs drawn so that the teacher's cosines are spread evenly. The plain table beside is the teacher's
vectors of single pieces, weighted by Zipf and fitted to nothing. Nobody published this figure for another table.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core is measured; NumPy reads this when it is loaded

import numpy as np

from bench import teacher
from bench.embedding_texts import banking
from bench.figures import Figure, arguments, show
from bench.make_embedding import FIRST_PIECE, TARGET, alone
from bench.ranks import cosines_of_pairs, pairs, spearman
from bursar.embed.embedder import Floats
from bursar.embed.table import Layer, Rows, StaticTable, load, quantized

BANKING: Final = "banking77 test"
PAIRS: Final = 10_000
SEED: Final = 20_261_122
SPREAD_FROM: Final = 400_000  # pairs drawn, of which as many of each tenth of a cosine are taken
SPREAD_EACH: Final = 700
WORDS: Final = 12
LONG_PIECES: Final = 2_000
ROUNDS: Final = 15
PART_TEXTS: Final = 512  # timed at once: so short that the machine often does nothing else meanwhile
PLAIN_SHARE: Final = 1e-4


def main() -> None:
    """Measure and print."""
    asked = arguments(__doc__, teacher=str(teacher.FOLDER))
    sets = {BANKING: banking(asked.data, "test"), "xquad_en": xquad(asked.data)}
    table = load()
    known = {_bare(text) for text in banking(asked.data, "train")}
    figures = speed(table, [text for texts in sets.values() for text in texts])
    figures += near(table, sets, known, Path(asked.teacher))
    files = [asked.data / "banking77/test.csv", asked.data / "xquad_en/xquad.en.json"]
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    show("embed", figures, as_json=asked.json, extra={"table": table.name, "sha256": digests, "seed": SEED})


def xquad(data: Path) -> list[str]:
    """Return xquad_en's paragraphs and questions."""
    articles = json.loads((data / "xquad_en/xquad.en.json").read_bytes())["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [asked["question"] for paragraph in paragraphs for asked in paragraph["qas"]]
    return [paragraph["context"] for paragraph in paragraphs] + questions


def speed(table: StaticTable, texts: Sequence[str]) -> list[Figure]:
    """Time texts of 12 words and a long prompt on one core, words known as in a running process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    words = " ".join(texts).split()
    short = [" ".join(words[start : start + WORDS]) for start in range(0, len(words) - WORDS, WORDS)]
    parts = [short[start : start + PART_TEXTS] for start in range(0, len(short), PART_TEXTS)]
    first_s = sum(_took_s(partial(table.vectors, part)) for part in parts)
    each_s = sum(_fastest_s(partial(table.vectors, part)) for part in parts) / len(short)
    long = " ".join(words[:LONG_PIECES])
    pieces = len(table.pieces(long))
    long_s = _fastest_s(partial(table.vectors, [long]))
    note = f"{len(short):,} texts of {WORDS} words; {len(short) / first_s:,.0f} when no word was seen before"
    return [
        Figure("embed.texts_per_s_1core", round(1 / each_s), "texts/s", {}, note),
        Figure("embed.long_prompt_ms", round(long_s * 1e3, 3), "ms", {}, f"one prompt of {pieces:,} pieces"),
        Figure("embed.table_mb", round(TARGET.stat().st_size / 1e6, 2), "MB", {}, "on disk"),
    ]


def near(table: StaticTable, sets: dict[str, list[str]], known: set[str], folder: Path) -> list[Figure]:
    """Compare the order of pairs by the table with that by the teacher; `known` are texts it was fitted on."""
    bert = teacher.bring(folder)
    plain = plain_table(folder)
    said = {name: bert.vectors(texts) for name, texts in sets.items()}
    found = {name: table.vectors(texts) for name, texts in sets.items()}
    rough = {name: plain.vectors(texts) for name, texts in sets.items()}
    by_set = {name: cosines_of_pairs(found[name], said[name], PAIRS, SEED) for name in sets}
    rough_by_set = {name: cosines_of_pairs(rough[name], said[name], PAIRS, SEED) for name in sets}
    count = PAIRS * len(sets)
    whole = Figure("embed.rank_correlation", _together(by_set), "Spearman", {}, f"n {count:,}, seed {SEED}")
    whole.anchors["plain table"] = _together(rough_by_set)
    figures = [whole]
    for name in sets:
        key = name.split()[0].split("_")[0]
        row = Figure(f"embed.rank_correlation_{key}", _rounded(*by_set[name]), "Spearman", {}, f"{name}, n {PAIRS:,}")
        row.anchors["plain table"] = _rounded(*rough_by_set[name])
        first, second = spread_pairs(said[name])
        even = _rounded(
            (found[name][first] * found[name][second]).sum(1), (said[name][first] * said[name][second]).sum(1)
        )
        note = f"{name}, cosines spread evenly, n {len(first):,}"
        figures += [row, Figure(f"embed.rank_correlation_{key}_spread", even, "Spearman", {}, note)]
    figures.append(_unseen(table, sets[BANKING], said[BANKING], known))
    united = [np.concatenate(list(each.values())) for each in (found, said)]
    across = _rounded(*cosines_of_pairs(united[0], united[1], count, SEED))
    return [*figures, Figure("embed.rank_correlation_across", across, "Spearman", {}, "pairs of any two texts of both")]


def _unseen(table: StaticTable, texts: Sequence[str], said: Floats, known: set[str]) -> Figure:
    """Compare on banking77 without the texts that stand in its training questions too."""
    places = [place for place, text in enumerate(texts) if _bare(text) not in known]
    found = table.vectors([texts[place] for place in places])
    value = _rounded(*cosines_of_pairs(found, said[places], PAIRS, SEED))
    note = f"{BANKING} without {len(texts) - len(places)} texts that train.csv has too, n {PAIRS:,}"
    return Figure("embed.rank_correlation_banking77_unseen", value, "Spearman", {}, note)


def _bare(text: str) -> str:
    return " ".join(text.lower().split())


def spread_pairs(vectors: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs with as many of each tenth of the teacher's cosine, as far as there are so many."""
    first, second = pairs(len(vectors), SPREAD_FROM, SEED + 1)
    tenths = np.floor((vectors[first] * vectors[second]).sum(axis=1) * 10)
    taken = np.concatenate([np.flatnonzero(tenths == tenth)[:SPREAD_EACH] for tenth in np.unique(tenths)])
    return first[taken], second[taken]


def plain_table(folder: Path) -> StaticTable:
    """Return the table that is fitted to nothing."""
    pieces = teacher.vocabulary(folder)[FIRST_PIECE:]
    read = alone(teacher.bring(folder), pieces, folder / "read")
    dimensions = load().dimensions
    directions = np.linalg.eigh(read.T @ read)[1][:, ::-1][:, :dimensions]
    shares = 1 / (np.arange(len(pieces)) + 1.0)
    weights = PLAIN_SHARE / (PLAIN_SHARE + shares / shares.sum())
    levels, scales = quantized((read @ directions * weights[:, None]).astype(np.float32))
    nothing = Layer(
        np.zeros((dimensions, 0), np.float32), np.zeros(0, np.float32), np.zeros((0, dimensions), np.float32)
    )
    return StaticTable(Rows(pieces, levels, scales, nothing, load().provenance), "plain")


def _together(by_set: dict[str, tuple[Floats, Floats]]) -> float:
    return _rounded(*(np.concatenate([each[side] for each in by_set.values()]) for side in (0, 1)))


def _rounded(found: Floats, said: Floats) -> float:
    return round(spearman(found, said), 4)


def _fastest_s(work: Callable[[], object]) -> float:
    """Return the time of the fastest of some rounds: what else the machine does can only add to it."""
    return min(_took_s(work) for _ in range(ROUNDS))


def _took_s(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
