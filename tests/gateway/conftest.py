"""Give each test a key of its own, the official SDKs set to the gateway, and the books to look a call up in."""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeAlias

import anthropic
import openai
import pytest
from google import genai

from bench.harness import LocalBursar, free_port
from bursar.core.ids import call_id_from_name
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.charge import charge, total
from tests.gateway.routed_house import run_routed

NewKey: TypeAlias = Callable[..., str]
Row: TypeAlias = dict[str, Any]

_numbers = itertools.count(1)


def find_call(local: LocalBursar, name: str, timeout_s: float = 10.0) -> Row:
    """Return the record of a call by its name, waiting until the journal has carried it into the books."""
    call_id, deadline = call_id_from_name(name), time.monotonic() + timeout_s
    while not (rows := local.query("select * from calls where call_id = $1", call_id)):
        assert time.monotonic() < deadline, f"{name} is not in the books: {local.last_words()}"
        time.sleep(0.02)
    return rows[0]


@pytest.fixture
def new_key(shared_bursar: LocalBursar) -> NewKey:
    """Make keys of the shared Bursar: `new_key(budget="1.00", models=("gpt-4o",))` returns a secret."""

    def make(budget: str | None = None, **scope: Any) -> str:
        return shared_bursar.create_key(f"gateway test {next(_numbers)}", budget, **scope)

    return make


@pytest.fixture
def key(new_key: NewKey) -> str:
    return new_key("100.00")


@pytest.fixture
def call_of(shared_bursar: LocalBursar) -> Callable[[str], Row]:
    return lambda name: find_call(shared_bursar, name)


class ScriptedProvider:
    """Be a provider that answers with given bytes: whatever a test puts under the model's name."""

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes]] = {}  # by model: what is sent, one after the other; b"" closes
        self.turns: dict[str, list[bytes]] = {}  # by model: whole answers, one a request, before all others
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def say_in_turn(self, model: str, *bodies: bytes) -> None:
        """Answer the next calls of a model with a body each."""
        head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
        self.turns[model] = [head.format(len(body)).encode() + body for body in bodies]

    def say(self, model: str, status: str, body: bytes, kind: str = "application/json") -> None:
        """Answer calls of a model with a status and a body."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.answers[model] = [head.encode() + body]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), client.makefile("rb") as reader:
            while head := b"".join(_lines_of_head(reader)):
                size = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
                body = reader.read(size)
                self.requests.append(head + b"\r\n" + body)
                model = _model_of(head, body)
                for piece in [self.turns[model].pop(0)] if self.turns.get(model) else self.answers[model]:
                    if not piece:
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(piece)


def _lines_of_head(reader: BinaryIO) -> Iterator[bytes]:
    """Read up to the empty line; the end of what comes is an end as well."""
    while (line := reader.readline()) not in (b"\r\n", b""):
        yield line


def _model_of(head: bytes, body: bytes) -> str:
    """Name the model asked for: the body does, or the path, as Gemini's and those of files and batches."""
    named = json.loads(body).get("model") if body.startswith(b"{") else None
    return named or head.split(b" ")[1].rpartition(b"/")[2].decode().partition(":")[0]


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProvider]:
    provider = ScriptedProvider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedProvider]:
    """Serve one module's tests alone."""
    scripted = ScriptedProvider()
    yield scripted
    scripted.close()


@pytest.fixture(scope="session")
def remote_sandbox() -> Iterator[str]:
    """Run `bursar sandbox` alone, as a provider elsewhere; its address."""
    port = free_port()
    command = [sys.executable, "-m", "bursar", "sandbox", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


PROVIDER_SECRET = "sk-provider-canary-7f3a"

HOUSE = """
[gateway]
body_bytes_max = 1_000_000
output_cap = 1_000
previous_responses = "any"

[providers.sandbox]
kind = "sandbox"

[providers.dead]
kind = "openai"
base_url = "http://127.0.0.1:{dead_port}/v1"
prices = "openai"
connect_s = 1.0

[providers.scripted]
kind = "openai"
base_url = "{scripted_url}"
api_key_env = "SCRIPTED_API_KEY"
prices = "openai"
protocols = ["openai_chat", "openai_responses"]
first_byte_s = 1.0
idle_s = 1.0

[providers.remote]
kind = "openai"
base_url = "{remote_url}/v1"
prices = "openai"
protocols = ["openai_chat", "openai_responses"]
first_byte_s = 1.0
idle_s = 1.0

[providers.claude]
kind = "anthropic"
base_url = "{remote_url}/v1"
api_key = "{secret}"
prices = "anthropic"
first_byte_s = 1.0
idle_s = 1.0

[providers.scripted-claude]
kind = "anthropic"
base_url = "{scripted_url}"
prices = "anthropic"
first_byte_s = 1.0
idle_s = 1.0

[providers.gemini]
kind = "gemini"
base_url = "{remote_url}/v1beta"
api_key = "{secret}"
prices = "google"
first_byte_s = 1.0
idle_s = 1.0

[providers.scripted-gemini]
kind = "gemini"
base_url = "{scripted_url}"
api_key_env = "SCRIPTED_API_KEY"
prices = "google"
idle_s = 1.0

[models."falls-back-from-the-dead"]
targets = ["dead/gpt-4o-mini", "sandbox/gpt-4o-mini"]

[models."falls-back-from-the-failing"]
targets = ["scripted/gpt-4.1-mini", "sandbox/gpt-4o"]

[models."claude"]
targets = ["claude/claude-haiku-4-5"]

[models."gemini"]
targets = ["gemini/gemini-2.5-flash"]

[models."dear"]
targets = ["sandbox/gpt-4o"]

[models."warm"]
targets = ["sandbox/gpt-4o-mini", "remote/gpt-4o-mini"]
balance = "affinity"

[models."cancels"]
targets = ["remote/gpt-4o-mini"]
on_disconnect = "cancel"

[models."cancels-claude"]
targets = ["claude/claude-haiku-4-5"]
on_disconnect = "cancel"

[models."in-haste"]
targets = ["scripted/gpt-4.1-nano"]
timeout_s = 0.6

[models."nobody"]
targets = ["dead/gpt-4o-mini", "dead/gpt-4o"]

[models."gratis"]
targets = ["remote/made-up"]
price = "free"

[models."speaks"]
targets = ["gemini/gemini-2.5-flash-preview-tts"]
price = {{ input = "0.50", output = "10.00", audio_output = "10.00" }}

[models."own-price"]
targets = ["remote/made-up"]
price = {{ input = "1.00", output = "2.00" }}
""" + "".join(
    f'\n[models."falls-back-{way}"]\ntargets = ["{target}"]\nfallbacks = ["{fallback}"]\nretries = 0\n'
    for way, target, fallback in (
        ("to-a-dearer", "scripted/gpt-4.1-mini", "dear"),
        ("to-claude", "scripted/gpt-4.1", "claude"),
        ("to-gemini", "scripted/gpt-4.1", "gemini"),
        ("from-the-dead-to-claude", "dead/gpt-4.1", "claude"),
    )
)


@pytest.fixture(scope="session")
def house(provider: ScriptedProvider, remote_sandbox: str) -> Iterator[LocalBursar]:
    """Run a Bursar with providers near and far, alive and dead."""
    config = HOUSE.format(
        dead_port=free_port(), scripted_url=provider.url, remote_url=remote_sandbox, secret=PROVIDER_SECRET
    )
    local = LocalBursar(config)
    local.environment["SCRIPTED_API_KEY"] = PROVIDER_SECRET
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture
def house_key(house: LocalBursar) -> str:
    return house.create_key(f"house test {next(_numbers)}", "100.00")


@pytest.fixture
def call_in_house(house: LocalBursar) -> Callable[[Any], Row]:
    """Find the record of a response of the house."""
    return lambda response: find_call(house, response.headers["x-bursar-call-id"])


@pytest.fixture(scope="session")
def price_of() -> Callable[[str, Usage], int]:
    """Price usage from the catalogue alone, away from the gateway."""
    book = load()
    return lambda model, usage: total(charge(usage, book.find_any(model).at(time.time_ns() // 1_000, {})))


@pytest.fixture
def openai_client(shared_bursar: LocalBursar, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def gemini_client(shared_bursar: LocalBursar, key: str) -> Iterator[genai.Client]:
    with genai.Client(api_key=key, http_options={"base_url": shared_bursar.url}) as client:
        yield client


@pytest.fixture
def anthropic_client(shared_bursar: LocalBursar, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=shared_bursar.url, api_key=key, max_retries=0) as client:
        yield client


def one_protocol_each(sandbox: str) -> str:
    """Return a configuration whose providers speak one protocol each, all of them one simulated provider."""
    return f"""
[providers.chat]
kind = "openai"
base_url = "{sandbox}/v1"
prices = "openai"

[providers.messages]
kind = "anthropic"
base_url = "{sandbox}/v1"
prices = "anthropic"

[providers.responses]
kind = "openai"
base_url = "{sandbox}/v1"
prices = "openai"
protocols = ["openai_responses"]

[providers.gemini]
kind = "gemini"
base_url = "{sandbox}/v1beta"
prices = "google"

[models.chat]
targets = ["chat/gpt-4o-mini"]

[models.messages]
targets = ["messages/claude-haiku-4-5"]

[models.responses]
targets = ["responses/gpt-4.1-mini"]

[models.gemini]
targets = ["gemini/gemini-2.5-flash"]

[models.either]
targets = ["messages/claude-haiku-4-5", "chat/gpt-4o-mini"]

[models.hears]
targets = ["chat/gpt-audio"]

[models.hears-responses]
targets = ["responses/gpt-audio"]

[models.hears-either]
targets = ["messages/claude-haiku-4-5", "gemini/gemini-2.5-flash"]
"""


@pytest.fixture(scope="session")
def routed(provider: ScriptedProvider) -> Iterator[LocalBursar]:
    yield from run_routed(provider.url)


@pytest.fixture(scope="session")
def translating(remote_sandbox: str) -> Iterator[LocalBursar]:
    """Run a Bursar whose models `chat`, `messages`, `responses` and `gemini` speak that protocol alone."""
    local = LocalBursar(one_protocol_each(remote_sandbox))
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()
