"""Read what a worker's parts show of themselves, for its gauges: leases, journal, spool, connections, prices."""

from collections import deque
from collections.abc import Iterator

from bursar.core.money import NANO_PER_USD
from bursar.core.times import SECOND_US, moment_from_text
from bursar.gateway.books import GatewayBooks
from bursar.gateway.health import State
from bursar.gateway.routes import Routes
from bursar.gateway.stats import Reading, Stats
from bursar.store.journal import Journal
from bursar.store.spool import Position, Spool


class Lag:
    """Say how long the oldest entry that is not in the books has been waiting, to within the time between looks."""

    def __init__(self) -> None:
        self._looks: deque[tuple[Position, int]] = deque()

    def look(self, end: Position, booked: Position, now_us: int) -> int:
        """Take note of where the spool ends and how far the books are; returns the lag in microseconds."""
        if end > booked and (not self._looks or self._looks[-1][0] < end):
            self._looks.append((end, now_us))
        while self._looks and self._looks[0][0] <= booked:
            self._looks.popleft()
        return max(0, now_us - self._looks[0][1]) if self._looks else 0


class Watch:
    """Hold the parts that are watched."""

    def __init__(self, routes: Routes, books: GatewayBooks, journal: Journal, spool: Spool, stats: Stats) -> None:
        self._routes = routes
        self._stats = stats
        self._books = books
        self._journal = journal
        self._spool = spool
        self._lag = Lag()
        self._lag_us = 0

    def look(self, now_us: int) -> None:
        """Look at the journal: a few times a second."""
        self._lag_us = self._lag.look(self._spool.end, self._journal.position, now_us)

    def read(self) -> Iterator[Reading]:
        """Read every gauge."""
        free, held = self._books.purses.standing()
        yield Reading("bursar_lease_free_usd", free / NANO_PER_USD)  # floats, as Prometheus wants them
        yield Reading("bursar_lease_held_usd", held / NANO_PER_USD)  # floats, as above
        yield Reading("bursar_journal_lag_bytes", self._spool.bytes_after(self._journal.position))
        yield Reading("bursar_journal_lag_seconds", self._lag_us / SECOND_US)
        yield Reading("bursar_spool_bytes", self._spool.bytes_on_disk)
        yield Reading("bursar_database_away", int(self._journal.away))
        for name, upstream in self._routes.upstreams.items():
            yield Reading("bursar_upstream_connections", upstream.pool.size, (name,))
            yield Reading("bursar_upstream_busy", upstream.pool.busy, (name,))
        now_us = self._books.clock_us()
        yield from self._breakers(now_us)
        if self._routes.prices_checked:
            age_us = now_us - moment_from_text(self._routes.prices_checked)
            yield Reading("bursar_price_age_seconds", age_us // SECOND_US)

    def _breakers(self, now_us: int) -> Iterator[Reading]:
        """Say of each target that has had trouble lately whether calls keep away from it, and count what it had."""
        for name, upstream in self._routes.upstreams.items():
            for model, health in upstream.healths.items():
                if health.trips or health.strayed:
                    self._stats.count_target(name, model, health.trips, health.strayed)
                    health.trips = health.strayed = 0
                if health.troubled:
                    state, target = health.state(now_us), (name, model)
                    yield Reading("bursar_breaker_open", int(state is State.open), target)
                    yield Reading("bursar_breaker_half_open", int(state is State.half_open), target)
                    yield Reading("bursar_target_rests", int(health.rests(now_us)), target)
