"""Name what can be priced: each unit's leaf of usage, its size, and which rate stands in when it has none of its own.

A rate is an integer of nano-USD per million units, so every list price is exact: $0.15 per million tokens is
150,000,000. A unit may be larger than one of its leaf: audio is measured in seconds and priced by the hour.
"""

from typing import Final

import msgspec

MILLION: Final = 1_000_000
NANO_PER_USD_PER_MILLION: Final = 1_000_000_000
"""$1 per million units, in nano-USD per million units."""


class Unit(msgspec.Struct, frozen=True):
    """Describe a priced unit.

    `leaf` is its name in `Usage`, `name` the one in a price file; `size` how many of the leaf make one unit.
    `parents` are the units whose rate applies when this one has none, nearest first: cached audio falls back to
    cached input, then to audio, then to input.
    """

    leaf: str
    name: str
    side: str  # input, output or count
    size: int = 1
    parents: tuple[str, ...] = ()


def _unit(leaf: str, name: str, side: str, *parents: str, size: int = 1) -> Unit:
    return Unit(leaf, name, side, size, parents)


_ALL: Final = (
    _unit("input_tokens", "input", "input"),
    _unit("cache_read_tokens", "cache_read", "input", "input_tokens"),
    _unit("cache_write_5m_tokens", "cache_write", "input", "input_tokens"),
    _unit("cache_write_1h_tokens", "cache_write_1h", "input", "cache_write_5m_tokens", "input_tokens"),
    _unit("input_audio_tokens", "audio_input", "input", "input_tokens"),
    _unit("input_image_tokens", "image_input", "input", "input_tokens"),
    _unit("input_video_tokens", "video_input", "input", "input_tokens"),
    _unit(
        "cache_read_audio_tokens",
        "audio_cache_read",
        "input",
        "cache_read_tokens",
        "input_audio_tokens",
        "input_tokens",
    ),
    _unit(
        "cache_read_image_tokens",
        "image_cache_read",
        "input",
        "cache_read_tokens",
        "input_image_tokens",
        "input_tokens",
    ),
    _unit(
        "cache_read_video_tokens",
        "video_cache_read",
        "input",
        "cache_read_tokens",
        "input_video_tokens",
        "input_tokens",
    ),
    _unit("output_tokens", "output", "output"),
    _unit("reasoning_tokens", "reasoning", "output", "output_tokens"),
    _unit("output_audio_tokens", "audio_output", "output", "output_tokens"),
    _unit("output_image_tokens", "image_output", "output", "output_tokens"),
    _unit("output_video_tokens", "video_output", "output", "output_tokens"),
    _unit("citation_tokens", "citation", "output", "output_tokens"),
    _unit("requests", "request", "count"),
    _unit("web_searches", "web_search", "count"),
    _unit("social_searches", "social_search", "count"),
    _unit("storage_searches", "storage_search", "count"),
    _unit("code_executions", "code_execution", "count"),
    _unit("rerank_searches", "rerank_search", "count"),
    _unit("input_characters", "character", "count"),
    _unit("input_text_messages", "text_message", "count"),
    _unit("audio_seconds", "audio_hour", "count", size=3_600),
    _unit("input_audio_seconds", "audio_input_hour", "count", "audio_seconds", size=3_600),
    _unit("output_audio_seconds", "audio_output_hour", "count", "audio_seconds", size=3_600),
    _unit("input_pixels", "gigapixel", "count", size=1_000_000_000),
    _unit("input_document_pages", "document_page", "count"),
    _unit("input_annotated_document_pages", "annotated_page", "count", "input_document_pages"),
)

UNITS: Final = {unit.leaf: unit for unit in _ALL}
UNIT_BY_NAME: Final = {unit.name: unit for unit in _ALL}


def divisor(leaf: str) -> int:
    """Return how many of a leaf a rate is for: a million units."""
    return MILLION * UNITS[leaf].size
