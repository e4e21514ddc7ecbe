"""Read an embedder out of a folder, for whoever may read files: commands, and routes of the gateway."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bursar.core.errors import ConfigError

if TYPE_CHECKING:
    from bursar.embed.bert import Bert


def read_folder(folder: Path) -> "Bert":
    """Read a BERT out of a folder as Hugging Face lays it out. Raises `ConfigError` naming what is missing or wrong."""
    from bursar.embed.bert import read_bert  # with NumPy: whoever has no such embedder does not load it

    try:
        weights = (folder / "model.safetensors").read_bytes()
        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8")
        settings = (folder / "config.json").read_bytes() if (folder / "config.json").exists() else b"{}"
        heads = msgspec.json.decode(settings, type=dict[str, object]).get("num_attention_heads", 0)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"embedder local:{folder} cannot be read ({error}); the folder needs model.safetensors and vocab.txt"
        ) from error
    if not isinstance(heads, int):
        raise ConfigError(f"num_attention_heads of {folder / 'config.json'} is {heads!r}; expected a whole number")
    return read_bert(weights, vocabulary, heads=heads)
