"""What was embedded lately is at hand, by a digest of its texts, and forgotten in the end."""

from collections.abc import Sequence

import numpy as np

from bursar.embed.embedder import Floats
from bursar.embed.remembering import Remembering
from bursar.embed.table import load


class Counting:
    """Be the table that ships, and count what it is asked."""

    def __init__(self) -> None:
        self._table = load()
        self.name, self.dimensions = self._table.name, self._table.dimensions
        self.asked: list[tuple[str, ...]] = []

    def vectors(self, texts: Sequence[str]) -> Floats:
        self.asked.append(tuple(texts))
        return self._table.vectors(texts)

    def with_whole(self, texts: Sequence[str]) -> Floats:
        self.asked.append((*texts, "whole"))
        return self._table.with_whole(texts)


def test_vectors_are_those_of_what_is_behind_it_and_made_once() -> None:
    behind = Counting()
    embedder = Remembering(behind)
    assert (embedder.name, embedder.dimensions) == (behind.name, behind.dimensions)
    texts = ["Where is my card?", "It is lost."]
    for _ in range(3):
        assert np.array_equal(embedder.vectors(texts), load().vectors(texts))
        assert np.array_equal(embedder.with_whole(texts), load().with_whole(texts))
    assert len(behind.asked) == 2


def test_texts_that_are_divided_otherwise_are_others() -> None:
    behind = Counting()
    embedder = Remembering(behind)
    given = (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "c", ""], ["1:a"], ["\ud800"])
    for texts in given:
        embedder.vectors(texts)
    assert len(behind.asked) == len(given)


def test_the_oldest_are_forgotten_and_no_text_is_kept() -> None:
    behind = Counting()
    embedder = Remembering(behind, asked_max=2)
    for text in ("one", "two", "three", "two", "one"):
        embedder.vectors([text])
    assert behind.asked == [("one",), ("two",), ("three",), ("one",)]
    assert "one" not in repr(vars(embedder)["_made"].keys())
