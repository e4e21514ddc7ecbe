"""Readers and writers apart: answers are written undisturbed, and too few readers are waited for."""

from dataclasses import replace

import pytest

from bursar.core.errors import ConfigError
from bursar.physics.apart import Pool, loop_apart
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.facts import load
from bursar.physics.loop import Clients, loop
from bursar.physics.serving import Traffic
from bursar.physics.step import seconds_of

FACTS = load()
PLACE = Deployment(FACTS.shape("DeepSeek-R1"), FACTS.chip("B200"), 8, 8, 8, "fp8", "fp8", "fp8", "sglang")
CALIBRATION = FACTS.times.of(PLACE)
TRAFFIC = Traffic(8_000, 1_000)


def pool(replicas: int) -> Pool:
    return Pool(PLACE, CALIBRATION, replicas)


def test_an_answer_is_written_in_pure_decode_steps() -> None:
    found = loop_apart(pool(2), pool(1), TRAFFIC, Clients(32))
    decode_s = seconds_of(PLACE, Batch(found.decoding, 8_500), CALIBRATION.rates)
    assert found.tpot_s == pytest.approx(decode_s, rel=1e-3)
    assert found.tpot_s < loop(PLACE, TRAFFIC, Clients(32), CALIBRATION).tpot_s


def test_writers_share_what_is_in_flight() -> None:
    one, four = (loop_apart(pool(4), pool(count), TRAFFIC, Clients(64)) for count in (1, 4))
    assert four.tpot_s < one.tpot_s


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_no_turn_is_shorter_than_reading_all_prompts_in_flight(readers: int) -> None:
    clients = 512
    found = loop_apart(pool(readers), pool(4), TRAFFIC, Clients(clients))
    turn_s = found.ttft_s + TRAFFIC.output_tokens * found.tpot_s
    one_s = seconds_of(PLACE, Batch(0, prefill=8_000, chunks=1), CALIBRATION.rates)
    assert turn_s >= clients * one_s / readers * 0.99


def test_more_readers_are_never_waited_for_longer() -> None:
    waits = [loop_apart(pool(count), pool(4), TRAFFIC, Clients(512)).ttft_s for count in (1, 2, 4, 8)]
    assert waits == sorted(waits, reverse=True)


def test_what_the_writers_cannot_hold_queues() -> None:
    small = Pool(replace(PLACE, chips=4, tensor=4, expert=4), CALIBRATION, 1)
    found = loop_apart(pool(8), small, TRAFFIC, Clients(4_000))
    assert found.saturated
    assert found.ttft_s > loop_apart(pool(8), small, TRAFFIC, Clients(8)).ttft_s


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="replicas is 0; a pool has at least 1"):
        pool(0)
