"""Price by load: read how full a provider's own servers are, and move its prices by the published formula.

A call is held for at the price of a full server and charged at the price of the moment it began. A reading that has
grown old moves nothing: then the price is the one that was set.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from math import isfinite
from typing import Final

import msgspec
import structlog
from prometheus_client.parser import text_string_to_metric_families

from bursar.core.times import SECOND_US
from bursar.gateway.connection import Fault, UpstreamFault
from bursar.gateway.pool import Pool
from bursar.gateway.provider import ByLoad
from bursar.physics.dynamic import Curve, factor_ppm, moved_nano
from bursar.physics.utilisation import GAUGES, utilisation_ppm
from bursar.prices.price import Rate, RateCard
from bursar.prices.units import MILLION

log = structlog.get_logger()

_HEAD: Final = (
    b"GET %b HTTP/1.1\r\nhost: %b\r\naccept: text/plain\r\naccept-encoding: identity\r\nuser-agent: bursar\r\n\r\n"
)
_PER_CENT: Final = 10_000
_READINGS_MAX: Final = 4_096
"""Readings kept, the oldest going first: of more than five hours at one every five seconds."""


class Load:
    """Hold how full one provider's servers have been, and the prices that follow from it."""

    def __init__(self, by_load: ByLoad) -> None:
        self.settings = by_load
        self.path = by_load.path
        self.failing = False
        percents = (by_load.reference_percent, by_load.least_percent, by_load.most_percent)
        self._curve = Curve(*(percent * _PER_CENT for percent in percents))
        self._times: deque[int] = deque(maxlen=_READINGS_MAX)
        self._percents: deque[int] = deque(maxlen=_READINGS_MAX)
        self._moved: dict[tuple[str, int], RateCard] = {}

    def note(self, at_us: int, utilisation: int) -> None:
        """Note a reading, in parts per million. Whole percents are told apart: so few prices are easily looked up."""
        if not self._times or at_us > self._times[-1]:
            self._times.append(at_us)
            self._percents.append(min(100, round(utilisation / _PER_CENT)))

    def percent(self, at_us: int) -> int | None:
        """Return the utilisation known at a moment; None where the last reading before it was too old."""
        place = bisect_right(self._times, at_us)
        if not place or at_us - self._times[place - 1] > self.settings.stale_s * SECOND_US:
            return None
        return self._percents[place - 1]

    def card(self, card: RateCard, at_us: int) -> RateCard:
        """Return the rates of a call that began at a moment."""
        percent = self.percent(at_us)
        return card if percent is None else self._card(card, percent)

    def dearest(self, card: RateCard) -> RateCard:
        """Return the rates of a full server, which no call exceeds."""
        return self._card(card, 100)

    def _card(self, card: RateCard, percent: int) -> RateCard:
        key = (card.price_id, percent)
        found = self._moved.get(key)
        if found is None:
            found = self._moved[key] = _moved(card, percent, self._curve)
        return found

    async def read(self, pool: Pool, clock_us: Callable[[], int]) -> None:
        """Ask the server. What cannot be read is told once, and the price falls back to the one that was set."""
        timeouts = pool.timeouts.within(self.settings.every_s)
        head = _HEAD % (self.path.encode(), pool.host_header)
        try:
            connection = pool.take_idle() or await pool.open(timeouts.connect_s)
            response = await connection.exchange((head, b""), timeouts)
        except UpstreamFault as fault:
            if fault.fault is not Fault.stale:  # the next reading takes another connection
                self._tell(str(fault))
            return
        if response.stream is not None:
            response.stream.abort()
            self._tell("it answers by a stream of events")
        elif response.status != 200:
            self._tell(f"it answers {response.status}")
        else:
            self._take(response.body, clock_us())  # no call that began before it knows of it

    def _take(self, body: bytes, now_us: int) -> None:
        try:
            families = text_string_to_metric_families(body.decode())
            samples = [
                (sample.name, sample.value)
                for family in families
                for sample in family.samples
                if isfinite(sample.value)
            ]
        except ValueError:  # UnicodeDecodeError is one
            self._tell("its metrics cannot be read")
            return
        found = utilisation_ppm(samples, GAUGES[self.settings.metrics], self.settings.places)
        if found is None:
            self._tell(f"it has no {GAUGES[self.settings.metrics].running}")
            return
        self.failing = False
        self.note(now_us, found)

    def _tell(self, why: str) -> None:
        if not self.failing:
            log.warning("load.not_read", path=self.path, reason=why)
        self.failing = True


def _moved(card: RateCard, percent: int, curve: Curve) -> RateCard:
    """Return a card's rates moved by load. Its name says by how much, so that the rates can be derived from it."""
    utilisation = percent * _PER_CENT
    if factor_ppm(utilisation, curve) == MILLION:
        return card
    rates = {
        leaf: Rate(
            moved_nano(rate.base_nano, utilisation, curve),
            tuple((above, moved_nano(nano, utilisation, curve)) for above, nano in rate.tiers),
        )
        for leaf, rate in card.rates.items()
    }
    name, mark, digest = card.price_id.rpartition("#")
    bounds = f"{curve.least_ppm // _PER_CENT}-{curve.reference_ppm // _PER_CENT}-{curve.most_ppm // _PER_CENT}"
    return msgspec.structs.replace(card, rates=rates, price_id=f"{name};load={percent},{bounds}{mark}{digest}")
