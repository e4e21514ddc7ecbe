"""Learn how to rank sentences from training questions alone, and write the weights as package data.

    python -m bench.make_ranker [--data DIR]

Questions of the pool are split by passage with a seed; the other side is what `bench.compress` scores. Growth of the
trees and thrift were chosen by five-fold cross-validation within the training side.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.calibrate.boosting import Growth, Trees, grow
from bench.figures import arguments
from bench.hard_documents import FILE, Pool, Prompt, build, read_pool, split, text_of
from bursar.embed.embedder import Embedder
from bursar.embed.table import load as load_table
from bursar.savings.compress.evidence import OF_PASSAGES, OF_SENTENCES, OF_VECTORS, Text, evidence
from bursar.savings.compress.ranker import UNKNOWN, likeness_of, rarities
from bursar.savings.compress.sentences import cut
from bursar.savings.compress.words import WORD, read_question, stem

TARGET: Final = Path(__file__).parents[1] / "src/bursar/savings/compress/data/ranker.json"
CHECKED: Final = "2026-11-22"
SOURCE: Final = (
    "nq-open-oracle of lost-in-the-middle at 29b8a6d (MIT; passages CC BY-SA 3.0), the training side of the split"
)
SEED: Final = 20261122
TRAIN_SHARE: Final = 0.6
GROWTH: Final = Growth(trees=100, depth=4, rate=0.1, l2=20.0)
WORDS: Final = len(OF_PASSAGES) + len(OF_SENTENCES)


class Example(NamedTuple):
    """Hold a prompt's evidence, one row a sentence, and which of them hold an answer."""

    rows: npt.NDArray[np.float32]
    wanted: npt.NDArray[np.bool_]


def main() -> None:
    """Learn, print and write."""
    pool = read_pool(arguments(__doc__).data)
    train, _ = split(pool, SEED, TRAIN_SHARE)
    rarity = rare([f"{each.title} {each.text}" for each in train.passages])
    table = load_table()
    found = examples(build(train.questions, train.passages, SEED), rarity, table)
    trees = [learn(found, columns) for columns in (WORDS, WORDS + len(OF_VECTORS))]
    content = written(train, trees, rarity) | {"embedder": table.name}
    TARGET.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(found)} questions of {FILE} {pool.sha256[:12]}, seed {SEED}; wrote {TARGET.name}")


def rare(texts: Sequence[str]) -> dict[str, float]:
    """Return the logarithm of how many texts there are for one that has the word."""
    times = Counter[str]()
    for text in texts:
        times.update({stem(word.lower()) for word in WORD.findall(text)})
    size = len(texts) + 1
    known = {word: round(float(np.log(size / (count + 0.5))), 2) for word, count in sorted(times.items()) if count > 1}
    return {UNKNOWN: round(float(np.log(size / 0.75)), 2)} | known


def examples(prompts: Sequence[Prompt], rarity: dict[str, float], embedder: Embedder) -> list[Example]:
    """Return the evidence of prompts."""
    return [_example(prompt, rarity, embedder) for prompt in prompts]


def _example(prompt: Prompt, rarity: dict[str, float], embedder: Embedder) -> Example:
    text = text_of(prompt.documents)
    found = cut(text)
    spans = [span for sentences in found.sentences for span in sentences]
    passage = np.repeat(np.arange(len(found.passages)), [len(each) for each in found.sentences])
    question = read_question(prompt.question.text)
    sentences = [text[start:end] for start, end in spans]
    said = Text(sentences, passage, [each.title for each in found.passages])
    likeness = likeness_of(said, prompt.question.text, embedder)
    rows = evidence(said, question, rarities(rarity, question), likeness)
    answers = [each.lower() for each in prompt.question.answers]
    wanted = [
        where == prompt.gold and any(answer in sentence.lower() for answer in answers)
        for where, sentence in zip(passage, sentences, strict=True)
    ]
    return Example(rows.astype(np.float32), np.array(wanted))


def learn(found: Sequence[Example], columns: int, growth: Growth = GROWTH) -> Trees:
    """Grow the trees on the first columns. A prompt's wanted sentences count as one together."""
    rows = np.concatenate([each.rows[:, :columns] for each in found])
    wanted = np.concatenate([each.wanted for each in found])
    weight = np.concatenate([np.where(each.wanted, 1 / max(each.wanted.sum(), 1), 1.0) for each in found])
    return grow(rows, wanted, weight, growth)


def written(train: Pool, trees: Sequence[Trees], rarity: dict[str, float]) -> dict[str, Any]:
    """Return what ships."""
    return {
        "source": SOURCE,
        "checked": CHECKED,
        "file": FILE,
        "sha256": train.sha256,
        "questions": len(train.questions),
        "seed": SEED,
        "columns": [*OF_PASSAGES, *OF_SENTENCES, *OF_VECTORS],
        "by_words": _short(trees[0]),
        "by_both": _short(trees[1]),
        "rarity": rarity,
    }


def _short(trees: Trees) -> dict[str, Any]:
    return {
        "columns": trees.columns.tolist(),
        "thresholds": [[float(f"{each:.6g}") for each in row] for row in trees.thresholds],
        "values": [[float(f"{each:.3g}") for each in row] for row in trees.values],
        "bias": round(trees.bias, 4),
    }


if __name__ == "__main__":
    main()
