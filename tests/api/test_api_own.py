"""A key asks about itself, from anywhere, and is told of nothing that is another's."""

import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from bursar.api.plan import Planner, plan_cost
from bursar.api.shapes.own import PlanRequest
from bursar.budgets.budget import UNLIMITED
from bursar.core.money import nano_to_usd
from bursar.prices import load
from bursar.prices.price import Rate, RateCard, Source, with_parents
from bursar.store.database import Connection
from bursar.store.keys import Scope, create_key
from tests.asking import Answer, ask_and_wait, fetch

_numbers = itertools.count(1)
PER_USD = 1_000_000_000
OWN = '[providers.own]\nkind = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'
RATES = {"input_tokens": Rate(PER_USD), "cache_read_tokens": Rate(PER_USD // 10), "output_tokens": Rate(4 * PER_USD)}
CARD = RateCard("made up", with_parents(RATES), 2**62, Source("", ""))


@pytest.fixture
def name() -> str:
    return f"own-{next(_numbers)}"


def own(local: LocalBursar, secret: str, path: str, body: Any = None, **headers: str) -> Answer:
    given = {"authorization": f"Bearer {secret}"} | headers
    if body is None:
        return fetch(local, "GET", f"/api/own/{path}", **given)
    return fetch(local, "POST", f"/api/own/{path}", json.dumps(body).encode(), content_type="application/json", **given)


def plan(local: LocalBursar, secret: str, **fields: Any) -> Any:
    answer = own(local, secret, "plan", fields)
    assert answer.status == 200, answer.body
    return answer.json()


def test_a_key_sees_every_limit_above_its_calls(shared_bursar: LocalBursar, name: str) -> None:
    shared_bursar.command("budget", "create", f"{name}-team", "3.00/month")
    runs = (f"{name}-runs", "0.50", "--each", "run", "--parent", f"{name}-team")
    shared_bursar.command("budget", "create", *runs)
    secret = shared_bursar.create_key(name, "5.00/day", "100 requests/minute", parent=f"{name}-team")
    call_id = ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    cost = Decimal(fetch(shared_bursar, "GET", f"/api/calls/{call_id}").json()["cost_usd"])
    found = own(shared_bursar, secret, "budget").json()
    assert [(each["name"], each["limit"], each["unit"]) for each in found["limits"]] == [
        (name, "5.00/day", "USD"),
        (name, "100 requests/minute", "requests"),
        (f"{name}-team", "3.00/month", "USD"),
    ]
    assert (found["key"], found["frozen_by"], Decimal(found["left_usd"])) == (name, None, 3 - cost)
    assert found["limits"][0]["resets_at"].endswith("T00:00:00+00:00")
    of_run = own(shared_bursar, secret, f"budget?run={name}").json()
    assert of_run["limits"][-1]["name"] == f"{name}-runs/{name}"
    assert (Decimal(of_run["left_usd"]), of_run["limits"][-1]["resets_at"]) == (Decimal("0.5") - cost, None)
    shared_bursar.command("budget", "freeze", f"{name}-team")
    assert own(shared_bursar, secret, "budget").json()["frozen_by"] == f"{name}-team"


def test_of_a_run_of_several_keys_each_sees_its_own(shared_bursar: LocalBursar, name: str) -> None:
    mine, theirs = (shared_bursar.create_key(f"{name} {who}", "1.00") for who in ("mine", "theirs"))
    top = ask_and_wait(shared_bursar, mine, x_bursar_run=name)
    below = ask_and_wait(shared_bursar, theirs, x_bursar_run=name, x_bursar_parent=top)
    for secret, place in ((mine, "mine"), (theirs, "theirs")):
        told = {"id": f"{name} {place}", "run": name}
        charge = json.dumps(told | {"kind": "tool", "amount_usd": "0.10"}).encode()
        outcome = json.dumps(told | {"kind": "thumbs", "value": True}).encode()
        for path, body in (("charges", charge), ("outcomes", outcome)):
            bearer = {"authorization": f"Bearer {secret}", "content_type": "application/json"}
            assert fetch(shared_bursar, "POST", f"/api/{path}", body, **bearer).status == 201
    found = own(shared_bursar, mine, f"runs/{name}").json()
    assert ([node["id"] for node in found["tree"]], found["calls"], found["charges_usd"]) == ([top], 1, "0.10")
    assert ([each["id"] for each in found["charges"]], [each["id"] for each in found["outcomes"]]) == (
        [f"{name} mine"],
        [f"{name} mine"],
    )
    assert [node["id"] for node in own(shared_bursar, theirs, f"runs/{name}").json()["tree"]] == [below]
    assert fetch(shared_bursar, "GET", f"/api/runs/{name}").json()["calls"] == 2
    third = shared_bursar.create_key(f"{name} third", "1.00")
    for run in (name, "nobody ran this".replace(" ", "%20"), "%00"):
        assert own(shared_bursar, third, f"runs/{run}").status == 404


def test_it_is_asked_from_anywhere_with_a_key_and_from_nowhere_without(shared_bursar: LocalBursar, name: str) -> None:
    secret = shared_bursar.create_key(name, "1.00")
    assert own(shared_bursar, secret, "budget", host="bursar.example").json()["key"] == name
    for wrong in ("bk_" + "x" * 43, "ba_" + "x" * 43, ""):
        assert own(shared_bursar, wrong, "budget", host="bursar.example").status == 401
    elsewhere = shared_bursar.create_key(f"{name} bound", "1.00", addresses=["10.0.0.0/8"])
    for path, body in (("budget", None), ("runs/x", None), ("plan", {"input_tokens": 1})):
        refused = own(shared_bursar, elsewhere, path, body).json()
        assert refused["extra"]["code"] == "address_not_allowed"


def test_an_outcome_is_told_from_anywhere_too(shared_bursar: LocalBursar, name: str) -> None:
    secret = shared_bursar.create_key(name, "1.00")
    ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    body = json.dumps({"id": name, "run": name, "kind": "thumbs", "value": True}).encode()
    bearer = {"authorization": f"Bearer {secret}", "content_type": "application/json", "host": "bursar.example"}
    assert fetch(shared_bursar, "POST", "/api/outcomes", body, **bearer).status == 201


def test_a_plan_costs_what_the_calls_will(shared_bursar: LocalBursar, name: str) -> None:
    secret = shared_bursar.create_key(name, "1.00")
    call_id = ask_and_wait(shared_bursar, secret, "[[output=25]] hello")
    call = fetch(shared_bursar, "GET", f"/api/calls/{call_id}").json()
    tokens = call["usage"]["input_tokens"]
    found = plan(shared_bursar, secret, input_tokens=tokens, output_tokens=25, models=["gpt-4o-mini"])
    price = found["prices"][0]
    assert price["target"] == "sandbox/gpt-4o-mini"
    assert (price["cost_usd"], price["cached_usd"]) == (call["cost_usd"], call["cost_usd"])
    assert (price["input_tokens"], price["counted"], price["error_pct"]) == (tokens, "as given", None)


def test_every_model_the_key_may_use_is_priced_the_cheapest_first(shared_bursar: LocalBursar, name: str) -> None:
    secret = shared_bursar.create_key(name, "1.00", models=["gpt-4o-mini", "gpt-4o"])
    found = plan(shared_bursar, secret, input_tokens=10_000, output_tokens=500, shared_tokens=8_000, calls=10)
    assert [each["model"] for each in found["prices"]] == ["gpt-4o-mini", "gpt-4o"]
    assert [(each["cost_usd"], each["cached_usd"]) for each in found["prices"]] == snapshot(
        [("0.018", "0.0126"), ("0.30", "0.21")]
    )
    named = plan(shared_bursar, secret, input_tokens=1, models=["claude-haiku-4-5", "gpt-4o", "gpt-4o-minni"])
    assert [each["model"] for each in named["prices"]] == ["gpt-4o"]
    assert [each["code"] for each in named["left_out"]] == ["out_of_scope", "out_of_scope"]
    everything = shared_bursar.create_key(f"{name} all", "1.00")
    unknown = plan(shared_bursar, everything, input_tokens=1, models=["gpt-4o-minni", "sandbox/nobody"])
    assert [each["code"] for each in unknown["left_out"]] == ["model_not_found", "unpriced"]
    assert "near: gpt-4o-mini" in unknown["left_out"][0]["why"]


def test_a_text_is_counted_for_each_model(shared_bursar: LocalBursar, name: str) -> None:
    secret = shared_bursar.create_key(name, "1.00")
    found = plan(shared_bursar, secret, text="The quick brown fox jumps over the lazy dog.", models=["gpt-4o-mini"])
    assert (found["prices"][0]["input_tokens"], found["prices"][0]["counted"]) == (10, "exact, by o200k_base")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input_tokens"),
        ({"input_tokens": 1, "text": "x"}, "input_tokens"),
        ({"input_tokens": 1, "shared_tokens": 2}, "shared_tokens"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"input_tokens": 1, "calls": 0}, "calls"),
        ({"input_tokens": 1, "models": ["x"] * 51}, "models"),
        ({"input_tokens": 1, "colour": "red"}, "colour"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_its_field(
    shared_bursar: LocalBursar, own_secret: str, fields: dict[str, Any], param: str
) -> None:
    answer = own(shared_bursar, own_secret, "plan", fields)
    assert answer.status == 400
    assert param in answer.body.decode()


@pytest.fixture(scope="module")
def own_secret(shared_bursar: LocalBursar) -> str:
    return shared_bursar.create_key("own-refused", "1.00")


def test_the_shared_part_is_written_once_and_read_by_the_others() -> None:
    request = PlanRequest(input_tokens=1_000, output_tokens=100, shared_tokens=600, calls=3)
    fresh, cached = plan_cost(request, 1_000, CARD)
    assert (nano_to_usd(fresh), nano_to_usd(cached)) == ("0.0042", "0.00312")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 1_000))
def test_a_cheaper_read_never_makes_a_plan_dearer(prompt: int, shared: int, answer: int, calls: int) -> None:
    request = PlanRequest(input_tokens=prompt, output_tokens=answer, shared_tokens=shared, calls=calls)
    fresh, cached = plan_cost(request, prompt, CARD)
    assert cached <= fresh
    assert plan_cost(msgspec.structs.replace(request, shared_tokens=0), prompt, CARD) == (fresh, fresh)


async def test_a_plan_goes_by_the_configuration_as_it_is_now(connection: Connection, tmp_path: Path) -> None:
    def write(usd: str) -> None:
        config.write_text(
            f'[models.small]\ntargets = ["own/small"]\nprice = {{ input = "{usd}", output = "1" }}\n{OWN}'
        )

    config, prices = tmp_path / "bursar.toml", tmp_path / "prices.msgpack"
    prices.write_bytes(msgspec.msgpack.encode(load()))
    key, _ = await create_key(connection, "plan", UNLIMITED, Scope(), 1)
    planner, request = Planner(config, prices), PlanRequest(input_tokens=1_000_000)
    for usd in ("0.50", "0.25"):
        write(usd)
        async with asyncpg.create_pool(min_size=0) as nobody:  # nothing is counted, so the books are not asked
            found = await planner.price(nobody, key, request, 1)
        assert [(each.model, each.cost_usd) for each in found.prices] == [("small", usd)]


def test_what_a_key_may_not_do_to_itself_is_no_method(shared_bursar: LocalBursar, own_secret: str) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        for path in ("budget", "plan", "runs/x"):
            bearer = {"authorization": f"Bearer {own_secret}", "host": "bursar.example"}
            assert fetch(shared_bursar, method, f"/api/own/{path}", b"{}", **bearer).status == 405
