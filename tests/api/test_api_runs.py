"""Runs are shown as trees, and work that is no call is charged once, to whoever has the key."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

from bench.harness import LocalBursar
from tests.asking import Answer, ask_and_wait, fetch


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name a key and its run after the test."""
    return "".join(each if each.isalnum() else "-" for each in request.node.name)


@pytest.fixture
def secret(shared_bursar: LocalBursar, name: str) -> str:
    return shared_bursar.create_key(name, "2.00/day", tags={"of": "a key"})


def post(local: LocalBursar, secret: str | None, body: Any, **headers: str) -> Answer:
    given = {"authorization": f"Bearer {secret}"} if secret is not None else {}
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fetch(local, "POST", "/api/charges", text, content_type="application/json", **given, **headers)


def charge(local: LocalBursar, secret: str, charge_id: str, amount: str = "0.25", **fields: Any) -> Any:
    answer = post(local, secret, {"id": charge_id, "kind": "tool", "amount_usd": amount} | fields)
    assert answer.status == 201, answer.body
    return answer.json()


def run_of(local: LocalBursar, name: str) -> Any:
    answer = fetch(local, "GET", f"/api/runs/{quote(name)}")
    assert answer.status == 200, answer.body
    return answer.json()


def budget_of(local: LocalBursar, name: str) -> Any:
    return next(each for each in fetch(local, "GET", "/api/budgets").json() if each["name"] == name)


def test_a_run_is_the_tree_of_its_calls_with_what_was_charged_to_them(
    shared_bursar: LocalBursar, secret: str, name: str
) -> None:
    top = ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    child = ask_and_wait(shared_bursar, secret, x_bursar_run=name, x_bursar_parent=top)
    other = ask_and_wait(shared_bursar, secret, x_bursar_run=name, x_bursar_parent="a step")
    charged = charge(shared_bursar, secret, f"{name} 1", call=child, supplier="brave", quantity="3 searches")
    charge(shared_bursar, secret, f"{name} 2", "0.05", run=name, description="a person looked")
    run = run_of(shared_bursar, name)
    assert [(node["id"], node["depth"], len(node["charges"])) for node in run["tree"]] == [
        (top, 1, 0),
        (child, 2, 1),
        (other, 1, 0),
    ]
    assert (run["calls"], run["charges_usd"], run["whole"]) == (3, "0.30", True)
    assert Decimal(run["cost_usd"]) == Decimal(run["calls_usd"]) + Decimal("0.30")
    assert charged == {
        "id": f"{name} 1",
        "cost_usd": "0.25",
        "overage_usd": "0.00",
        "budgets": [name],
        "again": False,
    }
    assert [each["description"] for each in run["charges"]] == ["a person looked"]
    listed = next(each for each in fetch(shared_bursar, "GET", "/api/runs").json() if each["run"] == name)
    assert (listed["key"], listed["calls"], listed["charges"], listed["cost_usd"]) == (name, 3, 2, run["cost_usd"])
    assert budget_of(shared_bursar, name)["spent_usd"] == run["cost_usd"]


@pytest.mark.parametrize("words", ["team/1", "a//b", "ends/", "/begins", "a b", "größe", "a%2Fb:+@"])
def test_a_run_is_found_whatever_words_name_it(shared_bursar: LocalBursar, secret: str, name: str, words: str) -> None:
    words = words.replace("%2F", "/")
    charge(shared_bursar, secret, name, run=words)
    assert run_of(shared_bursar, words)["run"] == words


@pytest.mark.parametrize("name", ["nobody-ran-this", "%00", "a%0Ab", "x" * 200])
def test_a_run_that_is_not_in_the_books_gets_404(shared_bursar: LocalBursar, name: str) -> None:
    assert fetch(shared_bursar, "GET", f"/api/runs/{name}").status == 404


def test_asked_again_under_the_same_id_it_is_charged_once(shared_bursar: LocalBursar, secret: str, name: str) -> None:
    first = charge(shared_bursar, secret, name)
    assert charge(shared_bursar, secret, name) == first | {"again": True}
    answer = post(shared_bursar, secret, {"id": name, "kind": "tool", "amount_usd": "0.26"})
    assert (answer.status, answer.json()["extra"]["code"]) == (409, "charge_conflict")
    assert budget_of(shared_bursar, name)["spent_usd"] == "0.25"


def test_twenty_at_once_are_twenty_charges_and_twenty_of_one_id_are_one(
    shared_bursar: LocalBursar, secret: str, name: str
) -> None:
    with ThreadPoolExecutor(20) as threads:
        several = [threads.submit(charge, shared_bursar, secret, f"{name} {number}", "0.01") for number in range(20)]
        same = [threads.submit(charge, shared_bursar, secret, name, "0.5") for _ in range(20)]
        assert [each.result()["again"] for each in several] == [False] * 20
        assert sorted(each.result()["again"] for each in same) == [False] + [True] * 19
    assert budget_of(shared_bursar, name)["spent_usd"] == "0.70"
    assert shared_bursar.audit().findings == []


def test_what_the_budget_cannot_pay_is_charged_all_the_same(shared_bursar: LocalBursar, secret: str, name: str) -> None:
    assert charge(shared_bursar, secret, name, "3.00")["overage_usd"] == "1.00"
    budget = budget_of(shared_bursar, name)
    assert (budget["spent_usd"], budget["overage_usd"], budget["left_usd"]) == ("3.00", "1.00", "-1.00")


def test_a_statement_has_charges_in_its_lines_and_its_total(shared_bursar: LocalBursar, secret: str, name: str) -> None:
    call_id = ask_and_wait(shared_bursar, secret, x_bursar_run=name, x_bursar_tags=f"test={name[:60]}")
    charge(shared_bursar, secret, name, call=call_id)
    for by, line in (("key", name), ("run", name), ("tag", f"test={name[:60]}")):
        lines = fetch(shared_bursar, "GET", f"/api/statement?by={by}").json()["lines"]
        found = next(each for each in lines if each["name"] == line)
        assert (found["calls"], found["charges"]) == (1, 1)
        assert Decimal(found["cost_usd"]) > Decimal("0.25")
    charges = fetch(shared_bursar, "GET", "/api/statement?by=charge").json()
    assert {"model calls", "tool"} <= {line["name"] for line in charges["lines"]}
    models = fetch(shared_bursar, "GET", "/api/statement?by=model").json()
    own = next(line for line in models["lines"] if line["name"] == "work that is no call")
    assert (own["cost_usd"], own["charges"]) == (models["total"]["charges_usd"], models["total"]["charges"])


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "Basic abc"}, "missing_api_key"),
        ({"authorization": "Bearer"}, "missing_api_key"),
        ({"authorization": "Bearer sk-other"}, "missing_api_key"),
        ({"authorization": "Bearer bk_" + "x" * 43}, "invalid_api_key"),
        ({"authorization": "Bearer bk_\xff"}, "invalid_api_key"),
    ],
)
def test_without_a_key_nothing_is_charged(
    shared_bursar: LocalBursar, name: str, headers: dict[str, str], code: str
) -> None:
    answer = post(shared_bursar, None, {"id": name, "kind": "tool", "amount_usd": "1"}, **headers)
    assert (answer.status, answer.json()["extra"]["code"]) == (401, code)
    assert shared_bursar.query("select 1 from charges where charge_id = $1", name) == []


@pytest.mark.parametrize(("scope", "code"), [({"expires_us": 1}, "key_expired"), ({}, "key_revoked")])
def test_a_key_that_is_not_valid_any_more_charges_nothing(
    shared_bursar: LocalBursar, name: str, scope: dict[str, Any], code: str
) -> None:
    secret = shared_bursar.create_key(name, "1.00", **scope)
    if not scope:
        shared_bursar.query("update keys set revoked_us = 1 where name = $1", name)
    answer = post(shared_bursar, secret, {"id": name, "kind": "tool", "amount_usd": "1"})
    assert (answer.status, answer.json()["extra"]["code"]) == (401, code)


@pytest.mark.parametrize("host", ["bursar.example", "192.0.2.1:4000"])
def test_from_elsewhere_what_has_a_key_is_charged_and_nothing_else_is_shown(
    shared_bursar: LocalBursar, secret: str, name: str, host: str
) -> None:
    body = {"id": f"{name}", "kind": "person", "amount_usd": "0.10"}
    assert post(shared_bursar, None, body, host=host).status == 401
    assert post(shared_bursar, secret, body, host=host).status == 201
    bearer = f"Bearer {secret}"
    for method, path in (("GET", "/api/runs"), ("GET", f"/api/runs/{name}"), ("GET", "/api/charges"), ("GET", "/")):
        answer = fetch(shared_bursar, method, path, host=host, authorization=bearer)
        assert (answer.status, answer.json()["error"]["code"]) == (403, "local_only")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"kind": "gift"}, "kind"),
        ({"amount_usd": "-0.01"}, "amount_usd"),
        ({"amount_usd": "1e9"}, "amount_usd"),
        ({"amount_usd": "0.0000000001"}, "amount_usd"),
        ({"amount_usd": "1000000.000000001"}, "amount_usd"),
        ({"amount_usd": "9" * 40}, "amount_usd"),
        ({"amount_usd": 1}, "amount_usd"),
        ({"run": "<script>"}, "run"),
        ({"run": "r" * 129}, "run"),
        ({"call": "call_1"}, "call"),
        ({"call": "call_" + "g" * 32}, "call"),
        ({"call": "x" * 1_000}, "call"),
        ({"supplier": "a\x00b"}, "supplier"),
        ({"supplier": "s" * 129}, "supplier"),
        ({"description": "two\nlines"}, "description"),
        ({"description": "d" * 1_001}, "description"),
        ({"description": "\u202e"}, "description"),
        ({"quantity": "\x1b[31m"}, "quantity"),
        ({"tags": {"a,b": "c"}}, "tags"),
        ({"tags": {"a": ""}}, "tags"),
        ({"tags": {str(number): "x" for number in range(17)}}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_charged_is_refused_by_the_name_of_its_field(
    shared_bursar: LocalBursar, secret: str, fields: dict[str, Any], named: str
) -> None:
    answer = post(shared_bursar, secret, {"id": "x", "kind": "tool", "amount_usd": "1"} | fields)
    assert answer.status == 400, answer.body
    refusal = answer.json()
    assert set(refusal) <= {"status_code", "detail", "extra"}
    assert named in refusal["detail"] + json.dumps(refusal.get("extra", ""))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"id":"\xff"}', b'{"id":"\\ud800"}', b"[" * 50_000])
def test_a_body_that_is_none_is_a_bad_request(shared_bursar: LocalBursar, secret: str, body: bytes) -> None:
    assert post(shared_bursar, secret, body).status == 400


def test_a_call_of_another_key_or_run_or_of_nobody_is_not_charged(
    shared_bursar: LocalBursar, secret: str, name: str
) -> None:
    call_id = ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    other = shared_bursar.create_key(f"{name} other", "1.00")
    body = {"id": f"{name} x", "kind": "tool", "amount_usd": "0.10", "call": call_id}
    for each, fields, status in (
        (other, {}, 403),
        (secret, {"run": "another"}, 400),
        (secret, {"call": "call_" + "0" * 32}, 404),
    ):
        answer = post(shared_bursar, each, body | fields)
        assert (answer.status, answer.json()["extra"]["param"]) == (status, "run" if status == 400 else "call")
    assert post(shared_bursar, secret, body | {"run": name}).status == 201
