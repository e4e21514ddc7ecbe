"""Ask a provider for its models, step by step, over a connection of its own: the one request that costs nothing."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

from bursar import __version__
from bursar.api.doctor.findings import Probe
from bursar.core.times import from_datetime

T = TypeVar("T")

STEP_S: Final = 5.0
_HEAD_BYTES_MAX: Final = 64 * 1024
_KEY_HEADERS: Final = {"anthropic": "x-api-key: {}", "gemini": "x-goog-api-key: {}"}


async def probe(
    kind: str, base_url: str, secret: str, context: ssl.SSLContext | None = None, *, key_header: str = ""
) -> Probe:
    """Look the provider's name up, connect, agree on TLS and ask. What fails is named by its step, and no more."""
    parts = urlsplit(base_url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    found = Probe(f"{host}:{port}" if parts.port else host, keyed=bool(secret))
    step, writer = "dns", None
    try:
        began = time.monotonic()
        address = await _look_up(host, port)
        found.dns_ms, step, began = _since(began), "connect", time.monotonic()
        reader, writer = await _in_time(asyncio.open_connection(address, port, limit=_HEAD_BYTES_MAX))
        found.connect_ms, step, began = _since(began), "tls", time.monotonic()
        if secure:
            await _in_time(writer.start_tls(context or ssl.create_default_context(), server_hostname=host))
            found.tls_ms, began = _since(began), time.monotonic()
        step = "answer"
        writer.write(_request(kind, parts.netloc, parts.path.rstrip("/"), _key_line(kind, key_header, secret)))
        _read_head(await _in_time(reader.readuntil(b"\r\n\r\n")), found)
        found.answer_ms = _since(began)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        found.error = f"{step} failed: {_word(error)}"
    finally:
        if writer is not None:
            writer.transport.abort()
    return found


async def _look_up(host: str, port: int) -> str:
    found = await _in_time(asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return str(found[0][4][0])


async def _in_time(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, STEP_S)


def _key_line(kind: str, key_header: str, secret: str) -> str:
    usual = _KEY_HEADERS.get(kind, "authorization: Bearer {}")
    return (f"{key_header}: {{}}" if key_header else usual).format(secret) if secret else ""


def _request(kind: str, netloc: str, path: str, key_line: str) -> bytes:
    lines = [
        f"GET {path}/models HTTP/1.1",
        f"host: {netloc.rpartition('@')[2]}",
        f"user-agent: bursar/{__version__}",
        "accept: application/json",
        "connection: close",
    ]
    if kind == "anthropic":
        lines.append("anthropic-version: 2023-06-01")
    if key_line:
        lines.append(key_line)
    return "\r\n".join([*lines, "", ""]).encode()


def _read_head(head: bytes, found: Probe) -> None:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise ValueError("not HTTP")
    found.status = int(rest[:3])
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "date":
            found.date_us = _moment(value.strip())


def _moment(text: str) -> int:
    try:
        return from_datetime(parsedate_to_datetime(text))
    except (ValueError, TypeError):  # no date, or one without a zone
        return 0


def _word(error: Exception) -> str:
    """Name an error by a few words that hold no address and no secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return f"nothing within {STEP_S:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1_000)
