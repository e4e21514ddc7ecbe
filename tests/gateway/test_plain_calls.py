"""Embeddings, moderations and older completions, by OpenAI's own client: metered, priced, held, posted."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.records import Protocol
from bursar.prices import load
from bursar.wires.protocols import WIRES
from tests.gateway.conftest import NewKey, Row

EMBEDDER = "text-embedding-3-small"
COMPLETER = "gpt-3.5-turbo-instruct"


def rate_nano(model: str, leaf: str) -> int:
    return load().find("openai", model).at(0).rates[leaf].base_nano


def test_embeddings_come_back_and_are_charged_by_their_input(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answer = openai_client.embeddings.with_raw_response.create(
        model=EMBEDDER, input=["one text", "another"], dimensions=8
    )
    made = answer.parse()
    assert [len(each.embedding) for each in made.data] == [8, 8]
    row = call_of(answer.headers["x-bursar-call-id"])
    assert row["protocol"] == Protocol.openai_embeddings
    assert made.usage.prompt_tokens == 4
    assert row["cost_nano"] == 4 * rate_nano(EMBEDDER, "input_tokens") // 1_000_000


def test_tokens_may_be_given_for_a_text(openai_client: openai.OpenAI) -> None:
    assert openai_client.embeddings.create(model=EMBEDDER, input=[1, 2, 3]).usage.prompt_tokens == 3
    assert openai_client.embeddings.create(model=EMBEDDER, input=[[1, 2, 3], [4]]).usage.prompt_tokens == 4


def test_an_embedding_holds_no_more_than_its_input_can_cost(shared_bursar: LocalBursar, new_key: NewKey) -> None:
    rate = rate_nano(EMBEDDER, "input_tokens")
    most_nano = 40 * rate // 1_000_000
    key = new_key(f"{most_nano / 1e9:.9f}")
    with openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError, match="may cost up to") as refused:
            client.embeddings.create(model=EMBEDDER, input="x" * 200)
        assert refused.value.status_code == 402
        assert client.embeddings.create(model=EMBEDDER, input="x" * 39).usage.prompt_tokens == 10


def test_a_completion_streams_and_its_usage_is_kept_from_a_client_that_did_not_ask(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    with openai_client.completions.with_raw_response.create(
        model=COMPLETER, prompt="Once upon a time [[output=9]]", max_tokens=50, stream=True
    ).parse() as stream:
        chunks = list(stream)
        name = stream.response.headers["x-bursar-call-id"]
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    row = call_of(name)
    assert row["output_tokens"] == 9
    assert row["protocol"] == Protocol.openai_completions


def test_each_choice_of_each_prompt_is_held_for(openai_client: openai.OpenAI) -> None:
    answer = openai_client.completions.create(model=COMPLETER, prompt=["a", "b"], n=2)
    assert len(answer.choices) == 4


def test_a_moderation_costs_nothing_and_leaves_a_record(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answer = openai_client.moderations.with_raw_response.create(input="I could kill for a coffee")
    assert answer.parse().results[0].flagged
    row = call_of(answer.headers["x-bursar-call-id"])
    assert (row["cost_nano"], row["model"]) == (0, "omni-moderation-latest")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("embeddings", {"model": EMBEDDER}, "input"),
        ("embeddings", {"model": EMBEDDER, "input": {"a": 1}}, "expected a text, or a list of texts or tokens"),
        ("embeddings", {"model": EMBEDDER, "input": ["a", 1]}, "expected texts alone"),
        ("completions", {"model": COMPLETER, "prompt": "a", "n": 0}, "expected an integer from 1 to 128 in `n`"),
        ("completions", {"model": COMPLETER, "prompt": "a", "max_tokens": -1}, "at least 1 in `max_tokens`"),
        ("moderations", {}, "input"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    openai_client: openai.OpenAI, path: str, body: Any, message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        openai_client.post(f"/{path}", body=body, cast_to=object)


def test_a_model_that_answers_by_another_protocol_says_so(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="no rate for output_tokens"):
        openai_client.chat.completions.create(model=EMBEDDER, messages=[{"role": "user", "content": "hello"}])


@pytest.mark.parametrize("wire", WIRES.values(), ids=lambda wire: wire.protocol.name)
def test_each_protocol_has_a_route_of_its_own_or_shares_geminis(wire: Any) -> None:
    others = [each for each in WIRES.values() if each is not wire and each.route == wire.route]
    assert not others or wire.route == "/v1beta/models"
