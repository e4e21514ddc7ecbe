"""What outcomes have taught a route outlives the process that learned it, and a changed configuration."""

import json
import signal
import time

from bench.harness import bursar
from bursar.savings.route.online import EVENTS_MIN
from tests.asking import SANDBOX, ask, fetch, wait_booked

CONFIG = (
    SANDBOX
    + """
[models.quick]
targets = ["sandbox/gpt-4.1-nano"]

[models.grand]
targets = ["sandbox/gpt-4.1"]

[routes.taught]
models = ["quick", "grand"]
"""
)
EASY = "What is the capital of France?"


def test_lessons_hold_from_the_first_call_after_a_reload_and_after_a_restart() -> None:
    with bursar(CONFIG) as local:
        key = local.create_key("taught", "1.00")
        headers = {"authorization": f"Bearer {key}", "content_type": "application/json"}

        def how() -> str:
            return ask(local, key, EASY, model="taught").headers["x-bursar-route"]

        assert how().startswith("learned; quick")
        answers = [ask(local, key, EASY, model="taught") for _ in range(EVENTS_MIN + 1)]
        names = [answer.headers["x-bursar-call-id"] for answer in answers]
        wait_booked(local, names[-1])
        outcomes = [json.dumps({"id": name, "kind": "thumbs", "call": name, "value": False}) for name in names]
        for outcome in outcomes:
            assert fetch(local, "POST", "/api/outcomes", outcome.encode(), **headers).status == 201
        deadline = time.monotonic() + 20
        while (taught := how()).startswith("learned; quick"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

        assert local.process is not None
        local.process.send_signal(signal.SIGHUP)
        while "config.reloaded" not in local.last_words():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert how() == taught

        for outcome in outcomes:  # told again, they teach nothing more
            assert json.loads(fetch(local, "POST", "/api/outcomes", outcome.encode(), **headers).body)["again"]
        local.kill("worker")
        while not local.ready():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert how() == taught
        assert local.audit().findings == []
