"""Take in a changed configuration while calls go on.

New calls go by the new one, those under way by the one they began with.
"""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from bursar.gateway.config import Config, Settings
from bursar.gateway.outbox import Outbox
from bursar.gateway.routes import Routes, Upstream
from bursar.gateway.routing import Routing
from bursar.prices.book import Book, with_prices
from bursar.prices.price import Price

LIVE: Final = (
    "attempts_max",
    "call_timeout_s",
    "calls_max",
    "metrics_from",
    "on_disconnect",
    "output_cap",
    "previous_responses",
    "retries",
    "retry_lost",
    "retry_wait_max_s",
    "smaller_floor",
    "smaller_share_percent",
)
"""Settings of the gateway that hold for the next call; the others are built in when it starts."""

_RETIRED_S: Final = 120.0
"""How long a provider is kept at least that is configured no more: a call may have chosen it and not begun."""


def read_book(path: Path, prices: list[Price]) -> Book:
    """Read the compiled catalogue, and put the operator's own prices before it."""
    return with_prices(msgspec.msgpack.decode(path.read_bytes(), type=Book), prices)


def check_config(config: Config, prices: Path) -> None:
    """Check all that a worker would find wrong with a configuration when it starts. Raises `ConfigError`."""
    outbox = Outbox(asyncio.get_running_loop())
    routes = Routes(config, read_book(prices, config.prices), lambda _name: "http://127.0.0.1:1/v1", outbox)
    Routing(routes, time.time_ns() // 1_000)
    config.alerts.secret()


async def made_aside(routes: Routes, now_us: int, before: Routing) -> Routing:
    """Return a routing made beside the calls that go on: weights of embedders are read, and promises calibrated.

    Raises `ConfigError`.
    """
    routing = await asyncio.to_thread(Routing, routes, now_us, before)
    routing.corrections = before.corrections  # which may have been told more meanwhile
    return routing


def live_settings(old: Settings, new: Settings) -> Settings:
    """Return the old settings with those of the new that can change while calls go on."""
    return msgspec.structs.replace(old, **{name: getattr(new, name) for name in LIVE})


def at_next_start(old: Config, new: Config) -> list[str]:
    """Name what has changed and cannot before the next start."""
    changed = [
        f"gateway.{name}"
        for name in Settings.__struct_fields__
        if name not in LIVE and getattr(old.gateway, name) != getattr(new.gateway, name)
    ]
    return changed + ["otel"] * (old.otel != new.otel)


class Retired:
    """Hold the providers of earlier configurations until their calls have ended."""

    def __init__(self) -> None:
        self._upstreams: list[tuple[Upstream, float]] = []

    def add(self, upstreams: Iterable[Upstream], now: float) -> None:
        """Take providers that are asked by no new call."""
        self._upstreams += [(upstream, now + _RETIRED_S) for upstream in upstreams]

    def sweep(self, now: float) -> None:
        """Keep the deadlines of their calls, and close them once there are none."""
        for each in list(self._upstreams):
            upstream, until = each
            upstream.pool.sweep(now)
            if now > until and not upstream.pool.busy:
                upstream.pool.close()
                self._upstreams.remove(each)
