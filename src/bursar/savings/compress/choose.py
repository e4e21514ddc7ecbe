"""Choose which sentences stay within a number of tokens: those that promise most for what they take."""

from collections.abc import Sequence
from heapq import heapify, heappop
from typing import Final, NamedTuple

import numpy as np

from bursar.savings.compress.evidence import Floats

THRIFT: Final = 0.3
"""How much a sentence's length counts against it: 0 not at all, 1 as much as what it promises."""


class Cost(NamedTuple):
    """Hold what keeping takes: tokens of each sentence, its passage, and of each passage's head, paid once."""

    sentences: Sequence[int]
    passage: Sequence[int]
    heads: Sequence[int]


def choose(log_odds: Floats, cost: Cost, tokens: int) -> list[int]:
    """Return the sentences that are kept within so many tokens, ascending: the best for what they take go first."""
    promise: list[float] = (1 / (1 + np.exp(-log_odds))).tolist()
    members: list[list[int]] = [[] for _ in cost.heads]
    for sentence, passage in enumerate(cost.passage):
        members[passage].append(sentence)

    def entry(sentence: int, head: int) -> tuple[float, int, int]:
        return -promise[sentence] / max(cost.sentences[sentence] + head, 1) ** THRIFT, sentence, head

    waiting = [entry(sentence, cost.heads[passage]) for sentence, passage in enumerate(cost.passage)]
    heapify(waiting)
    opened: set[int] = set()
    kept: set[int] = set()
    while waiting:
        _, sentence, head = heappop(waiting)
        passage, takes = cost.passage[sentence], cost.sentences[sentence] + head
        if sentence in kept or (head and passage in opened) or takes > tokens:
            continue
        kept.add(sentence)
        tokens -= takes
        if head and len(members[passage]) > 1:  # its neighbours no longer pay for the head
            waiting += [entry(each, 0) for each in members[passage] if each not in kept]
            heapify(waiting)
        opened.add(passage)
    return sorted(kept)
