"""Routes that the operator lists pass without a price: for a key, recorded, and never to what is metered."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from bench.harness import LocalBursar, bursar
from bursar.api.doctor.findings import State, judge_unmetered
from bursar.core.errors import ConfigError
from bursar.core.ids import call_id_from_name
from bursar.core.records import CallStatus, Protocol
from bursar.gateway.batches import files, messages
from bursar.gateway.batches import openai as openai_batches
from bursar.gateway.config import parse_config
from bursar.gateway.signpost import way_on
from bursar.gateway.unmetered_routes import UnmeteredRoute
from bursar.wires.protocols import BODY_WIRES
from tests.gateway.conftest import ScriptedProvider

STORES = "GET /v1/vector_stores/*"
MADE = "POST /v1/vector_stores"
CORPORA = "POST /v1beta/corpora"
CONFIG = """
[gateway.unmetered_routes]
"GET /v1/vector_stores/*" = "scripted"
"POST /v1/vector_stores" = "scripted"
"POST /v1beta/corpora" = "google"

[providers.scripted]
kind = "openai"
base_url = "{url}"
prices = "openai"
api_key = "the-operators-own"

[providers.google]
kind = "gemini"
base_url = "{url}"
prices = "google"
api_key = "googles-own"
"""


@pytest.fixture(scope="module")
def local(scripted: ScriptedProvider) -> Iterator[LocalBursar]:
    with bursar(CONFIG.format(url=scripted.url)) as local:
        yield local


@pytest.fixture(scope="module")
def key(local: LocalBursar) -> str:
    return local.create_key("passes", "0.01")


def calls_of(local: LocalBursar, key_name: str) -> list[dict[str, Any]]:
    return local.query(
        "select calls.* from calls join keys using (tenant, key_id) where keys.name = $1 order by call_id", key_name
    )


def ask(local: LocalBursar, key: str, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
    return httpx.request(method, f"{local.url}{path}", headers=headers, timeout=30, **more)


def test_a_listed_route_passes_with_the_providers_key_and_is_recorded_without_a_charge(
    local: LocalBursar, scripted: ScriptedProvider, key: str
) -> None:
    made = {"id": "vs_1", "object": "vector_store", "name": "papers", "status": "completed", "created_at": 1}
    scripted.say("vector_stores", "200 OK", json.dumps(made).encode())
    scripted.say("vs_1", "404 Not Found", b'{"error":{"message":"gone","type":"t","code":"c","param":null}}')
    with openai.OpenAI(
        base_url=f"{local.url}/v1", api_key=key, max_retries=0, default_headers={"x-bursar-run": "papers"}
    ) as client:
        answer = client.vector_stores.with_raw_response.create(name="papers")
        assert answer.parse().id == "vs_1"
        with pytest.raises(openai.NotFoundError, match="gone"):
            client.vector_stores.retrieve("vs_1")
    assert answer.headers["x-bursar-unmetered"] == "true"
    head, _, body = scripted.requests[-2].partition(b"\r\n\r\n")
    assert json.loads(body)["name"] == "papers"
    assert b"authorization: Bearer the-operators-own" in head
    assert key.encode() not in b"".join(scripted.requests)
    rows = calls_of(local, "passes")
    assert [(row["model"], row["status"], row["http_status"]) for row in rows] == [
        (MADE, CallStatus.ok, 200),
        (STORES, CallStatus.failed, 404),
    ]
    assert {(row["protocol"], row["cost_nano"], row["held_nano"], row["run"]) for row in rows} == {
        (Protocol.unmetered, 0, 0, "papers")
    }
    assert rows[0]["call_id"] == call_id_from_name(answer.headers["x-bursar-call-id"])
    assert 'protocol="unmetered",provider="scripted",status="ok"' in httpx.get(f"{local.url}/metrics").text
    assert local.audit().findings == []


def test_a_key_in_a_query_stays_here(local: LocalBursar, scripted: ScriptedProvider, key: str) -> None:
    scripted.say("corpora?pageSize=2", "200 OK", b"{}")
    path = f"/v1beta/corpora?key={key}&pageSize=2&%6bey={key}"
    answer = httpx.post(f"{local.url}{path}", content=b"{}", timeout=30)
    assert answer.status_code == 200, answer.text
    assert b"x-goog-api-key: googles-own" in scripted.requests[-1]
    assert key.encode() not in scripted.requests[-1]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("DELETE", "/v1/vector_stores/vs_1", {}, 404, "no_route"),
        ("POST", "/v1/vector_stores/vs_1", {}, 404, "no_route"),
        ("GET", "/v1/vector_stores/", {}, 404, "no_route"),
        ("GET", "/v1/vector_stores/%2e%2e/models", {}, 404, "no_route"),
        ("GET", "/v1/vector_stores/a%2fb", {}, 404, "no_route"),
        ("GET", "/v1/vector_stores/a//b", {}, 404, "no_route"),
        ("GET", "/v1/vector_stores/vs_1", {"x-bursar-max-cost-usd": "1"}, 422, "unmetered"),
        ("GET", "/v1/vector_stores/vs_1", {"authorization": "Bearer nobody"}, 401, "invalid_api_key"),
    ],
)
def test_what_is_not_listed_or_cannot_be_bounded_reaches_no_provider(
    local: LocalBursar,
    scripted: ScriptedProvider,
    key: str,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    count = len(scripted.requests)
    answer = ask(local, key, method, path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(scripted.requests) == count


@pytest.mark.parametrize("scope", [{"models": ("gpt-4o",)}, {"routes": ("/v1/chat/completions",)}])
def test_a_limited_key_may_use_no_route_without_a_meter(
    local: LocalBursar, scripted: ScriptedProvider, scope: dict[str, Any]
) -> None:
    limited, count = local.create_key(f"limited {scope}", "1.00", **scope), len(scripted.requests)
    answer = ask(local, limited, "GET", "/v1/vector_stores/vs_1")
    assert (answer.status_code, answer.json()["error"]["code"], len(scripted.requests)) == (403, "out_of_scope", count)


def config_of(route: str, provider: str = "openai", **more: Any) -> dict[str, Any]:
    own = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", **more}
    return {"gateway": {"unmetered_routes": {route: provider}}, "providers": {"openai": own}}


METERED = [
    *(f"POST {path}" for path in BODY_WIRES),
    *(f"DELETE {path}/x" for path in (files.PATH, messages.PATH, openai_batches.PATH)),
    *("GET /v1/f*", "GET /v1/files*", "POST /v1/chat/*", "POST /v1/CHAT/completions", "POST /v1/chat/c*"),
    *("POST /v1/models/*", "POST /v1beta/models/x:generateContent", "POST /v1beta/models/x*"),
    *("POST /v1beta/models/x:countTokens", "POST /v1/messages/count_tokens"),
]


@pytest.mark.parametrize("route", METERED)
def test_a_route_that_may_reach_what_is_metered_cannot_be_listed(route: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway.unmetered_routes: .* is metered here"):
        parse_config(config_of(route))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (config_of("/v1/vector_stores"), "expected one of GET"),
        (config_of("GET /v1/*"), "expected one of GET"),
        (config_of("TRACE /v1/vector_stores"), "expected one of GET"),
        (config_of("GET /v1/../x"), "expected one of GET"),
        (config_of("GET /v1/a*b"), "expected one of GET"),
        (config_of("GET /api/keys"), "expected one of GET"),
        (config_of("GET /v1/vector_stores", "opena"), "no provider 'opena'"),
        (config_of("GET /v1beta/corpora"), "begins with /v1/"),
        (config_of("GET /v1/corpora", kind="gemini"), "begins with /v1beta/"),
        (config_of("GET /v1/vector_stores", auth="google"), "signed by google"),
    ],
)
def test_a_route_that_cannot_pass_is_an_error_with_the_reason(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config(tables)


def test_what_may_be_listed_is_said_where_it_is_refused_and_by_the_doctor() -> None:
    assert parse_config(config_of("POST /v1/chat/completions/*")).gateway.unmetered_routes
    assert "gateway.unmetered_routes" in way_on("/v1/vector_stores/vs_1")
    assert "gateway.unmetered_routes" not in way_on(files.PATH)
    assert "gateway.unmetered_routes" not in way_on("/upload/v1beta/files")
    (found,) = judge_unmetered({STORES: "openai"})
    assert found.state is State.warn
    assert f"{STORES} to openai" in found.text
    assert list(judge_unmetered({})) == []


def test_an_attempt_nobody_answers_is_recorded() -> None:
    with bursar(CONFIG.format(url="http://127.0.0.1:9/v1")) as away:
        answer = ask(away, away.create_key("away"), "GET", "/v1/vector_stores/vs_1")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        assert [(row["status"], row["http_status"]) for row in calls_of(away, "away")] == [(CallStatus.failed, 0)]


def test_a_listed_beginning_needs_more_behind_it() -> None:
    route = UnmeteredRoute(STORES, "openai")
    assert route.takes("GET", "/v1/vector_stores/a/files")
    assert not any(route.takes("GET", path) for path in ("/v1/vector_stores", "/v1/vector_stores/", "/v1/x"))
