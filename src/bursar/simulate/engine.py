"""Say how a serving engine schedules: what it holds, how many tokens a step takes, whose turn it is."""

from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError

BLOCK_TOKENS: Final = 16
"""Tokens of one block of the key-value cache, as in vLLM."""

BATCH: Final = 100
"""Priorities from here on are the batch lane: they wait for idle capacity and go first when memory is short."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Hold the settings of one replica's scheduler. The defaults are those of vLLM 0.19.

    `blocks` of `BLOCK_TOKENS` tokens make up the cache. A step takes at most `step_tokens` tokens, of at most
    `sequences` requests. `prefix_cache` keeps blocks that nobody uses until their room is needed. `ahead` decides a
    step when the one before it begins, as asynchronous scheduling does: what arrives or ends meanwhile counts one step
    later. The batch lane leaves `reserve_share` of the blocks free.
    """

    blocks: int
    step_tokens: int = 2048
    sequences: int = 256
    prefix_cache: bool = True
    ahead: bool = True
    reserve_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings under which no step could be made."""
        for name in ("blocks", "step_tokens", "sequences"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a whole number of at least 1")
        if self.step_tokens < self.sequences:
            raise ConfigError(
                f"step_tokens is {self.step_tokens}, fewer than the {self.sequences} sequences; give at least as many"
            )
        if not 0 <= self.reserve_share < 1:
            raise ConfigError(f"reserve_share is {self.reserve_share}; give a share from 0 to below 1")

    @property
    def reserve(self) -> int:
        """Count the blocks that the batch lane leaves free."""
        return int(self.blocks * self.reserve_share)


def blocks_of(tokens: int) -> int:
    """Count the blocks that hold `tokens`."""
    return -(-tokens // BLOCK_TOKENS)
