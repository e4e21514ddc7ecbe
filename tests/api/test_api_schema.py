"""The control plane's API answers as its own description says, whatever it is asked."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bench.harness import LocalBursar
from tests.asking import ask_and_wait

ROUTES = ("/api/overview", "/api/calls", "/api/calls/{call_id}", "/api/statement", "/api/budgets", "/api/keys")


@pytest.fixture(scope="session")
def api_schema(shared_bursar: LocalBursar) -> Any:
    secret = shared_bursar.create_key("api-schema", "5.00/day", tags={"team": "api"})
    ask_and_wait(shared_bursar, secret, x_bursar_run="api-run")
    return schemathesis.openapi.from_url(f"{shared_bursar.url}/api/openapi.json")


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, GenerationMode.POSITIVE) for path in ROUTES]
    + [(path, GenerationMode.NEGATIVE) for path in ("/api/calls", "/api/statement")],
)
def test_every_answer_is_as_described(api_schema: Any, path: str, mode: GenerationMode) -> None:
    operation = api_schema[path]["GET"]

    @settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_described(case: schemathesis.Case) -> None:
        # A text can be no date or id, and a filter can match nothing: that is described by the refusal, not the schema.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answers_as_described()


def test_the_description_names_every_route(api_schema: Any) -> None:
    assert set(api_schema.raw_schema["paths"]) == set(ROUTES)
