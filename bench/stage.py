"""Set up what is measured: a gateway on one core; its PostgreSQL, the provider and the load on the other."""

import contextlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.harness import LocalBursar, free_port, serving

_CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, OTHER_CORE = _CORES[0], _CORES[-1]
MODEL = "gpt-4o-mini"
SATURATING = (32, 128)
"""Connections at once that are tried to find out what a gateway can do: the better counts."""
_CONFIG = """
[gateway]
durability = "{durability}"

[providers.mock]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
prices = "openai"
connections_max = 10_000

[models."gpt-4o-mini"]
targets = ["mock/gpt-4o-mini"]

[models."text-embedding-3-small"]
targets = ["mock/text-embedding-3-small"]
"""
EMBEDDED = b"""{"input":"%b","model":"text-embedding-3-small","encoding_format":"base64"}""" % (
    b"How do I change the address that my card is sent to?"
)
"""A request for the vector of a text of 12 words, as OpenAI's client words it."""
_SYSTEM = "You are a helpful assistant. " * 6
_USER = "Tell me about the weather in Paris, please. " * 8
_SENTENCE = "The committee met on Tuesday to discuss the second draft of the report. "
_SENTENCE_TOKENS = 14  # with o200k_base, the encoding of the model asked


def chat_body(*, model: str = MODEL, user: str = _USER, cap: int = 100, stream: bool = False) -> bytes:
    """Word a chat request; 640 bytes unless said otherwise."""
    streams = ',"stream":true' if stream else ""
    return (
        f'{{"model":"{model}","messages":[{{"role":"system","content":"{_SYSTEM}"}},'
        f'{{"role":"user","content":"{user}"}}],"temperature":0.2,"max_tokens":{cap}{streams}}}'
    ).encode()


def long_prompt(tokens: int) -> str:
    """Write an English prompt of about so many tokens."""
    return _SENTENCE * (tokens // _SENTENCE_TOKENS)


def request(port: int, body: bytes, headers: dict[str, str] | None = None, path: str = "/v1/chat/completions") -> bytes:
    """Return the bytes of a request."""
    fields = {"host": f"127.0.0.1:{port}", "content-type": "application/json"} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def bearer(secret: str) -> dict[str, str]:
    """Return the header that holds a key."""
    return {"authorization": f"Bearer {secret}"}


@contextlib.contextmanager
def mock(delay_ms: int = 0, interval_ms: int = 0) -> Iterator[int]:
    """Run the provider on the other core, and yield its port."""
    port = free_port()
    with serving(["bench.mock", str(port), str(delay_ms), str(interval_ms)], port, core=OTHER_CORE):
        yield port


@contextlib.contextmanager
def gateway(mock_port: int, durability: str = "fast") -> Iterator[tuple[LocalBursar, str]]:
    """Run a gateway before a provider; yield it and the secret of a key with a budget; check its books at the end."""
    local = LocalBursar(_CONFIG.format(port=mock_port, durability=durability), core=OTHER_CORE)
    try:
        local.start()
        os.sched_setaffinity(local.child_pids("worker")[0], {GATEWAY_CORE})
        yield local, local.create_key("bench", "1000000")
        found = local.audit()
        assert not found.findings, found.findings[0]
        assert local.stop() == 0, local.last_words()
    finally:
        if local.process is not None and local.process.poll() is None:
            local.kill_all()
        local.remove()


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process on one core for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def metric(local: LocalBursar, name: str) -> float:
    """Return a value of the gateway's `/metrics`, summed over its labels."""
    with urllib.request.urlopen(f"{local.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(maxsplit=1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used, the kernel's part included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Return a figure of a process's memory, in MB of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"process {pid} has no {field}")
