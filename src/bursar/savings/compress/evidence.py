"""Gather what speaks for a sentence: one row of numbers a sentence, from words alone or with vectors beside."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bursar.savings.compress.words import (
    BECAUSE_WORDS,
    MONTHS,
    NUMBER_WORDS,
    PLACE_WORDS,
    PRONOUNS,
    STOP_WORDS,
    WORD,
    Question,
    stem,
)

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

K1: Final = 1.2
B: Final = 0.6
PREFIX: Final = 5
"""Letters by which two words that differ in form may still be one: direct, director, direction."""

CAPITAL, DIGIT, YEAR, MONTH, NUMBER, PLACE, BECAUSE, PRONOUN, PLAIN, BY = (1 << each for each in range(10))


class Text(NamedTuple):
    """Hold sentences with the passage each belongs to, and each passage's title."""

    sentences: Sequence[str]
    passage: Ints  # of each sentence, ascending
    titles: Sequence[str]


class _Words(NamedTuple):
    """Hold the words of all sentences in a row: the term of the question each is, or -1, and what else it is."""

    sentence: Ints
    term: Ints
    stem: Ints  # position in the question's words, stop words too, or -1
    near: Ints  # term by its first letters alone, or -1
    flags: Ints
    first: npt.NDArray[np.bool_]  # whether it opens its sentence


def _words(texts: Sequence[str], question: Question) -> _Words:
    found = WORD.findall("\n".join(text.replace("\n", " ") for text in texts))
    terms = {term: number for number, term in enumerate(question.terms)}
    stems = {each: number for number, each in reversed(list(enumerate(question.stems)))}
    prefixes = {term[:PREFIX]: number for term, number in terms.items() if len(term) >= PREFIX}
    table: dict[str, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    for word in set(found):
        table[word] = len(rows)
        lowered = word.lower()
        stemmed = stem(lowered)
        rows.append((terms.get(stemmed, -1), stems.get(stemmed, -1), prefixes.get(stemmed[:PREFIX], -1), _flags(word, lowered)))
    if not found:
        empty = np.zeros(0, np.int64)
        return _Words(empty, empty, empty, empty, empty, empty.astype(bool))
    attributes = np.array(rows, np.int64)
    numbers = np.fromiter(map(table.__getitem__, found), np.int64, len(found))
    breaks = numbers == table.get("\n", -1)
    sentence = np.cumsum(breaks)
    kept = ~breaks
    first = np.ones(len(found), bool)
    first[1:] = breaks[:-1]
    term, place, near, flags = attributes[numbers[kept]].T
    return _Words(sentence[kept], term, place, near, flags, first[kept])


def _flags(word: str, lowered: str) -> int:
    first = word[0]
    if first.isdigit():
        return DIGIT | (YEAR if len(word) == 4 and word.isdigit() and "1000" <= word < "2100" else 0)
    flags = CAPITAL if first != lowered[0] else 0
    for bit, words in ((MONTH, MONTHS), (NUMBER, NUMBER_WORDS), (PLACE, PLACE_WORDS), (BECAUSE, BECAUSE_WORDS), (PRONOUN, PRONOUNS), (PLAIN, STOP_WORDS)):
        if lowered in words:
            flags |= bit
    return flags | (BY if lowered == "by" else 0)


NAMES: Final = (
    "passage_bm25", "passage_bm25_share", "passage_bm25_rank", "passage_bm25_here", "passage_bm25_here_share",
    "title_bm25", "title_bm25_share", "covered", "covered_share", "covered_rank", "covered_here", "title_covered", "title_asked",
    "pairs", "pairs_share", "near_covered", "best_sentence", "best_sentence_share", "passages", "passage_words",
    "sentence_covered", "sentence_covered_here", "sentence_with_title", "sentence_near", "sentence_pairs", "sentence_run",
    "sentence_share", "sentence_rank", "rarest", "before", "after", "place", "place_share", "is_first", "is_last", "words",
    "capitals", "capital_pairs", "digits", "years", "months", "numbers", "places", "because", "pronoun", "by_name", "fits",
    "fits_share", "asks_who", "asks_when", "asks_where", "asks_number", "asks_why", "terms", "has_title",
    "spread",
)  # fmt: skip


def evidence(text: Text, question: Question, rarity: Floats) -> Floats:
    """Return (sentences, NAMES). `rarity` is how rare each of the question's terms is in all English, 0 and more."""
    n, m, count = len(text.sentences), len(text.titles), len(question.terms)
    words = _words([*text.sentences, *text.titles], question)
    in_text = words.sentence < n
    matched = words.term >= 0
    counts = np.bincount(words.sentence[matched] * count + words.term[matched], minlength=(n + m) * count).reshape(n + m, count).astype(float)
    near_hit = words.near >= 0
    near = np.bincount(words.sentence[near_hit] * count + words.near[near_hit], minlength=(n + m) * count).reshape(n + m, count)
    lengths = np.bincount(words.sentence, minlength=n + m).astype(float)
    here, titled = counts[:n], counts[n:] > 0
    starts = np.flatnonzero(np.r_[True, np.diff(text.passage) > 0])
    which = np.cumsum(np.r_[True, np.diff(text.passage) > 0]) - 1  # passages without sentences have no row
    held = text.passage[starts]
    body = np.add.reduceat(here, starts, axis=0)
    body_words = np.add.reduceat(lengths[:n], starts)
    titled = titled[held]
    any_here = (body > 0) | titled
    in_passages = any_here.sum(0)
    k = len(starts)
    weight = rarity / max(rarity.sum(), 1e-9)
    local = np.log1p((k - in_passages + 0.5) / (in_passages + 0.5))
    local_weight = local * rarity
    local_weight = local_weight / max(local_weight.sum(), 1e-9)
    scale = K1 * (1 - B + B * body_words / max(body_words.mean(), 1))
    saturated = body * (K1 + 1) / (body + scale[:, None])
    bm25 = saturated @ weight
    bm25_here = (saturated + titled) @ local_weight
    title_bm25 = titled @ weight
    title_words = np.maximum(lengths[n:][held], 1)
    title_plain = np.bincount(words.sentence[~in_text & ((words.flags & PLAIN) > 0)] - n, minlength=m)[held]
    title_asked = np.minimum(counts[n:][held].sum(1) / np.maximum(title_words - title_plain, 1), 1)
    covered = any_here @ weight
    covered_here = any_here @ local_weight
    near_any = (np.add.reduceat(near[:n], starts, axis=0) > 0) | any_here | (near[n:][held] > 0)
    pairs, run = _pairs(words, question, rarity, n)
    pairs_passage = np.add.reduceat(np.minimum(pairs, 3), starts)
    sentence_hit = here > 0
    s_cov = sentence_hit @ weight
    s_here = sentence_hit @ local_weight
    with_title = (sentence_hit | titled[which]) @ weight
    s_near = (sentence_hit | (near[:n] > 0)) @ weight
    best = np.maximum.reduceat(s_cov, starts)
    before = np.r_[0, s_cov[:-1]] * (np.r_[-1, which[:-1]] == which)
    after = np.r_[s_cov[1:], 0] * (np.r_[which[1:], -1] == which)
    place = np.arange(n) - starts[which]
    size = np.diff(np.r_[starts, n])[which]
    rarest = here[:, int(local_weight.argmax())] > 0
    shown = _shown(words, n)
    fits = _fits(question, shown)
    spread = np.minimum(in_passages, k) @ weight / k
    passage = np.stack([
        bm25, _share(bm25), _rank(bm25), bm25_here, _share(bm25_here), title_bm25, _share(title_bm25), covered, _share(covered),
        _rank(covered + bm25 * 1e-3), covered_here, titled @ local_weight, title_asked, pairs_passage, _share(pairs_passage),
        near_any @ weight, best, _share(best), np.full(k, np.log1p(k)), np.log1p(body_words),
    ])[:, which]  # fmt: skip
    ask = np.zeros((5, n))
    if question.asks:
        ask[question.asks - 1] = 1
    sentence = np.stack([
        s_cov, s_here, with_title, s_near, pairs, run, _share(s_cov), _rank(with_title + s_cov), rarest, before, after, np.minimum(place, 10),
        place / size, place == 0, place == size - 1, np.log1p(lengths[:n]), *shown, fits, _share(fits), *ask,
        np.full(n, count), (lengths[n:][held] > 0)[which], np.full(n, spread),
    ])  # fmt: skip
    return np.concatenate([passage, sentence]).T


def _pairs(words: _Words, question: Question, rarity: Floats, n: int) -> tuple[Floats, Floats]:
    """Return for each sentence how many of the question's neighbouring words stand side by side in it, and the longest run."""
    size = len(question.stems)
    term_of = {term: number for number, term in enumerate(question.terms)}
    worth = np.array([rarity[term_of[each]] if each in term_of else 0.2 for each in question.stems]) / max(rarity.max(), 1e-9)
    first = {each: number for number, each in reversed(list(enumerate(question.stems)))}
    table = np.zeros((size + 1, size + 1))
    for left, right in zip(range(size), range(1, size), strict=False):
        table[first[question.stems[left]], first[question.stems[right]]] = worth[left] + worth[right]
    beside = (words.sentence[1:] == words.sentence[:-1]) & (words.sentence[1:] < n)
    value = table[words.stem[:-1], words.stem[1:]] * beside
    total = np.bincount(words.sentence[1:], value, minlength=n)[:n]
    follows = value[1:] * (value[:-1] > 0)
    run = np.bincount(words.sentence[2:], follows, minlength=n)[:n]
    return total, run


def _shown(words: _Words, n: int) -> list[Floats]:
    """Count in each sentence what may be an answer: names and numbers the question does not have, and the like."""
    new = (words.term < 0) & (words.sentence < n)
    flags = words.flags
    capital = ((flags & CAPITAL) > 0) & new & ~words.first & ((flags & PLAIN) == 0)
    joined = np.zeros(len(capital), bool)
    joined[1:] = capital[1:] & capital[:-1]
    by = np.zeros(len(capital), bool)
    by[1:] = capital[1:] & ((flags[:-1] & BY) > 0)

    def each(mask: npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(words.sentence[mask & (words.sentence < n)], minlength=n)[:n].astype(float)

    year = (flags & YEAR) > 0
    return [
        each(capital), each(joined), each(((flags & DIGIT) > 0) & ~year & new), each(year & new), each(((flags & MONTH) > 0) & new),
        each(((flags & NUMBER) > 0) & new), each((flags & PLACE) > 0), each((flags & BECAUSE) > 0),
        each(((flags & PRONOUN) > 0) & words.first), each(by),
    ]  # fmt: skip


def _fits(question: Question, shown: list[Floats]) -> Floats:
    """Return how much of the kind of answer that is asked for a sentence shows."""
    capitals, joined, digits, years, months, numbers, places, because, _, by = shown
    return np.log1p(
        (
            capitals + digits,
            capitals + 2 * joined + by,
            years + months,
            capitals + places,
            digits + numbers,
            because,
        )[question.asks]
    )


def _share(values: Floats) -> Floats:
    return values / max(float(values.max(initial=0)), 1e-9)


def _rank(values: Floats) -> Floats:
    """Return each one's place among all from the top, by its logarithm, so that 1 and 2 are further apart than 9 and 10."""
    order = np.argsort(-values, kind="stable")
    places = np.empty(len(values))
    places[order] = np.arange(len(values))
    return np.log1p(places)
