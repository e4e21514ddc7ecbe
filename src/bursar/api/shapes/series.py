"""Shape what was spent, used and waited for over time. Money is a decimal string of USD; shares are of 1."""

from typing import Literal

import msgspec

Which = Literal["named", "none", "others"]


class SpentGroup(msgspec.Struct, frozen=True):
    """Be what a group has spent, in all and in each part.

    `which` is `named`, `none` for what has no such tag or account, or `others` for all `groups` not told apart.
    """

    name: str
    which: Which
    groups: int
    calls: int
    tokens: int
    cost_usd: str
    share: float
    costs_usd: list[str]


class SpentView(msgspec.Struct, frozen=True):
    """Be what was spent over time. Each list has a value for each of `times`, at which the parts of the span begin.

    `before_usd` is what was spent in as long a time before; `change` is null where that was nothing.
    """

    since: str
    until: str
    grain: str
    by: str
    times: list[str]
    calls: int
    cost_usd: str
    costs_usd: list[str]
    before_since: str
    before_usd: str
    change: float | None
    groups: list[SpentGroup]


class TokensOfKind(msgspec.Struct, frozen=True):
    """Be the tokens of one kind, by its leaf of usage: kinds never overlap."""

    kind: str
    tokens: int
    share: float
    counts: list[int]


class TokensView(msgspec.Struct, frozen=True):
    """Be the tokens used over time, by kind."""

    since: str
    until: str
    grain: str
    times: list[str]
    tokens: int
    kinds: list[TokensOfKind]


class Percentiles(msgspec.Struct, frozen=True):
    """Be the 50th, 95th and 99th percentile of durations in milliseconds; null where there is nothing to measure."""

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


class Latency(msgspec.Struct, frozen=True):
    """Be how long answered calls took, in all and in each part, and streams to their first token."""

    name: str
    which: Literal["named", "none", "all"]
    calls: int
    streams: int
    took_ms: list[float]
    ttft_ms: list[float] | None
    over_time: Percentiles
    ttft_over_time: Percentiles


class LatencyView(msgspec.Struct, frozen=True):
    """Be how long calls took over time: of all, and of the groups with most calls. Lists of three are p50, p95, p99."""

    since: str
    until: str
    grain: str
    by: str
    times: list[str]
    all: Latency | None
    groups: list[Latency]
