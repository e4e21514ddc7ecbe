"""Forms of the pages are taken from their own origin, on this machine, from who is signed in, and from nobody else."""

import itertools
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from bench.harness import LocalBursar
from bursar.api.sessions import IDLE_S, WHOLE_S, Sessions
from tests.asking import HEARD_S, Answer, ask, ask_until, fetch

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def admin(shared_bursar: LocalBursar) -> str:
    return shared_bursar.command("admin", "create", "--name", "form-admin").strip()


@pytest.fixture(scope="module")
def cookie(shared_bursar: LocalBursar, admin: str) -> str:
    answer = send(shared_bursar, "/sign-in", {"admin_key": admin, "to": "/budgets"})
    assert (answer.status, answer.headers["location"]) == (303, "/budgets")
    given = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(given.split("; "))
    assert admin not in given
    return given.partition(";")[0]


def send(
    local: LocalBursar, path: str, fields: Mapping[str, str], given_cookie: str = "", **headers: str | None
) -> Answer:
    """Send a form as a browser does; a header that is None is left out."""
    given = {"origin": local.url, "content-type": "application/x-www-form-urlencoded", "cookie": given_cookie or None}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return fetch(local, "POST", path, urlencode(fields).encode(), **{k: v for k, v in given.items() if v is not None})


def fresh_name() -> str:
    return f"form {next(_numbers)}"


def key_of(local: LocalBursar, name: str) -> dict[str, str]:
    return next(key for key in fetch(local, "GET", "/api/keys").json() if key["name"] == name)


def test_a_secret_is_shown_once_and_stands_in_no_address(shared_bursar: LocalBursar, cookie: str) -> None:
    name = fresh_name()
    made = send(shared_bursar, "/keys", {"name": name, "limits": "1.00/day, 100 requests/minute"}, cookie)
    assert (made.status, made.headers["location"], made.body) == (303, "/keys", b"")
    first, second = (fetch(shared_bursar, "GET", "/keys", cookie=cookie) for _ in range(2))
    secret = first.body.decode().partition('id="secret">')[2].partition("<")[0]
    assert secret.startswith("bk_")
    assert secret not in second.body.decode()
    assert {answer.headers["cache-control"] for answer in (made, first, second)} == {"no-store"}
    assert ask(shared_bursar, secret).status == 200
    assert key_of(shared_bursar, name)["budget"] == "1.00/day, 100 requests/minute"
    (line,) = fetch(shared_bursar, "GET", f"/api/audit?subject={name.replace(' ', '%20')}&action=key.").json()
    assert (line["actor"], line["origin"], line["action"]) == ("form-admin", "page from 127.0.0.1", "key.create")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:1"}, 403),  # another server of this machine, to which a browser sends the cookie
        ({"origin": "null"}, 403),
        ({"origin": None}, 403),
        ({"host": "evil.example"}, 403),  # a name that points here
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
        ({"x_forwarded_for": "203.0.113.9"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json"}, 415),
        ({"cookie": "bursar-session=guess"}, 401),
        ({"cookie": None}, 401),
    ],
)
def test_no_effect_follows_from_a_form_of_elsewhere(
    shared_bursar: LocalBursar, cookie: str, headers: dict[str, str | None], status: int
) -> None:
    assert send(shared_bursar, "/keys", {"name": "never by form"}, cookie, **headers).status == status
    assert shared_bursar.query("select count(*) as n from keys where name = 'never by form'")[0]["n"] == 0


@pytest.mark.parametrize("path", ["/keys/x/revoke", "/keys/x/rotate", "/budgets/x/freeze", "/sign-out"])
def test_nothing_is_changed_by_looking(shared_bursar: LocalBursar, cookie: str, path: str) -> None:
    assert fetch(shared_bursar, "GET", path, cookie=cookie).status == 405
    assert fetch(shared_bursar, "GET", "/keys", cookie=cookie).body.count(b"signed in as form-admin") == 1


def test_a_session_is_no_key_to_the_api(shared_bursar: LocalBursar, cookie: str) -> None:
    answer = fetch(
        shared_bursar, "POST", "/api/keys", b'{"name": "never"}', cookie=cookie, content_type="application/json"
    )
    assert (answer.status, answer.json()["extra"]["code"]) == (401, "missing_admin_key")


def test_a_key_is_frozen_thawed_rotated_and_revoked(shared_bursar: LocalBursar, cookie: str) -> None:
    name = fresh_name()
    secret = shared_bursar.create_key(name)
    key_id = key_of(shared_bursar, name)["id"]
    for deed, status in (("freeze", 402), ("thaw", 200)):
        answer = send(shared_bursar, f"/keys/{key_id}/{deed}", {}, cookie)
        assert (answer.status, answer.headers["location"]) == (303, f"/keys#{key_id}")
        ask_until(shared_bursar, secret, status)
    assert send(shared_bursar, f"/keys/{key_id}/rotate", {"overlap": "0"}, cookie).status == 303
    assert ask_until(shared_bursar, secret, 401).json()["error"]["code"] == "key_replaced"
    for _ in range(2):
        assert send(shared_bursar, f"/keys/{key_id}/revoke", {}, cookie).status == 303
    assert key_of(shared_bursar, name)["status"] == "revoked"


def test_a_budget_is_made_and_its_terms_set(shared_bursar: LocalBursar, cookie: str) -> None:
    name = fresh_name()
    made = {"name": name, "limits": "5.00/month", "match": "feature=x", "alerts": "50, 100", "zone": "Europe/Berlin"}
    answer = send(shared_bursar, "/budgets", made, cookie)
    assert answer.status == 303, answer.body
    path = answer.headers["location"].replace("#", "/")
    terms = {"limits": "7.00/month, 20 concurrent", "zone": "Europe/Berlin", "grace": "2.00", "soft": "", "sure": "yes"}
    assert send(shared_bursar, f"{path}/limits", terms, cookie).status == 303
    assert send(shared_bursar, f"{path}/policy", {"alerts": "80", "holds": "expected"}, cookie).status == 303
    tree = fetch(shared_bursar, "GET", "/api/budgets/tree").json()
    branch = next(each for each in tree if each["name"] == name)
    assert [limit["limit"] for limit in branch["limits"]] == ["7.00/month", "20 concurrent"]
    shown = {field: branch[field] for field in ("zone", "soft", "grace_usd", "alerts_percent", "holds", "match")}
    assert shown == {
        "zone": "Europe/Berlin",
        "soft": False,
        "grace_usd": "2.00",
        "alerts_percent": [80],
        "holds": "expected",
        "match": {"feature": "x"},
    }


@pytest.mark.parametrize(
    ("path", "fields", "status", "field"),
    [
        ("/keys", {"name": " "}, 400, "name"),
        ("/keys", {"name": "x", "limits": "lots"}, 400, "limits"),
        ("/keys", {"name": "x", "parent": "nobody"}, 404, "parent"),
        ("/keys", {"name": "x", "tags": "team"}, 400, "tags"),
        ("/keys", {"name": "x", "output_cap": "many"}, 400, "output_cap"),
        ("/keys", {"name": "x", "output_cap": "0"}, 400, "output_cap"),
        ("/keys", {"name": "form-admin-key", "expires": "soon"}, 400, "expires"),
        ("/keys", {"name": "x", "zone": "Europe/Atlantis"}, 400, "zone"),
        ("/budgets", {"name": "x", "kind": "herd"}, 400, "kind"),
        ("/budgets", {"name": "x", "alerts": "half"}, 400, "alerts"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field_and_keeps_what_was_typed(
    shared_bursar: LocalBursar, cookie: str, path: str, fields: dict[str, str], status: int, field: str
) -> None:
    answer = send(shared_bursar, path, {"models": "<b>*", "each": "<b>"} | fields, cookie)
    text = answer.body.decode()
    assert answer.status == status, text
    assert f'aria-describedby="create-{field}-says"' in text.partition('aria-invalid="true"')[2].partition(">")[0]
    assert 'value="&lt;b&gt;' in text


@pytest.mark.parametrize("secret", ["", "ba_short", "ba_" + "x" * 43, "bk_" + "x" * 43])
def test_nobody_signs_in_without_an_admin_key(shared_bursar: LocalBursar, secret: str) -> None:
    answer = send(shared_bursar, "/sign-in", {"admin_key": secret, "to": "https://evil.example"})
    assert (answer.status, "set-cookie" in answer.headers) == (401, False)
    assert b"evil" not in answer.body
    if secret:
        assert secret.encode() not in answer.body


def test_signing_out_and_revoking_the_admin_key_end_a_session(shared_bursar: LocalBursar) -> None:
    def signed_in(cookie: str) -> bool:
        return b"signed in as" in fetch(shared_bursar, "GET", "/keys", cookie=cookie).body

    secret = shared_bursar.command("admin", "create", "--name", "form-brief").strip()
    cookies = [
        send(shared_bursar, "/sign-in", {"admin_key": secret}).headers["set-cookie"].partition(";")[0] for _ in range(2)
    ]
    assert all(map(signed_in, cookies))
    assert send(shared_bursar, "/sign-out", {}, cookies[0]).status == 303
    assert [*map(signed_in, cookies)] == [False, True]
    shared_bursar.command("admin", "revoke", "form-brief")
    deadline = itertools.count()
    while signed_in(cookies[1]):
        assert next(deadline) < HEARD_S / 0.02
    assert send(shared_bursar, "/keys", {"name": "never by form"}, cookies[1]).status == 401


def test_a_form_larger_than_any_and_one_of_too_many_fields_are_refused(shared_bursar: LocalBursar, cookie: str) -> None:
    assert send(shared_bursar, "/keys", {"name": "x" * 100_000}, cookie).status == 413
    assert send(shared_bursar, "/keys", {f"name{n}": "x" for n in range(200)}, cookie).status == 400


def test_a_session_ends_when_it_is_idle_and_when_it_is_old() -> None:
    sessions = Sessions()
    token = sessions.begin("ana", b"digest", 0.0)
    assert sessions.find("", 0.0) is None
    assert sessions.find(token + "x", 0.0) is None
    now_s = 0.0
    while now_s + IDLE_S <= WHOLE_S:
        now_s += IDLE_S
        assert sessions.find(token, now_s) is not None
    assert sessions.find(token, WHOLE_S + 1) is None
    idle = sessions.begin("ana", b"digest", 0.0)
    assert sessions.find(idle, IDLE_S + 1) is None
    assert sessions.find(idle, 0.0) is None  # it has ended


def test_what_is_told_once_is_not_told_late() -> None:
    sessions = Sessions()
    session = sessions.find(sessions.begin("ana", b"digest", 0.0), 0.0)
    assert session is not None
    session.tell("made", 1.0, "bk_secret")
    told = session.take_told(2.0)
    assert told is not None
    assert (told.text, told.secret) == ("made", "bk_secret")
    assert session.take_told(2.0) is None
    session.tell("made", 1.0)
    assert session.take_told(100.0) is None
