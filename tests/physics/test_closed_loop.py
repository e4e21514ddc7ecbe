"""A closed loop conserves time: what is not waited for the first token is waited between the others."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.facts import load
from bursar.physics.loop import Clients, loop, sequences_room
from bursar.physics.serving import Guess, Traffic
from bursar.physics.step import step

FACTS = load()
PLACE = Deployment(FACTS.shape("Qwen3-32B"), FACTS.chip("H100"), 4, 4, weights="fp8", compute="fp8")
ROUTED = Deployment(FACTS.shape("DeepSeek-R1"), FACTS.chip("B200"), 8, 8, 8, "fp8", "fp8", "fp8", "sglang")
CALIBRATION = FACTS.times.of(PLACE)


def test_one_client_waits_a_step_for_each_token() -> None:
    traffic = Traffic(1_000, 500)
    found = loop(PLACE, traffic, Clients(1), CALIBRATION)
    decode = step(PLACE, Batch(found.decoding, 1_250), CALIBRATION).seconds
    assert found.tpot_s == pytest.approx(decode)
    assert found.decoding == pytest.approx(1, rel=0.05)
    assert not found.saturated


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([PLACE, ROUTED]), st.integers(1, 400), st.integers(16, 9_000), st.integers(16, 2_000))
def test_more_clients_never_wait_less(place: Deployment, clients: int, tokens_in: int, tokens_out: int) -> None:
    traffic, calibration = Traffic(tokens_in, tokens_out), FACTS.times.of(place)
    few, more = (loop(place, traffic, Clients(each), calibration) for each in (clients, clients + 10))
    assert more.ttft_s + tokens_out * more.tpot_s >= few.ttft_s + tokens_out * few.tpot_s


def test_what_does_not_fall_on_the_first_token_falls_on_the_others() -> None:
    traffic, rates = Traffic(2_000, 200), CALIBRATION.rates
    times = []
    for wave in (0.1, 0.5):
        calibration = replace(CALIBRATION, rates=replace(rates, wave=wave))
        found = loop(PLACE, traffic, Clients(64, equal=True), calibration)
        decode_s = step(PLACE, Batch(found.decoding, 2_100), calibration).seconds
        times.append(found.ttft_s + found.tpot_s * 200 - 200.5 * decode_s)
    assert times[0] == pytest.approx(times[1], rel=1e-3)


def test_clients_beyond_the_cache_queue_and_no_more_decode() -> None:
    tight = replace(PLACE, chips=1, tensor=1)
    traffic = Traffic(4_000, 500)
    room = sequences_room(tight, traffic)
    full, over = (loop(tight, traffic, Clients(each), CALIBRATION) for each in (room, 3 * room))
    assert over.saturated
    assert not full.saturated
    assert over.tpot_s == pytest.approx(full.tpot_s)
    assert over.ttft_s > full.ttft_s + 2 * 500 * full.tpot_s * 0.9


def test_a_guess_pays_while_memory_binds_and_not_in_a_large_batch() -> None:
    guess, traffic = Guess(3, 2.49), Traffic(1_000, 1_000)
    calibration = FACTS.times.of(ROUTED)
    gains = [
        loop(ROUTED, traffic, Clients(each), calibration).tpot_s
        / loop(ROUTED, traffic, Clients(each), calibration, guess).tpot_s
        for each in (4, 64, 512)
    ]
    assert gains[2] < gains[0]
    assert [round(each, 2) for each in gains] == snapshot([1.73, 1.74, 1.3])


def test_loops_take_these_milliseconds() -> None:
    found = [loop(PLACE, Traffic(1_000, 1_000), Clients(each), CALIBRATION) for each in (1, 16, 64)]
    told = [(round(each.ttft_s * 1_000), round(each.tpot_s * 1_000, 2)) for each in found]
    assert told == snapshot([(76, 7.41), (118, 8.88), (255, 13.66)])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Clients(0), "concurrency is 0; it is a number of requests of at least 1"),
        (lambda: Clients(math.inf), "concurrency is inf"),
        (lambda: Clients(4, sequences_max=0), "sequences_max is at least 1"),
    ],
)
def test_clients_that_cannot_be_are_refused(made: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made()  # type: ignore[operator]
