"""A fleet is fair and the same every time: requests go where the router says, and more load is never faster."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.simulate.engine import Engine
from bursar.simulate.fleet import Fleet, Router, simulate
from bursar.simulate.trace import Trace
from tests.simulate.test_replica import Straight


def busy(seed: int, count: int = 120, starts_count: int = 6) -> Trace:
    chance = random.Random(seed)
    now_s, arrival_s = 0.0, []
    for _ in range(count):
        now_s += chance.expovariate(8.0)
        arrival_s.append(now_s)
    starts = [chance.randrange(starts_count) for _ in range(count)]
    return Trace(
        arrival_s,
        [chance.randint(100, 300) for _ in range(count)],
        [chance.randint(1, 80) for _ in range(count)],
        prefix=[[start, 1000 + start, 2000 + start] for start in starts],
        prefix_tokens=64,
    )


def faster(trace: Trace, times: float) -> Trace:
    """Let the same requests arrive in less time."""
    return replace(trace, arrival_s=[at_s / times for at_s in trace.arrival_s])


@pytest.mark.parametrize("router", Router)
def test_the_same_fleet_and_trace_give_the_same(router: Router) -> None:
    fleet = Fleet(Engine(blocks=120), Straight(), 3, router)
    one, other = simulate(fleet, busy(1)), simulate(fleet, busy(1))
    assert one.journal.end_s == other.journal.end_s
    assert one.work == other.work
    assert one.journal.end_s != simulate(fleet, busy(2)).journal.end_s


@pytest.mark.parametrize("router", Router)
def test_no_request_is_lost_between_replicas(router: Router) -> None:
    trace = busy(3)
    run = simulate(Fleet(Engine(blocks=120, prefix_cache=False), Straight(), 3, router), trace)
    assert min(run.journal.end_s) > 0
    assert sum(each.prefill_tokens for each in run.work) == sum(trace.input_tokens)
    assert sum(each.decode_tokens for each in run.work) == sum(trace.output_tokens) - len(trace)
    assert run.end_s == max(run.journal.end_s)


def test_round_robin_is_the_replicas_one_by_one() -> None:
    trace = busy(4)
    engine = Engine(blocks=60)
    run = simulate(Fleet(engine, Straight(), 2), trace)
    for part in (0, 1):
        own = Trace(
            trace.arrival_s[part::2], trace.input_tokens[part::2], trace.output_tokens[part::2],
            prefix=trace.prefix[part::2], prefix_tokens=64,
        )  # fmt: skip
        assert simulate(Fleet(engine, Straight()), own).journal.end_s == pytest.approx(
            run.journal.end_s[part::2], rel=1e-12
        )


def test_the_least_load_counts_what_is_not_answered_at_the_moment() -> None:
    # The long one keeps the first replica busy; the others come when the one before them has ended.
    trace = Trace([0.0, 0.1, 5.0, 10.0], [16] * 4, [1200, 10, 10, 10])
    run = simulate(Fleet(Engine(blocks=100), Straight(), 2, Router.LEAST_LOAD), trace)
    assert [each.decode_tokens for each in run.work] == [1199, 27]


def test_prompts_that_begin_alike_go_to_one_replica() -> None:
    trace = busy(5, starts_count=30)
    hits = {
        router: sum(simulate(Fleet(Engine(blocks=200), Straight(), 3, router), trace).journal.hit_tokens)
        for router in Router
    }
    assert hits[Router.PREFIX] > 1.2 * hits[Router.ROUND_ROBIN]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), times=st.floats(1.2, 6))
def test_more_load_never_lowers_latency(seed: int, times: float) -> None:
    trace = busy(seed, 60)
    fleet = Fleet(Engine(blocks=2000, prefix_cache=False), Straight())
    calm, busier = simulate(fleet, trace), simulate(fleet, faster(trace, times))

    def mean_s(run) -> float:
        return sum(e - a for e, a in zip(run.journal.end_s, run.trace.arrival_s, strict=True)) / len(run.trace)

    assert mean_s(busier) >= mean_s(calm) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Engine(blocks=0), "blocks is 0; give a whole number of at least 1"),
        (lambda: Engine(blocks=9, step_tokens=100, sequences=101), "step_tokens is 100, fewer than the 101 sequences"),
        (lambda: Engine(blocks=9, reserve_share=1.0), "reserve_share is 1.0; give a share from 0 to below 1"),
        (lambda: Fleet(Engine(blocks=9), Straight(), 0), "replicas is 0; give a whole number of at least 1"),
        (lambda: Trace([0.0], [1, 2], [1]), "input_tokens has 2 requests, arrival_s 1; give one of each"),
        (lambda: Trace([0.0], [1], [1], [1, 2]), "priority has 2 requests, arrival_s 1; give one of each or none"),
        (lambda: Trace([1.0, 0.5], [1, 1], [1, 1]), "request 1 arrives at 0.5 s, after one at 1.0 s; order by arrival"),
        (lambda: Trace([float("nan")], [1], [1]), "request 0 arrives at nan s"),
        (lambda: Trace([0.0], [0], [1]), "request 0 has 0 tokens in and 1 out; give at least 1 and 0"),
        (lambda: Trace([0.0], [1], [-1]), "request 0 has 1 tokens in and -1 out"),
        (lambda: Trace([], [], [], prefix_tokens=20), "prefix_tokens is 20; give a multiple of 16"),
        (
            lambda: simulate(Fleet(Engine(blocks=9), Straight()), Trace([0.0] * 2, [9, 140], [9, 6], name="mine")),
            "request 1 of mine has 140 tokens in and 6 out, 10 blocks of cache; a replica has 9",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    assert complaint in str(refused.value)


def test_a_request_that_just_fits_is_served() -> None:
    run = simulate(Fleet(Engine(blocks=9), Straight()), Trace([0.0] * 2, [140, 140], [5, 5]))
    assert min(run.journal.end_s) > 0
    assert simulate(Fleet(Engine(blocks=9), Straight()), Trace([], [], [])).end_s == 0.0
