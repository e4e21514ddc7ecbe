"""Keep watch: every few seconds look at the budgets that changed, and tell what is to be told.

Any number of keepers may run on one database; one of them works, and should it die another takes its place. A keeper
keeps nothing that matters in memory: it may end at any moment.
"""

import asyncio
import hashlib
import random
import ssl
import time
from typing import Final

import structlog

from bursar.budgets.tree import Tree
from bursar.budgets.webhooks import Outcome, Schedule, next_attempt_us
from bursar.cli.webhook import TIMEOUT_S, send
from bursar.core.errors import BooksError
from bursar.core.times import SECOND_US
from bursar.gateway.config import Alerts
from bursar.store.alerts import (
    DueDelivery,
    become_keeper,
    claim_deliveries,
    make_alerts,
    readdress,
    settle_delivery,
)
from bursar.store.database import AWAY, Connection, connect
from bursar.store.price_alerts import PriceTerms, make_price_alerts

log = structlog.get_logger()

DELIVERIES_MAX: Final = 8
"""How many are under way at once."""

_RETRY_S: Final = 1.0
_PRICES_S: Final = 300.0
_PRICES_PAUSES: Final = 50


def clock_us() -> int:
    """Return the Unix time in microseconds."""
    return time.time_ns() // 1_000


class Keeper:
    """Hold what a keeper works with."""

    def __init__(
        self,
        database_url: str,
        alerts: Alerts,
        *,
        schedule: Schedule | None = None,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        prices_checked: str = "",
    ) -> None:
        self._database_url = database_url
        self._alerts = alerts
        self._schedule = schedule or Schedule()
        self._timeout_s = timeout_s
        self._tls = tls
        self._secret = alerts.secret()
        self._prices = PriceTerms(alerts.divergence_percent, alerts.stale_days, prices_checked, alerts.other_models)
        self._prices_due = 0.0
        self._url_sha256 = hashlib.sha256(alerts.webhook.encode()).digest() if alerts.webhook else None
        self._random = random.Random()  # noqa: S311 - it spreads attempts, nothing is kept secret by it

    async def run(self) -> None:
        """Keep watch until cancelled, however often the database goes away."""
        away = False
        while True:
            try:
                connection = await connect(self._database_url)
                if away:
                    log.info("keeper.books_back")
                away = False
                try:
                    await self._keep(connection)
                finally:
                    connection.terminate()
            except (*AWAY, BooksError) as error:
                if not away:
                    log.warning("keeper.books_away", error=type(error).__name__)
                away = True
            await asyncio.sleep(_RETRY_S)

    async def _keep(self, connection: Connection) -> None:
        while True:
            if await become_keeper(connection):
                break
            await asyncio.sleep(self._alerts.every_s)
        if self._url_sha256 is not None:
            await readdress(connection, self._url_sha256, clock_us())
        tree = None
        while True:
            tree = await self.look(connection, tree)
            while await self.deliver(connection):
                pass
            await self.look_at_prices(connection)  # after what is due: prices can wait a round
            await asyncio.sleep(self._alerts.every_s)

    async def look(self, connection: Connection, tree: Tree | None) -> Tree:
        """Find and write down what is to be told; `tree` is what the last look returned."""
        tree, made = await make_alerts(connection, clock_us(), tree, self._url_sha256)
        for alert in made:
            log.info("alert.made", alert=alert.alert_id, budget=alert.budget_id, kind=alert.kind.value)
        return tree

    async def look_at_prices(self, connection: Connection) -> None:
        """Find what is to be told about prices: every few minutes, and the less often the longer it takes."""
        began = time.monotonic()
        if began < self._prices_due:
            return
        made = await make_price_alerts(connection, self._prices, clock_us(), self._url_sha256)
        for alert in made:
            log.info("alert.made", alert=alert.alert_id, budget=alert.budget_id, kind=alert.kind.value)
        ended = time.monotonic()
        self._prices_due = ended + max(_PRICES_S, (ended - began) * _PRICES_PAUSES)

    async def deliver(self, connection: Connection) -> int:
        """Attempt the deliveries that are due, so many as may be under way at once; returns how many there were."""
        if self._url_sha256 is None:
            return 0
        now_us = clock_us()
        until_us = now_us + round(2 * self._timeout_s * SECOND_US)
        due = await claim_deliveries(connection, self._url_sha256, now_us, until_us, DELIVERIES_MAX)
        ends = await asyncio.gather(*(self._attempt(each) for each in due))
        for delivery, (error, next_us) in zip(due, ends, strict=True):
            await settle_delivery(connection, delivery, error, next_us, clock_us())
        return len(due)

    async def _attempt(self, delivery: DueDelivery) -> tuple[str, int | None]:
        """Send one event; returns what went wrong, if anything, and when to try again."""
        address = self._alerts.webhook
        answer = await send(address, self._secret, delivery.event, clock_us(), self._timeout_s, self._tls)
        if answer.outcome is Outcome.delivered:
            return "", None
        next_us = None
        if answer.outcome is Outcome.again:
            times = (answer.retry_after_s, clock_us(), delivery.made_us)
            next_us = next_attempt_us(self._schedule, delivery.attempts, self._random.random(), *times)
        alert, attempts, error = delivery.alert_id, delivery.attempts, answer.problem
        if next_us is None:
            log.error("webhook.given_up", alert=alert, attempts=attempts, error=error)
        else:
            log.warning("webhook.failed", alert=alert, attempts=attempts, error=error)
        return answer.problem, next_us
