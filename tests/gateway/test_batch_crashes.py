"""Whatever is killed while a batch is made, seen or charged: it is charged once, or what it held goes back."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from bench.harness import LocalBursar, bursar
from tests.gateway.test_openai_batches import CHAT, client_of, jsonl, line

CONFIG = """
[gateway]
drain_s = 2

[providers.sandbox]
kind = "sandbox"
connect_s = 1.0
first_byte_s = 30.0

[models."gpt-4o-mini"]
targets = ["sandbox/gpt-4o-mini"]
"""


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBursar]:
    with bursar(CONFIG) as local:
        yield local


def wait_until(what: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def make(client: Any, lines: list[dict[str, Any]], **metadata: str) -> Any:
    file = client.files.create(file=("requests.jsonl", jsonl(lines)), purpose="batch")
    wish: dict[str, Any] = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    return client.batches.create(**wish, metadata=metadata)


def begin(local: LocalBursar, key: str, how: str, number: int) -> threading.Thread:
    """Begin to make a batch that gets no answer."""

    def work() -> None:
        with contextlib.suppress(openai.APIConnectionError), client_of(local, key) as client:
            make(client, [line(n, f"{number}") for n in range(4)], sandbox=how)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def the_open_batch(local: LocalBursar) -> dict[str, Any] | None:
    rows = local.query("select * from batches where ended_us is null")
    assert len(rows) < 2
    return rows[0] if rows else None


def test_a_batch_whose_gateway_was_killed_before_its_provider_answered_is_found_there_and_charged(
    local: LocalBursar,
) -> None:
    thread = begin(local, local.create_key("stalled", "1.00"), "stall", 1)
    made = wait_until(lambda: the_open_batch(local))
    assert made["provider_id"] is None
    assert made["held_nano"] > 0
    time.sleep(0.3)  # until its provider has it
    local.kill("worker")
    thread.join()
    wait_until(local.ready)
    ended = wait_until(
        lambda: local.query("select * from batches where batch_id = $1 and ended_us is not null", made["batch_id"])
    )[0]
    assert (ended["charged"], ended["answered"]) == (True, 4)
    assert 0 < ended["cost_nano"] < ended["held_nano"]
    assert local.audit().findings == []


def test_what_a_batch_held_that_never_reached_its_provider_goes_back(local: LocalBursar) -> None:
    key = local.create_key("lost", "1.00")
    thread = begin(local, key, "lost", 2)
    made = wait_until(lambda: the_open_batch(local))
    local.kill("worker")
    thread.join()
    wait_until(local.ready)
    time.sleep(2.5)  # it is looked for, and is not given up yet
    assert the_open_batch(local) is not None
    local.query(
        "update batches set opened_us = opened_us - 95000000, look_us = 0 where batch_id = $1", made["batch_id"]
    )
    wait_until(lambda: the_open_batch(local) is None)
    row = local.query("select * from batches where batch_id = $1", made["batch_id"])[0]
    assert (row["charged"], row["cost_nano"]) == (False, 0)
    assert local.query("select * from calls where call_id = $1", made["batch_id"]) == []
    assert local.audit().findings == []


def test_a_batch_nobody_asks_for_is_charged_all_the_same(local: LocalBursar) -> None:
    with client_of(local, local.create_key("forgotten", "1.00")) as client:
        made = make(client, [line(n, "[[output=4]]") for n in range(4)])
        wait_until(lambda: the_open_batch(local) is None)
        row = local.query("select * from batches where provider_id = $1", made.id)[0]
        assert (row["charged"], row["answered"]) == (True, 4)
        output = client.batches.retrieve(made.id).output_file_id
        assert output is not None
        assert len(client.files.content(output).text.splitlines()) == 4
    assert local.audit().findings == []


def test_a_batch_many_ask_for_at_once_while_gateways_are_killed_is_charged_once(local: LocalBursar) -> None:
    key = local.create_key("asked for by many", "1.00")
    with client_of(local, key) as client:
        made = make(client, [line(n, "[[output=4]] looks=2") for n in range(40)])

    def ask(_: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{local.url}/v1/batches/{made.id}", headers={"authorization": f"Bearer {key}"}, timeout=10)

    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(ask, number) for number in range(24)]
        local.kill("worker")
        wait_until(local.ready)
        for each in [*asked, *(callers.submit(ask, number) for number in range(24))]:
            each.result()
    rows = wait_until(lambda: local.query("select * from batches where provider_id = $1 and charged", made.id))
    calls = local.query("select cost_nano, output_tokens from calls where call_id = $1", rows[0]["batch_id"])
    assert [(each["cost_nano"], each["output_tokens"]) for each in calls] == [(rows[0]["cost_nano"], 160)]
    assert local.audit().findings == []


def test_a_batch_whose_results_are_gone_for_a_day_is_charged_what_it_held(local: LocalBursar) -> None:
    with client_of(local, local.create_key("gone", "1.00")) as client:
        made = make(client, [line(1, "looks=99")])
    batch = wait_until(lambda: the_open_batch(local))
    name, day_us = batch["batch_id"], 86_400_000_000
    local.query("update batches set provider_id = 'batch_gone', look_us = 0 where batch_id = $1", name)
    wait_until(lambda: local.query("select 1 from batches where batch_id = $1 and missing_us is not null", name))
    assert the_open_batch(local) is not None
    local.query("update batches set missing_us = missing_us - $2, look_us = 0 where batch_id = $1", name, day_us + 1)
    wait_until(lambda: the_open_batch(local) is None)
    joined = "select batches.*, calls.status from batches join calls on call_id = batch_id where batch_id = $1"
    row = local.query(joined, name)
    assert (row[0]["cost_nano"], row[0]["unmetered"], row[0]["status"]) == (batch["held_nano"], 1, 5)
    assert made.id == batch["provider_id"]
    assert local.audit().findings == []
