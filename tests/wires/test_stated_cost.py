"""What a provider says a call cost is read wherever it says so, exactly, and what is no cost is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.money import nano_to_usd
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.stated_cost import stated_in, stated_nano

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("cost", "total_cost", "estimated_cost", "cost_in_usd_ticks", "is_byok", "cost_details")


@pytest.mark.parametrize(
    ("report", "nano"),
    [
        ({"cost": 0.00123}, 1_230_000),  # OpenRouter
        ({"cost": 0.00123, "cost_details": {"upstream_inference_cost": 0.00123}}, 1_230_000),
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, 1_050_000_000),
        ({"cost": 0.05, "is_byok": False, "cost_details": {"upstream_inference_cost": 1}}, 50_000_000),
        ({"cost": 0.05, "is_byok": True, "cost_details": None}, 50_000_000),
        ({"cost": {"input_tokens_cost": 0.1, "request_cost": 0.005, "total_cost": 0.105}}, 105_000_000),  # Perplexity
        ({"cost": {"input_tokens_cost": 0.1}}, -1),
        ({"estimated_cost": 2.5e-6}, 2_500),  # DeepInfra
        ({"total_cost": 1}, 1_000_000_000),
        ({"cost_in_usd_ticks": 37_756_000}, 3_775_600),  # xAI
        ({"cost_in_usd_ticks": 5}, 0),  # half of a nano-dollar goes to the even neighbour
        ({"cost_in_usd_ticks": 15}, 2),
        ({"cost": 0}, 0),  # zero is not missing
        ({"cost": None, "total_cost": 2}, 2_000_000_000),
        ({"cost": "0.1"}, 100_000_000),
        ({"cost": "a lot"}, -1),
        ({"cost": True}, -1),
        ({"cost": -0.1}, -1),
        ({"cost": 1e300}, -1),
        ({"costs": 3}, -1),
        ({}, -1),
    ],
)
def test_a_stated_cost_is_read_where_the_provider_puts_it(report: dict[str, Any], nano: int) -> None:
    assert stated_nano(json.dumps(report).encode()) == nano
    assert stated_in(report) == nano


@given(st.integers(0, 10**15))
def test_every_amount_the_books_can_write_is_read_exactly(nano: int) -> None:
    assert stated_nano(b'{"cost":' + nano_to_usd(nano).encode() + b"}") == nano


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_stands_there_is_a_cost_or_none(report: dict[str, Any]) -> None:
    assert stated_nano(json.dumps(report).encode()) >= -1


@pytest.mark.parametrize("stream", [False, True])
def test_either_protocol_keeps_it_in_whole_answers_and_in_streams(stream: bool) -> None:
    more = {"cost": 0.5, "cost_details": {"upstream_inference_cost": 0.4}}
    chat = {"prompt_tokens": 3, "completion_tokens": 1} | more
    message = {"input_tokens": 3, "output_tokens": 1} | more
    if stream:
        reader, other = OPENAI_CHAT.reader(), ANTHROPIC_MESSAGES.reader()
        reader.see(b"data: " + json.dumps({"choices": [], "usage": chat}).encode() + b"\n\n")
        other.see(b"data: " + json.dumps({"type": "message_start", "message": {"usage": message}}).encode() + b"\n\n")
        answers = [reader.answer(), other.answer()]
    else:
        answers = [
            OPENAI_CHAT.answer(json.dumps({"choices": [], "usage": chat}).encode()),
            ANTHROPIC_MESSAGES.answer(json.dumps({"content": [], "usage": message}).encode()),
        ]
    assert [answer.reported_cost_nano for answer in answers] == [500_000_000] * 2
    assert [answer.usage.unknown for answer in answers if answer.usage] == [{}, {}]
