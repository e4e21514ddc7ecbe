"""Keys and budgets are changed over the API by an admin key alone, and each change is in the audit log."""

import http.client
import itertools
import json
import time
from typing import Any

import pytest

from bench.harness import LocalBursar
from tests.asking import HEARD_S, Answer, ask, ask_until, fetch

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def admin(shared_bursar: LocalBursar) -> str:
    return shared_bursar.command("admin", "create", "--name", "api-admin").strip()


def change(
    local: LocalBursar, secret: str | None, path: str, body: Any = None, method: str = "POST", **headers: str
) -> Answer:
    given = {} if secret is None else {"authorization": f"Bearer {secret}"}
    if body is None:
        return fetch(local, method, path, None, **given, **headers)
    given |= {"content_type": "application/json"} | headers
    return fetch(local, method, path, json.dumps(body).encode(), **given)


def fresh_name() -> str:
    return f"api change {next(_numbers)}"


def test_a_key_lives_its_whole_life_over_the_api(shared_bursar: LocalBursar, admin: str) -> None:
    name = fresh_name()
    limits = {"limits": ["1.00/day", "100 requests/minute"], "models": ["gpt-4o*"], "tags": {"team": "blue"}}
    wanted = {"name": name, "addresses": ["127.0.0.0/8"], "expires": "30d"} | limits
    made = change(shared_bursar, admin, "/api/keys", wanted)
    assert made.status == 201, made.body
    key, secret = made.json()["key"], made.json()["secret"]
    assert (key["name"], key["budget"], key["models"]) == (name, "1.00/day, 100 requests/minute", ["gpt-4o*"])
    assert (key["addresses"], key["tags"]) == (["127.0.0.0/8"], {"team": "blue"})
    assert ask(shared_bursar, secret).status == 200
    assert ask(shared_bursar, secret, model="o4-mini").json()["error"]["code"] == "out_of_scope"
    rotated = change(shared_bursar, admin, f"/api/keys/{key['id']}/rotate", {"overlap": "1h"}).json()
    assert rotated["key"]["id"] == key["id"]
    assert [ask(shared_bursar, each).status for each in (secret, rotated["secret"])] == [200, 200]
    for _ in range(2):
        revoked = change(shared_bursar, admin, f"/api/keys/{key['id']}/revoke").json()
        assert revoked == {"id": key["id"], "revoked": True}
    assert ask_until(shared_bursar, rotated["secret"], 401).json()["error"]["code"] == "key_revoked"
    lines = fetch(shared_bursar, "GET", f"/api/audit?subject={name.replace(' ', '%20')}&action=key.").json()
    assert [line["action"] for line in lines] == ["key.revoke", "key.rotate", "key.create"]
    assert {(line["actor"], line["origin"]) for line in lines} == {("api-admin", "api from 127.0.0.1")}
    for text in (json.dumps(lines), fetch(shared_bursar, "GET", "/api/keys").body.decode()):
        assert secret not in text
        assert rotated["secret"] not in text


def test_a_key_bound_to_other_addresses_is_refused_here_whatever_it_says(
    shared_bursar: LocalBursar, admin: str
) -> None:
    wanted = {"name": fresh_name(), "addresses": ["10.0.0.0/8"]}
    secret = change(shared_bursar, admin, "/api/keys", wanted).json()["secret"]
    for headers in ({}, {"x_forwarded_for": "10.0.0.1"}, {"x_real_ip": "10.0.0.1"}):
        answer = ask(shared_bursar, secret, **headers)
        assert (answer.status, answer.json()["error"]["code"]) == (403, "address_not_allowed")
    models = fetch(shared_bursar, "GET", "/v1/models", authorization=f"Bearer {secret}")
    assert (models.status, models.json()["error"]["code"]) == (403, "address_not_allowed")
    charge = {"id": "api-address", "kind": "tool", "amount_usd": "0.01"}
    charged = change(shared_bursar, secret, "/api/charges", charge, x_bursar_from="10.0.0.1")
    assert (charged.status, charged.json()["extra"]["code"]) == (403, "address_not_allowed")


def test_a_key_is_limited_otherwise_and_what_is_not_named_stays(shared_bursar: LocalBursar, admin: str) -> None:
    name = fresh_name()
    wanted = {
        "name": name,
        "models": ["o4-mini"],
        "addresses": ["127.0.0.0/8"],
        "tags": {"team": "blue"},
        "expires": "30d",
    }
    made = change(shared_bursar, admin, "/api/keys", wanted).json()
    path, secret = f"/api/keys/{made['key']['id']}", made["secret"]
    assert ask(shared_bursar, secret).status == 403
    limited = change(shared_bursar, admin, path, {"models": ["gpt-4o*"], "output_cap": 64}, "PATCH")
    assert limited.status == 200, limited.body
    assert limited.json() == made["key"] | {"models": ["gpt-4o*"], "output_cap": 64}
    ask_until(shared_bursar, secret, 200)
    listed = next(key for key in fetch(shared_bursar, "GET", "/api/keys").json() if key["name"] == name)
    assert listed | {"last_used_at": None} == limited.json()
    free = change(shared_bursar, admin, path, {"models": [], "output_cap": None, "expires": None}, "PATCH").json()
    assert (free["models"], free["output_cap"], free["expires_at"]) == ([], None, None)
    assert (free["addresses"], free["tags"]) == (["127.0.0.0/8"], {"team": "blue"})
    change(shared_bursar, admin, path, {"addresses": ["10.0.0.0/8"]}, "PATCH")
    assert ask_until(shared_bursar, secret, 403).json()["error"]["code"] == "address_not_allowed"
    lines = fetch(shared_bursar, "GET", f"/api/audit?subject={name.replace(' ', '%20')}&action=key.scope").json()
    assert [sorted(line["details"]) for line in lines] == [
        ["addresses", "id"],
        ["expires_us", "id", "models", "output_cap"],
        ["id", "models", "output_cap"],
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"models": ["gpt-4o*"], "routes": ["/v2"]}, "routes"),
        ({"models": ["gpt-4o*"], "addresses": ["10.0.0.1/8"]}, "addresses"),
        ({"models": ["gpt-4o*"], "tags": {"a": "b;c"}}, "tags"),
        ({"models": ["gpt-4o*"], "expires": "2020-01-01"}, "expires"),
        ({"models": ["a*b"]}, "models"),
        ({"models": ["gpt-4o*"], "output_cap": 0}, None),
        ({"models": ["gpt-4o*"], "name": "other"}, None),
        ({"models": ["gpt-4o*"], "tags": None}, None),
    ],
)
def test_a_scope_is_changed_whole_or_not_at_all(
    shared_bursar: LocalBursar, admin: str, body: Any, param: str | None
) -> None:
    made = change(shared_bursar, admin, "/api/keys", {"name": fresh_name(), "models": ["o4-mini"]}).json()["key"]
    answer = change(shared_bursar, admin, f"/api/keys/{made['id']}", body, "PATCH")
    assert answer.status == 400, answer.body
    if param is not None:
        assert answer.json()["extra"]["param"] == param
    assert next(key for key in fetch(shared_bursar, "GET", "/api/keys").json() if key["id"] == made["id"]) == made


def test_a_revoked_key_and_one_there_is_none_of_are_not_limited(shared_bursar: LocalBursar, admin: str) -> None:
    made = change(shared_bursar, admin, "/api/keys", {"name": fresh_name()}).json()["key"]
    change(shared_bursar, admin, f"/api/keys/{made['id']}/revoke")
    for key_id, status in ((made["id"], 400), ("nobody", 404)):
        assert change(shared_bursar, admin, f"/api/keys/{key_id}", {"models": []}, "PATCH").status == status
    assert change(shared_bursar, None, f"/api/keys/{made['id']}", {"models": []}, "PATCH").status == 401


def test_a_budget_is_made_set_frozen_and_thawed(shared_bursar: LocalBursar, admin: str) -> None:
    name = fresh_name().replace(" ", "-")
    made = change(shared_bursar, admin, "/api/budgets", {"name": name, "limits": ["5.00/month"], "kind": "person"})
    assert made.status == 201, made.body
    assert {field: made.json()[field] for field in ("name", "kind", "limits", "frozen")} == {
        "name": name,
        "kind": "person",
        "limits": ["5.00/month"],
        "frozen": False,
    }
    below = change(shared_bursar, admin, "/api/keys", {"name": fresh_name(), "parent": name}).json()["secret"]
    assert ask(shared_bursar, below).status == 200
    for _ in range(2):
        answer = change(shared_bursar, admin, f"/api/budgets/{name}/limits", {"limits": ["7.00/month"]})
        assert answer.json()["limits"] == ["7.00/month"]
        assert change(shared_bursar, admin, f"/api/budgets/{name}/freeze").json()["frozen"] is True
    assert ask_until(shared_bursar, below, 402).json()["error"]["code"] == "budget_frozen"
    assert change(shared_bursar, admin, f"/api/budgets/{name}/thaw").json()["frozen"] is False
    ask_until(shared_bursar, below, 200)


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("/api/keys", {"name": "api-admin-taken"}, 409, "name_taken", None),
        ("/api/keys", {"name": "x", "parent": "nobody"}, 404, "not_found", None),
        ("/api/keys", {"name": " "}, 400, "bad_request", "name"),
        ("/api/keys", {"name": "x", "limits": ["lots"]}, 400, "bad_request", "limits"),
        ("/api/keys", {"name": "x", "models": ["a*b"]}, 400, "bad_request", "models"),
        ("/api/keys", {"name": "x", "routes": ["/v2"]}, 400, "bad_request", "routes"),
        ("/api/keys", {"name": "x", "addresses": ["10.0.0.1/8"]}, 400, "bad_request", "addresses"),
        ("/api/keys", {"name": "x", "expires": "soon"}, 400, "bad_request", "expires"),
        ("/api/keys", {"name": "x", "tags": {"a": "b;c"}}, 400, "bad_request", "tags"),
        ("/api/keys/nobody/rotate", {}, 404, "not_found", None),
        ("/api/keys/nobody/rotate", {"overlap": "1y"}, 400, "bad_request", "overlap"),
        ("/api/keys/nobody/revoke", None, 404, "not_found", None),
        ("/api/budgets", {"name": "x", "grace": "-1", "limits": ["5.00"]}, 400, "bad_request", "grace"),
        ("/api/budgets/nobody/limits", {"limits": ["5.00"]}, 404, "not_found", None),
        ("/api/budgets/nobody/freeze", None, 404, "not_found", None),
    ],
)
def test_what_cannot_be_is_refused_with_a_code_and_its_field(
    shared_bursar: LocalBursar, admin: str, path: str, body: Any, status: int, code: str, param: str | None
) -> None:
    if code == "name_taken":
        change(shared_bursar, admin, path, body)
    answer = change(shared_bursar, admin, path, body)
    assert answer.status == status, answer.body
    assert (answer.json()["extra"]["code"], answer.json()["extra"].get("param")) == (code, param)


@pytest.mark.parametrize(
    "body", [{"nam": "x"}, {"name": 5}, {"name": "x", "more": 1}, [], {"name": "x", "output_cap": 0}, {"name": "a\0b"}]
)
def test_a_body_of_another_shape_is_a_400(shared_bursar: LocalBursar, admin: str, body: Any) -> None:
    assert change(shared_bursar, admin, "/api/keys", body).status == 400


@pytest.mark.parametrize(
    "path", ["/api/keys", "/api/keys/x/rotate", "/api/keys/x/revoke", "/api/budgets", "/api/budgets/x/freeze"]
)
@pytest.mark.parametrize(
    ("secret", "code"),
    [
        (None, "missing_admin_key"),
        ("bk_" + "x" * 43, "missing_admin_key"),
        ("ba_" + "x" * 43, "invalid_admin_key"),
        ("ba_short", "invalid_admin_key"),
    ],
)
def test_nobody_changes_anything_without_an_admin_key_not_even_from_this_machine(
    shared_bursar: LocalBursar, path: str, secret: str | None, code: str
) -> None:
    answer = change(shared_bursar, secret, path, {"name": "never"})
    assert (answer.status, answer.json()["extra"]["code"]) == (401, code)


def test_a_calling_key_is_no_admin_key(shared_bursar: LocalBursar) -> None:
    answer = change(shared_bursar, shared_bursar.create_key(fresh_name()), "/api/keys", {"name": "never"})
    assert answer.status == 401
    assert shared_bursar.query("select count(*) as n from keys where name = 'never'")[0]["n"] == 0


def test_an_admin_key_ends_when_it_expires_and_soon_after_it_is_revoked(shared_bursar: LocalBursar) -> None:
    secret = shared_bursar.command("admin", "create", "--name", "api-brief").strip()
    assert change(shared_bursar, secret, "/api/keys/nobody/revoke").status == 404
    shared_bursar.query("update admin_keys set expires_us = 1 where name = 'api-brief'")
    assert refused(shared_bursar, secret) == "this admin key is expired: see `bursar admin list`"
    shared_bursar.command("admin", "revoke", "api-brief")
    deadline = time.monotonic() + HEARD_S
    while "revoked" not in refused(shared_bursar, secret):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refused(local: LocalBursar, secret: str) -> str:
    """Wait until an admin key is refused, and return why."""
    deadline = time.monotonic() + HEARD_S
    while (answer := change(local, secret, "/api/keys/nobody/revoke")).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer.json()["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_of_a_page_could_send_is_refused(shared_bursar: LocalBursar, admin: str, kind: str) -> None:
    answer = change(shared_bursar, admin, "/api/keys", {"name": "never"}, content_type=kind)
    assert (answer.status, answer.json()["extra"]["code"]) == (415, "bad_media_type")


def test_a_page_of_another_site_is_refused(shared_bursar: LocalBursar, admin: str) -> None:
    answer = change(shared_bursar, admin, "/api/keys", {"name": "never"}, origin="https://evil.example")
    assert (answer.status, answer.json()["error"]["code"]) == (403, "cross_origin")


@pytest.mark.parametrize("values", [["Bearer ba_" + "x" * 43, "Basic eA=="], ["Basic eA==", "Bearer ba_" + "x" * 43]])
def test_two_authorization_headers_open_nothing(shared_bursar: LocalBursar, values: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_bursar.port, timeout=30)
    connection.putrequest("GET", "/api/keys", skip_host=True)
    connection.putheader("host", "bursar.example")
    for value in values:
        connection.putheader("authorization", value)
    connection.endheaders()
    assert connection.getresponse().status in (401, 403)
    connection.close()


def test_a_change_larger_than_any_is_refused_unread(shared_bursar: LocalBursar, admin: str) -> None:
    answer = change(shared_bursar, admin, "/api/keys", {"name": "x" * 100_000})
    assert (answer.status, answer.json()["error"]["code"]) == (413, "too_large")
