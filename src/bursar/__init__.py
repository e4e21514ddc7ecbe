"""Bursar, the treasurer for AI: exact prices, budgets nobody can overspend, books that balance."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bursar.client.client import Client

__all__ = ["Client", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the client when it is first asked for: every command and worker imports this package."""
    if name != "Client":
        raise AttributeError(f"module 'bursar' has no attribute {name!r}")
    from bursar.client.client import Client

    return Client
