"""Sum up a run: how long requests took, how many kept the promise, how full the replicas were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bursar.core.errors import ConfigError
from bursar.simulate.fleet import Run
from bursar.simulate.journal import Timeline, Work

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Promise:
    """Hold what is promised: the most a request may wait for its first token, and take for each further one.

    A request without a further token keeps the second half. `share` of the requests must keep both.
    """

    ttft_ms: float = 500.0
    tpot_ms: float = 50.0
    share: float = 0.99

    def __post_init__(self) -> None:
        """Refuse what cannot be kept or measured."""
        for name, value in (("slo_ttft_ms", self.ttft_ms), ("slo_tpot_ms", self.tpot_ms)):
            if not 0 < value < inf:
                raise ConfigError(f"{name} is {value}; give milliseconds above 0, such as 1000000 for no promise")
        if not 0 < self.share <= 1:
            raise ConfigError(f"slo_share is {self.share}; give a share above 0, up to 1")


@dataclass(frozen=True, slots=True)
class Spread:
    """Hold a distribution in milliseconds."""

    mean: float
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values_s: Column) -> "Spread | None":
        """Sum up seconds; None where there are none."""
        if not len(values_s):
            return None
        p50, p90, p99 = np.percentile(values_s, (50, 90, 99))
        return cls(*(round(float(each) * 1e3, 3) for each in (values_s.mean(), p50, p90, p99)))


@dataclass(frozen=True, slots=True)
class Moment:
    """Hold the fleet at one moment: requests in batches, requests that wait, share of the cache in use."""

    at_s: float
    running: int
    waiting: int
    kv_use: float


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what a run came to.

    Times are from a request's arrival. `kv_use` is the mean use of the cache while a replica works, `kv_use_max` the
    most of any replica. `busy_share` is the share of the replicas' time in which they work. `queue` is the mean number
    of requests that wait over the moments sampled. `hit_share` is the share of input tokens read from the prefix cache.
    `input_tokens` and `output_tokens` are those of the requests, however often they were computed.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    seconds: float
    ttft_ms: Spread | None
    tpot_ms: Spread | None
    e2e_ms: Spread | None
    requests_per_s: float
    output_tokens_per_s: float
    kept_share: float
    ttft_kept_share: float
    tpot_kept_share: float
    goodput_per_s: float
    queue: float
    queue_max: int
    kv_use: float
    kv_use_max: float
    busy_share: float
    preemptions: int
    hit_share: float
    work: Work
    moments: Sequence[Moment]

    def figures(self) -> Mapping[str, Any]:
        """Give what is counted and measured, without the timeline and the parts of the work."""
        spreads = {"ttft_ms": self.ttft_ms, "tpot_ms": self.tpot_ms, "e2e_ms": self.e2e_ms}
        shown = {
            name: None if each is None else {"mean": each.mean, "p50": each.p50, "p90": each.p90, "p99": each.p99}
            for name, each in spreads.items()
        }
        names = ("requests", "seconds", "requests_per_s", "output_tokens_per_s", "kept_share", "ttft_kept_share")
        more = (
            "tpot_kept_share",
            "goodput_per_s",
            "queue",
            "queue_max",
            "kv_use",
            "kv_use_max",
            "busy_share",
            "preemptions",
            "hit_share",
        )
        return shown | {name: getattr(self, name) for name in (*names, *more)}


def report(run: Run, promise: Promise) -> Report:
    """Sum up a run. Raises `ConfigError` for one of no requests."""
    count = len(run.trace)
    if not count:
        raise ConfigError(f"{run.trace.name} has no requests; give at least one")
    times = _Times.of(run)
    begun = (times.ttft_s <= promise.ttft_ms / 1e3) | ~times.answered
    fluent = times.tpot_s <= promise.tpot_ms / 1e3
    kept = begun & fluent
    seconds = run.end_s - run.trace.arrival_s[0]
    work = _together(run.work)
    blocks, replicas = run.fleet.engine.blocks, len(run.work)
    moments = _moments(run.timelines, blocks)
    given, made = sum(run.trace.input_tokens), sum(run.trace.output_tokens)
    return Report(
        requests=count,
        input_tokens=given,
        output_tokens=made,
        seconds=round(seconds, 3),
        ttft_ms=Spread.of(times.ttft_s[times.answered]),
        tpot_ms=Spread.of(times.tpot_s[times.further]),
        e2e_ms=Spread.of(times.e2e_s),
        requests_per_s=round(count / seconds, 3),
        output_tokens_per_s=round(made / seconds, 1),
        kept_share=round(float(kept.mean()), 6),
        ttft_kept_share=round(float(begun.mean()), 6),
        tpot_kept_share=round(float(fluent.mean()), 6),
        goodput_per_s=round(float(kept.sum()) / seconds, 3),
        queue=round(float(np.mean([each.waiting for each in moments])), 2) if moments else 0.0,
        queue_max=max((each.waiting for each in moments), default=0),
        kv_use=round(work.block_s / (work.busy_s * blocks), 4) if work.busy_s else 0.0,
        kv_use_max=round(work.blocks_max / blocks, 4),
        busy_share=round(work.busy_s / (seconds * replicas), 4),
        preemptions=work.preemptions,
        hit_share=round(sum(run.journal.hit_tokens) / given, 4),
        work=work,
        moments=moments,
    )


@dataclass(frozen=True, slots=True)
class _Times:
    """Hold each request's times, and which have a first token and which a further one."""

    ttft_s: Column
    tpot_s: Column
    e2e_s: Column
    answered: NDArray[np.bool_]
    further: NDArray[np.bool_]

    @classmethod
    def of(cls, run: Run) -> "_Times":
        arrival_s = np.asarray(run.trace.arrival_s, dtype=np.float64)
        made = np.asarray(run.trace.output_tokens, dtype=np.float64)
        first_s = np.asarray(run.journal.first_s, dtype=np.float64)
        end_s = np.asarray(run.journal.end_s, dtype=np.float64)
        further = made > 1
        tpot_s = np.where(further, (end_s - first_s) / np.maximum(made - 1, 1), 0.0)
        return cls(first_s - arrival_s, tpot_s, end_s - arrival_s, made > 0, further)


def _together(works: Sequence[Work]) -> Work:
    """Add up what replicas did; of the most blocks in use, the most of any."""
    return Work(
        busy_s=sum(each.busy_s for each in works),
        steps=sum(each.steps for each in works),
        prefill_steps=sum(each.prefill_steps for each in works),
        decode_tokens=sum(each.decode_tokens for each in works),
        context_tokens=sum(each.context_tokens for each in works),
        prefill_tokens=sum(each.prefill_tokens for each in works),
        prefill_pairs=sum(each.prefill_pairs for each in works),
        block_s=sum(each.block_s for each in works),
        blocks_max=max((each.blocks_max for each in works), default=0),
        preemptions=sum(each.preemptions for each in works),
    )


def _moments(timelines: Sequence[Timeline], blocks: int) -> list[Moment]:
    """Add up the replicas at the moments of any: each counts with what it last was."""
    found = sorted((sample.at_s, place, sample) for place, line in enumerate(timelines) for sample in line.samples)
    last: dict[int, tuple[int, int, int]] = {}
    moments: list[Moment] = []
    for at_s, place, sample in found:
        last[place] = (sample.running, sample.waiting, sample.blocks)
        running, waiting, used = (sum(column) for column in zip(*last.values(), strict=True))
        moments.append(Moment(at_s, running, waiting, used / (blocks * len(timelines))))
    every = max(len(moments) // 200, 1)
    return moments[::every]
