"""Find the words of a question in sentences and titles, in one pass over all their words."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bursar.savings.compress.words import PREFIX, Flag, Question, codes, read

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


class Words(NamedTuple):
    """Hold the words of texts in a row: the text each is in, which of the question's it is, and of what kind.

    `term` is its number among the question's terms, `place` among all its words, `near` among its terms by the first
    letters alone; -1 stands for none.
    """

    text: Ints
    term: Ints
    place: Ints
    near: Ints
    flags: Ints
    first: Bools  # opens its text


def read_words(texts: Sequence[str], question: Question) -> Words:
    """Read the words of all texts."""
    every = read("\n".join([*(text.replace("\n", " ") for text in texts), ""]))
    breaks = (every.flags & int(Flag.line_end)) > 0
    first = np.concatenate([[True], breaks[:-1]])
    inside = ~breaks
    places = {each: number for number, each in reversed(list(enumerate(question.stems)))}
    terms = {term: number for number, term in enumerate(question.terms)}
    nearly = {term[:PREFIX]: number for term, number in terms.items() if len(term) >= PREFIX}
    stems = every.stem[inside]
    return Words(
        np.cumsum(breaks, dtype=np.int64)[inside],
        _numbers(stems, terms),
        _numbers(stems, places),
        _numbers(every.prefix[inside], nearly),
        every.flags[inside],
        first[inside],
    )


def _numbers(column: Ints, known: Mapping[str, int]) -> Ints:
    """Return for each word the number it has among those that are known, -1 for any other."""
    found = np.full(len(column), -1, np.int64)
    for code, number in zip(codes(list(known)).tolist(), known.values(), strict=True):
        found[column == code] = number
    return found


def table(rows: Ints, columns: Ints, shape: tuple[int, int]) -> Floats:
    """Count pairs of row and column; those of a negative column are left out."""
    held = columns >= 0
    flat = np.bincount(rows[held] * shape[1] + columns[held], minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(float)


def runs(words: Words, question: Question, rarity: Floats, size: int) -> tuple[Floats, Floats]:
    """Return for each of the first texts what of the question stands side by side in it, by twos and by threes."""
    term = {each: number for number, each in enumerate(question.terms)}
    most = max(float(rarity.max()), 1e-9)
    worth = [rarity[term[each]] / most if each in term else 0.2 for each in question.stems]
    place = {each: number for number, each in reversed(list(enumerate(question.stems)))}
    pairs = np.zeros((len(worth) + 1, len(worth) + 1))  # the last stands for words the question does not have
    for at in range(len(worth) - 1):
        pairs[place[question.stems[at]], place[question.stems[at + 1]]] = worth[at] + worth[at + 1]
    beside = (words.text[1:] == words.text[:-1]) & (words.text[1:] < size)
    value = pairs[words.place[:-1], words.place[1:]] * beside
    by_two = np.bincount(words.text[1:], value, minlength=size)[:size]
    by_three = np.bincount(words.text[2:], value[1:] * (value[:-1] > 0), minlength=size)[:size]
    return by_two.astype(float), by_three.astype(float)


def shown(words: Words, size: int) -> list[Floats]:
    """Count in each of the first texts what may be an answer: names and numbers that the question does not have."""
    inside = words.text < size
    new = (words.term < 0) & inside
    name = _is(words, Flag.capital) & new & ~words.first & ~_is(words, Flag.plain)
    behind_name, behind_by = _behind(name), _behind(_is(words, Flag.by))
    year = _is(words, Flag.year)
    masks = (
        name,
        name & behind_name,
        _is(words, Flag.digits) & ~year & new,
        year & new,
        _is(words, Flag.month) & new,
        _is(words, Flag.number) & new,
        _is(words, Flag.place) & inside,
        _is(words, Flag.reason) & inside,
        _is(words, Flag.pronoun) & words.first & inside,
        name & behind_by,
    )
    return [np.bincount(words.text[mask], minlength=size).astype(float) for mask in masks]


def _is(words: Words, flag: Flag) -> Bools:
    return (words.flags & int(flag)) > 0


def _behind(mask: Bools) -> Bools:
    """Return for each word whether the one before it is marked."""
    return np.concatenate([[False], mask[:-1]]) if len(mask) else mask
