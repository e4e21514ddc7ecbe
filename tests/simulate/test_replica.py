"""A replica that jumps is one that makes every step: each request's times, hits and preemptions are the same."""

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.simulate.engine import BATCH, Engine
from bursar.simulate.fleet import Fleet, simulate
from bursar.simulate.journal import NEVER
from bursar.simulate.timer import Line
from bursar.simulate.trace import Trace
from tests.simulate.naive import Naive


@dataclass(frozen=True)
class Bent:
    """Time steps by lines that bend where the context passes a multiple of 300 tokens."""

    def decode(self, decodes: int, context: int) -> Line:
        bend = context // 300
        slope = 1e-6 * (1 + bend)
        # The lines meet at the bends: each begins where the one before ended.
        base = 0.01 + 1e-4 * decodes - 300e-6 * bend * (bend + 1) / 2
        return base, slope, 300 * (bend + 1) - 1

    def mixed(self, decodes: int, context: int, prefill: int, chunks: int, past: float) -> float:
        base, slope, _ = self.decode(decodes, context)
        return base + slope * context + 3e-5 * prefill * (1 + past / 5e3) + 1e-3 * chunks


requests = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.001, 0.0137, 0.11, 0.7]),  # until the next
        st.integers(1, 150),
        st.integers(0, 90),
        st.sampled_from([0, 0, 1, BATCH]),
        st.lists(st.integers(0, 2), min_size=3, max_size=3),
    ),
    min_size=1,
    max_size=14,
)
engines = st.builds(
    Engine,
    blocks=st.integers(15, 60),
    sequences=st.sampled_from([1, 3, 20]),
    step_tokens=st.sampled_from([20, 64, 512]),
    prefix_cache=st.booleans(),
    ahead=st.booleans(),
    reserve_share=st.sampled_from([0.0, 0.3]),
)


def chained(names: list[int]) -> list[int]:
    """Name each piece by all that stand before it, too: an equal name is an equal start of the prompt."""
    return [int("1" + "".join(map(str, names[: end + 1]))) for end in range(len(names))]


def trace_of(rows: list, *, prefix: bool, priority: bool) -> Trace:
    arrival_s, now_s = [], 0.0
    for row in rows:
        now_s += row[0]
        arrival_s.append(now_s)
    return Trace(
        arrival_s,
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows] if priority else (),
        [chained(row[4]) for row in rows] if prefix else (),
        prefix_tokens=32,
    )


@settings(max_examples=150, deadline=None)
@given(rows=requests, engine=engines, prefix=st.booleans(), priority=st.booleans())
def test_the_jumping_replica_is_the_one_that_makes_every_step(rows, engine, prefix, priority) -> None:
    trace = trace_of(rows, prefix=prefix, priority=priority)
    naive = Naive(engine, Bent(), trace).run()
    run = simulate(Fleet(engine, Bent()), trace)
    journal = run.journal
    assert (journal.preemptions, journal.hit_tokens) == (naive.preemptions, naive.hit_tokens)
    assert journal.first_s == pytest.approx(naive.first_s, rel=1e-9)
    assert journal.end_s == pytest.approx(naive.end_s, rel=1e-9)
    assert (run.work[0].steps, run.work[0].blocks_max) == (naive.step, max(naive.blocks_used))


def crowded(seed: int, *, ahead: bool, prefix: bool) -> tuple[Engine, Trace]:
    """Make a trace whose requests do not fit the cache together."""
    chance = random.Random(seed)
    rows = [
        (chance.choice([0.0, 0.001, 0.02]), chance.randint(1, 150), chance.randint(20, 90), chance.choice([0, 0, 1]),
         [chance.randint(0, 2) for _ in range(3)])
        for _ in range(30)
    ]  # fmt: skip
    engine = Engine(blocks=chance.randint(15, 25), sequences=20, step_tokens=64, ahead=ahead)
    return engine, trace_of(rows, prefix=prefix, priority=chance.random() < 0.5)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("prefix", [False, True])
def test_they_are_one_where_requests_are_put_aside_again_and_again(ahead: bool, prefix: bool) -> None:
    put_aside = 0
    for seed in range(12):
        engine, trace = crowded(seed, ahead=ahead, prefix=prefix)
        naive = Naive(engine, Bent(), trace).run()
        run = simulate(Fleet(engine, Bent()), trace)
        assert run.journal.preemptions == naive.preemptions
        assert run.journal.hit_tokens == naive.hit_tokens
        assert run.journal.first_s == pytest.approx(naive.first_s, rel=1e-9)
        assert run.journal.end_s == pytest.approx(naive.end_s, rel=1e-9)
        put_aside += sum(naive.preemptions)
    assert put_aside > 60


@settings(max_examples=100, deadline=None)
@given(rows=requests, engine=engines, prefix=st.booleans(), priority=st.booleans())
def test_every_request_ends_once_with_its_tokens_and_the_cache_holds(rows, engine, prefix, priority) -> None:
    trace = trace_of(rows, prefix=prefix, priority=priority)
    run = simulate(Fleet(engine, Bent()), trace)
    work = run.work[0]
    for at_s, made, first_s, end_s in zip(
        trace.arrival_s, trace.output_tokens, run.journal.first_s, run.journal.end_s, strict=True
    ):
        assert at_s < end_s
        assert (at_s < first_s <= end_s) if made else first_s == NEVER
    # What was made while decoding and with prompts' last tokens; a prompt that is read again makes one more.
    again = sum(run.journal.preemptions)
    tokens = sum(max(each, 1) for each in trace.output_tokens)
    assert tokens - len(trace) - again <= work.decode_tokens <= tokens - len(trace)
    assert 0 < work.blocks_max <= engine.blocks
    assert 0 < work.block_s <= engine.blocks * work.busy_s
    if not engine.prefix_cache and not again:
        assert work.prefill_tokens == sum(trace.input_tokens)


@given(inputs=st.integers(1, 3000), outputs=st.integers(1, 200))
def test_a_batch_of_one_is_the_closed_form(inputs: int, outputs: int) -> None:
    engine, timer = Engine(blocks=400, step_tokens=1024), Straight()
    journal = simulate(Fleet(engine, timer), Trace([5.0], [inputs], [outputs])).journal
    chunks = [min(1024, inputs - past) for past in range(0, inputs, 1024)]
    ttft_s = sum(timer.mixed(0, 0, chunk, 1, 1024.0 * place) for place, chunk in enumerate(chunks))
    decode_s = sum(0.01 + 1e-4 + 1e-6 * (inputs + each) for each in range(outputs - 1))
    assert journal.first_s[0] == pytest.approx(5.0 + ttft_s, rel=1e-12)
    assert journal.end_s[0] == pytest.approx(5.0 + ttft_s + decode_s, rel=1e-12)


@dataclass(frozen=True)
class Straight:
    """Time steps by one line for each batch."""

    def decode(self, decodes: int, context: int) -> Line:
        return 0.01 + 1e-4 * decodes, 1e-6, float("inf")

    def mixed(self, decodes: int, context: int, prefill: int, chunks: int, past: float) -> float:
        return 0.01 + 1e-4 * decodes + 1e-6 * context + 3e-5 * prefill * (1 + past / 5e3)


def test_a_piece_of_a_prompt_is_read_once() -> None:
    trace = Trace(
        [0.0, 9.0, 18.0], [100, 100, 97], [4, 4, 4], prefix=[[1, 2, 3], [1, 2, 4], [1, 2, 3]], prefix_tokens=32
    )
    run = simulate(Fleet(Engine(blocks=100), Straight()), trace)
    assert run.journal.hit_tokens == [0, 64, 96]
    assert run.work[0].prefill_tokens == 297 - 160
    cold = simulate(Fleet(Engine(blocks=100, prefix_cache=False), Straight()), trace)
    assert cold.journal.hit_tokens == [0, 0, 0]
    assert cold.journal.first_s[2] > run.journal.first_s[2]


def test_what_was_unused_longest_is_forgotten_first() -> None:
    # Of 14 blocks, the third request needs 8: the pieces of the first go, those of the second stay.
    trace = Trace(
        [0.0, 9.0, 18.0, 27.0, 36.0], [65, 65, 120, 65, 65], [1] * 5,
        prefix=[[1, 2], [3, 4], [5, 6, 7], [3, 4], [1, 2]], prefix_tokens=32,
    )  # fmt: skip
    run = simulate(Fleet(Engine(blocks=14), Straight()), trace)
    assert run.journal.hit_tokens == [0, 0, 0, 64, 0]


def test_the_batch_lane_waits_for_idle_capacity_and_goes_first_when_memory_is_short() -> None:
    count = 12
    lanes = [BATCH if each % 2 else 0 for each in range(count)]
    trace = Trace([0.0] * count, [64] * count, [60] * count, lanes)
    run = simulate(Fleet(Engine(blocks=30, step_tokens=256), Bent()), trace)
    alone = simulate(Fleet(Engine(blocks=30, step_tokens=256), Bent()), Trace([0.0] * 6, [64] * 6, [60] * 6))
    interactive = [run.journal.end_s[each] for each in range(0, count, 2)]
    batch = [run.journal.first_s[each] for each in range(1, count, 2)]
    assert sum(run.journal.preemptions[each] for each in range(0, count, 2)) == sum(alone.journal.preemptions)
    assert max(run.journal.first_s[each] for each in range(0, count, 2)) < min(batch)
    assert max(interactive) <= max(run.journal.end_s)


def test_the_batch_lane_leaves_its_reserve_free() -> None:
    trace = Trace([0.0] * 4, [160] * 4, [1] * 4, [BATCH] * 4)
    half = simulate(Fleet(Engine(blocks=40, reserve_share=0.5), Straight()), trace)
    assert half.work[0].blocks_max == 20
    assert simulate(Fleet(Engine(blocks=40, reserve_share=0.0), Straight()), trace).work[0].blocks_max == 40


def test_a_request_without_an_answer_ends_when_its_prompt_is_read() -> None:
    run = simulate(Fleet(Engine(blocks=10), Straight()), Trace([1.0], [32], [0]))
    assert run.journal.first_s == [NEVER]
    assert run.journal.end_s == [pytest.approx(1.01 + 32 * 3e-5)]


def test_the_timeline_has_a_sample_at_most_every_so_often() -> None:
    trace = Trace([each / 10 for each in range(200)], [64] * 200, [20] * 200)
    samples = simulate(Fleet(Engine(blocks=60), Straight()), trace, samples=50).timelines[0].samples
    assert 40 <= len(samples) <= 51 + 20
    gaps = [later.at_s - sooner.at_s for sooner, later in pairwise(samples)]
    assert min(gaps) >= trace.span_s / 50
    assert max(each.blocks for each in samples) <= 60


def test_a_request_of_the_batch_lane_that_needs_its_reserve_runs_when_nobody_else_does() -> None:
    trace = Trace([0.0, 0.0], [150, 40], [90, 20], priority=[BATCH, 0])
    run = simulate(Fleet(Engine(blocks=15, reserve_share=0.3), Straight()), trace)
    assert NEVER not in run.journal.end_s
    assert run.journal.end_s[1] < run.journal.end_s[0]
    assert run.work[0].blocks_max == 15
