"""Read which routes the operator lets pass without a price: each with the provider it goes to.

A route is a method and a path, such as `GET /v1/vector_stores`, or the beginning of paths: `GET /v1/vector_stores/*`.
None may reach what is metered here, under whatever spelling: it would be spent and not charged.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.gateway.provider import Provider
from bursar.gateway.tables import near_text
from bursar.wires.batch_gemini import METHODS as BATCH_METHODS
from bursar.wires.protocols import BODY_WIRES, PATH_WIRES

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_EXAMPLE: Final = '"GET /v1/vector_stores/*" = "openai"'
_SEGMENT: Final = r"/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.:@~-]+"
_LISTED: Final = re.compile(rf"/v1(?:beta)?(?:{_SEGMENT})+(?:/?\*)?")
_ASKED: Final = re.compile(rf"/v1(?:beta)?(?:{_SEGMENT})+")
"""What may be asked: words of which no server makes another path, so nothing escaped, empty, or leading upwards."""

_MODELS: Final = ("/v1/models/", "/v1beta/models/")
_OWN: Final = ("/v1/files", "/v1/batches", "/v1/messages/batches", "/v1beta/batches", "/v1beta/files")
"""Served here with all that is below them, by any method."""


class UnmeteredRoute(msgspec.Struct, frozen=True):
    """Be one route that passes without a price."""

    text: str  # as the operator has written it
    provider: str

    def takes(self, method: str, path: str) -> bool:
        """Tell whether a request is one of this route's."""
        listed_method, _, listed = self.text.partition(" ")
        if method != listed_method or _ASKED.fullmatch(path) is None:
            return False
        return path.startswith(listed[:-1]) if listed.endswith("*") else path == listed


def read_unmetered(table: Mapping[str, str], providers: Mapping[str, Provider]) -> tuple[UnmeteredRoute, ...]:
    """Read `gateway.unmetered_routes`. Raises `ConfigError` naming the route, why it cannot be and what can."""
    return tuple(_read(text, name, providers) for text, name in table.items())


def can_be_listed(path: str) -> bool:
    """Tell whether an operator can list a path that is not served."""
    return _ASKED.fullmatch(path) is not None and _metered("GET", path.lower()) is None


def _read(text: str, name: str, providers: Mapping[str, Provider]) -> UnmeteredRoute:
    where = f"gateway.unmetered_routes: {text!r}"
    method, _, path = text.partition(" ")
    if method not in METHODS or _LISTED.fullmatch(path) is None:
        raise ConfigError(f"{where}: expected one of {', '.join(METHODS)} and a path, such as {_EXAMPLE}")
    if (metered := _metered(method, path.lower())) is not None:
        raise ConfigError(f"{where}: {metered} is metered here, and never passes without a price: leave it out")
    provider = providers.get(name)
    if provider is None:
        raise ConfigError(f"{where}: no provider {name!r}{near_text(name, providers)}")
    if provider.auth != "key":
        raise ConfigError(f"{where}: requests to {name!r} are signed by {provider.auth}: expected one with a key")
    is_googles = path.startswith("/v1beta/")
    if provider.kind != "sandbox" and is_googles is not (provider.kind == "gemini"):
        root = "/v1beta/" if provider.kind == "gemini" else "/v1/"
        raise ConfigError(f"{where}: {name!r} is of kind {provider.kind}: expected a path that begins with {root}")
    return UnmeteredRoute(text, name)


def _metered(method: str, path: str) -> str | None:
    """Name what is metered here and a listed path may lead to; None where there is nothing."""
    prefix = path.removesuffix("*")
    begins = prefix != path
    for each in _OWN:
        if prefix == each or prefix.startswith(f"{each}/") or (begins and each.startswith(prefix)):
            return each
    if method != "POST":
        return None
    for root in _MODELS:
        if begins and (root.startswith(prefix) or prefix.startswith(root)):
            return f"{root}{{model}}"
    calls: Sequence[str] = [f":{each.lower()}" for each in (*PATH_WIRES, *BATCH_METHODS)]
    if path.endswith((*calls, ":counttokens")):
        return path
    metered = (*BODY_WIRES, "/v1/messages/count_tokens")
    return next((each for each in metered if prefix == each or (begins and each.startswith(prefix))), None)
