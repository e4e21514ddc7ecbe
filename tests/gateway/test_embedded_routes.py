"""A route may go by a bigger embedder than the table that ships: its calls are looked at beside the loop."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.errors import ConfigError
from bursar.core.records import Call, Protocol
from bursar.embed.bert import Bert
from bursar.embed.embedder import Floats
from bursar.gateway.config import read_config
from bursar.gateway.embedders import read_folder
from bursar.gateway.outbox import Outbox
from bursar.gateway.passage import Passage
from bursar.gateway.reload import check_config, read_book
from bursar.gateway.routes import Routes
from bursar.gateway.routing import Routing
from bursar.gateway.stats import clock_us
from bursar.savings.route.labels import Label, labels_of
from bursar.savings.route.policy import read_policy
from bursar.savings.route.router import write_router
from bursar.savings.route.train import About, train
from bursar.store.postgres import DataFolder
from bursar.wires.openai_chat import OPENAI_CHAT
from tests.asking import ask
from tests.embed.weights import PIECES, safetensors, small_weights
from tests.gateway.routed_house import call_of, served

CONFIG = """
[providers.sandbox]
kind = "sandbox"

[models.small]
targets = ["sandbox/gpt-4o-mini"]

[models.big]
targets = ["sandbox/gpt-4o"]

[routes.auto]
models = ["small", "big"]
router = "{router}"
embedder = "local:{folder}"
"""
EASY, HARD = "where is my card ?", "Prove that 17 is lost; show each of the steps."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a BERT that is small, and like all others otherwise."""
    return written(tmp_path_factory.mktemp("bert"), seed=3)


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write another of the same shape."""
    return written(tmp_path_factory.mktemp("other"), seed=4)


def written(folder: Path, seed: int) -> Path:
    (folder / "model.safetensors").write_bytes(safetensors(small_weights(seed)))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (folder / "config.json").write_text('{"num_attention_heads": 2}')
    return folder


@pytest.fixture(scope="module")
def router(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a router by it: the small model finds cards and proves nothing."""
    rows = [
        Label(prompt=f"{(EASY, HARD)[number % 2]} {number}", scores={"small": 1.0 - number % 2, "big": 1.0})
        for number in range(120)
    ]
    file = tmp_path_factory.mktemp("router") / "router.json"
    about = About(trained_on="cards", trained="2026-11-23", limits="It knows cards.")
    file.write_bytes(write_router(train(labels_of(rows), read_folder(folder), about).router))
    return file


@pytest.fixture(scope="module")
def embedding(folder: Path, router: Path) -> Iterator[LocalBursar]:
    local = LocalBursar(CONFIG.format(router=router, folder=folder))
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def key(embedding: LocalBursar) -> str:
    return embedding.create_key("embedded", "100.00")


def test_calls_go_where_a_router_of_its_vectors_says(embedding: LocalBursar, key: str) -> None:
    assert served(embedding, key, EASY) == "sandbox/gpt-4o-mini"
    assert served(embedding, key, HARD) == "sandbox/gpt-4o"
    answer = ask(embedding, key, f"[[output=10]] {HARD}", model="auto")
    route = call_of(embedding, answer)["route"]
    assert (route["how"], route["model"], route["reference"]) == ("learned", "big", "big")


def test_many_at_once_and_streams_are_looked_at_too(embedding: LocalBursar, key: str) -> None:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{embedding.port}/v1", api_key=key, max_retries=0)

    def streamed(number: int) -> str:
        text = f"[[output=5]] {(EASY, HARD)[number % 2]} {number}"
        messages: list[Any] = [{"role": "user", "content": text}]
        chunks = list(client.chat.completions.create(model="auto", messages=messages, stream=True))
        return chunks[0].model

    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(streamed, range(24)))
    assert models == ["gpt-4o-mini", "gpt-4o"] * 12
    client.close()


async def test_a_configuration_with_another_embedder_than_the_routers_is_not_taken_in(
    embedding: LocalBursar, other_folder: Path, router: Path, tmp_path: Path
) -> None:
    for given, said in (
        (other_folder, "routes.auto.embedder: the router was trained on vectors of bert-"),
        (tmp_path / "nowhere", f"routes.auto.embedder: embedder local:{tmp_path / 'nowhere'} cannot be read"),
    ):
        file = tmp_path / "bursar.toml"
        file.write_text(CONFIG.format(router=router, folder=given))
        with pytest.raises(ConfigError) as raised:
            check_config(read_config(file), DataFolder(embedding.data).prices)
        assert said in str(raised.value)


TEXTS = (EASY, HARD, "is my card lost ?")


def routing_of(text: str, folder: Path, local: LocalBursar, before: Routing | None = None) -> Routing:
    file = folder / "bursar.toml"
    file.write_text(text)
    config, outbox = read_config(file), Outbox(asyncio.get_running_loop())
    book = read_book(DataFolder(local.data).prices, config.prices)
    return Routing(Routes(config, book, lambda _: "http://127.0.0.1:1/v1", outbox), clock_us(), before)


def asks(text: str, model: str) -> Passage:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    facts = OPENAI_CHAT.facts(body)
    call = Call(bytes(16), 1, "key", Protocol.openai_chat, model, False, clock_us(), facts.segments)
    return Passage(OPENAI_CHAT, call, facts, body, b"")


async def test_what_was_remembered_is_at_hand_after_a_reload_unless_the_weights_are_others(
    embedding: LocalBursar, router: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    with_whole, vectors = Bert.with_whole, Bert.vectors

    def spied(self: Bert, texts: Sequence[str]) -> Floats:
        made.append(threading.get_ident())
        return with_whole(self, texts)

    def spied_too(self: Bert, texts: Sequence[str]) -> Floats:
        made.append(threading.get_ident())
        return vectors(self, texts)

    monkeypatch.setattr(Bert, "with_whole", spied)
    monkeypatch.setattr(Bert, "vectors", spied_too)
    mine = written(tmp_path, seed=3)
    text = CONFIG.format(router=router, folder=mine)
    fresh = text + text[text.index("[routes.auto]") :].replace("routes.auto", "routes.fresh")
    first = routing_of(text, tmp_path, embedding)
    for each in TEXTS:
        await first.look_ahead(asks(each, "auto"))
    assert len(made) == len(TEXTS)
    assert threading.get_ident() not in made
    second = routing_of(fresh, tmp_path, embedding, first)
    for each in TEXTS:
        await second.look_ahead(asks(each, "fresh"))
    assert len(made) == len(TEXTS)
    written(mine, seed=5)
    with pytest.raises(ConfigError, match="the router was trained on vectors of bert-"):
        routing_of(fresh, tmp_path, embedding, second)


def test_a_configuration_is_taken_in_while_calls_of_its_routes_go_on(embedding: LocalBursar, key: str) -> None:
    assert embedding.process is not None
    path = embedding.data / "bursar.toml"
    text = path.read_text()
    before = embedding.last_words().count("config.reloaded")
    with ThreadPoolExecutor(8) as pool:
        models = pool.map(lambda number: served(embedding, key, f"{(EASY, HARD)[number % 2]} {number}"), range(120))
        for number in range(4):
            path.write_text(text + "\n" * number)
            embedding.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        assert list(models) == ["sandbox/gpt-4o-mini", "sandbox/gpt-4o"] * 60
    deadline = time.monotonic() + 20
    while embedding.last_words().count("config.reloaded") == before:
        assert time.monotonic() < deadline, embedding.last_words()
        time.sleep(0.05)
    assert "gateway.failed" not in embedding.last_words()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"embedder": "bert"}, "routes.auto.embedder: expected 'static' or 'local:FOLDER', got 'bert'"),
        ({"embedder": "local:"}, "got 'local:'"),
        ({"embedder": "https://host/v1/embeddings#m"}, "expected 'static' or 'local:FOLDER'"),
        ({"embedder": "local:here"}, "name a `router` of `bursar route train --embedder local:here`"),
        ({"embedder": 3}, "routes.auto.embedder"),
        ({"embedder": "static", "by": "rule", "rules": [{"model": "small"}]}, "routes.auto.embedder: has no meaning"),
    ],
)
def test_what_names_no_embedder_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_policy("auto", {"models": ["small", "big"]} | given, ["small", "big"])
    assert said in str(raised.value)
