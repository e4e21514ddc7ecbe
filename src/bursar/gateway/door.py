"""Decide who may connect, and whose large bodies are read: no one client takes the room of all."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from bursar.gateway.connection import Headers
from bursar.gateway.headers import pass_in, secret_in, secret_of

_FULL: Final = "this server has as many connections as it may: try again in a moment"
_CROWDED: Final = "your address has as many connections as it may: use those there are"


class Door:
    """Count the connections of clients, in all and by address, and know whose keys are known."""

    def __init__(self, connections_max: int, per_address_max: int, knows: Callable[[str], bool]) -> None:
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._knows = knows
        self._count = 0
        self._by_address: dict[str, int] = {}

    def enter(self, peer: tuple[str, int] | None) -> str | None:
        """Count a connection, and say what speaks against it. It counts until it leaves, also when it is refused."""
        self._count += 1
        if peer is not None and not ip_address(peer[0].partition("%")[0]).is_loopback:
            here = self._by_address[peer[0]] = self._by_address.get(peer[0], 0) + 1
            if here > self._per_address_max:
                return _CROWDED
        return _FULL if self._count > self._connections_max else None

    def leave(self, peer: tuple[str, int] | None) -> None:
        """Count a connection no more."""
        self._count -= 1
        if peer is not None and (here := self._by_address.get(peer[0])) is not None:
            if here > 1:
                self._by_address[peer[0]] = here - 1
            else:
                del self._by_address[peer[0]]

    def knows(self, headers: Headers, url: bytes = b"") -> bool:
        """Tell whether a request brings a key that is known here."""
        query = url.partition(b"?")[2]
        secret = secret_of(dict(headers)) or secret_in(query) or pass_in(query)
        return bool(secret) and self._knows(secret)
