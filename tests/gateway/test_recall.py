"""A call goes on from what its provider has kept of the same key's calls, and of nobody else's."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from bench.harness import LocalBursar
from bursar.gateway.recall import KEPT_US, KNOWN_MAX, Kept, kept_name
from bursar.store.database import Connection
from bursar.store.recall import names_kept
from tests.store.bookkeeping import NOW_US, USD, attempt, open_shop, write


def respond(local: LocalBursar, key: str, model: str = "gpt-4o-mini", **fields: Any) -> httpx.Response:
    body = {"model": model, "input": "[[output=2]] hi", "max_output_tokens": 16} | fields
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{local.url}/v1/responses", json=body, headers=headers, timeout=30)


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_gone_on_from_with_its_own_key_alone(
    shared_bursar: LocalBursar, new_key: Any, stream: bool
) -> None:
    mine, others = new_key("1.00"), new_key("1.00")
    with openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=mine, max_retries=0) as client:
        if stream:
            with client.responses.stream(model="gpt-4o-mini", input="[[output=2]] Remember.") as events:
                made = events.get_final_response()
        else:
            made = client.responses.create(model="gpt-4o-mini", input="[[output=2]] Remember.")
    reference = [{"type": "item_reference", "id": made.output[0].id}, {"role": "user", "content": "And?"}]
    asked: list[dict[str, Any]] = [
        {"previous_response_id": made.id},
        {"previous_response_id": made.id, "stream": True},
        {"input": reference},
    ]
    assert [respond(shared_bursar, mine, **fields).status_code for fields in asked] == [200, 200, 200]
    with ThreadPoolExecutor(len(asked)) as callers:
        statuses = callers.map(lambda fields: respond(shared_bursar, others, **fields).status_code, asked)
        assert list(statuses) == [400, 400, 404]
    taken = respond(shared_bursar, others, previous_response_id=made.id)
    assert refusal(taken) == (400, "previous_response_not_found", "previous_response_id")
    assert taken.headers["x-bursar-cost-usd"] == "0.00"


NOT_FOUND: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"previous_response_id": "resp_made_up"}, (400, "previous_response_not_found", "previous_response_id")),
    ({"conversation": "conv_1"}, (404, "conversation_not_found", "conversation")),
    ({"conversation": {"id": "conv_1"}}, (404, "conversation_not_found", "conversation")),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, (404, "item_not_found", "input")),
    ({"input": [{"id": "msg_1"}]}, (404, "item_not_found", "input")),
    ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, (404, "item_not_found", "input")),
    ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, (404, "item_not_found", "input")),
    ({"conversation": 5}, (400, "bad_request", "conversation")),
    ({"input": [{"id": f"msg_{number}"} for number in range(1_001)]}, (400, "bad_request", "input")),
]


def test_what_nobody_has_made_here_is_not_found(shared_bursar: LocalBursar, key: str) -> None:
    with ThreadPoolExecutor(len(NOT_FOUND)) as callers:  # each waits for the books, which may be about to know it
        found = list(callers.map(lambda each: refusal(respond(shared_bursar, key, **each[0])), NOT_FOUND))
    assert found == [expected for _, expected in NOT_FOUND]


def test_what_a_request_brings_with_it_needs_nothing_that_was_kept(shared_bursar: LocalBursar, key: str) -> None:
    items = [
        {"type": "message", "id": "msg_own", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
        {"role": "user", "content": "And?"},
    ]
    assert respond(shared_bursar, key, input=items).status_code == 200


def test_an_answer_that_is_not_stored_cannot_be_gone_on_from(shared_bursar: LocalBursar, key: str) -> None:
    made = respond(shared_bursar, key, store=False).json()
    assert made["store"] is False
    taken = respond(shared_bursar, key, previous_response_id=made["id"])
    assert refusal(taken)[1] == "previous_response_not_found"


def test_an_operator_may_have_ids_passed_on_that_are_not_known(house: LocalBursar, house_key: str) -> None:
    assert respond(house, house_key, "remote/gpt-4o-mini", previous_response_id="resp_elsewhere").status_code == 200


async def test_the_books_know_what_was_kept_for_a_month(
    connection: Connection, database_url: str, tmp_path: Any
) -> None:
    shop = await open_shop(connection, 100 * USD, 90 * USD)
    mine, unknown = kept_name(shop.key.key_id, "resp_1"), kept_name("another", "resp_1")
    intent = shop.intent(USD)
    await write(
        shop, tmp_path / "spool", database_url, intent, shop.settled(intent, attempt(USD, kept=(b"x" * 16, mine)))
    )
    tenant = shop.key.tenant
    assert await names_kept(connection, tenant, [unknown, mine], NOW_US + 1_000_000 - KEPT_US) == [mine]
    assert await names_kept(connection, tenant, [unknown, mine], NOW_US + 1_000_000) == []
    assert await names_kept(connection, tenant + 1, [mine], 0) == []


def test_the_oldest_names_are_forgotten_first() -> None:
    kept = Kept()
    (first,) = kept.note("key", ("resp_first",))
    for number in range(KNOWN_MAX // 100):
        kept.note("key", tuple(f"resp_{number}_{each}" for each in range(100)))
    assert kept.missing([first]) == [first]
    assert kept.missing([kept_name("key", "resp_0_0"), kept_name("key", "resp_5_5")]) == []
    assert kept_name("a", "b") != kept_name("b", "a")
