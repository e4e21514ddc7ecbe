"""A program asks Bursar by methods, and gets the API's own types or the errors of Bursar."""

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

import bursar
from bench.harness import LocalBursar
from bursar.api.handlers import HANDLERS
from bursar.client.asking import TRIES, Answer, refusal_of
from bursar.client.client import Client
from bursar.core.errors import (
    BadRequest,
    ConfigError,
    Conflict,
    Forbidden,
    NoMoney,
    NotFound,
    Refusal,
    TooMany,
    Unauthorized,
    Unavailable,
)
from tests.asking import ask_and_wait, ask_until

LEFT_OUT = {
    "/api/overview": "the front page's own; a program asks for its parts",
    "/api/count": "the page's own, for files too; a text is counted by `price_plan`",
    "/api/doctor": "what is not well is looked at by people; a program has `bursar doctor --json`",
    "/api/series/spend": "the page's own; a program asks for the statement, or the calls",
    "/api/series/tokens": "the page's own, as above",
    "/api/series/latency": "the page's own; a program reads /metrics",
    "/api/prices": "the book, looked at; a program asks what its own work costs by `price_plan`",
    "/api/prices/{}": "as above",
    "/api/compare": "as above; `bursar prices --compare --json` is for machines",
    "/api/budgets/tree": "budgets are listed with what they are a part of by `budgets`",
    "/api/budgets/{}/policy": "a policy is set by people, on the page or by `bursar budget policy`",
    "/api/alerts": "alerts are told by webhooks; they are looked at with `bursar alerts list`",
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def admin(shared_bursar: LocalBursar) -> Client:
    secret = shared_bursar.command("admin", "create", "--name", "client-admin").strip()
    return Client(shared_bursar.url, admin_key=secret)


@pytest.fixture
def name() -> str:
    return f"client-{next(_numbers)}"


@pytest.fixture
def client(shared_bursar: LocalBursar, name: str) -> Client:
    return Client(shared_bursar.url, key=shared_bursar.create_key(name, "2.00/day"))


class Scripted(BaseHTTPRequestHandler):
    """Answer with what the test has laid out, one after the other."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer()

    def _answer(self) -> None:
        server: Any = self.server
        server.asked.append((self.command, self.path, self.headers.get("authorization")))
        status, headers, body = server.answers.pop(0)
        self.send_response(status)
        for pair in {"content-length": str(len(body)), **headers}.items():
            self.send_header(*pair)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's word
        """Say nothing."""


@pytest.fixture
def scripted() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Scripted)
    server.asked, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_path_of_the_api_has_a_method_or_is_left_out_for_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = set[tuple[str, str]]()

    def note(_asking: Any, request: Any, _kind: Any) -> None:
        asked.add((request.method, request.path))

    monkeypatch.setattr("bursar.client.asking.Asking.ask", note)
    client = Client("http://127.0.0.1:1", key="bk_x", admin_key="ba_x")
    words = {"charge": ("1", "tool", "1"), "tell_outcome": ("1", "thumbs", True), "set_limits": ("X", ["1.00"])}
    words |= {"limit_key": ("X",), "move": ("1", "X", "Y", "1")}
    named = {"call", "run", "own_run", "create_key", "rotate_key", "revoke_key", "create_budget", "freeze", "thaw"}
    for method in (each for each in vars(Client) if not each.startswith("_")):
        getattr(client, method)(*words.get(method, ("X",) if method in named else ()))
    shown = {(method, re.sub(r"X", "{}", path)) for method, path in asked}
    described = {
        (method.value if hasattr(method, "value") else str(method), re.sub(r"\{[^}]*\}", "{}", path))
        for handler in HANDLERS
        for path in handler.paths
        for method in handler.http_methods
    }
    assert {each for each in described - shown if each[1] not in LEFT_OUT} == set()
    assert shown - described == set()
    assert set(LEFT_OUT) <= {path for _, path in described} - {path for _, path in shown}


def test_a_key_lives_its_whole_life(admin: Client, shared_bursar: LocalBursar, name: str) -> None:
    made = admin.create_key(name, limits=["1.00/day"], models=["gpt-4o-mini"], tags={"team": "blue"})
    assert (made.key.name, made.key.budget, made.key.models) == (name, "1.00/day", ["gpt-4o-mini"])
    listed = admin.keys()
    assert made.key in listed
    limited = admin.limit_key(name, models=["gpt-4o*"], output_cap=100)
    assert (limited.models, limited.output_cap, limited.tags) == (["gpt-4o*"], 100, {"team": "blue"})
    assert admin.rotate_key(name, overlap="1h").secret != made.secret
    assert admin.set_limits(name, ["3.00/day"]).limits == ["3.00/day"]
    assert admin.freeze(name).frozen
    assert ask_until(shared_bursar, made.secret, 402).json()["error"]["code"] == "budget_frozen"
    assert not admin.thaw(name).frozen
    assert [admin.revoke_key(made.key.id).revoked for _ in range(2)] == [True, True]
    assert admin.audit(subject=name)[0].action == "key.revoke"


def test_a_budget_is_made_and_listed_above_its_keys(admin: Client, name: str) -> None:
    made = admin.create_budget(name, limits=["9.00/month"], kind="person")
    admin.create_key(f"{name} key", parent=name)
    found = {each.name: each for each in admin.budgets()}
    assert (made.kind, found[name].limit, found[f"{name} key"].parent) == ("person", "9.00/month", name)


def test_money_is_moved_once_for_an_id(admin: Client, name: str) -> None:
    for each in (f"{name} a", f"{name} b"):
        admin.create_budget(each, limits=["2.00/month"])
    moved = [admin.move(f"{name} 1", f"{name} a", f"{name} b", "0.50") for _ in range(2)]
    assert [(each.source, each.to, each.amount_usd, each.again) for each in moved] == [
        (f"{name} a", f"{name} b", "0.50", again) for again in (False, True)
    ]
    assert {each.name: each.left_usd for each in admin.budgets() if each.name.startswith(f"{name} ")} == {
        f"{name} a": "1.50",
        f"{name} b": "2.50",
    }


def test_work_is_charged_once_and_outcomes_count_once(client: Client, shared_bursar: LocalBursar, name: str) -> None:
    secret = client._key
    call_id = ask_and_wait(shared_bursar, secret, x_bursar_run=name)
    first = client.charge(f"{name} 1", "tool", "0.25", call=call_id, quantity="3 searches")
    assert (first.cost_usd, first.again) == ("0.25", False)
    assert client.charge(f"{name} 1", "tool", "0.25", call=call_id, quantity="3 searches").again
    with pytest.raises(Conflict) as conflict:
        client.charge(f"{name} 1", "tool", "0.26")
    assert conflict.value.code == "charge_conflict"
    told = [client.tell_outcome(f"{name} 1", "thumbs", True, call=call_id) for _ in range(2)]
    assert [(each.value, each.again) for each in told] == [(1.0, False), (1.0, True)]
    assert client.call(call_id)["run"] == name
    assert client.calls(run=name)[0]["id"] == call_id
    assert client.run(name)["charges_usd"] == client.own_run(name)["charges_usd"] == "0.25"
    assert client.runs()[0]["run"]
    lines = {line.name: line for line in client.statement("run", since="2026-01-01", until="2098-01-01").lines}
    assert (lines[name].calls, lines[name].charges) == (1, 1)
    assert isinstance(client.savings(), list)
    assert client.routes(days=1).drifts == []


def test_what_is_refused_is_an_error_with_its_code_and_field(admin: Client, client: Client) -> None:
    with pytest.raises(NotFound) as missing:
        admin.freeze("nobody at all")
    assert missing.value.code == "not_found"
    with pytest.raises(BadRequest) as wrong:
        admin.create_key("x", limits=["lots"])
    assert "expected USD" in wrong.value.message
    with pytest.raises(BadRequest) as field:
        client.charge("x", "tool", "-1")
    assert field.value.param == "amount_usd"
    with pytest.raises(Unauthorized):
        Client(client._asking._parts.geturl(), key="bk_" + "x" * 43).own_budget()


@pytest.mark.parametrize("url", ["", "127.0.0.1:4000", "ftp://a", "http://", "http://a?b=c", "http://u:p@a"])
def test_an_address_that_is_none_is_said_to_be(url: str) -> None:
    with pytest.raises(ConfigError, match="url: expected one such as"):
        Client(url)


def test_a_method_says_which_key_it_needs_and_which_words_it_takes() -> None:
    client = Client("http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="admin_key: this needs one"):
        client.freeze("x")
    with pytest.raises(ConfigError, match="key: this needs one"):
        client.own_budget()
    with pytest.raises(ConfigError, match="by: expected model, key, tag, run"):
        client.statement("colour")
    with pytest.raises(ConfigError, match="kind: expected retrieval"):
        client.charge("1", "gift", "1")


REFUSALS = [
    (402, b'{"error":{"message":"no","code":"budget_exhausted"}}', NoMoney, "budget_exhausted", None),
    (403, b'{"status_code":403,"detail":"no","extra":{"code":"local_only"}}', Forbidden, "local_only", None),
    (400, b'{"detail":"no","extra":[{"message":"Expected int","key":"limit"}]}', BadRequest, "bad_request", "limit"),
    (404, b"<html>", NotFound, "not_found", None),
    (418, b"{}", BadRequest, "bad_request", None),
    (429, b"[]", TooMany, "too_many_requests", None),
    (500, b"", Unavailable, "books_unavailable", None),
]


@pytest.mark.parametrize(("status", "body", "kind", "code", "param"), REFUSALS)
def test_every_refusal_is_read(status: int, body: bytes, kind: type[Refusal], code: str, param: str | None) -> None:
    refusal = refusal_of(Answer(status, {"retry-after": "7"}, body))
    assert (type(refusal), refusal.code, refusal.param, refusal.retry_after_s) == (kind, code, param, 7)
    assert refusal.message


def test_what_may_be_asked_twice_is_asked_until_it_is_answered(scripted: Any) -> None:
    scripted.answers = [(503, {}, b"{}"), (429, {"retry-after": "0"}, b"{}"), (200, {}, b"[]")]
    assert Client(scripted.url).keys() == []
    assert scripted.asked == [("GET", "/api/keys", None)] * TRIES


def test_a_key_is_created_by_one_request_alone(scripted: Any) -> None:
    scripted.answers = [(503, {}, b"{}"), (201, {}, b"{}")]
    with pytest.raises(Unavailable):
        Client(scripted.url, admin_key="ba_x").create_key("x")
    assert scripted.asked == [("POST", "/api/keys", "Bearer ba_x")]


def test_no_redirect_is_followed_with_a_key(scripted: Any) -> None:
    scripted.answers = [(302, {"location": "http://elsewhere.example/"}, b"")]
    with pytest.raises(Refusal):
        Client(scripted.url, key="bk_x").own_budget()
    assert len(scripted.asked) == 1


def test_an_answer_of_something_else_is_not_taken_for_bursars(scripted: Any) -> None:
    scripted.answers = [(200, {}, b"<html>")]
    with pytest.raises(Unavailable) as other:
        Client(scripted.url).keys()
    assert other.value.code == "not_bursar"


def test_nobody_there_is_unavailable_by_its_address(scripted: Any) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached") as away:
        Client("http://127.0.0.1:1").keys()
    assert away.value.code == "unreachable"


def test_the_client_is_loaded_when_asked_for_and_brings_no_server_with_it() -> None:
    code = (
        "import sys, bursar; assert 'bursar.client.client' not in sys.modules; bursar.Client('http://a');"
        "print([name for name in ('asyncpg', 'litestar', 'numpy', 'uvicorn', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert bursar.Client is Client
    with pytest.raises(AttributeError):
        _ = bursar.Customer  # pyright: ignore[reportAttributeAccessIssue]


def test_the_types_are_those_of_the_api(client: Client) -> None:
    assert msgspec.json.decode(msgspec.json.encode(client.own_budget()))["left_usd"] == "2.00"
