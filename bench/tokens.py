"""Measure how near estimates of tokens come on a vocabulary nothing is known of, after 200 calls.

    python -m bench.tokens [--json] [--data DIR] [--texts FOLDER] [--seed 7] [--choose]

Mistral's Tekken stands in for the unseen vocabulary. A meter learns from 50 calls of each kind of text and is asked
for 300 texts of each, of other documents. `--choose` measures the same on OpenAI's vocabularies and Voyage's, each with
word pieces of the two others and other documents again: settings are chosen by that alone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

from bench.figures import Figure, arguments, show
from bench.make_pieces import NAMES, Ranks, make, read_ranks
from bench.token_texts import FILES, KINDS, Document, cut, digest, gather
from bursar.tokens.calibrate import UNCALIBRATED, Meter, Sample, learn
from bursar.tokens.exact import TEKKEN, counter
from bursar.tokens.features import Reader
from bursar.tokens.pieces import Pieces, load

CALLS: Final = 200
TESTS: Final = 300
REPEATS: Final = 3  # of a choice, each with other texts

Count = Callable[[str], int]


class Scored(NamedTuple):
    """Hold the errors of one kind's estimates, and how many were within the error that was told."""

    errors_pct: list[float]
    within: int

    @property
    def median_pct(self) -> float:
        """Return the median error."""
        return round(median(self.errors_pct), 2)

    @property
    def tenth_pct(self) -> float:
        """Return the error that nine of ten keep."""
        return round(quantiles(self.errors_pct, n=10)[-1], 1)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, seed=7, texts="", choose=False)
    missing = [str(options.data / name) for name in FILES if not (options.data / name).exists()]
    if missing:
        raise SystemExit(f"bench.tokens misses {', '.join(missing)}: name the folder with --data")
    documents = gather(options.data, Path(options.texts) if options.texts else None)
    documents = {kind: found for kind, found in documents.items() if found}
    show(
        "tokens",
        choose(documents, options.seed) if options.choose else measure(documents, options.seed),
        as_json=options.json,
    )


def measure(documents: dict[str, list[Document]], seed: int) -> list[Figure]:
    """Calibrate on Mistral's vocabulary and score it."""
    count, reader = counter(TEKKEN), Reader(load())
    calls = samples(documents, "calibrate", reader, count, seed)
    meter = learn(calls)
    found: dict[str, Scored] = {}
    figures: list[Figure] = []
    for kind in documents:
        texts = cut(documents[kind], "measure", TESTS, seed)
        found[kind] = score(texts, meter, reader, count)
        anchors = {
            "four bytes a token": _pct([len(text.encode()) / 4 for text in texts], texts, count),
            "before any call": score(texts, UNCALIBRATED, reader, count).median_pct,
            "nine of ten": found[kind].tenth_pct,
        }
        told = f"n {len(texts)}, seed {seed}, {len(documents[kind])} documents {digest(documents[kind])[:12]}"
        figures.append(Figure(f"tokens.estimate_error_pct_{kind}", found[kind].median_pct, "%", anchors, told))
    worst = max(each.median_pct for each in found.values())
    kinds = ", ".join(found) + "".join(f"; {kind} is missing" for kind in KINDS if kind not in found)
    within = sum(each.within for each in found.values()) / sum(len(each.errors_pct) for each in found.values())
    return [
        Figure("tokens.estimate_error_pct", worst, "%", {}, f"the worst median of {kinds}; after {meter.calls} calls"),
        *figures,
        Figure(
            "tokens.estimate_covered_pct",
            round(100 * within, 1),
            "%",
            {},
            f"within ±{meter.error_pct:.1f} %, told for 90",
        ),
    ]


def choose(documents: dict[str, list[Document]], seed: int) -> list[Figure]:
    """Score the settings on each vocabulary in turn, with the word pieces of the others."""
    ranks = {name: read_ranks(name) for name in NAMES}
    figures: list[Figure] = []
    for name in NAMES:
        count, table = vocabulary(name, ranks[name]), make([ranks[other] for other in NAMES if other != name])
        reader = Reader(Pieces(dict(zip(table.words, table.word_ranks, strict=True)), table.han))
        scored: dict[str, list[Scored]] = {kind: [] for kind in documents}
        before: list[float] = []
        for again in range(REPEATS):
            meter = learn(samples(documents, "choose_from", reader, count, seed + again))
            for kind in documents:
                texts = cut(documents[kind], "choose", TESTS, seed + REPEATS + again)
                scored[kind].append(score(texts, meter, reader, count))
                before += score(texts, UNCALIBRATED, reader, count).errors_pct
        for kind, each in scored.items():
            whole = Scored([error for one in each for error in one.errors_pct], sum(one.within for one in each))
            anchors = {"nine of ten": whole.tenth_pct, "within": round(100 * whole.within / len(whole.errors_pct), 1)}
            figures.append(Figure(f"{name} {kind}", whole.median_pct, "%", anchors))
        figures.append(Figure(f"{name} before any call, nine of ten", round(quantiles(before, n=10)[-1], 1), "%"))
    return figures


def samples(documents: dict[str, list[Document]], part: str, reader: Reader, count: Count, seed: int) -> list[Sample]:
    """Return calls of one text each, as many of each kind."""
    found: list[Sample] = []
    for kind in documents:
        texts = cut(documents[kind], part, CALLS // len(documents), seed)
        found += [Sample(reader.call([text]), count(text)) for text in texts]
    return found


def score(texts: Sequence[str], meter: Meter, reader: Reader, count: Count) -> Scored:
    """Compare estimates with what a vocabulary makes of texts."""
    estimates = [meter.estimate(reader.call([text])) for text in texts]
    truths = [count(text) for text in texts]
    errors = [100 * abs(each.tokens - truth) / truth for each, truth in zip(estimates, truths, strict=True)]
    return Scored(errors, sum(error <= meter.error_pct for error in errors))


def vocabulary(name: str, ranks: Ranks) -> Count:
    """Return what counts by a vocabulary; Voyage's splits texts as Qwen's does, digits one by one."""
    if name != "voyage3_base":
        return counter(name)
    import tiktoken  # what mistral-common counts with; not a dependency of its own

    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    encoding = tiktoken.Encoding(name, pat_str=words, mergeable_ranks=dict(ranks), special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))


def _pct(estimates: Sequence[float], texts: Sequence[str], count: Count) -> float:
    return round(
        median(100 * abs(found - (truth := count(text))) / truth for found, text in zip(estimates, texts, strict=True)),
        1,
    )


if __name__ == "__main__":
    main()
