"""Anthropic's message batches: held for when made, charged once, their results given by the gateway itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import pytest

from bench.harness import LocalBursar
from bursar.core.usage import Usage
from tests.gateway.test_openai_batches import batch_price, the_batch

MODEL = "claude-haiku-4-5"


@contextmanager
def client_of(local: LocalBursar, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=local.url, api_key=key, max_retries=0) as client:
        yield client


def request(number: int, text: str = "[[output=5]]", **params: Any) -> Any:
    asked = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"r{number}", "params": asked | params}


def test_a_message_batch_is_held_for_and_charged_once_however_often_it_is_fetched(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    texts = ["[[output=5]] looks=3", "[[output=5 fault=500]]", "[[output=5]]"]
    with client_of(shared_bursar, new_key("1.00")) as client:
        made = client.messages.batches.create(requests=[request(n, text) for n, text in enumerate(texts)])
        row = the_batch(shared_bursar, made.id)
        assert row["held_nano"] > batch_price(MODEL, Usage(output_tokens=60))
        assert (made.processing_status, made.results_url, row["call_nano"]) == ("in_progress", None, None)
        with pytest.raises(anthropic.NotFoundError, match="no results yet"):
            client.get(f"/v1/messages/batches/{made.id}/results", cast_to=object)
        statuses = [client.messages.batches.retrieve(made.id).processing_status for _ in range(10)]
        assert statuses == ["in_progress"] + ["ended"] * 9
        results = {each.custom_id: each.result.type for each in client.messages.batches.results(made.id)}
        assert results == {"r0": "succeeded", "r1": "errored", "r2": "succeeded"}
        assert [each.id for each in client.messages.batches.list()] == [made.id]
        row = the_batch(shared_bursar, made.id)
        assert row["call_nano"] == row["cost_nano"] == batch_price(MODEL, Usage(row["input_tokens"], output_tokens=10))
        assert (row["answered"], row["failed"], row["protocol"]) == (2, 1, 22)
        assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    assert shared_bursar.audit().findings == []


def test_a_message_batch_is_its_keys_own_and_charged_for_what_was_answered_before_it_was_cancelled(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    with client_of(shared_bursar, new_key("1.00")) as mine, client_of(shared_bursar, new_key("1.00")) as others:
        made = mine.messages.batches.create(requests=[request(n, "[[output=3]] looks=9") for n in range(4)])
        for attempt in (
            others.messages.batches.retrieve,
            others.messages.batches.cancel,
            others.messages.batches.delete,
        ):
            with pytest.raises(anthropic.NotFoundError):
                attempt(made.id)
        with pytest.raises(anthropic.NotFoundError):
            list(others.messages.batches.results(made.id))
        assert list(others.messages.batches.list()) == []
        assert mine.messages.batches.cancel(made.id).request_counts.canceled == 2
    row = the_batch(shared_bursar, made.id)
    assert (row["answered"], row["output_tokens"]) == (2, 6)
    assert shared_bursar.audit().findings == []


REFUSED: list[tuple[Any, type[anthropic.APIStatusError], str]] = [
    ([], anthropic.BadRequestError, "at least one request"),
    ([request(1), request(2, stream=True)], anthropic.BadRequestError, r"requests\.1: a request of a batch"),
    ([request(1), request(1)], anthropic.BadRequestError, r"requests\.1: its custom_id"),
    ([request(1, model="made-up")], anthropic.NotFoundError, r"requests\.0: no model"),
    ([request(1, max_tokens=2_000_000)], anthropic.APIStatusError, "budget_exhausted"),
]


@pytest.mark.parametrize(("requests", "kind", "said"), REFUSED)
def test_a_request_that_cannot_be_metered_refuses_the_batch(
    shared_bursar: LocalBursar, poor_key: str, requests: Any, kind: type[anthropic.APIStatusError], said: str
) -> None:
    with client_of(shared_bursar, poor_key) as client:
        with pytest.raises(kind, match=said):
            client.messages.batches.create(requests=requests)
        assert list(client.messages.batches.list()) == []


@pytest.fixture(scope="module")
def poor_key(shared_bursar: LocalBursar) -> str:
    return shared_bursar.create_key("message batches with little money", "0.50")
