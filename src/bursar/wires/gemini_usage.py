"""Read and write Gemini's `usageMetadata`."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.wire import UsageReport, believable, count_of, unknown_counts

_KNOWN: Final = frozenset(
    (
        "promptTokenCount",
        "cachedContentTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "toolUsePromptTokenCount",
        "totalTokenCount",
    )
)
_MEDIA: Final[tuple[str, ...]] = ("image", "video", "audio")  # from the cheapest to the dearest, where they differ


def usage_from_report(report: UsageReport) -> Usage:
    """Turn a `usageMetadata` object into disjoint leaves.

    `promptTokenCount` includes what was read from a cache; tokens of tools stand beside it. `candidatesTokenCount` does
    not include thoughts. What the total says beyond its parts is counted as thoughts, the dearest it can be. A count
    that is 0 may be left out, but for the prompt's. Raises `UsageContradiction`.
    """
    if report.get("promptTokenCount") is None:
        raise UsageContradiction("usage does not say promptTokenCount")
    prompt, tools = count_of(report, "promptTokenCount"), count_of(report, "toolUsePromptTokenCount")
    cached, thoughts = count_of(report, "cachedContentTokenCount"), count_of(report, "thoughtsTokenCount")
    answered = count_of(report, "candidatesTokenCount")
    thoughts += max(0, count_of(report, "totalTokenCount") - prompt - tools - answered - thoughts)
    into, read = _by_modality(report, "promptTokensDetails"), _by_modality(report, "cacheTokensDetails")
    for name, count in _by_modality(report, "toolUsePromptTokensDetails").items():
        into[name] += count
    text_read = cached - sum(read.values())
    for name in _MEDIA if not any(read.values()) else ():  # it does not say what was cached: text first
        beyond = max(0, text_read - (prompt + tools - sum(into.values())))
        read[name] = min(into[name], beyond)
        text_read -= read[name]
    out = _by_modality(report, "candidatesTokensDetails")
    other: dict[str, int] = {}
    if any((*into.values(), *read.values(), *out.values())):
        other = {f"input_{name}_tokens": into[name] - read[name] for name in _MEDIA}
        other |= {f"cache_read_{name}_tokens": read[name] for name in _MEDIA}
        other |= {f"output_{name}_tokens": out[name] for name in _MEDIA}
    usage = Usage(
        input_tokens=prompt + tools - sum(into.values()) - text_read,
        cache_read_tokens=text_read,
        output_tokens=answered - sum(out.values()),
        reasoning_tokens=thoughts,
        other={name: count for name, count in other.items() if count},
        unknown={name: count for name, count in unknown_counts(report, _KNOWN).items() if count},
    )
    return believable(usage)


def _by_modality(report: UsageReport, name: str) -> dict[str, int]:
    """Read the tokens of images, video and audio from a list of details; text and documents are the rest."""
    counts: dict[str, int] = dict.fromkeys(_MEDIA, 0)
    told = report.get(name)
    if told is None:
        return counts
    try:
        details = msgspec.convert(told, list[UsageReport])
    except msgspec.ValidationError as error:
        raise UsageContradiction(f"usage field {name}: {error}") from None
    for detail in details:
        modality = str(detail.get("modality")).lower()
        if modality in counts:
            counts[modality] += count_of(detail, "tokenCount")
    return counts


def report_of(usage: Usage) -> UsageReport:
    """Write usage the way `usageMetadata` does: of what is 0, only the main counts."""
    other = usage.other
    fresh = {name: other.get(f"input_{name}_tokens", 0) for name in _MEDIA}
    read = {name: other.get(f"cache_read_{name}_tokens", 0) for name in _MEDIA}
    out = {name: other.get(f"output_{name}_tokens", 0) for name in _MEDIA}
    cached = usage.cache_read_tokens + sum(read.values())
    answered = usage.output_total - usage.reasoning_tokens
    report: UsageReport = {
        "promptTokenCount": usage.input_total,
        "candidatesTokenCount": answered,
        "totalTokenCount": usage.input_total + usage.output_total,
        "promptTokensDetails": _details(usage.input_total, {name: fresh[name] + read[name] for name in _MEDIA}),
    }
    if cached:
        report["cachedContentTokenCount"] = cached
        report["cacheTokensDetails"] = _details(cached, read)
    if any(out.values()):
        report["candidatesTokensDetails"] = _details(answered, out)
    if usage.reasoning_tokens:
        report["thoughtsTokenCount"] = usage.reasoning_tokens
    return report


def _details(total: int, media: Mapping[str, int]) -> list[dict[str, Any]]:
    counts = {"text": total - sum(media.values()), **media}
    return [{"modality": name.upper(), "tokenCount": count} for name, count in counts.items() if count]
