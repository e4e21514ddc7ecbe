"""Batches at prices that depend on volume or move with load: charged once, by the same rules as calls."""

import json
import random
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.harness import LocalBursar, bursar
from bursar.core.errors import UnpricedUsage
from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.gateway.batches.requests import digest_of
from bursar.gateway.batches.tally import Tally
from bursar.prices.charge import charge, charge_by_volume, rederive, total, used_after
from bursar.prices.file import read_model_price
from bursar.prices.price import RateCard, Volume
from bursar.store.batches import Batch, BatchModel, Bill
from bursar.wires.batch import Result
from tests.gateway.test_batch_crashes import make, wait_until
from tests.gateway.test_openai_batches import CHAT, client_of, line, the_batch
from tests.gateway.test_server_load import METRICS

VOLUME = Volume("total", {"output_tokens": 100}, ((300, 100_000), (600, 500_000)))
PLAIN = read_model_price({"input": "1", "output": "1"}, "house", "counted", "p").at(0)
CARD: RateCard = msgspec.structs.replace(PLAIN, volume=VOLUME)


def tally(names: Sequence[str], models: int = 1) -> Tally:
    held = b"".join(struct.pack("<8sqIH", digest_of(name), 10**9, 30, n % models) for n, name in enumerate(names))
    each = BatchModel("counted", "counted", Protocol.openai_chat, CARD.price_id, VOLUME)
    where = (1, bytes(16), "k", Protocol.openai_batch, "p", "batch_1", CHAT, (each,) * models, len(names))
    batch = Batch(*where, "", "", {}, (), 10**12, 0, None, None, charged=False, cost_nano=0)
    return Tally(batch, held, {CARD.price_id: PLAIN})


def answered(name: str, prompt: int, completion: int) -> Result:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return Result(name, json.dumps({"model": "counted", "choices": [], "usage": usage}).encode())


def billed(results: Sequence[Result], used: dict[str, int], models: int = 1) -> Bill:
    summed = tally(sorted(each.custom_id for each in results), models)
    for each in results:
        summed.add(each)
    return summed.bill(1, {"counted": used})


@given(
    sizes=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=8),
    before=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    models=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_a_batch_is_charged_as_one_call_that_used_as_much_whatever_the_order_of_its_results(
    sizes: list[tuple[int, int]], before: tuple[int, int], models: int, seed: int
) -> None:
    results = [answered(f"r{n}", *size) for n, size in enumerate(sizes)]
    used = used_after(Usage(before[0], output_tokens=before[1]), {})
    whole = Usage(sum(size[0] for size in sizes), output_tokens=sum(size[1] for size in sizes))
    one = billed(results, used)
    assert one.cost_nano == total(charge(whole, CARD, used))
    assert billed(random.Random(seed).sample(results, len(results)), used) == one
    several = billed(results, used, models)  # under several names it is one model still
    lines = [line for attempt in several.attempts for line in attempt.lines]
    assert several.cost_nano == sum(rederive(each) for each in lines)
    quantities = [
        sum(each.quantity for each in lines if each.unit == unit) for unit in ("input_tokens", "output_tokens")
    ]
    assert quantities == [whole.input_tokens, whole.output_tokens]
    free = sum(each.quantity for each in lines if not each.rate_nano)
    assert free == min(whole.output_tokens, max(0, 100 - before[1]))


def test_an_allowance_is_one_for_a_unit_at_several_rates_and_none_of_it_comes_back() -> None:
    uses = [("output_tokens", 70, 1_000_000), ("output_tokens", 70, 2_000_000)]
    lines = charge_by_volume(uses, VOLUME)
    assert [(each.quantity, each.rate_nano) for each in lines] == [(70, 0), (30, 0), (40, 2_000_000)]
    lines = charge_by_volume(uses, VOLUME, {"output_tokens": 5_000, "tokens": 5_000})
    assert [(each.quantity, each.rate_nano) for each in lines] == [(70, 500_000), (70, 1_000_000)]


def test_a_unit_without_a_rate_is_no_free_one() -> None:
    with pytest.raises(UnpricedUsage):
        charge(Usage(other={"web_searches": 1}), CARD)


COUNTED = """
[gateway]
drain_s = 2

[providers.sandbox]
kind = "sandbox"
prices = "house"
connect_s = 1.0

[models.other]
targets = ["sandbox/other"]
price = { input = "1", output = "1" }

[models.counted]
targets = ["sandbox/counted"]

[[prices]]
provider = "house"
model = "counted"
input = "1"
output = "1"
volume = { period = "total", free = { output = 100 } }

[models.shared]
targets = ["sandbox/shared"]

[[prices]]
provider = "house"
model = "shared"
input = "1"
output = "1"
volume = { period = "total", free = { output = 100 } }
"""


@pytest.fixture(scope="module")
def counted() -> Iterator[LocalBursar]:
    with bursar(COUNTED) as local:
        yield local


def requests(count: int, output: int, model: str, how: str = "") -> list[dict[str, Any]]:
    return [line(n, f"[[output={output}]] {how}", model=model) for n in range(count)]


def ended(local: LocalBursar, client: Any, made: Any) -> dict[str, Any]:
    wait_until(lambda: client.batches.retrieve(made.id).status == "completed")
    return the_batch(local, made.id)


def paid_output(row: dict[str, Any]) -> int:
    """Return how many tokens of output were charged, all at 1,000 nano-USD as those of input are."""
    assert row["call_nano"] == row["cost_nano"]
    return row["cost_nano"] // 1_000 - row["input_tokens"]


def ask(local: LocalBursar, key: str, output: int, model: str) -> int:
    """Return how many tokens of a call's output were charged."""
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key=key, max_retries=0) as client:
        turn: Any = {"role": "user", "content": f"[[output={output}]]"}
        answer = client.chat.completions.with_raw_response.create(model=model, messages=[turn], max_tokens=200)
        usage = answer.parse().usage
    assert usage is not None
    return round(float(answer.headers["x-bursar-cost-usd"]) * 1e6) - usage.prompt_tokens


def test_an_allowance_is_used_up_once_by_calls_and_batches_however_often_these_are_fetched(
    counted: LocalBursar,
) -> None:
    key = counted.create_key("counting", "1.00")
    assert ask(counted, key, 30, "counted") == 0
    wait_until(lambda: counted.query("select 1 from calls where served_model = 'counted'"))
    others = [line(8, "[[output=10]]", model="other"), line(9, "[[fault=silent]]", model="other")]
    with client_of(counted, key) as client:
        made = make(client, requests(4, 10, "counted") + others)
        row = ended(counted, client, made)
        assert [client.batches.retrieve(made.id).status for _ in range(10)] == ["completed"] * 10
    attempts = json.loads(row_of(counted, row)["attempts"])
    lines = [line for attempt in attempts if attempt[1] == "counted" for line in attempt[10]]
    assert [line for line in lines if line[0] == "output_tokens"] == [["output_tokens", 40, 0, 1_000_000, 0]]
    assert ask(counted, key, 20, "counted") == 0  # 30 and 40 before it
    wait_until(lambda: len(counted.query("select 1 from calls where served_model = 'counted'")) == 2)
    counted.kill("worker")  # whoever comes after it knows by the books alone what was used
    wait_until(counted.ready)
    assert ask(counted, key, 20, "counted") == 10
    wait_until(lambda: len(counted.query("select 1 from calls where served_model = 'counted'")) == 3)
    with client_of(counted, key) as client:
        assert paid_output(ended(counted, client, make(client, requests(3, 5, "counted")))) == 15
    assert counted.audit().findings == []


def row_of(local: LocalBursar, row: dict[str, Any]) -> dict[str, Any]:
    return local.query("select * from calls where call_id = $1", row["batch_id"])[0]


def test_batches_that_end_at_once_while_gateways_are_killed_share_one_allowance(counted: LocalBursar) -> None:
    key = counted.create_key("many", "1.00")
    with client_of(counted, key) as client:
        made = [make(client, requests(5, 8, "shared", f"looks=2 {n}")) for n in range(4)]

    def look(number: int) -> None:
        path, headers = f"/v1/batches/{made[number % 4].id}", {"authorization": f"Bearer {key}"}
        try:
            httpx.get(counted.url + path, headers=headers, timeout=10)
        except httpx.HTTPError:
            return  # its gateway was killed

    with ThreadPoolExecutor(8) as callers:
        looks = [callers.submit(look, number) for number in range(16)]
        counted.kill("worker")
        wait_until(counted.ready)
        for each in [*looks, *(callers.submit(look, number) for number in range(16))]:
            each.result()
    with client_of(counted, key) as client:
        rows = [ended(counted, client, each) for each in made]
    assert sum(map(paid_output, rows)) == 4 * 40 - 100
    assert ask(counted, key, 7, "shared") == 7
    assert counted.audit().findings == []


class BatchServer:
    """Be a server of one's own that takes batches and tells how many requests it has running."""

    def __init__(self) -> None:
        self.running = 0.0
        self.reads = 0
        self.ended = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    server.reads += 1
                    self._say(METRICS.format(running=server.running).encode())
                elif self.path.endswith("/content"):
                    usage = {"prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010}
                    body = {"status_code": 200, "body": {"model": "m", "choices": [], "usage": usage}}
                    self._say(json.dumps({"custom_id": "r1", "response": body}).encode())
                else:
                    self._say(server.batch())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                file = {"id": "file-1", "object": "file", "purpose": "batch", "bytes": 1, "created_at": 1}
                self._say(json.dumps(file).encode() if self.path == "/v1/files" else server.batch())

            def _say(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def batch(self) -> bytes:
        counts = {"total": 1, "completed": int(self.ended), "failed": 0}
        said: dict[str, Any] = {"id": "batch_1", "object": "batch", "endpoint": CHAT, "request_counts": counts}
        more = {"status": "completed", "output_file_id": "file-2"} if self.ended else {"status": "in_progress"}
        return json.dumps(said | more).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


LOADED = """
[providers.house]
preset = "vllm"
base_url = "{url}"
by_load = {{ metrics = "vllm", places = 10, every_s = 0.1, stale_s = 600.0 }}

[models.m]
targets = ["house/m"]
price = {{ input = "0.10", output = "0.40" }}
"""
USUAL_NANO = 1_000 * 100 + 10 * 400


def test_a_batch_is_held_for_at_a_full_server_and_charged_by_the_load_when_it_was_made() -> None:
    server = BatchServer()
    try:
        with bursar(LOADED.format(url=server.url)) as local, client_of(local, local.create_key("k", "1.00")) as client:
            wish: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"}
            file = client.files.create(
                file=("requests.jsonl", json.dumps(line(1, model="m")).encode()), purpose="batch"
            )
            wait_until(lambda: server.reads > 1)
            made = client.batches.create(input_file_id=file.id, **wish)
            server.running, filled = 10.0, server.reads + 2  # it fills up while the batch is under way
            wait_until(lambda: server.reads > filled)
            server.ended = True
            row = ended(local, client, made)
            assert row["cost_nano"] == row["call_nano"] == USUAL_NANO // 2
            assert row_of(local, row)["price_id"].startswith("house/m;load=0,50-60-200#")
            assert row["held_nano"] >= 20 * 2 * 400  # the output it asks for, on a full server
            assert local.audit().findings == []
    finally:
        server.close()
