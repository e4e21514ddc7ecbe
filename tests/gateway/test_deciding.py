"""Routes that ask before they choose: what is asked is held for, charged and written down with the call."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from bench.harness import LocalBursar
from bursar.core.records import CallStatus
from tests.asking import Answer, ask
from tests.gateway.conftest import ScriptedProvider
from tests.gateway.routed_house import call_of, wait_for, wait_ready

GRADER, DRAFT = "gpt-4.1-nano", "gpt-5-nano"
GONE, FAILED = CallStatus.client_gone, CallStatus.failed


@pytest.fixture
def key(routed: LocalBursar) -> str:
    return routed.create_key(f"deciding {time.monotonic_ns()}", "10.00")


def say(provider: ScriptedProvider, model: str, text: str, finish: str = "stop") -> None:
    """Have a scripted model answer with a text, for a hundred tokens in and ten out."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    body = {"id": "x", "object": "chat.completion", "model": model, "choices": choices, "usage": usage}
    provider.say(model, "200 OK", json.dumps(body).encode())


class Waiting(list[bytes]):
    """Be an answer that waits until it may be given."""

    def __init__(self, pieces: list[bytes], ready: threading.Event) -> None:
        super().__init__(pieces)
        self._ready = ready

    def __iter__(self) -> Iterator[bytes]:
        self._ready.wait(10)
        return super().__iter__()


def attempts(call: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["model"], each["status"]) for each in call["attempts"]]


def decided(routed: LocalBursar, answer: Answer) -> tuple[str, list[tuple[str, str]]]:
    """Return how a call was routed and its attempts, and see that its cost is theirs."""
    assert answer.status == 200, answer.body
    call = call_of(routed, answer)
    assert sum(Decimal(each["cost_usd"]) for each in call["attempts"]) == Decimal(call["cost_usd"])
    assert Decimal(call["cost_usd"]) <= Decimal(call["held_usd"])
    assert call["overage_usd"] == "0.00"
    return answer.headers["x-bursar-route"], attempts(call)


@pytest.mark.parametrize(("grade", "model", "target"), [("1", "small", "gpt-4o-mini"), ("5", "big", "gpt-4o")])
@pytest.mark.parametrize("stream", [False, True])
def test_a_judges_grade_chooses_and_its_cost_is_the_calls(
    routed: LocalBursar, provider: ScriptedProvider, key: str, grade: str, model: str, target: str, stream: bool
) -> None:
    say(provider, GRADER, grade)
    route, made = decided(routed, ask(routed, key, "[[output=10]] how hard?", model="graded", stream=stream))
    assert route == f"judged; {model}"
    assert made == [(GRADER, "ok"), (target, "ok")]


def test_a_judge_that_gives_no_grade_has_the_strongest_answer_and_its_bill_is_posted(
    routed: LocalBursar, provider: ScriptedProvider, key: str
) -> None:
    say(provider, GRADER, "that depends")
    answer = ask(routed, key, "[[output=10]] hi", model="graded")
    assert decided(routed, answer) == ("judged; big", [(GRADER, "ok"), ("gpt-4o", "ok")])
    assert Decimal(call_of(routed, answer)["attempts"][0]["cost_usd"]) > 0


def test_a_judge_that_is_down_costs_nothing_and_the_strongest_answers(
    routed: LocalBursar, provider: ScriptedProvider, key: str
) -> None:
    provider.say(GRADER, "503 Service Unavailable", b'{"error":{"message":"down"}}')
    answer = ask(routed, key, "[[output=10]] hi", model="graded")
    assert decided(routed, answer) == ("judged; big", [(GRADER, "failed"), ("gpt-4o", "ok")])
    assert call_of(routed, answer)["attempts"][0]["cost_usd"] == "0.00"


def test_a_cheap_answer_that_passes_is_the_answer(routed: LocalBursar, provider: ScriptedProvider, key: str) -> None:
    say(provider, DRAFT, "Forty-two.")
    answer = ask(routed, key, "[[output=10]] what is it?", model="checked")
    assert decided(routed, answer) == ("cascaded; draft", [(DRAFT, "ok")])
    assert answer.json()["choices"][0]["message"]["content"] == "Forty-two."
    assert Decimal(answer.headers["x-bursar-saved-usd"]) > 0


def test_a_cheap_answer_that_fails_its_checks_is_paid_for_and_the_next_model_answers(
    routed: LocalBursar, provider: ScriptedProvider, key: str
) -> None:
    say(provider, DRAFT, "I'm sorry, I can't help with that.")
    answer = ask(routed, key, "[[output=10]] what is it?", model="checked")
    assert decided(routed, answer) == ("cascaded; big", [(DRAFT, "ok"), ("gpt-4o", "ok")])
    assert "draft declined" in call_of(routed, answer)["route"]["why"]


def test_where_there_is_no_money_for_the_dear_model_the_cheap_answer_stands(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    say(provider, DRAFT, "I'm sorry, I can't help with that.")
    poor = routed.create_key(f"deciding poor {time.monotonic_ns()}", "0.004")
    answer = ask(routed, poor, "[[output=10]] what is it?", model="checked", max_tokens=1_000)
    route, made = decided(routed, answer)
    assert route == "cascaded; draft; unverified"
    assert answer.headers["x-bursar-saved-usd"] == "0.00"
    assert made == [(DRAFT, "ok"), ("gpt-4o", "skipped")]  # as they were thought of
    assert call_of(routed, answer)["served_by"] == f"scripted/{DRAFT}"
    assert "sorry" in answer.json()["choices"][0]["message"]["content"]


def test_an_answer_that_a_judge_finds_good_ends_the_call_though_the_judge_was_asked_last(
    routed: LocalBursar, provider: ScriptedProvider, key: str
) -> None:
    say(provider, DRAFT, "Forty-two.")
    say(provider, GRADER, "yes")
    answer = ask(routed, key, "[[output=10]] what is it?", model="verified")
    assert decided(routed, answer) == ("cascaded; draft", [(DRAFT, "ok"), (GRADER, "ok")])
    assert call_of(routed, answer)["served_by"] == f"scripted/{DRAFT}"


def test_a_stream_is_answered_by_the_strongest_and_says_why(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, "[[output=10]] hi", model="checked", stream=True)
    assert decided(routed, answer) == ("cascaded; big", [("gpt-4o", "ok")])
    assert "stream" in call_of(routed, answer)["route"]["why"]


def test_a_call_for_several_answers_goes_to_the_strongest_and_says_why(routed: LocalBursar, key: str) -> None:
    answer = ask(routed, key, "[[output=10]] hi", model="checked", n=2)
    assert decided(routed, answer) == ("cascaded; big", [("gpt-4o", "ok")])
    assert "one answer of several" in call_of(routed, answer)["route"]["why"]


def leave_while_asked(routed: LocalBursar, provider: ScriptedProvider, model: str, asks: str, **more: str) -> str:
    """Ask `asks`, and leave while a scripted model is at its answer; return the key's name once it may go on."""
    may_answer = threading.Event()
    provider.answers[model] = Waiting(provider.answers[model], may_answer)
    name = text = f"deciding left {time.monotonic_ns()}"
    body = json.dumps({"model": asks, "messages": [{"role": "user", "content": text}]})
    headers = {"authorization": f"Bearer {routed.create_key(name, '1.00')}", "content-type": "application/json"}
    caller = http.client.HTTPConnection("127.0.0.1", routed.port)
    caller.request("POST", "/v1/chat/completions", body, headers | more)
    deadline = time.monotonic() + 10
    while not asked_for(provider, text):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    caller.close()
    time.sleep(0.2)  # the gateway sees that
    may_answer.set()
    return name


def asked_for(provider: ScriptedProvider, text: str) -> int:
    return sum(text.encode() in request for request in provider.requests)


def row_of(routed: LocalBursar, name: str) -> dict[str, Any]:
    """Return the one call of a key, once it is in the books."""
    of_key = "select calls.* from calls join keys using (tenant, key_id) where name = $1"
    (row,) = wait_for(routed, of_key, name)
    return row


def test_a_cheap_answer_stands_for_a_client_that_has_left(routed: LocalBursar, provider: ScriptedProvider) -> None:
    say(provider, DRAFT, "I'm sorry, I can't help with that.")
    row = row_of(routed, leave_while_asked(routed, provider, DRAFT, "checked"))
    assert (row["served_model"], row["attempts"], row["status"]) == (DRAFT, None, GONE)  # the one attempt, and no other
    assert "the client has left, so the answer of draft stands" in row["route"]
    assert row["counterfactual_nano"] == row["cost_nano"] > 0


def test_no_judge_is_asked_for_a_client_that_has_left(routed: LocalBursar, provider: ScriptedProvider) -> None:
    say(provider, DRAFT, "Forty-two.")
    say(provider, GRADER, "yes")
    name = leave_while_asked(routed, provider, DRAFT, "verified")
    row = row_of(routed, name)
    assert (row["served_model"], row["attempts"], row["status"]) == (DRAFT, None, GONE)
    assert asked_for(provider, name) == 1


def test_no_model_is_asked_for_a_client_that_has_left_its_judge(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    say(provider, GRADER, "5")
    row = row_of(routed, leave_while_asked(routed, provider, GRADER, "graded"))
    assert (row["served_model"], row["attempts"], row["status"]) == (GRADER, None, GONE)
    assert "the client has left unanswered" in row["route"]
    assert row["counterfactual_nano"] == row["cost_nano"] > 0  # the judge is paid, and nothing was saved


@pytest.mark.parametrize("asks", ["risky", "shaky"])
def test_nothing_is_retried_for_a_client_that_has_left(
    routed: LocalBursar, provider: ScriptedProvider, asks: str
) -> None:
    provider.say("gpt-4.1", "503 Service Unavailable", b'{"error":{"message":"down"}}')
    name = leave_while_asked(routed, provider, "gpt-4.1", asks)
    row = row_of(routed, name)
    assert (row["served_model"], row["attempts"], row["status"]) == ("gpt-4.1", None, FAILED)
    assert (row["cost_nano"], asked_for(provider, name)) == (0, 1)


def test_a_call_with_an_idempotency_key_is_made_to_its_end(routed: LocalBursar, provider: ScriptedProvider) -> None:
    say(provider, GRADER, "5")
    name = leave_while_asked(routed, provider, GRADER, "graded", **{"idempotency-key": "comes back"})
    row = row_of(routed, name)
    assert (row["served_model"], row["status"]) == ("gpt-4o", GONE)


def test_a_crash_between_the_two_attempts_settles_what_was_spent(
    routed: LocalBursar, provider: ScriptedProvider
) -> None:
    say(provider, DRAFT, "I'm sorry, I can't help with that.")
    name = f"deciding crash {time.monotonic_ns()}"
    secret = routed.create_key(name, "1.00")

    def call() -> None:
        try:
            ask(routed, secret, "[[fault=stall]] hi", model="checked", max_tokens=500)
        except OSError:
            return

    caller = threading.Thread(target=call)
    caller.start()
    of_key = "select key_id from keys where name = $1"
    key_id = routed.query(of_key, name)[0]["key_id"]
    began = "select 1 from transfers where kind = 2 and amount_nano > 4000000 and event_us > $1"
    wait_for(routed, began, time.time_ns() // 1_000 - 3_000_000)
    routed.kill("worker")
    caller.join()
    row = wait_for(routed, "select * from calls where status = 5 and key_id = $1", key_id)[0]
    first, last = json.loads(row["attempts"])
    assert (first[1], last[1]) == (DRAFT, "gpt-4o")
    assert row["cost_nano"] == row["held_nano"]
    wait_ready(routed)
    assert routed.audit().findings == []
