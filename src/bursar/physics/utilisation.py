"""Tell how full an inference server is, from what it says of itself.

vLLM ("Production Metrics", docs.vllm.ai), SGLang ("Production Metrics", docs.sglang.ai) and llama.cpp's server (its
README, `--metrics`), all checked 2026-11-22. A server is as full as the scarcer of its two rooms: places in the batch,
of which waiting requests take theirs, and memory for the cache of keys and values.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError
from bursar.prices.units import MILLION


@dataclass(frozen=True, slots=True)
class Gauges:
    """Hold the names a server's metrics have; `cache` are shares from 0 to 1, the first name there is counts."""

    running: str
    waiting: str
    cache: tuple[str, ...]


GAUGES: Final = {
    "vllm": Gauges(
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    ),
    "sglang": Gauges("sglang:num_running_reqs", "sglang:num_queue_reqs", ("sglang:token_usage",)),
    "llamacpp": Gauges(
        "llamacpp:requests_processing", "llamacpp:requests_deferred", ("llamacpp:kv_cache_usage_ratio",)
    ),
}


def utilisation_ppm(samples: Iterable[tuple[str, float]], gauges: Gauges, places: int) -> int | None:
    """Return a server's utilisation in parts per million; None where it does not say how many requests run.

    `samples` are its metrics by name, one for each engine; `places` is how many requests it serves at once, all
    engines together. Requests are summed over the engines, and of their caches the mean is taken.
    """
    if places < 1:
        raise ConfigError(f"places is {places}; a server has at least 1")
    found: dict[str, list[float]] = {}
    for name, value in samples:
        if value >= 0:  # what is not measured is NaN
            found.setdefault(name, []).append(value)
    if gauges.running not in found:
        return None
    busy = sum(found[gauges.running]) + sum(found.get(gauges.waiting, ()))
    cache = next((found[name] for name in gauges.cache if name in found), [0.0])
    return min(MILLION, round(max(busy / places, sum(cache) / len(cache)) * MILLION))
