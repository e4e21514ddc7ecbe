"""Every preset, before a server that answers in its provider's recorded shape: what is sent, charged and told."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.errors import ConfigError
from bursar.core.money import usd_to_nano
from bursar.core.records import Protocol, UsageSource
from bursar.core.usage import Usage
from bursar.gateway.config import parse_config
from bursar.gateway.presets import KEY_PLACES, presets
from bursar.gateway.provider import Provider
from bursar.prices import load
from bursar.prices.charge import charge, total
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.translate_errors import translate_error
from tests.gateway.conftest import ScriptedProvider, find_call
from tests.gateway.provider_shapes import SHAPES, TEXT, sse

SECRET = "sk-preset-canary-51c0"
OWN_PRICE = {"input": "0.05", "cache_read": "0.01", "output": "0.20"}
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
NAMES = list(SHAPES)


def house_of(url: str) -> str:
    tables = [f'[providers.{name}]\npreset = "{name}"\nbase_url = "{url}"\napi_key = "{SECRET}"\n' for name in NAMES]
    own = json.dumps(OWN_PRICE).replace('":', '" =')
    for name in NAMES:
        model = presets()[name].model
        price = "" if presets()[name].priced_by else f"price = {own}\n"
        tables.append(f'[models."at-{name}"]\ntargets = ["{name}/{model_here(name)}"]\nretries = 0\n{price}')
        assert model in model_here(name)
    return "[gateway]\noutput_cap = 700\n" + "\n".join(tables)


def model_here(name: str) -> str:
    """Name a provider's model, another than any other's: the scripted server knows them apart by it."""
    return SHAPES[name].answer["model"]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def preset_house(server: ScriptedProvider) -> Iterator[LocalBursar]:
    local = LocalBursar(house_of(server.url))
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def client(preset_house: LocalBursar) -> Iterator[openai.OpenAI]:
    key = preset_house.create_key("presets", "1000.00")
    with openai.OpenAI(base_url=f"{preset_house.url}/v1", api_key=key, max_retries=0) as made:
        yield made


def say(server: ScriptedProvider, name: str, *, stream: bool) -> None:
    shape, model = SHAPES[name], model_here(name)
    if stream:
        server.answers[model] = [SSE_HEAD, sse(shape.stream), b""]
    else:
        server.say(model, "200 OK", json.dumps(shape.answer).encode())


def sent(server: ScriptedProvider) -> tuple[str, dict[str, Any]]:
    """Return the head and the body of what was asked last."""
    head, _, body = server.requests[-1].partition(b"\r\n\r\n")
    return head.decode(), json.loads(body)


def expected_nano(name: str, usage: Usage, at_us: int) -> int:
    seller = presets()[name].priced_by
    if seller:
        return total(charge(usage, load().find(seller, model_here(name)).at(at_us)))
    rates = {word: usd_to_nano(text) for word, text in OWN_PRICE.items()}
    counts = {"input": usage.input_tokens, "cache_read": usage.cache_read_tokens, "output": usage.output_total}
    return sum(counts[word] * rates[word] for word in counts) // 1_000_000


def ask(client: openai.OpenAI, name: str, **fields: Any) -> Any:
    messages = [{"role": "user", "content": "The capital of France?"}]
    return client.chat.completions.with_raw_response.create(model=f"at-{name}", messages=messages, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_a_provider_reports_is_charged_to_the_nano_dollar(
    preset_house: LocalBursar, server: ScriptedProvider, client: openai.OpenAI, name: str, stream: bool
) -> None:
    say(server, name, stream=stream)
    raw = ask(client, name, stream=stream)
    if stream:
        said = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
    else:
        said = raw.parse().choices[0].message.content
    call = find_call(preset_house, raw.headers["x-bursar-call-id"])
    usage = SHAPES[name].usage
    assert said == TEXT
    assert call["usage_source"] == UsageSource.provider
    read = (call["input_tokens"], call["cache_read_tokens"], call["output_tokens"], call["reasoning_tokens"])
    assert read == (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens, usage.reasoning_tokens)
    assert call["unknown_usage"] is None
    assert call["cost_nano"] == expected_nano(name, usage, call["opened_us"]) > 0
    assert call["reported_cost_nano"] == SHAPES[name].stated_nano


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_gets_its_key_its_cap_and_no_field_it_refuses(
    server: ScriptedProvider, client: openai.OpenAI, name: str
) -> None:
    say(server, name, stream=True)
    for chunk in ask(client, name, stream=True).parse():
        assert chunk.object == "chat.completion.chunk"
    head, body = sent(server)
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: Bearer {SECRET}\r\n" in head
    cap = presets()[name].settings.get("cap_field", "max_tokens")
    assert body[cap] == 700
    assert {"max_tokens", "max_completion_tokens"} & body.keys() == {cap}
    asked = body.get("stream_options")
    assert asked == (None if name == "mistral" else {"include_usage": True})


def test_stream_options_a_client_sets_do_not_reach_who_refuses_them(
    server: ScriptedProvider, client: openai.OpenAI
) -> None:
    say(server, "mistral", stream=True)
    chunks = list(ask(client, "mistral", stream=True, stream_options={"include_usage": True}).parse())
    assert "stream_options" not in sent(server)[1]
    assert chunks[-1].usage.prompt_tokens == 16


@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_a_provider_costs_nothing_and_reaches_the_client(
    preset_house: LocalBursar, server: ScriptedProvider, client: openai.OpenAI, name: str
) -> None:
    status, body = SHAPES[name].error
    server.say(model_here(name), status, json.dumps(body).encode())
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, name)
    assert refused.value.status_code == int(status[:3])
    call = find_call(preset_house, refused.value.response.headers["x-bursar-call-id"])
    assert call["cost_nano"] == 0


@pytest.mark.parametrize(
    ("name", "said"),
    {
        "mistral": "Extra inputs in `seed`",
        "groq": "Rate limit reached",
        "together": "overloaded",
        "fireworks": "Model not found",
        "openrouter": "Insufficient credits",
        "deepseek": "Insufficient Balance",
        "vllm": "too long",
        "sglang": "too long",
        "llamacpp": "Loading model",
        "ollama": "model 'x' not found",
    }.items(),
)
def test_a_client_of_another_protocol_is_told_what_the_provider_said(name: str, said: str) -> None:
    status, body = SHAPES[name].error
    told = translate_error(int(status[:3]), json.dumps(body).encode(), Protocol.anthropic_messages)
    assert json.loads(told)["error"]["message"] == said


def test_a_stream_of_mistral_that_reasons_and_is_cut_is_counted_by_all_it_said(
    preset_house: LocalBursar, server: ScriptedProvider, client: openai.OpenAI
) -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "a" * 300}], "closed": True}]
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": {"content": each}, "finish_reason": None}], "model": model_here("mistral")}
        for each in (thinking, [{"type": "text", "text": "b" * 100}], "c" * 200)
    ]
    server.answers[model_here("mistral")] = [SSE_HEAD, sse(chunks).removesuffix(b"data: [DONE]\n\n"), b""]
    raw = ask(client, "mistral", stream=True)
    with contextlib.suppress(openai.APIError):
        list(raw.parse())
    call = find_call(preset_house, raw.headers["x-bursar-call-id"])
    assert call["usage_source"] == UsageSource.counted
    assert call["output_tokens"] == tokens_from_bytes(600)


def test_the_books_balance_after_every_shape(preset_house: LocalBursar) -> None:
    assert preset_house.audit().findings == []


def test_every_preset_that_is_priced_by_the_book_finds_its_model_there() -> None:
    book = load()
    priced = {
        preset.name: book.find(preset.priced_by, preset.model) for preset in presets().values() if preset.priced_by
    }
    assert {price.provider for price in priced.values()} <= book.providers.keys()
    assert len(priced) >= 9


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_settings_of_a_provider_and_names_where_its_facts_are_from(name: str) -> None:
    preset = presets()[name]
    assert preset.settings.keys() <= set(Provider.__struct_fields__) - {"preset", "api_key", "api_key_file"}
    assert preset.source.startswith("https://")
    words = {word for value in preset.open_settings().values() for word in preset.fill if f"{{{word}}}" in value}
    assert words == preset.fill.keys()


def read(**table: Any) -> Provider:
    return parse_config({"providers": {"p": table}}).providers["p"]


def test_what_a_table_says_itself_comes_before_its_preset() -> None:
    provider = read(preset="groq", base_url="http://127.0.0.1:9/v1", cap_field="max_tokens", api_key_file="/run/groq")
    assert (provider.base_url, provider.cap_field, provider.prices) == ("http://127.0.0.1:9/v1", "max_tokens", "groq")
    assert [getattr(provider, place) for place in KEY_PLACES] == ["", "/run/groq", ""]
    assert read(preset="groq").api_key_env == "GROQ_API_KEY"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"preset": "grok"}, "providers.p.preset: no preset 'grok'; near: groq"),
        ({"preset": 3}, 'providers.p.preset: expected a name such as "groq"'),
        ({"preset": "groq", "kind": "opneai"}, "providers.p.kind: expected openai or anthropic or gemini or sandbox"),
        ({"preset": "groq", "drop_field": []}, "unknown setting providers.p.drop_field; near: drop_fields"),
        ({"preset": "groq", "api_key": "sk-x"}, "providers.p.api_key: a key in this file is for tests"),
        ("groq", "providers.p"),
    ],
)
def test_a_preset_that_cannot_be_read_is_named(table: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"providers": {"p": table}})
    assert str(refused.value).startswith(message)
