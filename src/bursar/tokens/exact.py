"""Count tokens exactly with the vocabularies of OpenAI and Mistral, where the extra `tokens` is installed.

Which model has which vocabulary is what its provider has published: tiktoken 0.14's table for OpenAI's, mistral-common
1.13's and the `tekken.json` beside open weights for Mistral's (checked 2026-11-22). Others are estimated.
"""

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import Any, Final, cast

import msgspec

from bursar.core.errors import ConfigError

DEFAULT: Final = "o200k_base"
TEKKEN: Final = "tekken"
ENCODINGS: Final = (DEFAULT, "cl100k_base")
"""Those of OpenAI whose vocabulary comes with the package: others it would fetch."""

_TEKKEN_FILE: Final = "tekken_240911.json"
_MODELS: Final = (
    (DEFAULT, re.compile(r"(?:ft:)?(?:gpt-(?:4o|4\.1|4\.5|5|oss)|chatgpt-4o|o[134])(?:[-.:].*)?")),
    (
        "cl100k_base",
        re.compile(r"(?:ft:)?(?:gpt-(?:4|3\.5|35)|text-embedding-(?:ada-002|3-(?:small|large)))(?:[-:].*)?"),
    ),
    (
        TEKKEN,
        re.compile(
            r"(?:open-)?(?:mistral-nemo|mistral-small-(?:2409|24b|3\.[12]|250[136])|mistral-large-2512|pixtral-12b"
            r"|ministral-8b-2410|ministral-(?:3|8|14)b-2512|devstral-small|magistral-small|voxtral-(?:mini|small))"
            r"(?:[-:].*)?"
        ),
    ),
)


class Vocabulary(msgspec.Struct, frozen=True):
    """Hold a vocabulary: its name, what counts by it, and what gives the bytes of each token of a text."""

    name: str
    count: Callable[[str], int]
    pieces: Callable[[str], list[bytes]]


def vocabulary_of(model: str) -> str:
    """Return the name of a model's vocabulary, resold under whatever name; empty where nobody has published it."""
    own = model.lower().rpartition("/")[2]
    return next((name for name, pattern in _MODELS if pattern.fullmatch(own)), "")


def vocabulary(name: str) -> Vocabulary:
    """Load a vocabulary. Takes up to a second and 150 MB: keep it, and never load it where calls are served.

    Raises `ConfigError` where the extra `tokens` is not installed, or for a vocabulary it does not have.
    """
    if name == TEKKEN:
        return _tekken()
    if name not in ENCODINGS:
        raise ConfigError(f"no vocabulary of {name!r} is at hand; give one of {', '.join((*ENCODINGS, TEKKEN))}")
    encoding = _imported("bpe_openai").get_encoding(name)
    encode = cast("Callable[[str], list[int]]", encoding.encode_ordinary)
    decode = cast("Callable[[list[int]], list[bytes]]", encoding.decode_tokens_bytes)
    return Vocabulary(name, lambda text: len(encode(text)), lambda text: decode(encode(text)))


def counter(encoding: str = DEFAULT) -> Callable[[str], int]:
    """Return what counts the tokens of a text in an encoding. Raises as `vocabulary` does."""
    return vocabulary(encoding).count


def _tekken() -> Vocabulary:
    module = _imported("mistral_common.tokens.tokenizers.tekken")
    tokenizer = module.Tekkenizer.from_file(str(files("mistral_common") / "data" / _TEKKEN_FILE))

    def encode(text: str) -> list[int]:
        return cast("list[int]", tokenizer.encode(text, bos=False, eos=False))

    def pieces(text: str) -> list[bytes]:
        return [cast("bytes", tokenizer.id_to_byte_piece(token)) for token in encode(text)]

    return Vocabulary(TEKKEN, lambda text: len(encode(text)), pieces)


def _imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the packages read their data in a way Python gives up
        try:
            return import_module(name)
        except ImportError:
            raise ConfigError("tokens are counted exactly with the extra `tokens`: install bursar[tokens]") from None
