"""Note what happened to each request, and what a replica did."""

from dataclasses import dataclass, field
from typing import Final

NEVER: Final = -1.0


class Journal:
    """Hold for each request when its first token and its end came, and how often it was put aside."""

    __slots__ = ("end_s", "first_s", "hit_tokens", "preemptions")

    def __init__(self, count: int) -> None:
        self.first_s = [NEVER] * count
        self.end_s = [NEVER] * count
        self.preemptions = [0] * count
        self.hit_tokens = [0] * count


@dataclass(slots=True)
class Work:
    """Add up what one replica did: the seconds in which it worked, its steps, the tokens and what they looked at.

    `context_tokens` are tokens in the cache that decoding sequences looked at, one for each sequence and step.
    `block_s` is the use of the cache over time. `prefill_pairs` are pairs of a prompt's token with one before it.
    """

    busy_s: float = 0.0
    steps: int = 0
    prefill_steps: int = 0
    decode_tokens: int = 0
    context_tokens: int = 0
    prefill_tokens: int = 0
    prefill_pairs: float = 0.0
    block_s: float = 0.0
    blocks_max: int = 0
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold a replica at one moment: requests in the batch, requests that wait, blocks in use."""

    at_s: float
    running: int
    waiting: int
    blocks: int


@dataclass(slots=True)
class Timeline:
    """Keep a sample at most every so many seconds."""

    every_s: float
    next_s: float = 0.0
    samples: list[Sample] = field(default_factory=list[Sample])

    def note(self, at_s: float, running: int, waiting: int, blocks: int) -> None:
        """Keep a sample, if it is time."""
        if at_s >= self.next_s:
            self.samples.append(Sample(at_s, running, waiting, blocks))
            self.next_s = at_s + self.every_s
