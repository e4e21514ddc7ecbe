"""A route is asked for by its name: one of its models answers, the record says which and why, the money adds up."""

import json
import time
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from bursar.savings.route.online import EVENTS_MIN
from tests.asking import Answer, ask, fetch, wait_booked
from tests.gateway.routed_house import call_of, served


@pytest.fixture(scope="module")
def key(routed: LocalBursar) -> str:
    return routed.create_key("routes", "100.00")


@pytest.mark.parametrize(
    ("text", "options", "target"),
    [
        ("hi", {}, "gpt-4o-mini"),
        ("Prove it.", {}, "gpt-4o"),
        ("hi", {"x_bursar_tags": "tier=gold"}, "gpt-4.1-mini"),
        ("Prove it.", {"x_bursar_tags": "tier=gold"}, "gpt-4o"),
        ("word " * 2_000, {}, "gpt-4o"),
        ("hi", {"stream": True}, "gpt-4o-mini"),
    ],
)
def test_the_first_rule_that_fits_chooses(
    routed: LocalBursar, key: str, text: str, options: dict[str, Any], target: str
) -> None:
    assert served(routed, key, text, **options) == f"sandbox/{target}"


def test_the_choice_is_in_the_header_the_record_and_what_is_shown(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, "[[output=100]] Hello there", model="auto")
    assert answer.headers["x-bursar-route"] == "rule; small"
    call = call_of(routed, answer)
    assert (call["model"], call["served_by"]) == ("auto", "sandbox/gpt-4o-mini")
    assert Decimal(call["route"].pop("expected_cost_usd")) > 0  # by answers of the length of those before
    assert call["route"] == snapshot(
        {
            "policy": "auto",
            "model": "small",
            "how": "rule",
            "why": "no rule matched; it is the first of the route's models",
            "expected_quality": None,
            "promised": False,
            "reference": "big",
        }
    )
    assert "Hello" not in json.dumps(call["route"])
    assert call["arms"] == [{"lever": "route", "arm": "treatment", "experiment": "auto", "share_ppm": 0}]


def test_a_saving_is_told_against_the_strongest_model(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, "[[output=100]] hi", model="saving")
    dear = ask(routed, key, "[[output=100]] hi", model="grand")
    assert dear.headers["x-bursar-saved-usd"] == "0.00"
    cost, saved = (Decimal(answer.headers[f"x-bursar-{name}-usd"]) for name in ("cost", "saved"))
    assert cost + saved == Decimal(dear.headers["x-bursar-cost-usd"])
    call = call_of(routed, answer)
    assert Decimal(call["counterfactual_usd"]) == cost + saved


def test_the_strongest_model_itself_saves_nothing(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, "[[output=100]] prove it", model="auto")
    assert answer.headers["x-bursar-saved-usd"] == "0.00"


def test_a_model_that_lacks_what_a_call_needs_is_passed_over(routed: LocalBursar, key: str) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    assert served(routed, key, x_bursar_tags="tier=gold", tools=[tool]) == "sandbox/gpt-4o-mini"
    pixel = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    seen = [{"role": "user", "content": [{"type": "text", "text": "[[output=5]] what is it?"}, pixel]}]
    assert served(routed, key, messages=seen) == "sandbox/gpt-4.1-mini"
    assert served(routed, key, "short", model="tight", max_tokens=100) == "sandbox/gpt-4o-mini"
    assert served(routed, key, "word " * 500, model="tight", max_tokens=100) == "sandbox/gpt-4.1-mini"


def test_what_a_provider_has_kept_is_not_taken_for_an_image(routed: LocalBursar, key: str) -> None:
    def respond(**fields: Any) -> Answer:
        body = json.dumps({"model": "auto", "input": "[[output=5]] hi"} | fields).encode()
        said = {"authorization": f"Bearer {key}", "content_type": "application/json"}
        return fetch(routed, "POST", "/v1/responses", body, **said)

    first = respond()
    wait_booked(routed, first.headers["x-bursar-call-id"])
    again = respond(previous_response_id=first.json()["id"])
    assert (again.status, again.headers["x-bursar-route"]) == (200, "rule; small")  # which takes no images


def test_a_call_that_no_model_can_serve_is_refused_with_each_reason(routed: LocalBursar, key: str) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    answer = ask(routed, key, "[[output=10]] hi", model="tight", tools=[tool])
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "no_able_model", "model")
    assert error["message"] == snapshot(
        "no model can serve this call: narrow takes no tools; middle takes no tools: see routes.tight"
    )
    assert answer.headers["x-bursar-cost-usd"] == "0.00"


def test_a_route_is_listed_among_the_models(routed: LocalBursar, key: str) -> None:
    models = fetch(routed, "GET", "/v1/models", authorization=f"Bearer {key}").json()["data"]
    assert {model["id"]: model["owned_by"] for model in models}["auto"] == "bursar"
    one = fetch(routed, "GET", "/v1/models/auto", authorization=f"Bearer {key}")
    assert one.json()["id"] == "auto"


def test_a_key_needs_the_route_in_its_scope_and_models_beside_it_narrow_the_choice(routed: LocalBursar) -> None:
    whole = routed.create_key("route alone", "1.00", models=("auto",))
    narrow = routed.create_key("route and a model", "1.00", models=("auto", "small"))
    without = routed.create_key("model alone", "1.00", models=("small",))
    assert served(routed, whole, "prove it") == "sandbox/gpt-4o"
    assert served(routed, narrow, "prove it") == "sandbox/gpt-4o-mini"
    refused = ask(routed, without, model="auto")
    assert (refused.status, refused.json()["error"]["code"]) == (403, "out_of_scope")


def test_what_fails_is_followed_by_the_routes_other_models_unless_it_says_not(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, "[[output=10]] hi", model="unlucky")
    assert (answer.status, answer.headers["x-bursar-model"]) == (200, "sandbox/gpt-4o")
    call = call_of(routed, answer)
    assert [(each["model"], each["status"]) for each in call["attempts"]] == [
        ("gpt-4o-mini", "unreachable"),
        ("gpt-4o", "ok"),
    ]
    assert ask(routed, key, "[[output=10]] hi", model="faithful").status == 502


def test_a_budget_of_the_model_that_is_chosen_counts(routed: LocalBursar) -> None:
    team = routed.create_key("with a model's budget", "1.00")
    place = ("--parent", "with a model's budget", "--match", "model=big")
    routed.command("budget", "create", "no big ones", "0.00001", *place)
    assert served(routed, team) == "sandbox/gpt-4o-mini"
    refused = ask(routed, team, "prove it", model="auto")
    assert (refused.status, refused.json()["error"]["code"]) == (402, "budget_exhausted")


def test_half_of_the_runs_are_held_out_and_a_run_stays_where_it_is(routed: LocalBursar, key: str) -> None:
    arms: dict[str, set[str]] = {}
    for number in range(24):
        run = f"compared {number % 12}"
        arms.setdefault(run, set()).add(served(routed, key, model="compared", x_bursar_run=run))
    assert all(len(models) == 1 for models in arms.values())
    assert {model for models in arms.values() for model in models} == {"sandbox/gpt-4o-mini", "sandbox/gpt-4o"}


def test_a_held_out_call_says_so(routed: LocalBursar, key: str) -> None:
    answers = (ask(routed, key, model="compared", x_bursar_run=f"arm {number}") for number in range(20))
    held = next(answer for answer in answers if answer.headers["x-bursar-model"] == "sandbox/gpt-4o")
    call = call_of(routed, held)
    assert held.headers["x-bursar-route"] == "holdout; big"
    assert call["arms"] == [{"lever": "route", "arm": "holdout", "experiment": "compared", "share_ppm": 500_000}]
    assert call["route"]["how"] == "holdout"
    assert call["counterfactual_usd"] == call["cost_usd"]


EASY = "What is the capital of France?"
HARD = """Prove that the sum of two odd integers is even, and then find all integer solutions of x^2 - 7y^2 = 1 with \
0 < x < 10,000, showing each step of the continued fraction of the square root of 7."""


def test_a_learned_route_sends_easy_and_hard_calls_to_different_models(routed: LocalBursar, key: str) -> None:
    easy, hard = (ask(routed, key, text, model="learned") for text in (EASY, HARD))
    assert (easy.headers["x-bursar-model"], hard.headers["x-bursar-model"]) == (
        "sandbox/gpt-4.1-nano",
        "sandbox/gpt-4.1",
    )
    how, model, quality = easy.headers["x-bursar-route"].split("; ")
    assert (how, model) == ("learned", "quick")
    call = call_of(routed, easy)
    assert round(call["route"]["expected_quality"], 2) == float(quality)
    assert Decimal(call["route"]["expected_cost_usd"]) > 0
    assert call["route"]["promised"] is False  # the router that ships was taught other models
    assert "France" not in json.dumps(call["route"])


def test_the_same_call_is_always_routed_alike(routed: LocalBursar, key: str) -> None:
    assert len({served(routed, key, HARD, model="learned") for _ in range(5)}) == 1


def test_what_explores_takes_another_than_the_best_guess(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, EASY, model="curious")
    assert answer.headers["x-bursar-route"].startswith("explored; grand; 0.")
    assert call_of(routed, answer)["arms"][0]["arm"] == "explored"


def test_outcomes_correct_what_a_route_expects(routed: LocalBursar, key: str) -> None:
    first = ask(routed, key, EASY, model="taught")
    assert first.headers["x-bursar-route"].startswith("learned; quick")
    names = [first.headers["x-bursar-call-id"]]
    names += [ask(routed, key, EASY, model="taught").headers["x-bursar-call-id"] for _ in range(EVENTS_MIN)]
    wait_booked(routed, names[-1])
    for name in names:
        body = json.dumps({"id": name, "kind": "thumbs", "call": name, "value": False}).encode()
        headers = {"authorization": f"Bearer {key}", "content_type": "application/json"}
        assert fetch(routed, "POST", "/api/outcomes", body, **headers).status == 201
    deadline = time.monotonic() + 15
    while (answer := ask(routed, key, EASY, model="taught")).headers["x-bursar-route"].startswith("learned; quick"):
        assert time.monotonic() < deadline, answer.headers["x-bursar-route"]
        time.sleep(0.1)
    assert answer.headers["x-bursar-model"] == "sandbox/gpt-4.1"
    assert ask(routed, key, EASY, model="learned").headers["x-bursar-model"] == "sandbox/gpt-4.1-nano"


def test_openais_client_asks_a_route(routed: LocalBursar, key: str) -> None:
    with openai.OpenAI(base_url=f"{routed.url}/v1", api_key=key, max_retries=0) as client:
        made = client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "[[output=7]] prove it"}], max_tokens=50
        )
        assert (made.model, made.usage and made.usage.completion_tokens) == ("gpt-4o", 7)
        streamed = client.responses.create(model="auto", input="[[output=7]] hi", max_output_tokens=50, stream=True)
        done = [event for event in streamed if event.type == "response.completed"]
        assert done[0].response.model == "gpt-4o-mini"


@pytest.mark.parametrize("stream", [False, True])
def test_geminis_client_asks_a_route(routed: LocalBursar, key: str, stream: bool) -> None:
    with genai.Client(api_key=key, http_options={"base_url": routed.url}) as client:
        ask_model = client.models.generate_content_stream if stream else client.models.generate_content
        answer = ask_model(model="auto", contents="[[output=12]] hi")
        parts: list[Any] = list(answer) if stream else [answer]
    assert "".join(part.text or "" for part in parts)
    assert parts[-1].usage_metadata.candidates_token_count == 12


def test_anthropics_client_asks_a_route(routed: LocalBursar, key: str) -> None:
    with anthropic.Anthropic(base_url=routed.url, api_key=key, max_retries=0) as client:
        made = client.messages.with_raw_response.create(
            model="auto",
            max_tokens=50,
            messages=[
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": [{"type": "text", "text": "[[output=7]] prove it"}]},
            ],
        )
        assert made.headers["x-bursar-route"] == "rule; big"
        assert made.parse().usage.output_tokens == 7
        counted = client.messages.count_tokens(model="auto", messages=[{"role": "user", "content": "hi"}])
        assert counted.input_tokens > 0
