"""Run one gateway worker: take a place at the books, recover what the last life left, serve, and stop in order."""

import asyncio
import contextlib
import secrets
import signal
import socket
import time
from collections.abc import Coroutine, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
import uvicorn

from bursar.budgets.settlement import settle_lost
from bursar.core.errors import BooksError, BursarError, ConfigError, OperatorError
from bursar.core.ids import IdSource
from bursar.core.money import Money
from bursar.core.records import Attempt, AttemptStatus, UsageSource
from bursar.core.times import DAY_US, SECOND_US
from bursar.gateway.app import READY, App
from bursar.gateway.batches.desk import Desk
from bursar.gateway.books import GatewayBooks
from bursar.gateway.calls import Calls
from bursar.gateway.compressing import compressing_of
from bursar.gateway.config import Config, read_config
from bursar.gateway.control import Control
from bursar.gateway.counting import Counting
from bursar.gateway.door import Door
from bursar.gateway.identify import Keys
from bursar.gateway.learning import Learning
from bursar.gateway.listing import Listing
from bursar.gateway.outbox import Outbox
from bursar.gateway.passage import Passage
from bursar.gateway.pool import SWEEP_S
from bursar.gateway.protocol import ClientProtocol, bound_to
from bursar.gateway.proxy import Proxy
from bursar.gateway.reload import Retired, at_next_start, live_settings, made_aside, read_book
from bursar.gateway.routes import Routes
from bursar.gateway.settle import lost_facts
from bursar.gateway.stats import Stats
from bursar.gateway.watch import Watch
from bursar.ledger.journal import Closed, Intent, Settled
from bursar.store.claims import forget_old
from bursar.store.database import Connection
from bursar.store.gateways import (
    Place,
    be_seen,
    cover_shortages,
    gateway_name,
    give_up_dead,
    leases_set_aside,
    open_leases,
    recovered,
)
from bursar.store.journal import GROUP_WAIT_S, Fenced, Journal
from bursar.store.keys import TENANT
from bursar.store.leases import OpenLease, expire_holds, id_of, return_lease, set_aside, take_back
from bursar.store.outcomes import NEWS
from bursar.store.postgres import DataFolder
from bursar.store.reports import recent_lengths
from bursar.store.spool import Position, Spool

if TYPE_CHECKING:
    from bursar.gateway.otel import Exporter

log = structlog.get_logger()

KEYS_READ_S: Final = 5.0
"""How often keys are read again, behind the news of each change."""

_BACKLOG: Final = 4_096

_SEEN_S: Final = 1.0
"""How often a gateway says that it lives."""

_REAP_ROUNDS: Final = 5
_FORGET_ROUNDS: Final = 3_600  # an old claim is replaced when it is in the way; this only makes room

_LENGTHS_MAX: Final = 20_000
_REMEMBERED_US: Final = 7 * DAY_US
"""Answers a new worker learns the usual lengths from: of a week, and no more than this many."""

_DRAIN_LOOK_S: Final = 0.02
_LAST_BYTES_S: Final = 2
"""How long the last bytes may take to clients, once calls have ended or had their time."""

_BOOKS_S: Final = 5.0
"""How long a stopping gateway waits for a database that is away: the spool keeps what it has not taken."""


class WorkerOptions(msgspec.Struct, frozen=True):
    """Hold what the supervisor tells a worker."""

    folder: Path
    spool: Path
    database_url: str
    listener: socket.socket | None  # none where nothing is served
    control_socket: Path
    sandbox_url: str = ""
    config: Path | None = None


def clock_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


class _Server(uvicorn.Server):
    """Be uvicorn's server, without its signal handlers: it would end the process before the books are closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield


class Worker:
    """Hold the parts of a worker and their order of starting and stopping."""

    def __init__(self, config: Config, options: WorkerOptions) -> None:
        self._config = config
        self._options = options
        self._tasks: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()
        folder = DataFolder(options.folder)
        fresh = not options.spool.exists()
        name = gateway_name(options.spool)
        self._spool = Spool(options.spool)
        self._control = Control(options.database_url, name, spool_is_new=fresh)
        self._outbox = Outbox(asyncio.get_running_loop())
        self._proxy = Proxy(str(options.control_socket), self._outbox, config.gateway.trusted_proxies)
        self._routes = Routes(config, read_book(folder.prices, config.prices), self._base_url, self._outbox)
        self._stats = Stats(options.spool.with_suffix(".stats"))
        self._server: uvicorn.Server | None = None
        self._stopping = False
        self._fenced = False
        self._draining = False
        self._retired = Retired()
        self._protocol: type[ClientProtocol]
        self._calls: Calls
        self._keys: Keys
        self._journal: Journal
        self._books: GatewayBooks
        self._watched: Watch
        self._learning: Learning
        self._exporter: Exporter | None = None

    async def run(self) -> None:
        """Serve until told to stop."""
        await self._begin()
        volumes, prices = self._books.settler.volumes, self._config.prices
        await self._control.run(lambda connection: volumes.load(connection, prices, clock_us()))
        self._keys = Keys(self._control, self._books.purses.changed)
        ids = IdSource(secrets.randbits(47))
        calls = Calls(self._config.gateway, self._keys, self._routes, self._books, ids, self._stats)
        calls.compressing = compressing_of(self._config, self._stats, self._routes)
        self._watched = Watch(self._routes, self._books, self._journal, self._spool, self._stats)
        self._stats.watch(self._watched.read)
        self._exporter = self._begin_export(calls)
        await self._keys.load()
        if self._keys.expect:
            since_us = clock_us() - _REMEMBERED_US
            lengths = await self._control.run(lambda connection: recent_lengths(connection, since_us, _LENGTHS_MAX))
            calls.holds.recall(lengths)
        for provider in self._routes.upstreams:
            await self._books.payable(TENANT, provider)
        await self._control.listen(self._heard)
        self._calls = calls
        self._learning = Learning(self._control, calls)
        await self._learning.begin()
        counting = Counting(self._config.gateway, calls, self._routes)
        desk = Desk(self._config.gateway, calls, self._routes, self._control, ids)
        app = App(calls, counting, Listing(calls, self._routes), desk, self._proxy, self._readiness)
        for work in (
            self._journal.run(clock_us),
            self._control.keep_open(),
            self._sweep(),
            self._sync(),
            self._read_keys(),
            self._be_seen(),
            self._learning.run(),
            calls.metering.run(),
            self._read_loads(),
            desk.poller.run(),
        ):
            self._watch(work)
        await self._serve(app)
        await self._stop()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)

    async def recover(self) -> None:
        """Carry what a worker that is not run any more has left into the books, and give its leases back."""
        await self._begin()
        self._watch(self._journal.run(clock_us))
        await self._stop()

    async def _begin(self) -> None:
        """Take the gateway's place and bring its books up to date."""
        place = await self._control.open(clock_us())
        wait = 0.0 if self._config.gateway.durability == "strict" else GROUP_WAIT_S
        url = self._options.database_url
        self._journal = Journal(self._spool, url, place.gateway, place.epoch, group_wait_s=wait)
        await self._journal.open()
        self._books = GatewayBooks(self._config.gateway, self._control, self._journal, self._spool, clock_us)
        await self._recover(place)

    def _begin_export(self, calls: Calls) -> "Exporter | None":
        """Begin to export finished calls, where a collector is configured."""
        otel = self._config.otel
        if not otel.endpoint:
            return None
        try:
            from bursar.gateway.otel import Exporter
        except ImportError as error:
            raise ConfigError(f"otel.endpoint: {error.name} is not installed: it needs the extra otel") from None
        exporter = Exporter(otel, gateway_name(self._options.spool), self._routes.provider_names)
        self._stats.listener, calls.propagates = exporter.take, otel.propagate
        self._stats.watch(exporter.read)
        return exporter

    async def _serve(self, app: App) -> None:
        settings = self._config.gateway
        door = Door(settings.connections_max, settings.connections_per_address_max, self._keys.knows)
        self._protocol = bound_to(self._outbox, door, settings.body_bytes_max)
        config = uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType] - its shapes are ASGI's, named in gateway.asgi
            loop="none",
            http=self._protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=settings.drain_s,
        )
        self._server = _Server(config)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._begin_drain)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: self._watch(self._reload(), forever=False))
        log.info("gateway.ready")
        assert self._options.listener is not None
        await self._server.serve(sockets=[self._options.listener])

    async def _reload(self) -> None:
        """Take in the configuration as it is now; what cannot be taken in leaves everything as it was."""
        async with self._reloading:  # in the order they were asked for
            old, prices_at = self._config, DataFolder(self._options.folder).prices
            try:
                config = read_config(self._options.config)
                routes = Routes(config, read_book(prices_at, config.prices), self._base_url, self._outbox)
                routing = await made_aside(routes, clock_us(), self._calls.routing)
            except Exception as error:  # noqa: BLE001 - whatever it is, calls go on by the configuration there was
                log.error("config.refused", error=str(error) if isinstance(error, OperatorError) else repr(error))
                return
            self._config = msgspec.structs.replace(config, gateway=live_settings(old.gateway, config.gateway))
            self._retired.add(self._routes.upstreams.values(), asyncio.get_running_loop().time())
            self._routes.adopt(routes)
            self._calls.take_settings(self._config.gateway, routing)
            self._learning.hear()
            self._calls.compress_by(compressing_of(self._config, self._stats, self._routes))
            prices, volumes = [price for price in config.prices if price not in old.prices], self._books.settler.volumes
            self._watch(
                self._control.run(lambda connection: volumes.load(connection, prices, clock_us())), forever=False
            )
            log.info("config.reloaded", at_next_start=at_next_start(old, config))

    def _begin_drain(self) -> None:
        if not self._draining:
            self._draining = True
            self._watch(self._drain(), forever=False)

    async def _drain(self) -> None:
        """Refuse new calls, and stop once those under way have ended or had their time."""
        loop, drain_s = asyncio.get_running_loop(), self._config.gateway.drain_s
        log.info("gateway.draining", calls=self._stats.under_way)
        self._calls.drain()
        assert self._server is not None
        self._protocol.stopping = True
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, ClientProtocol):
                connection.answer_last()
        end_by = loop.time() + drain_s
        while self._stats.under_way and loop.time() < end_by:  # noqa: ASYNC110 - counting calls tells nobody
            await asyncio.sleep(_DRAIN_LOOK_S)
        self._server.config.timeout_graceful_shutdown = _LAST_BYTES_S
        self._end()

    def _end(self) -> None:
        """Have the server stop: it takes no more connections and lets what is under way end."""
        if self._server is not None:
            self._server.should_exit = True

    async def _stop(self) -> None:
        """Give back the leases, write down that all is done, and carry everything into the books."""
        self._stopping = True
        # Who was given up can write nothing more before it has begun anew, which is to be soon.
        if not self._fenced:
            await self._close_books()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._journal.close()
        await self._control.close()
        self._spool.close()

    async def _close_books(self) -> None:
        # Leases that cannot go back now do so when the gateway starts again.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._books.purses.close(), _BOOKS_S)
        self._spool.append(Closed(clock_us()))
        try:
            await asyncio.wait_for(self._journal.committed(), _BOOKS_S)
        except TimeoutError:
            log.warning("gateway.books_behind", reason="the database is away; the spool keeps what it has not taken")

    async def _recover(self, place: Place) -> None:
        """Settle what the last life left under way, bring the books up to date, and take its leases back."""
        lost = self._journal.under_way()
        for intent in lost:
            self._spool.append(self._settle_lost(intent))
        if place.given_up:
            await self._control.run(partial(_come_back, place, self._journal.needs()))
        while self._journal.position < self._spool.end:
            await self._journal.commit_group(clock_us())
        if place.may_have_lost:
            await self._control.run(lambda connection: expire_holds(connection, place.gateway, clock_us()))
        leases = await self._control.run(lambda connection: open_leases(connection, place.gateway))
        for lease in leases:
            await self._control.run(partial(_take_back, place, lease))
        if place.may_have_lost or place.given_up:
            await self._control.run(lambda connection: recovered(connection, place))
        if lost or leases:
            log.info("gateway.recovered", calls=len(lost), leases=len(leases), set_aside=place.may_have_lost)

    def _settle_lost(self, intent: Intent) -> Settled:
        """Charge a call whose end nobody wrote down, by policy: what the provider bills is not known."""
        call, now_us, held = intent.call, clock_us(), intent.held_nano
        attempt = Attempt(
            provider=intent.provider,
            model=intent.model or call.model,
            status=AttemptStatus.lost,
            http_status=0,
            started_us=call.opened_us,
            first_byte_us=0,
            ended_us=now_us,
            usage_source=UsageSource.held,
            cost_nano=held - sum(earlier.cost_nano for earlier in intent.earlier),
            error="the gateway ended while this call was under way",
        )
        candidate = self._routes.known(call.model, call.protocol, intent.provider, intent.model)
        if candidate is not None:
            passage = Passage(candidate.wire, call, lost_facts(call), b"", b"")
            passage.held_nano, passage.attempts = held, list(intent.earlier)
            attempt = self._books.settler.price_unknown(passage, candidate, attempt)
        return settle_lost(intent, attempt)

    async def _sweep(self) -> None:
        """Keep time for everything that has a deadline."""
        loop = asyncio.get_running_loop()
        last_us = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for upstream in self._routes.upstreams.values():
                upstream.pool.sweep(now)
            self._retired.sweep(now)
            self._proxy.pool.sweep(now)
            self._sweep_clients(now)
            now_us = clock_us()
            self._watched.look(now_us)
            if now_us - last_us >= SECOND_US:
                last_us = now_us
                self._books.sweep(now_us)
                self._stats.round_trips = self._control.round_trips
                with contextlib.suppress(OSError):  # a full disk stops no call
                    self._stats.write()

    def _sweep_clients(self, now: float) -> None:
        connections = list(self._server.server_state.connections) if self._server is not None else []
        for connection in connections:
            if isinstance(connection, ClientProtocol):
                connection.sweep(now)

    async def _read_loads(self) -> None:
        """Read how full servers are whose prices move with it, each as often as it is set to be."""
        loop, due = asyncio.get_running_loop(), dict[str, float]()
        while True:
            now, asked = loop.time(), list[Coroutine[Any, Any, None]]()
            for name, upstream in self._routes.upstreams.items():
                if upstream.load is not None and now >= due.get(name, 0.0):
                    due[name] = now + upstream.load.settings.every_s
                    asked.append(upstream.load.read(upstream.pool, clock_us))
            await asyncio.gather(*asked)
            await asyncio.sleep(SWEEP_S)

    async def _sync(self) -> None:
        """Make the spool safe from loss of power, about once a second."""
        synced = Position()
        while True:
            await asyncio.sleep(1.0)
            if (end := self._spool.end) != synced:
                await asyncio.to_thread(self._spool.sync)
                synced = end

    async def _read_keys(self) -> None:
        while True:
            await asyncio.sleep(KEYS_READ_S)
            await self._load_keys()

    async def _load_keys(self) -> None:
        try:
            await self._keys.load()
        except BursarError as error:
            log.debug("keys.not_read", error=str(error))

    async def _be_seen(self) -> None:
        """Say that this gateway lives, and give up those that do not. Raises `Fenced` when it was given up itself."""
        rounds = 0
        while True:
            place = self._control.place
            assert place is not None
            with contextlib.suppress(BooksError):  # away: then nobody else sees it either, until it is too long
                if not await self._control.run(lambda connection, place=place: be_seen(connection, place)):
                    raise Fenced("this gateway was given up for dead: it begins anew")
                if rounds % _REAP_ROUNDS == 0:
                    await self._give_up_others()
                if rounds % _FORGET_ROUNDS == 0:
                    await self._control.run(lambda connection: forget_old(connection, clock_us()))
            rounds += 1
            await asyncio.sleep(_SEEN_S)

    async def _give_up_others(self) -> None:
        dead_us = self._config.gateway.dead_after_s * SECOND_US
        for dead in await self._control.run(lambda connection: give_up_dead(connection, dead_us, clock_us())):
            log.warning("gateway.given_up", gateway=dead.name, host=dead.host)

    def _heard(self, news: str) -> None:
        what, _, name = news.partition(":")
        if what == "recall":
            self._books.purses.recall(name)
        elif news == NEWS:
            self._learning.hear()
        else:
            self._watch(self._load_keys(), forever=False)

    def _watch(self, work: Coroutine[Any, Any, None], *, forever: bool = True) -> None:
        """Run something beside the server, which ends when it fails: a gateway without its books must not serve."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.remove(task)
            if task.cancelled() or self._stopping or (not forever and task.exception() is None):
                return
            self._fenced = self._fenced or isinstance(task.exception(), Fenced)
            log.critical("gateway.failed", error=repr(task.exception()))
            self._end()

        task.add_done_callback(ended)

    def _readiness(self) -> dict[str, Any]:
        """Say whether calls are served. Providers that fail take no gateway out: all would go at once."""
        status = READY
        if self._draining:
            status = "draining"
        elif self._config.gateway.durability == "strict" and self._journal.away:
            status = "the books cannot be reached"
        elif not self._spool.takes_calls:
            status = "the spool is full: the database has not taken what is in it"
        return {"status": status, "left_alone": self._routes.left_alone(clock_us())}

    def _base_url(self, name: str) -> str:
        if not self._options.sandbox_url:
            raise ConfigError(f"providers.{name}: no sandbox is running")
        return self._options.sandbox_url


async def _come_back(place: Place, needs: dict[int, Money], connection: Connection) -> None:
    """Take back what was set aside when this gateway was given up, and cover what its calls have spent beyond it."""
    async with connection.transaction():
        for lease in await leases_set_aside(connection, place.gateway):
            await take_back(connection, lease, id_of("come back", lease.account_id, place.epoch), clock_us())
        await cover_shortages(connection, needs, place.epoch, clock_us())


async def _take_back(place: Place, lease: OpenLease, connection: Connection) -> None:
    """Return a lease of the last life to its budget, or set it aside where calls may have been forgotten."""
    if place.may_have_lost:
        await set_aside(connection, lease, clock_us())
    else:
        await return_lease(connection, lease, id_of("take back", lease.account_id, place.epoch), clock_us())
