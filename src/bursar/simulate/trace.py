"""Hold the requests that are replayed, in the order in which they arrive."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bursar.core.errors import ConfigError
from bursar.simulate.engine import Engine, blocks_of


@dataclass(frozen=True, slots=True)
class Trace:
    """Hold requests as columns: the moment of arrival, tokens in, tokens out.

    `priority` is one number a request, smaller goes first, or empty where all are alike; from `engine.BATCH` on it is
    the batch lane. `prefix` has for each request the names of its prompt's pieces of `prefix_tokens` tokens, an equal
    name standing for an equal prompt up to and including that piece; or it is empty.
    """

    arrival_s: Sequence[float]
    input_tokens: Sequence[int]
    output_tokens: Sequence[int]
    priority: Sequence[int] = ()
    prefix: Sequence[Sequence[int]] = ()
    prefix_tokens: int = 512
    name: str = field(default="trace", compare=False)

    def __post_init__(self) -> None:
        """Refuse columns that do not fit each other, naming the first request that is wrong."""
        count = len(self.arrival_s)
        for name, column in (("input_tokens", self.input_tokens), ("output_tokens", self.output_tokens)):
            if len(column) != count:
                raise ConfigError(f"{name} has {len(column)} requests, arrival_s {count}; give one of each")
        for name, optional in (("priority", self.priority), ("prefix", self.prefix)):
            if optional and len(optional) != count:
                raise ConfigError(f"{name} has {len(optional)} requests, arrival_s {count}; give one of each or none")
        if self.prefix_tokens < 16 or self.prefix_tokens % 16:
            raise ConfigError(f"prefix_tokens is {self.prefix_tokens}; give a multiple of 16")
        before = 0.0
        for index, (at_s, given, made) in enumerate(
            zip(self.arrival_s, self.input_tokens, self.output_tokens, strict=True)
        ):
            if not before <= at_s < float("inf"):
                raise ConfigError(f"request {index} arrives at {at_s} s, after one at {before} s; order by arrival")
            if given < 1 or made < 0:
                raise ConfigError(f"request {index} has {given} tokens in and {made} out; give at least 1 and 0")
            before = at_s

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def span_s(self) -> float:
        """Give the seconds from the first arrival to the last."""
        return self.arrival_s[-1] - self.arrival_s[0] if self.arrival_s else 0.0

    def must_fit(self, engine: Engine) -> None:
        """Refuse a request that no replica could hold alone. Raises `ConfigError`, naming the first."""
        for index, (given, made) in enumerate(zip(self.input_tokens, self.output_tokens, strict=True)):
            needed = blocks_of(given + max(made - 1, 0))
            if needed > engine.blocks:
                raise ConfigError(
                    f"request {index} of {self.name} has {given:,} tokens in and {made:,} out, {needed:,} blocks of "
                    f"cache; a replica has {engine.blocks:,}: leave it out, or give more memory or more chips a replica"
                )
