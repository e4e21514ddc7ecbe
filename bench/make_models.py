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
    """Read the format from the config; some repositories say it in their name alone, or of the experts alone."""
    if config.get("expert_dtype"):
        return str(config["expert_dtype"])
    stated = shape_of(name, config).precision
    by_name = {"-NVFP4": "fp4", "-FP8": "fp8"}
    return next((found for word, found in by_name.items() if word in name), stated) if stated == "bf16" else stated


def trimmed(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what the shape is built from, the text tower's keys raised to the top."""
    precision = precision_of(name, config)
    text = Watched(config.get("text_config") or config)
    shape_of(name, text)
    kept = {key: value for key, value in text.config.items() if key in text.read and value is not None}
    kept.pop("quantization_config", None)
    if "tie_word_embeddings" in config:
        kept["tie_word_embeddings"] = config["tie_word_embeddings"]
    return kept | {"precision": precision}


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
    TARGET.write_text(
        json.dumps(found, indent=None, separators=(",", ":"), sort_keys=True).replace('},"', '},\n"') + "\n"
    )
    print(f"{len(found)} models, SHA-256 of the configs {digest.hexdigest()}")


if __name__ == "__main__":
    main()
