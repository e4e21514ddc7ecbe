"""Send one signed event to a webhook, and say how that went.

The address is the configured one and no other: a redirection is an answer, not a way. Errors are single words, so that
neither the address nor the secret can be in them.
"""

import asyncio
import base64
import re
import socket
import ssl
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from bursar import __version__
from bursar.budgets.webhooks import DELIVERY_HEADER, SIGNATURE_HEADER, Event, Outcome, judge, retry_after_s, sign
from bursar.core.times import SECOND_US

TIMEOUT_S: Final = 15.0
_HEAD_BYTES_MAX: Final = 32_768
_STATUS: Final = re.compile(r"[1-5][0-9]{2}")


class Answer(msgspec.Struct, frozen=True):
    """Say what a receiver answered; without a status, `error` says why there was none."""

    status: int | None
    error: str = ""
    retry_after_s: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """Say what it means."""
        return judge(self.status)

    @property
    def problem(self) -> str:
        """Name what went wrong in a word; empty where nothing did."""
        return "" if self.outcome is Outcome.delivered else self.error or f"status_{self.status}"


async def send(
    address: str,
    secret: bytes,
    event: Event,
    now_us: int,
    timeout_s: float = TIMEOUT_S,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send an event and wait for the status of the answer. Certificates are verified, by `context` if it is given."""
    try:
        async with asyncio.timeout(timeout_s):
            head = await _exchange(address, _request(address, secret, event, now_us), context)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return Answer(None, _word(error))
    status, headers = head
    return Answer(status, retry_after_s=retry_after_s(headers.get("retry-after", ""), now_us))


def _request(address: str, secret: bytes, event: Event, now_us: int) -> bytes:
    body = msgspec.json.encode(event)
    parts = urlsplit(address)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {parts.netloc.rpartition('@')[2]}",
        f"user-agent: bursar/{__version__}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"{SIGNATURE_HEADER}: {sign(secret, body, now_us // SECOND_US)}",
        f"{DELIVERY_HEADER}: {event.id}",
        "connection: close",
    ]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _exchange(address: str, request: bytes, context: ssl.SSLContext | None) -> tuple[int, dict[str, str]]:
    """Send a request over a connection of its own and read the head of its answer."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    tls = (context or ssl.create_default_context()) if secure else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=_HEAD_BYTES_MAX)
    try:
        writer.write(request)
        await writer.drain()
        while True:
            status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            if status >= 200:  # what comes before is only news of it
                return status, headers
    finally:
        writer.transport.abort()


def _head(data: bytes) -> tuple[int, dict[str, str]]:
    """Read a status and headers. Raises `ValueError` for what is no HTTP."""
    first, *lines = data.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not words[0].startswith("HTTP/1.") or len(words) < 2 or not _STATUS.fullmatch(words[1]):
        raise ValueError("no HTTP")
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _word(error: Exception) -> str:
    words = {
        TimeoutError: "timeout",
        ssl.SSLCertVerificationError: "certificate",
        ssl.SSLError: "tls",
        ConnectionRefusedError: "refused",
        socket.gaierror: "unknown_host",
        ConnectionError: "cut",
        OSError: "unreachable",
        EOFError: "cut",
    }
    return next((word for kind, word in words.items() if isinstance(error, kind)), "no_http")
