"""Money is moved between budgets over the API and by the forms of pages: once an id, all of it or nothing."""

import http.client
import json
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from tests.asking import Answer, ask, ask_until, fetch

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBursar]:
    """Run a Bursar of their own: its control plane is killed here."""
    local = LocalBursar()
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def admin(local: LocalBursar) -> str:
    return local.command("admin", "create", "--name", "mover").strip()


@pytest.fixture
def pair(local: LocalBursar, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Make two budgets, of ten USD and of five."""
    names = f"from {request.node.name}"[:100], f"to {request.node.name}"[:100]
    for name, limit in zip(names, ("10.00/month", "5.00/month"), strict=True):
        local.command("budget", "create", name, limit)
    return names


def move(local: LocalBursar, admin: str, source: str, **body: str) -> Answer:
    path = f"/api/budgets/{source.replace(' ', '%20').replace('[', '%5B').replace(']', '%5D')}/move"
    headers = {"authorization": f"Bearer {admin}", "content_type": "application/json"}
    return fetch(local, "POST", path, json.dumps(body).encode(), **headers)


def lefts(local: LocalBursar, *names: str) -> list[str | None]:
    tree = {each["name"]: each for each in fetch(local, "GET", "/api/budgets/tree").json()}
    return [tree[name]["limits"][0]["left_usd"] for name in names]


def test_money_moves_once_an_id_and_nothing_is_lost(local: LocalBursar, admin: str, pair: tuple[str, str]) -> None:
    source, target = pair
    for again in (False, True, True):
        answer = move(local, admin, source, id="first", to=target, amount_usd="4.00")
        assert answer.status == 200, answer.body
        assert answer.json() == {"id": "first", "from": source, "to": target, "amount_usd": "4.00", "again": again}
        assert lefts(local, *pair) == ["6.00", "9.00"]
    for other in ({"to": target, "amount_usd": "4.01"}, {"to": source, "amount_usd": "4.00"}):
        origin = target if other["to"] == source else source
        answer = move(local, admin, origin, id="first", **other)
        assert (answer.status, answer.json()["extra"]["code"]) == (409, "name_taken")
    move(local, admin, target, id="back", to=source, amount_usd="0.50")
    assert lefts(local, *pair) == ["6.50", "8.50"]
    lines = fetch(local, "GET", "/api/audit?action=budget.move&limit=10").json()
    assert [(line["subject"], line["details"]["amount_usd"]) for line in lines][:2] == [
        (target, "0.50"),
        (source, "4.00"),
    ]
    assert lines[0]["actor"] == "mover"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"id": "a", "to": "nobody", "amount_usd": "1.00"}, 404, None),
        ({"id": "a", "amount_usd": "0"}, 400, "amount_usd"),
        ({"id": "a", "amount_usd": "-1"}, 400, "amount_usd"),
        ({"id": "a", "amount_usd": "much"}, 400, "amount_usd"),
        ({"id": "", "amount_usd": "1.00"}, 400, None),
        ({"id": "a\0", "amount_usd": "1.00"}, 400, None),
        ({"amount_usd": "1.00"}, 400, None),
        ({"id": "a", "amount_usd": "10.01"}, 400, None),
    ],
)
def test_what_cannot_be_moved_stays(
    local: LocalBursar, admin: str, pair: tuple[str, str], body: dict[str, str], status: int, param: str | None
) -> None:
    answer = move(local, admin, pair[0], **({"to": pair[1]} | body))
    assert answer.status == status, answer.body
    if param is not None:
        assert answer.json()["extra"]["param"] == param
    assert lefts(local, *pair) == ["10.00", "5.00"]


def test_what_is_moved_in_can_be_spent_by_a_key_below(local: LocalBursar, admin: str, pair: tuple[str, str]) -> None:
    local.command("budget", "set", pair[1], "0.0000001/month")
    secret = local.create_key(f"below {pair[1]}"[:60], parent=pair[1])
    assert ask(local, secret).status == 402
    assert move(local, admin, pair[0], id="to spend", to=pair[1], amount_usd="1.00").json()["again"] is False
    ask_until(local, secret, 200)


def test_many_at_once_move_an_id_once(local: LocalBursar, admin: str, pair: tuple[str, str]) -> None:
    answers: list[Answer] = []

    def send() -> None:
        answers.append(move(local, admin, pair[0], id="many", to=pair[1], amount_usd="1.00"))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [answer.status for answer in answers] == [200] * 6
    assert sorted(answer.json()["again"] for answer in answers) == [False, *[True] * 5]
    assert lefts(local, *pair) == ["9.00", "6.00"]


def test_a_move_sent_again_after_a_crash_moves_once(local: LocalBursar, admin: str, pair: tuple[str, str]) -> None:
    def until_moved(number: int) -> None:
        for _ in range(200):
            try:
                answer = move(local, admin, pair[0], id=f"crash {number}", to=pair[1], amount_usd="0.10")
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 200:
                return
            assert answer.status == 503, answer.body
        raise AssertionError("it never moved")

    threads = [threading.Thread(target=until_moved, args=(number,)) for number in range(8)]
    for number, each in enumerate(threads):
        each.start()
        if number == 3:
            local.kill("control")
    for each in threads:
        each.join()
    left = [usd_to_nano(text or "") for text in lefts(local, *pair)]
    assert left == [usd_to_nano("9.20"), usd_to_nano("5.80")]
    (count,) = local.query("select count(*) as n from transfers where reason = 9 and amount_nano = 100000000")
    assert count["n"] == 8


def form(local: LocalBursar, path: str, fields: dict[str, str], cookie: str = "") -> Answer:
    return fetch(local, "POST", path, urlencode(fields).encode(), origin=local.url, content_type=FORM, cookie=cookie)


def test_a_form_asks_first_and_sent_twice_moves_once(local: LocalBursar, admin: str, pair: tuple[str, str]) -> None:
    cookie = form(local, "/sign-in", {"admin_key": admin}).headers["set-cookie"].partition(";")[0]
    tree = {each["name"]: each for each in fetch(local, "GET", "/api/budgets/tree").json()}
    path = f"/budgets/{tree[pair[0]]['id']}/move"
    fields = {"id": "by form", "to": pair[1], "amount_usd": "2.50"}
    asked = form(local, path, fields, cookie)
    assert asked.status == 200
    for text in (
        "Move 2.50 USD from",
        "10.00 USD",
        "7.50 USD",
        "5.00 USD",
        'name="sure" value="yes"',
        'value="by form"',
    ):
        assert text in asked.body.decode()
    assert lefts(local, *pair) == ["10.00", "5.00"]
    for _ in range(2):
        assert form(local, path, fields | {"sure": "yes"}, cookie).status == 303
        assert lefts(local, *pair) == ["7.50", "7.50"]
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"to": "nobody"}, 404, "no budget or key named"),
        ({"amount_usd": "7.51"}, 400, "cannot give so much: 7.50 USD are left to it"),
        ({"amount_usd": ""}, 400, "expected an amount such as 5.00"),
        ({"amount_usd": "1", "sure": "yes"}, 409, "this id has moved something else"),
        ({"id": "more", "amount_usd": "99", "sure": "yes"}, 400, "cannot give so much"),
    ]
    for changed, status, told in wrong:
        answer = form(local, path, fields | changed, cookie)
        assert (answer.status, told in unescape(answer.body.decode())) == (status, True), answer.body
    assert form(local, path, fields | {"id": "unsigned", "sure": "yes"}).status == 401
    assert lefts(local, *pair) == ["7.50", "7.50"]
