"""Install other gateways, start each on one core before the provider, check that it answers, and measure it.

    python -m bench.peers     installs them all into .peers/, and tells which could not be

Versions are pinned; they come by ordinary pip and npm. Nothing of theirs is in this repository.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import msgspec

from bench.harness import ROOT, children_of, free_port, pinned
from bench.stage import GATEWAY_CORE, MODEL, SATURATING, chat_body, memory_mb

FOLDER = ROOT / ".peers"
INSTALL_S, START_S, STOP_S = 600, 60, 10
CHAT = "/v1/chat/completions"


class Missing(Exception):
    """Say why a peer cannot be measured here."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Say how a gateway is installed, started and asked.

    In files, command, environment and headers `$port` is its port, `$mock` the provider's, `$key` a key made for the
    run and `$home` where it is installed. `elsewhere_rps` was measured on another machine (see the lab notes).
    """

    id: str
    name: str
    version: str
    does: str
    elsewhere_rps: float = 0.0
    packages: tuple[str, ...] = ()
    node_packages: dict[str, str] = {}
    files: dict[str, str] = {}
    command: tuple[str, ...]
    environment: dict[str, str] = {}
    headers: dict[str, str] = {}
    enter: Callable[[int, str], dict[str, str]] | None = None  # with its port and key: more headers
    tells_port: bool = False
    connections: tuple[int, ...] = SATURATING  # at once; the better counts
    path: str = CHAT
    model: str = MODEL


class Started(NamedTuple):
    """Hold a peer that runs: where it listens, what it wants to be told, and its processes."""

    port: int
    headers: dict[str, str]
    pids: list[int]


def _enter_any_llm(port: int, key: str) -> dict[str, str]:
    """Make a key, as its users do, and return the header that holds it."""
    found = _post(port, "/v1/keys", {"key_name": "bench"}, {"X-AnyLLM-Key": f"Bearer {key}"})
    return {"X-AnyLLM-Key": f"Bearer {json.loads(found)['key']}"}


_TENSORZERO = """
from tensorzero.tensorzero import _start_http_gateway
import threading
gateway = _start_http_gateway(
    config_file="tensorzero.toml", clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(gateway.base_url, flush=True)
threading.Event().wait()
"""
_TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false
[models."gpt-4o-mini"]
routing = ["openai"]
[models."gpt-4o-mini".providers.openai]
type = "openai"
model_name = "gpt-4o-mini"
api_base = "http://127.0.0.1:$mock/v1/"
api_key_location = "none"
"""
_LITELLM_CONFIG = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:$mock/v1", api_key: sk-mock}
litellm_settings: {telemetry: false}
"""
_ANY_LLM_CONFIG = """
database_url: "sqlite:///anyllm.db"
host: "127.0.0.1"
port: $port
master_key: "$key"
providers: {openai: {api_key: "sk-mock", api_base: "http://127.0.0.1:$mock/v1"}}
pricing: {"openai:gpt-4o-mini": {input_price_per_million: 0.15, output_price_per_million: 0.60}}
"""
# Newer releases of these three break every stream: "TypeError: immutable" (Portkey-AI/gateway #1389).
_PORTKEY_PINS = {"@hono/node-server": "1.13.5", "hono": "4.9.7", "@hono/node-ws": "1.2.0"}

PEERS = (
    Peer(
        id="tensorzero",
        name="TensorZero, HTTP listener",
        version="2026.6.0",
        does="forwarding; no keys, budgets or log",
        elsewhere_rps=14_048,
        packages=("tensorzero==2026.6.0",),
        files={"server.py": _TENSORZERO, "tensorzero.toml": _TENSORZERO_CONFIG},
        command=("$home/venv/bin/python", "server.py"),
        tells_port=True,
        path="/openai/v1/chat/completions",
        model="tensorzero::model_name::gpt-4o-mini",
    ),
    Peer(
        id="portkey",
        name="Portkey",
        version="1.15.2",
        does="forwarding; no keys, budgets or log",
        elsewhere_rps=1_449,
        node_packages={"@portkey-ai/gateway": "1.15.2", **_PORTKEY_PINS},
        command=(
            "node",
            "$home/node_modules/@portkey-ai/gateway/build/start-server.js",
            "--headless",
            "--port=$port",
        ),
        environment={"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"},
        headers={
            "authorization": "Bearer sk-mock",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": "http://127.0.0.1:$mock/v1",
        },
    ),
    Peer(
        id="any_llm",
        name="any-llm-gateway",
        version="1.10.0",
        does="keys, budgets and a log in SQLite; with 32 connections it stops answering",
        packages=("any-llm-sdk[gateway,openai]==1.10.0",),
        files={"anyllm.yaml": _ANY_LLM_CONFIG},
        command=("$home/venv/bin/any-llm-gateway", "serve", "-c", "anyllm.yaml"),
        enter=_enter_any_llm,
        connections=(8,),
        model="openai:gpt-4o-mini",
    ),
    Peer(
        id="litellm",
        name="LiteLLM proxy, 1 worker, no database",
        version="1.106.2",
        does="key check, routing, cost in memory; no budgets, no log",
        elsewhere_rps=163,
        packages=("litellm[proxy]==1.106.2",),
        files={"litellm.yaml": _LITELLM_CONFIG},
        command=(
            *("$home/venv/bin/litellm", "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", "$port"),
            *("--num_workers", "1"),
        ),
        environment={"LITELLM_MASTER_KEY": "$key", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        headers={"authorization": "Bearer $key"},
    ),
)


def install(peer: Peer, folder: Path = FOLDER) -> Path:
    """Install a peer unless this version is there, and return where. Raises `Missing` with the reason."""
    home = folder / peer.id
    mark = home / "installed"
    wanted = json.dumps([peer.version, peer.packages, peer.node_packages])
    if mark.exists() and mark.read_text() == wanted:
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    if peer.packages:
        pip = [str(home / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        run_tool([sys.executable, "-m", "venv", str(home / "venv")], home)
        run_tool([*pip, *peer.packages], home)
    if peer.node_packages:
        manifest = {"private": True, "dependencies": peer.node_packages, "overrides": _PORTKEY_PINS}
        (home / "package.json").write_text(json.dumps(manifest))
        run_tool(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], home)
    mark.write_text(wanted)
    return home


def run_tool(command: list[str], folder: Path) -> None:
    """Run what installs something. Raises `Missing` with its last word when it fails."""
    tool = f"{Path(command[0]).name} {' '.join(command[1:4])}"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S)
    except OSError as error:
        raise Missing(f"{tool}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{tool} took more than {INSTALL_S} s") from error
    if done.returncode:
        words = re.sub(r"https?://\S+", "...", done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Missing(f"{tool} ended with {done.returncode}: {words[-1][:200] if words else 'no word'}")


@contextlib.contextmanager
def started(peer: Peer, mock_port: int, folder: Path = FOLDER) -> Iterator[Started]:
    """Run an installed peer on the gateway's core for a while. Raises `Missing` when it does not come up."""
    run_folder = Path(tempfile.mkdtemp(prefix="bursar-peer-"))
    words = {"port": str(free_port()), "mock": str(mock_port), "key": f"sk-{secrets.token_hex(32)}"}
    words["home"] = str(folder / peer.id)

    def fill(text: str) -> str:
        return Template(text).substitute(words)

    for name, text in peer.files.items():
        (run_folder / name).write_text(fill(text))
    log = run_folder / "log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [fill(word) for word in peer.command],
                cwd=run_folder,
                env=os.environ | {name: fill(value) for name, value in peer.environment.items()},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned(GATEWAY_CORE),
            )
    except OSError as error:
        shutil.rmtree(run_folder, ignore_errors=True)
        raise Missing(f"{peer.command[0]}: {error.strerror}") from error
    try:
        port = _wait_port(peer, process, log, int(words["port"]))
        headers = {name: fill(value) for name, value in peer.headers.items()}
        if peer.enter is not None:
            headers |= peer.enter(port, words["key"])
        yield Started(port, headers, [process.pid, *children_of(process.pid)])
    finally:
        _stop(process)
        shutil.rmtree(run_folder, ignore_errors=True)


def _wait_port(peer: Peer, process: subprocess.Popen[bytes], log: Path, port: int) -> int:
    """Wait until a peer listens, and return where."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        told = re.search(rb"http://127\.0\.0\.1:(\d+)", log.read_bytes()) if peer.tells_port else None
        port = int(told[1]) if told else port
        if not peer.tells_port or told:
            with contextlib.suppress(OSError, urllib.error.URLError):
                _post(port, "/", {}, {})
                return port
        time.sleep(0.1)
    words = log.read_text(errors="replace").strip().splitlines()
    raise Missing(f"it does not start: {words[-1][:200] if words else 'no word'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a peer and what it started."""
    pids = [*children_of(process.pid), process.pid]
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for pid in pids:
        if process.poll() is None or pid != process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _post(port: int, path: str, body: Any, headers: dict[str, str]) -> bytes:
    """Post something and return the answer, whatever its status."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()


def check_json(port: int, path: str, model: str, headers: dict[str, str]) -> str:
    """Ask for an answer; empty when it is the provider's, else what is wrong with it."""
    answer = _post(port, path, chat_body(model=model), headers)
    try:
        found = json.loads(answer)
        said, tokens = found["choices"][0]["message"]["content"], found["usage"]["completion_tokens"]
    except (ValueError, LookupError, TypeError):
        return f"no chat completion: {answer[:120]!r}"
    return "" if said.startswith("The quick brown fox") and tokens == 64 else f"another answer: {answer[:120]!r}"


def check_stream(port: int, path: str, model: str, headers: dict[str, str]) -> str:
    """Ask for a stream of five tokens; empty when all of it comes, else what is wrong with it."""
    answer = _post(port, path, chat_body(model=model, cap=5, stream=True), headers)
    tokens = answer.count(b'" token"')
    return "" if tokens == 5 and b"data: [DONE]" in answer else f"{tokens} of 5 tokens: {answer[:120]!r}"


def memory_of(pids: list[int]) -> float:
    """Return the resident memory of processes together, in MB."""
    total_mb = 0.0
    for pid in pids:
        with contextlib.suppress(OSError, LookupError):
            total_mb += memory_mb(pid)
    return total_mb


def main() -> None:
    """Install every peer."""
    for peer in PEERS:
        try:
            print(f"{peer.name} {peer.version}: {install(peer).relative_to(ROOT)}")
        except Missing as reason:
            print(f"{peer.name} {peer.version}: missing: {reason}")


if __name__ == "__main__":
    main()
