"""What the API says is what the commands and the page say: the books, to the nano-dollar."""

import re
from decimal import Decimal
from typing import Any

import pytest

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd
from tests.asking import ask_and_wait, fetch


@pytest.fixture
def call(shared_bursar: LocalBursar, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Make a call with a key of this test's own, and return its record."""
    name = re.sub(r"\W", "-", request.node.name)
    secret = shared_bursar.create_key(f"api-{name}", "2.00/day", models=["gpt-4o-mini"])
    call_id = ask_and_wait(shared_bursar, secret, "[[output=25]] hi", x_bursar_run=name)
    return get(shared_bursar, f"/api/calls/{call_id}")


def get(local: LocalBursar, path: str, status: int = 200) -> Any:
    answer = fetch(local, "GET", path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    return answer.json()


def total_nano(local: LocalBursar) -> int:
    spent = "(select coalesce(sum(cost_nano), 0) from {})"
    return int(local.query(f"select {spent.format('calls')} + {spent.format('charges')} as total")[0]["total"])


def test_a_call_in_full_and_in_the_list_are_the_same(shared_bursar: LocalBursar, call: dict[str, Any]) -> None:
    listed = get(shared_bursar, f"/api/calls?run={call['run']}&key={call['key']}&limit=1")
    assert listed == [{name: call[name] for name in listed[0]}]
    assert call["usage"]["output_tokens"] == 25


@pytest.mark.parametrize("by", ["model", "key", "day", "hour", "charge"])
def test_a_statement_is_the_sum_of_its_lines_and_of_the_books(
    shared_bursar: LocalBursar, call: dict[str, Any], by: str
) -> None:
    statement = get(shared_bursar, f"/api/statement?by={by}&since=2026-01-01&until=2098-01-01")
    assert sum(Decimal(line["cost_usd"]) for line in statement["lines"]) == Decimal(statement["total"]["cost_usd"])
    assert statement["total"]["cost_usd"] == nano_to_usd(total_nano(shared_bursar))


def test_the_overview_agrees_with_the_statement_the_budgets_and_the_calls(
    shared_bursar: LocalBursar, call: dict[str, Any]
) -> None:
    overview = get(shared_bursar, "/api/overview")
    month = overview["at"][:8] + "01"
    for by, lines in (("model", overview["by_model"]), ("key", overview["by_key"])):
        statement = get(shared_bursar, f"/api/statement?by={by}&since={month}&until=2098-01-01")
        assert lines == statement["lines"]
        assert overview["month"] == statement["total"]
    assert overview["budgets"] == get(shared_bursar, "/api/budgets")
    assert overview["calls"] == get(shared_bursar, "/api/calls?limit=25")
    assert sum(map(Decimal, overview["hours"])) == Decimal(overview["today"]["cost_usd"])


def test_a_budget_shows_what_its_call_cost(shared_bursar: LocalBursar, call: dict[str, Any]) -> None:
    budget = next(each for each in get(shared_bursar, "/api/budgets") if each["name"] == call["key"])
    assert (budget["kind"], budget["parent"], budget["depth"], budget["unit"]) == ("key", None, 0, "USD")
    assert (budget["limit"], budget["spent_usd"], budget["held_usd"]) == ("2.00/day", call["cost_usd"], "0.00")
    assert Decimal(budget["left_usd"]) == 2 - Decimal(call["cost_usd"])


def test_keys_are_described_without_their_secrets(shared_bursar: LocalBursar, call: dict[str, Any]) -> None:
    key = next(each for each in get(shared_bursar, "/api/keys") if each["name"] == call["key"])
    assert (key["budget"], key["models"], key["revoked"]) == ("2.00/day", ["gpt-4o-mini"], False)
    told = {"id", "name", "budget", "models", "routes", "tags", "created_at", "expires_at", "revoked"}
    told |= {"addresses", "former_secrets_end_at", "parent", "output_cap", "frozen", "status", "last_used_at"}
    assert set(key) == told
    assert (key["parent"], key["frozen"], key["status"]) == (None, False, "active")
    assert key["last_used_at"][:13] == call["at"][:13]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/api/calls?limit=0", "limit"),
        ("/api/calls?limit=1001", "limit"),
        ("/api/calls?key=%00", "key"),
        ("/api/calls?run=a%00b", "run"),
        ("/api/calls?after=call_1", "after: expected a call id"),
        ("/api/calls/call_1", "expected a call id"),
        ("/api/statement?by=colour", "by"),
        ("/api/statement?since=yesterday", "expected a date"),
        ("/api/statement?since=0001-01-01", "expected a date from 1970 to 9998"),
        ("/api/statement?until=9999-12-31", "expected a date from 1970 to 9998"),
        ("/api/statement?since=2026-02-02&until=2026-02-01", "since: expected a moment before until"),
    ],
)
def test_what_cannot_be_answered_gets_400_and_a_reason(shared_bursar: LocalBursar, path: str, complaint: str) -> None:
    refusal = get(shared_bursar, path, 400)
    said = refusal["detail"] + "".join(each["key"] for each in refusal.get("extra", []))
    assert complaint in said


def test_a_call_that_is_not_in_the_books_gets_404(shared_bursar: LocalBursar) -> None:
    name = "call_" + "0" * 32
    assert f"no call {name} in the books" in get(shared_bursar, f"/api/calls/{name}", 404)["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_is_only_read_cannot_be_changed(shared_bursar: LocalBursar, method: str) -> None:
    for path in ("/api/calls", "/api/audit", "/api/statement", "/"):
        assert fetch(shared_bursar, method, path, b"{}").status == 405


def test_an_answer_without_content_announces_none(shared_bursar: LocalBursar) -> None:
    answer = fetch(shared_bursar, "OPTIONS", "/api/calls")
    assert (answer.status, answer.body) == (204, b"")
    assert {"transfer-encoding", "content-length"} & set(answer.headers) == set()
