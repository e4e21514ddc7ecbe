"""Count what has been used of prices that depend on it: volume discounts and free allowances."""

from bursar.core.times import day_text
from bursar.core.usage import Usage
from bursar.gateway.routes import Candidate
from bursar.prices.charge import UsedSoFar, used_after


class Volumes:
    """Count what has been used of prices that depend on it, by price and period."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], UsedSoFar] = {}

    def start(self, candidate: Candidate, period: str, used: UsedSoFar) -> None:
        """Take in what was used before this gateway started."""
        self._used[candidate.price.provider, candidate.price.model, period] = used

    def used(self, candidate: Candidate, at_us: int) -> UsedSoFar:
        """Return what has been used of a price in the current period."""
        volume = candidate.price.volume
        if volume is None:
            return {}
        return self._used.get(self._key(candidate, volume.period, at_us), {})

    def add(self, candidate: Candidate, usage: Usage, at_us: int) -> None:
        """Count a call in."""
        volume = candidate.price.volume
        if volume is not None:
            key = self._key(candidate, volume.period, at_us)
            self._used[key] = used_after(usage, self._used.get(key, {}))

    @staticmethod
    def _key(candidate: Candidate, period: str, at_us: int) -> tuple[str, str, str]:
        return candidate.price.provider, candidate.price.model, period_name(period, at_us)


def period_name(period: str, at_us: int) -> str:
    """Name the period a moment lies in: its day, its month, or the whole time."""
    return {"day": day_text(at_us), "month": day_text(at_us)[:7]}.get(period, "total")
