"""Choose which sentences stay within a number of tokens: those that promise most for what they take."""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

import numpy as np

from bursar.savings.compress.evidence import Floats

THRIFT: Final = 0.5
"""How much a sentence's length counts against it: 0 not at all, 1 as much as what it promises."""


class Cost(NamedTuple):
    """Hold what keeping takes: tokens of each sentence, its passage, and of each passage's head, paid once."""

    sentences: Sequence[int]
    passage: Sequence[int]
    heads: Sequence[int]


def choose(log_odds: Floats, cost: Cost, tokens: int) -> list[int]:
    """Return the sentences that are kept, ascending, within so many tokens."""
    left, kept = tokens, list[int]()
    for sentence, takes in picks(log_odds, cost, tokens):
        kept.append(sentence)
        left -= takes
    return sorted(kept)


def picks(log_odds: Floats, cost: Cost, tokens: int) -> Iterator[tuple[int, int]]:
    """Yield sentences that fit, the most promising for their tokens first, each with what it takes."""
    promise: list[float] = (1 / (1 + np.exp(-log_odds))).tolist()
    members: dict[int, list[int]] = {}
    for sentence, passage in enumerate(cost.passage):
        members.setdefault(passage, []).append(sentence)
    opened: set[int] = set()
    done: set[int] = set()

    def entry(sentence: int, extra: int) -> tuple[float, int, int]:
        return -promise[sentence] / max(cost.sentences[sentence] + extra, 1) ** THRIFT, sentence, extra

    waiting = [entry(each, cost.heads[passage]) for each, passage in enumerate(cost.passage)]
    heapify(waiting)
    while waiting:
        _, sentence, extra = heappop(waiting)
        passage = cost.passage[sentence]
        takes = cost.sentences[sentence] + extra
        if sentence in done or (extra and passage in opened) or takes > tokens:
            continue
        done.add(sentence)
        tokens -= takes
        yield sentence, takes
        if passage not in opened:
            opened.add(passage)
            for each in members[passage]:
                if each not in done:
                    heappush(waiting, entry(each, 0))
