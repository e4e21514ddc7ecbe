"""A budget that has no room for a model has a cheaper one answer, where that is wished, and is never overspent."""

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from tests.asking import Answer, ask
from tests.gateway.routed_house import call_of, wait_for, wait_ready

_numbers = itertools.count(1)
CAP = 1_000
"""Output tokens asked for: at gpt-4o they hold a cent, at claude-haiku-4-5 half of it, at gpt-4o-mini 0.06 of one."""


def thrifty(local: LocalBursar, limit: str, policy: str = "cheaper", **scope: Any) -> str:
    """Make a key with a budget that has a cheaper model answer, and wait until the gateway has heard of it."""
    name = f"thrifty {next(_numbers)}"
    secret = local.create_key(name, limit, **scope)
    local.command("budget", "policy", name, "--when-exhausted", policy)
    deadline = time.monotonic() + 10
    while local.query("select 1 from holders where name = $1 and exhausted = $2", name, policy) == []:
        assert time.monotonic() < deadline
    return secret


def ask_dear(local: LocalBursar, secret: str, text: str = "[[output=10]] hi", **options: Any) -> Answer:
    return ask(local, secret, text, **{"model": "dear", "max_tokens": CAP} | options)


def until_served(local: LocalBursar, secret: str, **options: Any) -> Answer:
    """Ask until the policy has reached the gateway."""
    deadline = time.monotonic() + 10
    while (answer := ask_dear(local, secret, **options)).status != 200:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.02)
    return answer


def test_the_first_cheaper_model_there_is_room_for_answers(routed: LocalBursar) -> None:
    plenty = thrifty(routed, "1.00")
    assert ask_dear(routed, plenty).headers["x-bursar-model"] == "sandbox/gpt-4o"
    answer = until_served(routed, thrifty(routed, "0.007"))
    assert (answer.headers["x-bursar-model"], answer.headers["x-bursar-route"]) == (
        "sandbox/claude-haiku-4-5",
        "cheaper; claude",
    )
    call = call_of(routed, answer)
    assert (call["model"], call["route"]["policy"], call["route"]["reference"]) == ("dear", "dear", "dear")
    assert call["route"]["why"] == "a budget had no room for dear"
    assert Decimal(call["held_usd"]) < Decimal("0.007")
    assert Decimal(answer.headers["x-bursar-saved-usd"]) > 0


def test_a_stream_is_served_by_the_cheaper_model_too(routed: LocalBursar) -> None:
    answer = until_served(routed, thrifty(routed, "0.002"), stream=True)
    assert (answer.headers["x-bursar-model"], answer.status) == ("sandbox/gpt-4o-mini", 200)
    assert b"[DONE]" in answer.body


def test_a_route_goes_to_its_next_cheaper_model(routed: LocalBursar) -> None:
    answer = until_served(routed, thrifty(routed, "0.003"), text="[[output=10]] prove it", model="auto")
    assert answer.headers["x-bursar-route"] == "cheaper; middle"
    call = call_of(routed, answer)
    assert (call["route"]["policy"], call["route"]["reference"]) == ("auto", "big")


def test_a_cheaper_model_must_be_able_and_within_the_keys_scope(routed: LocalBursar) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with_tools = until_served(routed, thrifty(routed, "0.003"), tools=[tool])
    assert with_tools.headers["x-bursar-model"] == "sandbox/gpt-4o-mini"  # as `small`: `narrow` takes no tools
    assert call_of(routed, with_tools)["route"]["model"] == "small"
    outside = thrifty(routed, "0.003", models=("dear",))
    until_served(routed, outside, max_tokens=100)  # which fits as it is: the policy may have come by now
    assert ask_dear(routed, outside).json()["error"]["code"] == "budget_exhausted"


def test_where_nothing_fits_the_call_is_refused_as_it_was_asked(routed: LocalBursar) -> None:
    poor = thrifty(routed, "0.0002")
    until_served(routed, poor, max_tokens=5, model="small")
    error = ask_dear(routed, poor).json()["error"]
    assert (error["code"], error["limit_usd"]) == ("budget_exhausted", "0.0002")
    assert Decimal(error["needed_usd"]) > Decimal("0.01")  # what gpt-4o needs


def test_refuse_stays_what_it_was(routed: LocalBursar) -> None:
    assert ask_dear(routed, thrifty(routed, "0.007", policy="refuse")).status == 402


def test_a_budget_of_the_dear_model_alone_leaves_the_cheap_one_to_answer(routed: LocalBursar) -> None:
    team = f"team {next(_numbers)}"
    routed.command("budget", "create", team, "5.00", "--when-exhausted", "cheaper")
    routed.command("budget", "create", f"dear of {team}", "0.001", "--parent", team, "--match", "model=dear")
    secret = routed.create_key(f"key of {team}", "5.00", parent=team)
    answer = until_served(routed, secret)
    assert answer.headers["x-bursar-route"] == "cheaper; claude"  # for which that budget has no room either
    spent = routed.query(
        "select coalesce(sum(amount_nano), 0)::bigint as nano from transfers join accounts"
        " on accounts.account_id = debit_account where name like $1 and transfers.kind = 1",
        f"%dear of {team}%",
    )
    assert spent[0]["nano"] == 0


def test_many_at_once_stay_within_the_limit_whichever_model_answers(routed: LocalBursar) -> None:
    secret = thrifty(routed, "0.06")
    until_served(routed, secret)
    with ThreadPoolExecutor(24) as pool:
        text = "[[output=400 ttft_ms=60]] hi"
        answers = list(pool.map(lambda _: ask_dear(routed, secret, text, max_tokens=500), range(48)))
    models = Counter(answer.headers.get("x-bursar-model", "refused") for answer in answers)
    assert models["sandbox/gpt-4o"] > 0
    assert models["sandbox/gpt-4o-mini"] > 0
    spent = sum(usd_to_nano(answer.headers["x-bursar-cost-usd"]) for answer in answers)
    assert spent <= usd_to_nano("0.06")


def test_a_crash_charges_the_cheaper_model_that_was_asked(routed: LocalBursar) -> None:
    secret = thrifty(routed, "0.003")
    until_served(routed, secret)
    name = routed.query("select key_id from keys where sha256 = sha256($1::text::bytea)", secret)[0]["key_id"]

    def call() -> None:
        try:
            ask_dear(routed, secret, "[[fault=stall]]")
        except OSError:
            return

    caller = threading.Thread(target=call)
    caller.start()
    held = "select 1 from transfers where kind = 2 and amount_nano between 500000 and 3000000 and event_us > $1"
    since_us = time.time_ns() // 1_000 - 2_000_000
    wait_for(routed, held, since_us)
    routed.kill("worker")
    caller.join()
    lost = "select model, served_model, cost_nano, held_nano, route from calls where status = 5 and key_id = $1"
    row = wait_for(routed, lost, name)[0]
    assert (row["model"], row["served_model"]) == ("dear", "gpt-4o-mini")
    assert row["cost_nano"] == row["held_nano"] < 3_000_000
    assert '"cheaper"' in row["route"]
    wait_ready(routed)
    assert routed.audit().findings == []


def test_a_held_out_call_that_a_budget_made_cheaper_is_in_neither_arm(routed: LocalBursar) -> None:
    runs, plenty = map("thrift {}".format, itertools.count()), thrifty(routed, "1.00")
    text = {"text": "[[output=10]] hi", "model": "compared"}
    held = next(
        run
        for run in runs
        if ask_dear(routed, plenty, **text, x_bursar_run=run).headers["x-bursar-route"].startswith("holdout")
    )
    answer = until_served(routed, thrifty(routed, "0.003"), **text, x_bursar_run=held)
    assert answer.headers["x-bursar-route"].startswith("cheaper; ")
    assert call_of(routed, answer)["arms"] == [
        {"lever": "route", "arm": "cheaper", "experiment": "compared", "share_ppm": 500_000}
    ]
