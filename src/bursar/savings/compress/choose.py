"""Choose which sentences stay within a number of tokens: those that promise most for what they take."""

from bisect import bisect
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

import numpy as np

from bursar.savings.compress.evidence import Floats

THRIFT: Final = 0.3
"""How much a sentence's length counts against it: 0 not at all, 1 as much as what it promises."""


class Cost(NamedTuple):
    """Hold what keeping takes, in tokens: each sentence, and by passage its head, paid once, and the sign for a gap."""

    sentences: Sequence[int]
    passage: Sequence[int]
    heads: Sequence[int]
    signs: Sequence[int]


class Queue(NamedTuple):
    """Hold sentences best first, each with the head it pays, and how good each is that pays for itself alone."""

    cost: Cost
    waiting: list[tuple[float, int, int]]
    alone: list[float]
    members: list[list[int]]  # of each passage


def queue(log_odds: Floats, cost: Cost) -> Queue:
    """Put sentences in order by what they promise for what they take."""
    promise = -1 / (1 + np.exp(-log_odds))
    sentences, heads = np.array(cost.sentences, float), np.array(cost.heads, np.int64)[list(cost.passage)]
    paying = promise / np.maximum(sentences + heads, 1) ** THRIFT
    alone = promise / np.maximum(sentences, 1) ** THRIFT
    members: list[list[int]] = [[] for _ in cost.heads]
    for sentence, passage in enumerate(cost.passage):
        members[passage].append(sentence)
    waiting = sorted(zip(paying.tolist(), range(len(paying)), heads.tolist(), strict=True))
    return Queue(cost, waiting, alone.tolist(), members)


def choose(ranked: Queue, tokens: int) -> list[int]:
    """Return the sentences that are kept within so many tokens, ascending: the best for what they take go first."""
    cost, waiting = ranked.cost, ranked.waiting.copy()  # in order, and so a heap
    kept: list[list[int]] = [[] for _ in cost.heads]
    held: set[int] = set()
    while waiting:
        _, sentence, head = heappop(waiting)
        passage = cost.passage[sentence]
        beside = kept[passage]
        takes = cost.sentences[sentence] + head
        if beside:
            takes += _gaps(beside, sentence) * cost.signs[passage]
        if sentence in held or (head and beside) or takes > tokens:
            continue
        if head and len(ranked.members[passage]) > 1:  # its neighbours no longer pay for the head
            for each in ranked.members[passage]:
                heappush(waiting, (ranked.alone[each], each, 0))
        held.add(sentence)
        beside.insert(bisect(beside, sentence), sentence)
        tokens -= takes
    return sorted(held)


def _gaps(kept: Sequence[int], sentence: int) -> int:
    """Return how many gaps more than before a passage has between what is kept of it, with one sentence more."""
    at = bisect(kept, sentence)
    before = at > 0 and sentence - kept[at - 1] > 1
    behind = at < len(kept) and kept[at] - sentence > 1
    parted = 0 < at < len(kept) and kept[at] - kept[at - 1] > 1
    return before + behind - parted
