"""Count what has been used of prices that depend on it: volume discounts and free allowances."""

from collections.abc import Iterable

from bursar.budgets.budget import Terms, Window, period_at
from bursar.core.usage import Usage
from bursar.gateway.routes import Candidate
from bursar.prices.charge import UsedSoFar, used_after
from bursar.prices.price import Price, Volume
from bursar.store.database import Connection
from bursar.store.reports import used_within


class Volumes:
    """Count what has been used of each provider's model in the current period of its price."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], UsedSoFar] = {}

    async def load(self, connection: Connection, prices: Iterable[Price], now_us: int) -> None:
        """Take in what was used in the current periods before this gateway started."""
        for price in prices:
            if price.volume is not None:
                period = period_at(Terms(None, Window(price.volume.period)), now_us)
                bounds = period.start_us, period.end_us
                for provider, usage in (await used_within(connection, *bounds, price.model)).items():
                    self._used[provider, price.model, period.name] = used_after(usage, {})

    def use(self, candidate: Candidate, usage: Usage, at_us: int) -> UsedSoFar:
        """Count a call in, and return what had been used before it."""
        volume = candidate.price.volume
        assert volume is not None
        return self.count(candidate.upstream.name, candidate.model, volume, usage, at_us)

    def count(self, provider: str, model: str, volume: Volume, usage: Usage, at_us: int) -> UsedSoFar:
        """Count in what was used of a model at a moment, and return what had been used before."""
        key = provider, model, period_at(Terms(None, Window(volume.period)), at_us).name
        used = self._used.get(key, {})
        self._used[key] = used_after(usage, used)
        return used
