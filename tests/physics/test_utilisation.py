"""How full a server is, by its own metrics, in the words of three engines."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.physics.utilisation import GAUGES, utilisation_ppm

VLLM = GAUGES["vllm"]
RUNNING, WAITING, CACHE = VLLM.running, VLLM.waiting, VLLM.cache[0]


@pytest.mark.parametrize(
    ("engine", "samples", "ppm"),
    [
        ("vllm", [("vllm:num_requests_running", 16.0), ("vllm:num_requests_waiting", 0.0)], 250_000),
        ("vllm", [("vllm:num_requests_running", 60.0), ("vllm:num_requests_waiting", 30.0)], 1_000_000),
        ("vllm", [("vllm:num_requests_running", 16.0), ("vllm:kv_cache_usage_perc", 0.9)], 900_000),
        ("vllm", [("vllm:num_requests_running", 16.0), ("vllm:gpu_cache_usage_perc", 0.5)], 500_000),
        (
            "sglang",
            [("sglang:num_running_reqs", 8.0), ("sglang:num_queue_reqs", 8.0), ("sglang:token_usage", 0.1)],
            250_000,
        ),
        ("llamacpp", [("llamacpp:requests_processing", 1.0), ("llamacpp:requests_deferred", 0.0)], 15_625),
    ],
)
def test_a_server_is_as_full_as_its_scarcer_room(engine: str, samples: list[tuple[str, float]], ppm: int) -> None:
    assert utilisation_ppm(samples, GAUGES[engine], 64) == ppm


def test_engines_behind_one_address_add_their_requests_and_share_their_memory() -> None:
    samples = [(RUNNING, 4.0), (RUNNING, 12.0), (CACHE, 0.2), (CACHE, 0.6)]
    assert utilisation_ppm(samples, VLLM, 64) == 400_000
    assert utilisation_ppm(samples, VLLM, 16) == 1_000_000


def test_what_is_not_said_is_not_guessed() -> None:
    assert utilisation_ppm([], VLLM, 64) is None
    assert utilisation_ppm([(WAITING, 3.0), (CACHE, 0.9)], VLLM, 64) is None
    assert utilisation_ppm([(RUNNING, math.nan)], VLLM, 64) is None
    with pytest.raises(ConfigError, match="places is 0"):
        utilisation_ppm([(RUNNING, 1.0)], VLLM, 0)


@given(
    running=st.lists(st.floats(0, 1e6), min_size=1, max_size=4),
    waiting=st.floats(0, 1e6),
    cache=st.floats(0, 1),
    places=st.integers(1, 10_000),
)
def test_it_lies_between_empty_and_full_and_no_request_lowers_it(
    running: list[float], waiting: float, cache: float, places: int
) -> None:
    samples = [*((RUNNING, each) for each in running), (WAITING, waiting), (CACHE, cache)]
    ppm = utilisation_ppm(samples, VLLM, places)
    more = utilisation_ppm([*samples, (RUNNING, 1.0)], VLLM, places)
    assert ppm is not None
    assert more is not None
    assert 0 <= ppm <= more <= 1_000_000
