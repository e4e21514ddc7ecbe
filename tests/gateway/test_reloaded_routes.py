"""Routes that are added, changed and removed while calls go by them: those under way end by what they began with."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.harness import LocalBursar
from tests.asking import Answer, ask
from tests.gateway.conftest import ScriptedProvider

PROVIDERS = """
[providers.sandbox]
kind = "sandbox"

[providers.scripted]
kind = "openai"
base_url = "{url}"
prices = "openai"
"""
BEFORE = """
[models.grader]
targets = ["scripted/gpt-4.1-nano"]

[models.draft]
targets = ["scripted/gpt-5-nano"]

[models.small]
targets = ["sandbox/gpt-4o-mini"]

[models.big]
targets = ["sandbox/gpt-4o"]

[routes.graded]
by = "judged"
models = ["small", "big"]
judge = "grader"

[routes.checked]
by = "cascaded"
models = ["draft", "big"]
"""
AFTER = """
[models.second]
targets = ["sandbox/gpt-4.1-mini"]

[models.other]
targets = ["sandbox/gpt-4.1"]

[routes.checked]
by = "rule"
models = ["other", "second"]
rules = [{ model = "other" }]

[routes.fresh]
by = "rule"
models = ["other", "second"]
rules = [{ model = "other" }]
"""
WAITING = 3


class Held(list[bytes]):
    """Be an answer that waits until it may be given."""

    def __init__(self, pieces: list[bytes], ready: threading.Event) -> None:
        super().__init__(pieces)
        self._ready = ready

    def __iter__(self) -> Iterator[bytes]:
        self._ready.wait(30)
        return super().__iter__()


def hold_back(provider: ScriptedProvider, model: str, text: str, ready: threading.Event) -> None:
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    body = {"id": "x", "object": "chat.completion", "model": model, "choices": choices, "usage": usage}
    provider.say(model, "200 OK", json.dumps(body).encode())
    provider.answers[model] = Held(provider.answers[model], ready)


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_calls_under_way_end_by_the_routes_they_began_with_and_new_ones_go_by_the_new() -> None:
    provider, ready = ScriptedProvider(), threading.Event()
    providers = PROVIDERS.format(url=provider.url)
    local = LocalBursar(providers + BEFORE)
    local.start()
    try:
        key = local.create_key("reloaded", "1.00")
        hold_back(provider, "gpt-4.1-nano", "1", ready)
        hold_back(provider, "gpt-5-nano", "I'm sorry, I can't help with that.", ready)
        answers: dict[str, Answer] = {}

        def call(name: str, **options: Any) -> None:
            answers[name] = ask(local, key, "[[output=10]] hi", **options)

        calls = {
            "graded": {"model": "graded"},
            "streamed": {"model": "graded", "stream": True},
            "checked": {"model": "checked"},
        }
        callers = [threading.Thread(target=call, args=(name,), kwargs=asked) for name, asked in calls.items()]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(provider.requests) == WAITING)
        (local.data / "bursar.toml").write_text(providers + AFTER)
        assert local.process is not None
        local.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "config.reloaded" in local.last_words())
        assert ask(local, key, "[[output=10]] hi", model="fresh").headers["x-bursar-route"] == "rule; other"
        assert ask(local, key, "[[output=10]] hi", model="checked").headers["x-bursar-route"] == "rule; other"
        assert ask(local, key, "[[output=10]] hi", model="graded").status == 404
        ready.set()
        for caller in callers:
            caller.join()
        assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(calls, 200)
        assert {name: answer.headers["x-bursar-route"] for name, answer in answers.items()} == {
            "graded": "judged; small",
            "streamed": "judged; small",
            "checked": "cascaded; big",
        }
        assert {name: answer.headers["x-bursar-model"] for name, answer in answers.items()} == {
            "graded": "sandbox/gpt-4o-mini",
            "streamed": "sandbox/gpt-4o-mini",
            "checked": "sandbox/gpt-4o",
        }
        assert local.audit().findings == []
        assert local.stop() == 0, local.last_words()
    finally:
        provider.close()
        local.remove()
