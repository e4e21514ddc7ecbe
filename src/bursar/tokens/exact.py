"""Count tokens exactly with the vocabularies of OpenAI's models, where the extra `tokens` is installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

from bursar.core.errors import ConfigError

DEFAULT: Final = "o200k_base"


def counter(encoding: str = DEFAULT) -> Callable[[str], int]:
    """Return what counts the tokens of a text in an encoding.

    Raises `ConfigError` where the extra `tokens` is not installed, or for an encoding it does not have.
    """
    try:
        package = import_module("bpe_openai")
    except ImportError:
        raise ConfigError("tokens are counted exactly with the extra `tokens`: install bursar[tokens]") from None
    known = cast("list[str]", package.list_encoding_names())
    if encoding not in known:
        raise ConfigError(f"there is no encoding {encoding!r}; give one of {', '.join(known)}")
    encode = cast("Callable[[str], list[int]]", package.get_encoding(encoding).encode_ordinary)
    return lambda text: len(encode(text))
