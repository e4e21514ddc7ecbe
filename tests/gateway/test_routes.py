"""Where a model's calls go and what they cost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bursar.core.errors import ConfigError, NotFound, Unmetered
from bursar.core.records import Protocol, Traits
from bursar.gateway.config import parse_config
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool
from bursar.gateway.provider import Provider
from bursar.gateway.routes import Candidate, Routes, Upstream
from bursar.prices import load
from bursar.prices.book import Book
from bursar.prices.file import read_model_price
from bursar.wires.protocols import WIRES

CHAT, MESSAGES, RESPONSES = Protocol.openai_chat, Protocol.anthropic_messages, Protocol.openai_responses
PROVIDERS: dict[str, Any] = {
    "openai": {"kind": "openai", "base_url": "https://api.openai.com/v1"},
    "mirror": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "prices": "openai"},
    "nobody": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"},
    "anthropic": {"kind": "anthropic", "base_url": "https://api.anthropic.com/v1"},
    "sim": {"kind": "sandbox"},
}
MODELS: dict[str, Any] = {
    "gpt-4o": {"targets": ["openai/gpt-4o", "mirror/gpt-4o"]},
    "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
    "either": {"targets": ["sim/gpt-4o-mini"]},
    "mixed": {"targets": ["openai/gpt-4o", "anthropic/claude-haiku-4-5"]},
    "own": {"targets": ["nobody/made-up"], "price": {"input": "1", "output": "2"}},
    "free": {"targets": ["nobody/made-up"], "price": "free"},
}

# By model and the client's protocol: what each of its targets is spoken to in.
SPOKEN = {
    ("mixed", CHAT): [CHAT, MESSAGES],
    ("mixed", MESSAGES): [CHAT, MESSAGES],
    ("claude", CHAT): [MESSAGES],
    ("either", CHAT): [CHAT],
    ("either", MESSAGES): [MESSAGES],
}

MakeRoutes = Callable[..., Routes]


@pytest.fixture(scope="module")
def book() -> Book:
    return load()


@pytest.fixture
async def make(book: Book) -> MakeRoutes:
    outbox = Outbox(asyncio.get_running_loop())

    def make(models: dict[str, Any] = MODELS, providers: dict[str, Any] = PROVIDERS) -> Routes:
        config = parse_config({"providers": providers, "models": models})
        return Routes(config, book, lambda _name: "http://127.0.0.1:1/v1", outbox)

    return make


def targets(routes: Routes, name: str, protocol: Protocol = CHAT) -> list[str]:
    return [f"{each.upstream.name}/{each.model}" for each in routes.find(name, protocol)]


async def test_a_name_is_resolved_to_its_targets_in_order(make: MakeRoutes) -> None:
    routes = make()
    assert targets(routes, "gpt-4o") == ["openai/gpt-4o", "mirror/gpt-4o"]
    assert targets(routes, "mirror/gpt-4o-mini") == ["mirror/gpt-4o-mini"]
    assert routes.names() == [(name, MODELS[name]["targets"][0].split("/")[0]) for name in MODELS]


async def test_a_target_is_spoken_to_in_the_clients_protocol_or_its_own(make: MakeRoutes) -> None:
    routes = make()
    wires = {(name, asked): [each.wire.protocol for each in routes.find(name, asked)] for name, asked in SPOKEN}
    assert wires == SPOKEN


async def test_responses_go_as_they_are_to_those_who_speak_them(
    make: MakeRoutes,
) -> None:
    def spoken(routes: Routes, asked: Protocol = RESPONSES) -> list[Protocol]:
        return [each.wire.protocol for each in routes.find("gpt-4o", asked)]

    assert spoken(make()) == [RESPONSES, CHAT]
    mirror = PROVIDERS["mirror"] | {"protocols": ["openai_responses", "openai_chat"]}
    routes = make(providers=PROVIDERS | {"mirror": mirror})
    assert spoken(routes) == [RESPONSES, RESPONSES]
    (candidate,) = routes.find("mirror/gpt-4o", RESPONSES)
    assert candidate.head(stream=True, extra=b"", body_len=2).startswith(b"POST /v1/responses HTTP/1.1\r\n")
    only = PROVIDERS["mirror"] | {"protocols": ["openai_responses"]}
    assert spoken(make(providers=PROVIDERS | {"mirror": only}), CHAT) == [CHAT, RESPONSES]


@pytest.mark.parametrize(
    ("name", "hint"), [("gpt-4", "near: gpt-4o"), ("clauded", "near: claude"), ("zzz", "see GET /v1/models")]
)
async def test_an_unknown_name_is_told_the_near_ones(make: MakeRoutes, name: str, hint: str) -> None:
    with pytest.raises(NotFound, match=hint) as caught:
        make().find(name, CHAT)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("name", ["openai/", "/gpt-4o", "elsewhere/gpt-4o", ""])
async def test_a_name_of_half_a_target_is_unknown(make: MakeRoutes, name: str) -> None:
    with pytest.raises(NotFound):
        make().find(name, CHAT)


@pytest.mark.parametrize("name", ["openai/made-up", "nobody/gpt-4o", "sim/made-up"])
async def test_what_has_no_price_is_refused_never_free(make: MakeRoutes, name: str) -> None:
    with pytest.raises(Unmetered, match=r'price in bursar\.toml, or price = "free"') as caught:
        make().find(name, CHAT)
    assert caught.value.code == "unpriced"


async def test_a_configured_model_without_a_price_stops_the_start(make: MakeRoutes) -> None:
    with pytest.raises(ConfigError, match=r"models\.m: no price for model"):
        make({"m": {"targets": ["nobody/made-up"]}})


async def test_prices_follow_the_address_the_setting_or_the_models_own(make: MakeRoutes) -> None:
    routes = make()
    first, second = routes.find("gpt-4o", CHAT)
    assert (first.price.provider, second.price.provider) == ("openai", "openai")
    assert first.card(0).rates == second.card(0).rates
    (own,), (free,) = routes.find("own", CHAT), routes.find("free", CHAT)
    assert own.ceiling(own.card(0), Traits()).cost(1_000, 1_000) == 1_000_000 + 2_000_000
    assert free.ceiling(free.card(0), Traits()).cost(1_000_000, 1_000_000) == 0


async def test_what_is_known_of_a_model_at_a_provider_survives_its_configuration(make: MakeRoutes) -> None:
    routes = make()
    known = routes.known("gpt-4o", CHAT, "mirror")
    assert known is not None
    assert known.upstream.name == "mirror"
    assert routes.known("gpt-4o", CHAT, "gone") is None
    assert routes.known("gone", CHAT, "openai") is None


@pytest.mark.parametrize(
    ("provider", "protocol", "line"),
    [
        (Provider(kind="openai", api_key="sk-1"), CHAT, b"authorization: Bearer sk-1\r\n"),
        (Provider(kind="anthropic", api_key="sk-2"), MESSAGES, b"x-api-key: sk-2\r\n"),
    ],
)
async def test_the_head_of_a_request_names_its_path_host_key_and_length(
    provider: Provider, protocol: Protocol, line: bytes
) -> None:
    upstream = Upstream("p", provider, "https://example.com:8443/api/v1/", Outbox(asyncio.get_running_loop()))
    price = read_model_price({"input": "1", "output": "1"}, "p", "m", "models.m.price")
    head = Candidate(upstream, WIRES[protocol], "m", price).head(stream=False, extra=b"openai-beta: x\r\n", body_len=42)
    path = b"/chat/completions" if protocol is CHAT else b"/messages"
    assert head.startswith(b"POST /api/v1" + path + b" HTTP/1.1\r\nhost: example.com:8443\r\n")
    assert line in head
    assert head.endswith(b"openai-beta: x\r\ncontent-length: 42\r\n\r\n")


async def test_a_key_with_a_line_break_is_refused_and_not_shown() -> None:
    provider = Provider(kind="openai", api_key="sk-canary\r\nx-evil: 1")
    with pytest.raises(ConfigError, match=r"providers\.p: its key or address holds a line break") as caught:
        Upstream("p", provider, "https://example.com/v1", Outbox(asyncio.get_running_loop()))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "kind", "cap_field", "expected"),
    [
        ("https://api.openai.com/v1", "openai", "", "max_completion_tokens"),
        ("https://api.deepseek.com/v1", "openai", "", "max_tokens"),
        ("http://127.0.0.1:11434/v1", "openai", "num_predict", "num_predict"),
        ("http://127.0.0.1:4100/v1", "sandbox", "", "max_completion_tokens"),
    ],
)
async def test_a_cap_is_written_where_the_provider_reads_it(
    base_url: str, kind: Any, cap_field: str, expected: str
) -> None:
    provider = Provider(kind=kind, cap_field=cap_field)
    assert Upstream("p", provider, base_url, Outbox(asyncio.get_running_loop())).cap_field == expected


@pytest.mark.parametrize(
    "address", ["", "example.com", "ftp://x", "https://", "https://u:p@x/v1", "https://x/v1?key=1", "https://x/v1#a"]
)
async def test_an_address_of_another_shape_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as"):
        Pool(address, Outbox(asyncio.get_running_loop()))
