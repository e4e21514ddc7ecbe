"""Score sentences by the words of a question in a language that the ranker did not learn."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from bursar.savings.compress.evidence import Floats, Text
from bursar.savings.compress.hits import read_words, table
from bursar.savings.compress.words import Question, read_question

NEARLY: Final = 0.5
"""What a word is worth that shares its first letters with one of the question's."""


def coverage(text: Text, question: Question) -> Floats:
    """Return as log odds how much of the question each sentence says; a word of few sentences counts more."""
    size = len(text.sentences)
    words = read_words([*text.sentences, *text.titles], question)
    shape = (size + len(text.titles), len(question.terms))
    said = np.maximum(table(words.text, words.term, shape) > 0, NEARLY * (table(words.text, words.near, shape) > 0))
    held = (said[:size] > 0).sum(0)
    worth = np.log1p((size - held + 0.5) / (held + 0.5)) * (held > 0)
    covered = (np.maximum(said[:size], NEARLY * said[size:][text.passage]) @ worth) / max(float(worth.sum()), 1e-9)
    return 8 * covered - 4


def covered(texts: Sequence[str], asked: str) -> float | None:
    """Return which share of a question's words is in texts, 0 to 1; None of a question without any that count."""
    question = read_question(asked)
    if not question.terms:
        return None
    terms = read_words(texts, question).term
    return len(np.unique(terms[terms >= 0])) / len(question.terms)
