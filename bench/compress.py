"""Measure what compression keeps: the answer among twenty documents, the sentence of an article, a table's values.

    python -m bench.compress [--json] [--data DIR] [--seed 7] [--questions 0] [--toon FOLDER]

Prompts of twenty documents are built for the questions that `bench.make_ranker` left aside, with distractors from the
whole pool; an answer is kept if one of its strings is still in the prompt, in any case. Articles are those of XQuAD,
from which nothing is learned. Tokens are those of o200k. What is lossless is measured
by `bench.compress_lossless`, with TOON beside where a folder has it.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core is measured; NumPy reads this when it is loaded

from bench.compress_lossless import figures as lossless_figures
from bench.figures import Figure, arguments, show
from bench.hard_documents import DOCUMENTS, FILE, Prompt, build, read_pool, split, text_of
from bench.make_ranker import SEED, TRAIN_SHARE
from bursar.embed.embedder import Embedder
from bursar.embed.table import load as load_table
from bursar.savings.compress.compress import compress, estimate
from bursar.savings.compress.prompt import Budget
from bursar.tokens.exact import counter
from bursar.wires.parts import Kind, Part

ARTICLES: Final = "xquad_en/xquad.en.json"
RATIOS: Final = (2, 4, 10, 20)
PUBLISHED: Final = {2: 94.4, 4: 91.1, 10: 84.6, 20: 76.4}
"""Share of prompts whose gold document plain BM25 keeps, of 800 questions (shared reference on savings levers, 3.2)."""
SPEED_PROMPTS: Final = 300
SPEED_ROUNDS: Final = 3


class Asked(NamedTuple):
    """Hold a context, what it is asked, and what must still be there: any one of some strings."""

    text: str
    question: str
    any_of: tuple[str, ...]


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, seed=7, questions=0, toon="")
    missing = [str(options.data / name) for name in (FILE, ARTICLES) if not (options.data / name).exists()]
    if missing:
        raise SystemExit(f"bench.compress misses {', '.join(missing)}: name the folder with --data")
    pool = read_pool(options.data)
    _, test = split(pool, SEED, TRAIN_SHARE)
    left_aside = {each.text for each in test.questions}
    asked = [each for each in pool.questions if each.text in left_aside]
    prompts = build(asked, pool.passages, options.seed)[: options.questions or None]
    told = f"n {len(prompts)}, seed {options.seed}, {FILE} {pool.sha256[:12]}"
    table = load_table()
    figures = [
        *kept(prompts, table, told),
        sentence_kept(options.data, table),
        speed(prompts, table),
        *lossless_figures(options.data, Path(options.toon) if options.toon else None),
    ]
    show("compress", figures, as_json=options.json)


def kept(prompts: Sequence[Prompt], table: Embedder, told: str) -> list[Figure]:
    """Give the share of prompts whose answer is still there, beside BM25 on the same prompts and without vectors."""
    asked = [Asked(text_of(each.documents), each.question.text, each.question.answers) for each in prompts]
    count = counter("o200k_base")
    found: list[Figure] = []
    for ratio in RATIOS:
        anchors = {
            "BM25, published": PUBLISHED[ratio],
            "BM25, same prompts": percent([stays(each, DOCUMENTS // ratio) for each in prompts]),
            "words alone": percent([_kept(each, ratio, count, None) for each in asked]),
        }
        value = percent([_kept(each, ratio, count, table) for each in asked])
        found.append(Figure(f"compress.kept_{ratio}x", value, "%", anchors, told))
    return found


def stays(prompt: Prompt, documents: int) -> bool:
    """Tell whether the gold document is among so many that BM25 ranks highest."""
    own = prompt.scores[prompt.gold]
    above = sum(score > own or (score == own and at < prompt.gold) for at, score in enumerate(prompt.scores))
    return above < documents


def _kept(asked: Asked, ratio: float, count: Callable[[str], int], table: Embedder | None) -> bool:
    found = compress([Part(asked.text, Kind.retrieved)], asked.question, Budget(ratio=ratio), count, table)
    if found.tokens_after > found.tokens_before / ratio:
        return False
    left = found.texts[0].lower()
    return any(each.lower() in left for each in asked.any_of)


def sentence_kept(data: Path, table: Embedder) -> Figure:
    """Give the share of questions on whole articles whose answer's sentence is kept at a quarter of the tokens."""
    content = (data / ARTICLES).read_bytes()
    asked = list(_articles(content))
    count = counter("o200k_base")
    told = f"n {len(asked)} questions of 48 articles, {ARTICLES} {hashlib.sha256(content).hexdigest()[:12]}"
    words = percent([_kept(each, 4, count, None) for each in asked])
    value = percent([_kept(each, 4, count, table) for each in asked])
    return Figure("compress.sentence_kept_4x", value, "%", {"words alone": words}, told)


def _articles(content: bytes) -> list[Asked]:
    """Return each question with the whole article and the sentence its answer stands in."""
    found: list[Asked] = []
    for article in json.loads(content)["data"]:
        text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for question in paragraph["qas"]:
                sentences = tuple(
                    _sentence(context, each["answer_start"], each["text"]) for each in question["answers"]
                )
                found.append(Asked(text, question["question"], sentences))
    return found


def _sentence(context: str, start: int, answer: str) -> str:
    """Return the sentence around an answer: from the full stop and blank before it to the full stop behind it."""
    begin = max((context.rfind(stop, 0, start) for stop in (". ", "? ", "! ", "\n")), default=-1)
    ends = [at for stop in (". ", "? ", "! ", "\n") if (at := context.find(stop, start + len(answer) - 1)) >= 0]
    return context[begin + 1 : min(ends, default=len(context))].strip()


def speed(prompts: Sequence[Prompt], table: Embedder) -> Figure:
    """Give megabytes of prompt a second of one core, all stages, by the estimate of tokens and by exact ones."""
    texts = [(text_of(each.documents), each.question.text) for each in prompts[:SPEED_PROMPTS]]
    size = sum(len(text.encode()) for text, _ in texts) / 1e6
    exact = counter("o200k_base")
    best = [min(_seconds(texts, count, with_) for _ in range(SPEED_ROUNDS)) for count, with_ in (
        (estimate, table), (estimate, None), (exact, table))]  # fmt: skip
    anchors = {"words alone": round(size / best[1], 2), "tokens counted exactly": round(size / best[2], 2)}
    told = (
        f"n {len(texts)} prompts of {size * 1e3 / len(texts):.1f} kB at 4x, best of {SPEED_ROUNDS} rounds of CPU time"
    )
    return Figure("compress.mb_per_s", round(size / best[0], 2), "MB/s", anchors, told)


def _seconds(texts: Sequence[tuple[str, str]], count: Callable[[str], int], table: Embedder | None) -> float:
    start = time.process_time()
    for text, question in texts:
        compress([Part(text, Kind.retrieved)], question, Budget(ratio=4), count, table)
    return time.process_time() - start


def percent(hits: Sequence[bool]) -> float:
    """Return the share of hits."""
    return round(sum(hits) / len(hits) * 100, 1)


if __name__ == "__main__":
    main()
