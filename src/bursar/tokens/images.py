"""Count the tokens of an image by the rule its model's provider has published; a model without one is an error.

OpenAI, "Images and vision" (developers.openai.com, read 2026-11-22): tiles of 512 pixels, or patches of 32.
Anthropic, "Vision" (platform.claude.com, read 2026-11-22): patches of 28 pixels, in two tiers of resolution.
Google, "Image understanding" and "Media resolution" (ai.google.dev, read 2026-11-22): tiles of 258 tokens up to Gemini
2.5, one budget an image from Gemini 3. Mistral: patches as mistral-common 1.13 and its open weights' own settings have
them. Providers round in ways they do not publish, so a count may be a patch or two off.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from math import ceil, floor, sqrt
from typing import Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.core.money import div_ceil

PIXELS_MAX: Final = 100_000  # of one side


class Detail(StrEnum):
    """Say how closely a model is asked to look."""

    low = "low"
    high = "high"
    original = "original"


class Counted(msgspec.Struct, frozen=True):
    """Hold what an image or sound takes: tokens, of what they are made, and whose rule says so."""

    tokens: int
    how: str
    source: str


_Rule = Callable[[int, int, Detail], tuple[int, str]]

_OPENAI_URL: Final = "https://developers.openai.com/api/docs/guides/images-vision"
_ANTHROPIC_URL: Final = "https://platform.claude.com/docs/en/build-with-claude/vision"
_GOOGLE_URL: Final = "https://ai.google.dev/gemini-api/docs/image-understanding"
_MISTRAL_URL: Final = "https://github.com/mistralai/mistral-common"


def image_tokens(model: str, width_px: int, height_px: int, detail: Detail = Detail.high) -> Counted:
    """Count the tokens of an image. Raises `ConfigError` for a model without a rule, and for no size."""
    for name, pixels in (("width", width_px), ("height", height_px)):
        if not 0 < pixels <= PIXELS_MAX:
            raise ConfigError(f"{name}: expected 1 to {PIXELS_MAX:,} pixels, got {pixels:,}")
    own = model.lower().rpartition("/")[2]
    for pattern, rule, source in _RULES:
        if pattern.match(own):
            tokens, how = rule(width_px, height_px, detail)
            return Counted(tokens, how, source)
    raise ConfigError(f"no rule is published for what an image takes of {model!r}; send it, and read the usage")


def _tiles(base: int, tile: int) -> _Rule:
    """Scale into 2,048 pixels, then the shorter side down to 768, and count squares of 512."""

    def count(width: int, height: int, detail: Detail) -> tuple[int, str]:
        if detail is Detail.low:
            return base, f"{base} tokens at low detail, whatever the size"
        shrink = min(1.0, 2_048 / max(width, height))
        shrink = min(shrink, 768 / min(width, height))
        across, down = ceil(_whole(width * shrink) / 512), ceil(_whole(height * shrink) / 512)
        return base + tile * across * down, f"{base} and {across} x {down} tiles of {tile}"

    return count


def _patches(
    budget: int, thousandths: int, *, side: int = 2_048, original: int = 0, original_side: int = 6_000
) -> _Rule:
    """Count patches of 32 pixels, within a budget, times a factor. Without `original` that detail is as high."""

    def count(width: int, height: int, detail: Detail) -> tuple[int, str]:
        longest, most = (original_side, original) if detail is Detail.original and original else (side, budget)
        shrink = min(1.0, (512 if detail is Detail.low else longest) / max(width, height))
        across, down = _within(width * shrink, height * shrink, most)
        tokens = div_ceil(min(most, across * down) * thousandths, 1_000)
        return tokens, f"{across} x {down} patches of 32 pixels at {detail} detail, times {thousandths / 1_000:g}"

    return count


def _within(width: float, height: float, budget: int) -> tuple[int, int]:
    """Return how many patches cover an image that was scaled down so far that they keep a budget."""
    width, height = _whole(width), _whole(height)
    across, down = ceil(width / 32), ceil(height / 32)
    if across * down <= budget:
        return across, down
    shrink = sqrt(32 * 32 * budget / (width * height))
    wide, high = width * shrink / 32, height * shrink / 32
    shrink *= min(floor(wide) / wide, floor(high) / high) if min(wide, high) >= 1 else 1
    return max(1, ceil(floor(width * shrink) / 32)), max(1, ceil(floor(height * shrink) / 32))


def _claude(edge: int, budget: int) -> _Rule:
    """Count patches of 28 pixels of the largest size that keeps a longest edge and a budget."""

    def fits(width: float, height: float) -> bool:
        return ceil(width / 28) * ceil(height / 28) <= budget

    def count(width: int, height: int, _detail: Detail) -> tuple[int, str]:
        longest = min(max(width, height), edge)
        size = width, height
        while longest > 1:
            scale = min(1.0, longest / max(width, height))
            size = max(1, round(width * scale)), max(1, round(height * scale))
            if fits(*size):
                break
            longest -= 1
        across, down = ceil(size[0] / 28), ceil(size[1] / 28)
        return across * down, f"{across} x {down} patches of 28 pixels"

    return count


def _gemini_tiles(width: int, height: int, _detail: Detail) -> tuple[int, str]:
    """Count 258 tokens for a small image, else for each tile of two thirds of the shorter side."""
    if max(width, height) <= 384:
        return 258, "258 tokens up to 384 pixels"
    unit = max(256, floor(min(width, height) / 1.5))
    across, down = ceil(width / unit), ceil(height / unit)
    return 258 * across * down, f"{across} x {down} tiles of 258, each {unit} pixels wide"


def _gemini_budget(_width: int, _height: int, detail: Detail) -> tuple[int, str]:
    """Give the budget of a media resolution; `original` is the highest that the API has."""
    tokens = {Detail.low: 280, Detail.high: 1_120, Detail.original: 2_240}[detail]
    return tokens, f"{tokens:,} at most, whatever the size"


def _mistral(patch: int, most: int) -> _Rule:
    """Count patches of a longest side, and a mark at the end of each row."""

    def count(width: int, height: int, _detail: Detail) -> tuple[int, str]:
        ratio = max(1.0, max(width, height) / most)
        across, down = (max(1, div_ceil(_whole(side / ratio), patch)) for side in (width, height))
        return (across + 1) * down, f"{across} x {down} patches of {patch} pixels, and {down} row ends"

    return count


def _whole(pixels: float) -> int:
    return max(1, round(pixels))


# The first that begins a model's name as its provider writes it. What is newer than a rule has none.
_RULES: Final[tuple[tuple[re.Pattern[str], _Rule, str], ...]] = tuple(
    (re.compile(pattern + r"(?![\d.])"), rule, source)
    for pattern, rule, source in (
        (r"gpt-4o-mini", _tiles(2_833, 5_667), _OPENAI_URL),
        (r"gpt-4\.1-mini", _patches(1_536, 1_620), _OPENAI_URL),
        (r"gpt-4\.1-nano", _patches(1_536, 2_460), _OPENAI_URL),
        (r"o4-mini", _patches(1_536, 1_720), _OPENAI_URL),
        (r"gpt-4o|chatgpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-turbo|gpt-4-vision", _tiles(85, 170), _OPENAI_URL),
        (r"o[13](?!-mini)", _tiles(75, 150), _OPENAI_URL),
        (r"computer-use", _tiles(65, 129), _OPENAI_URL),
        (r"gpt-5-mini", _patches(1_536, 1_200), _OPENAI_URL),
        (r"gpt-5-nano", _patches(1_536, 1_500), _OPENAI_URL),
        (r"gpt-5(?:\.1)?(?:-(?:chat|pro|20)\S*)?$", _tiles(70, 140), _OPENAI_URL),
        (r"gpt-5\.[23]", _patches(1_536, 1_200), _OPENAI_URL),
        (r"gpt-5\.[456]", _patches(2_500, 1_200, original=10_000), _OPENAI_URL),
        (r"gpt-6(?:\.\d)?", _patches(2_500, 1_200, side=65_535, original=30_000, original_side=65_535), _OPENAI_URL),
        (r"claude-(?:(?:fable|mythos|opus|sonnet|haiku)-5|opus-4-[789])", _claude(2_576, 4_784), _ANTHROPIC_URL),
        (r"claude-(?:3|4-(?:opus|sonnet)|(?:opus|sonnet|haiku)-4)", _claude(1_568, 1_568), _ANTHROPIC_URL),
        (r"gemini-(?:1\.5|2\.[05])", _gemini_tiles, _GOOGLE_URL),
        (r"gemini-3(?:\.\d)?", _gemini_budget, "https://ai.google.dev/gemini-api/docs/media-resolution"),
        (r"pixtral-12b", _mistral(16, 1_024), _MISTRAL_URL),
        (r"mistral-small-(?:3\.[12]|250[36])|mistral-small-latest", _mistral(28, 1_540), _MISTRAL_URL),
    )
)
