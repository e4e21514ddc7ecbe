"""Every protocol's own client gets what it asked for from every provider, in its own protocol, charged to the nano."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from bench.harness import LocalBursar
from tests.asking import ask, fetch
from tests.gateway.conftest import Row, find_call
from tests.gateway.dialects import Chat, Dialect, Gemini, Messages, Responses

DIALECTS: tuple[type[Dialect], ...] = (Chat, Messages, Responses, Gemini)
MODELS = ("chat", "messages", "responses", "gemini")
"""Each served by a provider that speaks the protocol of this name alone."""

Speak: TypeAlias = Callable[[type[Dialect]], Dialect]


PAIRS = [(dialect, model) for dialect in DIALECTS for model in MODELS]


@pytest.fixture(scope="module")
def secret(translating: LocalBursar) -> str:
    return translating.create_key("translation", "100.00")


@pytest.fixture
def speak(translating: LocalBursar, secret: str) -> Iterator[Speak]:
    made: list[Dialect] = []

    def make(dialect: type[Dialect]) -> Dialect:
        made.append(dialect(translating.url, secret))
        return made[-1]

    yield make
    for each in made:
        each.close()


def tokens_in_books(row: Row) -> tuple[int, int]:
    """Return the input and output tokens of a call's record."""
    into = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    return sum(row[name] for name in into), row["output_tokens"] + row["reasoning_tokens"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialect", "model"), PAIRS)
def test_a_question_with_an_image_is_answered(
    translating: LocalBursar, speak: Speak, dialect: type[Dialect], model: str, stream: bool
) -> None:
    told = speak(dialect).ask(model, "[[output=12]] What is this?", stream=stream)
    assert len(told.text) == 4 * 12
    assert told.stopped == dialect.stops["end"]
    row = find_call(translating, told.call)
    assert told.tokens == tokens_in_books(row)
    assert told.tokens[0] > 765  # an image's
    assert told.tokens[1] == 12
    assert row["cost_nano"] > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialect", "model"), PAIRS)
def test_an_answer_that_met_its_cap_says_so(speak: Speak, dialect: type[Dialect], model: str, stream: bool) -> None:
    told = speak(dialect).ask(model, "[[output=60]] Go on.", stream=stream, cap=20)
    assert (told.stopped, told.tokens[1]) == (dialect.stops["cap"], 20)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialect", "model"), PAIRS)
def test_a_tool_is_called_with_its_arguments(speak: Speak, dialect: type[Dialect], model: str, stream: bool) -> None:
    told = speak(dialect).use_tool(model, stream=stream)
    assert told.tool == ("weather", {"place": "Paris"})
    assert told.stopped == dialect.stops["tool"]


@pytest.mark.parametrize(("dialect", "model"), PAIRS)
def test_what_a_tool_returned_goes_back(speak: Speak, dialect: type[Dialect], model: str) -> None:
    told = speak(dialect).answer_tool(model)
    assert told.tokens[1] == 7
    assert told.stopped == dialect.stops["end"]


def test_what_cannot_be_carried_is_named_and_nothing_is_held(translating: LocalBursar, secret: str) -> None:
    answer = ask(translating, secret, model="messages", logprobs=True)
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "cannot_be_carried", "logprobs")
    assert "logprobs" in error["message"]


def test_a_call_goes_to_the_candidate_that_can_take_it(translating: LocalBursar, secret: str) -> None:
    plain = ask(translating, secret, model="either")
    assert plain.headers["x-bursar-model"] == "messages/claude-haiku-4-5"
    special = ask(translating, secret, model="either", logprobs=True)
    assert special.headers["x-bursar-model"] == "chat/gpt-4o-mini"


@pytest.mark.parametrize(("fault", "status"), [("429", 429), ("500", 500)])
def test_a_providers_error_is_told_in_the_clients_shape(
    translating: LocalBursar, secret: str, fault: str, status: int
) -> None:
    answer = ask(translating, secret, f"[[fault={fault}]] x", model="messages")
    error = answer.json()["error"]
    assert answer.status == status
    assert "the sandbox was told" in error["message"]
    assert error["type"] == ("rate_limit_error" if status == 429 else "server_error")


def test_a_translated_stream_that_is_cut_does_not_pass_for_whole(translating: LocalBursar, secret: str) -> None:
    answer = ask(translating, secret, "[[output=40 fault=cut after=5]] x", model="messages", stream=True)
    assert b"[DONE]" not in answer.body
    assert b"upstream_cut" in answer.body
    row = find_call(translating, answer.headers["x-bursar-call-id"])
    assert row["cost_nano"] > 0
    assert row["output_tokens"] < 40


def test_a_stream_ends_with_its_cost(translating: LocalBursar, secret: str) -> None:
    answer = ask(translating, secret, "[[output=9]] x", model="messages", stream=True)
    assert answer.body.split(b"\n\n")[-3] == b"data: [DONE]"
    assert b": bursar cost_usd=0.0" in answer.body.split(b"\n\n")[-2]
    assert b'"usage":{' not in answer.body  # nobody asked for it


def test_a_key_is_refused_in_the_protocol_of_who_asks(translating: LocalBursar) -> None:
    answer = fetch(translating, "POST", "/v1/messages", b"{}", x_api_key="bk_nobody")
    assert answer.json()["type"] == "error"
