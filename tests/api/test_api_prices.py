"""The API tells what models cost, how that came to be, and what work costs, as the command does to the digit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.harness import LocalBursar
from tests.asking import Answer, fetch
from tests.work import WORK

CONFIG = """
[providers.house]
kind = "openai"
base_url = "http://127.0.0.1:1/v1"

[providers.house.by_load]
metrics = "vllm"
places = 4

[models.big]
targets = ["house/big-1"]
price = { input = "1.00", output = "2.00" }

[models.mini]
targets = ["house/gpt-4o-mini"]

[[prices]]
provider = "house"
model = "gpt-4o-mini"
input = "0.15"
output = "0.70"

[[prices]]
provider = "house"
model = "gpt-4o-mini"
from = 2026-06-01
input = "0.12"
output = "0.60"
"""


@pytest.fixture(scope="module")
def priced() -> Any:
    local = LocalBursar(CONFIG)
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


def compare(local: LocalBursar, body: Any) -> Answer:
    return fetch(local, "POST", "/api/compare", json.dumps(body).encode(), content_type="application/json")


def test_prices_are_searched_ordered_and_given_in_stretches(shared_bursar: LocalBursar) -> None:
    whole = fetch(shared_bursar, "GET", "/api/prices?search=gpt-4o&order=input&limit=200").json()
    assert whole["total"] == len(whole["prices"]) > 5
    assert all("gpt-4o" in f"{each['provider']}/{each['model']}" for each in whole["prices"])
    part = fetch(shared_bursar, "GET", "/api/prices?search=gpt-4o&order=input&limit=2&offset=3").json()
    assert (part["prices"], part["total"], part["offset"]) == (whole["prices"][3:5], whole["total"], 3)
    served = fetch(shared_bursar, "GET", "/api/prices?served=true&limit=200").json()["prices"]
    assert "gpt-4o-mini" in [name for each in served for name in each["models"]]
    assert all(each["models"] for each in served)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "order=dear", "search=" + "x" * 201])
def test_what_is_out_of_bounds_is_refused(shared_bursar: LocalBursar, query: str) -> None:
    answer = fetch(shared_bursar, "GET", f"/api/prices?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.body.decode()


def test_the_operators_prices_are_those_that_are_shown(priced: LocalBursar) -> None:
    found = fetch(priced, "GET", "/api/prices?search=house").json()
    assert [(each["model"], each["is_own"], each["models"]) for each in found["prices"]] == [
        ("big-1", True, ["big"]),
        ("gpt-4o-mini", True, ["mini"]),
    ]
    one = fetch(priced, "GET", "/api/prices/house/gpt-4o-mini").json()
    assert one["price"]["usd_per_million"] == {"input": "0.12", "output": "0.60"}
    assert [(each["since"], each["change_percent"]) for each in one["history"]] == [
        (None, {}),
        ("2026-06-01", {"input": "-20.0", "output": "-14.3"}),
    ]
    assert one["example"] == {"calls": 1_000, "input_tokens": 2_000, "output_tokens": 500, "usd": "0.54"}
    assert one["spread"]["offers"][0]["name"] == "house/gpt-4o-mini"
    assert "openai/gpt-4o-mini" in [each["name"] for each in one["spread"]["offers"]]
    assert [each["when"] for each in one["conditions"]] == [
        "by load of house/gpt-4o-mini: 50 % on an idle server, as given at 60 %, 200 % on a full one"
    ]


def test_tiers_and_other_rates_are_said_in_words(shared_bursar: LocalBursar) -> None:
    one = fetch(shared_bursar, "GET", "/api/prices/openai/gpt-6-sol").json()
    assert "more than 272,000 input tokens, for the whole call" in [each["when"] for each in one["conditions"]]
    assert one["price"]["tiers"]["input"][0]["above_input_tokens"] == 272_000


def test_a_name_with_folders_is_one_name_and_an_unknown_one_is_not_there(shared_bursar: LocalBursar) -> None:
    one = fetch(shared_bursar, "GET", "/api/prices/openrouter/openai/gpt-4o").json()
    assert (one["price"]["provider"], one["price"]["model"]) == ("openrouter", "openai/gpt-4o")
    missing = fetch(shared_bursar, "GET", "/api/prices/openai/gpt-4oo")
    assert (missing.status, missing.json()["extra"]["code"]) == (404, "not_found")
    assert "near: gpt-4o" in missing.json()["detail"]


def test_work_costs_what_the_command_says(shared_bursar: LocalBursar, tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text(WORK)
    command = [sys.executable, "-m", "bursar", "prices", "--compare", "--task", "task.toml", "--json"]
    told = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    body = {"calls": 12, "input_tokens": 3_000, "cached_percent": 80, "output_tokens": 350}
    own = {"claude-haiku-4-5": {"input_percent": 115, "output_tokens": 420}, "gpt-4o-mini": {}}
    own["gpt-5-mini"] = {"reasoning_tokens": 600, "tier": "flex"}
    answer = compare(shared_bursar, body | {"models": own})
    costs = answer.json()["costs"]
    assert [(each["model"], each["price_id"], each["usage"], each["usd"]) for each in costs] == [
        (each["model"], each["price_id"], each["usage"], each["total_usd"]) for each in told
    ]
    assumed = {each["model"]: each["assumed"] for each in costs}
    assert assumed["gpt-4o-mini"] == []
    assert assumed["claude-haiku-4-5"] == ["115 % of the work's input", "420 output tokens a call"]
    assert assumed["gpt-5-mini"] == ["600 reasoning tokens a call", "tier flex"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"models": {}}, "models: expected at least one"),
        ({"models": {"gpt-4o": {}}, "calls": 0}, "calls: expected an integer from 1"),
        ({"models": {"nobody": {}}}, "models: no price for model 'nobody'"),
        ({"models": {"gpt-4o": {"tier": "express"}}}, "has no price for 'express'"),
        ({"models": {f"m{number}": {} for number in range(257)}}, "models: expected at most 256, got 257"),
        ({"models": {"gpt-4o": {}}, "words": "secret"}, "words"),
    ],
)
def test_work_that_cannot_be_priced_is_refused_by_field(
    shared_bursar: LocalBursar, fields: dict[str, Any], why: str
) -> None:
    answer = compare(shared_bursar, {"input_tokens": 1, "output_tokens": 1} | fields)
    assert answer.status == 400
    assert why in json.dumps(answer.json(), ensure_ascii=False)
