"""Shapes have the sizes their makers publish."""

from dataclasses import replace

import pytest

from bursar.core.errors import ConfigError, NotThere
from bursar.physics.config import shape_of
from bursar.physics.facts import load
from bursar.physics.shape import Compressed

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
    ("DeepSeek-V4-Flash", 284.0, 13.0, (43 * 128 * 512 + 21 * 2048 * (512 + 128) + 20 * 64 * 512) // 8192),
    ("DeepSeek-V4-Pro", 1573.0, 49.0, (61 * 128 * 512 + 30 * 2048 * (512 + 128) + 31 * 64 * 512) // 8192),
    ("Llama-3_3-Nemotron-Super-49B-v1", 49.9, 48.8, 2 * 49 * 8 * 128),
    ("NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16", 550.0, 55.0, 2 * 12 * 2 * 128),
    ("NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4", 31.6, 3.2, 2 * 6 * 2 * 128),
    ("gpt-j-6b", 6.05, 5.85, 2 * 28 * 16 * 256),
    ("Qwen3-14B", 14.8, 14.0, 2 * 40 * 8 * 128),
    ("gemma-3-12b-it", 11.8, 11.8, 2 * 8 * 256 * (8 * 8192 + 40 * 1024) // 8192),
    ("gemma-3-27b-it", 27.0, 27.0, 2 * 16 * 128 * (10 * 8192 + 52 * 1024) // 8192),
    ("Llama-2-70b-chat-hf", 69.0, 68.7, 2 * 80 * 8 * 128),
    ("NVIDIA-Nemotron-Nano-9B-v2", 8.9, 8.3, 2 * 4 * 8 * 128),
    ("NVIDIA-Nemotron-Nano-12B-v2", 12.3, 11.6, 2 * 6 * 8 * 128),
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


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("DeepSeek-V3.1-NVFP4", "fp4"),  # its config says nothing, its name does
        ("Llama-3.1-70B-Instruct-FP8", "fp8"),
        ("DeepSeek-V4-Flash", "fp4"),  # the experts, which are 97 % of it
        ("DeepSeek-V4-Flash-FP8", "fp8"),
        ("Meta-Llama-3.1-70B", "bf16"),
    ],
)
def test_a_model_is_in_the_format_its_repository_holds(name: str, precision: str) -> None:
    assert FACTS.shape(name).precision == precision


def test_compressed_attention_reads_its_window_its_choice_and_its_index() -> None:
    mixer = Compressed(64, 512, 1024, 128, 4, 8, 1024, selected=512, index_heads=64, index_dim=128)
    assert mixer.read_entries(100) == 100 + 25 + 25 * 128 / 512
    assert mixer.read_entries(8192) == 128 + 512 + 2048 * 128 / 512
    assert mixer.held_elements(8192) == 128 * 512 + 2048 * (512 + 128)


def test_a_layer_replaced_by_a_matrix_is_refused() -> None:
    config = {"hidden_size": 8, "vocab_size": 8, "block_configs": [{"attention": {"replace_with_linear": True}}]}
    with pytest.raises(ConfigError, match="block_configs replaces a part by one matrix"):
        shape_of("mine", config)


def test_an_unknown_model_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(NotThere, match="near it: Qwen/Qwen3-32B"):
        FACTS.shape("qwen-3-32b")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("Llama-3.1-70B-Instruct", "meta-llama/Meta-Llama-3.1-70B"),
        ("meta-llama/llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B"),
        ("Llama-3.1-70B-Instruct-FP8", "nvidia/Llama-3.1-70B-Instruct-FP8"),
        ("llama-2-70b", "meta-llama/Llama-2-70b-chat-hf"),
        ("gemma-3-27b", "google/gemma-3-27b-it"),
        ("Qwen3-VL-32B-Thinking", "Qwen/Qwen3-VL-32B-Thinking"),
    ],
)
def test_an_edition_is_found_by_its_base_and_a_base_by_its_edition(asked: str, meant: str) -> None:
    assert FACTS.shape(asked).name == meant


def test_every_known_model_is_found_by_its_own_name() -> None:
    assert [FACTS.shape(name).name for name in FACTS.configs] == list(FACTS.configs)


@pytest.mark.parametrize("asked", ["openai/Llama-3.1-8B", "Llama-3.1-7B", "Llama-3.1-8B-FP8"])
def test_another_maker_size_or_format_is_no_edition(asked: str) -> None:
    with pytest.raises(NotThere, match=f"no model '{asked}' is known; near it: "):
        FACTS.shape(asked)


def test_of_two_that_may_be_meant_none_is_guessed() -> None:
    config = FACTS.configs["Qwen/Qwen3-8B"]
    two = replace(FACTS, configs={"a/Twin-8B-Instruct": config, "b/Twin-8B-Chat": config})
    with pytest.raises(NotThere, match=r"near it: .*Twin-8B-Chat"):
        two.shape("Twin-8B")
    assert two.shape("Twin-8B-Chat").name == "b/Twin-8B-Chat"
    assert two.shape("a/Twin-8B").name == "a/Twin-8B-Instruct"


def test_a_config_that_lacks_what_a_shape_needs_is_refused_by_the_key() -> None:
    with pytest.raises(ConfigError, match="hidden_size must be a whole number above 0, not None"):
        shape_of("mine", {"num_hidden_layers": 2})
