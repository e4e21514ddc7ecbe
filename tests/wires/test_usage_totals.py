"""Every usage we report adds up by itself: a total is its parts, and what is included in a count is not above it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.wires.protocols import TEXT_WIRES

counts = st.integers(0, 2**40)
usages = st.builds(Usage, counts, counts, counts, counts, counts, counts)


def chat(report: dict[str, Any]) -> tuple[int, int]:
    assert report["total_tokens"] == report["prompt_tokens"] + report["completion_tokens"]
    details = report["prompt_tokens_details"]
    assert details["cached_tokens"] + details.get("cache_write_tokens", 0) <= report["prompt_tokens"]
    assert report["completion_tokens_details"]["reasoning_tokens"] <= report["completion_tokens"]
    return report["prompt_tokens"], report["completion_tokens"]


def messages(report: dict[str, Any]) -> tuple[int, int]:
    written = report["cache_creation_input_tokens"]
    assert written == sum(report["cache_creation"].values())
    assert report.get("output_tokens_details", {}).get("thinking_tokens", 0) <= report["output_tokens"]
    return report["input_tokens"] + report["cache_read_input_tokens"] + written, report["output_tokens"]


def responses(report: dict[str, Any]) -> tuple[int, int]:
    assert report["total_tokens"] == report["input_tokens"] + report["output_tokens"]
    assert report["input_tokens_details"]["cached_tokens"] <= report["input_tokens"]
    assert report["output_tokens_details"]["reasoning_tokens"] <= report["output_tokens"]
    return report["input_tokens"], report["output_tokens"]


def gemini(report: dict[str, Any]) -> tuple[int, int]:
    output = report.get("candidatesTokenCount", 0) + report.get("thoughtsTokenCount", 0)
    assert report["totalTokenCount"] == report["promptTokenCount"] + output
    assert report.get("cachedContentTokenCount", 0) <= report["promptTokenCount"]
    return report["promptTokenCount"], output


READ = {
    Protocol.openai_chat: chat,
    Protocol.anthropic_messages: messages,
    Protocol.openai_responses: responses,
    Protocol.gemini: gemini,
}


@pytest.mark.parametrize("protocol", TEXT_WIRES)
@given(usage=usages)
def test_total_is_prompt_and_completion_in_every_report(protocol: Protocol, usage: Usage) -> None:
    report = TEXT_WIRES[protocol].usage_report(usage)
    assert READ[protocol](report) == (usage.input_total, usage.output_total)
