"""Say to a provider what others need not be told, where it wants it, and leave out what it refuses."""

from typing import Any
from urllib.parse import quote

from bursar.gateway.provider import Provider
from bursar.wires.wire import Wire, read_fields, write_fields


class Dialect:
    """Hold what differs for one provider from what its protocols say."""

    def __init__(self, provider: Provider) -> None:
        self._set_fields: dict[str, Any] = provider.set_fields
        self._drop_fields = provider.drop_fields
        self._paths = (provider.paths, {**provider.paths, **provider.stream_paths})

    def body(self, body: bytes) -> bytes:
        """Return a body as the provider takes it; the bytes of all other fields stay as they came."""
        fields = read_fields(body)
        if not self._set_fields and fields.keys().isdisjoint(self._drop_fields):
            return body
        for name in self._drop_fields:
            fields.pop(name, None)
        return write_fields({**fields, **self._set_fields})

    def path(self, wire: Wire, model: str, *, stream: bool) -> str:
        """Return where below the provider's address calls of a model go; a name never leaves its place in the path."""
        path = self._paths[stream].get(wire.protocol.name)
        return wire.path(model, stream=stream) if path is None else path.replace("{model}", quote(model, safe="@"))


def dialect_of(provider: Provider) -> Dialect | None:
    """Return what differs for a provider; None where its protocols say it all."""
    differs = provider.set_fields or provider.drop_fields or provider.paths or provider.stream_paths
    return Dialect(provider) if differs else None
