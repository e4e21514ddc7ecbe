"""Clients with an environment of their own, `make test-clients`: every protocol they speak, across every provider."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.harness import LocalBursar, free_port, serving
from bursar.core.records import CallStatus, Protocol, UsageSource

HERE = Path(__file__).parent
LITELLM = HERE.parents[1] / ".clients" / "bin" / "python"
PROVIDERS = """
[gateway]
output_cap = 1_000

[providers.chat]
kind = "openai"
base_url = "{url}/v1"
prices = "openai"

[providers.responses]
kind = "openai"
base_url = "{url}/v1"
prices = "openai"
protocols = ["openai_responses"]

[providers.messages]
kind = "anthropic"
base_url = "{url}/v1"
prices = "anthropic"

[providers.gemini]
kind = "gemini"
base_url = "{url}/v1beta"
prices = "google"

[models."gpt-4o-mini"]
targets = ["chat/gpt-4o-mini"]

[models."gpt-4.1-mini"]
targets = ["responses/gpt-4.1-mini"]

[models."gpt-4o"]
targets = ["messages/claude-haiku-4-5"]

[models."gpt-4.1"]
targets = ["gemini/gemini-2.0-flash"]
"""
MODELS = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4o", "gpt-4.1")  # names that LiteLLM knows to be streamed
PROTOCOLS = {
    "chat": Protocol.openai_chat,
    "responses": Protocol.openai_responses,
    "messages": Protocol.anthropic_messages,
    "gemini": Protocol.gemini,
}
CLIENT_S = 120.0


@pytest.fixture(scope="module")
def crossing() -> Iterator[LocalBursar]:
    """Run a Bursar whose models are each at a provider that speaks one protocol alone."""
    port = free_port()
    with serving(["bursar", "sandbox", "--port", str(port)], port):
        local = LocalBursar(PROVIDERS.format(url=f"http://127.0.0.1:{port}"))
        local.start()
        yield local
        assert local.audit().findings == []
        assert local.stop() == 0, local.last_words()
        local.remove()


def ask(local: LocalBursar, name: str, *command: str) -> list[dict[str, Any]]:
    """Run a client's program for all models, and check that the books have each call it tells of."""
    key = local.create_key(name, "10.00")
    environment = {"BURSAR_URL": local.url, "BURSAR_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [*command, *MODELS], env=os.environ | environment, capture_output=True, text=True, timeout=CLIENT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    local.wait_journaled(len(told))
    query = "select * from calls where key_id = (select key_id from keys where name = $1) order by opened_us"
    rows = local.query(query, name)
    assert [(each["protocol"], each["model"], each["stream"]) for each in rows] == [
        (PROTOCOLS[each["protocol"]], each["model"], each["stream"]) for each in told
    ]
    for row, each in zip(rows, told, strict=True):
        assert (row["status"], row["usage_source"], row["output_tokens"]) == (CallStatus.ok, UsageSource.provider, 6)
        assert (len(each["text"]), each["tokens"]) == (24, 6), each
    return told


@pytest.mark.skipif(not LITELLM.exists(), reason="make test-clients installs LiteLLM")
def test_litellm_speaks_every_protocol_across_every_provider(crossing: LocalBursar) -> None:
    told = ask(crossing, "litellm", str(LITELLM), "-W", "ignore", str(HERE / "ask_litellm.py"))
    assert len(told) == len(PROTOCOLS) * len(MODELS) * 2


@pytest.mark.skipif(
    not (HERE / "node_modules").exists() or shutil.which("node") is None, reason="make test-clients installs it"
)
def test_nodes_openai_speaks_chat_and_responses_across_every_provider(crossing: LocalBursar) -> None:
    told = ask(crossing, "node", "node", str(HERE / "ask_node.mjs"))
    assert len(told) == 2 * len(MODELS) * 2
