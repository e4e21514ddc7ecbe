"""Choose which sentences stay within a number of tokens: those that promise most for what they take."""

from bisect import bisect
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
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
    kept: list[list[int]] = [[] for _ in cost.heads]
    held: set[int] = set()
    while waiting:
        _, sentence, head = heappop(waiting)
        passage = cost.passage[sentence]
        takes = cost.sentences[sentence] + head + _gaps(kept[passage], sentence) * cost.signs[passage]
        if sentence in held or (head and kept[passage]) or takes > tokens:
            continue
        if head and len(members[passage]) > 1:  # its neighbours no longer pay for the head
            for each in members[passage]:
                heappush(waiting, entry(each, 0))
        held.add(sentence)
        kept[passage].insert(bisect(kept[passage], sentence), sentence)
        tokens -= takes
    return sorted(held)


def _gaps(kept: Sequence[int], sentence: int) -> int:
    """Return how many gaps more than before a passage has between what is kept of it, with one sentence more."""
    at = bisect(kept, sentence)
    before = at > 0 and sentence - kept[at - 1] > 1
    behind = at < len(kept) and kept[at] - sentence > 1
    parted = 0 < at < len(kept) and kept[at] - kept[at - 1] > 1
    return before + behind - parted
