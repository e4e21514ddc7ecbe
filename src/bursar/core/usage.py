"""Count what a call consumed, in leaves that never overlap.

Providers report overlapping numbers, each in its own way: OpenAI's `prompt_tokens` includes cached tokens,
Anthropic's `input_tokens` does not. A wire turns either into these leaves, of which each token is counted in
exactly one. A leaf below zero means the report contradicts itself: `UsageContradiction`.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

INPUT_LEAVES: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "input_video_tokens",
    "cache_read_audio_tokens",
    "cache_read_image_tokens",
    "cache_read_video_tokens",
)
OUTPUT_LEAVES: Final = (
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_video_tokens",
    "citation_tokens",
)
COUNT_LEAVES: Final = (
    "web_searches",
    "social_searches",
    "storage_searches",
    "code_executions",
    "rerank_searches",
    "input_characters",
    "input_text_messages",
    "audio_seconds",
    "input_audio_seconds",
    "output_audio_seconds",
    "input_pixels",
    "input_document_pages",
    "input_annotated_document_pages",
    "requests",
)
MAIN_LEAVES: Final = (*INPUT_LEAVES[:4], *OUTPUT_LEAVES[:2])
LEAVES: Final = frozenset((*INPUT_LEAVES, *OUTPUT_LEAVES, *COUNT_LEAVES))


class UsageContradiction(ValueError):
    """Say that a provider's usage report contradicts itself; names the leaf that would be negative."""


class Usage(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Hold the disjoint counts of one call or attempt; tokens unless the name says otherwise.

    The six main leaves are fields; rarer ones (audio, images, searches ...) are in `other` under their leaf's
    name. `unknown` keeps the numbers a provider reported under names no leaf stands for: shown, never priced.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    other: dict[str, int] = {}
    unknown: dict[str, int] = {}

    def check(self) -> "Usage":
        """Return itself when no leaf is negative and each rare leaf is known; else raise `UsageContradiction`."""
        if min(self.main()) < 0 or self.other:
            self._complain()
        return self

    def _complain(self) -> None:
        for name, count in (*zip(MAIN_LEAVES, self.main(), strict=True), *self.other.items()):
            if name not in LEAVES:
                raise UsageContradiction(f"{name} is not a leaf of usage")
            if count < 0:
                raise UsageContradiction(f"{name} would be {count}")

    def main(self) -> tuple[int, int, int, int, int, int]:
        """Return the counts of the main leaves, in the order of `MAIN_LEAVES`."""
        return (
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.output_tokens,
            self.reasoning_tokens,
        )

    def leaves(self) -> dict[str, int]:
        """Return each leaf above zero by name, in the order they are priced and shown."""
        counts = {name: count for name, count in zip(MAIN_LEAVES, self.main(), strict=True) if count}
        if self.other:
            counts.update((name, count) for name, count in self.other.items() if count)
        return counts

    def plus(self, more: "Usage") -> "Usage":
        """Add the usage of another attempt."""
        return Usage(
            *(mine + theirs for mine, theirs in zip(self.main(), more.main(), strict=True)),
            other=_added(self.other, more.other),
            unknown=_added(self.unknown, more.unknown),
        )

    @property
    def input_total(self) -> int:
        """Count every input token: fresh, cached, written to a cache, of any modality."""
        total = self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens
        if self.other:
            total += sum(self.other.get(name, 0) for name in INPUT_LEAVES[4:])
        return total

    @property
    def output_total(self) -> int:
        """Count every output token: visible, reasoning, of any modality."""
        total = self.output_tokens + self.reasoning_tokens
        if self.other:
            total += sum(self.other.get(name, 0) for name in OUTPUT_LEAVES[2:])
        return total


def usage_of(leaves: Mapping[str, int]) -> Usage:
    """Return the usage of these leaves: the inverse of `Usage.leaves`."""
    main = (leaves.get(name, 0) for name in MAIN_LEAVES)
    return Usage(*main, other={name: count for name, count in leaves.items() if name not in MAIN_LEAVES}).check()


def _added(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in (left | right)}
