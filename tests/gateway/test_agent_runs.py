"""Agent runs are stopped where they go in circles, too deep, too fast or beyond their money; the SDK says why."""

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from bench.harness import LocalBursar, database
from bursar.budgets.budget import read_limit
from bursar.core.money import usd_to_nano
from bursar.store.holders import Place, Policies, create_holder, set_policies
from tests.asking import fetch, wait_booked

HAIKU = "claude-haiku-4-5"
_numbers = itertools.count(1)


class Agent:
    """Make calls of runs as an agent does, by the official clients, with a key that is watched."""

    def __init__(self, local: LocalBursar, policies: Policies | None = None, parent: str | None = None) -> None:
        self.local = local
        number = next(_numbers)
        if policies is not None:  # before the key is known: what changes afterwards takes a moment to be heard of
            parent = f"watched {number}"
            asyncio.run(watched(local, parent, policies))
        self.key = f"agent {number}"
        self.secret = local.create_key(self.key, "50.00", parent=parent)
        self.openai = openai.OpenAI(base_url=f"{local.url}/v1", api_key=self.secret)
        self.anthropic = anthropic.Anthropic(base_url=local.url, api_key=self.secret)

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()

    def say(self, text: str, run: str = "run", parent: str = "", **fields: Any) -> str:
        """Make a turn of one user's message and return the call's id."""
        return self.turn([{"role": "user", "content": f"[[output=5]] {text}"}], run, parent, **fields)

    def turn(self, messages: Any, run: str = "run", parent: str = "", **fields: Any) -> str:
        headers = {"x-bursar-run": run} | ({"x-bursar-parent": parent} if parent else {})
        values = {"model": "gpt-4o-mini", "messages": messages, "max_completion_tokens": 50} | fields
        answer = self.openai.chat.completions.with_raw_response.create(**values, extra_headers=headers)
        return answer.headers["x-bursar-call-id"]


@pytest.fixture
def agent(shared_bursar: LocalBursar) -> Iterator[Agent]:
    agent = Agent(shared_bursar, Policies(depth_max=3, repeats_max=2))
    yield agent
    agent.close()


async def watched(local: LocalBursar, team: str, policies: Policies) -> None:
    """Make a team whose calls are watched."""
    async with database(local.database_url) as connection, connection.transaction():
        await create_holder(connection, team, Place("team"), [read_limit("100.00")], time.time_ns() // 1_000)
        await set_policies(connection, team, policies)


def budget_of_runs(local: LocalBursar, *limits: str) -> str:
    """Make a budget for every run of a team, and return the team's name."""
    team = f"runs {next(_numbers)}"

    async def work() -> None:
        async with database(local.database_url) as connection, connection.transaction():
            now_us = time.time_ns() // 1_000
            await create_holder(connection, team, Place("team"), [read_limit("100.00")], now_us)
            terms = [read_limit(each) for each in limits]
            await create_holder(connection, f"each of {team}", Place("run", team, each="run"), terms, now_us)

    asyncio.run(work())
    return team


@pytest.fixture
def team_agent(shared_bursar: LocalBursar, request: pytest.FixtureRequest) -> Iterator[Agent]:
    agent = Agent(shared_bursar, parent=budget_of_runs(shared_bursar, *request.param))
    yield agent
    agent.close()


def tool_turn(call_id: str, query: str) -> Any:
    """Return what follows in a conversation when the assistant has asked a tool for something."""
    function = {"name": "search", "arguments": f'{{"query":"{query}"}}'}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": "nothing found"},
    ]


def refused(local: LocalBursar, code: str) -> float:
    """Return how many calls were refused for a reason, those a client asked for again by itself included."""
    metrics = fetch(local, "GET", "/metrics").body.decode()
    found = re.search(rf'^bursar_refused_total{{.*code="{code}".*}} (.+)$', metrics, re.MULTILINE)
    return float(found[1]) if found is not None else 0


def refusal_of(error: openai.APIStatusError) -> Any:
    return error.body


def test_a_run_that_repeats_one_turn_is_stopped_and_told_why(agent: Agent) -> None:
    history: Any = [{"role": "user", "content": "[[output=5]] find it"}]
    agent.turn(history)
    for number in range(2):
        history += tool_turn(f"call_{number}", "invoice")
        agent.turn(history)
    history += tool_turn("call_2", "invoice")
    before = refused(agent.local, "run_repeats_itself")
    with pytest.raises(openai.PermissionDeniedError) as caught:
        agent.turn(history)
    assert refused(agent.local, "run_repeats_itself") == before + 1  # the client does not try it again
    assert "it has made this same turn 2 times already" in str(caught.value)
    assert "change what it says or does" in str(caught.value)
    body = refusal_of(caught.value)
    assert (caught.value.status_code, body["code"], body["run"], body["times"]) == (
        403,
        "run_repeats_itself",
        "run",
        "2",
    )
    agent.turn([*history, *tool_turn("call_3", "bill")])  # another turn goes on
    agent.turn(history, run="another")


def items_turn(call_id: str, query: str) -> Any:
    """Return the same of responses."""
    call = {"type": "function_call", "call_id": call_id, "name": "search", "arguments": f'{{"query":"{query}"}}'}
    return [call, {"type": "function_call_output", "call_id": call_id, "output": "nothing found"}]


def test_a_run_that_repeats_one_turn_of_responses_is_stopped(agent: Agent) -> None:
    history: Any = [{"role": "user", "content": "[[output=5]] find it"}]

    def turn(**fields: Any) -> str:
        asked = {"model": "gpt-4o-mini", "input": history, "max_output_tokens": 50} | fields
        return agent.openai.responses.create(**asked, extra_headers={"x-bursar-run": "of responses"}).id

    for number in range(2):
        history += items_turn(f"call_{number}", "invoice")
        turn()
    history += items_turn("call_2", "invoice")
    with pytest.raises(openai.PermissionDeniedError, match="this same turn 2 times already"):
        turn()
    before = turn(input=[*history, *items_turn("call_3", "bill")])
    for number in range(3):  # what the provider keeps cannot be told apart
        done = {"type": "function_call_output", "call_id": f"call_{number}", "output": "done"}
        before = turn(input=[done], previous_response_id=before)


def test_a_run_that_goes_to_and_fro_is_stopped(agent: Agent) -> None:
    for text in ("A", "B", "A", "B"):
        agent.say(text)
    for text in ("A", "B", "A"):
        with pytest.raises(openai.PermissionDeniedError, match="circle"):
            agent.say(text)
    agent.say("C")


def test_streamed_turns_count_as_others_do(agent: Agent) -> None:
    def stream(text: str) -> None:
        messages: Any = [{"role": "user", "content": f"[[output=5]] {text}"}]
        for _ in agent.openai.chat.completions.create(
            model="gpt-4o-mini", messages=messages, stream=True, extra_headers={"x-bursar-run": "streamed"}
        ):
            pass

    for _ in range(2):
        stream("A")
    with pytest.raises(openai.PermissionDeniedError):
        stream("A")


def test_anthropics_client_is_told_as_well(agent: Agent) -> None:
    def turn(call_id: str, number: int) -> None:
        asked = {"type": "tool_use", "id": call_id, "name": "delete", "input": {"id": number}}
        done = {"type": "tool_result", "tool_use_id": call_id, "content": "[[output=5]] done"}
        messages: Any = [
            {"role": "user", "content": "tidy up"},
            {"role": "assistant", "content": [asked]},
            {"role": "user", "content": [done]},
        ]
        headers = {"x-bursar-run": "messages"}
        agent.anthropic.messages.create(model=HAIKU, messages=messages, max_tokens=50, extra_headers=headers)

    for number in range(4):
        turn(f"toolu_{number}", number)  # each deletes another
    turn("toolu_a", 0)
    before = refused(agent.local, "run_repeats_itself")
    with pytest.raises(anthropic.PermissionDeniedError, match="same turn 2 times already") as caught:
        turn("toolu_b", 0)
    body: Any = caught.value.body
    assert (body["error"]["type"], body["error"]["code"]) == ("permission_error", "run_repeats_itself")
    assert refused(agent.local, "run_repeats_itself") == before + 1


def test_turns_that_failed_may_be_tried_again(agent: Agent) -> None:
    client = agent.openai.with_options(max_retries=0)
    messages: Any = [{"role": "user", "content": "[[fault=500]] A"}]
    for _ in range(5):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=messages, extra_headers={"x-bursar-run": "failing"}
            )


def test_turns_that_were_refused_do_not_count(agent: Agent) -> None:
    for _ in range(4):
        with pytest.raises(openai.APIStatusError) as caught:
            agent.say("A", extra_body={"service_tier": "platinum"})
        assert caught.value.status_code == 422
    agent.say("A")


def test_without_a_run_nothing_is_watched(agent: Agent) -> None:
    messages: Any = [{"role": "user", "content": "[[output=5]] A"}]
    for _ in range(4):
        agent.openai.chat.completions.create(model="gpt-4o-mini", messages=messages)


def test_a_run_that_goes_too_deep_is_stopped_and_told_how_deep(agent: Agent) -> None:
    top = agent.say("top")
    middle = agent.say("middle", parent=top)
    bottom = agent.say("bottom", parent=middle)
    before = refused(agent.local, "run_too_deep")
    with pytest.raises(openai.PermissionDeniedError) as caught:
        agent.say("too deep", parent=bottom)
    body = refusal_of(caught.value)
    assert refused(agent.local, "run_too_deep") == before + 1
    assert (body["code"], body["run"], body["depth"]) == ("run_too_deep", "run", "4")
    assert "this call lies 4 calls below one another, and 3 are allowed" in str(caught.value)
    agent.say("beside", parent=middle)
    agent.say("a step's", parent="step 7")


def test_a_parent_that_only_the_books_know_counts(agent: Agent, shared_bursar: LocalBursar) -> None:
    parent = ""
    for number in range(3):
        parent = agent.say(f"{number}", run="shared", parent=parent)
    wait_booked(shared_bursar, parent)
    helper = Agent(shared_bursar, Policies(depth_max=3))
    with pytest.raises(openai.PermissionDeniedError, match="lies 4 calls below"):
        helper.say("below", run="shared", parent=parent)
    assert helper.say("of a run of its own", run="own", parent=parent)
    helper.close()


@pytest.mark.parametrize("team_agent", [("0.0001",)], indirect=True)
def test_a_run_that_has_spent_its_own_budget_is_refused_and_another_goes_on(team_agent: Agent) -> None:
    def spend() -> None:
        while len(made) < 100:
            made.append(team_agent.say(f"{len(made)}", run="spender/1", max_completion_tokens=40))

    made: list[str] = []
    with pytest.raises(openai.APIStatusError) as caught:
        spend()
    body = refusal_of(caught.value)
    assert len(made) > 1
    assert (caught.value.status_code, body["code"]) == (402, "budget_exhausted")
    assert body["budget"].startswith("each of runs")
    assert body["budget"].endswith("/spender%2F1")
    assert body["budget"] in str(caught.value)
    assert usd_to_nano(body["spent_usd"]) + usd_to_nano(body["needed_usd"]) > usd_to_nano(body["limit_usd"])
    team_agent.say("hello", run="spender/2", max_completion_tokens=40)


@pytest.mark.parametrize("team_agent", [("3 requests/hour",)], indirect=True)
def test_a_run_that_is_too_fast_is_told_to_wait_and_another_goes_on(team_agent: Agent) -> None:
    client = team_agent.openai.with_options(max_retries=0)
    messages: Any = [{"role": "user", "content": "[[output=5]] A"}]

    def call(run: str) -> None:
        client.chat.completions.create(model="gpt-4o-mini", messages=messages, extra_headers={"x-bursar-run": run})

    for _ in range(3):
        call("fast")
    with pytest.raises(openai.RateLimitError) as caught:
        call("fast")
    body = refusal_of(caught.value)
    assert (body["code"], body["limit"], body["spent"]) == ("rate_limit_exceeded", "3", "3")
    assert body["budget"].endswith("/fast")
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 3_600
    call("other")


def test_charges_take_from_the_budget_of_the_run(shared_bursar: LocalBursar) -> None:
    agent = Agent(shared_bursar, parent=budget_of_runs(shared_bursar, "1.00"))
    body = {"id": f"{agent.key} 1", "kind": "retrieval", "amount_usd": "1.25", "run": "dear"}
    bearer = f"Bearer {agent.secret}"
    answer = fetch(shared_bursar, "POST", "/api/charges", json.dumps(body).encode(), authorization=bearer)
    assert (answer.status, answer.json()["overage_usd"]) == (201, "0.25")
    with pytest.raises(openai.APIStatusError) as caught:
        agent.say("more", run="dear")
    assert caught.value.status_code == 402
    agent.say("more", run="cheap")
    agent.close()


def test_after_all_this_the_books_balance(shared_bursar: LocalBursar) -> None:
    assert shared_bursar.audit().findings == []
