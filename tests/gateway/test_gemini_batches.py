"""Gemini's batches: held for when made, charged once, found again by the name written behind their owner's own."""

import contextlib
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from bench.harness import LocalBursar, bursar
from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.batch_gemini import GEMINI_BATCH, read_wish, shown, write_wish
from tests.gateway.test_batch_crashes import CONFIG, the_open_batch, wait_until
from tests.gateway.test_openai_batches import batch_price, the_batch

MODEL, VECTORS = "gemini-2.5-flash", "gemini-embedding-001"


@contextlib.contextmanager
def client_of(local: LocalBursar, key: str, **headers: str) -> Iterator[genai.Client]:
    with genai.Client(api_key=key, http_options={"base_url": local.url, "headers": headers}) as client:
        yield client


def request(text: str = "[[output=5]]", **more: Any) -> Any:
    config = {"max_output_tokens": 20}
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "config": config, **more}


def make(client: genai.Client, *texts: str, model: str = MODEL, **more: Any) -> types.BatchJob:
    src: Any = [request(text, metadata={"key": f"r{place}"}, **more) for place, text in enumerate(texts)]
    return client.batches.create(model=model, src=src, config={"display_name": "night"})


def row_of(local: LocalBursar, job: types.BatchJob) -> dict[str, Any]:
    return the_batch(local, (job.name or "").removeprefix("batches/"))


def test_a_batch_is_held_for_and_charged_once_however_often_it_is_fetched(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    with client_of(shared_bursar, new_key("1.00")) as client:
        made = make(client, "[[output=5]] looks=3", "[[output=5 fault=500]]", "[[output=5]]")
        row = row_of(shared_bursar, made)
        assert row["held_nano"] > batch_price(MODEL, Usage(output_tokens=60))
        assert (made.state, made.display_name, row["call_nano"]) == (types.JobState.JOB_STATE_RUNNING, "night", None)
        with pytest.raises(errors.ClientError, match="has not ended"):
            client.batches.delete(name=made.name or "")
        jobs = [client.batches.get(name=made.name or "") for _ in range(10)]
        assert jobs[-1].state is types.JobState.JOB_STATE_SUCCEEDED
        assert {job.display_name for job in jobs} == {"night"}
        assert jobs[-1].dest is not None
        answers = jobs[-1].dest.inlined_responses or []
        assert [each.error is None for each in answers] == [True, False, True]
        assert [each.metadata for each in answers] == [{"key": f"r{place}"} for place in range(3)]
        assert [(job.name, job.display_name) for job in client.batches.list()] == [(made.name, "night")]
        row = row_of(shared_bursar, made)
        assert row["call_nano"] == row["cost_nano"] == batch_price(MODEL, Usage(row["input_tokens"], output_tokens=10))
        assert (row["answered"], row["failed"], row["unmetered"], row["protocol"]) == (2, 1, 0, 23)
        client.batches.delete(name=made.name or "")
    assert shared_bursar.audit().findings == []


def test_a_batch_is_its_keys_own_and_charged_for_what_was_answered_before_it_was_cancelled(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    with client_of(shared_bursar, new_key("1.00")) as mine, client_of(shared_bursar, new_key("1.00")) as others:
        made = make(mine, *["[[output=3]] looks=9"] * 4)
        for attempt in (others.batches.get, others.batches.cancel, others.batches.delete):
            with pytest.raises(errors.ClientError, match="There is no batch"):
                attempt(name=made.name or "")
        assert list(others.batches.list()) == []
        mine.batches.cancel(name=made.name or "")
        row = row_of(shared_bursar, made)
        assert (row["answered"], row["failed"], row["output_tokens"], row["charged"]) == (2, 2, 6, True)
        assert mine.batches.get(name=made.name or "").state is types.JobState.JOB_STATE_CANCELLED
    assert shared_bursar.audit().findings == []


def test_a_list_goes_on_where_a_page_ends(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    with client_of(shared_bursar, new_key("1.00")) as client:
        names = [make(client, "[[output=1]]").name for _ in range(3)]
        assert [job.name for job in client.batches.list(config={"page_size": 2})] == names[::-1]
        with pytest.raises(errors.ClientError, match="pageSize"):
            client.batches.list(config={"page_size": -1})


@pytest.mark.parametrize(("text", "unmetered"), [("hello there", 0), ("[[fault=silent]]", 2)])
def test_vectors_are_charged_by_the_tokens_told_or_else_the_most_they_can_be(
    shared_bursar: LocalBursar, new_key: Callable[..., str], text: str, unmetered: int
) -> None:
    with client_of(shared_bursar, new_key("1.00")) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source: Any = {"inlined_requests": {"contents": [text, text]}}
        made = client.batches.create_embeddings(model=VECTORS, src=source, config={"display_name": "vectors"})
        job = client.batches.get(name=made.name or "")
    assert job.dest is not None
    assert len(job.dest.inlined_embed_content_responses or []) == 2
    row = row_of(shared_bursar, made)
    assert (row["answered"], row["unmetered"]) == (2, unmetered)
    told = batch_price(VECTORS, Usage(row["input_tokens"]))
    assert row["cost_nano"] == (row["held_nano"] if unmetered else told)
    assert 0 < row["cost_nano"] <= row["held_nano"]


def test_an_idempotency_key_makes_one_batch(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    with client_of(shared_bursar, new_key("1.00"), **{"Idempotency-Key": "tonight"}) as client:
        first = make(client, "[[output=1]] looks=9")
        assert make(client, "[[output=1]] looks=9").name == first.name
        with pytest.raises(errors.ClientError, match="another request"):
            make(client, "another")


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, "`batch`"),
    ({"batch": {"displayName": "x"}}, 400, "`inputConfig`"),
    ({"batch": {"inputConfig": {"requests": {"requests": []}}}}, 400, "at least one request"),
    ({"batch": {"inputConfig": {"requests": {"requests": [{}]}}}}, 400, "`request`"),
    ({"batch": {"input_config": {"file_name": "files/x"}}}, 400, "send its lines inline"),
    ({"batch": {"inputConfig": {}, "webhookConfig": {}}}, 400, "expected only displayName"),
    ({"batch": {"inputConfig": {"requests": {"requests": [{"request": {}}]}}}}, 400, r"requests.0: .*`contents`"),
    (
        {"batch": {"inputConfig": {"requests": {"requests": [{"request": {"model": "models/x"}}]}}}},
        400,
        "make a batch of each",
    ),
]


def post(local: LocalBursar, key: str, model: str, body: Any) -> httpx.Response:
    url = f"{local.url}/v1beta/models/{model}:batchGenerateContent"
    return httpx.post(url, json=body, headers={"x-goog-api-key": key}, timeout=30)


@pytest.mark.parametrize(("body", "status", "said"), REFUSED)
def test_a_batch_that_cannot_be_read_is_refused_with_its_field(
    shared_bursar: LocalBursar, poor_key: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = post(shared_bursar, poor_key, MODEL, body)
    assert answer.status_code == status
    assert re.search(said, answer.json()["error"]["message"])


def test_what_a_key_may_not_spend_or_ask_is_refused(shared_bursar: LocalBursar, poor_key: str) -> None:
    with client_of(shared_bursar, poor_key) as client:
        with pytest.raises(errors.ClientError, match="402"):
            make(client, *["hello"] * 400)
        with pytest.raises(errors.ClientError, match=r"requests\.0: no model"):
            make(client, "hello", model="gemini-made-up")
        assert list(client.batches.list()) == []
    assert shared_bursar.query("select 1 from batches where ended_us is null and protocol = 23 and charged") == []


@pytest.fixture(scope="module")
def poor_key(shared_bursar: LocalBursar) -> str:
    return shared_bursar.create_key("gemini batches with little money", "0.001")


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBursar]:
    with bursar(CONFIG.replace("gpt-4o-mini", MODEL)) as local:
        yield local


@pytest.mark.parametrize("reached", [True, False])
def test_a_batch_whose_gateway_was_killed_before_an_answer_is_charged_if_its_provider_has_it(
    local: LocalBursar, reached: bool
) -> None:
    key = local.create_key(f"killed {reached}", "1.00")

    def work() -> None:
        asked = {"request": {"contents": [{"parts": [{"text": "[[output=5]]" + " [[stall]]" * reached}]}]}}
        steered = asked if reached else asked | {"metadata": {"sandbox": "lost"}}
        with contextlib.suppress(httpx.HTTPError):
            post(local, key, MODEL, {"batch": {"inputConfig": {"requests": {"requests": [steered]}}}})

    thread = threading.Thread(target=work)
    thread.start()
    made = wait_until(lambda: the_open_batch(local))
    time.sleep(0.3)  # until its provider has it
    local.kill("worker")
    thread.join()
    wait_until(local.ready)
    if not reached:
        local.query("update batches set opened_us = opened_us - 200000000 where ended_us is null returning 1")
    wait_until(lambda: the_open_batch(local) is None)
    row = local.query("select * from batches where batch_id = $1", made["batch_id"])[0]
    assert (row["charged"], row["answered"], row["cost_nano"] > 0) == (reached, int(reached), reached)
    assert local.audit().findings == []


def test_many_who_ask_at_once_while_gateways_are_killed_charge_a_batch_once(local: LocalBursar) -> None:
    with client_of(local, local.create_key("many", "1.00")) as client, ThreadPoolExecutor(8) as pool:
        made = make(client, *["[[output=5]] looks=6"] * 4)

        def ask(_number: int) -> None:
            with contextlib.suppress(httpx.HTTPError, errors.APIError):
                client.batches.get(name=made.name or "")

        asked = [pool.submit(ask, number) for number in range(16)]
        local.kill("worker")
        for each in asked:
            each.result()
        wait_until(local.ready)
        wait_until(lambda: the_open_batch(local) is None)
    row = row_of(local, made)
    assert row["call_nano"] == row["cost_nano"] == batch_price(MODEL, Usage(row["input_tokens"], output_tokens=20))
    assert local.audit().findings == []


def test_a_batch_is_sent_as_it_was_read_and_shown_without_our_name() -> None:
    body = (
        b'{"batch":{"display_name":"a [b]","priority":"3","input_config":{"requests":{"requests":[{"request":{}}]}}}}'
    )
    wish = read_wish(body, f"{MODEL}:batchGenerateContent")
    sent = write_wish(wish, [b'{"contents":[]}'], "call_1")
    assert sent == (
        b'{"batch":{"priority":"3","displayName":"a [b] [bursar_batch call_1]","inputConfig":{"requests":{"requests":'
        b'[{"request":{"contents":[]}}]}}}}'
    )
    said = b'{"name":"batches/x","metadata":{"displayName":"a [b] [bursar_batch call_1]"}}'
    assert GEMINI_BATCH.state(said).own_name == "call_1"
    assert shown(said) == b'{"name":"batches/x","metadata":{"displayName":"a [b]"}}'
    with pytest.raises(BadRequest, match="two spellings"):
        read_wish(b'{"batch":{"inputConfig":{},"input_config":{}}}', f"{MODEL}:batchGenerateContent")


@pytest.mark.parametrize(
    ("about", "lacks"),
    [
        (b'"output":{"inlinedResponses":{"inlinedResponses":[]}}', False),
        (b'"output":{"responsesFile":"files/x"}', True),
        (b'"x":1', True),
        (b'"batchStats":{"requestCount":"2"}', False),
        (b'"state":"BATCH_STATE_CANCELLED"', True),
        (b'"state":"BATCH_STATE_FAILED"', False),
    ],
)
def test_a_batch_that_ended_tells_whether_its_answers_can_be_read(about: bytes, lacks: bool) -> None:
    state = GEMINI_BATCH.state(b'{"name":"batches/x","metadata":{"state":"BATCH_STATE_SUCCEEDED",' + about + b"}}")
    assert (state.ended, state.lacks) == (True, lacks)
