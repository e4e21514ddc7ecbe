"""Build a model's shape from its published `config.json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.fields import (
    LAYERS_MAX,
    MISTAKES,
    Config,
    count,
    counts,
    flag,
    multiple,
    optional,
    section,
    sections,
    whole,
    word,
    words,
)
from bursar.physics.quantization import published, quantization
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

_EXPERTS: Final = ("n_routed_experts", "num_local_experts", "num_experts")
_ACTIVE: Final = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts")
_LETTERS: Final[Mapping[str, str]] = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
_UNGATED: Final = ("gptj", "gpt_neox", "gpt_bigcode", "opt")
_KINDS: Final = (
    "full_attention",
    "attention",
    "sliding_attention",
    "chunked_attention",
    "linear_attention",
    "deepseek_sparse_attention",
)
_FAMILIES: Final = frozenset({
    "deepseek_ref", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "gemma", "gemma3_text",
    "gemma4_text", "glm_moe_dsa", "gpt_neox", "gpt_oss", "gptj", "kimi_k2", "kimi_linear", "llama", "llama4_text",
    "mimo", "mimo_v2_flash", "minimax_m2", "minimax_m3", "mistral", "mixtral", "nemotron-nas", "nemotron_h",
    "olmo2", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe",
    "qwen3_vl_moe_text", "qwen3_vl_text", "step3p7",
})  # fmt: skip
_DECODERS: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_ENCODERS: Final = (
    "bert",
    "roberta",
    "xlm-roberta",
    "distilbert",
    "electra",
    "deberta",
    "t5",
    "bart",
    "whisper",
    "vit",
)


def shape_of(name: str, config: Config, *, precision: str | None = None) -> Shape:
    """Build the shape of a model.

    `config` is the parsed `config.json`; of a model with towers for images, its `text_config` counts. `precision` is
    the weights' format, read from `quantization_config` and `torch_dtype` where it is None. Raises `ConfigError`,
    naming the key, for a config that lacks what a shape needs or that is no decoder's.
    """
    text = section(config, "text_config") or config
    family = word(text, "model_type") or word(config, "model_type") or "unknown"
    _decodes(config, family)
    hidden = whole(text, "hidden_size")
    return Shape(
        name=name,
        family=family,
        hidden=hidden,
        vocabulary=whole(text, "vocab_size"),
        layers=_grouped(_layers(text, hidden)),
        tied=flag(text, "tie_word_embeddings", otherwise=flag(config, "tie_word_embeddings")),
        precision=precision or published(config),
        blocks=flag(config, "blocks") or bool(quantization(config).get("weight_block_size")),
        known=family in _FAMILIES,
    )


def _decodes(config: Config, family: str) -> None:
    names = words(config, "architectures")
    decodes = not names or any(name.endswith(_DECODERS) for name in names)
    if not decodes or family in _ENCODERS or flag(config, "is_encoder_decoder"):
        said = ", ".join(names) or family
        raise ConfigError(f"architectures is {said}, which does not write one token after another{MISTAKES}")


def _grouped(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    counts = Counter((layer.mixer, layer.feed) for layer in layers)
    return tuple(Layer(count, mixer, feed) for (mixer, feed), count in counts.items())


def _layers(text: Config, hidden: int) -> list[Layer]:
    pattern = word(text, "hybrid_override_pattern")
    pattern = pattern or "".join(_LETTERS.get(kind, kind) for kind in words(text, "layers_block_type"))
    blocks = sections(text, "block_configs")
    if max(len(pattern), len(blocks)) > LAYERS_MAX:
        raise ConfigError(f"the pattern of layers is longer than {LAYERS_MAX:,}{MISTAKES}")
    if pattern:
        return _patterned(text, hidden, pattern)
    if blocks:
        return [_block(text, hidden, block) for block in blocks]
    layers = whole(text, "num_hidden_layers")
    _long_enough(text, layers)
    return [Layer(1, _mixer(text, hidden, i), _feed(text, hidden, i)) for i in range(layers)]


def _long_enough(text: Config, layers: int) -> None:
    """Refuse lists that say nothing of some layers, and kinds of layers that are not known."""
    kinds = words(text, "layer_types")
    unknown = next((kind for kind in kinds if kind not in _KINDS), None)
    if unknown is not None:
        raise ConfigError(f"layer_types holds {unknown!r}; known are {', '.join(_KINDS)}{MISTAKES}")
    listed = isinstance(text.get("moe_layer_freq"), list)
    lists = {key: counts(text, key) for key in ("compress_ratios", "hybrid_layer_pattern")}
    lists["moe_layer_freq"] = counts(text, "moe_layer_freq") if listed else ()
    for key, held in {"layer_types": kinds, **lists}.items():
        if held and len(held) < layers:
            raise ConfigError(f"{key} has {len(held)} entries for num_hidden_layers of {layers}; give one for each")


def _mixer(text: Config, hidden: int, index: int) -> Mixer:
    if _is_linear(text, index):
        return _linear(text, hidden)
    if count(text, "kv_lora_rank"):
        return _latent(text)
    if text.get("compress_ratios"):
        return _compressed(text, index)
    heads = whole(text, "num_attention_heads")
    head_dim = optional(text, "head_dim")
    kv_heads = optional(text, "num_key_value_heads") or heads
    window = _window(text, index)
    if window is None and count(text, "global_head_dim"):
        head_dim, kv_heads = whole(text, "global_head_dim"), optional(text, "num_global_key_value_heads") or kv_heads
    if window is not None:
        kv_heads = optional(text, "swa_num_key_value_heads") or kv_heads
    head_dim = head_dim or _head_dim(hidden, heads)
    value_dim = optional(text, "v_head_dim") or head_dim
    return Attention(heads, _shared_heads(heads, kv_heads), head_dim, value_dim, window, flag(text, "attn_output_gate"))


def _head_dim(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise ConfigError(f"num_attention_heads is {heads}, which does not divide hidden_size {hidden}; give head_dim")
    return hidden // heads


def _shared_heads(heads: int, kv_heads: int) -> int:
    if heads % kv_heads:
        raise ConfigError(f"num_key_value_heads is {kv_heads}; it must divide the {heads} of num_attention_heads")
    return kv_heads


def _latent(text: Config) -> Latent:
    return Latent(
        heads=whole(text, "num_attention_heads"),
        query_rank=count(text, "q_lora_rank"),
        kv_rank=whole(text, "kv_lora_rank"),
        rope_dim=whole(text, "qk_rope_head_dim"),
        nope_dim=whole(text, "qk_nope_head_dim"),
        value_dim=whole(text, "v_head_dim"),
        selected=optional(text, "index_topk"),
        index_heads=count(text, "index_n_heads"),
        index_dim=count(text, "index_head_dim"),
    )


def _compressed(text: Config, index: int) -> Compressed:
    ratio = counts(text, "compress_ratios")[index]
    # Only the finer entries are chosen by an index; there are few enough of the coarser ones to read them all.
    indexed = 0 < ratio < whole(text, "sliding_window")
    return Compressed(
        heads=whole(text, "num_attention_heads"),
        head_dim=whole(text, "head_dim"),
        query_rank=whole(text, "q_lora_rank"),
        window=whole(text, "sliding_window"),
        ratio=ratio,
        output_groups=whole(text, "o_groups"),
        output_rank=whole(text, "o_lora_rank"),
        selected=whole(text, "index_topk") if indexed else None,
        index_heads=whole(text, "index_n_heads") if indexed else 0,
        index_dim=whole(text, "index_head_dim") if indexed else 0,
    )


def _block(text: Config, hidden: int, block: Config) -> Layer:
    """Read a layer of a searched architecture, whose parts differ by layer and may be absent."""
    attention, feed = section(block, "attention"), section(block, "ffn")
    if any(flag(part, "replace_with_linear") for part in (attention, feed)):
        raise ConfigError("block_configs replaces a part by one matrix, which is not modelled" + MISTAKES)
    mixer = None if flag(attention, "no_op") else _block_attention(text, hidden, attention)
    return Layer(1, mixer, None if flag(feed, "no_op") else Dense(_widened(hidden, multiple(feed, "ffn_mult"))))


def _block_attention(text: Config, hidden: int, attention: Config) -> Attention:
    heads = whole(text, "num_attention_heads")
    head_dim, grouped = _head_dim(hidden, heads), whole(attention, "n_heads_in_group")
    if heads % grouped:
        raise ConfigError(f"n_heads_in_group is {grouped}; it must divide the {heads} of num_attention_heads")
    return Attention(heads, heads // grouped, head_dim, head_dim, optional(attention, "window_length"))


def _widened(hidden: int, multiple: float) -> int:
    """Give a network's width: two thirds of the multiple, up to the next 256, as Llama's makers count it."""
    return -(-int(2 * multiple * hidden / 3) // 256) * 256


def _is_linear(text: Config, index: int) -> bool:
    kinds = words(text, "layer_types")
    if "linear_attention" in kinds:
        return kinds[index] == "linear_attention"
    return index + 1 in counts(section(text, "linear_attn_config"), "kda_layers")


def _linear(text: Config, hidden: int) -> Recurrent:
    linear = section(text, "linear_attn_config")
    if linear:
        heads, width = whole(linear, "num_heads"), whole(linear, "head_dim")
        return Recurrent(5 * hidden * heads * width, heads * width * width)
    keys = whole(text, "linear_num_key_heads") * whole(text, "linear_key_head_dim")
    values = whole(text, "linear_num_value_heads") * whole(text, "linear_value_head_dim")
    # Queries, keys, values and the gate in; the values out; the state is keys by values for each value head.
    return Recurrent(hidden * (2 * keys + 3 * values), values * whole(text, "linear_key_head_dim"))


def _window(text: Config, index: int) -> int | None:
    size = count(text, "sliding_window") or count(text, "attention_chunk_size")
    if not size or not flag(text, "use_sliding_window", otherwise=True):
        return None
    kinds = words(text, "layer_types")
    if kinds:
        return size if kinds[index] in ("sliding_attention", "chunked_attention") else None
    every = optional(text, "sliding_window_pattern")
    if every:
        return None if (index + 1) % every == 0 else size
    pattern = counts(text, "hybrid_layer_pattern")
    if pattern:
        return size if pattern[index] else None
    if text.get("model_type") in ("llama4_text", "gpt_oss"):
        return size if (index + 1) % (4 if text["model_type"] == "llama4_text" else 2) else None
    return size


def _feed(text: Config, hidden: int, index: int) -> Dense | Experts:
    experts = _first(text, _EXPERTS)
    if not experts or _is_dense(text, index):
        size = count(text, "intermediate_size_mlp") or whole(text, "intermediate_size")
        return Dense(size, matrices=2 if text.get("model_type") in _UNGATED else 3)
    size = count(text, "moe_intermediate_size") or whole(text, "intermediate_size")
    return Experts(
        count=experts,
        active=_active(text, experts),
        intermediate=size,
        shared_intermediate=_shared(text, size),
        width=optional(text, "routed_expert_hidden_size") or hidden,
    )


def _active(text: Config, experts: int) -> int:
    active = _first(text, _ACTIVE) or whole(text, "num_experts_per_tok")
    if active > experts:
        raise ConfigError(f"num_experts_per_tok is {active}; it must be at most the {experts} experts there are")
    return active


def _shared(text: Config, size: int) -> int:
    stated = count(text, "shared_expert_intermediate_size") or count(text, "shared_intermediate_size")
    if stated:
        return stated
    if text.get("model_type") == "llama4_text":
        return size
    if flag(text, "enable_moe_block"):
        return whole(text, "intermediate_size")
    return size * (count(text, "n_shared_experts") or count(text, "num_shared_experts"))


def _is_dense(text: Config, index: int) -> bool:
    if index < count(text, "first_k_dense_replace") or index in counts(text, "mlp_only_layers"):
        return True
    if isinstance(text.get("moe_layer_freq"), list) and text["moe_layer_freq"]:
        return not counts(text, "moe_layer_freq")[index]
    every = optional(text, "moe_layer_freq") or optional(text, "interleave_moe_layer_step") or 1
    return bool((index + 1) % every)


def _patterned(text: Config, hidden: int, pattern: str) -> list[Layer]:
    """Read a hybrid of state spaces (M), attention (*), networks (-) and experts (E), one letter a layer."""
    heads = whole(text, "num_attention_heads")
    head_dim = optional(text, "attention_head_dim") or optional(text, "head_dim") or _head_dim(hidden, heads)
    attention = Attention(heads, _shared_heads(heads, whole(text, "num_key_value_heads")), head_dim, head_dim)
    known: dict[str, Layer] = {"*": Layer(1, attention, None), "M": Layer(1, _state_space(text, hidden), None)}
    if "-" in pattern:
        known["-"] = Layer(1, None, Dense(whole(text, "intermediate_size"), matrices=2))
    if "E" in pattern:
        known["E"] = Layer(1, None, _pattern_experts(text, hidden))
    return [known.get(letter) or _unknown(letter) for letter in pattern]


def _pattern_experts(text: Config, hidden: int) -> Experts:
    shared = count(text, "moe_shared_expert_intermediate_size") * (optional(text, "n_shared_experts") or 1)
    width = optional(text, "moe_latent_size") or hidden
    size, experts = whole(text, "moe_intermediate_size"), whole(text, "n_routed_experts")
    return Experts(experts, _active(text, experts), size, shared, width, matrices=2)


def _state_space(text: Config, hidden: int) -> Recurrent:
    heads, width = whole(text, "mamba_num_heads"), whole(text, "mamba_head_dim")
    state, groups = whole(text, "ssm_state_size"), optional(text, "n_groups") or 1
    inner = heads * width
    # In: the gate, the values, two projections of the state for each group, a step size a head; then out.
    return Recurrent(hidden * (2 * inner + 2 * groups * state + heads) + inner * hidden, inner * state)


def _first(text: Config, names: Sequence[str]) -> int:
    return next((found for name in names if (found := count(text, name))), 0)


def _unknown(letter: str) -> Layer:
    raise ConfigError(f"the pattern of layers has the unknown letter {letter!r}; M, *, - and E are known{MISTAKES}")
