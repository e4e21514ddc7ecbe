"""What is refused: the official clients raise their own typed errors, each says the way out, and nothing is held."""

import asyncio
import time
from typing import Any

import anthropic
import httpx
import openai
import pytest

from bench.harness import LocalBursar, database
from bursar.core.money import usd_to_nano
from bursar.core.times import SECOND_US
from bursar.gateway.worker import KEYS_READ_S
from bursar.store.keys import revoke_key

HAIKU = "claude-haiku-4-5"
HELLO: Any = [{"role": "user", "content": "[[output=5]] hello"}]


def openai_of(local: LocalBursar, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{local.url}/v1", api_key=key, max_retries=0)


def anthropic_of(local: LocalBursar, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=local.url, api_key=key, max_retries=0)


def chat(client: openai.OpenAI, model: str = "gpt-4o-mini", **fields: Any) -> Any:
    return client.chat.completions.create(**({"model": model, "messages": HELLO} | fields))


def chat_for(client: openai.OpenAI, seconds: float) -> None:
    """Make one call after another until so many seconds have passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        chat(client)


def message(client: anthropic.Anthropic, model: str = HAIKU, **fields: Any) -> Any:
    return client.messages.create(**({"model": model, "messages": HELLO, "max_tokens": 50} | fields))


def test_an_unknown_key_is_an_authentication_error(shared_bursar: LocalBursar) -> None:
    with openai_of(shared_bursar, "bk_guessed") as client, pytest.raises(openai.AuthenticationError) as caught:
        chat(client)
    assert caught.value.code == "invalid_api_key"
    assert "bursar keys create" in str(caught.value)
    assert "bk_guessed" not in str(caught.value)
    with anthropic_of(shared_bursar, "bk_guessed") as client, pytest.raises(anthropic.AuthenticationError):
        message(client)


def test_a_missing_key_is_told_how_to_be_sent(shared_bursar: LocalBursar) -> None:
    response = httpx.post(f"{shared_bursar.url}/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "missing_api_key"
    assert "x-api-key" in response.json()["error"]["message"]


def test_a_model_out_of_scope_is_forbidden(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("1.00", models=("gpt-4o-mini",))
    with openai_of(shared_bursar, key) as client:
        chat(client)
        with pytest.raises(openai.PermissionDeniedError) as caught:
            chat(client, "gpt-4o")
        assert (caught.value.code, caught.value.param) == ("out_of_scope", "model")
        assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-4o")
    with anthropic_of(shared_bursar, key) as client, pytest.raises(anthropic.PermissionDeniedError):
        message(client)


def test_a_route_out_of_scope_is_forbidden(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("1.00", routes=("/v1/messages",))
    with openai_of(shared_bursar, key) as client, pytest.raises(openai.PermissionDeniedError):
        chat(client)
    with anthropic_of(shared_bursar, key) as client:
        assert message(client).usage.output_tokens == 5


def test_an_expired_key_is_refused(shared_bursar: LocalBursar, new_key: Any) -> None:
    now_us = time.time_ns() // 1_000
    expired = new_key("1.00", expires_us=now_us - SECOND_US)
    with openai_of(shared_bursar, expired) as client, pytest.raises(openai.AuthenticationError) as caught:
        chat(client)
    assert caught.value.code == "key_expired"
    with openai_of(shared_bursar, new_key("1.00", expires_us=now_us + 3_600 * SECOND_US)) as client:
        chat(client)


def test_a_budget_that_cannot_cover_a_call_says_spent_held_and_limit(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("0.001/day")
    with openai_of(shared_bursar, key) as client, pytest.raises(openai.APIStatusError) as caught:
        chat(client, "gpt-4o", max_completion_tokens=1_000)
    error: Any = caught.value.body
    assert caught.value.status_code == 402
    assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exhausted")
    assert (error["spent_usd"], error["held_usd"], error["limit_usd"]) == ("0.00", "0.00", "0.001")
    assert usd_to_nano(error["needed_usd"]) > usd_to_nano("0.001")
    assert error["resets_at"].endswith("T00:00:00+00:00")
    with anthropic_of(shared_bursar, key) as client, pytest.raises(anthropic.APIStatusError) as refused:
        message(client, max_tokens=10_000)
    body: Any = refused.value.body
    assert (refused.value.status_code, body["error"]["type"]) == (402, "billing_error")


def test_an_unknown_model_is_not_found_and_near_ones_are_named(shared_bursar: LocalBursar, key: str) -> None:
    with openai_of(shared_bursar, key) as client, pytest.raises(openai.NotFoundError) as caught:
        chat(client, "gpt-4o-mimi")
    assert caught.value.code == "model_not_found"
    assert "near: gpt-4o-mini" in str(caught.value)
    with anthropic_of(shared_bursar, key) as client, pytest.raises(anthropic.NotFoundError) as missing:
        message(client, "claude-haiku-4.5")
    assert HAIKU in str(missing.value)


def test_a_model_without_a_price_is_refused_never_free(shared_bursar: LocalBursar, key: str) -> None:
    with openai_of(shared_bursar, key) as client, pytest.raises(openai.UnprocessableEntityError) as caught:
        chat(client, "sandbox/a-model-nobody-sells")
    assert caught.value.code == "unpriced"
    assert "price" in str(caught.value)


def test_a_service_tier_without_a_price_is_refused(shared_bursar: LocalBursar, key: str) -> None:
    with openai_of(shared_bursar, key) as client, pytest.raises(openai.UnprocessableEntityError) as caught:
        chat(client, extra_body={"service_tier": "platinum"})
    assert caught.value.param == "service_tier"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": 10**30}, "max_completion_tokens"),
        ({"n": 129}, "n"),
        ({"n": "two"}, "n"),
        ({"model": ""}, "model"),
        ({"model": "sandbox/gpt-4o-mini\x00"}, "model"),
        ({"model": "m" * 100_000}, "model"),
    ],
)
def test_a_wrong_field_is_a_bad_request_that_names_it(
    shared_bursar: LocalBursar, key: str, fields: dict[str, Any], param: str
) -> None:
    kinds = (openai.BadRequestError, openai.NotFoundError)
    with openai_of(shared_bursar, key) as client, pytest.raises(kinds) as caught:
        chat(client, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize("fields", [{"max_tokens": -1}, {"messages": 5}, {"max_tokens": 10**30, "timeout": 30}])
def test_a_wrong_field_of_a_message_is_a_bad_request(
    shared_bursar: LocalBursar, key: str, fields: dict[str, Any]
) -> None:
    with anthropic_of(shared_bursar, key) as client, pytest.raises(anthropic.BadRequestError) as caught:
        message(client, **fields)
    error: Any = caught.value.body
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_too_large(house: LocalBursar, house_key: str, chunked: bool) -> None:
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"' + b"x" * 1_100_000 + b'"}]}'
    content: Any = iter([body[:500_000], body[500_000:]]) if chunked else body
    headers = {"authorization": f"Bearer {house_key}"}
    known = httpx.get(f"{house.url}/v1/models", headers=headers)  # a key that is still new is asked to send it again
    assert known.status_code == 200
    response = httpx.post(f"{house.url}/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


def test_the_official_client_understands_that_a_body_is_too_large(house: LocalBursar, house_key: str) -> None:
    with anthropic_of(house, house_key) as client, pytest.raises(anthropic.APIStatusError) as caught:
        message(client, messages=[{"role": "user", "content": "x" * 20_000_000}])
    assert caught.value.status_code == 413


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError)],
)
def test_a_providers_refusal_is_the_clients_own_error(
    shared_bursar: LocalBursar, key: str, fault: int, kind: type[openai.APIStatusError]
) -> None:
    messages = [{"role": "user", "content": f"[[fault={fault}]]"}]
    with openai_of(shared_bursar, key) as client, pytest.raises(kind):
        chat(client, messages=messages)
    with anthropic_of(shared_bursar, key) as client, pytest.raises(anthropic.APIStatusError) as caught:
        message(client, messages=messages)
    assert caught.value.status_code == fault


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-bursar-tags", "no equals sign"),
        ("x-bursar-tags", "=blue"),
        ("x-bursar-tags", ",".join(f"t{number}=1" for number in range(17))),
        ("x-bursar-run", "r" * 129),
        ("x-bursar-parent", "<script>"),
        ("x-bursar-lane", "tomorrow"),
        ("x-bursar-max-cost-usd", "NaN"),
        ("x-bursar-max-cost-usd", "1e9"),
        ("x-bursar-max-cost-usd", ""),
        ("Idempotency-Key", ""),
    ],
)
def test_a_header_of_ours_that_cannot_be_read_is_a_bad_request_naming_it(
    shared_bursar: LocalBursar, key: str, header: str, value: str
) -> None:
    with openai_of(shared_bursar, key) as client, pytest.raises(openai.BadRequestError) as caught:
        chat(client, extra_headers={header: value})
    assert caught.value.param == header


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing"])
def test_a_bad_header_on_a_route_that_is_no_call_is_refused_as_well(
    shared_bursar: LocalBursar, key: str, path: str
) -> None:
    headers = {"authorization": f"Bearer {key}", "x-bursar-tags": "no equals sign"}
    response = httpx.get(shared_bursar.url + path, headers=headers)
    assert response.status_code == (400 if path == "/v1/models" else 404)


def test_a_call_dearer_than_its_own_limit_is_refused_and_one_within_is_made(
    shared_bursar: LocalBursar, key: str
) -> None:
    with openai_of(shared_bursar, key) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            chat(client, "gpt-4o", extra_headers={"x-bursar-max-cost-usd": "0.0001"})
        error: Any = caught.value.body
        assert (caught.value.status_code, error["code"]) == (402, "max_cost_exceeded")
        needed = error["needed_usd"]
        chat(client, "gpt-4o", extra_headers={"x-bursar-max-cost-usd": needed})


def test_what_is_refused_leaves_nothing_held_and_no_record(shared_bursar: LocalBursar, new_key: Any) -> None:
    key = new_key("0.001", models=("gpt-4o",))
    with openai_of(shared_bursar, key) as client:
        for fields in ({"messages": "x"}, {"model": "gpt-4o-mini"}, {"max_completion_tokens": 9_000}):
            with pytest.raises(openai.APIStatusError):
                chat(client, **({"model": "gpt-4o"} | fields))
        chat(client, "gpt-4o", max_completion_tokens=5)  # most of the budget: it is all there
    shared_bursar.wait_journaled(1)
    of_key = "key_id = (select key_id from keys where models = '{gpt-4o}' order by created_us desc limit 1)"
    deadline = time.monotonic() + 10
    while (count := shared_bursar.query(f"select count(*) as n from calls where {of_key}")[0]["n"]) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert count == 1


def test_a_revoked_key_stops_at_once_not_when_keys_are_read_again(shared_bursar: LocalBursar) -> None:
    key = shared_bursar.create_key("to be revoked", "1.00")

    async def revoke() -> None:
        async with database(shared_bursar.database_url) as connection:
            await revoke_key(connection, "to be revoked", time.time_ns() // 1_000)

    with openai_of(shared_bursar, key) as client:
        chat(client)
        asyncio.run(revoke())
        with pytest.raises(openai.AuthenticationError) as caught:
            chat_for(client, KEYS_READ_S / 2)
    assert caught.value.code == "key_revoked"
