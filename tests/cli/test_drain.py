"""A gateway that is told to stop: what is under way ends whole, what is new is refused, and nothing is lost."""

import http.client
import json
import signal
import threading
import time
from typing import Any

from bench.harness import LocalBursar, bursar
from bursar.core.ids import call_id_from_name
from bursar.core.records import CallStatus, UsageSource
from tests.asking import SANDBOX, Answer, ask, fetch


def stream(local: LocalBursar, key: str, text: str, names: list[str], wholes: list[bool]) -> None:
    """Read a stream to its end, and note its call's name and whether it was whole."""
    message = {"role": "user", "content": text}
    body = {"model": "gpt-4o-mini", "max_tokens": 200, "stream": True, "messages": [message]}
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    names.append(response.headers["x-bursar-call-id"])
    wholes.append(b"data: [DONE]" in response.read())
    connection.close()


def test_on_sigterm_calls_under_way_end_whole_new_ones_are_refused_and_all_are_booked() -> None:
    with bursar(workers=2) as local:
        key = local.create_key("drain", "10.00")
        names = [ask(local, key).headers["x-bursar-call-id"] for _ in range(5)]
        streamed, wholes = list[str](), list[bool]()
        text = "[[output=100 tpot_ms=25]]"
        threads = [threading.Thread(target=stream, args=(local, key, text, streamed, wholes)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(streamed) == 8)
        assert local.process is not None
        local.process.send_signal(signal.SIGTERM)
        refused = wait_for(lambda: answer if (answer := ask(local, key)).status == 503 else None)
        assert refused.json()["error"]["code"] == "draining"
        assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "1")
        ready = fetch(local, "GET", "/readyz")
        assert (ready.status, ready.json()["status"]) == (503, "draining")
        for thread in threads:
            thread.join()
        assert wholes == [True] * 8
        assert local.process.wait(60) == 0, local.last_words()
        assert not local.ready()
        local.start()
        for name in names + streamed:
            rows = local.query("select cost_nano from calls where call_id = $1", call_id_from_name(name))
            assert [row["cost_nano"] > 0 for row in rows] == [True]
        assert local.audit().findings == []
        assert local.stop() == 0, local.last_words()


def test_a_call_still_under_way_when_its_time_is_over_is_an_error_to_its_client_and_charged_by_policy() -> None:
    with bursar(SANDBOX + "[gateway]\ndrain_s = 0\n") as local:
        key = local.create_key("impatient", "10.00")
        assert ask(local, key).status == 200  # leaves a connection, so that the next is sent without a task
        answers = list[Answer]()
        caller = threading.Thread(target=lambda: answers.append(ask(local, key, "[[fault=stall]]")))
        caller.start()
        wait_for(lambda: b"bursar_calls_under_way 1.0" in fetch(local, "GET", "/metrics").body)
        assert local.stop() == 0, local.last_words()
        caller.join()
        assert (answers[0].status, answers[0].json()["error"]["code"]) == (500, "http_500")
        local.start()
        (row,) = local.query("select * from calls where status <> $1", CallStatus.ok)
        assert (row["status"], row["usage_source"]) == (CallStatus.indeterminate, UsageSource.held)
        assert row["cost_nano"] == row["held_nano"] > 0
        assert row["error"] == "abandoned by the gateway"
        assert local.audit().findings == []
        assert local.stop() == 0, local.last_words()


def wait_for(look: Any) -> Any:
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
