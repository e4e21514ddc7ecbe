"""The control plane's API answers as its own description says, whatever it is asked."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from bench.harness import LocalBursar
from tests.asking import ask_and_wait

ROUTES = (
    "/api/overview",
    "/api/calls",
    "/api/calls/{call_id}",
    "/api/savings",
    "/api/routes",
    "/api/statement",
    "/api/budgets",
    "/api/budgets/tree",
    "/api/keys",
    "/api/alerts",
    "/api/doctor",
    "/api/audit",
    "/api/prices",
    "/api/prices/{name}",
    "/api/runs",
    "/api/runs/{run}",
    "/api/series/spend",
    "/api/series/tokens",
    "/api/series/latency",
)
OWN_KEY = (
    ("POST", "/api/charges"),
    ("POST", "/api/outcomes"),
    ("POST", "/api/own/plan"),
    ("GET", "/api/own/budget"),
    ("GET", "/api/own/runs/{run}"),
)
CHANGES = (
    "/api/keys",
    "/api/keys/{name}",
    "/api/keys/{name}/rotate",
    "/api/keys/{name}/revoke",
    "/api/budgets",
    "/api/budgets/{name}/limits",
    "/api/budgets/{name}/policy",
    "/api/budgets/{name}/move",
    "/api/budgets/{name}/freeze",
    "/api/budgets/{name}/thaw",
)


@pytest.fixture(scope="session")
def api_key(shared_bursar: LocalBursar) -> str:
    secret = shared_bursar.create_key("api-schema", "5.00/day", tags={"team": "api"})
    ask_and_wait(shared_bursar, secret, x_bursar_run="api-run")
    return secret


@pytest.fixture(scope="session")
def api_admin(shared_bursar: LocalBursar) -> str:
    return shared_bursar.command("admin", "create", "--name", "api-schema").strip()


@pytest.fixture(scope="session")
def api_schema(shared_bursar: LocalBursar, api_key: str) -> Any:
    return schemathesis.openapi.from_url(f"{shared_bursar.url}/api/openapi.json")


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, GenerationMode.POSITIVE) for path in ROUTES]
    + [(path, GenerationMode.NEGATIVE) for path in ("/api/calls", "/api/statement", "/api/runs", "/api/series/spend")],
)
def test_every_answer_is_as_described(api_schema: Any, path: str, mode: GenerationMode) -> None:
    operation = api_schema[path]["GET"]

    @settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_described(case: schemathesis.Case) -> None:
        # A text can be no date or id, and a filter can match nothing: that is described by the refusal, not the schema.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answers_as_described()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", ["/api/count", "/api/compare"])
def test_every_answer_to_a_question_with_a_body_is_as_described(
    api_schema: Any, path: str, mode: GenerationMode
) -> None:
    operation = api_schema[path]["POST"]

    @settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_described(case: schemathesis.Case) -> None:
        # A request can name two things to count, or a model that is none: that is described by the refusal.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answers_as_described()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("method", "path"), OWN_KEY)
@pytest.mark.parametrize("bearer", ["the key", "bk_" + "x" * 43, "nothing", None])
def test_every_answer_in_the_name_of_a_key_is_as_described(
    api_schema: Any, api_key: str, mode: GenerationMode, bearer: str | None, method: str, path: str
) -> None:
    operation = api_schema[path][method]
    secret = api_key if bearer == "the key" else bearer
    excluded = [positive_data_acceptance]
    if mode is GenerationMode.NEGATIVE and secret == api_key:  # it takes the key for one it has made up
        excluded.append(ignored_auth)

    @settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_described(case: schemathesis.Case) -> None:
        if secret is not None:  # it is also left out
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {secret}"}
        answer = case.call_and_validate(excluded_checks=excluded)
        assert secret == api_key or answer.status_code in (400, 401, 429)  # whoever guesses is slowed down

    answers_as_described()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", CHANGES)
def test_every_answer_to_a_change_is_as_described(
    api_schema: Any, api_admin: str, path: str, mode: GenerationMode
) -> None:
    operation = api_schema[path]["PATCH" if path == "/api/keys/{name}" else "POST"]

    @settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_described(case: schemathesis.Case) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {api_admin}"}  # it is also left out
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answers_as_described()


def test_the_description_names_every_route(api_schema: Any) -> None:
    assert set(api_schema.raw_schema["paths"]) == {
        *ROUTES,
        *(path for _, path in OWN_KEY),
        *CHANGES,
        "/api/count",
        "/api/compare",
    }
