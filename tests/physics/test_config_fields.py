"""A config.json is read strictly: what is not of its kind, out of range or not a decoder's is refused by its name."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.cli.machines import model_shape
from bursar.core.errors import ConfigError
from bursar.physics.config import shape_of
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.facts import load
from bursar.physics.step import step

FACTS = load()
LLAMA: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}

BROKEN: list[tuple[Mapping[str, Any], str]] = [
    ({"quantization_config": "x"}, "quantization_config must be an object, not 'x'"),
    ({"text_config": "x"}, "text_config must be an object"),
    ({"num_local_experts": 8, "num_experts_per_tok": 9}, "num_experts_per_tok is 9; it must be at most the 8"),
    ({"num_local_experts": -1}, "num_local_experts must be a whole number of at least 0, not -1"),
    ({"head_dim": -128}, "head_dim must be a whole number above 0"),
    ({"head_dim": 0}, "head_dim must be a whole number above 0"),
    ({"sliding_window": "x"}, "sliding_window must be"),
    ({"sliding_window": -1}, "sliding_window must be"),
    ({"num_hidden_layers": 10_000_000}, r"num_hidden_layers is 1e\+07; no model has more than 500"),
    ({"num_attention_heads": 10_000_000}, "num_attention_heads is"),
    ({"num_attention_heads": 33}, "num_attention_heads is 33, which does not divide hidden_size 4096"),
    ({"num_key_value_heads": 7}, "num_key_value_heads is 7; it must divide the 32"),
    ({"num_key_value_heads": 64}, "num_key_value_heads is 64"),
    ({"layer_types": ["full_attention"] * 3}, "layer_types has 3 entries for num_hidden_layers of 32"),
    ({"layer_types": ["conv"] * 32}, "layer_types holds 'conv'; known are full_attention"),
    ({"layer_types": "full_attention"}, "layer_types must be a list"),
    ({"hybrid_override_pattern": "M*" * 5_000}, "the pattern of layers is longer than 500"),
    ({"hybrid_layer_pattern": [1] * 2_000}, "hybrid_layer_pattern has 2000 entries"),
    ({"architectures": ["BertModel"]}, "architectures is BertModel, which does not write one token after another"),
    ({"architectures": None, "model_type": "bert"}, "architectures is bert"),
    ({"is_encoder_decoder": True}, "does not write one token after another"),
    ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
    ({"model_type": 3}, "model_type must be a word"),
    ({"torch_dtype": "int3"}, "torch_dtype is 'int3'; known are auto, bfloat16"),
]


@pytest.mark.parametrize(("changed", "said"), BROKEN)
def test_a_broken_field_is_refused_by_its_name(changed: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        shape_of("mine", {**LLAMA, **changed})


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"text_config": ' * 50_000])
def test_a_file_nested_too_deep_is_refused(tmp_path, nested: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(nested)
    with pytest.raises(ConfigError, match="nested too deep"):
        model_shape(FACTS, str(path))


def test_a_published_config_of_a_known_family_is_read(tmp_path) -> None:
    path = tmp_path / "Llama" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(LLAMA))
    found = model_shape(FACTS, str(path))
    assert found.layers == FACTS.shape("Meta-Llama-3.1-8B").layers
    assert found.known
    assert (found.name, found.precision) == ("Llama", "bf16")


def test_an_unknown_family_is_named_as_read_as_a_plain_decoder() -> None:
    for family, named in (("llama", False), ("brand_new", True)):
        shape = shape_of("mine", {**LLAMA, "model_type": family})
        for chip in ("H100", "LAPTOP-CPU"):
            place = Deployment(shape, FACTS.chip(chip))
            outside = step(place, Batch(8, 1_000), FACTS.times.of(place)).extrapolates
            assert any("read as a plain decoder" in each for each in outside) is named


WIDE_INT4 = {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}
MIXED = {**WIDE_INT4, "group_1": {"weights": {"num_bits": 8, "type": "float"}}}


@pytest.mark.parametrize(
    ("how", "precision"),
    [
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": True}, "int8"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": WIDE_INT4}, "int4"),
        ({"quant_method": "compressed-tensors", "config_groups": MIXED}, "int4"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized", "fmt": "fp8"}, "fp8"),
        ({"quant_method": "fp8", "fmt": "e4m3"}, "fp8"),
        ({"quant_method": "mxfp4"}, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4"),
    ],
)
def test_the_format_of_quantised_weights_is_read(how: Mapping[str, Any], precision: str) -> None:
    assert shape_of("mine", {**LLAMA, "quantization_config": how}).precision == precision


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"quant_method": "magic", "bits": 4}, "quant_method is 'magic'; known are awq.*with --weights"),
        ({"quant_method": "awq"}, "bits must be a whole number above 0"),
        ({"quant_method": "gptq", "bits": 3}, "weights of quant_method 'gptq' are int3"),
        ({"quant_method": "bitsandbytes"}, "neither load_in_4bit nor load_in_8bit"),
        ({"quant_method": "modelopt"}, "names no format of the weights"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": "b"}}, "a must be an object"),
    ],
)
def test_a_format_nobody_knows_is_refused(how: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        shape_of("mine", {**LLAMA, "quantization_config": how})


@pytest.mark.parametrize(
    ("said", "precision"),
    [("float16", "bf16"), ("torch.bfloat16", "bf16"), ("float32", "bf16"), ("float8_e4m3fn", "fp8"), (None, "bf16")],
)
def test_the_format_of_weights_that_are_not_quantised_is_their_dtype(said: str | None, precision: str) -> None:
    assert shape_of("mine", {**LLAMA, "torch_dtype": said}).precision == precision
    assert shape_of("mine", {**LLAMA, "torch_dtype": None, "dtype": said}).precision == precision


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**9), st.floats(), st.text(max_size=3), st.lists(st.integers(-1, 3)),
    st.dictionaries(st.text(max_size=2), st.integers()), st.sampled_from([10**30, -(10**30), 2, 32, 64]),
)  # fmt: skip
KEYS = st.sampled_from(sorted({key for config in FACTS.configs.values() for key in config} - {"precision", "blocks"}))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([LLAMA, MIXTRAL, *FACTS.configs.values()]), KEYS, VALUES)
def test_any_field_changed_gives_a_shape_or_a_clear_refusal(config: Mapping[str, Any], key: str, value: object) -> None:
    with suppress(ConfigError):
        shape = shape_of("mine", {**config, key: value})
        assert shape.total_weights > 0
        assert shape.kv_elements(1_000) >= 0
