"""Sign requests for providers whose keys do not last: fetched off the hot path, kept, and renewed before they end."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import structlog

from bursar.core.errors import ConfigError
from bursar.core.times import MINUTE_US, SECOND_US
from bursar.gateway.connection import Fault, UpstreamFault
from bursar.gateway.provider import Provider

log = structlog.get_logger()

EARLY_US: Final = 5 * MINUTE_US
"""How long before its end a grant is renewed, beside the calls that still go by it."""

AGAIN_US: Final = 5 * SECOND_US
"""How long after a renewal that failed the next one is tried."""


class Grant(NamedTuple):
    """Hold what a source has given: a token, or keys to sign by. `expires_us` is when it ends, in Unix microseconds."""

    value: Any
    expires_us: int


class Source(Protocol):
    """Be where grants come from."""

    def fetch(self) -> Grant:
        """Ask for a grant. It may take its time, and raise anything: it is called in a thread of its own."""
        ...

    def lines(self, grant: Grant, head: bytes, body: bytes) -> bytes:
        """Return the header lines that a grant adds to one request."""
        ...


class Signer:
    """Keep one provider's grant, and sign its requests."""

    def __init__(self, name: str, source: Source, clock_us: Callable[[], int] | None = None) -> None:
        self._name = name
        self._source = source
        self._clock_us = clock_us or _now_us
        self._grant: Grant | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._again_us = 0
        self._why = "no grant yet"

    async def sign(self, head: bytes, body: bytes, within_s: float) -> bytes:
        """Return a request's head with what signs it. Raises `UpstreamFault` when there is no grant within the time."""
        now_us = self._clock_us()
        grant = self._grant
        if grant is None or now_us >= grant.expires_us - EARLY_US:
            self._renew(now_us)
        if grant is None or now_us >= grant.expires_us:
            grant = await self._wait(within_s)
        return b"%b%b\r\n" % (head[:-2], self._source.lines(grant, head, body))

    def _renew(self, now_us: int) -> None:
        """Begin a renewal, unless one is under way or the last one failed just now."""
        if self._renewal is None and now_us >= self._again_us:
            self._renewal = asyncio.get_running_loop().create_task(self._fetch())

    async def _wait(self, within_s: float) -> Grant:
        if self._renewal is not None:
            # Others wait for it too: whoever has no more time leaves it to them.
            await asyncio.wait([self._renewal], timeout=within_s)
        grant = self._grant
        if grant is None or self._clock_us() >= grant.expires_us:
            raise UpstreamFault(Fault.unreachable, f"no credentials: {self._why}")
        return grant

    async def _fetch(self) -> None:
        try:
            self._grant = await asyncio.to_thread(self._source.fetch)
        except Exception as error:  # noqa: BLE001 - libraries raise what they like, and their words may hold secrets
            self._why, self._again_us = type(error).__name__, self._clock_us() + AGAIN_US
            log.warning("credentials.not_renewed", provider=self._name, error=self._why)
        finally:
            self._renewal = None


def signer_of(name: str, provider: Provider) -> Signer | None:
    """Return what signs a provider's requests; None where its key does. Raises `ConfigError` without the library."""
    # Only who has such a provider loads the libraries, which take their time and memory.
    try:
        if provider.auth == "aws":
            from bursar.gateway.aws import AwsSource

            return Signer(name, AwsSource(provider.region, provider.service))
        if provider.auth == "google":
            from bursar.gateway.google_cloud import GoogleSource

            return Signer(name, GoogleSource(provider.api_key_file))
    except ImportError as error:
        extra = {"aws": "bedrock", "google": "vertex"}[provider.auth]
        raise ConfigError(f"providers.{name}.auth: {error.name} is not installed: it needs the extra {extra}") from None
    return None


def _now_us() -> int:
    return time.time_ns() // 1_000
