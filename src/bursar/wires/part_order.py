"""Put the parts of a streamed answer one after another, though a provider may send pieces of several in turn."""

from collections.abc import Hashable

from bursar.core.errors import BadRequest
from bursar.wires.neutral import Event, PartEnded, PartStarted, Piece, Signed


class _Held:
    """Hold a part that has begun: what of it still waits, and whether it has ended."""

    __slots__ = ("ended", "kind", "said", "waiting")

    def __init__(self, started: PartStarted) -> None:
        self.kind = started.kind
        self.waiting: list[Event] = [started]
        self.ended = False
        self.said = False


class PartOrder:
    """Give out the pieces of the part that began first, and hold those of others until it ends."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Held] = {}

    def has(self, key: Hashable) -> bool:
        """Tell whether a part has begun and not ended."""
        held = self._open.get(key)
        return held is not None and not held.ended

    def start(self, key: Hashable, started: PartStarted) -> list[Event]:
        """Begin a part. Raises `BadRequest` when one under this key is not over yet."""
        if key in self._open:
            raise BadRequest("expected a part to end before it begins again")
        self._open[key] = _Held(started)
        return self._flow()

    def add(self, key: Hashable, event: Piece | Signed) -> list[Event]:
        """Add to a part that has begun."""
        held = self._open[key]
        held.waiting.append(event)
        held.said = held.said or isinstance(event, Piece)
        return self._flow()

    def end(self, key: Hashable) -> list[Event]:
        """End a part. A tool call without arguments gets an empty object, which clients can read."""
        held = self._open[key]
        if held.kind == "tool" and not held.said:
            held.waiting.append(Piece("{}"))
        held.waiting.append(PartEnded())
        held.ended = True
        return self._flow()

    def end_all(self) -> list[Event]:
        """End every part there is."""
        return [event for key in list(self._open) if self.has(key) for event in self.end(key)]

    def _flow(self) -> list[Event]:
        flowing: list[Event] = []
        while self._open:
            key = next(iter(self._open))
            held = self._open[key]
            flowing += held.waiting
            held.waiting.clear()
            if not held.ended:
                break
            del self._open[key]
        return flowing
