"""Say to a provider what others need not be told, and leave out what it refuses."""

from bursar.gateway.provider import Provider
from bursar.wires.wire import read_fields, write_fields


class Dialect:
    """Hold what is changed of every body for one provider."""

    def __init__(self, drop_fields: tuple[str, ...]) -> None:
        self._drop_fields = drop_fields

    def body(self, body: bytes) -> bytes:
        """Return a body as the provider takes it; the bytes of all other fields stay as they came."""
        fields = read_fields(body)
        if fields.keys().isdisjoint(self._drop_fields):
            return body
        for name in self._drop_fields:
            fields.pop(name, None)
        return write_fields(fields)


def dialect_of(provider: Provider) -> Dialect | None:
    """Return what is changed for a provider; None where its protocol says it all."""
    return Dialect(provider.drop_fields) if provider.drop_fields else None
