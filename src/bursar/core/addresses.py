"""Reckon with the addresses of clients: networks as they are written, and who is behind a chain of proxies."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_HOPS_MAX: Final = 32


def read_network(text: str) -> str:
    """Return a network in its canonical form; an address stands for itself alone. Raises `ValueError`."""
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"expected an address or network such as 10.0.0.0/8 or ::1: {error}") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"expected an IPv4 address as such, got {text!r}")
    return str(network)


def read_address(text: str) -> Address | None:
    """Read an address as sockets and proxies write it, with or without a port or zone; None for what is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def is_within(address: Address | None, networks: tuple[str, ...]) -> bool:
    """Tell whether an address is of one of the networks. One that is not known is of none."""
    return address is not None and any(address in network for network in _parsed(networks))


def behind_proxies(peer: Address | None, forwarded_for: Sequence[str], trusted: tuple[str, ...]) -> Address | None:
    """Return the client: the last address of the chain that is no trusted proxy's. None when that cannot be read.

    `forwarded_for` are the values of the X-Forwarded-For headers in their order. What stands before the client in them
    it may have made up, and is not looked at.
    """
    if not is_within(peer, trusted):
        return peer
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    for hop in reversed(hops[-_HOPS_MAX:]):
        peer = read_address(hop)
        if not is_within(peer, trusted):
            break
    return peer


@lru_cache(maxsize=1_000)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks)
