"""Prices that move with the load of servers of one's own: held for at the most, charged by the moment of the call."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.harness import LocalBursar
from bursar.core.errors import ConfigError
from bursar.core.times import SECOND_US
from bursar.gateway.config import parse_config
from bursar.gateway.load import Load
from bursar.gateway.provider import ByLoad
from bursar.prices.file import read_model_price
from bursar.prices.price import RateCard
from tests.gateway.conftest import find_call

SETTINGS = ByLoad(metrics="vllm", places=64)
CARD: RateCard = read_model_price({"input": "0.10", "output": "0.40"}, "house", "m", "p").at(0)
INPUT, OUTPUT = 100_000_000, 400_000_000
METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="Qwen/Qwen3-8B"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="Qwen/Qwen3-8B"}} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="Qwen/Qwen3-8B"}} 0.0
"""


def rates(card: RateCard) -> tuple[int, int]:
    return card.rates["input_tokens"].base_nano, card.rates["output_tokens"].base_nano


def test_the_price_is_half_on_an_idle_server_and_double_on_a_full_one() -> None:
    load = Load(SETTINGS)
    for at_s, ppm in ((1, 0), (2, 300_000), (3, 600_000), (4, 800_000), (5, 1_000_000)):
        load.note(at_s * SECOND_US, ppm)
    shares = [rates(load.card(CARD, at_s * SECOND_US))[0] / INPUT for at_s in range(1, 6)]
    assert shares == [0.5, 0.625, 1.0, 1.25, 2.0]
    assert rates(load.dearest(CARD)) == (2 * INPUT, 2 * OUTPUT)
    assert load.card(CARD, 3 * SECOND_US) is CARD
    assert load.card(CARD, SECOND_US).price_id.startswith("house/m;load=0,50-60-200#")


def test_a_call_goes_by_the_last_reading_before_it_and_by_none_that_is_old() -> None:
    load = Load(SETTINGS)
    assert load.percent(0) is None
    load.note(100 * SECOND_US, 0)
    load.note(110 * SECOND_US, 1_000_000)
    moments = {99: None, 100: 0, 109: 0, 110: 100, 130: 100, 131: None}
    assert {at_s: load.percent(at_s * SECOND_US) for at_s in moments} == moments
    load.note(105 * SECOND_US, 500_000)  # a clock that was set back changes no call that was priced
    assert load.percent(109 * SECOND_US) == 0


@given(
    ppm=st.integers(0, 1_000_000), reference=st.integers(1, 99), least=st.integers(0, 100), most=st.integers(100, 900)
)
def test_no_price_is_above_what_was_held_for_and_its_name_says_its_rates(
    ppm: int, reference: int, least: int, most: int
) -> None:
    settings = {"reference_percent": reference, "least_percent": least, "most_percent": most}
    load = Load(ByLoad(metrics="vllm", places=64, **settings))
    load.note(SECOND_US, ppm)
    card, dearest = load.card(CARD, SECOND_US), load.dearest(CARD)
    for leaf, rate in card.rates.items():
        assert rate.base_nano <= dearest.rates[leaf].base_nano
        assert CARD.rates[leaf].base_nano * least <= rate.base_nano * 100
    assert card.price_id == CARD.price_id or f"load={round(ppm / 10_000)}," in card.price_id


class Server:
    """Be an inference server: it answers, and tells how many requests run; or nothing."""

    def __init__(self) -> None:
        self.running: float | None = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == "/metrics"
                if server.running is None:
                    self._say(503, b"")
                else:
                    self._say(200, METRICS.format(running=server.running).encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
                usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
                self._say(200, json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode())

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def served() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


HOUSE = """
[gateway]
output_cap = 1_000

[providers.house]
preset = "vllm"
base_url = "{url}"
by_load = {{ metrics = "vllm", places = 10, every_s = 0.1, stale_s = 1.0 }}

[models.m]
targets = ["house/m"]
price = {{ input = "0.10", output = "0.40" }}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as made:
        yield made


@pytest.fixture(scope="module")
def loaded_house(server: Server) -> Iterator[LocalBursar]:
    local = LocalBursar(HOUSE.format(url=server.url))
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture
def ask(loaded_house: LocalBursar) -> Iterator[Callable[..., dict[str, Any]]]:
    key = loaded_house.create_key(f"load {time.monotonic_ns()}", "100.00")
    with openai.OpenAI(base_url=f"{loaded_house.url}/v1", api_key=key, max_retries=0) as client:

        def asked(**headers: str) -> dict[str, Any]:
            raw = client.chat.completions.with_raw_response.create(
                model="m", messages=[{"role": "user", "content": "hi"}], extra_headers=headers
            )
            return find_call(loaded_house, raw.headers["x-bursar-call-id"])

        yield asked


def until(ask: Callable[..., dict[str, Any]], cost_nano: int) -> dict[str, Any]:
    """Ask until a call costs so much: until a reading that says so has come, and every older one is over."""
    deadline = time.monotonic() + 15
    while (call := ask())["cost_nano"] != cost_nano:
        assert time.monotonic() < deadline, call["cost_nano"]
        time.sleep(0.05)
    return call


def test_a_call_costs_what_the_load_says_and_is_held_for_at_the_most(
    server: Server, ask: Callable[..., dict[str, Any]]
) -> None:
    usual = 1_000 * INPUT // 1_000_000 + 100 * OUTPUT // 1_000_000
    server.running = 0.0
    idle = until(ask, usual // 2)
    server.running = 10.0
    full = until(ask, 2 * usual)
    assert idle["held_nano"] == full["held_nano"] >= 1_000 * 2 * OUTPUT // 1_000_000
    server.running = None
    until(ask, usual)


def test_what_a_call_may_cost_is_asked_of_a_full_server(server: Server, ask: Callable[..., dict[str, Any]]) -> None:
    server.running = 0.0
    held_usd = 1_000 * 2 * OUTPUT / 1_000_000 / 1e9
    with pytest.raises(openai.APIStatusError) as refused:
        ask(**{"x-bursar-max-cost-usd": f"{held_usd:.9f}"})
    assert refused.value.status_code == 402
    assert ask(**{"x-bursar-max-cost-usd": f"{2 * held_usd:.9f}"})["cost_nano"] > 0


@pytest.mark.parametrize(
    ("by_load", "message"),
    [
        (
            {"metrics": "vlm", "places": 1},
            "providers.p.by_load.metrics: expected vllm or sglang or llamacpp, got 'vlm'",
        ),
        ({"metrics": "vllm", "plaxes": 1}, "unknown setting providers.p.by_load.plaxes; near: places"),
        ({"metrics": "vllm"}, "providers.p.by_load: Object missing required field `places`"),
        ({"metrics": "vllm", "places": 0}, "providers.p.by_load.places: Expected `int` >= 1"),
        (
            {"metrics": "vllm", "places": 1, "path": "metrics"},
            'providers.p.by_load.path: expected a path such as "/metrics"',
        ),
        (
            {"metrics": "vllm", "places": 1, "stale_s": 2.0},
            "providers.p.by_load.stale_s: expected no less than every_s, which is 5",
        ),
        (
            {"metrics": "vllm", "places": 1, "most_percent": 90},
            "providers.p.by_load.most_percent: Expected `int` >= 100",
        ),
    ],
)
def test_what_cannot_move_a_price_is_named(by_load: dict[str, Any], message: str) -> None:
    table = {"preset": "vllm", "by_load": by_load}
    with pytest.raises(ConfigError) as refused:
        parse_config({"providers": {"p": table}})
    assert str(refused.value).startswith(message)
