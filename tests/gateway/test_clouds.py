"""Azure, Bedrock and Vertex, before a server here: where calls go, what signs them, what they cost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai

from bench.harness import LocalBursar
from bursar.core.errors import ConfigError
from bursar.core.usage import Usage
from bursar.gateway.config import parse_config
from bursar.prices import load
from bursar.prices.charge import charge, total
from tests.gateway.clouds import KeyGiver, key_giver, service_account, sigv4
from tests.gateway.conftest import ScriptedProvider, find_call

AZURE_KEY = "azure-canary-7d1f"
GPT, OSS = "gpt-4o-mini", "openai.gpt-oss-120b-1:0"
BEDROCK_CLAUDE, VERTEX_CLAUDE, GEMINI = (
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "claude-haiku-4-5@20251001",
    "gemini-2.5-flash",
)
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

HOUSE = """
[providers.azure]
preset = "azure"
base_url = "{url}/openai/v1"
api_key = "{azure_key}"

[providers.azure-deployments]
preset = "azure-deployments"
base_url = "{url}/openai"
api_key = "{azure_key}"

[providers.bedrock]
preset = "bedrock"
base_url = "{url}/openai/v1"
region = "us-east-1"

[providers.bedrock-claude]
preset = "bedrock-claude"
base_url = "{url}/anthropic/v1"
region = "us-east-1"

[providers.vertex]
preset = "vertex"
base_url = "{url}/v1/projects/house/locations/us-central1/publishers/google"
api_key_file = "{account}"

[providers.vertex-claude]
preset = "vertex-claude"
base_url = "{url}/v1/projects/house/locations/us-east5/publishers/anthropic"
api_key_file = "{account}"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def amazon() -> Iterator[KeyGiver]:
    with key_giver() as giver:
        yield giver


@pytest.fixture(scope="module")
def google() -> Iterator[KeyGiver]:
    with key_giver() as giver:
        giver.lasts_s = 200  # less than how early it is renewed: each call begins the next one's
        yield giver


@pytest.fixture(scope="module")
def cloud_house(
    server: ScriptedProvider, amazon: KeyGiver, google: KeyGiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalBursar]:
    folder = tmp_path_factory.mktemp("clouds")
    account = service_account(folder / "account.json", google.url)
    url = server.url.removesuffix("/v1")
    local = LocalBursar(HOUSE.format(url=url, azure_key=AZURE_KEY, account=account))
    local.environment |= {"AWS_CONTAINER_CREDENTIALS_FULL_URI": amazon.url, "AWS_CONFIG_FILE": str(folder / "none")}
    local.environment["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "none")
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def cloud_key(cloud_house: LocalBursar) -> str:
    return cloud_house.create_key("clouds", "100.00")


@pytest.fixture
def chat(cloud_house: LocalBursar, cloud_key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{cloud_house.url}/v1", api_key=cloud_key, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(cloud_house: LocalBursar, cloud_key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=cloud_house.url, api_key=cloud_key, max_retries=0) as client:
        yield client


def said_by_gpt(model: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    ).encode()


def said_by_claude(model: str) -> bytes:
    said = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn"}
    usage = {"input_tokens": 11, "output_tokens": 7}
    return json.dumps(said | {"content": [{"type": "text", "text": "hi"}], "usage": usage}).encode()


def streamed_by_claude(model: str) -> bytes:
    message = json.loads(said_by_claude(model)) | {"content": [], "usage": {"input_tokens": 11, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def last(server: ScriptedProvider) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return the path, the headers and the body of what was asked last."""
    head, _, body = server.requests[-1].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    return first.split(" ")[1], headers, json.loads(body)


def check_charged(house: LocalBursar, headers: httpx.Headers, seller: str, model: str) -> None:
    call = find_call(house, headers["x-bursar-call-id"])
    price = load().find(seller, model)
    assert call["cost_nano"] == total(charge(Usage(11, output_tokens=7), price.at(call["opened_us"]))) > 0


def ask_gpt(client: openai.OpenAI, model: str) -> Any:
    return client.chat.completions.with_raw_response.create(model=model, messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("azure", "/openai/v1/chat/completions"),
        ("azure-deployments", f"/openai/deployments/{GPT}/chat/completions?api-version=2024-10-21"),
    ],
)
def test_azure_gets_its_key_in_its_own_header_where_the_deployment_is(
    cloud_house: LocalBursar, server: ScriptedProvider, chat: openai.OpenAI, provider: str, path: str
) -> None:
    server.say(GPT, "200 OK", said_by_gpt("gpt-4o-mini-2024-07-18"))
    raw = ask_gpt(chat, f"{provider}/{GPT}")
    assert raw.parse().choices[0].message.content == "hi"
    went, headers, body = last(server)
    assert (went, headers["api-key"], body["model"]) == (path, AZURE_KEY, GPT)
    assert "authorization" not in headers
    assert body["max_completion_tokens"] > 0
    check_charged(cloud_house, raw.headers, "azure", GPT)


def test_a_stream_of_azure_begins_with_what_its_filter_found(
    cloud_house: LocalBursar, server: ScriptedProvider, chat: openai.OpenAI
) -> None:
    chunks: list[dict[str, Any]] = [
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0}],
        },
        {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}], "model": GPT},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": GPT},
        {"choices": [], "model": GPT, "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}},
    ]
    body = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks)
    server.answers[GPT] = [SSE_HEAD, body + b"data: [DONE]\n\n", b""]
    raw = chat.chat.completions.with_raw_response.create(
        model=f"azure/{GPT}", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert len(list(raw.parse())) == 3
    check_charged(cloud_house, raw.headers, "azure", GPT)


def test_bedrock_gets_requests_signed_as_its_documents_say(
    cloud_house: LocalBursar, server: ScriptedProvider, amazon: KeyGiver, chat: openai.OpenAI
) -> None:
    server.say(OSS, "200 OK", said_by_gpt(OSS))
    for _ in range(2):
        raw = ask_gpt(chat, f"bedrock/{OSS}")
        went, headers, _ = last(server)
        assert went == "/openai/v1/chat/completions"
        assert headers["x-amz-security-token"] == "key-1"
        scope = f"Credential=AKIDEXAMPLE/{headers['x-amz-date'][:8]}/us-east-1/bedrock/aws4_request, "
        assert headers["authorization"].startswith(
            f"AWS4-HMAC-SHA256 {scope}SignedHeaders=content-type;host;x-amz-date"
        )
        signature = sigv4(server.requests[-1], "secret of key-1", "us-east-1", "bedrock")
        assert headers["authorization"].endswith(f"Signature={signature}")
        check_charged(cloud_house, raw.headers, "aws", OSS)
    assert amazon.given == ["key-1"] * len(amazon.given)


@pytest.mark.parametrize("stream", [False, True])
def test_claude_on_bedrock_is_asked_in_its_own_protocol(
    cloud_house: LocalBursar, server: ScriptedProvider, claude: anthropic.Anthropic, stream: bool
) -> None:
    model = BEDROCK_CLAUDE
    if stream:
        server.answers[model] = [SSE_HEAD, streamed_by_claude(model), b""]
    else:
        server.say(model, "200 OK", said_by_claude(model))
    raw = claude.messages.with_raw_response.create(
        model=f"bedrock-claude/{model}", max_tokens=50, messages=[{"role": "user", "content": "hi"}], stream=stream
    )
    if stream:
        assert [event.type for event in raw.parse()][-1] == "message_stop"
    went, headers, body = last(server)
    assert (went, body["model"]) == ("/anthropic/v1/messages", model)
    region = sigv4(server.requests[-1], f"secret of {headers['x-amz-security-token']}", "us-east-1", "bedrock")
    assert headers["authorization"].endswith(f"Signature={region}")
    check_charged(cloud_house, raw.headers, "aws", model)


def test_gemini_on_vertex_gets_a_token_that_is_renewed_beside_the_calls(
    cloud_house: LocalBursar, server: ScriptedProvider, google: KeyGiver, cloud_key: str
) -> None:
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    part = {"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}
    server.say(GEMINI, "200 OK", json.dumps({"candidates": [part], "usageMetadata": usage}).encode())
    tokens: list[str] = []
    with genai.Client(api_key=cloud_key, http_options={"base_url": cloud_house.url}) as client:
        while len(set(tokens)) < 3:
            assert len(tokens) < 200
            answer = client.models.generate_content(model=f"vertex/{GEMINI}", contents="hi")
            assert answer.text == "hi"
            went, headers, body = last(server)
            tokens.append(headers["authorization"].removeprefix("Bearer "))
    assert went == f"/v1/projects/house/locations/us-central1/publishers/google/models/{GEMINI}:generateContent"
    assert "x-goog-api-key" not in headers
    assert body["contents"] == [{"parts": [{"text": "hi"}], "role": "user"}]
    assert tokens == sorted(tokens, key=lambda token: int(token.removeprefix("key-")))
    assert google.asked[0]["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert answer.sdk_http_response is not None
    assert answer.sdk_http_response.headers is not None
    check_charged(cloud_house, httpx.Headers(answer.sdk_http_response.headers), "google", GEMINI)


@pytest.mark.parametrize("stream", [False, True])
def test_claude_on_vertex_has_its_model_in_the_address_and_its_version_in_the_body(
    cloud_house: LocalBursar, server: ScriptedProvider, claude: anthropic.Anthropic, stream: bool
) -> None:
    model = VERTEX_CLAUDE
    if stream:
        server.answers[model] = [SSE_HEAD, streamed_by_claude(model), b""]
    else:
        server.say(model, "200 OK", said_by_claude("claude-haiku-4-5-20251001"))
    raw = claude.messages.with_raw_response.create(
        model=f"vertex-claude/{model}", max_tokens=50, messages=[{"role": "user", "content": "hi"}], stream=stream
    )
    if stream:
        assert [event.type for event in raw.parse()][-1] == "message_stop"
    went, headers, body = last(server)
    method = "streamRawPredict" if stream else "rawPredict"
    assert went == f"/v1/projects/house/locations/us-east5/publishers/anthropic/models/{model}:{method}"
    assert "model" not in body
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert headers["authorization"].startswith("Bearer key-")
    check_charged(cloud_house, raw.headers, "google", model)


def test_tokens_of_a_provider_that_counts_elsewhere_are_estimated(
    cloud_house: LocalBursar, claude: anthropic.Anthropic, server: ScriptedProvider
) -> None:
    before = len(server.requests)
    counted = claude.messages.count_tokens(
        model=f"vertex-claude/{VERTEX_CLAUDE}", messages=[{"role": "user", "content": "How long is this?"}]
    )
    assert 0 < counted.input_tokens < 50
    assert len(server.requests) == before


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"preset": "azure"},
            "providers.p.base_url: preset azure leaves it open: bursar providers add azure --set resource=...",
        ),
        (
            {"auth": "aws", "region": "us-east-1"},
            'providers.p.service: expected one of AWS, such as "bedrock", for auth = "aws"',
        ),
        (
            {"auth": "aws", "service": "bedrock"},
            'providers.p.region: expected one of AWS, such as "us-east-1", for auth = "aws"',
        ),
        (
            {"auth": "google", "api_key_env": "X"},
            'providers.p.auth: no key is sent where requests are signed by google: auth = "key" sends one',
        ),
        ({"auth": "azure"}, "providers.p.auth: expected key or aws or google, got 'azure'"),
        ({"key_header": "a: b"}, 'providers.p.key_header: expected the name of a header, such as "api-key"'),
        ({"paths": {"gemni": "/x"}}, "providers.p.paths: no protocol 'gemni'; near: gemini"),
    ],
)
def test_what_is_not_whole_is_named(table: dict[str, Any], message: str) -> None:
    usual = {} if "preset" in table else {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(ConfigError) as refused:
        parse_config({"providers": {"p": usual | table}})
    assert str(refused.value) == message


def test_a_bedrock_key_is_sent_as_any_other(tmp_path: Path) -> None:
    table = {"preset": "bedrock", "base_url": "https://h/v1", "region": "us-east-1", "auth": "key", "api_key_env": "K"}
    provider = parse_config({"providers": {"p": table}}).providers["p"]
    assert (provider.auth, provider.api_key_env) == ("key", "K")
