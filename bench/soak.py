"""Soak a gateway: faults, hang-ups and streams for minutes; watch its memory, and check its books at the end."""

import os
import statistics
import time
from collections.abc import Iterator, Sequence

from bench.books import CONFIG, FAULTS, SEED, TOTALS, provider, run_client, send_calls, wait_settled
from bench.figures import Figure
from bench.harness import bursar
from bench.stage import GATEWAY_CORE, OTHER_CORE, memory_mb, on_core

_SAMPLE_CALLS = 100
_SLOPE_CALLS = 100_000

Sample = tuple[int, float]
"""How many calls were made, and the worker's memory in MB by then."""


def soak(minutes: float) -> list[Figure]:
    """Call for minutes, one call in seven with a fault and one in twelve hanging up; measure what the worker keeps."""
    samples: list[Sample] = []
    with provider(OTHER_CORE) as port, bursar(CONFIG.format(port=port, durability="fast"), core=OTHER_CORE) as local:
        worker = local.child_pids("worker")[0]
        os.sched_setaffinity(worker, {GATEWAY_CORE})
        secret = local.create_key("soak", "100000")
        numbers = _sampled(worker, time.monotonic() + minutes * 60, samples)
        with on_core(OTHER_CORE):
            answered = run_client(local, secret, lambda client: send_calls(client, numbers, FAULTS, SEED))
        wait_settled(local)
        mapped_mb = memory_mb(worker, "RssFile") + memory_mb(worker, "RssShmem")
        assert local.child_pids("worker") == [worker], "the worker was replaced"
        assert local.stop() == 0, local.last_words()
        local.start()
        totals, checked = local.query(TOTALS)[0], local.audit()
    sums = (totals["calls_nano"], totals["posted_nano"], totals["balance_nano"])
    assert not checked.findings, checked.findings[0]
    late = samples[len(samples) // 2 :]
    calls = f"{totals['calls']:,} calls in {minutes:g} min, {answered:,} answered with 200"
    line = f"a line through the last {late[-1][0] - late[0][0]:,} calls"
    begun = f"{samples[0][1]:.0f} MB at first; {mapped_mb:.0f} MB of it files in memory at the end"
    return [
        Figure("gateway.worker_rss_mb", round(max(mb for _, mb in late), 1), "MB", note=f"{calls}; {begun}"),
        Figure("gateway.rss_slope_mb_per_100k", round(slope_mb(late), 3), "MB", note=line),
        Figure("gateway.soak_imbalance_nano", max(sums) - min(sums), "nano-USD", note="the check finds nothing"),
    ]


def _sampled(pid: int, until_s: float, samples: list[Sample]) -> Iterator[int]:
    """Count calls until the time is over, and note the worker's memory on the way."""
    number = 0
    while time.monotonic() < until_s:
        if number % _SAMPLE_CALLS == 0:
            samples.append((number, memory_mb(pid)))
        yield number
        number += 1


def slope_mb(samples: Sequence[Sample]) -> float:
    """Return by how much memory grows in 100,000 calls: the line of least squares."""
    calls = [float(number) for number, _ in samples]
    return statistics.linear_regression(calls, [mb for _, mb in samples]).slope * _SLOPE_CALLS
