"""Shapes have the sizes their makers publish."""

import pytest

from bursar.core.errors import ConfigError, NotThere
from bursar.physics.config import shape_of
from bursar.physics.facts import load

FACTS = load()

# Published: total and active parameters in billions; cache elements a token at 8,192 tokens, counted by hand.
PUBLISHED = [
    ("Meta-Llama-3.1-8B", 8.03, 7.5, 2 * 32 * 8 * 128),
    ("Meta-Llama-3.1-70B", 70.6, 69.5, 2 * 80 * 8 * 128),
    ("Meta-Llama-3.1-405B", 405.8, 403.7, 2 * 126 * 8 * 128),
    ("Mixtral-8x7B-v0.1", 46.7, 12.9, 2 * 32 * 8 * 128),
    ("Qwen3-235B-A22B", 235.1, 22.0, 2 * 94 * 4 * 128),
    ("DeepSeek-V3", 671.0, 37.0, 61 * 576),
    ("Kimi-K2-Instruct", 1026.0, 32.0, 61 * 576),
    ("gpt-oss-120b", 116.8, 5.1, 2 * 64 * 8 * (18 * 8192 + 18 * 128) // 8192),
    ("Qwen3.5-397B-A17B", 397.0, 17.0, 2 * 15 * 2 * 256),
]


@pytest.mark.parametrize(("name", "total", "active", "cached"), PUBLISHED)
def test_a_shape_has_the_published_size(name: str, total: float, active: float, cached: int) -> None:
    shape = FACTS.shape(name)
    assert shape.total_weights / 1e9 == pytest.approx(total, rel=0.005)
    assert shape.active_weights / 1e9 == pytest.approx(active, rel=0.05)
    assert shape.kv_elements(8192) / 8192 == pytest.approx(cached, rel=0.001)


def test_every_model_of_the_package_has_a_shape() -> None:
    assert all(FACTS.shape(name).layer_count > 0 for name in FACTS.configs)


def test_an_unknown_model_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(NotThere, match="near it: Qwen/Qwen3-32B"):
        FACTS.shape("qwen-3-32b")


def test_a_config_that_lacks_what_a_shape_needs_is_refused_by_the_key() -> None:
    with pytest.raises(ConfigError, match="hidden_size must be a whole number above 0, not None"):
        shape_of("mine", {"num_hidden_layers": 2})
