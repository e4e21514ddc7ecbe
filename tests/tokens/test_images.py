"""Images take what their provider's rule says: its published examples, and boundaries on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.tokens.bounds import image_tokens_max
from bursar.tokens.images import Detail, image_tokens

HIGH = Detail.high


@pytest.mark.parametrize(
    ("model", "width", "height", "detail", "tokens"),
    [
        # OpenAI's examples
        ("gpt-4o", 1024, 1024, HIGH, 765),
        ("gpt-4o", 2048, 4096, HIGH, 1_105),
        ("gpt-4o", 4096, 8192, Detail.low, 85),
        ("gpt-4o", 512, 512, HIGH, 255),
        ("gpt-4o", 513, 512, HIGH, 425),
        ("openai/gpt-4o-mini", 1024, 1024, HIGH, 25_501),
        ("gpt-5", 1024, 1024, HIGH, 630),
        ("o3", 1024, 1024, HIGH, 675),
        ("gpt-4.1-mini", 1024, 1024, HIGH, 1_659),  # 1,024 patches times 1.62
        ("gpt-4.1-mini", 1800, 2400, HIGH, 2_353),  # 1,452 patches times 1.62
        ("gpt-4.1-nano", 32, 32, HIGH, 3),
        ("gpt-6-astra", 640, 480, HIGH, 360),
        ("gpt-6-astra", 640, 480, Detail.low, 231),
        ("gpt-6-sol", 2_104, 1_184, HIGH, 2_931),
        ("gpt-6-sol", 6_400, 1_440, Detail.original, 10_800),
        # Anthropic's
        ("claude-sonnet-4-6", 1920, 1080, HIGH, 1_560),
        ("claude-opus-4-8", 1920, 1080, HIGH, 2_691),
        ("claude-sonnet-5", 3840, 2160, HIGH, 4_784),
        ("claude-haiku-4-5", 28, 28, HIGH, 1),
        ("claude-haiku-4-5", 29, 28, HIGH, 2),
        # Google's
        ("gemini-2.5-flash", 384, 384, HIGH, 258),
        ("gemini-2.5-flash", 385, 384, HIGH, 4 * 258),
        ("gemini-2.5-pro", 960, 540, HIGH, 6 * 258),
        ("gemini-3.8-flash", 4000, 3000, HIGH, 1_120),
        ("gemini-3-pro-preview", 4000, 3000, Detail.low, 280),
        # Mistral's
        ("pixtral-12b-2409", 1024, 1024, HIGH, 65 * 64),
        ("pixtral-12b", 2048, 1024, HIGH, 65 * 32),
    ],
)
def test_an_image_takes_what_the_rule_says(model: str, width: int, height: int, detail: Detail, tokens: int) -> None:
    assert image_tokens(model, width, height, detail).tokens == tokens


@pytest.mark.parametrize(
    "model", ["", "gpt-3.5-turbo", "gpt-7", "llama-3-vision", "o1-mini", "claude-2", "mixtral-8x7b"]
)
def test_a_model_without_a_published_rule_is_refused_with_the_way_out(model: str) -> None:
    with pytest.raises(ConfigError, match=r"no rule is published.*read the usage"):
        image_tokens(model, 10, 10)


@pytest.mark.parametrize(("width", "height", "field"), [(0, 1, "width"), (1, 0, "height"), (1, 100_001, "height")])
def test_a_size_that_is_none_is_refused_by_name(width: int, height: int, field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field}: expected 1 to 100,000 pixels"):
        image_tokens("gpt-4o", width, height)


MODELS = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1-mini",
    "o4-mini",
    "gpt-5.4",
    "claude-opus-5",
    "claude-3-haiku",
    "gemini-3.5-flash",
]


@given(st.sampled_from(MODELS), st.integers(1, 20_000), st.integers(1, 20_000))
def test_no_image_takes_more_than_what_is_held_for_it(model: str, width: int, height: int) -> None:
    assert 0 < image_tokens(model, width, height).tokens <= image_tokens_max(model)


@given(st.sampled_from(MODELS), st.integers(1, 3_000), st.integers(1, 3_000))
def test_an_image_takes_as_much_on_its_side(model: str, width: int, height: int) -> None:
    assert image_tokens(model, width, height).tokens == image_tokens(model, height, width).tokens
