"""OpenAI's files and batches: a batch is held for when it is made and charged once, however often it is fetched."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.charge import cost

CHAT = "/v1/chat/completions"
CLOCK_US = 1_795_000_000_000_000


def line(number: int, text: str = "hello", url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "max_completion_tokens": 20}
    return {"custom_id": f"r{number}", "method": "POST", "url": url, "body": asked | body}


def jsonl(lines: Sequence[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, lines)).encode()


@contextmanager
def client_of(local: LocalBursar, key: str, **headers: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key=key, max_retries=0, default_headers=headers) as client:
        yield client


def make(client: Any, lines: Sequence[dict[str, Any]], endpoint: Any = CHAT) -> Any:
    file = client.files.create(file=("requests.jsonl", jsonl(lines)), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"})


def the_batch(local: LocalBursar, provider_id: str) -> dict[str, Any]:
    rows = local.query(
        "select batches.*, calls.cost_nano as call_nano, calls.input_tokens, calls.output_tokens, calls.overage_nano"
        " from batches left join calls on call_id = batch_id where provider_id = $1",
        provider_id,
    )
    assert len(rows) == 1
    return rows[0]


def batch_price(model: str, usage: Usage) -> int:
    return cost(usage, load().find_any(model).at(CLOCK_US, {"processing": "batch"}))


def test_a_batch_is_held_for_when_made_and_charged_once_however_often_it_is_fetched(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    lines = [line(number, "[[output=5]] looks=3") for number in range(8)]
    with client_of(shared_bursar, new_key("1.00")) as client:
        made = make(client, lines)
        row = the_batch(shared_bursar, made.id)
        assert (made.status, made.metadata, row["ended_us"], row["call_nano"]) == (
            "in_progress",
            {"a": "b"},
            None,
            None,
        )
        asked = sum(len(json.dumps(each["body"], separators=(",", ":")).encode()) for each in lines)
        assert batch_price("gpt-4o-mini", Usage(100, output_tokens=160)) < row["held_nano"]
        assert row["held_nano"] < batch_price("gpt-4o-mini", Usage(asked * 2, output_tokens=160))
        assert shared_bursar.audit().findings == []
        statuses = [client.batches.retrieve(made.id).status for _ in range(10)]
        assert statuses == ["in_progress"] * 2 + ["completed"] * 8
        answer = client.batches.with_raw_response.retrieve(made.id)
        results = [json.loads(text) for text in client.files.content(answer.parse().output_file_id).text.splitlines()]
    row = the_batch(shared_bursar, made.id)
    reports = [each["response"]["body"]["usage"] for each in results]
    usage = Usage(
        sum(each["prompt_tokens"] for each in reports), output_tokens=sum(each["completion_tokens"] for each in reports)
    )
    assert usage.output_tokens == 40
    assert row["call_nano"] == row["cost_nano"] == batch_price("gpt-4o-mini", usage)
    assert answer.headers["x-bursar-cost-usd"] == nano_to_usd(row["cost_nano"])
    assert (row["answered"], row["failed"], row["unmetered"], row["overage_nano"]) == (8, 0, 0, 0)
    calls = shared_bursar.query("select count(*) as n from calls where key_id = $1", row["key_id"])
    assert calls[0]["n"] == 1
    assert shared_bursar.audit().findings == []


def test_results_are_charged_by_whoever_fetches_them_first_and_what_failed_costs_nothing(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    texts = ["[[output=7]]", "[[output=7 fault=500]]", "[[output=7 fault=silent]]"]
    with client_of(shared_bursar, new_key("1.00")) as client:
        made = make(client, [line(number, text) for number, text in enumerate(texts)])
        done = client.batches.list().data[0]
        errors = client.files.content(done.error_file_id).text
        assert json.loads(errors)["custom_id"] == "r1"
    row = the_batch(shared_bursar, made.id)
    assert (row["answered"], row["failed"], row["unmetered"]) == (2, 1, 1)
    plain = batch_price("gpt-4o-mini", Usage(row["input_tokens"], output_tokens=row["output_tokens"]))
    assert row["output_tokens"] == 7
    assert plain < row["cost_nano"] < row["held_nano"]  # the silent one costs the most it could
    assert shared_bursar.audit().findings == []


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_of_a_batch_that_ended_early_what_was_answered_is_charged(
    shared_bursar: LocalBursar, new_key: Callable[..., str], end: str
) -> None:
    text = "[[output=3]] looks=9" if end == "cancelled" else "[[output=3]] expires"
    with client_of(shared_bursar, new_key("1.00")) as client:
        made = make(client, [line(number, text) for number in range(6)])
        ended = client.batches.cancel(made.id) if end == "cancelled" else client.batches.retrieve(made.id)
        again = client.batches.retrieve(made.id)
    assert (ended.status, again.status) == (end, end)
    row = the_batch(shared_bursar, made.id)
    assert (row["answered"], row["failed"], row["output_tokens"]) == (3, 3, 9)
    assert row["call_nano"] == batch_price("gpt-4o-mini", Usage(row["input_tokens"], output_tokens=9))
    assert shared_bursar.audit().findings == []


def test_files_and_batches_are_their_keys_own(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    with (
        client_of(shared_bursar, new_key("1.00")) as mine,
        client_of(shared_bursar, new_key("1.00")) as others,
    ):
        made = make(mine, [line(1)])
        done = mine.batches.retrieve(made.id)
        tries: list[Callable[[], Any]] = [
            lambda: others.batches.retrieve(made.id),
            lambda: others.batches.cancel(made.id),
            lambda: others.files.retrieve(done.input_file_id),
            lambda: others.files.content(done.output_file_id),
            lambda: others.files.delete(done.input_file_id),
            lambda: others.batches.create(input_file_id=done.input_file_id, endpoint=CHAT, completion_window="24h"),
        ]
        for attempt in tries:
            with pytest.raises(openai.NotFoundError):
                attempt()
        assert (list(others.batches.list()), list(others.files.list())) == ([], [])
        assert [each.id for each in mine.batches.list()] == [made.id]
        assert {each.id for each in mine.files.list()} == {done.input_file_id, done.output_file_id}
        assert [each.id for each in mine.files.list(purpose="batch")] == [done.input_file_id]
        assert mine.files.retrieve(done.input_file_id).purpose == "batch"
        mine.files.delete(done.input_file_id)
        with pytest.raises(openai.NotFoundError):
            mine.files.retrieve(done.input_file_id)


EMBEDDING = {"model": "text-embedding-3-small", "input": "some text"}


def test_embeddings_are_batched_too(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    url = "/v1/embeddings"
    lines = [{"custom_id": f"e{n}", "method": "POST", "url": url, "body": EMBEDDING} for n in range(3)]
    for each in lines:
        each["body"] = EMBEDDING | {"model": "sandbox/text-embedding-3-small"}
    with client_of(shared_bursar, new_key("1.00")) as client:
        made = make(client, lines, url)
        done = client.batches.retrieve(made.id)
        sent = [json.loads(each) for each in client.files.content(done.input_file_id).text.splitlines()]
    assert {each["body"]["model"] for each in sent} == {"text-embedding-3-small"}
    row = the_batch(shared_bursar, made.id)
    assert row["cost_nano"] == batch_price("text-embedding-3-small", Usage(row["input_tokens"])) > 0


REFUSED: list[tuple[str, list[Any], int, str]] = [
    ("no json", [b"{"], 400, "line 1: the body is not valid JSON"),
    ("a url without a meter", [line(1), line(2, url="/v1/fine_tuning/jobs")], 422, "line 2: `url`"),
    ("urls of two kinds", [line(1), line(2, url="/v1/responses")], 400, "the same `url`"),
    ("no custom_id", [line(1) | {"custom_id": 5}], 400, "line 1: Expected `str`"),
    ("a custom_id twice", [line(1), line(1)], 400, "line 2: its custom_id"),
    ("a stream", [line(1, stream=True)], 400, "line 1: a request of a batch is answered in one piece"),
    ("an unknown model", [line(1), line(2, model="made-up")], 404, "line 2: no model 'made-up'"),
    ("a model out of scope", [line(1, model="gpt-4o")], 403, "line 1: key"),
    ("a tier of its own", [line(1, service_tier="priority")], 422, "line 1: a batch has a price of its own"),
    ("nothing", [], 400, "no requests"),
    ("a get", [line(1) | {"method": "GET"}], 400, "line 1: expected POST"),
]


@pytest.mark.parametrize(("lines", "status", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_line_that_cannot_be_metered_refuses_the_file_with_its_number(
    shared_bursar: LocalBursar, scoped_key: str, lines: list[Any], status: int, said: str
) -> None:
    content = b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines)
    with client_of(shared_bursar, scoped_key) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("requests.jsonl", content), purpose="batch")
        assert caught.value.status_code == status
        assert said in caught.value.message
        assert list(client.files.list()) == []


@pytest.fixture(scope="module")
def scoped_key(shared_bursar: LocalBursar) -> str:
    return shared_bursar.create_key("batches within a scope", "5.00", models=("gpt-4o-mini", "made-up"))


def test_what_a_batch_may_cost_at_most_has_to_fit_every_budget(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    lines = [line(number) for number in range(50)]
    with client_of(shared_bursar, new_key("0.0001")) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            make(client, lines)
        assert (caught.value.status_code, caught.value.code) == (402, "budget_exhausted")
    with client_of(shared_bursar, shared_bursar.create_key("few requests", "1.00", "10 requests/day")) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            make(client, lines)
        assert "50 needed" in limited.value.message
        made = make(client, lines[:10])
        assert client.batches.retrieve(made.id).status == "completed"
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "one more"}])
    with (
        client_of(shared_bursar, new_key("1.00"), **{"x-bursar-max-cost-usd": "0.000001"}) as client,
        pytest.raises(openai.APIStatusError, match="x-bursar-max-cost-usd allows"),
    ):
        make(client, lines)
    assert shared_bursar.audit().findings == []


def test_two_batches_cannot_hold_the_same_money(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    lines = [line(number, "looks=2", max_completion_tokens=1_000) for number in range(10)]
    with client_of(shared_bursar, new_key("0.004")) as client:
        first = make(client, lines)
        held = the_batch(shared_bursar, first.id)["held_nano"]
        assert 2_000_000 < held < 4_000_000
        with pytest.raises(openai.APIStatusError, match="spent and"):
            make(client, lines)
        for _ in range(2):
            client.batches.retrieve(first.id)
        assert make(client, lines).status == "in_progress"  # what the first did not use is back


def test_an_idempotency_key_makes_one_batch(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    with client_of(shared_bursar, new_key("1.00")) as client:
        file = client.files.create(file=("requests.jsonl", jsonl([line(1)])), purpose="batch")
        once = {"Idempotency-Key": "the one"}
        wish: dict[str, Any] = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        first, second = (client.batches.create(**wish, extra_headers=once) for _ in range(2))
        assert first.id == second.id
        with pytest.raises(openai.ConflictError):
            client.batches.create(**wish, metadata={"x": "y"}, extra_headers=once)
        assert len(list(client.batches.list())) == 1


def test_a_batch_its_provider_refuses_holds_nothing(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    with client_of(shared_bursar, new_key("1.00")) as client:
        file = client.files.create(file=("requests.jsonl", jsonl([line(1, "refuse-me")])), purpose="batch")
        with pytest.raises(openai.BadRequestError, match="told to refuse"):
            client.batches.create(
                input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"sandbox": "refuse"}
            )
        assert list(client.batches.list()) == []
    assert shared_bursar.audit().findings == []


def test_only_purposes_with_a_use_here_are_taken(shared_bursar: LocalBursar, key: str) -> None:
    with client_of(shared_bursar, key) as client:
        with pytest.raises(openai.BadRequestError, match="expected one of batch"):
            client.files.create(file=("f.jsonl", b"{}"), purpose="fine-tune")
        kept = client.files.create(file=("notes.txt", b"some notes"), purpose="user_data")
        assert client.files.content(kept.id).content == b"some notes"
        with pytest.raises(openai.BadRequestError, match="purpose=batch"):
            client.batches.create(input_file_id=kept.id, endpoint=CHAT, completion_window="24h")
    bare = httpx.post(f"{shared_bursar.url}/v1/files", json={}, headers={"authorization": f"Bearer {key}"})
    assert (bare.status_code, bare.json()["error"]["code"]) == (400, "bad_request")
