"""Build a model's shape from its published `config.json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bursar.core.errors import ConfigError
from bursar.physics.shape import (
    Attention,
    Compressed,
    Dense,
    Experts,
    Latent,
    Layer,
    Mixer,
    Recurrent,
    Shape,
)

Config = Mapping[str, Any]

_EXPERTS: Final = ("n_routed_experts", "num_local_experts", "num_experts")
_ACTIVE: Final = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts")
_LETTERS: Final[Mapping[str, str]] = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
_UNGATED: Final = ("gptj", "gpt_neox", "gpt_bigcode", "opt")
_MISTAKES: Final = "; give the config.json of a decoder-only language model"


def shape_of(name: str, config: Config, *, precision: str | None = None) -> Shape:
    """Build the shape of a model.

    `config` is the parsed `config.json`; of a model with towers for images, its `text_config` counts. `precision` is
    the weights' format, read from `quantization_config` where it is None. Raises `ConfigError`, naming the key, for a
    config that lacks what a shape needs.
    """
    text = config.get("text_config") or config
    hidden = _number(text, "hidden_size")
    return Shape(
        name=name,
        family=str(text.get("model_type") or config.get("model_type") or "unknown"),
        hidden=hidden,
        vocabulary=_number(text, "vocab_size"),
        layers=_grouped(_layers(text, hidden)),
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        precision=precision or _precision(config),
        blocks=bool(config.get("blocks") or _quantization(config).get("weight_block_size")),
    )


def _grouped(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    counts = Counter((layer.mixer, layer.feed) for layer in layers)
    return tuple(Layer(count, mixer, feed) for (mixer, feed), count in counts.items())


def _layers(text: Config, hidden: int) -> list[Layer]:
    if text.get("hybrid_override_pattern"):
        return _patterned(text, hidden, str(text["hybrid_override_pattern"]))
    if text.get("layers_block_type"):
        kinds: Sequence[str] = text["layers_block_type"]
        return _patterned(text, hidden, "".join(_LETTERS.get(kind, kind) for kind in kinds))
    if text.get("block_configs"):
        return [_block(text, hidden, block) for block in text["block_configs"]]
    count = _number(text, "num_hidden_layers")
    return [Layer(1, _mixer(text, hidden, i), _feed(text, hidden, i)) for i in range(count)]


def _mixer(text: Config, hidden: int, index: int) -> Mixer:
    if _is_linear(text, index):
        return _linear(text, hidden)
    if text.get("kv_lora_rank"):
        return _latent(text)
    if text.get("compress_ratios"):
        return _compressed(text, index)
    heads = _number(text, "num_attention_heads")
    head_dim = int(text.get("head_dim") or hidden // heads)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    window = _window(text, index)
    if window is None and text.get("global_head_dim"):
        head_dim, kv_heads = int(text["global_head_dim"]), int(text.get("num_global_key_value_heads") or kv_heads)
    if window is not None and text.get("swa_num_key_value_heads"):
        kv_heads = int(text["swa_num_key_value_heads"])
    value_dim = int(text.get("v_head_dim") or head_dim)
    return Attention(heads, kv_heads, head_dim, value_dim, window, bool(text.get("attn_output_gate")))


def _latent(text: Config) -> Latent:
    return Latent(
        heads=_number(text, "num_attention_heads"),
        query_rank=int(text.get("q_lora_rank") or 0),
        kv_rank=_number(text, "kv_lora_rank"),
        rope_dim=_number(text, "qk_rope_head_dim"),
        nope_dim=_number(text, "qk_nope_head_dim"),
        value_dim=_number(text, "v_head_dim"),
        selected=int(text["index_topk"]) if text.get("index_topk") else None,
        index_heads=int(text.get("index_n_heads") or 0),
        index_dim=int(text.get("index_head_dim") or 0),
    )


def _compressed(text: Config, index: int) -> Compressed:
    ratio = int(text["compress_ratios"][index])
    # Only the finer entries are chosen by an index; there are few enough of the coarser ones to read them all.
    indexed = 0 < ratio < _number(text, "sliding_window")
    return Compressed(
        heads=_number(text, "num_attention_heads"),
        head_dim=_number(text, "head_dim"),
        query_rank=_number(text, "q_lora_rank"),
        window=_number(text, "sliding_window"),
        ratio=ratio,
        output_groups=_number(text, "o_groups"),
        output_rank=_number(text, "o_lora_rank"),
        selected=_number(text, "index_topk") if indexed else None,
        index_heads=_number(text, "index_n_heads") if indexed else 0,
        index_dim=_number(text, "index_head_dim") if indexed else 0,
    )


def _block(text: Config, hidden: int, block: Config) -> Layer:
    """Read a layer of a searched architecture, whose parts differ by layer and may be absent."""
    attention: Config = block.get("attention") or {}
    feed: Config = block.get("ffn") or {}
    if any(part.get("replace_with_linear") for part in (attention, feed)):
        raise ConfigError("block_configs replaces a part by one matrix, which is not modelled" + _MISTAKES)
    mixer = None if attention.get("no_op") else _block_attention(text, hidden, attention)
    return Layer(1, mixer, None if feed.get("no_op") else Dense(_widened(hidden, float(feed["ffn_mult"]))))


def _block_attention(text: Config, hidden: int, attention: Config) -> Attention:
    heads = _number(text, "num_attention_heads")
    head_dim = hidden // heads
    window = attention.get("window_length")
    return Attention(heads, heads // _number(attention, "n_heads_in_group"), head_dim, head_dim, window)


def _widened(hidden: int, multiple: float) -> int:
    """Give a network's width: two thirds of the multiple, up to the next 256, as Llama's makers count it."""
    return -(-int(2 * multiple * hidden / 3) // 256) * 256


def _is_linear(text: Config, index: int) -> bool:
    kinds = text.get("layer_types")
    if kinds and "linear_attention" in kinds:
        return bool(kinds[index] == "linear_attention")
    linear: Config = text.get("linear_attn_config") or {}
    return index + 1 in linear.get("kda_layers", ())


def _linear(text: Config, hidden: int) -> Recurrent:
    linear = text.get("linear_attn_config")
    if linear:
        heads, width = int(linear["num_heads"]), int(linear["head_dim"])
        return Recurrent(5 * hidden * heads * width, heads * width * width)
    keys = _number(text, "linear_num_key_heads") * _number(text, "linear_key_head_dim")
    values = _number(text, "linear_num_value_heads") * _number(text, "linear_value_head_dim")
    # Queries, keys, values and the gate in; the values out; the state is keys by values for each value head.
    return Recurrent(hidden * (2 * keys + 3 * values), values * _number(text, "linear_key_head_dim"))


def _window(text: Config, index: int) -> int | None:
    size = text.get("sliding_window") or text.get("attention_chunk_size")
    if not size or text.get("use_sliding_window") is False:
        return None
    kinds = text.get("layer_types")
    if kinds:
        return int(size) if kinds[index] in ("sliding_attention", "chunked_attention") else None
    every = text.get("sliding_window_pattern")
    if every:
        return None if (index + 1) % int(every) == 0 else int(size)
    pattern = text.get("hybrid_layer_pattern")
    if pattern:
        return int(size) if pattern[index] else None
    if text.get("model_type") in ("llama4_text", "gpt_oss"):
        return int(size) if (index + 1) % (4 if text["model_type"] == "llama4_text" else 2) else None
    return int(size)


def _feed(text: Config, hidden: int, index: int) -> Dense | Experts:
    count = _first(text, _EXPERTS)
    if not count or _is_dense(text, index):
        size = int(text.get("intermediate_size_mlp") or _number(text, "intermediate_size"))
        return Dense(size, matrices=2 if text.get("model_type") in _UNGATED else 3)
    size = int(text.get("moe_intermediate_size") or _number(text, "intermediate_size"))
    return Experts(
        count=count,
        active=_first(text, _ACTIVE) or _missing(text, "num_experts_per_tok"),
        intermediate=size,
        shared_intermediate=_shared(text, size),
        width=int(text.get("routed_expert_hidden_size") or hidden),
    )


def _shared(text: Config, size: int) -> int:
    stated = text.get("shared_expert_intermediate_size") or text.get("shared_intermediate_size")
    if stated:
        return int(stated)
    if text.get("model_type") == "llama4_text":
        return size
    if text.get("enable_moe_block"):
        return _number(text, "intermediate_size")
    return size * int(text.get("n_shared_experts") or text.get("num_shared_experts") or 0)


def _is_dense(text: Config, index: int) -> bool:
    if index < int(text.get("first_k_dense_replace") or 0) or index in (text.get("mlp_only_layers") or ()):
        return True
    frequency = text.get("moe_layer_freq") or text.get("interleave_moe_layer_step") or 1
    if isinstance(frequency, list):
        return not frequency[index]
    return bool((index + 1) % int(frequency))


def _patterned(text: Config, hidden: int, pattern: str) -> list[Layer]:
    """Read a hybrid of state spaces (M), attention (*), networks (-) and experts (E), one letter a layer."""
    heads = _number(text, "num_attention_heads")
    head_dim = int(text.get("attention_head_dim") or text.get("head_dim") or hidden // heads)
    attention = Attention(heads, _number(text, "num_key_value_heads"), head_dim, head_dim)
    known: dict[str, Layer] = {"*": Layer(1, attention, None), "M": Layer(1, _state_space(text, hidden), None)}
    if "-" in pattern:
        known["-"] = Layer(1, None, Dense(_number(text, "intermediate_size"), matrices=2))
    if "E" in pattern:
        known["E"] = Layer(1, None, _pattern_experts(text, hidden))
    return [known.get(letter) or _unknown(letter) for letter in pattern]


def _pattern_experts(text: Config, hidden: int) -> Experts:
    shared = int(text.get("moe_shared_expert_intermediate_size") or 0) * int(text.get("n_shared_experts") or 1)
    width = int(text.get("moe_latent_size") or hidden)
    size, active = _number(text, "moe_intermediate_size"), _first(text, _ACTIVE)
    return Experts(_number(text, "n_routed_experts"), active, size, shared, width, matrices=2)


def _state_space(text: Config, hidden: int) -> Recurrent:
    heads, width = _number(text, "mamba_num_heads"), _number(text, "mamba_head_dim")
    state, groups = _number(text, "ssm_state_size"), int(text.get("n_groups") or 1)
    inner = heads * width
    # In: the gate, the values, two projections of the state for each group, a step size a head; then out.
    return Recurrent(hidden * (2 * inner + 2 * groups * state + heads) + inner * hidden, inner * state)


def _quantization(config: Config) -> Config:
    text: Config = config.get("text_config") or {}
    return config.get("quantization_config") or text.get("quantization_config") or {}


def _precision(config: Config) -> str:
    quantization = _quantization(config)
    words = " ".join(str(quantization.get(key, "")) for key in ("quant_method", "quant_algo", "format", "fmt")).lower()
    if "fp4" in words:
        return "fp4"
    return "fp8" if "fp8" in words or "e4m3" in words else "bf16"


def _first(text: Config, names: Sequence[str]) -> int:
    return next((int(text[name]) for name in names if text.get(name)), 0)


def _number(text: Config, key: str) -> int:
    found = text.get(key)
    if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
        raise ConfigError(f"{key} must be a whole number above 0, not {found!r}{_MISTAKES}")
    return found


def _missing(text: Config, key: str) -> int:
    return _number(text, key)


def _unknown(letter: str) -> Layer:
    raise ConfigError(f"the pattern of layers has the unknown letter {letter!r}; M, *, - and E are known{_MISTAKES}")
