"""Learn how to rank sentences from training questions alone, and write the weights as package data.

    python -m bench.make_ranker [--data DIR]

Questions of the pool are split by passage with a seed; the other side is what `bench.compress` scores. Growth of the
trees and thrift were chosen by five-fold cross-validation within the training side.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.calibrate.boosting import Growth, Trees, grow
from bench.figures import arguments
from bench.hard_documents import FILE, Passage, Pool, Prompt, build, read_pool, split, text_of
from bursar.embed.embedder import Embedder
from bursar.embed.table import load as load_table
from bursar.savings.compress.common_words import WORD
from bursar.savings.compress.evidence import OF_PASSAGES, OF_SENTENCES, OF_VECTORS, Text, evidence
from bursar.savings.compress.ranker import UNKNOWN, likeness_of, rarities
from bursar.savings.compress.sentences import cut
from bursar.savings.compress.words import read_question, stem

TARGET: Final = Path(__file__).parents[1] / "src/bursar/savings/compress/data/ranker.json"
CHECKED: Final = "2026-11-22"
SOURCE: Final = (
    "nq-open-oracle of lost-in-the-middle at 29b8a6d (MIT; passages CC BY-SA 3.0), the training side of the split"
)
SEED: Final = 20261122
TRAIN_SHARE: Final = 0.6
OTHERS_SHARE: Final = 0.4
GROWTH: Final = Growth(trees=200, depth=4, rate=0.06, l2=20.0)
WORDS: Final = len(OF_PASSAGES) + len(OF_SENTENCES)
"""Columns that need no vectors: the first ones."""


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
    print(f"{len(train.questions)} questions of {FILE} {pool.sha256[:12]}, seed {SEED}; wrote {TARGET.name}")


def rare(texts: Sequence[str]) -> dict[str, float]:
    """Return the logarithm of how many texts there are for one that has the word."""
    times = Counter[str]()
    for text in texts:
        times.update({stem(word.lower()) for word in WORD.findall(text)})
    size = len(texts) + 1
    known = {word: round(float(np.log(size / (count + 0.5))), 2) for word, count in sorted(times.items()) if count > 1}
    return {UNKNOWN: round(float(np.log(size / 0.75)), 2)} | known


def examples(prompts: Sequence[Prompt], rarity: dict[str, float], embedder: Embedder) -> list[Example]:
    """Return the evidence of prompts as they are built, and of each once more in another form, drawn by the seed.

    Documents come with titles and without, few and many, in paragraphs and line by line: what is learned from one form
    alone is wrong of the others.
    """
    draw = random.Random(SEED)
    built = [example(prompt, text_of(prompt.documents), rarity, embedder) for prompt in prompts]
    return built + [_varied(prompt, draw, rarity, embedder) for prompt in prompts]


def _varied(prompt: Prompt, draw: random.Random, rarity: dict[str, float], embedder: Embedder) -> Example:
    form = draw.choice(FORMS)
    count = len(prompt.documents) if form is joined else draw.choice((2, 3, 5, 10, 20))
    hardest = sorted(range(len(prompt.documents)), key=lambda each: (each != prompt.gold, -prompt.scores[each]))
    documents = [prompt.documents[each] for each in sorted(hardest[:count])]
    return example(prompt, form(documents), rarity, embedder)


def plain(documents: Sequence[Passage]) -> str:
    """Return documents as paragraphs without a head."""
    return "\n\n".join(each.text for each in documents)


def titled(documents: Sequence[Passage]) -> str:
    """Return documents as paragraphs, each under its title."""
    return "\n\n".join(f"{title}\n{text}" for title, text in documents)


def joined(documents: Sequence[Passage]) -> str:
    """Return documents as long paragraphs of four each, without a head."""
    return "\n\n".join(" ".join(each.text for each in documents[at : at + 4]) for at in range(0, len(documents), 4))


def lines(documents: Sequence[Passage]) -> str:
    """Return each sentence of documents as a paragraph."""
    text = plain(documents)
    return "\n\n".join(text[start:end].strip() for passage in cut(text) for start, end in passage.sentences)


FORMS: Final = (plain, titled, joined, lines)


def example(prompt: Prompt, text: str, rarity: dict[str, float], embedder: Embedder) -> Example:
    """Return the evidence of one text. A sentence holds the answer if it has it and is of the gold passage."""
    found = cut(text)
    sentences = [text[start:end] for passage in found for start, end in passage.sentences]
    passage = np.repeat(np.arange(len(found)), [len(each.sentences) for each in found])
    question = read_question(prompt.question.text)
    said = Text(sentences, passage, [each.title for each in found])
    likeness = likeness_of(said, prompt.question.text, embedder)
    rows = evidence(said, question, rarities(rarity, question), likeness)
    answers = [each.lower() for each in prompt.question.answers]
    # No other document has an answer string, so a sentence that has it is of the gold passage.
    wanted = [any(answer in sentence.lower() for answer in answers) for sentence in sentences]
    return Example(rows.astype(np.float32), np.array(wanted))


def learn(found: Sequence[Example], columns: int, growth: Growth = GROWTH) -> Trees:
    """Grow the trees on the first columns. A prompt's wanted sentences count as one together.

    Of the others, a part is drawn by the seed and counts for all: they are many and alike.
    """
    draw = np.random.default_rng(SEED)
    rows, wanted, weight = [], [], []
    for each in found:
        kept = each.wanted | (draw.random(len(each.wanted)) < OTHERS_SHARE)
        rows.append(each.rows[kept, :columns])
        wanted.append(each.wanted[kept])
        weight.append(np.where(wanted[-1], 1 / max(each.wanted.sum(), 1), 1 / OTHERS_SHARE))
    return grow(np.concatenate(rows), np.concatenate(wanted), np.concatenate(weight), growth)


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
