"""Count tokens exactly with the vocabularies of OpenAI's models, where the extra `tokens` is installed."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

from bursar.core.errors import ConfigError

DEFAULT: Final = "o200k_base"
ENCODINGS: Final = (DEFAULT, "cl100k_base")
"""Those whose vocabulary comes with the package: others it would fetch."""


def counter(encoding: str = DEFAULT) -> Callable[[str], int]:
    """Return what counts the tokens of a text in an encoding.

    Raises `ConfigError` where the extra `tokens` is not installed, or for an encoding it does not have.
    """
    if encoding not in ENCODINGS:
        raise ConfigError(f"no vocabulary of {encoding!r} is at hand; give one of {', '.join(ENCODINGS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package reads its data in a way Python gives up
        try:
            package = import_module("bpe_openai")
        except ImportError:
            raise ConfigError("tokens are counted exactly with the extra `tokens`: install bursar[tokens]") from None
        encode = cast("Callable[[str], list[int]]", package.get_encoding(encoding).encode_ordinary)
    return lambda text: len(encode(text))
