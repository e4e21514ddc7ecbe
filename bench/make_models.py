"""Write the shapes of published models as package data: those keys of each `config.json` that a shape is built from.

    python -m bench.make_models [--data DIR]

The parameters are facts of the models; the configs are aiconfigurator's copies. Models of `OWN` are not among them:
their figures are those of the config.json published with the model. Prints the SHA-256 of what it read.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.figures import arguments
from bursar.core.errors import ConfigError
from bursar.physics.config import shape_of

TARGET = Path(__file__).parents[1] / "src/bursar/physics/data/models.json"

OWN: Mapping[str, Mapping[str, Any]] = {
    "Qwen/Qwen3-14B": {
        "model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 40,
        "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        "tie_word_embeddings": False,
    },
    "google/gemma-3-12b-it": {
        "model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 262208,
        "sliding_window": 1024, "sliding_window_pattern": 6, "tie_word_embeddings": True,
    },
    "google/gemma-3-27b-it": {
        "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62,
        "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128, "vocab_size": 262208,
        "sliding_window": 1024, "sliding_window_pattern": 6, "tie_word_embeddings": True,
    },
    "meta-llama/Llama-2-70b-chat-hf": {
        "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 32000, "tie_word_embeddings": False,
    },
    "EleutherAI/gpt-j-6b": {
        "model_type": "gptj", "hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 28,
        "num_attention_heads": 16, "vocab_size": 50400, "tie_word_embeddings": False,
    },
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": {
        "model_type": "nemotron_h", "hidden_size": 4480, "intermediate_size": 15680, "num_hidden_layers": 56,
        "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 131072,
        "mamba_num_heads": 128, "mamba_head_dim": 80, "ssm_state_size": 128, "n_groups": 8,
        "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
        "tie_word_embeddings": False,
    },
    "nvidia/NVIDIA-Nemotron-Nano-12B-v2": {
        "model_type": "nemotron_h", "hidden_size": 5120, "intermediate_size": 20480, "num_hidden_layers": 62,
        "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 131072,
        "mamba_num_heads": 128, "mamba_head_dim": 80, "ssm_state_size": 128, "n_groups": 8,
        "hybrid_override_pattern": "M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M-",
        "tie_word_embeddings": False,
    },
}  # fmt: skip


class Watched(Mapping[str, Any]):
    """Remember which keys of a config were read."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self.config[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.config)

    def __len__(self) -> int:
        return len(self.config)


def precision_of(name: str, config: Mapping[str, Any]) -> str:
    """Read the format from the config; some repositories say it in their name alone."""
    stated = shape_of(name, config).precision
    by_name = {"-NVFP4": "fp4", "-FP8": "fp8"}
    return next((found for word, found in by_name.items() if word in name), stated) if stated == "bf16" else stated


def trimmed(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what the shape is built from, the text tower's keys raised to the top."""
    precision = precision_of(name, config)
    text = Watched(config.get("text_config") or config)
    shape_of(name, text)
    kept = {key: value for key, value in text.config.items() if key in text.read and value is not None}
    for key in (
        "quantization_config",
        "architectures",
        "is_encoder_decoder",
        "dtype",
        "torch_dtype",
        "text_config",
        "expert_dtype",
    ):
        kept.pop(key, None)
    if "tie_word_embeddings" in config:
        kept["tie_word_embeddings"] = config["tie_word_embeddings"]
    kept.pop("blocks", None)
    blocks = {"blocks": True} if shape_of(name, config).blocks else {}
    return kept | {"precision": precision} | blocks


def main() -> None:
    """Write the file; a config that gives no shape is named and left out."""
    folder = arguments(__doc__).data / "aiconfigurator/model_configs"
    found: dict[str, Any] = {}
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*_config.json")):
        name = path.name.removesuffix("_config.json").replace("--", "/", 1)
        digest.update(path.read_bytes())
        try:
            found[name] = trimmed(name, json.loads(path.read_bytes()))
        except ConfigError as error:
            print(f"left out: {name}: {error}")
    found |= {name: trimmed(name, config) for name, config in OWN.items()}
    TARGET.write_text(
        json.dumps(found, indent=None, separators=(",", ":"), sort_keys=True).replace('},"', '},\n"') + "\n"
    )
    print(f"{len(found)} models, SHA-256 of the configs {digest.hexdigest()}")


if __name__ == "__main__":
    main()
