"""Tokens are counted exactly in encodings that are known."""

import pytest

from bursar.core.errors import ConfigError
from bursar.tokens.exact import counter


@pytest.mark.parametrize(
    ("encoding", "text", "tokens"),
    [
        ("o200k_base", "hello world", 2),
        ("o200k_base", "", 0),
        ("o200k_base", "<|endoftext|>", 7),
        ("cl100k_base", "hello world", 2),
    ],
)
def test_a_text_has_as_many_tokens_as_its_encoding_gives(encoding: str, text: str, tokens: int) -> None:
    assert counter(encoding)(text) == tokens


def test_an_unknown_encoding_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'gpt2'.*o200k_base"):
        counter("gpt2")
