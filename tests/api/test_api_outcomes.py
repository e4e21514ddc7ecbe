"""What became of an answer is told with the key that asked for it, and shown with the call and the run."""

import json
from typing import Any

import pytest

from bench.harness import LocalBursar
from tests.asking import Answer, ask_and_wait, fetch


@pytest.fixture(scope="module")
def outcome_key(shared_bursar: LocalBursar) -> str:
    return shared_bursar.create_key("api-outcomes", "1.00")


def tell(local: LocalBursar, secret: str | None, **fields: Any) -> Answer:
    given = {"authorization": f"Bearer {secret}"} if secret is not None else {}
    body = json.dumps({"kind": "thumbs"} | fields).encode()
    return fetch(local, "POST", "/api/outcomes", body, content_type="application/json", **given)


def test_an_outcome_is_told_once_and_shown(shared_bursar: LocalBursar, outcome_key: str) -> None:
    call = ask_and_wait(shared_bursar, outcome_key, x_bursar_run="outcome run")
    told = tell(shared_bursar, outcome_key, id="o-1", call=call, value=True)
    assert (told.status, told.json()) == (201, {"id": "o-1", "value": 1.0, "again": False})
    assert tell(shared_bursar, outcome_key, id="o-1", call=call, value=True).json()["again"]
    other = tell(shared_bursar, outcome_key, id="o-1", call=call, value=False)
    assert (other.status, other.json()["extra"]["code"]) == (409, "outcome_conflict")
    assert tell(shared_bursar, outcome_key, id="o-2", run="outcome run", value=0.5, kind="tests").status == 201
    shown = fetch(shared_bursar, "GET", f"/api/calls/{call}").json()["outcomes"]
    assert [(each["id"], each["kind"], each["value"]) for each in shown] == [("o-1", "thumbs", 1.0)]
    run = fetch(shared_bursar, "GET", "/api/runs/outcome%20run").json()
    assert [(each["id"], each["value"]) for each in run["outcomes"]] == [("o-2", 0.5)]
    listed = json.loads(shared_bursar.command("outcomes", "--key", "api-outcomes", "--json"))
    assert [each["id"] for each in listed] == ["o-2", "o-1"]
    assert "tests" in shared_bursar.command("outcomes", "--run", "outcome run")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"id": "x", "value": 2}, 400),
        ({"id": "x", "value": "good"}, 400),
        ({"id": "x", "value": True, "kind": "hearsay"}, 400),
        ({"id": "x", "value": True, "call": "call_" + "0" * 32}, 404),
        ({"id": "x", "value": True}, 400),
    ],
)
def test_what_cannot_be_is_refused(
    shared_bursar: LocalBursar, outcome_key: str, fields: dict[str, Any], status: int
) -> None:
    assert tell(shared_bursar, outcome_key, **fields).status == status


def test_a_call_of_another_key_and_no_key_at_all_are_refused(shared_bursar: LocalBursar, outcome_key: str) -> None:
    call = ask_and_wait(shared_bursar, outcome_key)
    stranger = shared_bursar.create_key("api-outcomes-stranger", "1.00")
    assert tell(shared_bursar, stranger, id="s", call=call, value=True).status == 403
    assert tell(shared_bursar, None, id="s", call=call, value=True).status == 401
