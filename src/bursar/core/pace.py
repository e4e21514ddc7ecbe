"""Bound how often something may be done, without a clock of its own."""


class Pace:
    """Allow so many at once, and so many a second after that."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = float(burst)
        self._seen_s = 0.0

    def take(self, now_s: float) -> bool:
        """Take one, if there is one."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._seen_s) * self._per_s)
        self._seen_s = max(now_s, self._seen_s)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
