"""Gather what speaks for a sentence: a row of numbers each, from words and, where there are any, from vectors."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bursar.savings.compress.hits import Bools, Floats, Ints, Words, read_words, runs, shown, table
from bursar.savings.compress.words import Flag, Question

K1: Final = 1.2
B: Final = 0.6
TINY: Final = 1e-9

OF_PASSAGES: Final = [
    "passage_bm25",
    "passage_bm25_share",
    "passage_bm25_rank",
    "passage_bm25_here",
    "passage_bm25_here_share",
    "title_bm25",
    "title_bm25_share",
    "title_here",
    "title_asked",
    "covered",
    "covered_share",
    "covered_rank",
    "covered_here",
    "near_covered",
    "pairs",
    "pairs_share",
    "best_sentence",
    "best_sentence_share",
    "passages",
    "passage_words",
    "has_title",
]
OF_SENTENCES: Final = [
    "covered_by_sentence",
    "here_by_sentence",
    "with_title",
    "near_by_sentence",
    "pairs_in_sentence",
    "run_in_sentence",
    "sentence_share",
    "sentence_rank",
    "rarest",
    "before",
    "after",
    "place",
    "place_share",
    "is_first",
    "is_last",
    "words",
    "names",
    "full_names",
    "digits",
    "years",
    "months",
    "numbers",
    "places",
    "reasons",
    "pronoun",
    "by_name",
    "fits",
    "fits_share",
    "asks_who",
    "asks_when",
    "asks_where",
    "asks_number",
    "asks_why",
    "terms",
    "spread",
]
OF_VECTORS: Final = [
    "like",
    "like_share",
    "like_rank",
    "like_with_title",
    "like_before",
    "like_after",
    "passage_like",
    "passage_like_share",
    "passage_like_rank",
    "best_like",
    "best_like_share",
    "title_like",
    "title_like_share",
]


class Text(NamedTuple):
    """Hold sentences with the passage each belongs to, ascending, and each passage's title."""

    sentences: Sequence[str]
    passage: Ints
    titles: Sequence[str]


class Likeness(NamedTuple):
    """Hold how near to the question each sentence, each passage and each title is, as cosines."""

    sentences: Floats
    with_titles: Floats
    passages: Floats
    titles: Floats


class _Layout(NamedTuple):
    """Hold where passages start among the sentences, the row of each sentence's passage, and its number in the text."""

    starts: Ints
    which: Ints
    held: Ints  # passages that have sentences


def evidence(text: Text, question: Question, rarity: Floats, likeness: Likeness | None = None) -> Floats:
    """Return a row a sentence: columns OF_PASSAGES, OF_SENTENCES and, with a likeness, OF_VECTORS.

    `rarity` is how rare each of the question's terms is in all English, 0 and more.
    """
    count = len(text.sentences)
    words = read_words([*text.sentences, *text.titles], question)
    opens = np.diff(text.passage, prepend=-1) > 0
    starts = np.flatnonzero(opens)
    layout = _Layout(starts, np.cumsum(opens) - 1, text.passage[starts])
    shape = (count + len(text.titles), len(question.terms))
    hits, near = table(words.text, words.term, shape), table(words.text, words.near, shape)
    lengths = np.bincount(words.text, minlength=shape[0]).astype(float)
    by_two, by_three = runs(words, question, rarity, count)

    titles = hits[count:][layout.held]
    bodies = np.add.reduceat(hits[:count], starts, axis=0)
    covers = (bodies > 0) | (titles > 0)
    in_passages = covers.sum(0)
    weight = _portions(rarity)
    here = _portions(rarity * np.log1p((len(starts) - in_passages + 0.5) / (in_passages + 0.5)))

    body_words = np.add.reduceat(lengths[:count], starts)
    bm25 = bodies * (K1 + 1) / (bodies + (K1 * (1 - B + B * body_words / max(body_words.mean(), 1)))[:, None])
    plain = np.bincount(words.text[(words.flags & int(Flag.plain)) > 0], minlength=shape[0])
    title_words = lengths[count:][layout.held]
    asked = titles.sum(1) / np.maximum(title_words - plain[count:][layout.held], 1)
    near_covers = covers | (np.add.reduceat(near[:count], starts, axis=0) > 0) | (near[count:][layout.held] > 0)
    best = np.maximum.reduceat((hits[:count] > 0) @ weight, starts)
    pairs = np.add.reduceat(np.minimum(by_two, 3), starts)
    passages = [
        *_three(bm25 @ weight), *_two((bm25 + (titles > 0)) @ here), *_two((titles > 0) @ weight), (titles > 0) @ here,
        np.minimum(asked, 1), *_three(covers @ weight), covers @ here, near_covers @ weight, *_two(pairs), *_two(best),
        np.full(len(starts), np.log1p(len(starts))), np.log1p(body_words), title_words > 0,
    ]  # fmt: skip
    sentences = [
        *_by_sentence(hits[:count] > 0, near[:count] > 0, titles > 0, layout, (weight, here)),
        *_around(words, question, layout, lengths[:count]),
        np.full(count, len(question.terms)), np.full(count, in_passages @ weight / len(starts)),
    ]  # fmt: skip
    sentences[4:4] = [by_two, by_three]
    found = [*(column[layout.which] for column in passages), *sentences]
    if likeness is not None:
        found += _of_likeness(likeness, layout)
    return np.stack(found, axis=1)


def _by_sentence(
    hits: Bools, near: Bools, titles: Bools, layout: _Layout, weights: tuple[Floats, Floats]
) -> list[Floats]:
    """Return what a sentence's own words cover of the question, alone, with its title, and beside its neighbours."""
    weight, here = weights
    covered = hits @ weight
    with_title = (hits | titles[layout.which]) @ weight
    rarest = hits[:, int(here.argmax())]
    return [
        covered, hits @ here, with_title, (hits | near) @ weight, share(covered), rank(with_title + covered),
        rarest.astype(float), *_neighbours(covered, layout),
    ]  # fmt: skip


def _around(words: Words, question: Question, layout: _Layout, lengths: Floats) -> list[Floats]:
    """Return where a sentence stands, how long it is, and what in it may be an answer."""
    count = len(lengths)
    place = np.arange(count) - layout.starts[layout.which]
    size = np.diff(layout.starts, append=count)[layout.which]
    answers = shown(words, count)
    names, full_names, digits, years, months, numbers, places, reasons, _, by_name = answers
    fits = np.log1p(
        (
            names + digits,
            names + 2 * full_names + by_name,
            years + months,
            names + places,
            digits + numbers,
            reasons,
        )[question.asks]
    )
    asks = np.zeros((6, count))
    asks[question.asks] = 1
    return [
        np.minimum(place, 10), place / size, place == 0, place == size - 1, np.log1p(lengths), *answers, *_two(fits),
        *asks[1:],
    ]  # fmt: skip


def _of_likeness(likeness: Likeness, layout: _Layout) -> list[Floats]:
    """Return cosines as they are and as they stand among the others."""
    best = np.maximum.reduceat(likeness.sentences, layout.starts)
    passages, titles = likeness.passages[layout.held], likeness.titles[layout.held]
    of_passages = [*_like(passages), rank(passages), *_like(best), *_like(titles)]
    return [
        *_like(likeness.sentences), rank(likeness.sentences), likeness.with_titles,
        *_neighbours(likeness.sentences, layout), *(column[layout.which] for column in of_passages),
    ]  # fmt: skip


def _like(cosines: Floats) -> tuple[Floats, Floats]:
    """Return cosines, and how far each is above their mean in standard deviations."""
    return cosines, (cosines - cosines.mean()) / max(float(cosines.std()), TINY)


def _neighbours(values: Floats, layout: _Layout) -> tuple[Floats, Floats]:
    """Return the values of the sentence before and of the one after, 0 where the passage has none."""
    before, after = np.zeros_like(values), np.zeros_like(values)
    before[1:], after[:-1] = values[:-1], values[1:]
    before[layout.starts] = 0
    after[layout.starts[1:] - 1] = 0
    return before, after


def share(values: Floats) -> Floats:
    """Return values as parts of the largest."""
    return values / max(float(values.max(initial=0)), TINY)


def rank(values: Floats) -> Floats:
    """Return the logarithm of each one's place from the top: the first and second are further apart than 9 and 10."""
    places = np.empty(len(values))
    places[np.argsort(-values, kind="stable")] = np.log1p(np.arange(len(values)))
    return places


def _portions(values: Floats) -> Floats:
    return values / max(float(values.sum()), TINY)


def _two(values: Floats) -> tuple[Floats, Floats]:
    return values, share(values)


def _three(values: Floats) -> tuple[Floats, Floats, Floats]:
    return values, share(values), rank(values)
