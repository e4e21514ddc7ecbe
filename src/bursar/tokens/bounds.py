"""Bound the tokens of a prompt from above, cheaply.

Byte-level tokenizers never make more tokens than the text has UTF-8 bytes, and the JSON around a message is longer
than the few tokens a chat template adds. Images are bounded by their model's published maximum, recordings by their
length and their model's published rate, other media by the context window alone.
"""

from typing import Final

from bursar.core.errors import ConfigError
from bursar.tokens.audio import audio_tokens
from bursar.wires.wire import Facts

# Most tokens one image can take, by a part of the model's name (resellers put a vendor before it). gpt-4o-mini: at most
# 8 tiles of 5,667 tokens and 2,833 for the whole (OpenAI, "Images and vision": 768 x 2048 pixels are 8 tiles of
# 512 x 512). Every other model whose figures are public stays below Qwen2-VL's default of 16,384 (its model card).
# Checked 2026-11-21. Gemini's are tiles of 258 tokens, at most 24 of 3,072 x 384 pixels, or 2,240 for the whole ("Image
# understanding" and "Media resolution", checked 2026-11-22).
IMAGE_TOKENS_MAX: Final = (("gpt-4o-mini", 48_169), ("", 16_384))


# What models take whose window catalogues leave out or round to a million ("Gemini models", checked 2026-11-22).
CONTEXT_WINDOWS: Final = (("gemini-2.5", 1_048_576), ("gemini-3", 1_048_576))


def image_tokens_max(model: str) -> int:
    """Return the most tokens one image can take for a model."""
    lowered = model.lower()
    return next(tokens for part, tokens in IMAGE_TOKENS_MAX if part in lowered)


def input_tokens_max(facts: Facts, model: str, context_window: int | None) -> int | None:
    """Return the most input tokens a request can be billed for; None when nothing bounds them."""
    bound = facts.text_bytes
    media = facts.media
    heard = heard_tokens(model, media.sounds_ms) if media.sounds_ms else 0
    if media.others or heard is None:
        return facts.prompts * _window(model, context_window) or None
    if media.images:
        bound += media.images * image_tokens_max(model)
    bound += heard
    if context_window is None or bound < context_window:
        return bound
    return min(bound, facts.prompts * _window(model, context_window))


def heard_tokens(model: str, sounds_ms: tuple[int, ...]) -> int | None:
    """Return the most tokens recordings take; None where no rate is published for the model."""
    try:
        return sum(audio_tokens(model, milliseconds).tokens for milliseconds in sounds_ms)
    except ConfigError:
        return None


def _window(model: str, catalogued: int | None) -> int:
    """Return the most tokens a model takes; 0 where nobody says."""
    lowered = model.lower()
    published = next((tokens for part, tokens in CONTEXT_WINDOWS if part in lowered), 0)
    return max(published, catalogued or 0)
