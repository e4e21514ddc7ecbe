"""Find the batches of a key, whatever their protocol: what is seen to have ended is charged first."""

from functools import partial

from bursar.core.errors import NotFound
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import few_at_once
from bursar.gateway.batches.ending import Ending
from bursar.gateway.batches.visit import Reception, Visit
from bursar.gateway.connection import Response
from bursar.store.batches import Batch, batches_of, find_batch


class OwnBatches:
    """Find a key's own batches of one protocol."""

    def __init__(self, reception: Reception, ending: Ending, protocol: Protocol) -> None:
        self._reception = reception
        self._ending = ending
        self._protocol = protocol

    async def find(self, visit: Visit, batch_id: str, gone: NotFound) -> Batch:
        """Find a batch by its provider's id. Raises `gone`, as for what does not exist."""
        key = visit.key
        found = await self._reception.books(
            lambda connection: find_batch(connection, key.tenant, key.key_id, batch_id, self._protocol)
        )
        if found is None:
            raise gone
        return found

    async def page(
        self, visit: Visit, after: str | None, limit: int
    ) -> tuple[list[Batch], list[tuple[Batch, Response]], bool]:
        """Return a key's newest batches after one, what is said of those within reach, and whether there are more."""
        key = visit.key
        found = await self._reception.books(
            lambda connection: batches_of(connection, key.tenant, key.key_id, self._protocol, after, limit + 1)
        )
        shown = found[:limit]
        forwarded = visit.headers.forwarded
        answers = await few_at_once([partial(self._ending.look, each, forwarded=forwarded) for each in shown])
        said = [
            (batch, answer)
            for batch, answer in zip(shown, answers, strict=True)
            if answer is not None and answer.status < 300
        ]
        return shown, said, len(found) > limit
