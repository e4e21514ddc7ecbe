"""Read the usage that a chat completion reports."""

from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.stated_cost import STATED_FIELDS, stated_nano
from bursar.wires.wire import UNREADABLE, UsageReport, believable, unknown_counts


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = 0
    audio_tokens: int | None = 0
    cache_write_tokens: int | None = 0


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0
    image_tokens: int | None = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # DeepSeek, Moonshot and xAI repeat the split of the totals under names of their own.
    prompt_cache_hit_tokens: int | None = 0
    cached_tokens: int | None = 0
    reasoning_tokens: int | None = 0
    num_search_queries: int | None = 0


_usage = msgspec.json.Decoder(_Usage)
_report = msgspec.json.Decoder(UsageReport, float_hook=Decimal)

_KNOWN: Final = frozenset(
    (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details.cached_tokens",
        "prompt_tokens_details.audio_tokens",
        "prompt_tokens_details.image_tokens",
        "prompt_tokens_details.text_tokens",
        "prompt_tokens_details.cache_write_tokens",
        "completion_tokens_details.reasoning_tokens",
        "completion_tokens_details.audio_tokens",
        "completion_tokens_details.image_tokens",
        "completion_tokens_details.text_tokens",
        "completion_tokens_details.accepted_prediction_tokens",
        "completion_tokens_details.rejected_prediction_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "reasoning_tokens",
        "cached_tokens",
        "num_sources_used",
        "num_search_queries",
        *STATED_FIELDS,
    )
)


_NO_PROMPT_DETAILS: Final = _PromptDetails()
_NO_COMPLETION_DETAILS: Final = _CompletionDetails()


def usage_from_json(report: bytes) -> tuple[Usage, int]:
    """Turn a chat completion's usage object into disjoint leaves, and the cost it states (nano-USD; -1: none).

    `prompt_tokens` includes cached and audio tokens; `completion_tokens` includes reasoning, except where a provider
    adds reasoning beside it (xAI, or Gemini without a name for it), which its `total_tokens` tells.
    Raises `UsageContradiction` for a field that is missing or of the wrong kind and a leaf that would be negative.
    """
    try:
        read = _usage.decode(report)
    except UNREADABLE as error:
        raise UsageContradiction(str(error)) from None
    into = read.prompt_tokens_details or _NO_PROMPT_DETAILS
    out = read.completion_tokens_details or _NO_COMPLETION_DETAILS
    prompt, total = read.prompt_tokens, read.total_tokens
    if prompt is None or (read.completion_tokens is None and total is None):
        raise UsageContradiction("usage does not say prompt_tokens and completion_tokens")
    completion = read.completion_tokens or 0
    cached = into.cached_tokens or read.cached_tokens or read.prompt_cache_hit_tokens or 0
    written, audio_in = into.cache_write_tokens or 0, into.audio_tokens or 0
    reasoning = out.reasoning_tokens or read.reasoning_tokens or 0
    beside = (total or 0) - prompt - completion
    if beside > 0 and beside >= reasoning:
        reasoning = beside
    elif reasoning:
        completion -= reasoning
    other: dict[str, int] = {}
    if audio_in or out.audio_tokens or out.image_tokens or read.num_search_queries:
        leaves = ("input_audio_tokens", "output_audio_tokens", "output_image_tokens", "web_searches")
        counts = (audio_in, out.audio_tokens, out.image_tokens, read.num_search_queries)
        other = {leaf: count for leaf, count in zip(leaves, counts, strict=True) if count}
        completion -= (out.audio_tokens or 0) + (out.image_tokens or 0)
    unknown = _unknown(report)
    usage = Usage(prompt - cached - written - audio_in, cached, written, 0, completion, reasoning, other, unknown)
    return believable(usage), stated_nano(report)


def _unknown(report: bytes) -> dict[str, int]:
    if _holds_nothing_unknown(report.translate(None, b"0123456789")):
        return {}
    return {name: count for name, count in unknown_counts(_report.decode(report), _KNOWN).items() if count}


@lru_cache(maxsize=1_000)
def _holds_nothing_unknown(shape: bytes) -> bool:
    """Tell whether a usage object without its digits has known names only: objects of one shape need one look."""
    try:
        report = _report.decode(shape.replace(b":,", b":0,").replace(b":}", b":0}"))
    except UNREADABLE:
        return False
    return not unknown_counts(report, _KNOWN)
