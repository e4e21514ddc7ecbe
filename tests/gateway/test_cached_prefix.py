"""What changing a prompt's beginning costs is weighed by the targets a call may go to, the worst of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bursar.core.records import Protocol, Traits
from bursar.gateway.cached import weigh_for
from bursar.gateway.config import parse_config
from bursar.gateway.outbox import Outbox
from bursar.gateway.routes import Candidate, Routes
from bursar.prices import load
from bursar.prices.book import with_prices
from bursar.savings.compress.prefix import Change, Verdict, pays

NOW_US = 1_795_000_000_000_000  # 2026-11-18
CONFIG: dict[str, Any] = {
    "providers": {
        "openai": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "prices": "openai"},
        "claude": {"kind": "anthropic", "base_url": "http://127.0.0.1:1/v1", "prices": "anthropic"},
    },
    "models": {
        "gpt": {"targets": ["openai/gpt-4o"]},
        "claude": {"targets": ["claude/claude-sonnet-4-5"]},
        "plain": {"targets": ["openai/mine"], "price": {"input": "1", "output": "2"}},
        "free": {"targets": ["openai/mine"], "price": "free"},
    },
}
EARLY = Change(tokens=40_000, held=38_000, begins=2_000, removed=12_000)
MARKED, HOUR = Traits(writes_cache_5m=True), Traits(writes_cache_1h=True)


def candidates(*models: str) -> Sequence[Candidate]:
    async def find() -> list[Candidate]:
        config = parse_config(CONFIG)
        outbox = Outbox(asyncio.get_running_loop())
        routes = Routes(config, with_prices(load(), config.prices), lambda name: name, outbox)
        return [each for model in models for each in routes.find(model, Protocol.openai_chat)]

    return asyncio.run(find())


def verdict(*models: str, traits: Traits = Traits(), calls: int = 10) -> Verdict:  # noqa: B008 - it is frozen
    return weigh_for(candidates(*models), traits, NOW_US)(EARLY, calls)


@pytest.mark.parametrize(
    ("model", "traits", "calls", "worth"),
    [
        ("gpt", Traits(), 10, True),  # read at half
        ("gpt", Traits(), 1, False),
        ("claude", Traits(), 1, True),  # nothing is marked, so nothing is held
        ("claude", MARKED, 10, False),  # read at a tenth, written at 1.25 times
        ("claude", MARKED, 60, True),
        ("claude", HOUR, 35, False),  # written at twice the price
        ("claude", MARKED, 35, True),
        ("plain", Traits(), 1, True),  # its price knows no cache
        ("free", Traits(), 1, True),
    ],
)
def test_what_a_target_charges_decides(model: str, traits: Traits, calls: int, worth: bool) -> None:
    assert pays(verdict(model, traits=traits, calls=calls)) is worth


def test_of_several_targets_the_one_it_pays_least_for_decides() -> None:
    assert verdict("gpt", "claude", traits=MARKED) == verdict("claude", traits=MARKED)
    assert pays(verdict("gpt"))
    assert not pays(verdict("plain", "gpt", "claude", traits=MARKED))
