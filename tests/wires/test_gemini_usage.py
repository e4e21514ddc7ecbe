"""Gemini's reports of usage: each token is counted once, and a report that contradicts itself is not believed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.gemini import GEMINI
from bursar.wires.gemini_usage import report_of, usage_from_report

PUBLISHED: dict[str, tuple[dict[str, Any], Usage]] = {
    "text": (
        {
            "promptTokenCount": 4,
            "candidatesTokenCount": 715,
            "totalTokenCount": 719,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 715}],
        },
        Usage(4, output_tokens=715),
    ),
    "thoughts beside the answer": (
        {"promptTokenCount": 16, "candidatesTokenCount": 2, "totalTokenCount": 1_218, "thoughtsTokenCount": 1_200},
        Usage(16, output_tokens=2, reasoning_tokens=1_200),
    ),
    "thoughts of which only the total tells": (
        {"promptTokenCount": 16, "candidatesTokenCount": 2, "totalTokenCount": 1_218},
        Usage(16, output_tokens=2, reasoning_tokens=1_200),
    ),
    "nothing but thoughts": (
        {"promptTokenCount": 16, "totalTokenCount": 116, "thoughtsTokenCount": 100},
        Usage(16, reasoning_tokens=100),
    ),
    "cached within the prompt": (
        {
            "promptTokenCount": 2_152,
            "cachedContentTokenCount": 2_027,
            "candidatesTokenCount": 10,
            "totalTokenCount": 2_162,
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 2_027}],
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2_152}],
        },
        Usage(125, 2_027, output_tokens=10),
    ),
    "every modality, cached and fresh": (
        {
            "promptTokenCount": 1_000,
            "cachedContentTokenCount": 300,
            "candidatesTokenCount": 50,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 100},
                {"modality": "AUDIO", "tokenCount": 400},
                {"modality": "IMAGE", "tokenCount": 258},
                {"modality": "VIDEO", "tokenCount": 200},
                {"modality": "DOCUMENT", "tokenCount": 42},
            ],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 250}, {"modality": "TEXT", "tokenCount": 50}],
            "candidatesTokensDetails": [
                {"modality": "IMAGE", "tokenCount": 40},
                {"modality": "TEXT", "tokenCount": 10},
            ],
        },
        Usage(
            92,
            50,
            output_tokens=10,
            other={
                "input_image_tokens": 258,
                "input_video_tokens": 200,
                "input_audio_tokens": 150,
                "cache_read_audio_tokens": 250,
                "output_image_tokens": 40,
            },
        ),
    ),
    "cached, and not said what": (
        {
            "promptTokenCount": 500,
            "cachedContentTokenCount": 450,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 400}],
        },
        Usage(0, 100, other={"input_audio_tokens": 50, "cache_read_audio_tokens": 350}),
    ),
    "what tools put into the prompt": (
        {
            "promptTokenCount": 20,
            "toolUsePromptTokenCount": 9_000,
            "candidatesTokenCount": 30,
            "totalTokenCount": 9_050,
            "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 9_000}],
        },
        Usage(9_020, output_tokens=30),
    ),
    "a name not known here": (
        {"promptTokenCount": 20, "candidatesTokenCount": 30, "novelTokenCount": 7, "trafficType": "ON_DEMAND"},
        Usage(20, output_tokens=30, unknown={"novelTokenCount": 7}),
    ),
}


@pytest.mark.parametrize(("report", "usage"), PUBLISHED.values(), ids=PUBLISHED)
def test_each_token_of_a_report_is_counted_once(report: dict[str, Any], usage: Usage) -> None:
    assert usage_from_report(report) == usage


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"candidatesTokenCount": 5},
        {"promptTokenCount": None},
        {"promptTokenCount": -1},
        {"promptTokenCount": True},
        {"promptTokenCount": "5"},
        {"promptTokenCount": 5, "cachedContentTokenCount": 6},
        {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}]},
        {"promptTokenCount": 5, "promptTokensDetails": {"modality": "AUDIO"}},
        {"promptTokenCount": 5, "promptTokensDetails": ["AUDIO"]},
        {
            "promptTokenCount": 5,
            "candidatesTokenCount": 1,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 2}],
        },
        {"promptTokenCount": 10**9 + 1},
        {"promptTokenCount": 5, "thoughtsTokenCount": 2**63},
    ],
)
def test_a_report_that_contradicts_itself_is_not_believed(report: dict[str, Any]) -> None:
    with pytest.raises(UsageContradiction):
        usage_from_report(report)
    answer = GEMINI.answer(msgspec.json.encode({"usageMetadata": report}))
    assert answer.usage is None
    assert answer.note or not report


counts = st.integers(0, 100_000)
LEAVES = [f"{side}_{name}_tokens" for side in ("input", "cache_read", "output") for name in ("audio", "image", "video")]
usages = st.builds(
    Usage,
    counts.filter(bool),
    counts,
    output_tokens=counts,
    reasoning_tokens=counts,
    other=st.dictionaries(st.sampled_from(LEAVES), counts.filter(bool)),
)


@given(usages)
def test_usage_written_as_a_report_is_read_as_the_same(usage: Usage) -> None:
    assert usage_from_report(report_of(usage)) == usage
    assert usage_from_report(msgspec.json.decode(msgspec.json.encode(report_of(usage)))) == usage
