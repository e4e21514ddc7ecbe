"""Batches made, or answered, to be charged less than they cost: what is checked is what is sent, and all is charged."""

import asyncio
import json
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, cast

import httpx
import pytest

from bench.harness import LocalBursar, bursar
from bursar.core.errors import Refusal, UpstreamFailed
from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.gateway.batches.ask import few_at_once
from bursar.gateway.batches.requests import digest_of
from bursar.gateway.batches.tally import Tally
from bursar.gateway.connection import Response
from bursar.prices import load
from bursar.prices.charge import cost
from bursar.prices.price import RateCard
from bursar.store.batches import Batch, BatchModel
from bursar.wires.batch import OPENAI_BATCH, Result, write_line
from bursar.wires.batch_messages import with_params
from tests.gateway.conftest import ScriptedProvider
from tests.gateway.test_tree_spending import plant

CHAT = "/v1/chat/completions"
CLOCK_US = 1_795_000_000_000_000
MODELS = ("gpt-4o-mini", "gpt-4o")
FORM = "multipart/form-data; boundary="
WISH = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"}

CONFIG = """
[providers.scripted]
kind = "openai"
base_url = "{url}"
prices = "openai"
protocols = ["openai_chat", "openai_completions"]
"""


@pytest.fixture(scope="module")
def local(scripted: ScriptedProvider) -> Iterator[LocalBursar]:
    with bursar(CONFIG.format(url=scripted.url)) as local:
        yield local


def line(name: str, model: str = "scripted/gpt-4o-mini", url: str = CHAT, **body: Any) -> bytes:
    asked: dict[str, Any] = {"model": model, **body}
    if url == CHAT:
        asked |= {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": asked}).encode()


def form(boundary: bytes, content: bytes, before: bytes = b"") -> bytes:
    head = b"--" + boundary + b"\r\nContent-Disposition: form-data; "
    file = b'name="file"; filename="b.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n' + content
    return before + head + b'name="purpose"\r\n\r\nbatch\r\n' + head + file + b"\r\n--" + boundary + b"--\r\n"


def post(local: LocalBursar, key: str, path: str, **request: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **request.pop("headers", {})}
    return httpx.post(f"{local.url}/v1/{path}", headers=headers, timeout=30, **request)


def upload(local: LocalBursar, key: str, body: bytes, boundary: str = "A") -> httpx.Response:
    return post(local, key, "files", content=body, headers={"content-type": FORM + boundary})


def read_by(request: bytes) -> dict[str, bytes]:
    """Read what a provider was sent as it reads forms: by its header."""
    head, body = request.split(b"\r\n\r\n", 1)
    kind = next(each for each in head.split(b"\r\n") if each.lower().startswith(b"content-type:"))
    read = BytesParser(policy=HTTP).parsebytes(kind + b"\r\n\r\n" + body)
    parts = [(str(part.get_param("name", header="content-disposition")), part) for part in read.iter_parts()]
    assert len({name for name, _ in parts}) == len(parts)
    return {name: cast("bytes", part.get_payload(decode=True)) for name, part in parts}


def test_the_file_that_is_checked_is_the_file_that_is_sent(local: LocalBursar, scripted: ScriptedProvider) -> None:
    key = local.create_key("smuggles", "1.00")
    scripted.say_in_turn("files", b'{"id":"file-sent"}', b'{"id":"file-more"}')
    plain = form(b"BURSAR", line("good"))
    assert upload(local, key, plain).status_code == 200  # whose header says another boundary
    read = read_by(scripted.requests[-1])
    assert read["purpose"] == b"batch"
    assert [json.loads(each)["custom_id"] for each in read["file"].splitlines()] == ["good"]
    evil = b'--BURSAR\r\nContent-Disposition: form-data; name="ignored"; filename="x"\r\n\r\n\r\n'
    before, count = evil + form(b"A", line("evil")) + b"\r\n", len(scripted.requests)
    refused = upload(local, key, form(b"BURSAR", line("good"), before))
    assert (refused.status_code, len(scripted.requests)) == (400, count)
    twice = form(b"A", line("good")).removesuffix(b"--A--\r\n") + form(b"A", line("evil"))
    assert "2 times" in upload(local, key, twice).text


def test_a_line_is_sent_once_as_it_was_read_with_the_cap_it_is_held_for(
    local: LocalBursar, scripted: ScriptedProvider
) -> None:
    key, url = local.create_key("lines", "1.00"), "/v1/completions"
    model = "scripted/gpt-3.5-turbo-instruct"
    text = line("a", model, url, prompt="hi").replace(
        b'"body": {', b'"body": {"model": "dear"}, "body": {"model": "d",'
    )
    scripted.say_in_turn("files", b'{"id":"file-completions"}')
    answer = upload(local, key, form(b"A", text))
    assert answer.status_code == 200, answer.text
    sent = read_by(scripted.requests[-1])["file"]
    assert b"dear" not in sent
    assert sent.count(b'"model"') == 1
    assert json.loads(sent)["body"] == {"model": "gpt-3.5-turbo-instruct", "prompt": "hi", "max_tokens": 16}
    returned = write_line(b'{"url":"u","x":1,"custom_id":"a","custom_id":"b"}', b'{"model":\r"m"}')
    assert returned == b'{"custom_id":"b","method":"POST","url":"u","body":{"model": "m"}}'
    wish = b'{"requests":[{"custom_id":"a","params":{"model":"dear"},"params":{},"x":1}],"requests":[]}'
    assert with_params(wish.removesuffix(b',"requests":[]}') + b"}", [b"{}"]) == (
        b'{"requests":[{"custom_id":"a","params":{}}]}'
    )


@pytest.fixture(scope="module")
def ready(local: LocalBursar, scripted: ScriptedProvider) -> str:
    """Return a key with a file of one request."""
    key = local.create_key("has a file", "1.00")
    scripted.say_in_turn("files", b'{"id":"file-1"}')
    assert upload(local, key, form(b"A", line("a"))).status_code == 200
    return key


def test_an_idempotency_key_makes_what_was_refused_once_more(
    local: LocalBursar, scripted: ScriptedProvider, ready: str
) -> None:
    once = {"idempotency-key": "again"}
    scripted.say("batches", "429 Too Many", b"{}")
    assert post(local, ready, "batches", json=WISH, headers=once).status_code == 429
    scripted.say("batches", "200 OK", b'{"id":"batch_again","status":"validating"}')
    scripted.say("batch_again", "200 OK", b'{"id":"batch_again","status":"validating"}')
    count = len(scripted.requests)
    ids = [post(local, ready, "batches", json=WISH, headers=once).json()["id"] for _ in range(2)]
    assert ids == ["batch_again"] * 2
    assert sum(each.startswith(b"POST") for each in scripted.requests[count:]) == 1


def test_several_at_once_under_a_new_idempotency_key_make_one_batch(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    key = new_key("0.00001")  # which one of them fits
    file = upload(shared_bursar, key, form(b"A", line("a", "gpt-4o-mini")))
    wish, once = WISH | {"input_file_id": file.json()["id"]}, {"idempotency-key": "at once"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(shared_bursar, key, "batches", json=wish, headers=once), range(8)))
    good = [each.json()["id"] for each in answers if each.status_code == 200]
    late = [each.json()["error"]["code"] for each in answers if each.status_code != 200]
    assert (len(set(good)), set(late) - {"idempotency_conflict"}) == (1, set())
    assert post(shared_bursar, key, "batches", json=wish, headers=once).json()["id"] == good[0]
    other = wish | {"metadata": {"a": "b"}}
    assert post(shared_bursar, key, "batches", json=other, headers=once).status_code == 409
    rows = shared_bursar.query(
        "select held_nano from batches where idempotency_key is not null and provider_id = $1", good[0]
    )
    assert len(rows) == 1
    assert 5_000 < rows[0]["held_nano"] < 10_000
    assert shared_bursar.audit().findings == []


def test_a_limit_that_is_no_number_is_refused_with_its_name(local: LocalBursar, ready: str) -> None:
    answer = post(local, ready, "batches", json=WISH, headers={"x-bursar-max-cost-usd": "abc"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-bursar-max-cost-usd")


def test_a_batch_whose_results_cannot_be_read_has_not_ended_and_is_charged_what_it_held(
    local: LocalBursar, scripted: ScriptedProvider, ready: str
) -> None:
    done = {"id": "batch_lacks", "status": "completed", "output_file_id": "dir/file out"}
    done["request_counts"] = {"total": 1, "completed": 1, "failed": 0}  # pyright: ignore[reportArgumentType]
    scripted.say("batches", "200 OK", b'{"id":"batch_lacks","status":"validating"}')
    scripted.say("batch_lacks", "200 OK", json.dumps(done).encode())
    assert post(local, ready, "batches", json=WISH).status_code == 200
    headers = {"authorization": f"Bearer {ready}"}
    url = f"{local.url}/v1/batches/batch_lacks"
    assert "x-bursar-cost-usd" not in httpx.get(url, headers=headers).headers
    (row,) = local.query("select * from batches where provider_id = 'batch_lacks'")
    assert (row["ended_us"], row["missing_us"] is None) == (None, False)
    local.query("update batches set missing_us = missing_us - 86400000001 where provider_id = 'batch_lacks'")
    httpx.get(url, headers=headers)
    (row,) = local.query("select * from batches where provider_id = 'batch_lacks'")
    assert row["cost_nano"] == row["held_nano"] > 0
    assert local.audit().findings == []


def test_a_batch_of_models_with_budgets_of_their_own_is_refused(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    team = f"batches {time.time_ns()}"
    plant(shared_bursar, team, "10.00")
    plant(shared_bursar, f"{team} dear", "0.000001", parent=team, match={"model": "gpt-4o"})
    key = new_key("1.00", parent=team)
    lines = b"\n".join((line("a", "gpt-4o-mini"), line("b", "gpt-4o")))
    answer = upload(shared_bursar, key, form(b"A", lines))
    assert answer.status_code == 200, answer.text
    refused = post(shared_bursar, key, "batches", json=WISH | {"input_file_id": answer.json()["id"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert "gpt-4o-mini and gpt-4o count against different budgets" in refused.text


def test_files_are_within_the_scope_of_batches(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    key = new_key("1.00", routes=(CHAT,))
    assert upload(shared_bursar, key, form(b"A", line("a"))).status_code == 403


def card_of(model: str) -> RateCard:
    return load().find_any(model).at(CLOCK_US, {"processing": "batch"})


def tally(*names: str, most_nano: int = 7_000) -> Tally:

    cards = {card_of(model).price_id: card_of(model) for model in MODELS}
    models = tuple(BatchModel(each, each, Protocol.openai_chat, card_of(each).price_id) for each in MODELS)
    costs = b"".join(struct.pack("<8sqIH", digest_of(name), most_nano + n, 30, 0) for n, name in enumerate(names))
    where = (1, bytes(16), "k", Protocol.openai_batch, "p", "batch_1", CHAT, models, len(names), "", "", {}, ())
    return Tally(Batch(*where, most_nano, 0, None, None, charged=False, cost_nano=0), costs, cards)


def answered(name: str, prompt: int, completion: int) -> Result:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return Result(name, json.dumps({"model": "gpt-4o", "choices": [], "usage": usage}).encode())


def test_answers_nobody_asked_for_are_charged_at_the_dearest_model() -> None:
    summed = tally("a")
    for each in (answered("a", 10, 5), answered("evil", 100, 50), answered("a", 100, 50), Result("failed", None)):
        summed.add(each)
    bill = summed.bill(1)
    dear = cost(Usage(200, output_tokens=100), card_of("gpt-4o"))
    assert bill.cost_nano == cost(Usage(10, output_tokens=5), card_of("gpt-4o-mini")) + dear
    assert (bill.answered, bill.failed, bill.requests, bill.tokens) == (3, 0, 3, 315)


def test_an_answer_nobody_asked_for_without_usage_is_charged_the_dearest_ceiling() -> None:
    summed = tally("a", "b")
    summed.add(Result("evil", b"{}"))
    bill = summed.bill(1)
    assert (bill.cost_nano, bill.unmetered, bill.failed) == (7_001, 1, 2)


@pytest.mark.parametrize(
    ("counts", "lacks"),
    [((None, 0), False), ((1, 0), False), ((2, 0), True), ((2, 1), True), ((1, 5), False), ((0, 0), False)],
)
def test_results_lack_where_the_provider_counts_more_answers(counts: tuple[int | None, int], lacks: bool) -> None:
    summed = tally("a", "b", "c")
    summed.add(answered("a", 1, 1))
    assert summed.lacks(*counts) is lacks


STATES: list[tuple[dict[str, Any], bool]] = [
    ({"output_file_id": "dir/file out"}, True),
    ({"output_file_id": "file-1", "error_file_id": "../x"}, True),
    ({"output_file_id": "file-1"}, False),
    ({}, True),
    ({"request_counts": {"completed": 0, "failed": 0}}, False),
    ({"status": "failed"}, False),
]


@pytest.mark.parametrize(("said", "lacks"), STATES)
def test_a_state_tells_whether_its_results_can_be_read(said: dict[str, Any], lacks: bool) -> None:
    state = OPENAI_BATCH.state(json.dumps({"id": "batch_1", "status": "completed"} | said).encode())
    assert (state.ended, state.lacks) == (True, lacks)


async def test_a_list_gives_what_is_known_where_one_is_out_of_reach() -> None:
    under_way, most = 0, 0

    async def good() -> Response:

        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return Response(200, [], b"{}")

    async def bad() -> Response:
        raise UpstreamFailed("gone")

    found = await few_at_once([good, bad, *[good] * 9])
    assert ([each is None for each in found], most) == ([False, True, *[False] * 9], 4)
    with pytest.raises(Refusal, match="gone"):
        await few_at_once([bad, bad])
    assert await few_at_once([]) == []
