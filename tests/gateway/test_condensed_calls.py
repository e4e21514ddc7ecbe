"""Long conversations are condensed in the gateway where the operator says so: rarely, and where that pays."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar
from tests.asking import fetch
from tests.gateway.conftest import Row, ScriptedProvider, find_call

CONFIG = """
[gateway]
output_cap = 200

[compress]
bytes_min = 2_000
holdout_percent = 0
embedder = "static"

[providers.chat]
kind = "openai"
base_url = "{scripted}"
prices = "openai"

[providers.messages]
kind = "anthropic"
base_url = "{scripted}"
prices = "anthropic"

[models.talk]
targets = ["chat/gpt-4.1-nano"]
compress = {{ history = 4, history_tokens = 1_000 }}

[models.claude]
targets = ["messages/claude-sonnet-4-5"]
compress = {{ ratio = 4, history = 4, history_tokens = 1_000, system = "off" }}

[models.plain]
targets = ["chat/gpt-4.1-nano"]

[routes.either]
models = ["talk", "plain"]

[compress.routes]
either = {{ history = 4, history_tokens = 1_000 }}
"""
NANO, SONNET = "gpt-4.1-nano", "claude-sonnet-4-5"
CHAT_SAYS = b'{"id":"1","model":"gpt-4.1-nano","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},\
"finish_reason":"stop"}],"usage":{"prompt_tokens":900,"completion_tokens":2,"total_tokens":902}}'
CLAUDE_SAYS = b'{"id":"1","type":"message","role":"assistant","model":"claude-sonnet-4-5","stop_reason":"end_turn",\
"content":[{"type":"text","text":"Yes."}],"usage":{"input_tokens":900,"output_tokens":2}}'
SYSTEM = "Be brief.\n\n\n\nAlways."


@pytest.fixture(scope="module")
def condensing(provider: ScriptedProvider) -> Iterator[LocalBursar]:
    provider.say(NANO, "200 OK", CHAT_SAYS)
    provider.say(SONNET, "200 OK", CLAUDE_SAYS)
    local = LocalBursar(CONFIG.format(scripted=provider.url))
    local.start()
    yield local
    command = [sys.executable, "-m", "bursar", "books", "check", "--data", str(local.data)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.stdout.startswith("books balance: "), checked
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def secret(condensing: LocalBursar) -> str:
    return condensing.create_key("condensed", "100.00")


def answer(turn: int) -> str:
    rng = random.Random(turn)
    return " ".join(
        f"The harbour of Port{turn}x{n} was built in {rng.randrange(1500, 1999)} by Builder{rng.randrange(999)}."
        for n in range(27)
    )


def talk(turns: int) -> list[Any]:
    said: list[Any] = []
    for turn in range(turns):
        said += [
            {"role": "user", "content": f"Who built the harbour of Port{turn}x7?"},
            {"role": "assistant", "content": answer(turn)},
        ]
    return [*said, {"role": "user", "content": f"Who built the harbour of Port{turns}x7?"}]


def sent_to(provider: ScriptedProvider) -> dict[str, Any]:
    return json.loads(provider.requests[-1].partition(b"\r\n\r\n")[2])


def notes_of(row: Row) -> Any:
    return json.loads(row["lever_notes"] or "[]")


def test_openais_client_sends_less_once_an_epoch_and_the_same_between(
    condensing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    changed, before, name = [], list[Any](), ""
    with openai.OpenAI(base_url=f"{condensing.url}/v1", api_key=secret, max_retries=0) as client:
        for turns in range(5, 13):
            raw = client.chat.completions.with_raw_response.create(model="talk", messages=talk(turns))
            now = sent_to(provider)["messages"]
            if now[: len(before)] != before:
                changed.append(turns)
            before, name = now, raw.headers["x-bursar-call-id"]
    assert changed == [7, 10]
    assert before[-8:] == talk(12)[-8:]
    assert len(str(before)) < len(str(talk(12))) * 0.75
    row = find_call(condensing, name)
    assert notes_of(row) == ["what was said in turns 1 to 3 is condensed", "what was said in turns 4 to 6 is condensed"]
    assert json.loads(row["sent_bytes"])["history"] < row["history_bytes"] * 0.75
    assert row["counterfactual_nano"] > row["cost_nano"]
    shown = fetch(condensing, "GET", f"/api/calls/{name}").json()
    assert shown["lever_notes"] == notes_of(row)


def test_anthropics_client_keeps_a_cache_that_would_cost_more_to_change(
    condensing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    told: list[Any] = []
    with anthropic.Anthropic(base_url=condensing.url, api_key=secret, max_retries=0) as client:
        for mark in ({}, {"cache_control": {"type": "ephemeral"}}):
            asked = talk(9)
            asked[-1] = {"role": "user", "content": [{"type": "text", "text": "And now?", **mark}]}
            raw = client.messages.with_raw_response.create(model="claude", max_tokens=50, messages=asked, system=SYSTEM)
            told.append(notes_of(find_call(condensing, raw.headers["x-bursar-call-id"])))
            sent = sent_to(provider)
            assert sent["system"] == SYSTEM
            assert (sent["messages"] == asked) is bool(mark)
    assert told == snapshot(
        [
            ["what was said in turns 1 to 3 is condensed"],
            ["what was said in turns 1 to 3 stays: a missed cache makes that -0.00404805 USD in 8 more calls"],
        ]
    )


def test_a_header_says_it_for_one_call_and_a_route_for_its_own(
    condensing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    with openai.OpenAI(base_url=f"{condensing.url}/v1", api_key=secret, max_retries=0) as client:
        for model, header in (("plain", "history=4, history_tokens=1000"), ("either", None), ("plain", None)):
            headers = {"x-bursar-compress": header} if header else {}
            client.chat.completions.create(model=model, messages=talk(9), extra_headers=headers)
            shorter = len(str(sent_to(provider)["messages"])) < len(str(talk(9))) * 0.85
            assert shorter is (header is not None or model == "either")
        with pytest.raises(openai.BadRequestError, match="system: expected"):
            client.chat.completions.create(
                model="plain", messages=talk(1), extra_headers={"x-bursar-compress": "4, system=2"}
            )


@pytest.mark.parametrize("model", ["talk", "either", "plain"])
def test_the_command_shows_byte_for_byte_what_is_sent(
    condensing: LocalBursar, secret: str, provider: ScriptedProvider, tmp_path: Path, model: str
) -> None:
    body = {"model": model, "messages": talk(9), "max_tokens": 50}
    with openai.OpenAI(base_url=f"{condensing.url}/v1", api_key=secret, max_retries=0) as client:
        client.chat.completions.create(**body)
    (tmp_path / "body.json").write_text(json.dumps(body))
    (tmp_path / "bursar.toml").write_text(CONFIG.format(scripted=provider.url))
    command = [sys.executable, "-m", "bursar", "compress", "body.json", "--as-gateway", model, "--json"]
    ended = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=60, check=True)
    shown = json.loads(ended.stdout)
    assert shown["body"]["messages"] == sent_to(provider)["messages"]
    assert shown["notes"] == (
        ["it is sent as it came: plain is not compressed by this configuration"]
        if model == "plain"
        else ["what was said in turns 1 to 3 is condensed"]
    )
