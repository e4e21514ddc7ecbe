"""Say what one step demands of a chip, each part as the seconds it would take at the chip's peak."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from statistics import NormalDist

from bursar.physics.deployment import Batch, Deployment
from bursar.physics.shape import Experts
from bursar.physics.work import ACTIVATION_BYTES, Kind, Work, work_of


@dataclass(frozen=True, slots=True)
class Demand:
    """Hold seconds at the peak of memory, of arithmetic and of the links, and counts of what costs time by itself.

    `linear` are matrices all tokens share, `expert` routed ones, `cache` the attention of new tokens, `prompt` that of
    prompts. `exchange_s` is what tokens sent to other chips' experts take, `waiting_s` what the chips whose experts
    have less to read wait for the one that has most.
    """

    linear_bytes_s: float = 0.0
    linear_flops_s: float = 0.0
    expert_bytes_s: float = 0.0
    expert_flops_s: float = 0.0
    cache_bytes_s: float = 0.0
    cache_flops_s: float = 0.0
    prompt_bytes_s: float = 0.0
    prompt_flops_s: float = 0.0
    state_s: float = 0.0
    link_s: float = 0.0
    exchange_s: float = 0.0
    waiting_s: float = 0.0
    layers: float = 0.0
    sequences: float = 0.0

    def __add__(self, other: "Demand") -> "Demand":
        """Add part by part."""
        return Demand(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def demand_of(deployment: Deployment, batch: Batch, skew: float) -> Demand:
    """Add up the demand of one step on one chip.

    `skew` is the standard deviation of the logarithm of how often experts are chosen; 0 is an even choice.
    """
    shape, own = deployment.shape, (batch.decodes + batch.chunks) / deployment.groups
    counts = Demand(layers=shape.layer_count, sequences=own)
    shared = (_part(deployment, work) for work in work_of(deployment, batch))
    routed = (
        _routed(deployment, layer.count, layer.feed, batch.tokens, skew)
        for layer in shape.layers
        if isinstance(layer.feed, Experts)
    )
    return _sum([counts, *shared, *routed])


def experts_read(count: int, active: int, tokens: float, skew: float) -> float:
    """Give how many of `count` experts at least one of `tokens` is sent to, where some are chosen more often.

    Source: 1 - (1 - p) ** tokens for each expert; the p are quantiles of a lognormal law that add up to `active`.
    """
    return float(sum(1 - (1 - p) ** tokens for p in _shares(count, active, skew)))


@lru_cache(maxsize=256)
def _shares(count: int, active: int, skew: float) -> tuple[float, ...]:
    law = NormalDist()
    wishes = [math.exp(skew * law.inv_cdf((i + 0.5) / count)) for i in range(count)]
    low, high = 0.0, count / min(wishes)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(min(1.0, middle * w) for w in wishes) > active else (middle, high)
    return tuple(min(1.0, low * w) for w in wishes)


def _sum(parts: Iterable[Demand]) -> Demand:
    total = Demand()
    for part in parts:
        total += part
    return total


def _part(deployment: Deployment, work: Work) -> Demand:
    chip = deployment.chip
    moving = work.count * work.moved / chip.memory_bytes_per_s
    computing = work.count * work.flops / chip.peak_flops_per_s(work.precision)
    sending = work.count * work.sent / chip.link_bytes_per_s
    match work.kind:
        case Kind.LINEAR:
            return Demand(linear_bytes_s=moving, linear_flops_s=computing)
        case Kind.DECODE:
            return Demand(cache_bytes_s=moving, cache_flops_s=computing)
        case Kind.PREFILL:
            return Demand(prompt_bytes_s=moving, prompt_flops_s=computing)
        case Kind.STATE:
            return Demand(state_s=moving)
        case Kind.ALL_REDUCE:
            return Demand(link_s=sending)
        case Kind.ALL_TO_ALL:
            return Demand(exchange_s=sending)
        case Kind.EXPERTS:
            return Demand()  # counted by itself: which experts are touched depends on the skew


def _routed(deployment: Deployment, count: int, feed: Experts, tokens: float, skew: float) -> Demand:
    chip, matrices = deployment.chip, feed.matrices * feed.width * feed.intermediate
    touched = experts_read(feed.count, feed.active, tokens, skew)
    tokens_moved = 2 * tokens * feed.active * feed.width * ACTIVATION_BYTES
    moved = count * (touched * matrices * deployment.weight_bytes + tokens_moved) / deployment.chips
    flops = count * 2 * tokens * feed.active * matrices / deployment.chips
    moving = moved / chip.memory_bytes_per_s
    return Demand(
        expert_bytes_s=moving,
        expert_flops_s=flops / chip.peak_flops_per_s(deployment.compute),
        waiting_s=moving * _imbalance(deployment.expert, feed.count, touched),
    )


def _imbalance(groups: int, count: int, touched: float) -> float:
    """Give by how much more the busiest of `groups` chips has to read than all have on average.

    Source: the largest of n normal values is about sqrt(2 ln n) deviations above their mean; a chip's share of the
    touched experts is binomial, and no more than all it holds.
    """
    if groups == 1 or not touched:
        return 0.0
    held, share = count / groups, touched / count
    deviation = math.sqrt(held * share * (1 - share))
    return min(math.sqrt(2 * math.log(groups)) * deviation, held * (1 - share)) / (held * share)
