"""One Idempotency-Key and body is one call and one charge, whoever asks again and when."""

import concurrent.futures
import time
from typing import Any

import httpx
import openai
import pytest

from bench.harness import LocalBursar

HELLO: Any = [{"role": "user", "content": "[[output=6]] hello"}]


def ask(local: LocalBursar, key: str, name: str, text: str = "[[output=6]] hello", **fields: Any) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]} | fields
    headers = {"authorization": f"Bearer {key}", "idempotency-key": name}
    return httpx.post(f"{local.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def calls_of(local: LocalBursar, key: str, at_least: int = 1) -> list[dict[str, Any]]:
    """Return the records of a key once there are enough of them."""
    deadline = time.monotonic() + 10
    text = "select calls.* from calls join keys using (key_id) where keys.sha256 = sha256($1::text::bytea)"
    while len(rows := local.query(text, key)) < at_least:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return rows


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_and_body_is_charged_once_and_answered_the_same(
    shared_bursar: LocalBursar, key: str, stream: bool
) -> None:
    first, again = (ask(shared_bursar, key, "order-1", stream=stream) for _ in range(2))
    assert again.content == first.content
    assert "x-bursar-replayed" not in first.headers
    assert again.headers["x-bursar-replayed"] == "true"
    assert again.headers["x-bursar-call-id"] == first.headers["x-bursar-call-id"]
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers.get("x-bursar-cost-usd") == first.headers.get("x-bursar-cost-usd")
    ask(shared_bursar, key, "order-2")
    assert len(calls_of(shared_bursar, key, 2)) == 2


def test_concurrent_duplicates_wait_for_the_first_and_share_its_answer(shared_bursar: LocalBursar, key: str) -> None:
    text = "[[output=6 ttft_ms=300]] slow"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(shared_bursar, key, "burst", text), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["x-bursar-call-id"] for answer in answers}) == 1
    assert sum("x-bursar-replayed" in answer.headers for answer in answers) == 7
    ask(shared_bursar, key, "after")
    assert len(calls_of(shared_bursar, key, 2)) == 2


def test_the_same_key_with_another_body_is_a_conflict(shared_bursar: LocalBursar, key: str) -> None:
    assert ask(shared_bursar, key, "order-1").status_code == 200
    client = openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0)
    with client, pytest.raises(openai.ConflictError) as caught:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=HELLO, seed=1, extra_headers={"Idempotency-Key": "order-1"}
        )
    assert caught.value.code == "idempotency_conflict"


def test_keys_of_different_clients_do_not_meet(shared_bursar: LocalBursar, new_key: Any) -> None:
    one, two = (ask(shared_bursar, new_key("1.00"), "order-1") for _ in range(2))
    assert "x-bursar-replayed" not in two.headers
    assert one.headers["x-bursar-call-id"] != two.headers["x-bursar-call-id"]


def test_a_call_that_was_not_charged_may_be_made_again(shared_bursar: LocalBursar, key: str) -> None:
    failed = ask(shared_bursar, key, "order-1", "[[fault=500]]")
    again = ask(shared_bursar, key, "order-1", "[[fault=500]]")
    assert (failed.status_code, again.status_code) == (500, 500)
    assert "x-bursar-replayed" not in again.headers
    assert again.headers["x-bursar-call-id"] != failed.headers["x-bursar-call-id"]


def test_a_refused_call_may_be_made_again(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("0.00001")
    for _ in range(2):
        refused = ask(shared_bursar, key, "order-1", model="gpt-4o")
        assert refused.status_code == 402
        assert "x-bursar-replayed" not in refused.headers


def test_an_answer_outlives_a_client_that_did_not_wait_for_it(shared_bursar: LocalBursar, key: str) -> None:
    text = "[[output=6 ttft_ms=400]] slow"
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}", "idempotency-key": "retry-me"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{shared_bursar.url}/v1/chat/completions", json=body, headers=headers, timeout=0.2)
    again = ask(shared_bursar, key, "retry-me", text)
    assert (again.status_code, again.headers["x-bursar-replayed"]) == (200, "true")
    assert len(calls_of(shared_bursar, key)) == 1


def test_a_key_longer_than_its_limit_is_refused(shared_bursar: LocalBursar, key: str) -> None:
    assert ask(shared_bursar, key, "k" * 256).status_code == 413
    assert ask(shared_bursar, key, "k" * 255).status_code == 200


def test_neither_the_clients_key_nor_its_body_is_in_the_books(shared_bursar: LocalBursar, key: str) -> None:
    ask(shared_bursar, key, "a-readable-name")
    (call,) = calls_of(shared_bursar, key)
    assert len(call["idempotency_key"]) == len(call["body_sha256"]) == 32
    assert b"readable" not in call["idempotency_key"]


def test_a_call_that_costs_nothing_is_made_once_as_well(house: LocalBursar, house_key: str) -> None:
    first, again = (ask(house, house_key, "gratis", model="gratis") for _ in range(2))
    assert first.headers["x-bursar-cost-usd"] == "0.00"
    assert again.headers["x-bursar-call-id"] == first.headers["x-bursar-call-id"]
