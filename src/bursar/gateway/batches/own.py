"""Find the batches of a key, whatever their protocol: what is seen to have ended is charged first."""

from collections.abc import Sequence
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

    def __init__(
        self, reception: Reception, ending: Ending, protocol: Protocol, gone: str, param: str | None = None
    ) -> None:
        """Take how a batch that is not there is refused: in what words, `{}` for its id, and by which parameter."""
        self._reception = reception
        self._ending = ending
        self._protocol = protocol
        self._gone = gone
        self._param = param

    async def find(self, visit: Visit, batch_id: str) -> Batch:
        """Find a batch by its provider's id. Raises `NotFound`, as for what does not exist."""
        key = visit.key
        found = await self._reception.books(
            lambda connection: find_batch(connection, key.tenant, key.key_id, batch_id, self._protocol)
        )
        if found is None:
            raise NotFound(self._gone.format(batch_id), code="batch_not_found", param=self._param)
        return found

    async def look(self, visit: Visit, batch: Batch) -> tuple[Response, Batch]:
        """Ask for a batch, and return what its provider says and the batch as it is then: charged, if it has ended."""
        response = await self._ending.look(batch, forwarded=visit.headers.forwarded)
        return response, batch if batch.ended_us is not None else await self.find(visit, batch.provider_id or "")

    async def latest(self, visit: Visit, batch: Batch) -> Batch:
        """Return a batch, charged if it has ended; nobody is asked about one that is."""
        return batch if batch.ended_us is not None else (await self.look(visit, batch))[1]

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


def ends_of(found: Sequence[Batch]) -> dict[str, str | None]:
    """Return the first and the last id of a list, as OpenAI and Anthropic tell them."""
    ids = [batch.provider_id for batch in found]
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
