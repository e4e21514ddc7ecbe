"""A call is translated for each model it may go to, in the words that model knows."""

import asyncio
from typing import Any

import msgspec
import pytest

from bursar.core.errors import BadRequest
from bursar.core.records import Call, Protocol, Segments
from bursar.gateway.config import parse_config
from bursar.gateway.outbox import Outbox
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate, Routes
from bursar.gateway.translation import translate_call
from bursar.prices import load
from bursar.wires.openai_chat import OPENAI_CHAT

HOUSE: Any = {
    "providers": {
        "openai": {"kind": "openai", "base_url": "https://api.openai.com/v1"},
        "anthropic": {"kind": "anthropic", "base_url": "https://api.anthropic.com/v1"},
    },
    "models": {
        "thinker": {"targets": ["anthropic/claude-opus-4-6", "anthropic/claude-haiku-4-5", "openai/gpt-4o"]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
    },
}


async def passage_to(model: str, **fields: Any) -> tuple[Passage, tuple[Candidate, ...]]:
    message = {"role": "user", "content": "Hi"}
    body = msgspec.json.encode({"model": model, "messages": [message], "max_tokens": 2_000} | fields)
    routes = Routes(
        parse_config(HOUSE), load(), lambda _name: "http://127.0.0.1:1/v1", Outbox(asyncio.get_running_loop())
    )
    call = Call(bytes(16), 0, "key", Protocol.openai_chat, model, False, 0, Segments())
    passage = Passage(OPENAI_CHAT, call, OPENAI_CHAT.facts(body), body, b"")
    return passage, routes.find(model, Protocol.openai_chat)


async def test_each_model_gets_a_body_of_its_own() -> None:
    passage, candidates = await passage_to("thinker", reasoning_effort="low")
    assert translate_call(passage, candidates, 4_000) == candidates
    newer, older, same = (msgspec.json.decode(passage.body_for(each)) for each in candidates)
    assert (newer["thinking"], newer["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})
    assert older["thinking"] == {"type": "enabled", "budget_tokens": 1_024}
    assert passage.body_for(candidates[2]) == passage.body
    assert same["model"] == "thinker"
    assert [passage.facts_for(each).model for each in candidates] == ["claude-opus-4-6", "claude-haiku-4-5", "thinker"]


async def test_a_model_that_cannot_take_all_of_a_call_is_left_out() -> None:
    passage, candidates = await passage_to("thinker", seed=7)
    assert translate_call(passage, candidates, 4_000) == candidates[2:]
    passage, candidates = await passage_to("claude", seed=7)
    with pytest.raises(BadRequest, match="`seed` cannot be carried from openai_chat to anthropic_messages"):
        translate_call(passage, candidates, 4_000)
