"""Build prompts of twenty documents, of which one holds the answer and nineteen are those BM25 takes for it.

The recipe is that of the published figures: the gold passage of `nq-open-oracle.jsonl` and the 19 passages of the pool
that BM25 ranks highest for the question, none of which contains an answer.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FILE: Final = "nq_oracle_and_kv/nq-open-oracle.jsonl"
DOCUMENTS: Final = 20
K1: Final = 1.5
B: Final = 0.75

_WORD: Final = re.compile(r"\w+")


class Question(NamedTuple):
    """Hold a question, its answers, and the number of its gold passage in the pool."""

    text: str
    answers: tuple[str, ...]
    gold: int


class Passage(NamedTuple):
    """Hold a passage and the title of its page."""

    title: str
    text: str


class Pool(NamedTuple):
    """Hold questions and the passages they are asked of, each passage once."""

    questions: tuple[Question, ...]
    passages: tuple[Passage, ...]
    sha256: str


class Prompt(NamedTuple):
    """Hold a question with its documents in the order they are given, and BM25's score of each."""

    question: Question
    documents: tuple[Passage, ...]
    gold: int  # position of the gold one
    scores: tuple[float, ...]


def read_pool(data: Path) -> Pool:
    """Read the questions and passages."""
    content = (data / FILE).read_bytes()
    numbers: dict[Passage, int] = {}
    questions: list[Question] = []
    for line in content.decode().split("\n"):
        if line:
            row = json.loads(line)
            passage = Passage(row["ctxs"][0]["title"], row["ctxs"][0]["text"])
            questions.append(
                Question(row["question"], tuple(row["answers"]), numbers.setdefault(passage, len(numbers)))
            )
    return Pool(tuple(questions), tuple(numbers), hashlib.sha256(content).hexdigest())


def split(pool: Pool, seed: int, train_share: float) -> tuple[Pool, Pool]:
    """Split by passage, so that no passage and none of its questions is on both sides."""
    texts = sorted({each.text for each in pool.passages})
    random.Random(seed).shuffle(texts)
    train = set(texts[: round(len(texts) * train_share)])
    left = [number for number, each in enumerate(pool.passages) if each.text in train]
    right = [number for number, each in enumerate(pool.passages) if each.text not in train]
    return _part(pool, left), _part(pool, right)


def _part(pool: Pool, kept: Sequence[int]) -> Pool:
    number = {old: new for new, old in enumerate(kept)}
    questions = tuple(each._replace(gold=number[each.gold]) for each in pool.questions if each.gold in number)
    return Pool(questions, tuple(pool.passages[each] for each in kept), pool.sha256)


class Bm25:
    """Rank a pool's passages, title and text, as published baselines do: words as they are, lowered."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_words(text)) for text in texts]
        lengths = np.array([sum(each.values()) for each in counts], dtype=float)
        self._norm = K1 * (1 - B + B * lengths / lengths.mean())
        self._posting: dict[str, tuple[list[int], list[int]]] = {}
        for number, each in enumerate(counts):
            for word, times in each.items():
                rows, values = self._posting.setdefault(word, ([], []))
                rows.append(number)
                values.append(times)

    def scores(self, question: str) -> npt.NDArray[np.float64]:
        """Return one score a passage."""
        total = np.zeros(len(self._norm))
        for word in _words(question):
            rows, values = self._posting.get(word, ([], []))
            weight = np.log(1 + (len(total) - len(rows) + 0.5) / (len(rows) + 0.5))
            times = np.array(values)
            total[rows] += weight * times * (K1 + 1) / (times + self._norm[rows])
        return total


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def build(questions: Sequence[Question], passages: Sequence[Passage], seed: int) -> list[Prompt]:
    """Build a prompt a question, the gold passage at a position drawn by the seed."""
    ranker = Bm25([f"{each.title} {each.text}" for each in passages])
    lowered = [f"{each.title}\n{each.text}".lower() for each in passages]
    draw = random.Random(seed)
    found: list[Prompt] = []
    for question in questions:
        scores = ranker.scores(question.text)
        answers = [each.lower() for each in question.answers]
        hard: list[int] = []
        for number in np.argsort(-scores, kind="stable").tolist():
            if number != question.gold and not any(each in lowered[number] for each in answers):
                hard.append(number)
            if len(hard) == DOCUMENTS - 1:
                break
        order = [question.gold, *hard]
        draw.shuffle(order)
        found.append(
            Prompt(
                question,
                tuple(passages[each] for each in order),
                order.index(question.gold),
                tuple(scores[order].tolist()),
            )
        )
    return found


def text_of(documents: Sequence[Passage]) -> str:
    """Return documents as one text, in the form of lost-in-the-middle."""
    return "\n".join(f"Document [{n}](Title: {title}) {text}" for n, (title, text) in enumerate(documents, 1))
