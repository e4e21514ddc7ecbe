"""Prompts are compressed where that is wanted: fewer tokens are billed, what matters is sent, and the books balance."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from bursar.savings.proof import Arm, arm, unit_of
from tests.asking import Answer, fetch
from tests.gateway.conftest import Row, ScriptedProvider, find_call
from tests.gateway.test_drafted_streams import told

COMPRESSED = {"lever": "compress", "experiment": "e2e", "share_ppm": 500_000}
CONFIG = """
[gateway]
output_cap = 200

[compress]
default = "off"
bytes_min = 2_000
holdout_percent = 50.0
experiment = "e2e"

[compress.keys]
"never" = "off"

[providers.sandbox]
kind = "sandbox"
base_url = "{sandbox}/v1"

[providers.claude]
kind = "anthropic"
base_url = "{sandbox}/v1"
prices = "anthropic"

[providers.scripted]
kind = "openai"
base_url = "{scripted}"
prices = "openai"

[models.plain]
targets = ["sandbox/gpt-4o-mini"]

[models.shorter]
targets = ["sandbox/gpt-4o-mini"]
compress = 4

[models.same]
targets = ["sandbox/gpt-4o-mini"]
compress = "lossless"

[models.claude]
targets = ["claude/claude-haiku-4-5"]
compress = {{ ratio = 4 }}

[models.seen]
targets = ["scripted/gpt-4.1-mini"]
compress = 4

[models.draft]
targets = ["scripted/gpt-5-nano"]
retries = 0

[models.big]
targets = ["sandbox/gpt-4o"]

[routes.checked]
by = "cascaded"
models = ["draft", "big"]
checks_streams = true
"""

TOWNS = "\n\n".join(
    f"The town of Place{n} lies on the river Flow{n} and has {n * 37} people. Its mayor is Person{n}, who was a baker."
    for n in range(100)
)
QUESTION = "Who is the mayor of Place77? [[output=10]]"
SAID = '{"id":"1","model":"gpt-4.1-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Person77"},\
"finish_reason":"stop"}],"usage":{"prompt_tokens":900,"completion_tokens":2,"total_tokens":902}}'


def run_in(which: Arm) -> str:
    """Return the name of a run that is in an arm."""
    return next(name for name in map("run-{}".format, range(99)) if in_arm(name) is which)


def in_arm(run: str) -> Arm:
    return arm("compress", "e2e", unit_of("", run, b""), 500_000)


TREATED, HELD_OUT = run_in(Arm.treatment), run_in(Arm.holdout)


@pytest.fixture(scope="module")
def compressing(provider: ScriptedProvider, remote_sandbox: str) -> Iterator[LocalBursar]:
    local = LocalBursar(CONFIG.format(sandbox=remote_sandbox, scripted=provider.url))
    local.start()
    yield local
    command = [sys.executable, "-m", "bursar", "books", "check", "--data", str(local.data)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.stdout.startswith("books balance: "), checked
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def secret(compressing: LocalBursar) -> str:
    return compressing.create_key("compressed", "100.00")


def messages(question: str = QUESTION) -> list[Any]:
    return [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": f"<documents>\n{TOWNS}\n</documents>\n{question}"},
    ]


def post(local: LocalBursar, secret: str, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Answer:
    given = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"authorization": f"Bearer {secret}", "content_type": "application/json"} | headers
    return fetch(local, "POST", path, given, **named)


def ask(local: LocalBursar, secret: str, model: str, **headers: str) -> Answer:
    answer = post(local, secret, {"model": model, "messages": messages()}, **({"x_bursar_run": TREATED} | headers))
    assert answer.status == 200, answer.body
    return answer


def row_of(local: LocalBursar, answer: Answer) -> Row:
    return find_call(local, answer.headers["x-bursar-call-id"])


def prompt_of(provider: ScriptedProvider) -> Any:
    """Return the body the provider was sent last."""
    return json.loads(provider.requests[-1].partition(b"\r\n\r\n")[2])


def test_openais_client_is_billed_for_less(compressing: LocalBursar, secret: str) -> None:
    with openai.OpenAI(base_url=f"{compressing.url}/v1", api_key=secret, max_retries=0) as client:
        found = [
            client.chat.completions.with_raw_response.create(
                model=model, messages=messages(), extra_headers={"x-bursar-run": TREATED}
            )
            for model in ("plain", "shorter")
        ]
    whole, short = (answer.parse().usage for answer in found)
    assert whole is not None
    assert short is not None
    assert short.completion_tokens == whole.completion_tokens == 10
    assert short.prompt_tokens < whole.prompt_tokens * 0.4
    assert "x-bursar-removed-tokens" not in found[0].headers
    removed = int(found[1].headers["x-bursar-removed-tokens"])
    assert removed == pytest.approx(whole.prompt_tokens - short.prompt_tokens, rel=0.15)
    saved, cost = (usd_to_nano(found[1].headers[f"x-bursar-{name}-usd"]) for name in ("saved", "cost"))
    assert saved + cost == pytest.approx(usd_to_nano(found[0].headers["x-bursar-cost-usd"]), rel=0.15)
    row = find_call(compressing, found[1].headers["x-bursar-call-id"])
    assert json.loads(row["arms"]) == [COMPRESSED | {"arm": "treatment"}]
    assert row["counterfactual_nano"] - row["cost_nano"] == saved
    assert (row["cost_nano"], row["overage_nano"]) == (cost, 0)
    assert row["user_bytes"] > 3.8 * (json.loads(row["sent_bytes"])["user"] - len(QUESTION))
    assert row["held_nano"] < find_call(compressing, found[0].headers["x-bursar-call-id"])["held_nano"]


def test_what_matters_is_sent_and_all_else_in_the_body_stays(
    compressing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say("gpt-4.1-mini", "200 OK", SAID.encode())
    body = {"model": "seen", "messages": messages(), "temperature": 0.25, "metadata": {"a": "b"}, "seed": 2**60}
    answer = post(compressing, secret, body, x_bursar_run=TREATED)
    assert answer.json()["choices"][0]["message"]["content"] == "Person77"
    sent = prompt_of(provider)
    assert {name: sent[name] for name in ("temperature", "metadata", "seed")} == {
        name: body[name] for name in ("temperature", "metadata", "seed")
    }
    system, user = sent["messages"]
    assert system == body["messages"][0]
    assert user["content"].endswith(f"</documents>\n{QUESTION}")
    assert "Its mayor is Person77" in user["content"]
    assert len(user["content"]) < len(TOWNS) / 3


def test_what_is_held_out_is_sent_byte_for_byte(
    compressing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say("gpt-4.1-mini", "200 OK", SAID.encode())
    bodies = []
    for headers in ({"x_bursar_run": HELD_OUT}, {"x_bursar_run": TREATED, "x_bursar_compress": "off"}):
        answer = ask(compressing, secret, "seen", **headers)
        bodies.append(provider.requests[-1].partition(b"\r\n\r\n")[2])
        assert "x-bursar-removed-tokens" not in answer.headers
        row = row_of(compressing, answer)
        assert row["sent_bytes"] is None
        assert row["counterfactual_nano"] == row["cost_nano"]
    assert bodies[0] == bodies[1]
    assert json.loads(bodies[0])["messages"] == messages()
    held_out, switched_off = (
        row
        for row in (
            row_of(compressing, ask(compressing, secret, "seen", **headers))
            for headers in ({"x_bursar_run": HELD_OUT}, {"x_bursar_compress": "off"})
        )
    )
    assert (json.loads(held_out["arms"]), switched_off["arms"]) == ([COMPRESSED | {"arm": "holdout"}], None)
    assert (len(held_out["unit"]), switched_off["unit"]) == (8, None)


def test_anthropics_client_has_its_tools_results_shortened_and_keeps_its_pairs(
    compressing: LocalBursar, secret: str
) -> None:
    asked: Any = [
        {"role": "user", "content": "Who is the mayor of Place77? [[output=10]]"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "towns", "input": {"all": True}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": TOWNS}]},
    ]
    tools: Any = [{"name": "towns", "description": "List towns.", "input_schema": {"type": "object"}}]
    with anthropic.Anthropic(base_url=compressing.url, api_key=secret, max_retries=0) as client:
        tokens = [
            client.messages.create(
                model="claude", max_tokens=50, messages=asked, tools=tools, extra_headers={"x-bursar-run": run}
            ).usage.input_tokens
            for run in (HELD_OUT, TREATED)
        ]
    assert tokens[1] < tokens[0] / 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_compressed_before_it_is_translated(compressing: LocalBursar, secret: str, stream: bool) -> None:
    with openai.OpenAI(base_url=f"{compressing.url}/v1", api_key=secret, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="claude", messages=messages(), stream=stream, extra_headers={"x-bursar-run": TREATED}
        )
        if stream:
            assert list(raw.parse())
    row = find_call(compressing, raw.headers["x-bursar-call-id"])
    assert int(raw.headers["x-bursar-removed-tokens"]) > row["input_tokens"]
    assert (row["provider"], row["stream"]) == ("claude", stream)
    assert row["counterfactual_nano"] > row["cost_nano"]


def test_a_stream_is_compressed_and_tells_by_how_much(compressing: LocalBursar, secret: str) -> None:
    with openai.OpenAI(base_url=f"{compressing.url}/v1", api_key=secret, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="shorter", messages=messages(), stream=True, extra_headers={"x-bursar-run": TREATED}
        )
        chunks = list(raw.parse())
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert int(raw.headers["x-bursar-removed-tokens"]) > 1_000
    row = find_call(compressing, raw.headers["x-bursar-call-id"])
    assert (row["output_tokens"], row["overage_nano"]) == (10, 0)
    assert row["counterfactual_nano"] > row["cost_nano"]


@pytest.mark.parametrize("said", ["Person77", "I'm sorry, I can't help with that."])
def test_a_stream_that_is_checked_has_its_saving_once(
    compressing: LocalBursar, secret: str, provider: ScriptedProvider, said: str
) -> None:
    model, passes = "gpt-5-nano", said == "Person77"
    provider.say(model, "200 OK", b"".join(told(model, said)), "text/event-stream")
    body = {"model": "checked", "messages": messages(), "stream": True}
    answer = post(compressing, secret, body, x_bursar_run=TREATED, x_bursar_compress="4")
    assert answer.status == 200
    assert (said.encode() in answer.body) is passes
    row = row_of(compressing, answer)
    given = sum(row[f"{name}_bytes"] for name in ("system", "user", "history", "tools", "retrieved"))
    sent = sum(json.loads(row["sent_bytes"]).values())
    assert sent < given / 2
    draft = 100 * 50 + 10 * 400  # 0.05 and 0.40 USD a million
    # The strongest model's answer, 2.50 and 10 USD a million: as it would have been, or as it was.
    strongest = 100 * 2_500 + 10 * 10_000 if passes else row["cost_nano"] - draft
    prompt = 100 * 50 if passes else strongest - 10 * 10_000
    assert (row["served_model"], row["cost_nano"]) == (model if passes else "gpt-4o", draft + strongest * (not passes))
    assert row["counterfactual_nano"] == strongest + prompt * (given - sent) // sent


def test_a_conversation_that_goes_on_is_sent_with_the_beginning_it_had(
    compressing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say("gpt-4.1-mini", "200 OK", SAID.encode())
    asked = messages()
    sent = []
    for more in ([], [{"role": "assistant", "content": "Person77"}, {"role": "user", "content": "And of Place12?"}]):
        asked += more
        assert post(compressing, secret, {"model": "seen", "messages": asked}, x_bursar_run=TREATED).status == 200
        sent.append(prompt_of(provider)["messages"])
    assert sent[1][:2] == sent[0]
    assert len(sent[1]) == 4


@pytest.mark.parametrize(
    ("value", "ratio"), [("lossless", None), ("8", 8.0), ("off", None)], ids=["lossless", "eight", "off"]
)
def test_the_header_counts_before_the_model(
    compressing: LocalBursar, secret: str, value: str, ratio: float | None
) -> None:
    answer = ask(compressing, secret, "plain", x_bursar_compress=value)
    removed = int(answer.headers.get("x-bursar-removed-tokens", "0"))
    assert (removed > 1_500) is (ratio is not None)


def test_a_key_may_be_left_alone(compressing: LocalBursar) -> None:
    never = compressing.create_key("never", "1.00")
    assert "x-bursar-removed-tokens" not in ask(compressing, never, "shorter").headers


@pytest.mark.parametrize("value", ["", "on", "0", "0.5", "101", "nan", "-4", "4x", "4_0", "1e2", "lossless,4"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_header_that_says_nothing_known_is_refused(
    compressing: LocalBursar, secret: str, value: str, path: str
) -> None:
    body = {"model": "plain", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = post(compressing, secret, body, path, x_bursar_compress=value)
    assert answer.status == 400
    assert b'x-bursar-compress: expected \\"off\\", \\"lossless\\", or a ratio from 1 to 100' in answer.body


def test_where_nobody_set_it_up_the_header_is_refused_unless_it_asks_for_nothing(
    shared_bursar: LocalBursar, key: str
) -> None:
    body = {"model": "gpt-4o-mini", "messages": messages()}
    refused = post(shared_bursar, key, body, x_bursar_compress="4")
    assert (refused.status, refused.json()["error"]["param"]) == (400, "x-bursar-compress")
    assert "[compress]" in refused.json()["error"]["message"]
    assert post(shared_bursar, key, body, x_bursar_compress="off").status == 200


def test_a_small_prompt_is_left_as_it_is(compressing: LocalBursar, secret: str, provider: ScriptedProvider) -> None:
    provider.say("gpt-4.1-mini", "200 OK", SAID.encode())
    body = {"model": "seen", "messages": [{"role": "user", "content": "<documents>A.  \n\n\n  B.</documents>Why?"}]}
    answer = post(compressing, secret, body, x_bursar_run=TREATED)
    assert prompt_of(provider)["messages"] == body["messages"]
    assert row_of(compressing, answer)["arms"] is None


def test_a_prompt_that_cannot_be_taken_apart_is_sent_as_it_came(
    compressing: LocalBursar, secret: str, provider: ScriptedProvider
) -> None:
    provider.say("gpt-4.1-mini", "200 OK", SAID.encode())
    body = json.dumps({"model": "seen", "messages": messages(), "metadata": 0}).encode()
    body = body.replace(b'"metadata": 0', b'"metadata": 1e999')
    answer = post(compressing, secret, body, x_bursar_run=TREATED)
    assert answer.status == 200, answer.body
    assert b'"metadata":1e999' in provider.requests[-1]
    assert TOWNS.split("\n")[0] in provider.requests[-1].decode()
    metrics = fetch(compressing, "GET", "/metrics").body.decode()
    assert "bursar_compress_failed_total 1.0" in metrics
    assert row_of(compressing, answer)["status"] == 1


def test_a_repeated_call_is_one_call_and_its_digest_is_of_what_the_client_sent(
    compressing: LocalBursar, secret: str
) -> None:
    headers = {"idempotency_key": "compressed-once"}
    first, again = (ask(compressing, secret, "shorter", **headers) for _ in range(2))
    assert again.headers["x-bursar-replayed"] == "true"
    assert first.body == again.body
    assert first.headers["x-bursar-call-id"] == again.headers["x-bursar-call-id"]
    other = {"model": "shorter", "messages": messages("Who is the mayor of Place7? [[output=10]]")}
    assert post(compressing, secret, other, x_bursar_run=TREATED, **headers).status == 409


def test_a_budget_for_the_shorter_prompt_alone_is_enough(compressing: LocalBursar, secret: str) -> None:
    whole = row_of(compressing, ask(compressing, secret, "shorter", x_bursar_run=HELD_OUT))["held_nano"]
    short = row_of(compressing, ask(compressing, secret, "shorter"))["held_nano"]
    assert short < whole
    body, limit = {"model": "shorter", "messages": messages()}, f"{(whole + short) // 2 / 1e9:.9f}"
    refused = post(compressing, secret, body, x_bursar_run=HELD_OUT, x_bursar_max_cost_usd=limit)
    assert (refused.status, refused.json()["error"]["code"]) == (402, "max_cost_exceeded")
    assert post(compressing, secret, body, x_bursar_run=TREATED, x_bursar_max_cost_usd=limit).status == 200


def test_what_was_saved_is_told_by_command_and_api_as_far_as_it_can_be(compressing: LocalBursar, secret: str) -> None:
    for run in (TREATED, HELD_OUT):
        row_of(compressing, ask(compressing, secret, "shorter", x_bursar_run=run))
    (told,) = fetch(compressing, "GET", "/api/savings?days=1").json()
    assert (told["lever"], told["left_out_units"], told["cost"]["usd_less"]) == ("compress", 0, None)
    few = told["cost"]["too_few"]
    assert (few["treatment_units"], few["holdout_units"]) == (told["treatment"]["units"], told["holdout"]["units"])
    assert usd_to_nano(told["treatment"]["estimated_saved_usd"]) > 0
    assert (told["holdout"]["estimated_saved_usd"], told["holdout"]["removed_bytes"]) == ("0.00", 0)
    assert told["treatment"]["removed_bytes"] > 5_000
    text, shown = (savings_of(compressing, *words) for words in ((), ("--json",)))
    assert "compress e2e at 50 %: nothing can be told yet: " in text
    assert json.loads(shown)[0]["lever"] == "compress"
    assert savings_of(compressing, "--confidence", "2").startswith("bursar: ")
    assert fetch(compressing, "GET", "/api/savings?confidence=1").status == 400


def savings_of(local: LocalBursar, *words: str) -> str:
    command = [sys.executable, "-m", "bursar", "savings", "--data", str(local.data), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout or done.stderr


def test_a_worker_without_compression_loads_no_numpy() -> None:
    program = """
import sys
import bursar.gateway.worker
from bursar.gateway.compressing import compressing_of
from bursar.gateway.config import read_config
from bursar.gateway.stats import Stats
assert compressing_of(read_config(None), Stats(), None) is None
print([name for name in sys.modules if name.partition(".")[0] == "numpy"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr
