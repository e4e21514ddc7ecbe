"""The plan of a call: levers as flows, and the most it can cost."""

import asyncio
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from bursar.core.errors import Unmetered
from bursar.core.records import Assignment
from bursar.gateway.outbox import Outbox
from bursar.gateway.plan import LEVERS, Plan, drive, make_plan, quote_plan
from bursar.gateway.provider import Provider
from bursar.gateway.routes import Candidate, Upstream
from bursar.prices import load
from bursar.prices.file import read_model_price
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.wire import Facts

CAPPED = Assignment("cap", "treatment")
PRICE = {"input": "1.00", "output": "10.00", "cache_read": "0.10"}


def facts_of(**fields: Any) -> Facts:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | fields
    return OPENAI_CHAT.facts(msgspec.json.encode(body))


async def candidate(name: str = "m", price: Any = PRICE) -> Candidate:
    provider = Provider(kind="openai", base_url="http://127.0.0.1:1/v1")
    upstream = Upstream("p", provider, provider.base_url, Outbox(asyncio.get_running_loop()))
    return Candidate(upstream, OPENAI_CHAT, name, read_model_price(price, "p", name, "models.m.price"))


def lever_that_caps(facts: Facts, plan: Plan) -> Generator[Any, Any, Plan]:
    cap = yield "how many tokens did calls like this use?"
    return msgspec.structs.replace(plan, output_cap=cap, arms=plan.arms | {"cap": CAPPED})


def test_without_levers_a_plan_asks_for_nothing() -> None:
    assert LEVERS == ()
    assert drive(make_plan(facts_of(max_tokens=5), (), 4_096)) == Plan((), 5)
    assert drive(make_plan(facts_of(), (), 4_096)) == Plan((), 4_096)


def test_a_lever_asks_and_changes_the_plan_and_the_next_sees_it() -> None:
    flow = make_plan(facts_of(), (), 4_096, [lever_that_caps, lever_that_caps])
    assert next(flow) == "how many tokens did calls like this use?"
    flow.send(100)
    with pytest.raises(StopIteration) as end:
        flow.send(50)
    assert end.value.value == Plan((), 50, {"cap": CAPPED})


def test_a_wish_nobody_answers_is_a_programmers_error() -> None:
    with pytest.raises(TypeError, match="nobody here answers the wish str"):
        drive(make_plan(facts_of(), (), 4_096, [lever_that_caps]))


async def test_a_quote_bounds_the_input_by_its_bytes_and_the_output_by_its_cap() -> None:
    facts = facts_of(max_tokens=100)
    plan = Plan((await candidate(),), 100)
    quote = quote_plan(facts, plan, 0)
    assert quote.cost() == facts.text_bytes * 1_000 + 100 * 10_000
    assert quote.cost(40) == facts.text_bytes * 1_000 + 40 * 10_000
    assert (quote.input_tokens, quote.output_tokens) == (facts.text_bytes, 100)


async def test_every_choice_and_every_predicted_byte_is_quoted() -> None:
    plan = Plan((await candidate(),), 100)
    three = facts_of(n=3)
    assert quote_plan(three, plan, 0).cost() == three.text_bytes * 1_000 + 300 * 10_000
    predicted = facts_of(prediction={"type": "content", "content": "x" * 500})
    more = quote_plan(predicted, plan, 0).cost() - predicted.text_bytes * 1_000 - 100 * 10_000
    assert more >= 500 * 10_000


async def test_of_several_candidates_the_dearest_is_quoted() -> None:
    facts = facts_of()
    cheap, dear = await candidate(), await candidate(price={"input": "2.00", "output": "5.00"})
    quotes = [quote_plan(facts, Plan((each,), 100), 0).cost() for each in (cheap, dear)]
    assert quote_plan(facts, Plan((cheap, dear), 100), 0).cost() == max(quotes)
    assert quotes[0] != quotes[1]


async def test_what_nothing_bounds_is_refused() -> None:
    audio = [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
    facts = facts_of(messages=[{"role": "user", "content": audio}])
    with pytest.raises(Unmetered, match="nothing bounds the tokens") as caught:
        quote_plan(facts, Plan((await candidate(),), 100), 0)
    assert caught.value.code == "unmetered"


@pytest.mark.parametrize(("tier", "priced"), [("auto", True), ("default", True), ("flex", False), ("platinum", False)])
async def test_a_service_tier_is_quoted_where_it_has_a_price(tier: str, priced: bool) -> None:
    facts, plan = facts_of(service_tier=tier), Plan((await candidate(),), 100)
    if priced:
        assert quote_plan(facts, plan, 0).cost() > 0
        return
    with pytest.raises(Unmetered) as caught:
        quote_plan(facts, plan, 0)
    assert caught.value.param == "service_tier"


async def test_a_free_model_is_quoted_as_nothing() -> None:
    assert quote_plan(facts_of(), Plan((await candidate(price="free"),), 4_096), 0).cost() == 0


async def test_a_speed_is_quoted_where_it_has_a_price() -> None:
    plan = Plan((await candidate(),), 100)
    assert quote_plan(msgspec.structs.replace(facts_of(), speed="standard"), plan, 0).cost() > 0
    with pytest.raises(Unmetered, match="no price for speed 'fast'") as caught:
        quote_plan(msgspec.structs.replace(facts_of(), speed="fast"), plan, 0)
    assert caught.value.param == "speed"


async def test_a_longer_context_asked_for_by_header_is_quoted_at_the_rates_beyond_the_models_own() -> None:
    found = await candidate(price=PRICE)
    price = msgspec.structs.replace(load().find("anthropic", "claude-sonnet-4-5"), provider="p")
    own = Plan((Candidate(found.upstream, found.wire, "claude-sonnet-4-5", price),), 100)
    facts = facts_of(messages=[{"role": "user", "content": "x" * 900_000}])
    assert quote_plan(facts, own, 0).cost() < 200_000 * 3_750 + 100 * 15_000 + 1_000
    most = quote_plan(facts, own, 0, b"anthropic-beta: context-1m-2025-08-07\r\n").cost()
    assert most >= facts.text_bytes * 7_500 + 100 * 22_500
