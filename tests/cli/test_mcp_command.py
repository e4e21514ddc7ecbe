"""An agent asks Bursar over the Model Context Protocol, by the official client, and sees what is its own."""

import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from bench.harness import LocalBursar
from tests.asking import ask_and_wait

HERE = {"PYTHONPATH": os.pathsep.join(sys.path)}
"""What a client leaves out of the environment it starts a server with."""


@pytest.fixture(scope="module")
def agent_key(shared_bursar: LocalBursar) -> str:
    return shared_bursar.create_key("mcp agent", "2.00/day")


def server(local: LocalBursar, key: str) -> Any:
    environment = HERE | {"BURSAR_API_KEY": key, "BURSAR_URL": local.url}
    return stdio_client(StdioServerParameters(command=sys.executable, args=["-m", "bursar", "mcp"], env=environment))


async def call(agent: Client, name: str, **arguments: Any) -> dict[str, Any]:
    answer = await agent.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    return answer.structured_content


async def test_an_agent_sees_its_budget_prices_a_plan_and_sees_its_run(
    shared_bursar: LocalBursar, agent_key: str
) -> None:
    call_id = ask_and_wait(shared_bursar, agent_key, x_bursar_run="mcp-run")
    async with Client(server(shared_bursar, agent_key)) as agent:
        await look_around(agent, call_id)


async def look_around(agent: Client, call_id: str) -> None:
    tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
    assert set(tools) == {"my_budget", "price_plan", "my_run"}
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
    run = await call(agent, "my_run", run="mcp-run")
    assert ([node["id"] for node in run["tree"]], run["calls"]) == ([call_id], 1)
    budget = await call(agent, "my_budget")
    assert Decimal(budget["left_usd"]) == 2 - Decimal(run["cost_usd"])
    plan = await call(agent, "price_plan", input_tokens=1_000_000, output_tokens=0, models=["gpt-4o-mini"])
    assert [(each["model"], each["cost_usd"]) for each in plan["prices"]] == [("gpt-4o-mini", "0.15")]
    refused = await agent.call_tool("my_run", {"run": "nobody-ran-this"})
    assert refused.is_error
    assert "no call of run nobody-ran-this in the books" in str(refused.content)
    wrong = await agent.call_tool("price_plan", {"output_tokens": 1})
    assert wrong.is_error
    assert "input_tokens: expected these" in str(wrong.content)


async def test_a_key_that_is_none_is_told_so_by_every_tool(shared_bursar: LocalBursar) -> None:
    async with Client(server(shared_bursar, "bk_" + "x" * 43)) as agent:
        answer = await agent.call_tool("my_budget", {})
        assert answer.is_error
        assert "this key is not known" in str(answer.content)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "BURSAR_API_KEY is not set"),
        ({"BURSAR_API_KEY": "bk_x", "BURSAR_URL": "nowhere"}, "url: expected one such as"),
    ],
)
def test_what_is_not_set_is_said_in_one_line(environment: dict[str, str], said: str) -> None:
    command = [sys.executable, "-m", "bursar", "mcp"]
    done = subprocess.run(
        command, env=HERE | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
