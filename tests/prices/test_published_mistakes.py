"""Bills that other gateways got wrong in public cost here what the provider billed."""

import json
from typing import Any

import pytest

from bursar.core.money import usd_to_nano
from bursar.core.times import moment_from_text
from bursar.prices import load
from bursar.prices.charge import charge, total
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES

TODAY = moment_from_text("2026-11-21T12:00Z")

# What was billed is derived by hand from Anthropic's published rates, each token once. Logged there: 0.002059 USD
# (BerriAI/litellm #11789, a stream whose cached tokens were taken for plain input) and 0.047080 USD (#11364).
MISTAKES = [
    (
        "claude-3-5-haiku-20241022",
        {"input_tokens": 4, "cache_read_input_tokens": 2_455, "cache_creation_input_tokens": 0, "output_tokens": 23},
        "0.0002916",
    ),
    (
        "claude-opus-4-5-20251101",
        {
            "input_tokens": 10,
            "cache_read_input_tokens": 66_360,
            "cache_creation_input_tokens": 32_435,
            "output_tokens": 5_120,
        },
        "0.36394875",
    ),
]


@pytest.mark.parametrize(("model", "report", "billed_usd"), MISTAKES)
def test_cached_tokens_are_counted_once_whole_and_in_a_stream(
    model: str, report: dict[str, Any], billed_usd: str
) -> None:
    card = load().find("anthropic", model).at(TODAY)
    whole = ANTHROPIC_MESSAGES.answer(json.dumps({"model": model, "content": [], "usage": report}).encode())
    reader = ANTHROPIC_MESSAGES.reader()
    start = {"type": "message_start", "message": {"model": model, "usage": report | {"output_tokens": 1}}}
    for event in (start, {"type": "message_delta", "delta": {}, "usage": report}, {"type": "message_stop"}):
        reader.see(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n")
    for answer in (whole, reader.answer()):
        assert answer.usage is not None
        assert total(charge(answer.usage, card)) == usd_to_nano(billed_usd)
