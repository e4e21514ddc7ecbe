"""Run a Bursar with routes, for the tests of what they do."""

import time
from collections.abc import Iterator
from typing import Any

from bench.harness import LocalBursar, free_port
from tests.asking import Answer, ask, fetch, wait_booked

ROUTED = """
[gateway]
output_cap = 1_000

[providers.sandbox]
kind = "sandbox"

[providers.dead]
kind = "openai"
base_url = "http://127.0.0.1:{dead_port}/v1"
prices = "openai"
connect_s = 1.0

[providers.scripted]
kind = "openai"
base_url = "{scripted_url}"
prices = "openai"

[models.grader]
targets = ["scripted/gpt-4.1-nano"]

[models.draft]
targets = ["scripted/gpt-5-nano"]
retries = 0

[models.leaving]
targets = ["scripted/gpt-5-mini"]
on_disconnect = "cancel"

[models.shaky]
targets = ["scripted/gpt-4.1"]
fallbacks = ["big"]

# Asked by few tests: how long their answers are is not averaged yet.
[models.quick]
targets = ["sandbox/gpt-4.1-nano"]

[models.grand]
targets = ["sandbox/gpt-4.1"]

[models.small]
targets = ["sandbox/gpt-4o-mini"]
images = false

[models.middle]
targets = ["sandbox/gpt-4.1-mini"]
tools = false

[models.big]
targets = ["sandbox/gpt-4o"]

[models.dear]
targets = ["sandbox/gpt-4o"]
cheaper = ["narrow", "claude", "small"]

[models.claude]
targets = ["sandbox/claude-haiku-4-5"]

[models.narrow]
targets = ["sandbox/gpt-4o-mini"]
context_tokens = 600
tools = false

[models.gone]
targets = ["dead/gpt-4o-mini"]
retries = 0

[routes.auto]
by = "rule"
models = ["small", "middle", "big"]
rules = [
    {{ when = {{ words = ["prove"] }}, model = "big" }},
    {{ when = {{ tags = {{ tier = "gold" }} }}, model = "middle" }},
    {{ when = {{ tokens_min = 2_000 }}, model = "big" }},
]

[routes.learned]
models = ["quick", "grand"]

[routes.taught]
models = ["quick", "grand"]

[routes.curious]
models = ["quick", "grand"]
explore_percent = 100
explore_cost_max_usd = "1"

[routes.graded]
by = "judged"
models = ["small", "big"]
judge = "grader"

[routes.checked]
by = "cascaded"
models = ["draft", "big"]

[routes.drafted]
by = "cascaded"
models = ["draft", "big"]
checks_streams = true

[routes.left]
by = "cascaded"
models = ["leaving", "big"]
checks_streams = true

[routes.drafted_and_judged]
by = "cascaded"
models = ["draft", "big"]
checks_streams = true
verify = ["empty", "judge"]
judge = "grader"

[routes.verified]
by = "cascaded"
models = ["draft", "big"]
verify = ["empty", "judge"]
judge = "grader"

[routes.risky]
by = "rule"
models = ["shaky", "big"]
rules = [{{ model = "shaky" }}]

[routes.tight]
by = "rule"
models = ["narrow", "middle"]
rules = [{{ model = "narrow" }}]

[routes.saving]
by = "rule"
models = ["quick", "grand"]
rules = [{{ model = "quick" }}]

[routes.unlucky]
by = "rule"
models = ["gone", "big"]
rules = [{{ model = "gone" }}]

[routes.faithful]
by = "rule"
models = ["gone", "big"]
rules = [{{ model = "gone" }}]
fall_back = false

[routes.compared]
by = "rule"
models = ["small", "big"]
rules = [{{ model = "small" }}]
holdout_percent = 50
"""


def run_routed(scripted_url: str) -> Iterator[LocalBursar]:
    """Run it from the first test to the last, and see that its books balance."""
    local = LocalBursar(ROUTED.format(dead_port=free_port(), scripted_url=scripted_url))
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


def call_of(local: LocalBursar, answer: Answer) -> dict[str, Any]:
    """Return the record of an answer, as the API shows it."""
    name = answer.headers["x-bursar-call-id"]
    wait_booked(local, name)
    return fetch(local, "GET", f"/api/calls/{name}").json()


def served(local: LocalBursar, secret: str, text: str = "hi", **options: Any) -> str:
    answer = ask(local, secret, f"[[output=10]] {text}", **{"model": "auto"} | options)
    assert answer.status == 200, answer.body
    return answer.headers["x-bursar-model"]


def wait_for(local: LocalBursar, text: str, *values: Any) -> list[dict[str, Any]]:
    """Ask the database until it has something."""
    deadline = time.monotonic() + 30
    while not (found := local.query(text, *values)):
        assert time.monotonic() < deadline, local.last_words()
        time.sleep(0.05)
    return found


def wait_ready(local: LocalBursar) -> None:
    """Wait until calls are served again."""
    deadline = time.monotonic() + 30
    while not local.ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
