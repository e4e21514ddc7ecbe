"""Calls count against every budget they belong to, of money, requests, tokens and calls at once, in all or in none."""

import asyncio
import concurrent.futures
import itertools
import json
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from bench.harness import LocalBursar, database
from bursar.budgets.budget import Budget, Enforcement, Terms, Window, read_limit
from bursar.budgets.tree import RUN, Exhausted, Holder, Holds
from bursar.core.money import usd_to_nano
from bursar.ledger.chart import Unit, overdraft_id
from bursar.store.holders import (
    BudgetState,
    Place,
    Policies,
    budget_states,
    create_holder,
    find_holder,
    set_budgets,
    set_frozen,
    set_policies,
)
from bursar.store.keys import Scope, create_key
from tests.gateway.conftest import ScriptedProvider

CHAT = "/v1/chat/completions"
FLOOR = 256

_numbers = itertools.count(1)


def fresh(word: str) -> str:
    return f"{word} {next(_numbers)} of the tree"


def now_us() -> int:
    return time.time_ns() // 1_000


def terms_of(limits: Iterable[str | Terms]) -> list[Terms]:
    return [read_limit(each) if isinstance(each, str) else each for each in limits]


def plant(local: LocalBursar, name: str, *limits: str | Terms, **place: Any) -> Holder:
    """Make a holder."""

    async def work() -> Holder:
        async with database(local.database_url) as connection, connection.transaction():
            return await create_holder(
                connection, name, Place(place.pop("kind", "team"), **place), terms_of(limits), now_us()
            )

    return asyncio.run(work())


def key_with(local: LocalBursar, name: str, *terms: Terms) -> str:
    async def work() -> str:
        async with database(local.database_url) as connection:
            return (await create_key(connection, name, list(terms), Scope(), now_us()))[1]

    return asyncio.run(work())


def freeze(local: LocalBursar, name: str, *, frozen: bool) -> None:
    async def work() -> None:
        async with database(local.database_url) as connection:
            await set_frozen(connection, name, now_us(), frozen=frozen)

    asyncio.run(work())


def set_limits(local: LocalBursar, name: str, *limits: str | Terms) -> None:
    async def work() -> None:
        async with database(local.database_url) as connection:
            await set_budgets(connection, name, terms_of(limits), now_us())

    asyncio.run(work())


def set_policy(local: LocalBursar, name: str, policies: Policies) -> None:
    async def work() -> None:
        async with database(local.database_url) as connection:
            await set_policies(connection, name, policies)

    asyncio.run(work())


def states_of(local: LocalBursar, name: str) -> dict[Unit, BudgetState]:
    """Read where the money of a holder's budgets is, one budget a unit."""

    async def work() -> list[BudgetState]:
        async with database(local.database_url) as connection:
            holder = await find_holder(connection, name)
            return await budget_states(connection, holder.budgets, now_us())

    return {state.budget.terms.unit: state for state in asyncio.run(work())}


def ask(local: LocalBursar, secret: str, text: str = "[[output=5]] hi", **options: Any) -> httpx.Response:
    """Ask a chat model; `run` and `tags` are headers, the rest are fields of the body."""
    headers = {"authorization": f"Bearer {secret}"}
    headers |= {f"x-bursar-{name}": options.pop(name) for name in ("run", "tags") if name in options}
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | options
    return httpx.post(local.url + CHAT, json=body, headers=headers, timeout=30)


def ask_at_once(local: LocalBursar, secret: str, texts: list[str], **options: Any) -> list[httpx.Response]:
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        return list(pool.map(lambda text: ask(local, secret, text, **options), texts))


def error_of(answer: httpx.Response) -> dict[str, Any]:
    return answer.json()["error"]


def cost_of(answer: httpx.Response) -> int:
    return usd_to_nano(answer.headers["x-bursar-cost-usd"])


def tokens_of(answer: httpx.Response) -> int:
    return answer.json()["usage"]["total_tokens"]


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def wait_spent(local: LocalBursar, name: str, unit: Unit, amount: int) -> BudgetState:
    """Wait until a budget's state in the books is what the answers say."""
    deadline = time.monotonic() + 15
    while (state := states_of(local, name)[unit]).spent_nano != amount:
        assert time.monotonic() < deadline, (state, amount)
        time.sleep(0.05)
    return state


def test_a_teams_limit_refuses_a_key_with_room_of_its_own_and_names_the_team(shared_bursar: LocalBursar) -> None:
    team, org = fresh("team"), fresh("org")
    plant(shared_bursar, org, "50.00")
    plant(shared_bursar, team, "0.0003/month", parent=org)
    keys = [shared_bursar.create_key(fresh("key"), "10.00", parent=team) for _ in range(2)]
    beside = shared_bursar.create_key(fresh("key"), "10.00", parent=org)
    spent = 0
    for number in range(200):
        answer = ask(shared_bursar, keys[number % 2], "[[output=60]] hi")
        if answer.status_code != 200:
            break
        spent += cost_of(answer)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["budget"]) == (402, "budget_exhausted", team)
    assert (error["limit_usd"], "resets_at" in error) == ("0.0003", True)
    assert f"the budget of {team} of 0.0003/month USD" in error["message"]
    assert 150_000 < spent <= 300_000
    assert [ask(shared_bursar, key).status_code for key in keys] == [402, 402]
    assert ask(shared_bursar, beside).status_code == 200
    assert wait_spent(shared_bursar, team, Unit.usd, spent).left_nano == 300_000 - spent


def test_what_is_refused_by_one_budget_is_held_in_none(shared_bursar: LocalBursar) -> None:
    team, name = fresh("team"), fresh("key")
    plant(shared_bursar, team, "0", "5 requests/day")
    key = shared_bursar.create_key(name, "0.0003", "3 requests/day", "400 tokens/day", "2 concurrent", parent=team)
    for _ in range(20):  # more than any of them would have had room for
        assert ask(shared_bursar, key).status_code == 402
    assert {unit: state.spent_nano for unit, state in states_of(shared_bursar, name).items()} == dict.fromkeys(
        (Unit.usd, Unit.request, Unit.token, Unit.call), 0
    )
    set_limits(shared_bursar, team, "1.00", "5 requests/day")
    wait_until(lambda: ask(shared_bursar, key).status_code == 200, "room at last", 5)


@pytest.mark.parametrize(
    ("limit", "wait_s"), [("3 requests/minute rolling", 10), ("3 requests/hour", 3_600), ("3 requests/day", 86_400)]
)
def test_requests_beyond_a_rate_wait_for_the_next_window(shared_bursar: LocalBursar, limit: str, wait_s: int) -> None:
    name = fresh("key")
    key = shared_bursar.create_key(name, limit)
    answers = [ask(shared_bursar, key) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    error = error_of(answers[-1])
    assert (error["code"], error["budget"], error["unit"]) == ("rate_limit_exceeded", name, "requests")
    assert (error["spent"], error["held"], error["needed"], error["limit"]) == ("3", "0", "1", "3")
    assert f"the limit of {name} of {limit} is reached" in error["message"]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= wait_s
    assert answers[-1].headers["x-bursar-cost-usd"] == "0.00"
    assert wait_spent(shared_bursar, name, Unit.request, 3).left_nano == 0


def test_a_rate_per_minute_says_to_wait_no_longer_than_a_minute(shared_bursar: LocalBursar) -> None:
    key = shared_bursar.create_key(fresh("key"), "2 requests/minute")
    answers = [ask(shared_bursar, key) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 2 <= len(refused) <= 4  # a minute may have ended meanwhile
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)


def test_tokens_beyond_a_rate_are_refused_and_what_was_not_used_is_free_again(shared_bursar: LocalBursar) -> None:
    name = fresh("key")
    key = shared_bursar.create_key(name, "500 tokens/hour")
    used = 0
    for _ in range(60):
        answer = ask(shared_bursar, key, "[[output=10]] hi")
        if answer.status_code != 200:
            break
        used += tokens_of(answer)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["unit"]) == (429, "rate_limit_exceeded", "tokens")
    assert 300 < used <= 500
    assert int(error["spent"]) == used
    assert ask(shared_bursar, key, "[[output=3]] x", max_tokens=10).status_code in (200, 429)
    wait_until(lambda: states_of(shared_bursar, name)[Unit.token].spent_nano >= used, "tokens in the books")


def test_no_more_calls_are_under_way_than_may_be(shared_bursar: LocalBursar) -> None:
    name = fresh("key")
    key = shared_bursar.create_key(name, "2 concurrent")
    answers = ask_at_once(shared_bursar, key, ["[[output=3 ttft_ms=700]] slow"] * 8)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 6
    error = error_of(refused[0])
    assert (refused[0].status_code, error["code"], error["unit"]) == (429, "rate_limit_exceeded", "concurrent")
    assert (error["spent"], error["held"], error["limit"]) == ("0", "2", "2")
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    for _ in range(4):
        assert ask(shared_bursar, key).status_code == 200
    assert states_of(shared_bursar, name)[Unit.call].spent_nano == 0


def test_parts_of_a_teams_calls_have_limits_of_their_own(shared_bursar: LocalBursar) -> None:
    team = fresh("team")
    plant(shared_bursar, team, "10.00")
    search, dear, runs, users = (fresh(word) for word in ("search", "dear", "runs", "users"))
    plant(shared_bursar, search, "1 request/day", parent=team, match={"feature": "search"})
    plant(shared_bursar, dear, "1 request/day", parent=team, match={"model": "gpt-4o"})
    plant(shared_bursar, runs, "2 requests/day", parent=team, each=RUN)
    plant(shared_bursar, users, "1 request/day", parent=search, each="user")
    key = shared_bursar.create_key(fresh("key"), "10.00", parent=team)

    def told(**options: Any) -> tuple[int, str]:
        answer = ask(shared_bursar, key, **options)
        return answer.status_code, error_of(answer)["budget"] if answer.status_code != 200 else ""

    assert [told()[0] for _ in range(4)] == [200] * 4  # of no part
    assert told(tags="feature=search,user=ana") == (200, "")
    assert told(tags="feature=search") == (429, search)
    assert told(tags="feature=chat,user=ana") == (200, "")
    assert told(model="gpt-4o") == (200, "")
    assert told(model="gpt-4o") == (429, dear)
    assert told(model="gpt-4o-mini") == (200, "")
    assert [told(run="a")[0] for _ in range(3)] == [200, 200, 429]
    assert told(run="a") == (429, f"{runs}/a")
    assert [told(run="b")[0] for _ in range(3)] == [200, 200, 429]
    other = shared_bursar.create_key(fresh("key"), "10.00", parent=team)
    assert ask(shared_bursar, other, run="a").status_code == 429  # a run is the team's, whoever calls in it


@pytest.mark.parametrize("run", ["a/b", "x:y", "a@b+c", "..", "a b"])
def test_odd_names_of_runs_have_budgets_of_their_own(shared_bursar: LocalBursar, run: str) -> None:
    team, runs = fresh("team"), fresh("runs")
    plant(shared_bursar, team, "10.00")
    plant(shared_bursar, runs, "1.00/day", "2 requests/day", parent=team, each=RUN)
    key = shared_bursar.create_key(fresh("key"), "10.00", parent=team)
    answers = [ask(shared_bursar, key, run=run) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert error_of(answers[-1])["budget"] == f"{runs}/{quote(run, safe='')}"
    assert ask(shared_bursar, key, run=f"{run}2").status_code == 200


@pytest.mark.parametrize("run", ["x~overdraft", "100%", "a,b", "x" * 129])
def test_what_is_no_name_of_a_run_is_refused(shared_bursar: LocalBursar, new_key: Any, run: str) -> None:
    answer = ask(shared_bursar, new_key("1.00"), run=run)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "x-bursar-run")


@pytest.mark.parametrize("who", ["org", "team", "key", "part"])
def test_whoever_is_frozen_spends_nothing_within_a_second_and_again_once_thawed(
    shared_bursar: LocalBursar, who: str
) -> None:
    names = {word: fresh(word) for word in ("org", "team", "key", "part")}
    plant(shared_bursar, names["org"], "10.00")
    plant(shared_bursar, names["team"], "10.00", parent=names["org"])
    plant(shared_bursar, names["part"], "10.00", parent=names["team"], match={"f": "s"})
    key = shared_bursar.create_key(names["key"], "10.00", parent=names["team"])
    beside = shared_bursar.create_key(fresh("key"), "10.00")
    assert ask(shared_bursar, key, tags="f=s").status_code == 200
    freeze(shared_bursar, names[who], frozen=True)
    wait_until(lambda: ask(shared_bursar, key, tags="f=s").status_code == 402, "a frozen budget", 1)
    answer = ask(shared_bursar, key, tags="f=s")
    assert error_of(answer)["code"] == "budget_frozen"
    assert error_of(answer)["message"].startswith(f"{names[who]} is frozen")
    assert ask(shared_bursar, key).status_code == (200 if who == "part" else 402)
    assert ask(shared_bursar, beside).status_code == 200
    freeze(shared_bursar, names[who], frozen=False)
    wait_until(lambda: ask(shared_bursar, key, tags="f=s").status_code == 200, "a thawed budget", 1)


def used_in(local: LocalBursar) -> dict[int, int]:
    """Sum what was counted against further limits, by unit."""
    rows = local.query(
        "select unit, sum(credits_posted - debits_posted)::bigint as n from accounts where code = 2700 group by unit"
    )
    return {row["unit"]: row["n"] for row in rows}


def test_budgets_of_several_units_all_say_what_the_answers_say(shared_bursar: LocalBursar) -> None:
    team, name, runs = fresh("team"), fresh("key"), fresh("runs")
    plant(shared_bursar, team, "5.00/day rolling", "900 requests/day rolling", "900000 tokens/day")
    plant(shared_bursar, runs, "5.00", parent=team, each=RUN)
    key = shared_bursar.create_key(
        name, "1.00/day", "500 requests/day", "500000 tokens/day", "50 concurrent", parent=team
    )
    before = used_in(shared_bursar)
    texts = [f"[[output={number % 30 + 1}]] {number}" for number in range(60)]
    answers = ask_at_once(shared_bursar, key, texts, run="r1")
    assert {answer.status_code for answer in answers} == {200}
    cost, tokens = sum(map(cost_of, answers)), sum(map(tokens_of, answers))
    wait_spent(shared_bursar, name, Unit.usd, cost)
    for who in (name, team):
        states = states_of(shared_bursar, who)
        assert [states[unit].spent_nano for unit in (Unit.usd, Unit.request, Unit.token)] == [cost, 60, tokens]
        assert {state.held_nano for state in states.values()} == {0}
        assert {state.overage_nano for state in states.values()} == {0}
    assert states_of(shared_bursar, name)[Unit.call].spent_nano == 0
    after = used_in(shared_bursar)
    grown = {unit: after[unit] - before.get(unit, 0) for unit in after}
    # The key's money is owed to the provider; what it counts for besides is counted once for each further limit.
    assert (grown[Unit.request], grown[Unit.token]) == (2 * 60, 2 * tokens)
    assert grown[Unit.usd] == 2 * cost
    assert shared_bursar.audit().findings == []


def test_many_at_once_overspend_no_budget_of_the_tree(shared_bursar: LocalBursar) -> None:
    team, org = fresh("team"), fresh("org")
    plant(shared_bursar, org, "0.0009", "1000 requests/day")
    plant(shared_bursar, team, "0.0006", parent=org)
    names = [fresh("key") for _ in range(4)]
    keys = [
        shared_bursar.create_key(name, "0.0002", parent=parent)
        for name, parent in zip(names, [team, team, team, org], strict=True)
    ]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        work = [pool.submit(ask, shared_bursar, keys[n % 4], "[[output=20]] same") for n in range(200)]
        answers = [each.result() for each in work]
    assert {answer.status_code for answer in answers} == {200, 402}
    costs = [sum(cost_of(answer) for answer in answers[place::4] if answer.status_code == 200) for place in range(4)]
    assert max(costs) <= 200_000
    assert sum(costs[:3]) <= 600_000
    assert sum(costs) <= 900_000
    wait_spent(shared_bursar, org, Unit.usd, sum(costs))
    for name, cost in zip(names, costs, strict=True):
        assert states_of(shared_bursar, name)[Unit.usd].spent_nano == cost
    assert states_of(shared_bursar, org)[Unit.request].spent_nano == sum(
        answer.status_code == 200 for answer in answers
    )
    assert shared_bursar.audit().findings == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("images/generations", {"model": "gpt-image-2", "prompt": "a barn", "size": "1024x1024", "quality": "high"}),
        ("embeddings", {"model": "text-embedding-3-large", "input": ["x" * 8_192] * 2}),
    ],
)
def test_what_takes_no_cap_is_not_made_smaller(shared_bursar: LocalBursar, path: str, body: dict[str, Any]) -> None:
    team, name = fresh("team"), fresh("key")
    plant(shared_bursar, team, "0.002")
    set_policy(shared_bursar, team, Policies(exhausted=Exhausted.smaller))
    key = shared_bursar.create_key(name, "10.00", parent=team)
    answer = httpx.post(f"{shared_bursar.url}/v1/{path}", json=body, headers={"authorization": f"Bearer {key}"})
    assert (answer.status_code, error_of(answer)["budget"]) == (402, team)


def test_a_call_that_does_not_fit_is_made_smaller_where_that_is_wished(shared_bursar: LocalBursar) -> None:
    team, name = fresh("team"), fresh("key")
    plant(shared_bursar, team, "0.001")
    set_policy(shared_bursar, team, Policies(exhausted=Exhausted.smaller))
    key = shared_bursar.create_key(name, "10.00", parent=team)
    lengths, spent = list[int](), 0
    for _ in range(40):
        answer = ask(shared_bursar, key, "[[output=4000]] at length", max_tokens=4_000)
        if answer.status_code != 200:
            break
        lengths.append(answer.json()["usage"]["completion_tokens"])
        assert answer.json()["choices"][0]["finish_reason"] == "length"
        spent += cost_of(answer)
    assert (answer.status_code, error_of(answer)["budget"]) == (402, team)
    assert len(lengths) >= 2
    assert lengths == sorted(lengths, reverse=True)  # a share of what is left, and less is left each time
    assert FLOOR <= min(lengths) <= max(lengths) < 4_000
    assert spent <= 1_000_000
    refused = shared_bursar.create_key(fresh("key"), "0.001")
    assert ask(shared_bursar, refused, "[[output=4000]]", max_tokens=4_000).status_code == 402


def test_the_provider_is_sent_the_lower_cap(house: LocalBursar, provider: ScriptedProvider) -> None:
    name = fresh("key")
    key = house.create_key(name, "0.001")
    set_policy(house, name, Policies(exhausted=Exhausted.smaller))
    provider.say(
        "gpt-4.1-mini",
        "200 OK",
        json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "model": "gpt-4.1-mini",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
            }
        ).encode(),
    )

    def asked() -> bool:
        return ask(house, key, model="scripted/gpt-4.1-mini", max_tokens=2_000).status_code == 200

    wait_until(asked, "a smaller answer", 5)
    sent = json.loads(provider.requests[-1].split(b"\r\n\r\n", 1)[1])
    caps = [sent[field] for field in ("max_tokens", "max_completion_tokens") if sent.get(field) is not None]
    assert len(caps) == 1
    # Half of a thousandth of a dollar at 1.60 USD a million, less what the prompt may cost.
    assert FLOOR <= caps[0] <= 312


def test_holds_by_expectation_never_exceed_the_limit_and_its_overdraft(shared_bursar: LocalBursar) -> None:
    name, overdraft, room = fresh("key"), 1_500_000, 130_000
    key = key_with(shared_bursar, name, Terms(100_000_000, overdraft_nano=overdraft))
    set_policy(shared_bursar, name, Policies(holds=Holds.expected))
    answers = list[httpx.Response]()
    for _ in range(6):  # short answers, which is what it comes to expect
        answers += ask_at_once(shared_bursar, key, ["[[output=10]] short"] * 30, max_tokens=500)
    assert {answer.status_code for answer in answers} == {200}
    limit = sum(map(cost_of, answers)) + room
    set_limits(shared_bursar, name, Terms(limit, overdraft_nano=overdraft))
    wait_until(lambda: states_of(shared_bursar, name)[Unit.usd].leased_nano <= room, "the leases under the new limit")
    answers += ask_at_once(shared_bursar, key, ["[[output=500]] long"] * 24, max_tokens=500)  # which it did not
    assert {answer.status_code for answer in answers} == {200, 402}
    cost = sum(cost_of(answer) for answer in answers if answer.status_code == 200)
    assert limit < cost <= limit + overdraft
    calls = sum(answer.status_code == 200 for answer in answers)
    of_key = "from calls join keys using (key_id) where keys.name = $1"
    wait_until(lambda: shared_bursar.query(f"select count(*) as n {of_key}", name)[0]["n"] == calls, "all calls booked")
    (booked,) = shared_bursar.query(f"select sum(cost_nano)::bigint as cost {of_key}", name)
    assert booked["cost"] == cost
    line, state = _line_of(shared_bursar, name), states_of(shared_bursar, name)[Unit.usd]
    print("LINE", line, state, cost)
    assert line.spent_nano <= overdraft
    assert state.spent_nano - state.overage_nano <= limit
    assert shared_bursar.audit().findings == []


def _line_of(local: LocalBursar, name: str) -> BudgetState:
    """Read the state of the overdraft line behind a holder's money."""

    async def work() -> BudgetState:
        async with database(local.database_url) as connection:
            budget = (await find_holder(connection, name)).budgets[0]
            terms = Terms(budget.terms.overdraft_nano, budget.terms.window)
            line = Budget(overdraft_id(budget.budget_id), budget.tenant, terms)
            return (await budget_states(connection, [line], now_us()))[0]

    return asyncio.run(work())


def test_soft_and_grace_limits_refuse_late_or_never(shared_bursar: LocalBursar) -> None:
    text, cost = "[[output=60]] hi", 0
    soft = key_with(shared_bursar, fresh("key"), Terms(50_000, Window.day, enforcement=Enforcement.soft))
    answers = [ask(shared_bursar, soft, text) for _ in range(10)]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(map(cost_of, answers)) > 50_000
    graced = key_with(
        shared_bursar, fresh("key"), Terms(50_000, Window.day, enforcement=Enforcement.grace, grace_nano=200_000)
    )
    for _ in range(20):
        answer = ask(shared_bursar, graced, text)
        if answer.status_code != 200:
            break
        cost += cost_of(answer)
    assert answer.status_code == 402
    assert 50_000 < cost <= 250_000


@pytest.mark.parametrize("holds", Holds)
@pytest.mark.parametrize(
    "end", ["hangs up", "hangs up in a stream", "nobody answers", "breaks off", "answers nonsense"]
)
def test_however_a_call_ends_every_hold_of_it_is_released(house: LocalBursar, end: str, holds: Holds) -> None:
    """Give each budget room for one call at once: the next is served only if the last left nothing behind."""
    team, name, runs = fresh("team"), fresh("key"), fresh("runs")
    plant(house, team, "1.00", "1 concurrent", "90000 tokens/day")
    plant(house, runs, "1.00", "1 concurrent", parent=team, each=RUN)
    key = house.create_key(name, "1.00", "1 concurrent", "50 requests/day", parent=team)
    set_policy(house, name, Policies(holds=holds))
    model = {"nobody answers": "nobody"}.get(end, "remote/gpt-4o-mini")
    text = {
        "hangs up": "[[output=5 ttft_ms=400]] slow",
        "hangs up in a stream": "[[output=30 tpot_ms=10]] slow",
        "breaks off": "[[fault=cut]] hi",
        "answers nonsense": "[[fault=malformed]] hi",
    }.get(end, "hi")
    if end == "hangs up":
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 100}
        headers = {"authorization": f"Bearer {key}", "x-bursar-run": "r"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(house.url + CHAT, json=body, headers=headers, timeout=0.2)
    elif end == "hangs up in a stream":
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 100, "stream": True}
        headers = {"authorization": f"Bearer {key}", "x-bursar-run": "r"}
        with httpx.stream("POST", house.url + CHAT, json=body, headers=headers) as response:
            assert response.status_code == 200
            next(response.iter_raw())
    else:
        assert ask(house, key, text, model=model, run="r").status_code in (502, 503)
        assert ask(house, key, text, model=model, run="r").status_code in (502, 503)  # and not 429
    wait_until(lambda: ask(house, key, model="remote/gpt-4o-mini", run="r").status_code == 200, "a free place", 10)

    def calls() -> list[int]:
        text = "select cost_nano from calls join keys using (key_id) where keys.name = $1"
        return [row["cost_nano"] for row in house.query(text, name)]

    made = 2 if end.startswith("hangs up") else 3
    wait_until(lambda: len(calls()) == made, "all in the books")
    wait_until(lambda: states_of(house, team)[Unit.usd].spent_nano == sum(calls()) > 0, "all in the balances")
    for who in (name, team):
        states = states_of(house, who)
        assert {state.held_nano for state in states.values()} == {0}
        assert states[Unit.usd].spent_nano == sum(calls())
        assert states[Unit.call].spent_nano == 0
    assert house.audit().findings == []
