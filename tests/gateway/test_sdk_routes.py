"""Every route of the official SDKs' clients works, or is refused so that the client raises its own typed exception."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from bench.harness import LocalBursar
from bursar.gateway.signpost import ELSEWHERE, sign_at, way_on
from tests.docs.make_routes import NO_ROUTE, PAGE, WORKS, ask, code_in, lines_of
from tests.docs.sdk_routes import Route, sdk_routes

LINES = list(lines_of(PAGE.read_text()))
MAKE_AGAIN = "run: python -m tests.docs.make_routes"


@pytest.fixture(scope="module")
def asked(shared_bursar: LocalBursar) -> Iterator[Callable[[Route], httpx.Response]]:
    """Ask routes over one connection, each as its SDK does."""
    key = shared_bursar.create_key("every route")
    with httpx.Client(base_url=shared_bursar.url) as client:
        yield lambda route: ask(client, route, key)


def test_the_page_has_every_route_of_the_clients_and_no_other() -> None:
    routes = sdk_routes()
    assert len(routes) > 700
    assert {route.sdk for route in routes} == {"openai", "anthropic", "google-genai"}
    assert sorted(route for route, _ in LINES) == routes, MAKE_AGAIN


@pytest.mark.parametrize(
    ("route", "said"), [pytest.param(*line, id=f"{line[0].sdk} {line[0].method} {line[0].path}") for line in LINES]
)
def test_a_route_answers_as_the_page_says(asked: Callable[[Route], httpx.Response], route: Route, said: str) -> None:
    response = asked(route)
    if said == WORKS:
        assert response.status_code == 200 or code_in(route.sdk, response.json()) not in ("", NO_ROUTE), MAKE_AGAIN
        assert response.status_code < 500
        return
    sign = sign_at(route.path)
    assert sign is not None
    assert (response.status_code, code_in(route.sdk, response.json())) == (404, NO_ROUTE), MAKE_AGAIN
    message = response.json()["error"]["message"]
    assert said == f"Refused: {sign.reason}", MAKE_AGAIN
    assert message.startswith(f"no route {route.method} {route.example}: {sign.reason}; {sign.way}")


@pytest.mark.filterwarnings("ignore:The (Assistants|Sora) API:DeprecationWarning")
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.beta.threads.create(),
        lambda client: client.vector_stores.create(name="x"),
        lambda client: client.vector_stores.search("vs_1", query="x"),
        lambda client: client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file_1"),
        lambda client: client.evals.list(),
        lambda client: client.containers.create(name="x"),
        lambda client: client.uploads.create(bytes=1, filename="x", mime_type="text/plain", purpose="batch"),
        lambda client: client.videos.create(prompt="x"),
        lambda client: client.conversations.create(),
        lambda client: client.realtime.client_secrets.create(),
        lambda client: client.chat.completions.list(),
        lambda client: client.skills.list(),
        lambda client: client.models.delete("gpt-4o-mini"),
    ],
)
def test_openais_client_raises_its_own_exception(openai_client: openai.OpenAI, call: Callable[[Any], Any]) -> None:
    with pytest.raises(openai.NotFoundError, match=r"no route .*: .*; ") as caught:
        call(openai_client)
    assert caught.value.code == NO_ROUTE


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.beta.skills.list(),
        lambda client: client.beta.skills.retrieve("skill_1"),
        lambda client: client.beta.agents.list(),
        lambda client: client.beta.sessions.list(),
        lambda client: client.beta.environments.list(),
        lambda client: client.beta.vaults.list(),
        lambda client: client.beta.memory_stores.list(),
        lambda client: client.beta.deployments.list(),
    ],
)
def test_anthropics_client_raises_its_own_exception(
    anthropic_client: anthropic.Anthropic, call: Callable[[Any], Any]
) -> None:
    with pytest.raises(anthropic.NotFoundError, match=r"no route .*: .*; ") as caught:
        call(anthropic_client)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["code"] == NO_ROUTE


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.caches.create(model="gemini-2.5-flash"),
        lambda client: client.caches.get(name="cachedContents/1"),
        lambda client: client.caches.delete(name="cachedContents/1"),
        lambda client: client.file_search_stores.create(),
        lambda client: client.file_search_stores.get(name="fileSearchStores/1"),
        lambda client: client.tunings.get(name="tunedModels/1"),
        lambda client: client.models.delete(model="gemini-2.5-flash"),
        lambda client: client.models.generate_videos(
            model="veo-3.0-generate-001", source=types.GenerateVideosSource(prompt="x")
        ),
        lambda client: client.operations.get(types.GenerateVideosOperation(name="models/veo/operations/1")),
    ],
)
def test_googles_client_raises_its_own_exception(gemini_client: genai.Client, call: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.ClientError, match=r"no route .*: .*; ") as caught:
        call(gemini_client)
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1beta/nothing:predicted", "/upload"])
def test_a_path_that_no_client_asks_is_sent_to_the_reference(path: str) -> None:
    assert sign_at(path) is None
    assert way_on(path) == ELSEWHERE


def test_models_are_looked_at_and_never_changed(shared_bursar: LocalBursar, key: str) -> None:
    with httpx.Client(base_url=shared_bursar.url, headers={"authorization": f"Bearer {key}"}) as client:
        for method in ("DELETE", "PATCH", "PUT", "OPTIONS"):
            response = client.request(method, "/v1/models/gpt-4o-mini")
            assert (response.status_code, response.json()["error"]["code"]) == (404, NO_ROUTE)
        assert client.get("/v1/models/gpt-4o-mini").json()["id"] == "gpt-4o-mini"
