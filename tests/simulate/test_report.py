"""A report says what happened: hand-made journals come out as their own means, shares and percentiles."""

import pytest
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError
from bursar.simulate.engine import Engine
from bursar.simulate.fleet import Fleet, Run, simulate
from bursar.simulate.journal import Journal, Sample, Timeline, Work
from bursar.simulate.report import Promise, report
from bursar.simulate.trace import Trace
from tests.simulate.test_fleet import busy, faster
from tests.simulate.test_replica import Straight


def made() -> Run:
    trace = Trace([1.0, 2.0, 3.0, 4.0], [10, 20, 30, 40], [11, 1, 0, 5])
    journal = Journal(4)
    journal.first_s[:] = [1.1, 2.9, -1.0, 4.2]
    journal.end_s[:] = [2.1, 2.9, 3.5, 11.0]
    journal.hit_tokens[:] = [0, 0, 16, 0]
    work = Work(busy_s=5.0, steps=40, decode_tokens=14, prefill_tokens=84, block_s=20.0, blocks_max=7, preemptions=2)
    timeline = Timeline(0.1, 0.0, [Sample(1.0, 2, 0, 3), Sample(2.0, 1, 4, 7)])
    return Run(trace, Fleet(Engine(blocks=8), Straight()), journal, [work], [timeline], 11.0)


def test_times_and_shares_are_those_of_the_journal() -> None:
    found = report(made(), Promise(ttft_ms=500, tpot_ms=200))
    assert found.figures() == snapshot(
        {
            "ttft_ms": {"mean": 400.0, "p50": 200.0, "p90": 760.0, "p99": 886.0},
            "tpot_ms": {"mean": 900.0, "p50": 900.0, "p90": 1540.0, "p99": 1684.0},
            "e2e_ms": {"mean": 2375.0, "p50": 1000.0, "p90": 5230.0, "p99": 6823.0},
            "requests": 4,
            "seconds": 10.0,
            "requests_per_s": 0.4,
            "output_tokens_per_s": 1.7,
            "kept_share": 0.5,
            "ttft_kept_share": 0.75,
            "tpot_kept_share": 0.75,
            "goodput_per_s": 0.2,
            "queue": 2.0,
            "queue_max": 4,
            "kv_use": 0.5,
            "kv_use_max": 0.875,
            "busy_share": 0.5,
            "preemptions": 2,
            "hit_share": 0.16,
        }
    )
    assert [each.kv_use for each in found.moments] == [0.375, 0.875]


def test_requests_without_an_answer_have_no_first_token_and_no_further_one() -> None:
    run = simulate(Fleet(Engine(blocks=8), Straight()), Trace([0.0], [10], [0]))
    found = report(run, Promise())
    assert (found.ttft_ms, found.tpot_ms, found.kept_share) == (None, None, 1.0)
    assert found.e2e_ms is not None


def test_a_replica_that_works_all_the_time_is_busy_all_the_time() -> None:
    found = report(simulate(Fleet(Engine(blocks=60), Straight()), faster(busy(1), 50)), Promise())
    assert found.busy_share == pytest.approx(1.0, abs=1e-3)
    assert 0.7 < found.kv_use <= found.kv_use_max <= 1
    assert found.queue_max > 50


def test_a_looser_promise_is_kept_more_often() -> None:
    run = simulate(Fleet(Engine(blocks=100), Straight()), busy(2))
    shares = [report(run, Promise(each, each / 10)).kept_share for each in (50, 100, 200, 400, 1e6)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Promise(ttft_ms=0), "slo_ttft_ms is 0; give milliseconds above 0"),
        (lambda: Promise(tpot_ms=-1), "slo_tpot_ms is -1; give milliseconds above 0"),
        (lambda: Promise(share=1.5), "slo_share is 1.5; give a share above 0, up to 1"),
        (
            lambda: report(simulate(Fleet(Engine(blocks=8), Straight()), Trace([], [], [])), Promise()),
            "has no requests",
        ),
    ],
)
def test_what_cannot_be_promised_is_refused(make, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make()
